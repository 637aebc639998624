# Takes out of a base image what a service never runs: installers, package managers, perl, documents, translations.
set -eu
export LC_ALL=C

printf 'nbdeploy:x:10001:10001::/tmp:/usr/sbin/nologin\n' >>/etc/passwd
printf 'nbdeploy:x:10001:\n' >>/etc/group

for home in /usr/lib/python3* /usr/local/lib/python3*; do
    rm -rf "$home"/ensurepip "$home"/idlelib "$home"/lib2to3 "$home"/tkinter "$home"/turtledemo "$home"/test \
        "$home"/config-* "$home"/pydoc_data "$home"/dist-packages/* "$home"/site-packages/*
done
# Some bases, as Docker's own python, come without bytecode: on a read-only root each start would compile it again.
for home in /usr/lib/python3.* /usr/local/lib/python3.*; do
    if [ -e "$home/os.py" ] && [ ! -e "$home/__pycache__" ]; then
        python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$home"
    fi
done
rm -rf /usr/local/bin/pip* /usr/local/bin/idle* /usr/local/bin/2to3* /usr/bin/pip* /usr/share/python-wheels

rm -rf /usr/bin/apt* /usr/lib/apt /usr/lib/*/libapt-* /etc/apt /var/lib/apt /usr/bin/dpkg* /usr/lib/dpkg /usr/sbin/dpkg*
rm -rf /usr/bin/perl* /usr/lib/*/perl* /usr/share/perl* /usr/share/debconf
rm -rf /usr/share/man /usr/share/info /usr/share/locale /usr/share/lintian /usr/share/bash-completion /usr/lib/*/gconv
find /usr/share/doc -type f ! -name copyright -delete
rm -rf /var/lib/dpkg/info /usr/share/zoneinfo/right
rm -rf /var/cache/* /var/log/* "$HOME/.cache"

# Nobody becomes somebody else in here.
find / -xdev -type f -perm /6000 -exec chmod a-s {} +

# Where a volume for the prediction log is mounted: a new one takes its owner from here.
install -d -o 10001 -g 10001 /var/lib/nbdeploy
