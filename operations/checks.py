"""Everything that can be known to be wrong before the first resource, as one flat list.

The program itself checks its configuration only: it must give the same answer wherever it runs. What depends on the
Docker host (engine, disk, ports, names) is looked up here.
"""

import errno
import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

from components.base.daemon import Daemon, DaemonError
from components.base.ownership import Owner
from operations import (
    authentik,
    capacity,
    healing,
    host_trust,
    listing,
    ownership,
    postgres,
    revocations,
    rollover,
    store,
)
from operations.healing import IMAGE_TYPE, Damage, Resource
from operations.image_in_use import image_in_use
from operations.listing import Listing
from operations.stack import Stack
from settings import (
    PROJECT,
    Problem,
    Settings,
    SettingsError,
    StackFile,
    is_whole,
    masked,
    parse,
    path_of,
    read,
    resolved,
    usable_part,
)
from settings.base import dotted
from toolchain import EngineFacts as Facts
from toolchain import Pins, engine_problems

_START_INTERVAL_API: Final = (1, 44)
"""The Docker API that knows a health check's start interval (Docker 25)."""
_WAY: Final = frozenset({"hosts", "hosts.main", "hosts.main.address", "hosts.main.certificates"})
"""The settings by which the host is reached."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a look at the Docker host found."""

    problems: list[Problem]
    hints: list[str] = field(default_factory=list)
    """What is not wrong and could be better."""
    damage: list[Damage] = field(default_factory=list)
    """What of the stack is not as the state has it."""


@dataclass(frozen=True, kw_only=True)
class Checked(Found):
    """What was found in all."""

    settings: Settings | None
    """None while there are problems."""


def check(stack: Stack) -> Checked:
    """Return the settings of `stack`, or every problem that can be found without changing anything."""
    try:
        tree = tree_of(stack)
    except SettingsError as error:
        return Checked(settings=None, problems=list(error.problems))
    problems: list[Problem] = []
    now = datetime.now(UTC)
    try:
        settings = parse(tree, stack.name, PROJECT, now)
    except SettingsError as error:
        problems += error.problems
        # Without what is wrong, so that the host is checked in the same run.
        settings = usable_part(tree, stack.name, PROJECT, now)
    found = Found(problems=[])
    # Where the way there is wrong, the default that stands in for it leads to another host.
    if _WAY.isdisjoint(problem.setting for problem in problems):
        resources = stack.resources()
        found = look_at_host(settings, resources, ask=stack.exported_resources)
        database, provider = (image_in_use(resources or (), one.PART) for one in (postgres, authentik))
        found.problems.extend(postgres.problems(settings, _daemon(settings), database))
        found.problems.extend(authentik.problems(settings, provider))
        found.hints.extend(authentik.hints(settings, provider))
    # What is wrong in the settings may be where the store is.
    if not problems:
        asked = store.look_at_store(settings)
        found.problems.extend(asked.problems)
        found.hints.extend(asked.hints)
        deployed = stack.resources() or ()
        step = rollover.look(settings, deployed)
        found.problems.extend(step.problems)
        found.hints.extend(step.hints)
        found.problems.extend(revocations.problems(settings, deployed))
        found.hints.extend(revocations.hints(settings, deployed, stack.past_states))
    problems += [problem.without(settings.encrypted) for problem in found.problems]
    return Checked(
        settings=None if problems else settings,
        problems=problems,
        hints=[masked(hint, settings.encrypted) for hint in (*settings.hints(), *found.hints)],
        damage=found.damage,
    )


def tree_of(stack: Stack) -> dict[str, object]:
    """Return the settings as they stand in the stack file, or as the engine has them where only it knows them all.

    Raises: SettingsError.
    """
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


def opened_tree_of(stack: Stack) -> dict[str, object]:
    """Return the settings with what is encrypted in them in clear text; the engine is asked. Never print them.

    Raises: SettingsError.
    """
    tree_of(stack)  # which says so where there is no file, or none that can be read
    return _asked(stack, read(path_of(stack.name, stack.layout.root)))


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


def look_at_host(
    settings: Settings, resources: Sequence[Resource] | None, *, ask: Callable[[], Sequence[Resource]] = tuple
) -> Found:
    """Return what is wrong with the Docker host for this stack, what could be better, and what of it is damaged.

    `resources` are those of the state, None if they cannot be had at once; then they are asked for, if need be.
    """
    daemon = _daemon(settings)
    questions = [("info", "--format", "{{json .}}"), ("version", "--format", "{{json .Server}}"), listing.CONTAINERS]
    # Nobody can take a volume from a container, so while there are any it is they that are looked at.
    if resources is not None and not healing.is_up(resources):
        questions.append(listing.volumes_of(settings.prefix))
    try:
        # At once: each is a process of its own, and over ssh a connection of its own.
        with ThreadPoolExecutor(len(questions)) as pool:
            info, version, containers, *volumes = pool.map(lambda question: daemon.run(*question), questions)
    except DaemonError as error:
        return Found(
            problems=[
                Problem(
                    setting="hosts.main.address",
                    given=f"{settings.host.address}: {error}",
                    allowed="a Docker daemon that answers",
                    remedy=error.remedy
                    or "Start it, allow this user to reach it, or set another: "
                    "pulumi config set --path hosts.main.address <address>",
                )
            ]
        )
    listings = list(listing.containers(containers))
    there = listing.volumes(volumes[0]) if volumes else {}
    server, engine = json.loads(version), json.loads(info)
    is_there = any(one.owner.stack == settings.prefix for one in listings)
    trust = host_trust.look(
        settings, daemon, engine, lambda: resources if resources is not None else ask() if is_there else ()
    )
    free_gib = _free_gib(settings, engine)
    return Found(
        problems=[
            *_engine_problems(settings, engine, server, free_gib),
            *_start_interval_problems(settings, server),
            *capacity.problems(settings, engine),
            *(() if resources is None else ownership.problems(settings, listings, there, _deployment(resources))),
            *ownership.name_problems(settings, listings),
            *_address_problems(settings),
            *_port_problems(settings, listings),
            *_subnet_problems(settings, daemon),
            *trust.problems,
        ],
        hints=[
            *_hints(settings, server),
            *capacity.hints(settings, engine, free_gib=free_gib, resources=resources or ()),
        ],
        damage=[*_damage(settings, daemon, resources, listings, there, ask), *trust.damage],
    )


def _deployment(resources: Iterable[Resource]) -> str:
    """Return what marks what is this state's own on the host (components/base/ownership.py); empty if nothing does."""
    return next((str(one["outputs"]["hex"]) for one in resources if one["urn"].endswith("::host-deployment")), "")


def _damage(
    settings: Settings,
    daemon: Daemon,
    resources: Sequence[Resource] | None,
    listings: Sequence[Listing],
    volumes: Mapping[str, Owner],
    ask: Callable[[], Sequence[Resource]],
) -> list[Damage]:
    if resources is None:
        ours = [one for one in listings if one.owner.stack == settings.prefix]
        if not ours or (len(ours) >= len(settings.services) and all(one.works for one in ours)):
            return []
        resources = ask()
    if not healing.is_up(resources):
        return _missing_volumes(daemon, resources) if any(healing.missing_volumes(resources, volumes)) else []
    damaged = list(healing.damaged_containers(resources, listings))
    if not damaged:
        return []
    networks = daemon.run("network", "ls", "--no-trunc", "--quiet").split()
    return [*damaged, *healing.missing_networks(resources, networks), *_missing_volumes(daemon, resources)]


def _missing_volumes(daemon: Daemon, resources: Sequence[Resource]) -> list[Damage]:
    # By their names: one that was brought back by hand, from a copy, has no labels.
    return list(healing.missing_volumes(resources, listing.volumes(daemon.run(*listing.VOLUMES))))


def lacks_images(settings: Settings, resources: Sequence[Resource]) -> bool:
    """Return whether an image is not on the host that a stack was taken down with; never of one that is up.

    Docker removes no image that has a container, so while there are any nobody has to look.
    """
    images = healing.of_type(resources, IMAGE_TYPE)
    if not images or healing.is_up(resources):
        return False
    there = _daemon(settings).run("image", "ls", "--all", "--no-trunc", "--quiet").split()
    return not {image["outputs"]["imageId"] for image in images}.issubset(there)


def forgotten_volumes(settings: Settings) -> list[str]:
    """Return the volumes of the stack that no container has: those of modes that are switched off."""
    command = (*listing.volumes_of(settings.prefix), "--filter", "dangling=true")
    return sorted(listing.volumes(_daemon(settings).run(*command)))


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


def _free_gib(settings: Settings, info: dict[str, Any]) -> float | None:
    """Return the free space where Docker keeps all it has, in GiB, if that can be told."""
    if not settings.host.is_local:
        return None
    # Only a local host's disk can be looked at; a missing folder is one another user keeps private.
    try:
        return shutil.disk_usage(Path(info["DockerRootDir"])).free / 1024**3
    except OSError:
        return None


def _engine_problems(
    settings: Settings, info: dict[str, Any], version: dict[str, Any], free_gib: float | None
) -> Iterator[Problem]:
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


def _address_problems(settings: Settings) -> Iterator[Problem]:
    for place, addresses in {one.addresses_setting: one.addresses for one in settings.published}.items():
        for index, address in enumerate(addresses):
            # Port 0 is any free one: nobody holds it, and it takes no privilege.
            if settings.host.is_local and _refusal(address, 0, "tcp") in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                setting = dotted((*place, index))
                yield Problem(
                    setting=setting,
                    given=f"{address} is no address of this machine",
                    allowed="addresses of the Docker host",
                    remedy=f"Set another: pulumi config set --path '{setting}' <address>",
                )


def _port_problems(settings: Settings, listings: Iterable[Listing]) -> Iterator[Problem]:
    listings = list(listings)
    for path, port, protocol, addresses, _ in settings.published:
        setting = dotted(path)
        holders = [listing for listing in listings if listing.publishes(port, protocol, addresses)]
        if any(holder.owner.stack == settings.prefix for holder in holders):
            continue
        holder = f"the container {holders[0].name}" if holders else None
        if holder is None and settings.host.is_local and is_busy(addresses, port, protocol):
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
