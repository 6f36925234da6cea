"""The Caddyfiles of the edge, which is two Caddys: a front that clients talk to, and a router behind it.

The *front* is never reloaded. It has the published ports, TLS, and what clients claim about themselves; all else it
leaves to the router. The *router* knows the sites: its own part is fixed for the life of the container, and imports the
release that is live. A *release* is names, routes, and which certificate goes with which name. The *standby* is what
the container brings along for when there is no release it can serve: it answers 503.

A reload makes Caddy start new HTTP servers and shut the old ones down, and those lose requests: what waits to be
accepted is reset with the old listener, what they have accepted they drop unread (Go's net/http, since 1.22), and what
just leaves a client on a connection they take for idle goes nowhere. So clients never talk to a server that is
reloaded. The front opens a connection to the router for each request, and finds it by a path, `serving`: a link to the
sockets of the release that is live. A release has sockets of its own. The link is turned once they are there, and the
servers of the release before go on for DRAIN_SECONDS, long after the last connection made by the old link.

The certificates themselves are in no Caddyfile. The front asks for one at each TLS handshake, through its listener on
loopback, by the name the client wants (SNI); the router says which file it is in. A renewed one is served as soon as
its file is replaced.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Final

from rendering import trust_page

CONFIG_DIRECTORY: Final = "/config/reflector"
"""Inside the volume mounted at /config: what is fixed, the certificates, the releases, and the link `live` to one."""
FRONT_FILE: Final = f"{CONFIG_DIRECTORY}/front.Caddyfile"
ROUTER_FILE: Final = f"{CONFIG_DIRECTORY}/router.Caddyfile"
CERTIFICATES_DIRECTORY: Final = "certificates"
"""Relative to CONFIG_DIRECTORY: one file for each certificate, the leaf, its chain and its key."""
TRUST_PAGE_DIRECTORY: Final = "trust"
"""Relative to CONFIG_DIRECTORY: the files of the page about the authority."""
SITES_FILE: Final = "sites.router"
"""Not that of an earlier release, `sites.caddy`, whose sites had the published ports themselves."""
NAMES_FILE: Final = "names.certificates"
RUN_DIRECTORY: Final = "/run/caddy"
"""For sockets; never longer than the container runs."""
ADMIN_SOCKET: Final = f"{RUN_DIRECTORY}/admin.sock"
"""The router's. The front has none: nothing ever changes it."""
SOCKETS_DIRECTORY: Final = f"{RUN_DIRECTORY}/sockets"
"""A folder for each release that is taken over."""
SERVING: Final = f"{RUN_DIRECTORY}/serving"
"""The link to one of these, that of the release that is live."""
HTTPS_SOCKET: Final = "https"
SOCKETS: Final = (HTTPS_SOCKET, "http", "internal")
"""One for what arrives by either protocol, and one for what the edge asks itself: its health, and its certificates.
Besides, there is one for each port that is a site's own, see `own_socket`."""
DRAIN_SECONDS: Final = 5
"""How long the servers of the release before take connections after a reload: many times what it takes to turn the link
and to send the head of a request, even where the machine is busy."""
LOOPBACK_PORT: Final = 2080

# Variables of the one who reads the router's configuration: the release it imports, where its sockets are made, and how
# long they outlive it.
_LIVE: Final = f"{{$CADDY_RELEASE:{CONFIG_DIRECTORY}/live}}"
_STREAM_CLOSE_DELAY: Final = "12h"
"""How long a WebSocket outlives the release it was opened under: longer than a meeting, and it costs memory only."""
_CERTIFICATE_SOURCE: Final = f"""tls {{
		get_certificate http http://127.0.0.1:{LOOPBACK_PORT}/certificate
	}}"""
# What clients may claim about themselves. Caddy sets those of them that it knows anew, and passes all others on. What a
# trusted proxy says of its client has been read before any of this.
CLAIMS: Final = ("Forwarded", "X-Forwarded-*", "X-Real-Ip")


def own_socket(port: int) -> str:
    """Return the name of the socket of what arrives by a port that is a site's own.

    By it the router knows the port. What a client says of it, in Host, is anybody's word.
    """
    return f"{HTTPS_SOCKET}-{port}"


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
class Ordering:
    """Certificates the front orders itself, by ACME."""

    names: Sequence[str]
    """What they are for."""
    directory: str
    """URL of the ACME directory."""
    email: str | None = None
    account_key_id: str | None = None
    """Of an external account, whose key is in the variable ACCOUNT_KEY."""


ACCOUNT_KEY: Final = "ACME_ACCOUNT_KEY"
ORDERS_LOG: Final = "/tmp/orders.log"
"""What the front says of its orders, one JSON object a line: looked at where a certificate does not come."""


@dataclass(frozen=True, kw_only=True)
class SiteText:
    """A site, in the words of the Caddyfile."""

    names: Sequence[str]
    """DNS names and addresses, the canonical name first."""
    certificate_file: str | None
    """Relative to CERTIFICATES_DIRECTORY; None where the front orders one."""
    routes: Sequence[RouteText]
    """The first that matches takes a request."""
    closed: Sequence[str] = ()
    """Paths, as Caddy matches them, that are refused whoever asks."""
    policy: Policy
    trust_page: bool = False
    """Whether the page about the authority is served at its names, whatever its routes say."""
    own_port: int | None = None
    """The HTTPS port it has to itself, where it shares its names; None: it is told apart by its names."""

    @property
    def socket(self) -> str:
        """The socket of what arrives for it."""
        return HTTPS_SOCKET if self.own_port is None else own_socket(self.own_port)


def front(
    default_name: str,
    *,
    https_port: int,
    http_port: int,
    own_ports: Sequence[int] = (),
    trusted_proxies: Sequence[str] = (),
    proxy_protocol: bool = False,
    ordering: Ordering | None = None,
) -> str:
    """Return what clients talk to; it only changes with the container.

    `default_name` is taken for the name a client means that sends none, as those do that use an address.
    `own_ports` are HTTPS ports each of which is one site's.
    `trusted_proxies` are addresses and networks whose word for a client's address counts: in X-Forwarded-For, and with
    `proxy_protocol` also in what they send before all else. What is not in `ordering` has its certificate in a file.
    """
    claims = "\n".join(f"\trequest_header -{claim}" for claim in CLAIMS)
    listeners = {https_port: HTTPS_SOCKET, **{port: own_socket(port) for port in own_ports}}
    served = {port: f"{claims}\n{_to_router(socket)}\n}}\n" for port, socket in listeners.items()}
    automatic, ordered = "auto_https off", ""
    if ordering is not None:
        automatic = f"""auto_https disable_redirects
	http_port {http_port}
	https_port {https_port}
	log orders {{
		output file {ORDERS_LOG} {{
			roll_size 1MiB
			roll_keep 1
		}}
		include tls.obtain tls.renew tls.issuance.acme http.acme_client
	}}"""
        ordered = "".join(
            f"\n{_addresses(ordering.names, port)} {{\n\t{_order(ordering)}\n\n{body}" for port, body in served.items()
        )
    filed = "".join(f"\nhttps://:{port} {{\n\t{_CERTIFICATE_SOURCE}\n\n{body}" for port, body in served.items())
    return f"""{{
	admin off
	persist_config off
	{automatic}
	default_sni {default_name}
	fallback_sni {default_name}
	grace_period 30s
	servers {{
		timeouts {{
			read_header 10s
			idle 5m
		}}{_proxies(trusted_proxies, proxy_protocol=proxy_protocol)}
	}}
}}

http://127.0.0.1:{LOOPBACK_PORT} {{
	bind 127.0.0.1
{_to_router("internal")}
}}

http://:{http_port} {{
{claims}
{_to_router("http")}
}}
{ordered}{filed}"""


def _addresses(names: Sequence[str], port: int) -> str:
    return ", ".join(f"https://{bracketed(name)}:{port}" for name in names)


def _order(ordering: Ordering) -> str:
    """Return the lines that have Caddy order certificates."""
    lines = [f"dir {ordering.directory}"]
    if ordering.email:
        lines.append(f"email {ordering.email}")
    if ordering.account_key_id:
        lines.append(f"eab {ordering.account_key_id} {{${ACCOUNT_KEY}}}")
    body = "\n".join(f"\t\t\t{line}" for line in lines)
    return f"tls {{\n\t\tissuer acme {{\n{body}\n\t\t}}\n\t}}"


def to_router(socket: str, *more: str) -> list[str]:
    """Return the lines that lead to one of the router's sockets, with `more` of them besides."""
    # No connection is kept: a router that is being replaced would close it at the moment of the next request. It is
    # asked again if it could not be reached, so that nothing has been sent to it (and for a GET also if it went away).
    # And it is told one address, whoever handed the request on: of several the server would take the last, the proxy's.
    return [
        f"reverse_proxy unix/{SERVING}/{socket} {{",
        "\theader_up X-Forwarded-For {client_ip}",
        "\tlb_try_duration 10s",
        "\tlb_try_interval 50ms",
        *(f"\t{line}" for line in more),
        "\ttransport http {",
        "\t\tkeepalive off",
        "\t\tcompression off",
        "\t}",
        "}",
    ]


def _to_router(socket: str) -> str:
    return "\n".join(f"\t{line}" for line in to_router(socket))


def router() -> str:
    """Return what the router has beside the release that is live; it only changes with the container."""
    return f"""{{
	admin unix/{ADMIN_SOCKET}
	persist_config off
	auto_https off
	grace_period 30s
	shutdown_delay {{$CADDY_DRAIN:{DRAIN_SECONDS}s}}
	servers {{
		trusted_proxies_unix
	}}
}}

http:// {{
	{bind("internal")}
	handle /healthy {{
		respond 200
	}}
	handle /certificate {{
		root * {CONFIG_DIRECTORY}/{CERTIFICATES_DIRECTORY}
		import {_LIVE}/*.certificates
		file_server
	}}
}}

import {_LIVE}/*.router
"""


def bind(socket: str) -> str:
    """Return the line that has the router listen on one of its sockets."""
    return f"bind unix/{{$CADDY_SOCKETS}}/{socket}"


def _proxies(networks: Sequence[str], *, proxy_protocol: bool) -> str:
    if not networks:
        return ""
    # One of the two takes no address that is not written as a network.
    ranges = " ".join(str(ip_network(one)) for one in networks)
    lines = [f"trusted_proxies static {ranges}", "trusted_proxies_strict"]
    if proxy_protocol:
        # Of those who may, one that says nothing is a client itself; one that may not and does is turned away.
        lines += [
            "listener_wrappers {",
            "\tproxy_protocol {",
            "\t\ttimeout 5s",
            f"\t\tallow {ranges}",
            "\t\tfallback_policy reject",
            "\t}",
            "\ttls",
            "}",
        ]
    return "".join(f"\n\t\t{line}" for line in lines)


@dataclass(frozen=True, kw_only=True)
class Release:
    """One deliverable configuration of the edge."""

    identifier: str
    """16 hex digits over the rest; `standby` for what is no release."""
    sites: str
    """Caddyfile text: what is answered, and by whom."""
    names: str
    """Caddyfile text: which certificate goes with which name."""


def release(sites: Sequence[SiteText], *, https_port: int) -> Release:
    """Return the release that serves these sites.

    `https_port` is the one in the URLs people see. A client that names none of the sites
    is shown the certificate of the first.

    Raises: ValueError if a name is in two sites that have no port of their own.
    """
    names = [(site.own_port, name) for site in sites for name in site.names]
    twice = sorted({name for port, name in names if names.count((port, name)) > 1})
    if twice:
        raise ValueError(f"names of more than one site: {', '.join(twice)}")
    text, certificates = _sites(sites, https_port), _names(sites)
    return Release(
        identifier=hashlib.sha256(f"{text}\n{certificates}".encode()).hexdigest()[:16], sites=text, names=certificates
    )


def standby(certificate_file: str | None, own_ports: Sequence[int] = ()) -> Release:
    """Return what is served while there is no release: an answer in words to whatever is asked, by `own_ports` too.

    `certificate_file` is shown by then, if it has been delivered.
    """
    answer = """header Retry-After 10
	respond "This site is being set up. Try again in a moment." 503"""
    sockets = ("http", HTTPS_SOCKET, *map(own_socket, own_ports))
    sites = "\n".join(f"http:// {{\n\t{bind(socket)}\n\t{answer}\n}}\n" for socket in sockets)
    return Release(identifier="standby", sites=sites, names=_shown(certificate_file))


def certificate(certificate_pem: str, private_key_pem: str) -> str:
    """Return the content of a certificate's file."""
    return f"{certificate_pem.strip()}\n{private_key_pem.strip()}\n"


def _shown(certificate_file: str | None) -> str:
    return f"rewrite * /{certificate_file}\n" if certificate_file else "respond 404\n"


def _names(sites: Sequence[SiteText]) -> str:
    filed = [site for site in sites if site.certificate_file]
    if not filed:
        return _shown(None)
    # Names of hosts are the same in either case (RFC 4343), and clients send them as somebody typed them.
    lines = [f"\t~(?i)^{re.escape(name)}$ {site.certificate_file}" for site in filed for name in site.names]
    lines = list(dict.fromkeys(lines))
    return "\n".join(
        [
            "map {query.server_name} {certificate} {",
            *lines,
            f"\tdefault {filed[0].certificate_file}",
            "}",
            "rewrite * /{certificate}",
            "",
        ]
    )


def _sites(sites: Sequence[SiteText], https_port: int) -> str:
    public_port = "" if https_port == 443 else f":{https_port}"
    numbered = list(enumerate(sites, start=1))
    blocks = "\n".join(_site(number, site, public_port) for number, site in numbered if site.own_port is None)
    own = "".join(
        f"\n{_listener(site.socket, _site(number, site, f':{site.own_port}'))}"
        for number, site in numbered
        if site.own_port is not None
    )
    trusting = [name for site in sites if site.trust_page for name in site.names]
    plain, protected = "", ""
    if trusting:
        # For first contact, by whatever name or address.
        plain = _trust_page(trust_page.FIRST_CONTACT_PAGE, []) + "\n"
        # Before the sites: Caddy keeps the order of what matches by more than one path.
        protected = _trust_page(trust_page.PAGE, trusting) + "\n"
    # Behind a port, {host} has lost the brackets of an IPv6 address.
    return f"""http:// {{
	{bind("http")}
{plain}	handle {{
		@ipv6 header_regexp host Host ^(\\[.*\\])
		redir @ipv6 https://{{re.host.1}}{public_port}{{uri}} 308
		redir https://{{host}}{public_port}{{uri}} 308
	}}
}}

{_listener(HTTPS_SOCKET, f"{protected}{blocks}")}{own}"""


def _listener(socket: str, blocks: str) -> str:
    """Return the block for what arrives by a socket."""
    return f"""http:// {{
	{bind(socket)}

{blocks}
	handle {{
		respond "No such name is served here." 421
	}}
}}
"""


def _trust_page(page: str, names: Sequence[str]) -> str:
    """Return the block that serves the page about the authority, at `names` or whatever name is asked for."""
    path = trust_page.PATH
    hosts = f"\t\thost {' '.join(names)}\n" if names else ""
    types = "\n".join(
        f'\t\t\t@{ending.strip(".")} path *{ending}\n\t\t\theader @{ending.strip(".")} Content-Type "{kind}"'
        for ending, kind in sorted(trust_page.MEDIA_TYPES.items())
    )
    return f"""	@trust {{
{hosts}		path {path} {path}/*
	}}
	handle @trust {{
		root * {CONFIG_DIRECTORY}/{TRUST_PAGE_DIRECTORY}
		header {{
			-Server
			Cache-Control no-store
			Content-Security-Policy "{trust_page.CONTENT_SECURITY_POLICY}"
			Referrer-Policy no-referrer
			X-Content-Type-Options nosniff
		}}
		route {{
			uri strip_prefix {path}
			@page path / ""
			rewrite @page /{page}
{types}
			file_server
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
                f"\tredir @other{number}_{index} https://{bracketed(site.names[0])}{public_port}{{uri}} 307",
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
    told = [name for name in names if not is_address(name) and name.rpartition(".")[2].lower() != "localhost"]
    if public_port or not told:
        return []
    return [
        f"@named{number} host {' '.join(told)}",
        f'header @named{number} Strict-Transport-Security "max-age=31536000"',
    ]


def is_address(name: str) -> bool:
    """Return whether `name`, of a host, is an address; the last label of no other name is a number."""
    return ":" in name or name.replace(".", "").isdigit()


def bracketed(name: str) -> str:
    """Return the name or address of a host as it stands in a URL."""
    return f"[{name}]" if ":" in name else name
