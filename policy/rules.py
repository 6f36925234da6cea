"""The rules: each a pure function from what the engine tells to what is wrong.

A rule about one resource is asked before that is made, and again of all there is; one about the whole stack once
everything is known, and so, in an update that no preview came before, too late to prevent it.
"""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pki import naming
from pki.rollover import GIVEN_UP, STATE
from policy.properties import is_unknown, keys_in, plain, texts
from rendering.reference import is_pinned

CONTAINER: Final = "docker:index/container:Container"
IMAGE: Final = "docker:index/remoteImage:RemoteImage"
KEY: Final = "tls:index/privateKey:PrivateKey"
STACK: Final = "pulumi:pulumi:Stack"
AUTHORITY: Final = "reflector:authority:Authority"
ROLLOVER: Final = "reflector:rollover:Rollover"
PUBLISHERS: Final = frozenset({"reflector:caddy:Caddy", "reflector:relay:Relay"})
"""What is reachable from outside: the edge and relays."""
SERVED: Final = (
    CONTAINER,
    "command:local:Command",
    "docker:index/secret:Secret",
    "pulumi:providers:docker",
    "pulumi:providers:kubernetes",
)
"""Who uses a key that is no authority's: what serves or signs with it, what delivers it, what logs in with it."""
RESTARTS: Final = frozenset({"unless-stopped", "always"})
_SOCKETS: Final = ("/var/run/docker.sock", "/run/docker.sock")


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource, as the engine tells of it."""

    urn: str
    type: str
    name: str
    properties: Mapping[str, Any] = field(repr=False)
    """What it is asked to be, or in a rule about the stack what it has become; secrets are marked."""
    protect: bool = False

    @property
    def parents(self) -> frozenset[str]:
        """The types of what it is a part of."""
        return frozenset(self.urn.split("::")[2].split("$")[:-1])

    def get(self, key: str) -> Any:
        """Return a property without marks; None where it is not set, or not known yet."""
        return plain(self.properties.get(key))


@dataclass(frozen=True, kw_only=True)
class Violation:
    """What is wrong with a resource, in one line: property, what is given, what is allowed, what to do."""

    urn: str
    text: str


OfResource = Callable[[Resource], Iterator[str]]
OfStack = Callable[[Iterable[Resource]], Iterator[Violation]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What must not be."""

    name: str
    description: str
    resource: OfResource | None = None
    stack: OfStack | None = None


# --- Keys -------------------------------------------------------------------------------------------------------------


def open_keys(one: Resource) -> Iterator[str]:
    """Yield private keys that the engine would keep and show in clear text."""
    for each in texts(one.properties):
        if not each.secret and keys_in(each.text):
            yield (
                f"{each.path}: a private key in clear text; allowed: encrypted ones. "
                "Wrap it: pulumi.Output.secret, or pulumi config set --secret"
            )


def strayed_keys(one: Resource) -> Iterator[str]:
    """Yield private keys in what has no use for any."""
    if one.type in {STACK, *SERVED} or one.type.startswith("tls:"):
        return
    for each in texts(one.properties):
        if keys_in(each.text):
            yield (
                f"{each.path}: a private key in {one.type}; allowed: in tls:*, {', '.join(SERVED)}. "
                "Hand on the certificate alone"
            )


def authority_keys_elsewhere(resources: Iterable[Resource]) -> Iterator[Violation]:
    """Yield keys of authorities outside what they sign with, encrypted or not: in outputs of the stack, for one."""
    every = list(resources)
    own = {key for one in every for text in _authority_keys(one) for key in keys_in(text)}
    for one in every:
        if one.type.startswith("tls:"):
            continue
        for each in texts(one.properties):
            if own & keys_in(each.text):
                where = "the stack's outputs" if one.type == STACK else one.type
                yield Violation(
                    urn=one.urn,
                    text=f"{each.path}: the private key of an authority in {where}; allowed: in tls:* alone. "
                    "Hand on the authority's certificate",
                )


def _authority_keys(one: Resource) -> Iterator[str]:
    if one.type == KEY and AUTHORITY in one.parents:
        yield from (each.text for each in texts(one.properties))
    elif one.type.startswith("tls:"):
        # Of one that was brought along, which is no resource.
        yield from (each.text for each in texts(one.properties.get("caPrivateKeyPem")))


def foreign_authorities(one: Resource) -> Iterator[str]:
    """Yield certificates that may sign others and are not an authority's of the stack."""
    if one.type.startswith("tls:") and one.get("isCaCertificate") is True and AUTHORITY not in one.parents:
        yield (
            f"isCaCertificate: true, outside {AUTHORITY}; allowed: in that alone. Name the authority in "
            "pki.authorities, which gives it a purpose, generations and protection"
        )


def unprotected_authorities(resources: Iterable[Resource]) -> Iterator[Violation]:
    """Yield keys and roots that a run could delete, but of generations that are given up."""
    every = list(resources)
    given_up = set(_given_up(every))
    for one in every:
        if AUTHORITY not in one.parents or not one.type.startswith("tls:") or one.protect:
            continue
        if any(one.name.startswith(name) for name in given_up):
            continue
        yield Violation(
            urn=one.urn,
            text="protect: false; allowed: true until the generation is retired or distrusted, for nobody can make "
            "this root again. Set it: protect=True",
        )


def _given_up(resources: Iterable[Resource]) -> Iterator[str]:
    """Yield what names of the members of generations begin with, that are retired or distrusted."""
    for one in resources:
        if one.type == ROLLOVER:
            for authority, generations in (one.get("generations") or {}).items():
                for name, record in generations.items():
                    if record.get(STATE) in GIVEN_UP:
                        yield naming.member(naming.authority(authority), int(name.removeprefix("g")), "")


# --- Containers -------------------------------------------------------------------------------------------------------


def powerful_containers(one: Resource) -> Iterator[str]:
    """Yield containers that are as good as root on their host."""
    if one.type != CONTAINER:
        return
    if one.get("privileged"):
        yield "privileged: true; allowed: false. Name the capabilities it needs"
    for key in ("networkMode", "pidMode", "ipcMode", "usernsMode"):
        if one.get(key) == "host":
            yield f"{key}: 'host'; allowed: a namespace of its own. Leave it out"
    for path, source in _mounted(one):
        if _reaches_docker(source):
            yield (
                f"{path}: {source!r}, by which Docker is commanded; allowed: volumes, and paths without Docker's "
                "socket. Mount what it needs"
            )


def _mounted(one: Resource) -> Iterator[tuple[str, str]]:
    for list_, key in (("volumes", "hostPath"), ("mounts", "source")):
        for number, each in enumerate(one.get(list_) or ()):
            if isinstance(each.get(key), str) and each[key]:
                yield f"{list_}[{number}].{key}", each[key]


def _reaches_docker(source: str) -> bool:
    """Tell whether a path of the host is a socket of Docker, or a folder over one."""
    if not source.startswith("/"):  # the name of a volume
        return False
    path = posixpath.normpath("/" + source.lstrip("/"))
    return posixpath.basename(path) == "docker.sock" or any(
        posixpath.commonpath([path, socket]) == path for socket in _SOCKETS
    )


def published_ports(one: Resource) -> Iterator[str]:
    """Yield what is reachable from outside besides the edge and relays."""
    if one.type != CONTAINER or PUBLISHERS & one.parents:
        return
    allowed = "allowed: on the edge and relays alone. Let a route of the edge or a relay lead there"
    for number, each in enumerate(one.get("ports") or ()):
        yield f"ports[{number}].external: {each.get('external', 'any')}; {allowed}"
    if one.get("publishAllPorts"):
        yield f"publishAllPorts: true; {allowed}"


def unwatched_containers(one: Resource) -> Iterator[str]:
    """Yield containers of which nobody finds out that they do not work, or that stay down."""
    if one.type != CONTAINER:
        return
    if not is_unknown(one.properties.get("healthcheck")):
        tests = (one.get("healthcheck") or {}).get("tests")
        if not tests or tests == ["NONE"]:
            yield "healthcheck.tests: none; allowed: CMD or CMD-SHELL with a command. Say how to find out if it works"
    if not is_unknown(one.properties.get("restart")) and one.get("restart") not in RESTARTS:
        yield (
            f"restart: {one.get('restart') or 'no'!r}; allowed: {' or '.join(sorted(RESTARTS))}. "
            "Set it, or it stays down once its host was"
        )


def floating_images(one: Resource) -> Iterator[str]:
    """Yield images that may be another one tomorrow."""
    key = {CONTAINER: "image", IMAGE: "name"}.get(one.type)
    image = one.get(key) if key is not None else None
    if image is not None and not is_pinned(str(image)):
        yield f"{key}: {image!r}; allowed: an image id, a digest, or a tag that is a version. Pin it"


RULES: Final = (
    Rule(
        name="no-private-key-in-clear-text",
        description="Private keys are encrypted wherever the engine keeps them, outputs of the stack included.",
        resource=open_keys,
    ),
    Rule(
        name="private-keys-where-they-are-used",
        description="A private key is in what makes, delivers or uses it, and in nothing else.",
        resource=strayed_keys,
    ),
    Rule(
        name="authority-keys-stay-with-the-authority",
        description="What signs certificates is handed to nobody, encrypted or not.",
        stack=authority_keys_elsewhere,
    ),
    Rule(
        name="authorities-by-the-pki-alone",
        description="Only an authority of the stack has a certificate that may sign others.",
        resource=foreign_authorities,
    ),
    Rule(
        name="authorities-are-protected",
        description="Key and root of an authority that is trusted cannot be deleted.",
        stack=unprotected_authorities,
    ),
    Rule(
        name="no-power-over-the-host",
        description="No container is privileged, shares its host's namespaces or commands its Docker.",
        resource=powerful_containers,
    ),
    Rule(
        name="published-by-the-edge-alone",
        description="Only the edge and relays are reachable from outside.",
        resource=published_ports,
    ),
    Rule(
        name="containers-are-watched",
        description="Every container has a health check and comes back after a restart of its host.",
        resource=unwatched_containers,
    ),
    Rule(
        name="images-are-pinned",
        description="A reference to an image means one image for ever.",
        resource=floating_images,
    ),
)


def of_resource(one: Resource) -> Iterator[tuple[Rule, Violation]]:
    """Yield what is wrong with a resource before it is made."""
    for rule in RULES:
        if rule.resource is not None:
            yield from ((rule, Violation(urn=one.urn, text=text)) for text in rule.resource(one))


def of_stack(resources: Iterable[Resource]) -> Iterator[tuple[Rule, Violation]]:
    """Yield what is wrong with a stack: by the rules about it, and with what its resources have become.

    Of that only keys: what a provider reports of a container may be more than anybody asked for.
    """
    every = list(resources)
    for rule in RULES:
        if rule.stack is not None:
            yield from ((rule, violation) for violation in rule.stack(every))
        elif rule.resource in {open_keys, strayed_keys}:
            for one in every:
                yield from ((rule, Violation(urn=one.urn, text=text)) for text in rule.resource(one))
