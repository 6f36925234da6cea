"""What single values may be: types whose checks return the normal form, or raise ValueError saying what is allowed."""

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from typing import Annotated, Any, Final

from pydantic import Field, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from rendering.authentik import ADMINISTRATOR, REFLECTOR_ADMINISTRATOR
from rendering.reference import DOCKER_HUB, is_model_name, is_pinned
from settings.base import Secret, Unknown
from settings.material import MaterialError, encoded

HOST_NAME_MAX_LENGTH: Final = 253  # RFC 1035 §2.3.4, without the trailing dot
MEMORY_FLOOR_MIB: Final = 64  # below this the services are killed while they start
SHORTEST_VALIDITY_HOURS: Final = 24
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
_DEPLOYMENT: Final = re.compile(r"[0-9a-f]{16}")
_BRACKETED: Final = re.compile(r"\[(?P<host>[0-9a-f:.]+)\](:(?P<port>[0-9]{1,5}))?")
_ENTRY_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_AUTHORITY_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*")
_AUTHORITY_NAME_LENGTH: Final = 31
_HEADER_PREFIX: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,19}(-[A-Za-z0-9]{1,20}){1,4}")
_HEADERS_IN_USE: Final = ("x-forwarded", "x-real", "sec-", "proxy-", "content-", "accept-", "access-", "if-")
_GENERATION_STATES: Final = ("trusted", "active", "retired", "distrusted")
_PURPOSES: Final = ("server", "client", "docker-hosts")
_CERTIFICATE_KINDS: Final = ("server", "client", "peer")
_KEY_TYPES: Final = ("P256", "P384", "RSA-3072", "Ed25519")
REVOCATION_REASONS: Final = (
    # Those of RFC 5280, 5.3.1 that are about certificates of clients and last.
    "unspecified", "key-compromise", "affiliation-changed", "superseded", "cessation-of-operation",
    "privilege-withdrawn",
)  # fmt: skip
_SERIAL: Final = re.compile(r"(?=.*[1-9A-Fa-f])[0-9A-Fa-f]{1,40}")
_PROVIDER_KINDS: Final = ("docker", "swarm", "kubernetes")
_KEY_KINDS: Final = ("P256", "P384", "RSA-2048", "RSA-3072", "Ed25519")
_IDENTITY: Final = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9._-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?")
"""An absolute URI in ASCII, as identities of workloads are (RFC 3986; SPIFFE)."""
_MEMORY_LIMITS: Final = ("memory-and-swap", "memory", "none")
# Who ends in such a label is an IPv4 address to browsers (WHATWG URL, "ends in a number").
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_GPUS: Final = re.compile(r"all|device=[A-Za-z0-9_-]+(?:,[A-Za-z0-9_-]+)*")
# S3's general purpose bucket names, as far as every store has the same rules.
_BUCKET: Final = re.compile(r"(?=.{3,63}$)(?!xn--)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_RESERVED_PREFIXES: Final = ("sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES: Final = ("--ol-s3", "--x-s3", "--table-s3", ".mrap")
_EMAIL: Final = re.compile(r"([\w.!#$%&'*+/=?^`{|}~-]+)@(.+)", re.ASCII)
_PLACEHOLDER: Final = re.compile(r"[<>{}…]|^your[_-]", re.IGNORECASE)
"""What documentation writes where everybody has something of their own."""
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)
_AUTHORITY: Final = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[^][@:]+)(:(?P<port>[0-9]{1,5}))?", re.IGNORECASE)
_PATH: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")  # RFC 3986 §3.3
_CALLS: Final = re.compile(r"/(chat/completions|completions|responses|embeddings|models)$")
"""What a client of OpenAI's protocol adds to the base URL by itself."""
_THIS_MACHINE: Final = frozenset(
    {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "host.docker.internal",
     "gateway.docker.internal", "host.containers.internal"}
)  # fmt: skip
"""Names that mean a container itself, or that nobody but Docker Desktop and Podman knows."""
_DAEMON: Final = re.compile(
    # A name of ~/.ssh/config may have an underscore. What starts with a hyphen would be an option to ssh.
    r"((?P<user>(?!-)[^][@:/?#]+)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|(?!-)[A-Za-z0-9_.-]+)(:(?P<port>[0-9]{1,5}))?"
)
_THERE_ANYWAY: Final = (REFLECTOR_ADMINISTRATOR, ADMINISTRATOR)
_USER_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._@+-]{0,98}[a-z0-9])?")
_GROUP_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,98}[A-Za-z0-9])?")
_SLUG: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?")
_RESERVED_SLUGS: Final = ("authorize", "token", "userinfo", "introspect", "revoke", "device")
"""Paths below /application/o/ (authentik/providers/oauth2/urls.py)."""
_TITLE_LENGTH: Final = 100
_DISCOVERY: Final = "/.well-known/openid-configuration"
SHORTEST_TOKEN_MINUTES: Final = 5
"""Reflector's pages renew an access token when four minutes of it are left (www/app/lib/auth.ts, v0.45.0)."""
_ZONE: Final = re.compile(r"-[0-9]+[a-z]$")
# The ports of https://fetch.spec.whatwg.org/#port-blocking: a browser does not ask them.
_BLOCKED_PORTS: Final = frozenset(
    {1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
     111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
     540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
     6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
)  # fmt: skip


def _is_word(text: str) -> bool:
    """Return whether `text` is printable and without white space: a line break at its end is easily pasted along."""
    return bool(text) and text.isprintable() and " " not in text


def _in_ascii(name: str) -> str:
    """Return a host name as DNS has it, labels in other scripts as A-labels (IDNA 2008); empty if it cannot be."""
    if name.isascii() and "xn--" not in name:
        return name
    import idna  # few need it

    try:
        return idna.encode(unicodedata.normalize("NFC", name)).decode("ascii")
    except UnicodeError:
        return ""


def host_name(text: str) -> str:
    """Return `text` in lower case and ASCII if it is a DNS host name; other scripts become punycode."""
    name = _in_ascii(text.lower())
    labels = name.split(".")
    if (
        len(name) > HOST_NAME_MAX_LENGTH
        or not all(_LABEL.fullmatch(label) for label in labels)
        or _NUMBER.fullmatch(labels[-1])
    ):
        raise ValueError("a host name of letters, digits and hyphens, such as reflector.example.com")
    return name


def public_name(text: str) -> str:
    """Return `text` in normal form if it is a host name of two labels or more: one alone is no name outside."""
    name = host_name(text)
    if "." not in name:
        raise ValueError("a host name with a dot in it, such as reflector.example.com")
    return name


def domain(text: str) -> str:
    """Return `text` in normal form if it is a public name, or localhost."""
    try:
        return text.lower() if text.lower() == "localhost" else public_name(text)
    except ValueError as error:
        raise ValueError(f"{error}, or localhost") from None


def ip_address(text: str) -> str:
    """Return `text` in normal form if it is an IPv4 or IPv6 address of one machine, or stands for all of this one's."""
    allowed = "an IPv4 address, or an IPv6 address without a zone"
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(allowed) from None
    if "%" in str(address):  # a zone, which neither Docker nor a certificate takes
        raise ValueError(allowed)
    if address.is_multicast or str(address) == "255.255.255.255":
        raise ValueError("an address of one machine, not of a group")
    return str(address)


def edge_domain(text: str) -> str:
    """Return `text` in normal form if people can open it: a domain, or an address of a machine other than theirs."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        try:
            return domain(text)
        except ValueError as error:
            raise ValueError(f"{error}, or an IPv4 or IPv6 address of the Docker host, without brackets") from None
    # Browsers have no way to say by which interface (RFC 4007 §11).
    if "%" in text or (address.version == 6 and address.is_link_local):
        raise ValueError("an address that means the same everywhere, not one of a single link (fe80::)")
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_unspecified:
        raise ValueError(
            "an address other machines reach the Docker host by; for this machine alone a name: localhost, or "
            "reflector.localhost"
        )
    return ip_address(str(address))


_IPV4_IN_IPV6: Final = ipaddress.IPv6Network("::ffff:0:0/96")


def proxy_network(text: str) -> str:
    """Return `text` in normal form if it is the address of a proxy, or a network with proxies in it."""
    allowed = "an IPv4 or IPv6 address, or a network such as 10.0.0.0/24"
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(allowed) from None
    if "%" in text or network.is_multicast or network.is_unspecified:
        raise ValueError(allowed)
    if network.prefixlen == 0:
        raise ValueError("the networks your proxies are in, not all there are: anybody could name another's address")
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_IPV4_IN_IPV6):
        raise ValueError("an IPv4 address or network in its own form, such as 10.0.0.0/24")
    if ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f"a network without bits of a machine in it: {network}, or the machine alone, without /")
    return str(network) if network.num_addresses > 1 else str(network.network_address)


def subject_alternative_name(text: str) -> str:
    """Return `text` in normal form if it is `DNS:<name>` or `IP:<address>`."""
    kind, _, value = text.partition(":")
    try:
        if kind == "DNS":
            return f"DNS:{host_name(value)}"
        if kind == "IP":
            address = ipaddress.ip_address(ip_address(value))
            if address.is_unspecified:
                raise ValueError("an address people connect to")
            # Clients look for the IPv4 address in the certificate, however they got to it.
            return f"IP:{getattr(address, 'ipv4_mapped', None) or address}"
    except ValueError as error:
        raise ValueError(f"{kind}:<value> with {error}") from None
    raise ValueError("DNS:<host name> or IP:<address>")


def registered_name(text: str) -> str:
    """Return `text` in normal form if it is `DNS:<name>`, `IP:<address>` or `URI:<uri>`, as clients compare them."""
    kind, _, value = text.partition(":")
    if kind == "URI":
        if not _IDENTITY.fullmatch(value):
            raise ValueError("URI:<scheme>://<authority>/<path>, such as URI:spiffe://stack.internal/agent-7")
        return text
    if kind == "DNS" and "_" in value:
        # RFC 9525 §6.3 leaves only letters, digits and hyphens; browsers and Go refuse the rest.
        raise ValueError("DNS:<host name> with - where it has _, which clients refuse in a certificate")
    try:
        return subject_alternative_name(text)
    except ValueError as error:
        raise ValueError(str(error) if kind in ("DNS", "IP") else f"{error}, or URI:<uri>") from None


def endpoint(text: str) -> str:
    """Return `text` in normal form if it is `<host>:<port>`, an IPv6 address in brackets."""
    parts = _AUTHORITY.fullmatch(text)
    try:
        if parts is None or not parts["port"] or not _is_port(parts["port"]) or not _is_host(parts["host"]):
            raise ValueError
    except ValueError:
        raise ValueError("<host>:<port>, such as db.internal:5432 or [2001:db8::7]:443") from None
    return text.lower()


def provider_address(text: str) -> str:
    """Return `text` in normal form if it is tcp:// or https:// with a host and a port, and nothing behind it."""
    scheme, separator, rest = text.partition("://")
    try:
        if not separator or scheme.lower() not in ("tcp", "https"):
            raise ValueError
        return f"{scheme.lower()}://{endpoint(rest.removesuffix('/'))}"
    except ValueError:
        raise ValueError(
            "tcp://<host>:<port> of a Docker daemon, or https://<host>:<port> of a Kubernetes API server; an IPv6 "
            "address in brackets"
        ) from None


def one_of(*words: str) -> Callable[[str], str]:
    """Return a check that takes one of `words`."""

    def check(text: str) -> str:
        if text not in words:
            raise ValueError(", ".join(words[:-1]) + f" or {words[-1]}")
        return text

    return check


def entry_name(text: str) -> str:
    """Return `text` if something can be called so in a mapping with names of the user's own."""
    if not _ENTRY_NAME.fullmatch(text):
        raise ValueError("a name of lower-case letters, digits and hyphens that begins with a letter")
    return text


def authority_name(text: str) -> str:
    """Return `text` if an authority can be called so, and no generation of another is called the same."""
    if len(text) > _AUTHORITY_NAME_LENGTH or not _AUTHORITY_NAME.fullmatch(text):
        raise ValueError(
            f"a name of lower-case letters, digits and hyphens of {_AUTHORITY_NAME_LENGTH} characters or fewer, each "
            "of its words beginning with a letter: clients-2 is what the second generation of clients is called"
        )
    return text


def network(text: str) -> str:
    """Return `text` if it is an address or a network, as a network."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError("an IP address or a network without host bits, such as 10.0.0.0/8") from None


def serial_number(text: str) -> str:
    """Return `text` in capitals and without colons if it is the serial number of a certificate."""
    digits = text.replace(":", "")
    if not _SERIAL.fullmatch(digits):
        raise ValueError("a serial number of 1 to 40 hexadecimal digits, with or without colons, and not 0")
    return digits.upper()


def day(text: str) -> str:
    """Return `text` if it is a day in the calendar."""
    try:
        if len(text) != len("2026-11-28"):
            raise ValueError
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("a day such as 2026-11-28") from None


def header_prefix(text: str) -> str:
    """Return `text` if names of headers can begin with it: words with hyphens between them."""
    if not _HEADER_PREFIX.fullmatch(text):
        raise ValueError("two to five words of letters and digits with hyphens between them, such as X-Client")
    if text.lower().startswith(_HEADERS_IN_USE):
        raise ValueError("the beginning of headers that have no other meaning, such as X-Client-Certificate")
    return text


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


def browser_port(number: int) -> int:
    """Return `number` if it is a port, and none that browsers refuse to ask."""
    if port(number) in _BLOCKED_PORTS:
        raise ValueError("a port browsers ask, such as 8443: this one they take for another protocol's")
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
    """Return `text` in normal form if it names a Docker daemon by a scheme that the provider and `docker` understand.

    A path behind a host, a lone slash too, would be the path of a socket there.
    """
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()  # in capitals it is the same, and needs the same certificates
    if scheme == "unix" and re.fullmatch(r"/[^?#]*[^/?#]", rest) and rest.isprintable() and rest == rest.strip():
        return f"unix://{rest}"
    parts = _DAEMON.fullmatch(rest.removesuffix("/")) if _is_word(text) else None
    try:
        valid = parts is not None and _is_port(parts["port"]) and _is_host(parts["host"])
    except ValueError:
        valid = False
    if parts is not None and valid and (scheme == "ssh" or (scheme == "tcp" and parts["port"] and not parts["user"])):
        return f"{scheme}://{parts[0]}"
    if scheme in ("ssh", "tcp") and re.fullmatch(
        r"[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*:[0-9A-Fa-f.:]*/?", rest.rpartition("@")[2]
    ):
        raise ValueError("an IPv6 address in brackets, such as tcp://[2001:db8::1]:2376")
    raise ValueError("unix:///<path>, ssh://<user>@<host>[:<port>] or tcp://<host>:<port>")


def _is_port(text: str | None) -> bool:
    return text is None or 1 <= int(text) <= 65535


def _is_host(text: str) -> bool:
    """Return whether `text` is a name, with underscores too, or an address, one of IPv6 in brackets."""
    if text.startswith("["):
        return bool(ipaddress.IPv6Address(text[1:-1]))
    if _NUMBER.fullmatch(text.lower().rpartition(".")[2]):
        return bool(ipaddress.IPv4Address(text))
    return bool(host_name(text.replace("_", "x")))


def http_url(text: str) -> str:
    """Return `text` without a trailing slash if containers can call it as an absolute http or https URL.

    Its host is a name or an address of a machine, and not of whoever calls; an underscore in a name is let pass.
    """
    allowed = "a URL of the form http[s]://<host>[:<port>][/<path>]"
    if not _is_word(text):
        raise ValueError(f"{allowed}, without spaces and line breaks")
    parts = _URL.fullmatch(text)
    if parts is None:
        raise ValueError(allowed)
    if _PLACEHOLDER.search(text) or _PLACEHOLDER.search(parts["authority"]):
        raise ValueError(f"{allowed}, with what stands for something of your own filled in")
    if "@" in parts["authority"]:
        raise ValueError(f"{allowed}, without user and password: a key has a setting of its own")
    if parts["rest"]:
        raise ValueError(f"{allowed}, without a query and a fragment")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    try:
        valid = authority is not None and _is_port(authority["port"]) and _is_host(authority["host"])
    except ValueError:
        valid = False
    host = _in_ascii(authority["host"].lower()) if authority is not None and valid else ""
    if authority is None or not host or not _PATH.fullmatch(parts["path"]):
        raise ValueError(allowed)
    if _is_this_machine(host):
        raise ValueError(
            f"{allowed}, with a host containers reach: to them this one is the container itself or nobody; "
            "the Docker host is reached by its name or address in the network"
        )
    port = f":{authority['port']}" if authority["port"] else ""
    return f"{parts['scheme'].lower()}://{host}{port}{parts['path']}".rstrip("/")


def host_of(url: str) -> str:
    """Return the host of a URL in normal form, an IPv6 address in brackets."""
    return re.sub(r":[0-9]+$", "", url.partition("://")[2].partition("/")[0])


def port_of(url: str) -> int:
    """Return the port of a URL in normal form."""
    scheme, _, rest = url.partition("://")
    found = re.search(r":([0-9]+)$", rest.partition("/")[0])
    return int(found[1]) if found else {"http": 80, "https": 443}[scheme]


def _is_this_machine(host: str) -> bool:
    """Return whether a container that calls `host` gets to itself, or nowhere."""
    if host in _THIS_MACHINE or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified or address.is_multicast


def model_url(text: str) -> str:
    """Return `text` as `http_url` does, if it is the base of what speaks OpenAI's protocol."""
    url = http_url(text)
    if _CALLS.search(url):
        raise ValueError("the base URL alone, which ends in /v1 or the like: what is called there is added to it")
    return url


def store_url(text: str) -> str:
    """Return `text` as `http_url` does, if the SDK of S3 takes it for a store: it adds the bucket by itself."""
    url = http_url(text)
    host = host_of(url)
    if url.partition("://")[2].partition("/")[1]:
        raise ValueError("the URL of the store without a path: the bucket is added to it")
    if "_" in host:
        raise ValueError("the URL of a store whose host name has letters, digits and hyphens")
    return url


def proxy_url(text: str) -> str:
    """Return `text` as `http_url` does, if it says no more than where a proxy listens."""
    url = http_url(text)
    if url.partition("://")[2].partition("/")[1]:
        raise ValueError("the URL of a proxy without a path, such as http://proxy.example.com:3128")
    return url


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


def pulled_from(text: str) -> str:
    """Return `text` if Docker looks for a folder of that name for the authorities of a registry."""
    bracketed = _BRACKETED.fullmatch(text)
    try:
        if bracketed is not None:
            valid = bool(ipaddress.IPv6Address(bracketed["host"])) and _is_port(bracketed["port"])
        else:
            valid = bool(registry_address(text)) and text != DOCKER_HUB
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(
            "<host>[:<port>] of a registry of your own, in lower case as images begin with it, an IPv6 address in "
            "brackets, without https:// and path"
        )
    return text


def absolute_file(text: str) -> str:
    """Return `text` if it is the path of a file whatever folder it is used in."""
    if not text.startswith(("/", "~/")) or text.endswith("/") or not text.isprintable() or text != text.strip():
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
    if "://" in text:
        raise ValueError("an image reference without a scheme, such as registry.example.com/redis:7.2.1")
    if not is_pinned(text):
        raise ValueError("an image reference with a digest (@sha256:…) or an exact version tag, never latest")
    return text


def gpus(text: str) -> str:
    """Return `text` if Docker's --gpus takes it, each device once."""
    devices = text.partition("=")[2].split(",")
    if not _GPUS.fullmatch(text) or len(set(devices)) < len(devices):
        raise ValueError("all, or device=<index or UUID>[,…]")
    return text


def model_name(text: str) -> str:
    """Return `text` if it can name a model."""
    if not is_model_name(text) or _PLACEHOLDER.search(text):
        raise ValueError("a model name: one word that does not start with a hyphen")
    return text


def bucket(text: str) -> str:
    """Return `text` if it is a bucket's name to every store; AWS keeps more for itself."""
    if not _BUCKET.fullmatch(text) or text.endswith("-s3alias") or re.fullmatch(r"\d+\.\d+\.\d+\.\d+", text):
        raise ValueError(
            "3 to 63 lower-case letters, digits, dots and hyphens, with a letter or digit before and after each dot; "
            "no address, no xn--… and no …-s3alias"
        )
    return text


def aws_bucket(text: str) -> str:
    """Return `text` if it can be a bucket's name in AWS, which keeps some for itself."""
    if bucket(text).startswith(_RESERVED_PREFIXES) or text.endswith(_RESERVED_SUFFIXES):
        raise ValueError(
            f"a name AWS does not keep for itself: none that begins with {' or '.join(_RESERVED_PREFIXES)}, or ends in "
            f"{' or '.join(_RESERVED_SUFFIXES)}"
        )
    return text


def email(text: str) -> str:
    """Return `text` if it can be typed into Reflector's login page, its domain in ASCII.

    That is an `<input type="email">`, with a grammar of its own (HTML §4.10.5.1.5), in which browsers turn a domain in
    another script into punycode. Reflector itself checks nothing.
    """
    name, at, host = text.rpartition("@")
    # What is in ASCII is left as it is: Reflector tells capitals from small letters.
    whole = text if host.isascii() else f"{name}{at}{_in_ascii(host.lower())}"
    match = _EMAIL.fullmatch(whole)
    if match is None or not all(_LABEL.fullmatch(label) for label in match[2].split(".")):
        raise ValueError("an e-mail address as browsers take it, such as admin@reflector.example.com")
    return whole


def word(text: str) -> str:
    """Return `text` if it is one word."""
    if not _is_word(text) or _PLACEHOLDER.search(text):
        raise ValueError("one word without spaces")
    return text


def region(text: str) -> str:
    """Return `text` if clients of S3 take it for a region: one label of a host name."""
    if not _LABEL.fullmatch(text) or text.isdigit():
        raise ValueError("a region as the store calls it, such as eu-central-1")
    return text


def aws_region(text: str) -> str:
    """Return `text` if it can be a region of AWS, and none of the zones in one."""
    if region(text) != text.lower() or _ZONE.search(text):
        raise ValueError("a region of AWS, such as eu-central-1, not a zone in it")
    return text


def password(secret: Secret) -> Secret:
    """Return `secret` if somebody can have typed it: one line, with nothing blank around it."""
    if secret.value is not None and not (secret.value.isprintable() and secret.value == secret.value.strip()):
        raise ValueError("one encrypted line, without blanks around it and without a line break at its end")
    return secret


def token(secret: Secret) -> Secret:
    """Return `secret` if it can be sent as a key: one word of ASCII."""
    if secret.value is not None and not (_is_word(secret.value) and secret.value.isascii()):
        raise ValueError("one encrypted word of ASCII characters, without spaces and without a line break at its end")
    return secret


def brought(secret: Secret) -> Secret:
    """Return `secret` if it can be certificates or a key: PEM, or base64 of what is no text."""
    if secret.value is not None:
        try:
            encoded(secret.value)
        except MaterialError:
            raise ValueError("PEM, or base64 of DER, PKCS #7 or PKCS #12, encrypted") from None
    return secret


def title(text: str) -> str:
    """Return `text` if it is a name or a title: one line, with nothing blank around it."""
    if not text or text != text.strip() or not text.isprintable() or len(text) > _TITLE_LENGTH:
        raise ValueError(f"one line of {_TITLE_LENGTH} characters or fewer, without blanks around it")
    return text


def user_name(text: str) -> str:
    """Return `text` if it can be somebody's name in Authentik, and none of those that are there anyway."""
    if not _USER_NAME.fullmatch(text) or text in _THERE_ANYWAY:
        raise ValueError(
            "lower-case letters, digits and . _ @ + - with a letter or digit at both ends, other than "
            f"{' and '.join(_THERE_ANYWAY)}, who are there anyway"
        )
    return text


def group_name(text: str) -> str:
    """Return `text` if it can be a group's name in Authentik, and none of its own groups'."""
    if not _GROUP_NAME.fullmatch(text) or text.lower().startswith("authentik "):
        raise ValueError(
            "letters, digits, blanks and . _ - with a letter or digit at both ends, and not beginning with authentik"
        )
    return text


def application_slug(text: str) -> str:
    """Return `text` if it can name an application in Authentik's URLs, where some paths are its own."""
    if not _SLUG.fullmatch(text) or text in _RESERVED_SLUGS:
        raise ValueError(
            f"lower-case letters, digits and hyphens, and none of {', '.join(_RESERVED_SLUGS)}, which are paths of "
            "Authentik's own"
        )
    return text


def https_url(text: str) -> str:
    """Return `text` as it is if `http_url` takes it and it is https; a slash at its end is a part of it."""
    if not http_url(text).startswith("https://"):
        raise ValueError("a URL of the form https://<host>[:<port>]/<path>: passwords and tokens go there")
    return http_url(text) + ("/" if text.endswith("/") else "")


def issuer_url(text: str) -> str:
    """Return `text` if it is an issuer as Reflector's web frontend takes it."""
    url = https_url(text)
    if url.endswith("/"):
        raise ValueError("the issuer without the slash at its end: what is called there is added to it, slash and all")
    if url.endswith(_DISCOVERY):
        raise ValueError(f"the issuer without {_DISCOVERY}, which is added to it")
    return url


def rsa_public_key(text: str) -> str:
    """Return `text` anew if it is one RSA public key in PEM, of 2048 bits or more."""
    from pki import pem  # a tenth of a second, for those with a provider elsewhere

    try:
        return pem.rsa_public_key_text(text.encode())
    except pem.PemError as error:
        raise ValueError(f"one RSA public key in PEM (BEGIN PUBLIC KEY), not {error}") from None


def folder(text: str) -> str:
    """Return `text` if it can name a folder."""
    if not text or text != text.strip() or not text.isprintable():
        raise ValueError("the path of a folder")
    return text


def file_path(text: str) -> str:
    """Return `text` if it can name a file."""
    try:
        return folder(text)
    except ValueError:
        raise ValueError("the path of a file") from None


def acme_directory(text: str) -> str:
    """Return `text` as `http_url` does if it is https, without which there is no ACME (RFC 8555, 6.1)."""
    if not http_url(text).startswith("https://"):
        raise ValueError("a URL of the form https://<host>[:<port>]/<path>")
    return http_url(text) + ("/" if text.endswith("/") else "")


def _text(check: Callable[[str], str], **schema: Any) -> Any:
    return WithJsonSchema({"type": "string", **schema}), _checked(check)


def _number(check: Callable[[int], int], **schema: Any) -> Any:
    return WithJsonSchema({"type": "integer", **schema}), _checked(check)


def _checked(check: Callable[[Any], object]) -> WrapValidator:
    def validate(given: object, validate_type: ValidatorFunctionWrapHandler) -> object:
        return given if isinstance(given, Unknown) else check(validate_type(given))

    return WrapValidator(validate)


# A schema says what an editor can check while somebody types; the checks themselves are stricter.
_NAME: Final = r"^([A-Za-z0-9.-]|[^\x00-\x7F])+$"
HostName = Annotated[str, *_text(host_name, maxLength=HOST_NAME_MAX_LENGTH, pattern=_NAME)]
Domain = Annotated[str, *_text(domain, maxLength=HOST_NAME_MAX_LENGTH, pattern=_NAME)]
EdgeDomain = Annotated[
    str, *_text(edge_domain, maxLength=HOST_NAME_MAX_LENGTH, pattern=r"^([A-Za-z0-9.:-]|[^\x00-\x7F])+$")
]
PublicName = Annotated[str, *_text(public_name, maxLength=HOST_NAME_MAX_LENGTH, pattern=_NAME)]
IpAddress = Annotated[str, *_text(ip_address, pattern=r"^[0-9A-Fa-f.:]+$")]
ProxyNetwork = Annotated[str, *_text(proxy_network, pattern=r"^[0-9A-Fa-f.:]+(/[0-9.]+)?$")]
SubjectAlternativeName = Annotated[
    str, *_text(subject_alternative_name, pattern=r"^(DNS:([A-Za-z0-9.-]|[^\x00-\x7F])+|IP:[0-9A-Fa-f.:]+)$")
]
DockerAddress = Annotated[str, *_text(docker_address, pattern=r"^([Uu][Nn][Ii][Xx]|[Ss][Ss][Hh]|[Tt][Cc][Pp])://.+$")]
ProxyUrl = Annotated[str, *_text(proxy_url, pattern=r"^https?://[^/@?#\s]+/?$")]
ReachedDirectly = Annotated[str, *_text(reached_directly, pattern=r"^[A-Za-z0-9.:/-]+$")]
RegistryAddress = Annotated[str, *_text(registry_address, pattern=r"^[a-z0-9.-]+(:[0-9]+)?$")]
PulledFrom = Annotated[str, *_text(pulled_from, pattern=r"^([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]+)?$")]
PrivatePool = Annotated[str, *_text(private_pool, pattern=r"^[0-9.]+/[0-9]+$")]
AbsoluteFile = Annotated[str, *_text(absolute_file, pattern=r"^(/|~/).*[^/]$")]
MemoryLimits = Annotated[str, *_text(one_of(*_MEMORY_LIMITS), enum=list(_MEMORY_LIMITS))]
EntryName = Annotated[str, *_text(entry_name, pattern=f"^{_ENTRY_NAME.pattern}$")]
AuthorityName = Annotated[
    str, *_text(authority_name, pattern=f"^{_AUTHORITY_NAME.pattern}$", maxLength=_AUTHORITY_NAME_LENGTH)
]
HeaderPrefix = Annotated[str, *_text(header_prefix, pattern=f"^{_HEADER_PREFIX.pattern}$")]
GenerationState = Annotated[str, *_text(one_of(*_GENERATION_STATES), enum=list(_GENERATION_STATES))]
Purpose = Annotated[str, *_text(one_of(*_PURPOSES), enum=list(_PURPOSES))]
RegisteredName = Annotated[
    str,
    *_text(
        registered_name,
        pattern=r"^(DNS:([A-Za-z0-9.-]|[^\x00-\x7F])+|IP:[0-9A-Fa-f.:]+|URI:[a-z][a-z0-9+.-]*://[!-~]+)$",
    ),
]
Endpoint = Annotated[str, *_text(endpoint, pattern=r"^([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$")]
ProviderAddress = Annotated[str, *_text(provider_address, pattern=r"^([Tt][Cc][Pp]|[Hh][Tt][Tt][Pp][Ss])://[^/?#]+/?$")]
ProviderKind = Annotated[str, *_text(one_of(*_PROVIDER_KINDS), enum=list(_PROVIDER_KINDS))]
KeyKind = Annotated[str, *_text(one_of(*_KEY_KINDS), enum=list(_KEY_KINDS))]
CertificateKind = Annotated[str, *_text(one_of(*_CERTIFICATE_KINDS), enum=list(_CERTIFICATE_KINDS))]
KeyType = Annotated[str, *_text(one_of(*_KEY_TYPES), enum=list(_KEY_TYPES))]
RevocationReason = Annotated[str, *_text(one_of(*REVOCATION_REASONS), enum=list(REVOCATION_REASONS))]
SerialNumber = Annotated[str, *_text(serial_number, pattern=r"^[0-9A-Fa-f:]+$")]
Day = Annotated[str, *_text(day, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Network = Annotated[str, *_text(network, pattern=r"^[0-9A-Fa-f.:]+(/[0-9]+)?$")]
DeploymentId = Annotated[str, *_text(deployment_id, pattern=f"^{_DEPLOYMENT.pattern}$")]
_HTTP: Final = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s?#]+$"
Folder = Annotated[str, *_text(folder, minLength=1)]
FilePath = Annotated[str, *_text(file_path, minLength=1)]
AcmeDirectory = Annotated[str, *_text(acme_directory, pattern=r"^[Hh][Tt][Tt][Pp][Ss]://[^\s?#]+$")]
HttpUrl = Annotated[str, *_text(http_url, pattern=_HTTP)]
ModelUrl = Annotated[str, *_text(model_url, pattern=_HTTP)]
StoreUrl = Annotated[str, *_text(store_url, pattern=_HTTP)]
ImageReference = Annotated[str, *_text(image_reference, pattern=r"[:@]")]
Gpus = Annotated[str, *_text(gpus, pattern=f"^({_GPUS.pattern})$")]
ModelName = Annotated[str, *_text(model_name, pattern=r"^[^\s-]\S*$")]
Bucket = Annotated[str, *_text(bucket, minLength=3, maxLength=63, pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$")]
AwsBucket = Annotated[str, *_text(aws_bucket, minLength=3, maxLength=63, pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$")]
Email = Annotated[str, *_text(email, pattern=r"^[^@\s]+@[^@\s]+$")]
Title = Annotated[str, *_text(title, minLength=1, maxLength=_TITLE_LENGTH)]
UserName = Annotated[str, *_text(user_name, pattern=f"^{_USER_NAME.pattern}$")]
GroupName = Annotated[str, *_text(group_name, pattern=f"^{_GROUP_NAME.pattern}$")]
ApplicationSlug = Annotated[str, *_text(application_slug, pattern=f"^{_SLUG.pattern}$")]
IssuerUrl = Annotated[str, *_text(issuer_url, pattern=r"^[Hh][Tt][Tt][Pp][Ss]://[^\s?#]*[^\s?#/]$")]
TokenUrl = Annotated[str, *_text(https_url, pattern=r"^[Hh][Tt][Tt][Pp][Ss]://[^\s?#]+$")]
RsaPublicKey = Annotated[str, *_text(rsa_public_key, pattern=r"BEGIN PUBLIC KEY")]
Members = Annotated[tuple[str, ...], Field(strict=False, min_length=1), _checked(lambda members: members)]
Word = Annotated[str, *_text(word, pattern=r"^\S+$")]
Region = Annotated[str, *_text(region, pattern=r"^[A-Za-z0-9-]+$")]
AwsRegion = Annotated[str, *_text(aws_region, pattern=r"^[a-z0-9-]+$")]
Token = Annotated[Secret, _checked(token)]
Brought = Annotated[Secret, _checked(brought)]
Password = Annotated[Secret, _checked(password)]
Port = Annotated[int, *_number(port, minimum=1, maximum=65535)]
BrowserPort = Annotated[int, *_number(browser_port, minimum=1, maximum=65535)]
MemoryMib = Annotated[int, *_number(at_least(MEMORY_FLOOR_MIB, "MiB"), minimum=MEMORY_FLOOR_MIB)]
Gibibytes = Annotated[int, *_number(at_least(1, "GiB"), minimum=1)]
Tokens = Annotated[int, *_number(at_least(1024, "tokens"), minimum=1024)]
Seconds = Annotated[int, *_number(at_least(1, "second"), minimum=1)]
StartupLimit = Annotated[int, *_number(at_least(10, "seconds"), minimum=10)]
ValidityHours = Annotated[
    int,
    *_number(
        between(SHORTEST_VALIDITY_HOURS, LONGEST_VALIDITY_HOURS, "hours"),
        minimum=SHORTEST_VALIDITY_HOURS,
        maximum=LONGEST_VALIDITY_HOURS,
    ),
]
Processes = Annotated[int, *_number(between(1, 64, "processes"), minimum=1, maximum=64)]
WebSocketHours = Annotated[int, *_number(between(1, 168, "hours"), minimum=1, maximum=168)]
Years = Annotated[int, *_number(between(1, 30, "years"), minimum=1, maximum=30)]
Days = Annotated[int, *_number(at_least(1, "day"), minimum=1)]
RekeyDays = Annotated[int, *_number(between(1, 3650, "days"), minimum=1, maximum=3650)]
RenewalHours = Annotated[int, *_number(at_least(1, "hour"), minimum=1)]
TokenMinutes = Annotated[
    int, *_number(between(SHORTEST_TOKEN_MINUTES, 24 * 60, "minutes"), minimum=SHORTEST_TOKEN_MINUTES, maximum=24 * 60)
]
Issue = Annotated[int, *_number(between(1, 100_000, "as a number"), minimum=1, maximum=100_000)]
Generation = Annotated[int, *_number(between(1, 1000, "of them"), minimum=1, maximum=1000)]
