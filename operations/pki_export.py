"""A certificate with its private key for what is not a part of the stack, into a new file of its owner's alone."""

import argparse
import os
import secrets
import sys
from pathlib import Path
from typing import Final

from operations import inventory, pki_material
from operations.inventory import Certificate
from operations.stack import Stack
from operations.state import StateError
from settings import Settings

_MODE: Final = 0o600
_PASSWORD_BYTES: Final = 24
_NOT_OURS: Final = {
    "imported": "you have its key where you brought it from",
    "own": "you have its key where you brought it from",
    "external": "its key is elsewhere, and was never here",
    "acme": "its key never leaves the edge that ordered it",
}


def export(stack: Stack, settings: Settings, arguments: argparse.Namespace) -> int:
    """Write the certificate that is asked for, and return the exit status.

    Raises: StateError, OSError.
    """
    found = inventory.read(stack, settings, inventory.resources_of(stack))
    one = pki_material.find(arguments.name, found)
    if one.is_authority:
        raise StateError(f"{one.called} signs others: its key is not handed out; its certificate is in pki show")
    if one.source in _NOT_OURS:
        raise StateError(f"{one.called} is {one.source}: {_NOT_OURS[one.source]}")
    if arguments.password_file is not None and arguments.p12 is None:
        raise StateError("--password-file goes with --p12: PEM has no password here")
    # Before the key is asked for: what cannot be written is no reason to open it.
    path: Path = arguments.pem or arguments.p12
    if path.exists():
        raise StateError(f"{path} is there already; nothing was written")
    password, is_new = new_password(arguments.password_file) if arguments.p12 is not None else ("", False)
    resources = pki_material.opened(stack)
    _, key_resource = pki_material.issue_of(one.name, resources)
    chain, key = pki_material.chain_of(one, resources), pki_material.private_key(key_resource)
    if chain is None:
        raise StateError(f"the state has no certificate of {one.called}; make up STACK={stack.name}")
    if arguments.pem is not None:
        write_new(path, f"{key.strip()}\n{chain.strip()}\n".encode())
    else:
        above = pki_material.roots(found, resources, one.authority) if one.authority else ""
        write_new(path, _pkcs12(one, key, chain, above, password))
    print(f"written: {path}, {one.called} with its private key, which ends on {one.expires:%Y-%m-%d}")
    if is_new:
        print(f"Its password, which is shown this once: {password}", file=sys.stderr)
    return 0


def new_password(file: Path | None) -> tuple[str, bool]:
    """Return the password of a new file, the first line of `file` if there is one, and whether it was made here.

    Raises: StateError, OSError.
    """
    if file is not None:
        return password_in(file), False
    if not sys.stderr.isatty():
        raise StateError("there is no terminal to show a password on; give one: --password-file FILE")
    return secrets.token_urlsafe(_PASSWORD_BYTES), True


def password_in(file: Path) -> str:
    """Return the first line of a file.

    Raises: StateError, OSError.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    if not lines or not lines[0]:
        raise StateError(f"{file} has no password in its first line")
    return lines[0]


def _pkcs12(one: Certificate, key: str, chain: str, above: str, password: str) -> bytes:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    from pki import pem

    leaf, *others = pem.certificates(chain.encode())
    others += pem.certificates(above.encode()) if above else []
    return pkcs12.serialize_key_and_certificates(
        one.called.encode(),
        pem.private_key(key.encode()),  # type: ignore[arg-type]  # no key of a certificate here is for key agreement
        leaf,
        list(dict.fromkeys(others)),
        BestAvailableEncryption(password.encode()),
    )


def write_new(path: Path, content: bytes) -> None:
    """Write a file that is not there yet, and that nobody else could open at any time.

    Raises: StateError, OSError.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    except FileExistsError:
        raise StateError(f"{path} is there already; nothing was written") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
