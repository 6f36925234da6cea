"""Whom the Docker host itself trusts, looked at: what keeps it from being told, and what it has been told and forgot.

The look is one container that is there for a second, with the host's files to read; for stacks that ask for it alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from components.base.daemon import Daemon, DaemonError
from operations.healing import Damage, Resource, of_type
from rendering import host_trust as rendering
from settings import Problem, Settings

COMMAND_TYPE: Final = "command:local:Command"
_SETTING: Final = "hosts.main.trust"
_STORE: Final = "::host-trust-store"
_REGISTRIES: Final = "::host-trust-registries"
_NO_HOST: Final = "a host whose Docker runs as its root, straight on it"
_REMOVE: Final = f"Remove it: pulumi config rm --path {_SETTING}"
_SHORT: Final = 16
"""Digits of a fingerprint that are shown."""
_KNOWN: Final = "Debian, Ubuntu, Alpine, RHEL, Fedora, SUSE, Arch, or one that says it is like one of them"


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What a host was told, as the state has it."""

    store: Resource | None
    registries: Resource | None

    @classmethod
    def of(cls, resources: Sequence[Resource]) -> "Deployed":
        """Return what the state has of it."""
        commands = of_type(resources, COMMAND_TYPE)

        def named(end: str) -> Resource | None:
            return next((one for one in commands if str(one["urn"]).endswith(end)), None)

        return cls(store=named(_STORE), registries=named(_REGISTRIES))

    @property
    def is_nothing(self) -> bool:
        """Whether it was told nothing."""
        return self.store is None and self.registries is None

    @property
    def files(self) -> Mapping[str, str]:
        """The files in its store, each with the fingerprint of what it holds, hexadecimal."""
        return dict(line.split() for line in _environment(self.store).get("AUTHORITIES", "").splitlines())

    @property
    def addresses(self) -> list[str]:
        """The registries."""
        return _environment(self.registries).get("REGISTRIES", "").splitlines()

    def call(self) -> tuple[dict[str, str], str]:
        """Return the variables and the standard input to look for it with."""
        resource = self.store or self.registries
        if resource is None:
            return {}, ""
        variables = {"AUTHORITIES": _environment(resource)["AUTHORITIES"], "REGISTRIES": "\n".join(self.addresses)}
        if self.store is not None:
            variables["STORE"] = "yes"
        return variables, str(resource["inputs"]["stdin"])


def _environment(resource: Resource | None) -> Mapping[str, str]:
    return resource["inputs"]["environment"] if resource is not None else {}


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was found."""

    problems: Sequence[Problem] = ()
    """What would stop a run."""
    damage: Sequence[Damage] = ()
    """What the host no longer has of what it is to have."""


def look(
    settings: Settings, daemon: Daemon, info: Mapping[str, Any], resources: Callable[[], Sequence[Resource]]
) -> Look:
    """Return what is wrong with whom the host is to trust; `info` is what its daemon says of itself."""
    if not settings.host.trust.is_on:
        return Look()
    if where := _elsewhere(info):
        return Look(
            problems=[
                Problem(
                    setting=_SETTING,
                    given=f"set, while the daemon at {settings.host.address} {where}",
                    allowed=_NO_HOST,
                    remedy=_REMOVE,
                )
            ]
        )
    deployed = Deployed.of(resources())
    try:
        lines = _look(settings, daemon, deployed)
    except DaemonError as error:
        return Look(
            problems=[
                Problem(
                    setting=_SETTING,
                    given=f"{settings.host.address} does not run its own tools in a container: {error}",
                    allowed="a host with a shell and chroot of its own, which its daemon may run",
                    remedy=error.remedy or _REMOVE,
                )
            ]
        )
    return Look(
        problems=tuple(problem for kind, rest in lines for problem in _problems(settings, kind, rest)),
        damage=tuple(_damage(settings, deployed, _missing(lines))),
    )


def _look(settings: Settings, daemon: Daemon, deployed: Deployed) -> list[tuple[str, str]]:
    """Return what is not right, as `look` in rendering/host_trust.sh prints it.

    Raises: DaemonError.
    """
    trust = settings.host.trust
    variables, stdin = deployed.call()
    variables["FOLDERS"] = "\n".join(trust.registries)
    if trust.system_store:
        variables["SYSTEM"] = "yes"
    call = rendering.call("look", rendering.READS_ALL, settings.prefix)
    said = daemon.run_script(rendering.ON_HOST, {**call, **variables}, stdin)
    return [(kind, rest) for kind, _, rest in (line.partition(" ") for line in said.splitlines())]


def _missing(lines: Sequence[tuple[str, str]]) -> frozenset[str]:
    """Return the files of the store, and the registries, that are not as they were told."""
    return frozenset(rest for kind, rest in lines if kind in {"store", "registry"})


def _elsewhere(info: Mapping[str, Any]) -> str:
    """Return why what a daemon runs on is not the host whose trust is meant; empty if it is."""
    if any("rootless" in str(option) for option in info.get("SecurityOptions") or ()):
        return "is rootless, and may not write there"
    if info.get("OperatingSystem") == "Docker Desktop":
        return "is Docker Desktop's, whose host is a virtual machine that forgets"
    if str(info.get("DockerRootDir", "")).startswith("/var/snap/"):
        return "is a snap, with an /etc of its own"
    return ""


def _problems(settings: Settings, kind: str, rest: str) -> Iterator[Problem]:
    match kind:
        case "system" if settings.host.trust.system_store:
            yield Problem(
                setting=f"{_SETTING}.system_store",
                given=f"true, and the system of {settings.host.address} is {rest}",
                allowed=_KNOWN,
                remedy=f"Install the authorities there by hand, and remove it: pulumi config rm --path {_SETTING}."
                "system_store",
            )
        case "tool" if settings.host.trust.system_store:
            tool, _, system = rest.partition(" ")
            yield Problem(
                setting=f"{_SETTING}.system_store",
                given=f"true, and {system} at {settings.host.address} has no {tool}",
                allowed=f"a host with {tool}",
                remedy="Install its package ca-certificates there",
            )
        case "client":
            file, _, lacking = rest.rpartition(" ")
            yield Problem(
                setting=f"{_SETTING}.registries",
                given=f"{file} lies on {settings.host.address} without {lacking}: Docker takes it for a client's, and "
                "pulls nothing from there",
                allowed="files that end in .crt for authorities, and .cert with .key for a client",
                remedy="Rename it there, or remove it",
            )


def _damage(settings: Settings, deployed: Deployed, missing: frozenset[str]) -> Iterator[Damage]:
    trust = settings.host.trust
    for resource, is_on, kept, what in (
        (deployed.store, trust.system_store, [*deployed.files], "the trust store of the Docker host"),
        (deployed.registries, bool(trust.registries), deployed.addresses, "what the Docker host trusts registries by"),
    ):
        gone = [one for one in kept if one in missing]
        # What is no longer set is about to be taken away.
        if resource is not None and is_on and gone:
            yield Damage(
                urn=resource["urn"], type=COMMAND_TYPE, name=what, what=f"lacks what was put there: {', '.join(gone)}"
            )


def findings(settings: Settings, daemon: Daemon, resources: Sequence[Resource]) -> Iterator[tuple[str, bool]]:
    """Yield how what the host was told is there, and whether that is fine.

    Raises: DaemonError.
    """
    deployed = Deployed.of(resources)
    if deployed.is_nothing:
        return
    lines = _look(settings, daemon, deployed)
    for kind, rest in lines:
        yield from ((f"{one.given}; allowed: {one.allowed}", False) for one in _problems(settings, kind, rest))
    missing = _missing(lines)
    for file, sha256 in deployed.files.items():
        fine = file not in missing
        yield (
            f"{file} ({sha256[:_SHORT]}…) is {'' if fine else 'not '}in its store and its bundle",
            fine,
        )
    for address in deployed.addresses:
        fine = address not in missing
        yield f"its daemon {'trusts' if fine else 'does not trust'} what it was told to at {address}", fine
