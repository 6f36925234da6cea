"""Certificates and keys a setting brings: in a file that it names, or encrypted in the stack file."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from settings.base import REMOVE, Conflict, Model, Secret

FILE: Final = "_file"
"""What the name of the setting with a file ends in; the one without it is encrypted."""
_PEM: Final = "-----BEGIN "


class MaterialError(ValueError):
    """What a setting names cannot be had, and why."""


def material(group: Model, name: str) -> bytes | None:
    """Return what `<name>_file` or `<name>` of a group brings; None where neither is set, or it is not decrypted yet.

    Raises: MaterialError.
    """
    file, text = _given(group, name + FILE), _given(group, name)
    if file is not None:
        return read_file(file)
    return encoded(text.value) if text is not None and text.value is not None else None


def materials(group: Model, names: Sequence[str]) -> tuple[dict[str, bytes | None], list[tuple[str, str]]]:
    """Return what is brought under each name, and what cannot be read."""
    found: dict[str, bytes | None] = {}
    problems: list[tuple[str, str]] = []
    for name in names:
        try:
            found[name] = material(group, name)
        except MaterialError as error:
            problems.append((name, str(error)))
    return found, problems


def setting_of(group: Model, name: str) -> str:
    """Return which of the two settings is meant: the one that is set, or that with a file."""
    return name if _given(group, name) is not None else name + FILE


def read_file(path: str) -> bytes:
    """Return what is in a file.

    Raises: MaterialError.
    """
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise MaterialError(f"{path}: {error.strerror or type(error).__name__}") from None


def encoded(text: str) -> bytes:
    """Return PEM as it is, and anything else out of base64: the text of a setting cannot hold what is no text.

    Raises: MaterialError.
    """
    if _PEM in text:
        return text.encode()
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise MaterialError("neither PEM nor base64") from None


def choices(group: Model, name: str, *, required: str = "") -> Iterator[Conflict]:
    """Yield that both settings are set, or none where there has to be one: `required` says what."""
    file, text = _given(group, name + FILE), _given(group, name)
    if file is not None and text is not None:
        yield Conflict(
            path=(name,),
            others=((name + FILE,),),
            given=f"set beside {name + FILE}",
            allowed=f"one of {name} and {name + FILE}",
            remedy=REMOVE,
        )
    elif required and file is None and text is None:
        yield Conflict(
            path=(name + FILE,),
            others=((name,),),
            given="nothing",
            allowed=f"{required} in a file, or encrypted in {name}",
            remedy="Set it: pulumi config set --path {path} <file>",
        )


def wrong(group: Model, problems: Sequence[tuple[str, str]], allowed: str) -> Iterator[Conflict]:
    """Yield why what a group brings is refused: of each problem the name of what is brought, and the reason."""
    for name, reason in problems:
        setting = setting_of(group, name)
        remedy = "Put the right one there, or set another: pulumi config set --path {path} <file>"
        if not setting.endswith(FILE):
            remedy = "Set the right one: pulumi config set --secret --path {path}"
        file = _given(group, name + FILE)
        yield Conflict(
            path=(setting,),
            given=reason if file is None or reason.startswith(f"{file}: ") else f"{file}: {reason}",
            allowed=allowed,
            remedy=remedy,
        )


def password(group: Model) -> str | None:
    """Return the password of a group that can have one; None where there is none, or it is not decrypted yet."""
    found: Secret | None = _given(group, "password")
    return found.value if found is not None else None


def is_sealed(*secrets: Secret | None) -> bool:
    """Return whether one of these is set and not decrypted yet."""
    return any(one is not None and one.value is None for one in secrets)


def _given(group: Model, name: str) -> Any:
    return getattr(group, name, None)
