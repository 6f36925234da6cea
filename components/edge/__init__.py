"""The edge: what is reachable from outside."""

from collections.abc import Mapping, Sequence

from components.base.handles import DockerHost, Image, Site, TrustBundle
from components.edge.caddy import Caddy, CaddyArgs
from settings.edge import Edge


def edge(
    settings: Edge,
    host: DockerHost,
    images: Mapping[str, Image],
    *,
    sites: Sequence[Site],
    roots: TrustBundle,
) -> Caddy:
    """Return the edge with every site that was handed over.

    Where clients have to be given `roots`, the first site has a page about them.
    """
    return Caddy(
        "caddy",
        CaddyArgs(
            host=host,
            image=images["caddy"].id,
            memory_mib=settings.memory_mib,
            sites=sites,
            bind_addresses=tuple(dict.fromkeys(settings.bind_addresses)),
            public_port=settings.url_port,
            https_port=settings.https_port,
            http_port=settings.http_port,
            trusted_proxies=tuple(dict.fromkeys(settings.trusted_proxies)),
            proxy_protocol=settings.proxy_protocol,
            private_roots_pem=roots.pem if roots.certificates else None,
        ),
    )
