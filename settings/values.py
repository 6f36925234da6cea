"""What single values may be: types whose checks return the normal form, or raise ValueError saying what is allowed."""

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from rendering.reference import is_model_name, is_pinned
from settings.base import Unknown

HOST_NAME_MAX_LENGTH: Final = 253  # RFC 1035 §2.3.4, without the trailing dot
MEMORY_FLOOR_MIB: Final = 64  # below this the services are killed while they start
LONGEST_VALIDITY_HOURS: Final = (
    825 * 24
)  # what Apple's systems accept of a private authority (support.apple.com/103769)
# RFC 1123 §2.1; no underscore (RFC 9525). Without ASCII, Python takes the letter ſ for an s.
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.IGNORECASE | re.ASCII)
_GPUS: Final = re.compile(r"all|device=[\w-]+(?:,[\w-]+)*")
_BUCKET: Final = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # S3's general purpose bucket names
_DEPLOYMENT: Final = re.compile(r"[0-9a-f]{16}")
_MEMORY_LIMITS: Final = ("memory-and-swap", "memory", "none")
_EMAIL: Final = re.compile(r"([\w.!#$%&'*+/=?^`{|}~-]+)@(.+)", re.ASCII)


def host_name(text: str) -> str:
    """Return `text` in lower case if it is a DNS host name."""
    name = text.lower()
    labels = name.split(".")
    # A last label of digits only would make it an address, not a name.
    if len(name) > HOST_NAME_MAX_LENGTH or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise ValueError("a host name of letters, digits and hyphens, such as reflector.example.com")
    return name


def ip_address(text: str) -> str:
    """Return `text` in normal form if it is an IPv4 or IPv6 address."""
    allowed = "an IPv4 address, or an IPv6 address without a zone"
    try:
        address = str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(allowed) from None
    if "%" in address:  # a zone, which neither Docker nor a certificate takes
        raise ValueError(allowed)
    return address


def subject_alternative_name(text: str) -> str:
    """Return `text` in normal form if it is `DNS:<name>` or `IP:<address>`."""
    kind, _, value = text.partition(":")
    try:
        if kind == "DNS":
            return f"DNS:{host_name(value)}"
        if kind == "IP":
            return f"IP:{ip_address(value)}"
    except ValueError as error:
        raise ValueError(f"{kind}:<value> with {error}") from None
    raise ValueError("DNS:<host name> or IP:<address>")


def one_of(*words: str) -> Callable[[str], str]:
    """Return a check that takes one of `words`."""

    def check(text: str) -> str:
        if text not in words:
            raise ValueError(", ".join(words[:-1]) + f" or {words[-1]}")
        return text

    return check


def deployment_id(text: str) -> str:
    """Return `text` if it is what marks a deployment on a host."""
    if not _DEPLOYMENT.fullmatch(text):
        raise ValueError("16 hexadecimal digits, in lower case")
    return text


def port(number: int) -> int:
    """Return `number` if it is a TCP or UDP port."""
    if not 1 <= number <= 65535:
        raise ValueError("a port from 1 to 65535")
    return number


def at_least(least: int, unit: str) -> Callable[[int], int]:
    """Return a check that takes numbers from `least` on."""

    def check(number: int) -> int:
        if number < least:
            raise ValueError(f"{least} {unit} or more")
        return number

    return check


def between(least: int, most: int, unit: str) -> Callable[[int], int]:
    """Return a check that takes numbers from `least` to `most`."""

    def check(number: int) -> int:
        if not least <= number <= most:
            raise ValueError(f"{least} to {most} {unit}")
        return number

    return check


def docker_address(text: str) -> str:
    """Return `text` if it names a Docker daemon by a scheme both the provider and the docker command understand."""
    allowed = "unix:///<path>, ssh://<user>@<host>[:<port>] or tcp://<host>:<port>"
    try:
        parts = urlsplit(text)
        remote = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise ValueError(allowed) from None
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        return text
    if parts.scheme == "ssh" and remote and parts.password is None:
        return text
    if parts.scheme == "tcp" and remote and parts.port is not None:
        return text
    raise ValueError(allowed)


def http_url(text: str) -> str:
    """Return `text` without a trailing slash if it is an absolute http or https URL."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("a URL starting with http:// or https://")
    return text.rstrip("/")


def image_reference(text: str) -> str:
    """Return `text` if it is pinned: by digest, or by a tag that is a version or a content hash."""
    if not is_pinned(text):
        raise ValueError("an image reference with a digest (@sha256:…) or an exact version tag, never latest")
    return text


def gpus(text: str) -> str:
    """Return `text` if Docker's --gpus takes it."""
    if not _GPUS.fullmatch(text):
        raise ValueError("all, or device=<index or UUID>[,…]")
    return text


def model_name(text: str) -> str:
    """Return `text` if it can name a model."""
    if not is_model_name(text):
        raise ValueError("a model name: one word that does not start with a hyphen")
    return text


def bucket(text: str) -> str:
    """Return `text` if S3 takes it as a bucket name."""
    if not _BUCKET.fullmatch(text):
        raise ValueError("3 to 63 lower-case letters, digits, dots and hyphens")
    return text


def email(text: str) -> str:
    """Return `text` if it can be typed into Reflector's login page.

    That is an `<input type="email">`, with a grammar of its own (HTML §4.10.5.1.5). Reflector itself checks nothing.
    """
    match = _EMAIL.fullmatch(text)
    if match is None or not all(_LABEL.fullmatch(label) for label in match[2].split(".")):
        raise ValueError("an e-mail address as browsers take it, such as admin@reflector.example.com")
    return text


def word(text: str) -> str:
    """Return `text` if it is one word."""
    if not text or text.split() != [text]:
        raise ValueError("one word without spaces")
    return text


def folder(text: str) -> str:
    """Return `text` if it can name a folder."""
    if not text.strip():
        raise ValueError("the path of a folder")
    return text


def _text(check: Callable[[str], str], **schema: Any) -> Any:
    return WithJsonSchema({"type": "string", **schema}), _checked(check)


def _number(check: Callable[[int], int], **schema: Any) -> Any:
    return WithJsonSchema({"type": "integer", **schema}), _checked(check)


def _checked(check: Callable[[Any], object]) -> WrapValidator:
    def validate(given: object, validate_type: ValidatorFunctionWrapHandler) -> object:
        return given if isinstance(given, Unknown) else check(validate_type(given))

    return WrapValidator(validate)


# A schema says what an editor can check while somebody types; the checks themselves are stricter.
HostName = Annotated[str, *_text(host_name, maxLength=HOST_NAME_MAX_LENGTH, pattern=r"^[A-Za-z0-9.-]+$")]
IpAddress = Annotated[str, *_text(ip_address, pattern=r"^[0-9A-Fa-f.:]+$")]
SubjectAlternativeName = Annotated[
    str, *_text(subject_alternative_name, pattern=r"^(DNS:[A-Za-z0-9.-]+|IP:[0-9A-Fa-f.:]+)$")
]
DockerAddress = Annotated[str, *_text(docker_address, pattern=r"^(unix|ssh|tcp)://.+$")]
MemoryLimits = Annotated[str, *_text(one_of(*_MEMORY_LIMITS), enum=list(_MEMORY_LIMITS))]
DeploymentId = Annotated[str, *_text(deployment_id, pattern=f"^{_DEPLOYMENT.pattern}$")]
Folder = Annotated[str, *_text(folder, minLength=1)]
HttpUrl = Annotated[str, *_text(http_url, pattern=r"^https?://.+$")]
ImageReference = Annotated[str, *_text(image_reference, pattern=r"[:@]")]
Gpus = Annotated[str, *_text(gpus, pattern=f"^({_GPUS.pattern})$")]
ModelName = Annotated[str, *_text(model_name, pattern=r"^[^\s-]\S*$")]
Bucket = Annotated[str, *_text(bucket, minLength=3, maxLength=63, pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$")]
Email = Annotated[str, *_text(email, pattern=r"^[^@\s]+@[^@\s]+$")]
Word = Annotated[str, *_text(word, pattern=r"^\S+$")]
Port = Annotated[int, *_number(port, minimum=1, maximum=65535)]
MemoryMib = Annotated[int, *_number(at_least(MEMORY_FLOOR_MIB, "MiB"), minimum=MEMORY_FLOOR_MIB)]
Gibibytes = Annotated[int, *_number(at_least(1, "GiB"), minimum=1)]
Tokens = Annotated[int, *_number(at_least(1024, "tokens"), minimum=1024)]
Seconds = Annotated[int, *_number(at_least(1, "second"), minimum=1)]
StartupLimit = Annotated[int, *_number(at_least(10, "seconds"), minimum=10)]
ValidityHours = Annotated[
    int, *_number(between(24, LONGEST_VALIDITY_HOURS, "hours"), minimum=24, maximum=LONGEST_VALIDITY_HOURS)
]
Processes = Annotated[int, *_number(between(1, 64, "processes"), minimum=1, maximum=64)]
Days = Annotated[int, *_number(at_least(1, "day"), minimum=1)]
RenewalHours = Annotated[int, *_number(at_least(1, "hour"), minimum=1)]
