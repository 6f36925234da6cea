"""The Caddyfile, in two parts.

The *base* is fixed for the life of the container: global options, a health listener on loopback, and an import of
whatever release is live. The *site* is a release: it names the certificate by a path that contains its hash, because
Caddy compares configuration text and would otherwise keep serving an old certificate behind an unchanged path.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

CONFIG_DIRECTORY: Final = "/config/reflector"
"""Inside the volume mounted at /config: the base, the releases and the link `live` to one of them."""
BASE_FILE: Final = f"{CONFIG_DIRECTORY}/Caddyfile"
ADMIN_SOCKET: Final = "/run/caddy/admin.sock"
HEALTH_PORT: Final = 2080
SITE_FILE: Final = "site.caddy"
CERTIFICATE_FILE: Final = "edge.pem"


def base(default_name: str) -> str:
    """Return the part that only changes with the container.

    `default_name` is the name whose certificate answers clients that send no SNI, as those do that use an address.
    """
    return f"""{{
	admin unix/{ADMIN_SOCKET}
	persist_config off
	auto_https disable_redirects
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

http://127.0.0.1:{HEALTH_PORT} {{
	bind 127.0.0.1
	respond /healthy 200
}}

import {{$CADDY_RELEASE:{CONFIG_DIRECTORY}/live}}/*.caddy
"""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One deliverable configuration of the edge."""

    identifier: str
    """16 hex digits over everything in the release."""
    site: str
    """Caddyfile text."""
    certificate: str
    """The leaf, its chain and its key, PEM."""


def release(
    *,
    app_names: Sequence[str],
    s3_name: str,
    https_port: int,
    http_port: int,
    certificate_pem: str,
    private_key_pem: str,
) -> Release:
    """Return the release that serves these names with this certificate.

    Shape: `app_names` are DNS names and addresses of the application, the canonical one first; `s3_name` is the object
    store's, empty where there is none here.
    """
    certificate = f"{certificate_pem.strip()}\n{private_key_pem.strip()}\n"

    def site(directory: str) -> str:
        return _site(app_names, s3_name, https_port, http_port, f"{directory}/{CERTIFICATE_FILE}")

    identifier = hashlib.sha256(f"{certificate}\n{site('')}".encode()).hexdigest()[:16]
    return Release(
        identifier=identifier, site=site(f"{CONFIG_DIRECTORY}/releases/{identifier}"), certificate=certificate
    )


def _site(app_names: Sequence[str], s3_name: str, https_port: int, http_port: int, certificate_path: str) -> str:
    def addresses(names: Sequence[str]) -> str:
        return ", ".join(f"https://{f'[{name}]' if ':' in name else name}:{https_port}" for name in names)

    public_port = "" if https_port == 443 else f":{https_port}"
    # A browser applies HSTS to every port of a name, so on localhost it would break a developer's other services.
    hsts = not app_names[0].endswith("localhost")
    sites = [
        f"""(edge) {{
	tls {certificate_path} {certificate_path}
	encode zstd gzip
	header {{
		-Server
		X-Content-Type-Options nosniff
		Referrer-Policy strict-origin-when-cross-origin
		X-Frame-Options SAMEORIGIN
		Permissions-Policy "geolocation=(), payment=(), usb=()"
{'		Strict-Transport-Security "max-age=31536000"' + chr(10) if hsts else ""}	}}
}}
""",
        f"""http://:{http_port} {{
	redir https://{{host}}{public_port}{{uri}} 308
}}
""",
        f"""{addresses(app_names)} {{
	import edge

	@backend path /v1/* /health
	handle @backend {{
		reverse_proxy server:1250
	}}
	handle {{
		reverse_proxy web:3000
	}}
}}
""",
    ]
    if s3_name:
        # No compression and no headers of ours: what S3 clients get must be what the store said.
        sites.append(
            f"""{addresses([s3_name])} {{
	tls {certificate_path} {certificate_path}
	reverse_proxy garage:3900
}}
"""
        )
    return "\n".join(sites)
