"""Whom a Docker host itself trusts: what its own tools are told, and how its daemon is made to run them.

All of it goes through the host's Docker daemon, which is reached alike wherever the host is, in a container that is
there for as long as it takes (docs/decisions/0027-host-trust.md).
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

ON_HOST: Final = Path(__file__).with_name("on_host.sh").read_text(encoding="utf-8")
"""Run beside the engine."""
INSIDE: Final = Path(__file__).with_name("host_trust.sh").read_text(encoding="utf-8")
"""Run on the host, by the former."""
IMAGE: Final = "reflector-host-tools:1"
"""Links to the host's own programs: 48 bytes, made where it is missing."""
OWN: Final = "stack"
"""What the roots of a stack's own are called."""
READS_ALL: Final = "--volume /:/host:ro"
WRITES_ALL: Final = "--volume /:/host"
"""The tool that makes the bundle writes in several places, and runs what others have hooked into it."""
WRITES_DOCKER: Final = f"{READS_ALL} --volume /etc/docker:/host/etc/docker"

_CERTIFICATE: Final = re.compile("-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----")
_SHORT: Final = 8
"""Digits of a fingerprint that tell the generations of an authority apart."""


def call(task: str, binds: str, stack: str) -> Mapping[str, str]:
    """Return the variables by which `ON_HOST` does one task for the stack whose names start with `stack`."""
    return {"INSIDE": INSIDE, "IMAGE": IMAGE, "BINDS": binds, "TASK": task, "STACK": stack}


def files(stack: str, names: Sequence[str], certificates: Iterable[str]) -> str:
    """Return `AUTHORITIES`, a line for each of `certificates` (PEM): what its file is called, and its fingerprint.

    `names` are those of the authorities, in the same order. Each certificate is there once, under its first name.
    """
    found: dict[str, str] = {}
    for name, pem in zip(names, certificates, strict=True):
        for body in _CERTIFICATE.findall(pem):
            sha256 = hashlib.sha256(base64.b64decode(body)).hexdigest()
            found.setdefault(sha256, f"{stack}_{name}_{sha256[:_SHORT]}.crt")
    return "".join(f"{name} {sha256}\n" for sha256, name in found.items())


def joined(certificates: Iterable[str]) -> str:
    """Return certificates (PEM) as one text."""
    return "".join(f"{pem.strip()}\n" for pem in certificates)
