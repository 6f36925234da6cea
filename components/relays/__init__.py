"""Relays: TLS, and mutual TLS, in front of what speaks HTTP or WebSocket, in the stack or elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import pulumi

from components.base.handles import NOBODY, AuthorityHandle, CertificateHandle, DockerHost, Image, Service, TrustBundle
from components.relays.relay import Clients, Relay, RelayArgs
from settings.relays import SERVICE_PREFIX
from settings.relays import Relay as RelaySettings


class Registry(Protocol):
    """Hands over certificates by name, and remembers to whom."""

    def use(self, name: str, *, by: str) -> CertificateHandle:
        """Return the certificate called `name` for whoever `by` says."""


def relays(
    settings: Mapping[str, RelaySettings],
    host: DockerHost,
    images: Mapping[str, Image],
    *,
    registry: Registry,
    authorities: Mapping[str, AuthorityHandle],
    services: Sequence[Service],
    edge: Service,
    names: Sequence[str],
    trust: TrustBundle,
) -> Mapping[str, Relay]:
    """Return the relays by name, each once what it stands in front of works.

    `services` are the stack's, of which one may be an upstream, and `names` those by which its `edge` is reached
    inside. `trust` is whom a relay trusts besides the public authorities when it calls an https upstream.
    """
    by_address = {**dict.fromkeys(names, edge), **{service.address: service for service in services}}
    made: dict[str, Relay] = {}
    for name, one in settings.items():
        upstream = one.upstream_host
        behind = by_address.get(upstream)
        if behind is not None and behind.port is None:
            raise pulumi.RunError(
                f"relays.{name}.upstream: {one.upstream!r}; allowed: a service that answers: {upstream} only calls "
                f"others. Set it: pulumi config set --path relays.{name}.upstream <URL>"
            )
        certificate = registry.use(one.certificate, by=f"relay {name}")
        authority = authorities[one.client_authority] if one.client_authority is not None else None
        clients = None
        if authority is not None:
            clients = Clients(said_by=f"authority {authority.name}", roots=authority.trusted, revoked=authority.crls)
        elif certificate.client_authorities:
            roots = TrustBundle(certificates=certificate.client_authorities)
            clients = Clients(said_by=f"certificate {one.certificate}", roots=roots)
        made[name] = Relay(
            f"{SERVICE_PREFIX}{name}",
            RelayArgs(
                host=host,
                image=images["caddy"].id,
                memory_mib=one.memory_mib,
                service=f"{SERVICE_PREFIX}{name}",
                upstream=one.upstream,
                upstream_name=one.upstream_name,
                upstream_trust=trust if one.upstream.startswith("https://") else NOBODY,
                elsewhere=behind is None,
                networks=behind.networks if behind is not None else (),
                port=one.port,
                bind_addresses=tuple(dict.fromkeys(one.bind_addresses)),
                certificate=certificate,
                clients=clients,
                allowed=[registry.use(client, by=f"relay {name}") for client in one.allow] or None,
                identity=one.identity_headers,
                websocket_hours=one.websocket_hours,
                depends_on=[behind.ready] if behind is not None else [],
            ),
        )
    return made
