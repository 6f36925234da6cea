"""A Docker host: its networks, and the guards around everything made on it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_docker as docker

from components.daemon import Daemon
from components.handover import DockerHost
from components.service import LABEL_STACK

_LAST_LOG_LINES: Final = 20


@dataclass(frozen=True, kw_only=True)
class NetworkRole:
    """What a network is for."""

    internal: bool
    """No route out, and nothing can be published from it."""


NETWORKS: Final[Mapping[str, NetworkRole]] = {
    # The edge and the application, with a route out: models, webhooks, and a certificate authority are out there.
    "application": NetworkRole(internal=False),
    # One for each data service, so that whoever joins to reach one of them reaches that one only.
    "database": NetworkRole(internal=True),
    "cache": NetworkRole(internal=True),
    "storage": NetworkRole(internal=True),
}


@dataclass(frozen=True, kw_only=True)
class HostArgs:
    """A Docker host."""

    prefix: str
    """What every name on the host starts with: `<project>-<stack>`."""
    daemon: Daemon
    networks: frozenset[str]
    """The roles of NETWORKS this stack has a use for."""
    health_interval_seconds: int
    startup_limit_seconds: int
    memory_mib: Mapping[str, int]

    def __post_init__(self) -> None:
        unknown = self.networks - NETWORKS.keys()
        if unknown:
            raise ValueError(f"networks: {sorted(unknown)} not among {sorted(NETWORKS)}")


class Host(pulumi.ComponentResource):
    """A Docker host's networks; hands over what is needed to run containers there.

    The provider comes from the caller. Does not: install Docker, open firewalls.
    """

    handle: DockerHost
    """What components take to run containers on this host."""

    def __init__(self, name: str, args: HostArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:host:Host", name, {}, opts)
        guard = pulumi.ResourceHookBinding(before_create=[_left_over_networks(name, args)])
        networks = {
            role: docker.Network(
                f"{name}-{role}",
                docker.NetworkArgs(
                    name=f"{args.prefix}-{role}",
                    driver="bridge",
                    internal=NETWORKS[role].internal,
                    labels=[docker.NetworkLabelArgs(label=LABEL_STACK, value=args.prefix)],
                ),
                opts=pulumi.ResourceOptions(parent=self, hooks=guard),
            )
            for role in sorted(args.networks)
        }
        self.handle = DockerHost(
            prefix=args.prefix,
            daemon=args.daemon,
            networks=networks,
            internal_networks=frozenset(role for role in networks if NETWORKS[role].internal),
            hooks=pulumi.ResourceHookBinding(
                before_create=[_left_over_containers(name, args)],
                on_error=[_last_words(name, args)],
            ),
            health_interval_seconds=args.health_interval_seconds,
            startup_limit_seconds=args.startup_limit_seconds,
            memory_mib=args.memory_mib,
        )
        self.register_outputs({})


def _left_over_containers(name: str, args: HostArgs) -> pulumi.ResourceHook:
    """Clear the way for a container whose name is taken.

    The engine is about to create it, so its state knows of none: one that carries our label is what an interrupted run
    left behind, and holds nothing that is not in a volume. Any other is somebody else's and is not touched.
    """

    async def clear(hook: pulumi.ResourceHookArgs) -> None:
        await asyncio.to_thread(remove_left_over_container, args, str((hook.new_inputs or {})["name"]))

    return pulumi.ResourceHook(f"{name}-left-over-containers", clear)


def remove_left_over_container(args: HostArgs, container_name: str) -> None:
    """Remove the container called `container_name` if an interrupted run of this stack left it.

    Raises: RuntimeError if it belongs to somebody else.
    """
    found = args.daemon.container(container_name)
    if found is None:
        return
    owner = (found["Config"]["Labels"] or {}).get(LABEL_STACK)
    if owner != args.prefix:
        raise RuntimeError(
            f"the name {container_name} is taken on {args.daemon.address} by a container this stack does not own "
            f"(image {found['Config']['Image']}); rename or remove that container, or use another stack name"
        )
    grace_seconds = found["Config"].get("StopTimeout") or 30
    args.daemon.run("stop", "--time", str(grace_seconds), container_name, timeout_seconds=grace_seconds + 60)
    args.daemon.run("rm", "--force", container_name)


def _left_over_networks(name: str, args: HostArgs) -> pulumi.ResourceHook:
    """Clear the way for a network: Docker would make a second one of the same name without a word."""

    async def clear(hook: pulumi.ResourceHookArgs) -> None:
        await asyncio.to_thread(remove_left_over_networks, args, str((hook.new_inputs or {})["name"]))

    return pulumi.ResourceHook(f"{name}-left-over-networks", clear)


def remove_left_over_networks(args: HostArgs, network_name: str) -> None:
    """Remove networks called `network_name` that an interrupted run of this stack left.

    Raises: RuntimeError if one belongs to somebody else.
    """
    for network in args.daemon.networks(network_name):
        if (network["Labels"] or {}).get(LABEL_STACK) != args.prefix:
            raise RuntimeError(
                f"the name {network_name} is taken on {args.daemon.address} by a network this stack does not own; "
                f"remove that network, or use another stack name"
            )
        for container in network["Containers"].values():
            # Containers of an interrupted run: they could not start anew on a network that is about to be another one.
            remove_left_over_container(args, container["Name"])
        args.daemon.run("network", "rm", network["Id"])


def _last_words(name: str, args: HostArgs) -> pulumi.ErrorHook:
    """Say why a container did not become healthy: the provider itself only says that it did not."""

    async def explain(failure: pulumi.ErrorHookArgs) -> bool:
        if not any("healthy" in error for error in failure.errors):
            return False  # it never ran, and the error says why
        container_name = str((failure.new_inputs or failure.old_inputs or {})["name"])
        words = await asyncio.to_thread(args.daemon.last_words, container_name, _LAST_LOG_LINES)
        pulumi.log.error(f"{container_name} did not become healthy\n{words}")
        return False

    return pulumi.ErrorHook(f"{name}-last-words", explain)
