"""Docker hosts: how they are reached, their networks, and the guards around everything made on them."""

from collections.abc import Iterator, Sequence
from functools import partial

import pulumi
import pulumi_docker as docker

from components.base.daemon import Daemon
from components.base.handles import NO_HOST_TRUST, DockerHost, Environment, MemoryLimits, TrustBundle, TrustingHost
from components.base.provider import docker_provider
from components.base.secrecy import revealed
from components.hosts.host import Host, HostArgs
from components.hosts.trust import HostTrust, HostTrustArgs
from rendering import proxy as rendering
from rendering.host_trust import OWN
from rendering.reference import DOCKER_HUB
from settings.health import Health
from settings.hosts import MAIN
from settings.hosts import Host as HostSettings
from settings.images import RegistryLogin
from settings.proxy import Proxy


def docker_host(
    name: str,
    settings: HostSettings,
    health: Health,
    proxy: Proxy,
    *,
    prefix: str,
    networks: frozenset[str],
    direct: Sequence[str] = (),
    logins: Sequence[RegistryLogin] = (),
) -> DockerHost:
    """Return the host of `settings`, with the networks in those roles, all named from `prefix`.

    Its services reach the names and addresses in `direct` without `proxy`; with `logins` it pulls images.
    """
    authority, certificate, key = settings.tls or (None, None, None)
    # One for each host and no other: there is no default one to fall back to.
    provider = docker_provider(
        name,
        address=settings.address,
        authority=authority,
        certificate=certificate,
        key=key,
        registry_auth=[auth for login in logins for auth in _registry_auth(login)] or None,
    )
    return Host(
        name,
        HostArgs(
            provider=provider,
            prefix=prefix,
            daemon=Daemon(address=settings.address, certificates=settings.certificates or ""),
            networks=networks,
            pieces=settings.pieces,
            proxy=_proxy_environment(proxy, direct),
            memory_limits=MemoryLimits(settings.memory_limits),
            adopt=settings.adopt,
            health_interval_seconds=health.interval_seconds,
            start_interval_seconds=health.start_interval_seconds,
            startup_limit_seconds=health.startup_limit_seconds,
            show_logs=health.show_logs,
        ),
    ).handle


def host_trust(
    name: str,
    settings: HostSettings,
    host: DockerHost,
    *,
    roots: TrustBundle,
    trusted: Sequence[tuple[str, str]],
) -> TrustingHost:
    """Have `host` itself trust the stack's `roots`, and those `trusted` by name and PEM, as far as settings say."""
    if not settings.trust.is_on:
        return NO_HOST_TRUST
    made = HostTrust(
        name,
        HostTrustArgs(
            host=host,
            authorities=[*((OWN, root) for root in roots.certificates), *trusted],
            system_store=settings.trust.system_store,
            registries=settings.trust.registries,
        ),
    )
    return TrustingHost(names=[MAIN], ready=made.ready, pulls=made.pulls)


def _registry_auth(login: RegistryLogin) -> Iterator[docker.ProviderRegistryAuthArgs]:
    # The provider looks a login up by what a reference begins with; where one names no registry, by this other name.
    for address in (login.address, "registry-1.docker.io") if login.address == DOCKER_HUB else (login.address,):
        if login.docker_config is not None:
            yield docker.ProviderRegistryAuthArgs(address=address, config_file=login.docker_config)
        else:
            yield docker.ProviderRegistryAuthArgs(
                address=address, username=login.username, password=revealed(login.password)
            )


def _proxy_environment(settings: Proxy, direct: Sequence[str]) -> Environment:
    def url(address: str | None) -> pulumi.Input[str] | None:
        password = revealed(settings.login.password) if settings.login else None
        if address is None or settings.login is None or password is None:
            return address
        return password.apply(partial(rendering.with_login, address, settings.login.username))

    return rendering.environment(http=url(settings.http), https=url(settings.https), direct=direct)
