"""The Caddyfile, in two parts.

The *base* is fixed for the life of the container: global options, a listener on loopback, and an import of the release
that is live. A *release* is the sites: names, routes, and which certificate goes with which name; it is taken over by
a reload. The *standby* is what the container brings along for when there is no release it can serve: it answers 503.

The certificates themselves are in neither. Caddy asks for one at each TLS handshake, on the loopback listener, by the
name the client wants (SNI), and gets it from a file: a renewed one is served as soon as its file is replaced. A reload
would start new HTTP servers, and the old ones drop whatever request reaches a connection they have just accepted (Go's
net/http, since 1.22).
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

CONFIG_DIRECTORY: Final = "/config/reflector"
"""Inside the volume mounted at /config: the base, the certificates, the releases and the link `live` to one of them."""
BASE_FILE: Final = f"{CONFIG_DIRECTORY}/Caddyfile"
CERTIFICATES_DIRECTORY: Final = "certificates"
"""Relative to CONFIG_DIRECTORY: one file for each certificate, the leaf, its chain and its key."""
SITES_FILE: Final = "sites.caddy"
NAMES_FILE: Final = "names.certificates"
ADMIN_SOCKET: Final = "/run/caddy/admin.sock"
LOOPBACK_PORT: Final = 2080

_STREAM_CLOSE_DELAY: Final = "12h"
"""How long a WebSocket outlives the release it was opened under: longer than a meeting, and it costs memory only."""
_CERTIFICATE_SOURCE: Final = f"""tls {{
		get_certificate http http://127.0.0.1:{LOOPBACK_PORT}/certificate
	}}"""
# What clients may claim about themselves. Caddy sets those of them that it knows anew, and passes all others on.
_CLAIMS: Final = ("Forwarded", "X-Forwarded-*", "X-Real-Ip")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the edge adds to the answers of a site; as it stands: nothing."""

    compress: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header → value; one without a value is taken away."""
    strict_transport_security: bool = False
    """Whether browsers are told to come back by HTTPS only, where that is safe: see `_strict_transport_security`."""


NOTHING: Final = Policy()
"""For what has to arrive as it was sent."""
PAGES: Final = Policy(
    compress=True,
    headers={
        "-Server": "",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "strict-origin-when-cross-origin",
        "X-Frame-Options": "SAMEORIGIN",
        "Permissions-Policy": '"geolocation=(), payment=(), usb=()"',
    },
    strict_transport_security=True,
)
"""For pages people look at."""


@dataclass(frozen=True, kw_only=True)
class RouteText:
    """A route, in the words of the Caddyfile."""

    paths: Sequence[str] = ()
    """As Caddy matches them; none: all that is left."""
    upstream: str
    """URL inside the stack."""
    canonical: bool = False
    """Whether it is served at the site's canonical name only, and the other names lead there."""


@dataclass(frozen=True, kw_only=True)
class SiteText:
    """A site, in the words of the Caddyfile."""

    names: Sequence[str]
    """DNS names and addresses, the canonical name first."""
    certificate_file: str
    """Relative to CERTIFICATES_DIRECTORY."""
    routes: Sequence[RouteText]
    """The first that matches takes a request."""
    closed: Sequence[str] = ()
    """Paths, as Caddy matches them, that are refused whoever asks."""
    policy: Policy


def base(default_name: str) -> str:
    """Return the part that only changes with the container.

    `default_name` is taken for the name a client means that sends none, as those do that use an address.
    """
    live = f"{{$CADDY_RELEASE:{CONFIG_DIRECTORY}/live}}"
    return f"""{{
	admin unix/{ADMIN_SOCKET}
	persist_config off
	auto_https off
	skip_install_trust
	default_sni {default_name}
	fallback_sni {default_name}
	grace_period 30s
	servers {{
		timeouts {{
			read_header 10s
			idle 5m
		}}
	}}
}}

http://127.0.0.1:{LOOPBACK_PORT} {{
	bind 127.0.0.1
	handle /healthy {{
		respond 200
	}}
	handle /certificate {{
		root * {CONFIG_DIRECTORY}/{CERTIFICATES_DIRECTORY}
		import {live}/*.certificates
		file_server
	}}
}}

import {live}/*.caddy
"""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One deliverable configuration of the edge."""

    identifier: str
    """16 hex digits over the rest; `standby` for what is no release."""
    sites: str
    """Caddyfile text."""
    names: str
    """Caddyfile text: which certificate goes with which name."""


def release(sites: Sequence[SiteText], *, https_port: int, http_port: int) -> Release:
    """Return the release that serves these sites.

    `https_port` is the one in the URLs people see, and the one Caddy listens on. A client that names none of the sites
    is shown the certificate of the first.

    Raises: ValueError if a name is in two sites.
    """
    names = [name for site in sites for name in site.names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names of more than one site: {', '.join(twice)}")
    text, certificates = _sites(sites, https_port, http_port), _names(sites)
    return Release(
        identifier=hashlib.sha256(f"{text}\n{certificates}".encode()).hexdigest()[:16], sites=text, names=certificates
    )


def standby(certificate_file: str, *, https_port: int, http_port: int) -> Release:
    """Return what is served while there is no release: an answer in words to whatever is asked.

    `certificate_file` is shown by then, if it has been delivered.
    """
    answer = """header Retry-After 10
	respond "This site is being set up. Try again in a moment." 503"""
    sites = f"""http://:{http_port} {{
	{answer}
}}

https://:{https_port} {{
	{_CERTIFICATE_SOURCE}

	{answer}
}}
"""
    return Release(identifier="standby", sites=sites, names=f"rewrite * /{certificate_file}\n")


def certificate(certificate_pem: str, private_key_pem: str) -> str:
    """Return the content of a certificate's file."""
    return f"{certificate_pem.strip()}\n{private_key_pem.strip()}\n"


def _names(sites: Sequence[SiteText]) -> str:
    # Names of hosts are the same in either case (RFC 4343), and clients send them as somebody typed them.
    lines = [f"\t~(?i)^{re.escape(name)}$ {site.certificate_file}" for site in sites for name in site.names]
    return "\n".join(
        [
            "map {query.server_name} {certificate} {",
            *lines,
            f"\tdefault {sites[0].certificate_file}",
            "}",
            "rewrite * /{certificate}",
            "",
        ]
    )


def _sites(sites: Sequence[SiteText], https_port: int, http_port: int) -> str:
    public_port = "" if https_port == 443 else f":{https_port}"
    blocks = "\n".join(_site(number, site, public_port) for number, site in enumerate(sites, start=1))
    claims = "\n".join(f"\trequest_header -{claim}" for claim in _CLAIMS)
    # Behind a port, {host} has lost the brackets of an IPv6 address.
    return f"""http://:{http_port} {{
	@ipv6 header_regexp host Host ^(\\[.*\\])
	redir @ipv6 https://{{re.host.1}}{public_port}{{uri}} 308
	redir https://{{host}}{public_port}{{uri}} 308
}}

https://:{https_port} {{
	{_CERTIFICATE_SOURCE}

{claims}

{blocks}
	handle {{
		respond "No such name is served here." 421
	}}
}}
"""


def _site(number: int, site: SiteText, public_port: str) -> str:
    lines = ["encode zstd gzip"] if site.policy.compress else []
    headers = site.policy.headers
    if headers:
        lines += ["header {", *(f"\t{name} {value}".rstrip() for name, value in headers.items()), "}"]
    if site.policy.strict_transport_security:
        lines += _strict_transport_security(number, site.names, public_port)
    if site.closed:
        lines += [
            f"@closed{number} path {' '.join(site.closed)}",
            f"handle @closed{number} {{",
            '\trespond "This is not served here." 403',
            "}",
        ]
    for index, route in enumerate(site.routes, start=1):
        matcher = ""
        if route.paths:
            matcher = f"@route{number}_{index} "
            lines.append(f"{matcher}path {' '.join(route.paths)}")
        lines.append(f"handle {matcher}{{")
        if route.canonical and len(site.names) > 1:
            # Not for good: a browser that remembered it would go in a circle once another name is the canonical one.
            lines += [
                f"\t@other{number}_{index} not host {site.names[0]}",
                f"\tredir @other{number}_{index} https://{_bracketed(site.names[0])}{public_port}{{uri}} 307",
            ]
        lines += [
            f"\treverse_proxy {route.upstream} {{",
            f"\t\tstream_close_delay {_STREAM_CLOSE_DELAY}",
            "\t}",
            "}",
        ]
    body = "\n".join(f"\t\t{line}" for line in lines)
    return f"""	@site{number} host {" ".join(site.names)}
	handle @site{number} {{
{body}
	}}
"""


def _strict_transport_security(number: int, names: Sequence[str], public_port: str) -> list[str]:
    """Return the lines that tell browsers to come back to `names` by HTTPS only.

    A browser then does so for every port of a name (RFC 6797 §8.3). So it is told so only where HTTPS has the port that
    is its own: with another one, the name is likely to have neighbours. And never of localhost, which every program of
    that machine goes by; addresses cannot be told (§8.1.1).
    """
    told = [name for name in names if not _is_address(name) and name.rpartition(".")[2].lower() != "localhost"]
    if public_port or not told:
        return []
    return [
        f"@named{number} host {' '.join(told)}",
        f'header @named{number} Strict-Transport-Security "max-age=31536000"',
    ]


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name
