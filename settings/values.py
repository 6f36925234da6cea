"""What single values may be: types whose checks return the normal form, or raise ValueError saying what is allowed."""

import ipaddress
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from rendering.reference import DOCKER_HUB, is_model_name, is_pinned
from settings.base import Unknown

HOST_NAME_MAX_LENGTH: Final = 253  # RFC 1035 §2.3.4, without the trailing dot
MEMORY_FLOOR_MIB: Final = 64  # below this the services are killed while they start
LONGEST_VALIDITY_HOURS: Final = (
    825 * 24
)  # what Apple's systems accept of a private authority (support.apple.com/103769)
# RFC 1123 §2.1; no underscore (RFC 9525). Without ASCII, Python takes the letter ſ for an s.
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.IGNORECASE | re.ASCII)
_DOCKER_HUB_ALIASES: Final = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
# RFC 1918, and what RFC 6598 gives to carriers: the way out where a company uses all of the others itself.
_PRIVATE: Final = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
POOL_LONGEST_PREFIX: Final = 23
"""Of its sixteenths, each a /27, the largest network of a stack still has 29 addresses for containers."""
_GPUS: Final = re.compile(r"all|device=[\w-]+(?:,[\w-]+)*")
_BUCKET: Final = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # S3's general purpose bucket names
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


def proxy_url(text: str) -> str:
    """Return `text` without a trailing slash if it is where a proxy listens."""
    try:
        parts = urlsplit(text)
        valid = (
            parts.scheme in {"http", "https"}
            and not (parts.path.strip("/") or parts.query or parts.fragment or parts.netloc.count("@"))
            and (parts.port is None or parts.port > 0)
            and text.split() == [text]
            and (_is_address(parts.hostname or "") or bool(host_name(parts.hostname or "")))
        )
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("http:// or https://, a host and a port, and no more: name and password are set beside it")
    return f"{parts.scheme}://{parts.netloc}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def reached_directly(text: str) -> str:
    """Return `text` in normal form if NO_PROXY can hold it."""
    with suppress(ValueError):
        return str(ipaddress.ip_network(text)) if "/" in text else ip_address(text)
    try:
        # A dot before it stands for what is below a name.
        return f".{host_name(text[1:])}" if text.startswith(".") else host_name(text)
    except ValueError:
        raise ValueError("a host name, .<domain>, an address, or a network such as 10.0.0.0/8") from None


def registry_address(text: str) -> str:
    """Return `text` if an image reference can begin with it, or if it stands for Docker Hub."""
    if text in _DOCKER_HUB_ALIASES:
        raise ValueError(f"{DOCKER_HUB} for Docker Hub")
    host, colon, number = text.partition(":")
    usable = "." in host or bool(colon) or host == "localhost"
    try:
        known = _is_address(host) or bool(host_name(host))
        numbered = not colon or (number.isascii() and number.isdigit() and bool(port(int(number))))
    except ValueError:
        known = numbered = False
    if not (usable and known and numbered and text == text.lower()):
        raise ValueError(
            f"<host>[:<port>] in lower case as images begin with it, without https:// and path; {DOCKER_HUB} for "
            f"Docker Hub"
        )
    return text


def absolute_file(text: str) -> str:
    """Return `text` if it is the path of a file whatever folder it is used in."""
    if not text.startswith(("/", "~/")) or text.endswith("/"):
        raise ValueError("the path of a file, beginning with / or ~/")
    return text


def private_pool(text: str) -> str:
    """Return `text` if it is a network of private IPv4 addresses with room for those of a stack."""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        network = None
    if (
        network is None
        or "/" not in text
        or not any(network.subnet_of(private) for private in _PRIVATE)
        or network.prefixlen > POOL_LONGEST_PREFIX
    ):
        raise ValueError(
            f"a network of private IPv4 addresses, /{POOL_LONGEST_PREFIX} or larger, such as 10.213.0.0/20 (within "
            f"{', '.join(map(str, _PRIVATE))})"
        )
    return str(network)


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
ProxyUrl = Annotated[str, *_text(proxy_url, pattern=r"^https?://[^/@?#\s]+/?$")]
ReachedDirectly = Annotated[str, *_text(reached_directly, pattern=r"^[A-Za-z0-9.:/-]+$")]
RegistryAddress = Annotated[str, *_text(registry_address, pattern=r"^[a-z0-9.-]+(:[0-9]+)?$")]
PrivatePool = Annotated[str, *_text(private_pool, pattern=r"^[0-9.]+/[0-9]+$")]
AbsoluteFile = Annotated[str, *_text(absolute_file, pattern=r"^(/|~/).*[^/]$")]
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
RenewalHours = Annotated[int, *_number(at_least(1, "hour"), minimum=1)]
