"""The Caddyfile, in two parts.

The *base* is fixed for the life of the container: global options, a listener on loopback, and an import of whatever
release is live. The *site* is a release: routes and names, taken over by a reload.

The certificate is in neither. Caddy asks for it at each TLS handshake, on the loopback listener, which reads it from a
file: a renewed one is served as soon as the file is replaced. A reload would start new HTTP servers, and the old ones
drop whatever request reaches a connection they have just accepted (Go's net/http, since 1.22).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

CONFIG_DIRECTORY: Final = "/config/reflector"
"""Inside the volume mounted at /config: the base, the certificate, the releases and the link `live` to one of them."""
BASE_FILE: Final = f"{CONFIG_DIRECTORY}/Caddyfile"
CERTIFICATE_FILE: Final = "edge.pem"
"""Relative to CONFIG_DIRECTORY: the leaf, its chain and its key."""
SITE_FILE: Final = "site.caddy"
ADMIN_SOCKET: Final = "/run/caddy/admin.sock"
LOOPBACK_PORT: Final = 2080


def base(default_name: str) -> str:
    """Return the part that only changes with the container.

    `default_name` is taken for the name a client means that sends none, as those do that use an address.
    """
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
		root * {CONFIG_DIRECTORY}
		rewrite * /{CERTIFICATE_FILE}
		file_server
	}}
}}

import {{$CADDY_RELEASE:{CONFIG_DIRECTORY}/live}}/*.caddy
"""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One deliverable configuration of the edge."""

    identifier: str
    """16 hex digits over the site."""
    site: str
    """Caddyfile text."""


def release(*, app_names: Sequence[str], s3_name: str, s3_upstream: str, https_port: int, http_port: int) -> Release:
    """Return the release that serves these names.

    Shape: `app_names` are DNS names and addresses of the application, the canonical one first; `s3_name` is the object
    store's and `s3_upstream` the URL it is reached at, both empty where there is none here.
    """
    site = _site(app_names, s3_name, s3_upstream, https_port, http_port)
    return Release(identifier=hashlib.sha256(site.encode()).hexdigest()[:16], site=site)


def certificate(certificate_pem: str, private_key_pem: str) -> str:
    """Return the content of the certificate file."""
    return f"{certificate_pem.strip()}\n{private_key_pem.strip()}\n"


def _site(app_names: Sequence[str], s3_name: str, s3_upstream: str, https_port: int, http_port: int) -> str:
    public_port = "" if https_port == 443 else f":{https_port}"
    # A browser applies HSTS to every port of a name, so on localhost it would break a developer's other services.
    hsts = '\n\t\t\tStrict-Transport-Security "max-age=31536000"' if not app_names[0].endswith("localhost") else ""
    # No compression and no headers of ours there: what S3 clients get must be what the store said.
    store = f"""	@store host {s3_name}
	handle @store {{
		reverse_proxy {s3_upstream}
	}}

"""
    # Behind a port, {host} has lost the brackets of an IPv6 address.
    return f"""http://:{http_port} {{
	@ipv6 header_regexp host Host ^(\\[.*\\])
	redir @ipv6 https://{{re.host.1}}{public_port}{{uri}} 308
	redir https://{{host}}{public_port}{{uri}} 308
}}

https://:{https_port} {{
	tls {{
		get_certificate http http://127.0.0.1:{LOOPBACK_PORT}/certificate
	}}
{store if s3_name else ""}	@application host {" ".join(app_names)}
	handle @application {{
		encode zstd gzip
		header {{
			-Server
			X-Content-Type-Options nosniff
			Referrer-Policy strict-origin-when-cross-origin
			X-Frame-Options SAMEORIGIN
			Permissions-Policy "geolocation=(), payment=(), usb=()"{hsts}
		}}

		@backend path /v1/* /health
		handle @backend {{
			reverse_proxy server:1250
		}}
		handle {{
			reverse_proxy web:3000
		}}
	}}

	handle {{
		respond "No such name is served here." 421
	}}
}}
"""
