"""A Docker host: its networks, and the guards around everything made on it."""

import asyncio
import base64
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any, Final

import pulumi
import pulumi_docker as docker
import pulumi_random as random

from components.base.daemon import Daemon
from components.base.handles import DockerHost, Environment, MemoryLimits
from components.base.ownership import LABEL_DEPLOYMENT, LABEL_STACK, Owner
from components.base.step import removal

_LAST_LOG_LINES: Final = 20

# Whichever are there. One that cannot be removed, as somebody else's container is on it, ends the run with Docker's
# words; what is left is cleared by its labels when its name is needed again.
_REMOVE_NETWORKS: Final = f"""\
set -eu
ids=$(docker network ls --quiet --filter "label={LABEL_DEPLOYMENT}=$DEPLOYMENT")
[ -z "$ids" ] || docker network rm $ids > /dev/null
"""


@dataclass(frozen=True, kw_only=True)
class NetworkRole:
    """What a network is for."""

    internal: bool
    """No route out, and nothing can be published from it."""


NETWORKS: Final[Mapping[str, NetworkRole]] = {
    # A role's place decides over its addresses: new ones go to the end, sixteen at most.
    # The edge and the application, with a route out: models, webhooks, and a certificate authority are out there.
    "application": NetworkRole(internal=False),
    # One for each data service, so that whoever joins to reach one of them reaches that one only.
    "database": NetworkRole(internal=True),
    "cache": NetworkRole(internal=True),
    "storage": NetworkRole(internal=True),
    # Authentik believes whoever is on it about the address and the scheme of a request.
    "identity": NetworkRole(internal=True),
}


@dataclass(frozen=True, kw_only=True)
class HostArgs:
    """A Docker host."""

    prefix: str
    """What every name on the host starts with: `<project>-<stack>`."""
    provider: docker.Provider
    daemon: Daemon
    networks: frozenset[str]
    """The roles of NETWORKS this stack has a use for."""
    pieces: Sequence[IPv4Network] = ()
    """Addresses for the networks, by the places of their roles; empty: Docker chooses."""
    proxy: Environment = field(default_factory=dict, repr=False)
    """For services that fetch something."""
    memory_limits: MemoryLimits = MemoryLimits.MEMORY_AND_SWAP
    adopt: str | None = None
    """Deployment, 16 hex digits, that this one goes on with; its state is lost."""
    health_interval_seconds: int
    start_interval_seconds: int | None = None
    startup_limit_seconds: int
    show_logs: bool = True
    """Whether an error about a container ends with what it logged."""

    def __post_init__(self) -> None:
        if self.pieces and len(self.pieces) < len(NETWORKS):
            raise ValueError(f"pieces must be {len(NETWORKS)} or more, not {len(self.pieces)}")
        unknown = self.networks - NETWORKS.keys()
        if unknown:
            raise ValueError(f"networks: {sorted(unknown)} not among {sorted(NETWORKS)}")


class Host(pulumi.ComponentResource):
    """A Docker host's networks; hands over what is needed to run containers there.

    Does not: install Docker, open firewalls.
    """

    handle: DockerHost
    """What components take to run containers on this host."""

    def __init__(self, name: str, args: HostArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:host:Host", name, {}, opts)
        deployment = random.RandomId(
            f"{name}-deployment",
            random.RandomIdArgs(byte_length=8),
            opts=pulumi.ResourceOptions(
                parent=self,
                # Lost, everything on the host would count as somebody else's.
                protect=True,
                import_=random_id(args.adopt) if args.adopt else None,
            ),
        ).hex
        guard = pulumi.ResourceHookBinding(before_create=[_left_over_networks(name, args)])
        # The provider waits two seconds before it looks whether a network is gone, and that is a third of a `down`.
        gone = removal(
            f"{name}-networks-removal",
            _REMOVE_NETWORKS,
            {**args.daemon.environment, "DEPLOYMENT": deployment},
            self,
        )
        networks = {
            role: docker.Network(
                f"{name}-{role}",
                docker.NetworkArgs(
                    name=f"{args.prefix}-{role}",
                    driver="bridge",
                    internal=NETWORKS[role].internal,
                    ipam_configs=_ipam(args.pieces, role),
                    labels=[
                        docker.NetworkLabelArgs(label=LABEL_DEPLOYMENT, value=deployment),
                        docker.NetworkLabelArgs(label=LABEL_STACK, value=args.prefix),
                    ],
                ),
                opts=pulumi.ResourceOptions(
                    parent=self,
                    provider=args.provider,
                    hooks=guard,
                    deleted_with=gone,
                    # Docker would give the new one the same name beside the old one, but not the same addresses.
                    delete_before_replace=True,
                ),
            )
            for role in sorted(args.networks)
        }
        self.handle = DockerHost(
            provider=args.provider,
            prefix=args.prefix,
            deployment=deployment,
            daemon=args.daemon,
            networks=networks,
            removal=gone,
            memory_limits=args.memory_limits,
            internal_networks=frozenset(role for role in networks if NETWORKS[role].internal),
            proxy=args.proxy,
            hooks=pulumi.ResourceHookBinding(
                before_create=[_left_over_containers(name, args)],
                on_error=[_last_words(name, args)],
            ),
            volume_hooks=pulumi.ResourceHookBinding(before_create=[_other_volumes(name, args)]),
            health_interval_seconds=args.health_interval_seconds,
            start_interval_seconds=args.start_interval_seconds,
            startup_limit_seconds=args.startup_limit_seconds,
        )
        self.register_outputs({})


def _ipam(pieces: Sequence[IPv4Network], role: str) -> list[docker.NetworkIpamConfigArgs] | None:
    if not pieces:
        return None
    piece = pieces[list(NETWORKS).index(role)]
    # The gateway is said too: the daemon reports one whether or not it was given, and that would be a change each run.
    return [docker.NetworkIpamConfigArgs(subnet=str(piece), gateway=str(piece.network_address + 1))]


def random_id(hexadecimal: str) -> str:
    """Return what imports a RandomId of that value."""
    return base64.urlsafe_b64encode(bytes.fromhex(hexadecimal)).rstrip(b"=").decode("ascii")


def _left_over_containers(name: str, args: HostArgs) -> pulumi.ResourceHook:
    """Clear the way for a container whose name is taken.

    The engine is about to create it, so its state knows of none: one that carries our labels is what an interrupted run
    left behind, and holds nothing that is not in a volume. Any other is somebody else's and is not touched.
    """

    async def clear(hook: pulumi.ResourceHookArgs) -> None:
        made = Made.of(hook)
        await asyncio.to_thread(remove_left_over_container, args.daemon, made.name, made.owner)

    return pulumi.ResourceHook(f"{name}-left-over-containers", clear)


def _left_over_networks(name: str, args: HostArgs) -> pulumi.ResourceHook:
    """Clear the way for a network: Docker would make a second one of the same name without a word.

    One after the other: the same container is on several, and Docker refuses to remove one that is being removed.
    """
    one_at_a_time = threading.Lock()

    def remove(made: Made) -> None:
        with one_at_a_time:
            remove_left_over_networks(args.daemon, made.name, made.owner)

    async def clear(hook: pulumi.ResourceHookArgs) -> None:
        await asyncio.to_thread(remove, Made.of(hook))

    return pulumi.ResourceHook(f"{name}-left-over-networks", clear)


def _other_volumes(name: str, args: HostArgs) -> pulumi.ResourceHook:
    """Refuse a volume that another state made: Docker would hand it over without a word, with all that is in it."""

    async def refuse(hook: pulumi.ResourceHookArgs) -> None:
        made = Made.of(hook)
        await asyncio.to_thread(must_not_be_anothers, args.daemon, made.name, made.owner)

    return pulumi.ResourceHook(f"{name}-other-volumes", refuse)


@dataclass(frozen=True, kw_only=True)
class Made:
    """What the engine is about to make."""

    name: str
    owner: Owner

    @classmethod
    def of(cls, hook: pulumi.ResourceHookArgs) -> "Made":
        """Return what a hook is told of it."""
        inputs: Mapping[str, Any] = hook.new_inputs or {}
        labels = {str(label["label"]): str(label["value"]) for label in inputs["labels"]}
        return cls(name=str(inputs["name"]), owner=Owner.of(labels))


def remove_left_over_container(daemon: Daemon, name: str, owner: Owner) -> None:
    """Remove the container called `name` if an interrupted run of `owner` left it.

    Raises: RuntimeError if it belongs to somebody else.
    """
    found = daemon.container(name)
    if found is None:
        return
    _must_belong(daemon, f"container {name} (image {found['Config']['Image']})", found["Config"]["Labels"], owner)
    grace_seconds = found["Config"].get("StopTimeout") or 30
    daemon.run("stop", "--time", str(grace_seconds), name, timeout_seconds=grace_seconds + 60)
    daemon.run("rm", "--force", name)


def remove_left_over_networks(daemon: Daemon, name: str, owner: Owner) -> None:
    """Remove networks called `name` that an interrupted run of `owner` left.

    Raises: RuntimeError if one belongs to somebody else.
    """
    for network in daemon.networks(name):
        _must_belong(daemon, f"network {name}", network["Labels"], owner)
        for container in network["Containers"].values():
            # Containers of an interrupted run: they could not start anew on a network that is about to be another one.
            remove_left_over_container(daemon, container["Name"], owner)
        daemon.run("network", "rm", network["Id"])


def must_not_be_anothers(daemon: Daemon, name: str, owner: Owner) -> None:
    """Accept the volume called `name` if there is none, or `owner` left it there.

    Those that an earlier release made say nothing of their deployment, and are accepted too.

    Raises: RuntimeError if it belongs to somebody else.
    """
    found = daemon.volume(name)
    if found is not None and Owner.of(found["Labels"]).deployment:
        _must_belong(daemon, f"volume {name}", found["Labels"], owner)


def _must_belong(daemon: Daemon, what: str, labels: Mapping[str, str] | None, owner: Owner) -> None:
    actual = Owner.of(labels)
    if actual == owner:
        return
    if actual.stack == owner.stack:
        raise RuntimeError(
            f"{daemon.address} already runs a stack of this name that another state knows: the {what} is not this "
            f"state's. Use that checkout or backend, or another stack name; if its state is lost, see docs/deploy.md"
        )
    raise RuntimeError(
        f"the {what} on {daemon.address} has a name this stack needs and is not this stack's; rename or remove it, or "
        f"use another stack name"
    )


def _last_words(name: str, args: HostArgs) -> pulumi.ErrorHook:
    """Say why a container did not become healthy: the provider itself only says that it did not."""

    async def explain(failure: pulumi.ErrorHookArgs) -> bool:
        if not any("healthy" in error for error in failure.errors):
            return False  # it never ran, and the error says why
        container_name = str((failure.new_inputs or failure.old_inputs or {})["name"])
        lines = _LAST_LOG_LINES if args.show_logs else 0
        words = await asyncio.to_thread(args.daemon.last_words, container_name, lines)
        pulumi.log.error(f"{container_name} did not become healthy\n{words}")
        return False

    return pulumi.ErrorHook(f"{name}-last-words", explain)
