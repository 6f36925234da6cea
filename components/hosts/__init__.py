"""Docker hosts: how they are reached, their networks, and the guards around everything made on them."""

import pulumi
import pulumi_docker as docker

from components.base.daemon import Daemon
from components.base.handles import DockerHost, MemoryLimits
from components.hosts.host import Host, HostArgs
from settings.health import Health
from settings.hosts import Host as HostSettings


def docker_host(
    name: str, settings: HostSettings, health: Health, *, prefix: str, networks: frozenset[str]
) -> DockerHost:
    """Return the host of `settings`, with the networks in those roles, all named from `prefix`."""
    authority, certificate, key = settings.tls or (None, None, None)
    # One for each host and no other: there is no default one to fall back to.
    provider = docker.Provider(
        name,
        host=settings.address,
        ca_material=authority,
        cert_material=certificate,
        key_material=pulumi.Output.secret(key) if key else None,
    )
    return Host(
        name,
        HostArgs(
            provider=provider,
            prefix=prefix,
            daemon=Daemon(address=settings.address, certificates=settings.certificates or ""),
            networks=networks,
            memory_limits=MemoryLimits(settings.memory_limits),
            adopt=settings.adopt,
            health_interval_seconds=health.interval_seconds,
            start_interval_seconds=health.start_interval_seconds,
            startup_limit_seconds=health.startup_limit_seconds,
            show_logs=health.show_logs,
        ),
    ).handle
