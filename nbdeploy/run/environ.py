"""What a service process sees of this process's environment: an allow-list, because a kernel holds cloud keys."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAMES = (
    "PATH",
    "HOME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "USER",
    "LOGNAME",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NBDEPLOY_ALLOWED_HOSTS",
)
PREFIXES = ("LC_", "NBD_", "OMP_", "OPENBLAS_", "MKL_")  # locale; the user's own; how many threads a model may use
ALWAYS = {"BENTOML_DO_NOT_TRACK": "True", "PYTHONUNBUFFERED": "1"}


def allowed(environ: Mapping[str, str] = os.environ, extra: Iterable[str] = ()) -> dict[str, str]:
    """`extra` names more variables; one that is not set is left out."""
    names = {*NAMES, *extra}
    passed = {key: value for key, value in environ.items() if key in names or key.startswith(PREFIXES)}
    return {**passed, **ALWAYS}
