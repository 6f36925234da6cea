"""Everything that can be known to be wrong before the first resource, as one flat list.

The program itself checks its configuration only: it must give the same answer wherever it runs. What depends on the
Docker host (engine, disk, ports, names) is looked up here.
"""

import errno
import json
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

from components.base.daemon import Daemon, DaemonError
from components.base.ownership import Owner
from operations.stack import Stack
from settings import (
    PROJECT,
    Problem,
    Settings,
    SettingsError,
    StackFile,
    is_whole,
    parse,
    path_of,
    read,
    resolved,
    usable_part,
)
from toolchain import EngineFacts as Facts
from toolchain import Pins, engine_problems

_START_INTERVAL_API: Final = (1, 44)
"""The Docker API that knows a health check's start interval (Docker 25)."""
_EVERY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One container of the host, as far as it can be in the way."""

    name: str
    owner: Owner
    ports: str
    """Docker's own notation, e.g. `127.0.0.1:8443->8443/tcp`."""

    def publishes(self, port: int, protocol: str, addresses: Iterable[str]) -> bool:
        """Return whether it holds `port` on one of `addresses` of the host."""
        wanted = set(addresses)
        for published in self.ports.split(", "):
            outside, _, inside = published.partition("->")
            if not inside.endswith(f"/{protocol}"):
                continue
            address, _, numbers = outside.rpartition(":")
            # Docker writes neighbouring ports as one range, 8442-8444.
            first, _, last = numbers.partition("-")
            shared = address.strip("[]") in wanted | _EVERY_ADDRESS or bool(wanted & _EVERY_ADDRESS)
            if shared and int(first) <= port <= int(last or first):
                return True
        return False


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was found."""

    settings: Settings | None
    """None while there are problems."""
    problems: list[Problem]
    hints: list[str]
    """What is not wrong and could be better."""


def check(stack: Stack) -> Checked:
    """Return the settings of `stack`, or every problem that can be found without changing anything."""
    try:
        tree = _tree(stack)
    except SettingsError as error:
        return Checked(settings=None, problems=list(error.problems), hints=[])
    problems: list[Problem] = []
    hints: list[str] = []
    settings: Settings | None = None
    try:
        settings = parse(tree, stack.name, PROJECT)
    except SettingsError as error:
        problems += error.problems
        # Without what is wrong, so that the host is checked in the same run.
        settings = usable_part(tree, stack.name, PROJECT)
    if settings is not None:
        found, hints = look_at_host(settings, deployment=stack.deployment)
        problems += [problem.without(settings.encrypted) for problem in found]
    return Checked(settings=None if problems else settings, problems=problems, hints=hints)


def _tree(stack: Stack) -> dict[str, object]:
    """Return the settings as they stand in the stack file, or as the engine has them where only it knows them all."""
    path = path_of(stack.name, stack.layout.root)
    try:
        file = read(path)
    except FileNotFoundError:
        known = ", ".join(sorted(found.suffixes[0][1:] for found in stack.layout.root.glob("Pulumi.*.yaml")))
        raise SettingsError(
            [
                Problem(
                    setting="STACK",
                    given=f"{stack.name!r}, but there is no {path.name}",
                    allowed=f"a stack with a file: {known}",
                    remedy=f"Copy one of them to {path.name}, or choose another: make up STACK=<name>",
                )
            ]
        ) from None
    if file.imports or not is_whole(file.settings):
        return _asked(stack, file)
    return dict(file.settings)


def _asked(stack: Stack, file: StackFile) -> dict[str, object]:
    if file.imports and stack.keeps_state_in_files:
        raise SettingsError(
            [
                Problem(
                    setting="environment",
                    given="an import of Pulumi ESC, while the state is kept in files",
                    allowed="imports where the state is in Pulumi Cloud",
                    remedy="Log in there (. ./env.sh && pulumi login), or write the settings into the stack file",
                )
            ]
        )
    stack.ensure()
    try:
        return resolved(file, stack.configuration())
    except subprocess.CalledProcessError:
        raise SettingsError(
            [
                Problem(
                    setting=path_of(stack.name, stack.layout.root).name,
                    given="what the engine cannot open; above is why",
                    allowed="values encrypted for this stack, with the passphrase or key of this checkout",
                    remedy="Bring the stack's passphrase back, or set what is encrypted anew: "
                    "pulumi config set --secret --path <setting>",
                )
            ]
        ) from None


def look_at_host(settings: Settings, *, deployment: str | None) -> tuple[list[Problem], list[str]]:
    """Return what is wrong with the Docker host for this stack, and what could be better.

    `deployment` marks what is the stack's own there; empty before the first `up`, None if it cannot be told.
    """
    daemon = _daemon(settings)
    questions = (
        ("info", "--format", "{{json .}}"),
        ("version", "--format", "{{json .Server}}"),
        ("ps", "--all", "--no-trunc", "--format", "{{json .}}"),
    )
    try:
        # At once: each is a process of its own, and over ssh a connection of its own.
        with ThreadPoolExecutor(len(questions)) as pool:
            info, version, containers = pool.map(lambda question: daemon.run(*question), questions)
    except DaemonError as error:
        return [
            Problem(
                setting="hosts.main.address",
                given=f"{settings.host.address}: {error}",
                allowed="a Docker daemon that answers",
                remedy=error.remedy
                or "Start it, allow this user to reach it, or set another: "
                "pulumi config set --path hosts.main.address <address>",
            )
        ], []
    listings = list(_listings(containers))
    server = json.loads(version)
    return [
        *_engine_problems(settings, json.loads(info), server),
        *_start_interval_problems(settings, server),
        *(_state_problems(settings, listings, deployment) if deployment is not None else ()),
        *_name_problems(settings, listings),
        *_address_problems(settings),
        *_port_problems(settings, listings),
        *_subnet_problems(settings, daemon),
    ], list(_hints(settings, server))


def lacks_images(settings: Settings, ids: Iterable[str]) -> bool:
    """Return whether one of the images `ids` is not on the Docker host."""
    wanted = set(ids)
    return bool(wanted) and not wanted.issubset(
        _daemon(settings).run("image", "ls", "--all", "--no-trunc", "--quiet").split()
    )


def _daemon(settings: Settings) -> Daemon:
    return Daemon(address=settings.host.address, certificates=settings.host.certificates or "")


def _api(version: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(part) for part in version["ApiVersion"].split("."))


def _start_interval_problems(settings: Settings, version: dict[str, Any]) -> Iterator[Problem]:
    if settings.health.start_interval_seconds is not None and _api(version) < _START_INTERVAL_API:
        yield Problem(
            setting="health.start_interval_seconds",
            given=f"{settings.health.start_interval_seconds}, while {settings.host.address} speaks API "
            f"{version['ApiVersion']}",
            allowed="nothing on an engine older than Docker 25 (API 1.44)",
            remedy="Remove it: pulumi config rm --path health.start_interval_seconds",
        )


def _hints(settings: Settings, version: dict[str, Any]) -> Iterator[str]:
    if settings.health.start_interval_seconds is None and _api(version) >= _START_INTERVAL_API:
        yield (
            "This Docker engine can look at a starting service more often, which makes a first `up` quicker: "
            "pulumi config set --path health.start_interval_seconds 1"
        )


def _engine_problems(settings: Settings, info: dict[str, Any], version: dict[str, Any]) -> Iterator[Problem]:
    free_gib: float | None = None
    if settings.host.is_local:
        # Only a local host's disk can be looked at; a missing folder is one another user keeps private.
        root = Path(info["DockerRootDir"])
        try:
            free_gib = shutil.disk_usage(root).free / 1024**3
        except OSError:
            free_gib = None
    facts = Facts(
        version=version["Version"],
        api=version["ApiVersion"],
        cgroup_version=str(info.get("CgroupVersion", "")),
        storage_driver=info["Driver"],
        operating_system=info["OperatingSystem"],
        root=info["DockerRootDir"],
        free_gib=free_gib,
    )
    for line in engine_problems(facts, Pins.read(), settings.host.minimum_free_disk_gib):
        yield Problem(
            setting="hosts.main.address",
            given=f"{settings.host.address}: {line}",
            allowed="an engine with what the stack needs",
            remedy="See docs/deploy.md",
        )


def _listings(lines: str) -> Iterator[Listing]:
    for line in lines.splitlines():
        container = json.loads(line)
        labels = dict(label.partition("=")[::2] for label in container["Labels"].split(","))
        yield Listing(
            name=container["Names"],
            owner=Owner.of(labels),
            ports=container["Ports"],
        )


def _state_problems(settings: Settings, listings: Iterable[Listing], deployment: str) -> Iterator[Problem]:
    theirs = sorted(
        listing.name
        for listing in listings
        # Without a number of its own, nothing on the host is this state's.
        if listing.owner.stack == settings.prefix and (listing.owner.deployment != deployment or not deployment)
    )
    if theirs:
        yield Problem(
            setting="STACK",
            given=f"a stack of this name is on {settings.host.address} already, and this state knows nothing of it: "
            + ", ".join(theirs),
            allowed="a stack this checkout or backend has deployed itself, or a name nobody else uses",
            remedy="Go on where it was deployed, or use another stack name; if its state is lost: docs/deploy.md",
        )


def _name_problems(settings: Settings, listings: Iterable[Listing]) -> Iterator[Problem]:
    names = {f"{settings.prefix}-{service}" for service in settings.services}
    for listing in listings:
        if listing.name in names and listing.owner.stack != settings.prefix:
            yield Problem(
                setting="STACK",
                given=f"the container {listing.name} on {settings.host.address} is not this stack's",
                allowed="names nobody else uses",
                remedy=f"Remove it (docker rm {listing.name}), or use another stack name",
            )


def _address_problems(settings: Settings) -> Iterator[Problem]:
    for index, address in enumerate(settings.edge.bind_addresses):
        # Port 0 is any free one: nobody holds it, and it takes no privilege.
        if settings.host.is_local and _refusal(address, 0, "tcp") in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            yield Problem(
                setting=f"edge.bind_addresses[{index}]",
                given=f"{address} is no address of this machine",
                allowed="addresses of the Docker host",
                remedy=f"Set another: pulumi config set --path 'edge.bind_addresses[{index}]' <address>",
            )


def _port_problems(settings: Settings, listings: Iterable[Listing]) -> Iterator[Problem]:
    listings = list(listings)
    for setting, port, protocol in (
        ("edge.https_port", settings.edge.https_port, "tcp"),
        ("edge.https_port", settings.edge.https_port, "udp"),
        ("edge.http_port", settings.edge.http_port, "tcp"),
    ):
        holders = [listing for listing in listings if listing.publishes(port, protocol, settings.edge.bind_addresses)]
        if any(holder.owner.stack == settings.prefix for holder in holders):
            continue
        holder = f"the container {holders[0].name}" if holders else None
        if holder is None and settings.host.is_local and is_busy(settings.edge.bind_addresses, port, protocol):
            holder = "another program"
        if holder is not None:
            yield Problem(
                setting=setting,
                given=f"{port}/{protocol} is in use by {holder} on {settings.host.address}",
                allowed="a free port",
                remedy=f"Stop it, or set another: pulumi config set --path {setting} <port>",
            )


def _subnet_problems(settings: Settings, daemon: Daemon) -> Iterator[Problem]:
    """Yield the networks that have addresses meant for this stack; Docker says so only in the middle of a run."""
    pool, pieces = settings.host.subnets, settings.host.pieces
    if pool is None:
        return
    ids = daemon.run("network", "ls", "--no-trunc", "--quiet").split()
    networks = json.loads(daemon.run("network", "inspect", *ids)) if ids else []
    theirs: list[str] = []
    ours: list[str] = []
    for network in networks:
        is_ours = Owner.of(network["Labels"]).stack == settings.prefix
        for config in network["IPAM"]["Config"] or ():
            if ":" in config["Subnet"]:
                continue
            taken = IPv4Network(config["Subnet"])
            if not is_ours and taken.overlaps(IPv4Network(pool)):
                theirs.append(f"{network['Name']} ({taken})")
            # Each is removed just before it is made anew, and another may still be there.
            if is_ours and taken not in pieces and any(taken.overlaps(piece) for piece in pieces):
                ours.append(f"{network['Name']} ({taken})")
    remedy = "et another: pulumi config set --path hosts.main.subnets <network>"
    if theirs:
        yield Problem(
            setting="hosts.main.subnets",
            given=f"{pool}, of which other networks on {settings.host.address} have a part: "
            + ", ".join(sorted(theirs)),
            allowed="addresses no other network of that host has",
            remedy=f"S{remedy}",
        )
    if ours:
        yield Problem(
            setting="hosts.main.subnets",
            given=f"{pool}, of which networks of this stack have a part until they are replaced: "
            + ", ".join(sorted(ours)),
            allowed="addresses apart from those it has now",
            remedy=f"Take it down first (make down keeps the data), or s{remedy}",
        )


def is_busy(addresses: Iterable[str], port: int, protocol: str) -> bool:
    """Return whether somebody holds `port` on one of `addresses` of this machine."""
    # Any other refusal says nothing: only root may listen below 1024, and Docker does so for everybody.
    return any(_refusal(address, port, protocol) == errno.EADDRINUSE for address in addresses)


def _refusal(address: str, port: int, protocol: str) -> int | None:
    """Return the error number that keeps this process from listening there, None if nothing does."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as probe:
            if protocol == "tcp":
                # A connection in its last minutes after a restart is not in anybody's way.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        return error.errno
    return None
