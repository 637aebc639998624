#!/usr/bin/env bash
# docker.io/library/python:3.11-slim where no registry can be reached: Debian's own Python 3.11, made with debootstrap.
# base_image.sh [CACHE]: the system is kept as CACHE/python-3.11-slim.tar between runs, and made where it is not there.
set -euo pipefail
name=docker.io/library/python:3.11-slim
cache=${1:-build/base}
tar=$cache/python-3.11-slim.tar

if podman image exists "$name"; then
    exit 0
fi
if [ ! -s "$tar" ]; then
    mkdir -p "$cache"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work"
    packages=ca-certificates,python3,python3-venv,python3-pip,bash
    debootstrap --variant=minbase --include=$packages bookworm "$work" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$cache/debootstrap.log"
    ln -sf python3 "$work/usr/bin/python"
    cp /etc/ssl/certs/ca-certificates.crt "$work/etc/ssl/certs/"
    rm -rf "$work"/var/cache/apt/archives/*.deb "$work"/var/lib/apt/lists/* "$work"/usr/lib/python3.11/EXTERNALLY-MANAGED
    tar -C "$work" -cf "$tar.part" .
    mv "$tar.part" "$tar"
fi
podman import --quiet --change 'ENV UV_SYSTEM_CERTS=1' --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
    --change 'CMD ["python3"]' "$tar" "$name" >/dev/null
