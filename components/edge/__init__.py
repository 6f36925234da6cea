"""The edge: what is reachable from outside."""

from collections.abc import Mapping, Sequence

from components.base.handles import DockerHost, Image, Site
from components.edge.caddy import Caddy, CaddyArgs
from settings.edge import Edge


def edge(settings: Edge, host: DockerHost, images: Mapping[str, Image], *, sites: Sequence[Site]) -> Caddy:
    """Return the edge with every site that was handed over."""
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
        ),
    )
