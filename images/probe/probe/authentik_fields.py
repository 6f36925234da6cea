"""Kinds of fields, and how Authentik's serializers refuse a value (Django REST framework's words and codes).

A kind takes a value and returns it as it is kept, or raises Refused. Types are taken as strictly as the official client
takes them (authentik-client 2026.8.5): the real one would turn a number into a text, for instance.
"""

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

DURATION_UNITS = ("microseconds", "milliseconds", "seconds", "minutes", "hours", "days", "weeks")
"""Units of a duration (authentik/lib/utils/time.py)."""

Kind = Callable[[Any], Any]


class ErrorDetail(NamedTuple):
    """One error of a field; its repr is the framework's."""

    string: str
    code: str


class Refused(Exception):
    """A value a field does not take."""

    def __init__(self, string: str, code: str = "invalid") -> None:
        """Keep the error in the framework's form."""
        super().__init__(string)
        self.detail = ErrorDetail(string, code)


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field of a model.

    ``reference`` names the model a key belongs to, ``many`` says that there is a list of them; ``cascade`` that an
    object goes with what it refers to, which otherwise only leaves the field empty.
    """

    kind: Kind
    required: bool = False
    null: bool = False
    default: Any = None
    unique: bool = False
    read_only: bool = False
    reference: str | None = None
    many: bool = False
    cascade: bool = False


def text(longest: int | None = None, *, blank: bool = False, pattern: str | None = None, hint: str = "") -> Kind:
    """A text, stripped as the framework strips it."""

    def take(value: Any) -> str:
        if not isinstance(value, str):
            raise Refused("Not a valid string.")
        given: str = value.strip()
        if not given and not blank:
            raise Refused("This field may not be blank.", "blank")
        if longest is not None and len(given) > longest:
            raise Refused(f"Ensure this field has no more than {longest} characters.", "max_length")
        if given and pattern is not None and not re.fullmatch(pattern, given):
            raise Refused(hint)
        return given

    return take


class Choice:
    """One of some words."""

    def __init__(self, words: tuple[str, ...]) -> None:
        """Keep the words."""
        self.words = words

    def __call__(self, value: Any) -> str:
        """Take one of them."""
        if not isinstance(value, str) or value not in self.words:
            raise Refused(f'"{value}" is not a valid choice.', "invalid_choice")
        return value


def choice(*words: str) -> Choice:
    """One of the words."""
    return Choice(words)


def boolean(value: Any) -> bool:
    """True or false, and no word for them."""
    if not isinstance(value, bool):
        raise Refused("Must be a valid boolean.")
    return value


def integer(low: int, high: int = 2147483647) -> Kind:
    """A number within bounds."""

    def take(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Refused("A valid integer is required.")
        if not low <= value <= high:
            raise Refused(f"Ensure this value is between {low} and {high}.", "min_value")
        return value

    return take


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise Refused("Value must be a dictionary, and not have any duplicate keys.")
    return value


class Sequence:
    """A list of a kind."""

    def __init__(self, kind: Kind) -> None:
        """Keep the kind of its items."""
        self.kind = kind

    def __call__(self, value: Any) -> list[Any]:
        """Take a list."""
        if not isinstance(value, list):
            raise Refused(f'Expected a list of items but got type "{type(value).__name__}".', "not_a_list")
        return [self.kind(item) for item in value]


def sequence(kind: Kind) -> Sequence:
    """A list of a kind."""
    return Sequence(kind)


def key(value: Any) -> Any:
    """The key of another object; whether there is one is asked of the registry."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Refused(f"Incorrect type. Expected pk value, received {type(value).__name__}.", "incorrect_type")
    return value


def parse_duration(value: str) -> timedelta:
    """A duration such as ``hours=1;minutes=30``; raises ValueError for other text, and for units there are not."""
    units: dict[str, float] = {}
    for pair in value.split(";"):
        name, equals, number = pair.partition("=")
        if not equals or name.lower() not in DURATION_UNITS:
            raise ValueError(pair)
        units[name.lower()] = float(number.strip())
    return timedelta(**units)


def duration(value: Any) -> str:
    """A duration as a text."""
    given: str = text()(value)
    try:
        parse_duration(given)
    except ValueError:
        raise Refused(f"{given} is not in the correct format of 'hours=3;minutes=1'.") from None
    return given


MATCHING_MODES = choice("strict", "regex")
REDIRECT_URI_TYPES = choice("authorization", "logout")


def redirect_uri(value: Any) -> dict[str, Any]:
    """An address to come back to."""
    if not isinstance(value, dict):
        raise Refused(f"Invalid data. Expected a dictionary, but got {type(value).__name__}.")
    known = ("matching_mode", "url", "redirect_uri_type")
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise Refused(f"unknown key {unknown[0]}; a redirect URI has {', '.join(known)}")
    for name in known[:2]:
        if name not in value:
            raise Refused(f"{name}: This field is required.", "required")
    address = text()(value["url"])
    mode = MATCHING_MODES(value["matching_mode"])
    if mode == "regex":
        try:
            re.compile(address)
        except re.error:
            raise Refused(f"Invalid Regex Pattern: {address}") from None
    return {
        "matching_mode": mode,
        "url": address,
        "redirect_uri_type": REDIRECT_URI_TYPES(value.get("redirect_uri_type", "authorization")),
    }


def certificate(value: Any) -> str:
    """An X.509 certificate as PEM."""
    given: str = text()(value)
    try:
        x509.load_pem_x509_certificate(given.encode())
    except ValueError:
        raise Refused("Unable to load certificate.") from None
    return given


def private_key(value: Any) -> str:
    """A private key as PEM, not encrypted."""
    given: str = text(blank=True)(value)
    if given:
        try:
            load_key(given)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise Refused("Unable to load private key (possibly encrypted?).") from None
    return given


@functools.lru_cache(maxsize=8)
def load_key(pem: str) -> PrivateKeyTypes:
    """A private key, checked once: that takes a while."""
    return serialization.load_pem_private_key(pem.encode(), password=None)


def launch_url(value: Any) -> str:
    """The address of an application."""
    given: str = text(blank=True)(value)
    if given and not re.match(r"https?://[^/\s]+", given):
        raise Refused("Enter a valid URL.")
    return given


def belong_together(certificate_pem: str, key_pem: str) -> bool:
    """Whether the certificate was made for this private key."""
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    of_certificate = x509.load_pem_x509_certificate(certificate_pem.encode()).public_key().public_bytes(*spki)
    return of_certificate == load_key(key_pem).public_key().public_bytes(*spki)


def one_of(values: Iterable[str]) -> str:
    """The names in quotes, as the messages of bindings have them."""
    return ", ".join(f"'{value}'" for value in values)
