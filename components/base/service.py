"""The one place where a container is made.

Everything the Docker provider gets wrong or leaves open is settled here, so that no other module has to know
(the pitfalls, with their sources, are listed in docs/provider-pitfalls.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, assert_never

import pulumi
import pulumi_docker as docker

from components.base.handles import DockerHost, Environment, MemoryLimits, Service
from components.base.ownership import LABEL_DEPLOYMENT, LABEL_SERVICE, LABEL_STACK
from rendering.environment import merged
from rendering.reference import is_pinned

_WAIT_SLACK_SECONDS: Final = 45  # creating and starting, on a busy host, before the first check is even due


class Protocol(Enum):
    """Transport of a published port."""

    TCP = "tcp"
    UDP = "udp"


def go_duration(seconds: int) -> str:
    """Return `seconds` as Go prints a Duration.

    The provider reads durations back in this form, so any other spelling of the same time would be a change each run.
    """
    if seconds < 0:
        raise ValueError(f"a duration cannot be negative: {seconds}")
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """How Docker finds out whether a service works."""

    test: tuple[str, ...]
    """`CMD` and an argument vector, or `CMD-SHELL` and a script, run inside the container."""
    interval_factor: int = 1
    """Multiple of the host's health interval; more for a check that costs more."""
    timeout_seconds: int = 5
    retries: int = 5
    start_period_seconds: int = 60
    """Failures in this time do not count; a success ends it early. The host may cut it shorter."""

    def __post_init__(self) -> None:
        if len(self.test) < 2 or self.test[0] not in {"CMD", "CMD-SHELL"}:
            raise ValueError(f"health test must be CMD or CMD-SHELL with a command, not {self.test!r}")

    def wait_seconds(self, interval_seconds: int, start_period_seconds: int) -> int:
        """Return how long to wait for the first success before the service counts as failed."""
        return start_period_seconds + self.retries * (interval_seconds + self.timeout_seconds) + _WAIT_SLACK_SECONDS


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port published on the Docker host."""

    inside: int
    """What the service listens on."""
    outside: int
    """What the host listens on."""
    address: str
    protocol: Protocol = Protocol.TCP


@dataclass(frozen=True, kw_only=True)
class File:
    """A file put into the container before it starts, owned by root; a changed file means a new container.

    The provider could name another owner, but the daemon then looks the container's user up in its own passwd file.
    """

    path: str
    content: pulumi.Input[str] = field(repr=False)
    mode: str = "0444"


@dataclass(frozen=True, kw_only=True)
class ServiceArgs:
    """A container."""

    host: DockerHost
    service: str
    """Its name in the stack, which no other has; also the host name others reach it by."""
    memory_mib: int
    image: pulumi.Input[str]
    """Image id (`sha256:…`), digest or exact tag."""
    health: HealthCheck
    port: int | None = None
    """What it answers on inside the stack; None: it only calls others."""
    networks: Mapping[str, Sequence[str]]
    """Network role → further aliases there."""
    environment: Environment = field(default_factory=dict, repr=False)
    fetches: bool = False
    """Whether it calls somebody outside the stack, and so is told of the host's proxy."""
    command: Sequence[str] = ()
    """Empty: the image's own."""
    volumes: Mapping[str, docker.Volume] = field(default_factory=dict)
    """Path in the container → volume."""
    files: Sequence[File] = ()
    ports: Sequence[Port] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    """Path → mount options."""
    user: str = ""
    """Numeric uid:gid; empty: the image's own."""
    capabilities: Sequence[str] = ()
    """The only ones it keeps, each with its CAP_ prefix."""
    read_only: bool = True
    stop_grace_seconds: int = 30
    """From the stop signal to SIGKILL."""
    stop_signal: str = ""
    gpus: str = ""
    depends_on: Sequence[pulumi.Resource] = ()

    def __post_init__(self) -> None:
        problems = []
        if isinstance(self.image, str) and not is_pinned(self.image):
            problems.append(f"image {self.image!r} is not pinned: give a digest, an image id or an exact tag")
        if self.memory_mib < 1:
            problems.append(f"memory_mib must be 1 or more, not {self.memory_mib}")
        if not self.networks or not self.networks.keys() <= self.host.networks.keys():
            problems.append(f"networks {sorted(self.networks)} must be one or more of {sorted(self.host.networks)}")
        elif self.ports and self.networks.keys() <= self.host.internal_networks:
            # Docker publishes nothing for a container on internal networks only; the provider then replaces it forever.
            problems.append("a published port needs a network that is not internal")
        problems += [
            f"capability {capability!r} must carry its CAP_ prefix, as the daemon reports it"
            for capability in self.capabilities
            if not capability.startswith("CAP_")
        ]
        if self.read_only and self.files:
            # The provider unpacks every upload at "/", which Docker refuses on a read-only root, volumes or not.
            problems.append("files cannot be uploaded onto a read-only root file system")
        if any(not argument for argument in self.command):
            problems.append("the provider refuses an empty command argument")
        if self.stop_grace_seconds < 1:
            problems.append("stop_grace_seconds must be 1 or more: the provider would kill the service at once")
        if problems:
            raise ValueError(f"{self.service}: " + "; ".join(problems))


def service(name: str, args: ServiceArgs, parent: pulumi.Resource) -> Service:
    """Run a container, wait until it is healthy, and return its handle.

    A failed health gate fails the deployment with the container's last log lines, and the next run replaces the
    container and gates it again.
    """
    host = args.host
    interval_seconds = host.health_interval_seconds * args.health.interval_factor
    start_period_seconds = min(args.health.start_period_seconds, host.startup_limit_seconds)
    wait_seconds = args.health.wait_seconds(interval_seconds, start_period_seconds)
    container_args = docker.ContainerArgs(
        name=host.container_name(args.service),
        image=args.image,
        # Always there, so that the host's own name never leaks into logs and Celery's node name is predictable.
        hostname=args.service,
        command=list(args.command) or None,
        user=args.user or None,
        # Sorted, or an equal set in another order shows as a change.
        envs=_environment(merged(args.environment, host.proxy) if args.fetches else args.environment),
        labels=[
            docker.ContainerLabelArgs(label=LABEL_DEPLOYMENT, value=host.deployment),
            docker.ContainerLabelArgs(label=LABEL_SERVICE, value=args.service),
            docker.ContainerLabelArgs(label=LABEL_STACK, value=host.prefix),
        ],
        # "bridge" is what Docker reports once the custom networks are connected; unset, it drifts.
        network_mode="bridge",
        networks_advanced=[
            docker.ContainerNetworksAdvancedArgs(
                name=host.networks[role].name, aliases=sorted({args.service, *args.networks[role]})
            )
            for role in sorted(args.networks)
        ],
        ports=[
            docker.ContainerPortArgs(
                internal=port.inside, external=port.outside, ip=port.address, protocol=port.protocol.value
            )
            # The provider reads them back in this order.
            for port in sorted(args.ports, key=lambda port: (port.inside, port.protocol.value, port.address))
        ]
        or None,
        volumes=[
            docker.ContainerVolumeArgs(container_path=path, volume_name=args.volumes[path].name)
            for path in sorted(args.volumes)
        ]
        or None,
        uploads=[
            docker.ContainerUploadArgs(
                file=file.path,
                content=file.content,
                permissions=file.mode,
            )
            for file in sorted(args.files, key=lambda file: file.path)
        ]
        or None,
        tmpfs=dict(sorted(args.tmpfs.items())) or None,
        read_only=args.read_only,
        capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"], adds=sorted(args.capabilities) or None),
        security_opts=["no-new-privileges:true"],
        memory=None if host.memory_limits is MemoryLimits.NONE else args.memory_mib,
        memory_swap=_memory_swap(args),
        **_gpus(args.gpus),
        # Explicit, or a daemon-wide default shows as drift. Bounded, or one loud service fills the disk.
        log_driver="json-file",
        log_opts={"max-file": "3", "max-size": "10m"},
        restart="unless-stopped",
        # A container's anonymous volumes must outlive it too: nothing is deleted that somebody may have written to.
        remove_volumes=False,
        healthcheck=docker.ContainerHealthcheckArgs(
            tests=list(args.health.test),
            interval=go_duration(interval_seconds),
            timeout=go_duration(args.health.timeout_seconds),
            start_period=go_duration(start_period_seconds),
            start_interval=go_duration(host.start_interval_seconds) if host.start_interval_seconds else None,
            retries=args.health.retries,
        ),
        wait=True,
        wait_timeout=wait_seconds,
        stop_signal=args.stop_signal or None,
        stop_timeout=args.stop_grace_seconds,
        # The provider ignores stop_timeout when it removes a container: without this it sends SIGKILL.
        destroy_grace_seconds=args.stop_grace_seconds,
    )
    container = docker.Container(
        name,
        container_args,
        opts=pulumi.ResourceOptions(
            parent=parent,
            provider=host.provider,
            depends_on=[host.removal, *args.depends_on],
            # "*" also turns a failed health gate into a replacement; and several attributes (healthcheck, tmpfs) would
            # otherwise be recorded as updated without ever reaching the container.
            replace_on_changes=["*"],
            # The daemon adds options of its own to those of the driver it has as a default, and reports all of them.
            ignore_changes=["logOpts"],
            # The name is fixed and so may be the ports: the old one has to go first, whoever asked for the replacement.
            delete_before_replace=True,
            # A network made anew, because somebody had removed it, has the same name but nobody on it, and the name is
            # all the provider compares.
            replacement_trigger=pulumi.Output.all(*(host.networks[role].id for role in sorted(args.networks))),
            custom_timeouts=pulumi.CustomTimeouts(create=go_duration(wait_seconds + 300)),
            hooks=host.hooks,
        ),
    )
    return Service(
        name=args.service,
        address=args.service,
        host=host,
        container=container,
        health_test=" ".join(args.health.test[1:]),
        port=args.port,
        networks=tuple(sorted(args.networks)),
    )


def _memory_swap(args: ServiceArgs) -> int | None:
    """Return the limit of memory and swap together, as the daemon will report it: any other spelling is a difference.

    Equal to that of memory it means no swap; left out it would become twice as much.
    """
    match args.host.memory_limits:
        case MemoryLimits.MEMORY_AND_SWAP:
            return args.memory_mib
        case MemoryLimits.MEMORY:
            return -1
        case MemoryLimits.NONE:
            return None
        case _:
            assert_never(args.host.memory_limits)


def _gpus(gpus: str) -> dict[str, Any]:
    """Return what asks for these GPUs: `all`, or `device=<index or UUID>[,…]`.

    Of several devices the provider would read all but the first as a count, and Docker refuses a count with devices.
    Written so that it reads them all, they come back in another form and would be a change on every refresh.
    """
    kind, _, devices = gpus.partition("=")
    if kind != "device" or "," not in devices:
        return {"gpus": gpus or None}
    request = docker.ContainerDeviceRequestArgs(
        driver="nvidia", capabilities=["gpu"], device_ids=sorted(devices.split(","))
    )
    return {"device_requests": [request]}


def _environment(environment: Environment) -> list[pulumi.Input[str]]:
    return [
        f"{key}={value}" if isinstance(value, str) else pulumi.Output.concat(key, "=", value)
        for key, value in sorted(environment.items())
    ]
