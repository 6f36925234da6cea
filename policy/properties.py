"""What an engine tells of resources: secrets marked as such, what is not known yet, and private keys in all that.

Pure functions on plain values; the marks are the engine's (sig/sig.go and plugin/rpc.go in its sdk/go/common/resource).
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"
_UNKNOWN: Final = frozenset(
    {
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
"""What stands for a boolean, number, text, list, asset, archive or mapping nobody knows before it is made; the first is
that of texts, and of all where a program says it."""

_PRIVATE_KEY: Final = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----\s*(?:\\[rn])*\s*([A-Za-z0-9+/=]*)")
_ENCODED: Final = re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/]*")
"""The beginning of any PEM in base64, as in a kubeconfig."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A text somewhere in the properties of a resource."""

    path: str
    """Such as `uploads[0].content`."""
    text: str
    secret: bool
    """Whether the engine keeps it encrypted, and shows it to nobody."""


def texts(value: object, path: str = "", *, secret: bool = False) -> Iterator[Text]:
    """Yield every text in a value; of what is encrypted already, as in an exported state, none."""
    if isinstance(value, str):
        if value not in _UNKNOWN:
            yield Text(path=path, text=value, secret=secret)
    elif isinstance(value, Mapping):
        if value.get(_SIGNATURE) == _SECRET:
            # To a pack the engine tells its value, in an exported state nothing but what it is encrypted to.
            yield from texts(value.get("value"), path, secret=True)
            return
        for key, each in value.items():
            yield from texts(each, f"{path}.{key}" if path else str(key), secret=secret)
    elif isinstance(value, Sequence):
        for number, each in enumerate(value):
            yield from texts(each, f"{path}[{number}]", secret=secret)


def plain(value: object) -> Any:
    """Return a value without marks; None for what is not known."""
    if isinstance(value, str):
        return None if value in _UNKNOWN else value
    if isinstance(value, Mapping):
        if value.get(_SIGNATURE) == _SECRET:
            return plain(value.get("value"))
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [plain(each) for each in value]
    return value


def is_unknown(value: object) -> bool:
    """Tell whether a value is there and nobody knows it yet."""
    if isinstance(value, Mapping) and value.get(_SIGNATURE) == _SECRET:
        return is_unknown(value.get("value"))
    return isinstance(value, str) and value in _UNKNOWN


def keys_in(text: str) -> set[str]:
    """Return the first line of every private key (PEM) in a text, also of one in base64 or with its line ends escaped.

    By that line keys are told apart; it is empty where nothing follows.
    """
    found = {match[1] for match in _PRIVATE_KEY.finditer(text)}
    for match in _ENCODED.finditer(text):
        encoded = match[0][: len(match[0]) // 4 * 4]
        try:
            decoded = base64.b64decode(encoded)
        except binascii.Error:  # nothing that anybody could read
            continue
        found |= {one[1] for one in _PRIVATE_KEY.finditer(decoded.decode("ascii", "replace"))}
    return found
