"""How names, versions and bundles are written: NAME, NAME:VERSION, NAME@DIGEST12."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nbdeploy.errors import WrongUse

_WRITTEN = re.compile(r"(?P<name>[^\s:@/\\]+)(:(?P<version>[^\s:@/\\]+)|@(sha256:)?(?P<digest>[0-9a-f]{12,64}))?")
_VERSION = re.compile(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    name: str
    version: str | None = None
    digest: str | None = None  # its first 12 digits or more

    @classmethod
    def parse(cls, text: str) -> Reference:
        match = _WRITTEN.fullmatch(text)
        if match is None:
            raise WrongUse(f'"{text}" is not NAME, NAME:VERSION or NAME@DIGEST12 (as `ps` and `versions` show them).')
        version = match["version"]
        return cls(match["name"], None if version is None else check_version(version), match["digest"])

    def __str__(self) -> str:
        if self.digest:
            return f"{self.name}@{self.digest[:12]}"
        return f"{self.name}:{self.version}" if self.version else self.name


def check_version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise WrongUse(f'"{text}" is not a version; write it like 1.2.0 (`versions NAME` lists them).')
    return text
