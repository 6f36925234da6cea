"""The Caddyfiles of a relay, which is two Caddys as the edge is (rendering/caddyfile.py): a front and a router.

The *front* has the published port, TLS, and whom it lets in: with a client authority only those who show a certificate
of it, and prove it by their key. It asks for the certificate it shows at each handshake, so a renewed one is served
without a reload. The *router* knows which of them are refused all the same, and where the others are led to; it is
reloaded as the edge's is, and loses nothing by that.

The front has to be reloaded where the roots of its client authority change, as Caddy reads them only then. A listener
that closes resets what waits to be accepted, and a server that shuts down drops what it has just accepted. So a front
that takes over listens on an address the kernel prefers to the one before it: ADDRESSES by level. New connections all
go to the new one at once; the old one answers for DRAIN_SECONDS those that are open, tells them to come back, and by
the time it closes there is nobody left to lose.
"""

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rendering.caddyfile import (
    CLAIMS,
    CONFIG_DIRECTORY,
    DRAIN_SECONDS,
    LOOPBACK_PORT,
    RUN_DIRECTORY,
    bind,
    to_router,
)

LIVE: Final = f"{CONFIG_DIRECTORY}/live"
"""A link to the release that is live."""
FRONT_FILE: Final = "front.Caddyfile"
ROUTER_FILE: Final = "router.Caddyfile"
AUTHORITY_FILE: Final = "authority"
"""Says which client authority a release is for: it is not served for another."""
TRUSTED_FILE: Final = "trusted.pem"
"""Whom the router trusts when it calls an upstream by https."""
CERTIFICATE_FILE: Final = "certificate.pem"
"""Beside the releases: what the front shows, with its key."""
FRONT_SOCKET: Final = f"{RUN_DIRECTORY}/front.sock"
ROUTER_SOCKET: Final = f"{RUN_DIRECTORY}/router.sock"
SOCKETS: Final = ("relay", "internal")
"""The router's: one for what arrives, and one for what the relay asks itself, its health and its certificate."""
PORT: Final = 8443
"""Inside the container; the host publishes another."""
ADDRESSES: Final = ("tcp/[::]", "tcp4/0.0.0.0", None)
"""Where the front listens, by level: the kernel prefers IPv4 alone to IPv4 in IPv6, and an address to all of them (the
last level: each of the container's own). A front of the last level is reloaded where it is."""
LOOPBACK_NETWORK: Final = "127.0.0."
"""Where it listens for itself, with the level and one as the last part: what listens there is closed with it."""

_CLIENT: Final = "http.request.tls.client"
IDENTITY: Final[Mapping[str, str]] = {
    # What an upstream is told of a client's certificate, by the end of a header's name.
    "Subject": f"{{{_CLIENT}.subject}}",
    "Issuer": f"{{{_CLIENT}.issuer}}",
    "Serial": f"{{{_CLIENT}.serial}}",
    "Fingerprint": f"{{{_CLIENT}.fingerprint}}",
    "Public-Key": f"{{{_CLIENT}.public_key_sha256}}",
}
"""Serial in decimal, SHA-256 of the certificate and of the public key in hexadecimal."""

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")
_PUBLIC_AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
"""In the image; a pool of one's own is instead of it otherwise."""


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """A client that is let in."""

    fingerprint: str
    """SHA-256 of its certificate, in hexadecimal."""
    public_key: str
    """That of its key, which stays where a certificate is renewed; empty where Caddy knows none."""


def pool(pem: str) -> tuple[str, ...]:
    """Return the certificates of a bundle, each DER in base64.

    Raises: ValueError if there is none: a pool of nobody would refuse everybody.
    """
    found = tuple("".join(body.split()) for body in _CERTIFICATE.findall(pem))
    if not found or len(found) != pem.count("-----BEGIN "):
        raise ValueError("the client authority has no root whose certificates could be let in")
    return tuple(dict.fromkeys(found))


def standby() -> tuple[str, str]:
    """Return the front and the router that wait for a release: healthy, and without a published port."""
    return _front_of_all(), _router_of_all()


def front(pool: Sequence[str], *, identity: str, websocket_hours: int) -> str:
    """Return what clients talk to.

    `pool` are the roots of the client authority, none where everybody is let in; `identity` is what the names of the
    headers begin with that say who a client is.
    """
    lines = [f"request_header -{claim}" for claim in (*CLAIMS, *_spellings(identity))]
    told = []
    client_auth = ""
    if pool:
        roots = "\n".join(f"\t\t\t\ttrust_der {der}" for der in pool)
        client_auth = f"""
		client_auth {{
			mode require_and_verify
			trust_pool inline {{
{roots}
			}}
		}}"""
        told = [f"header_up {identity}-{name} {value}" for name, value in IDENTITY.items()]
    lines += [
        # By HTTP/2 this becomes a GOAWAY, which is sent once the answer is.
        "@closing vars {http.shutting_down} true",
        "header @closing Connection close",
        *to_router("relay", f"stream_close_delay {websocket_hours}h", f"stream_timeout {websocket_hours}h", *told),
    ]
    body = "\n".join(f"\t{line}" for line in lines)
    return f"""{_front_of_all()}
https://:{PORT} {{
	bind {{$RELAY_ADDRESSES}}
	tls {{
		get_certificate http http://{{$RELAY_LOOPBACK}}:{LOOPBACK_PORT}/certificate{client_auth}
	}}
{body}
}}
"""


def _front_of_all() -> str:
    # Whoever asks has shown a certificate: there is one site, so no other could be named to get past it. Where clients
    # are asked for one, Caddy would by itself refuse those that go by address, whatever they show (strict SNI).
    # http.stdlib says at the level of debugging who was refused by TLS, and why.
    health = "\n".join(f"\t{line}" for line in to_router("internal"))
    return f"""{{
	admin unix/{FRONT_SOCKET}
	persist_config off
	auto_https off
	grace_period 30s
	shutdown_delay {{$CADDY_DRAIN:{DRAIN_SECONDS}s}}
	log refusals {{
		level DEBUG
		include http.stdlib
	}}
	servers {{
		protocols h1 h2
		strict_sni_host insecure_off
		timeouts {{
			read_header 10s
			idle 5m
		}}
	}}
}}

http://:{LOOPBACK_PORT} {{
	bind {{$RELAY_LOOPBACK}}
{health}
}}
"""


def router(
    upstream: str,
    *,
    identity: str,
    websocket_hours: int,
    elsewhere: bool,
    server_name: str | None = None,
    trusted: bool = False,
    allowed: Sequence[Allowed] | None = None,
    revoked: Sequence[str] = (),
) -> str:
    """Return where requests are led to, and which of them are refused.

    `elsewhere`: the upstream is none of the stack's, and is asked by its own name. `server_name` is the one its
    certificate has, if another; `trusted`: it may be of an authority in TRUSTED_FILE. `allowed` are who alone is let
    in; None: whoever has a certificate. `revoked` are serial numbers in decimal and fingerprints in hexadecimal.
    """
    lines = []
    serials = [one for one in revoked if not _is_fingerprint(one)]
    for number, (name, values) in enumerate(
        (("Serial", serials), ("Fingerprint", [one for one in revoked if _is_fingerprint(one)])), start=1
    ):
        if values:
            matcher = [_is_one_of(identity, name, values)]
            lines += _refusal(f"revoked{number}", matcher, identity, "revoked", "This certificate is revoked.")
    if allowed is not None:
        keys = [one.public_key for one in allowed if one.public_key]
        known = [
            _is_one_of(identity, "Fingerprint", [one.fingerprint for one in allowed]),
            *([_is_one_of(identity, "Public-Key", keys)] if keys else []),
        ]
        lines += _refusal(
            "strange",
            [f"not {one}" for one in known],
            identity,
            "not allowed",
            "This certificate is not among those that are let in.",
        )
    address, path = _parts(upstream)
    options = [f"stream_close_delay {websocket_hours}h", f"stream_timeout {websocket_hours}h"]
    if upstream.startswith("https://"):  # by its own name, as Caddy has it
        named = [f"\ttls_server_name {server_name}"] if server_name else []
        pool = f"\ttls_trust_pool file {_PUBLIC_AUTHORITIES} {{$RELAY_RELEASE:{LIVE}}}/{TRUSTED_FILE}"
        options += ["transport http {", "\ttls", *named, *([pool] if trusted else []), "}"]
    elif elsewhere:
        options.append("header_up Host {upstream_hostport}")
    lines += [
        "handle {",
        "\tlog_skip",
        *([f"\trewrite * {path}{{uri}}"] if path else []),
        f"\treverse_proxy {address} {{",
        *(f"\t\t{option}" for option in options),
        "\t}",
        "}",
    ]
    body = "\n".join(f"\t{line}" for line in lines)
    return f"""{_router_of_all()}
http:// {{
	{bind("relay")}
	log {{
		format filter {{
			request>headers delete
			request>uri delete
			resp_headers delete
		}}
	}}
{body}
}}
"""


def release(front: str, router: str, *, authority: str, trusted: str) -> Mapping[str, str]:
    """Return the files of a release, with what tells it apart: 16 hex digits over all of them."""
    files = {FRONT_FILE: front, ROUTER_FILE: router, AUTHORITY_FILE: authority, TRUSTED_FILE: trusted}
    text = "\n".join(f"{name}\n{content}" for name, content in files.items())
    return {**files, "identifier": hashlib.sha256(text.encode()).hexdigest()[:16]}


def _refusal(name: str, matcher: Sequence[str], identity: str, why: str, said: str) -> list[str]:
    """Return the lines that refuse who matches, and log who that was and why."""
    return [
        f"@{name} {{",
        *(f"\t{line}" for line in matcher),
        "}",
        f"handle @{name} {{",
        f'\tlog_append refused "{why}"',
        *(f"\tlog_append {one.lower()} {_told(identity, one)}" for one in ("Subject", "Serial", "Fingerprint")),
        f'\trespond "{said}" 403',
        "}",
    ]


def _is_one_of(identity: str, name: str, values: Sequence[str]) -> str:
    return f"vars {_told(identity, name)} {' '.join(sorted(set(values)))}"


def _told(identity: str, name: str) -> str:
    return f"{{http.request.header.{identity}-{name}}}"


def _is_fingerprint(text: str) -> bool:
    return len(text) == 64


def _parts(url: str) -> tuple[str, str]:
    """Return a URL without its path, which Caddy takes for no upstream, and the path."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}", f"{slash}{path}".rstrip("/")


def _spellings(name: str) -> list[str]:
    """Return what to take away from a client so that it cannot be one of these headers.

    To many a server a hyphen and an underscore are the same (CGI, RFC 3875 §4.1.18).
    """
    words = name.split("-")
    joints = itertools.product("-_", repeat=len(words) - 1)
    return ["".join(itertools.chain(*zip(words, (*joint, "*"), strict=True))) for joint in joints]


def _router_of_all() -> str:
    return f"""{{
	admin unix/{ROUTER_SOCKET}
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
		root * {CONFIG_DIRECTORY}
		rewrite * /{CERTIFICATE_FILE}
		file_server
	}}
}}
"""
