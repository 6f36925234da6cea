"""Trees of settings made from the models, so that a new mode is tested without a line about it; and their refusal."""

import copy
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path as File
from typing import Annotated, Any, Final, get_args

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

import settings
from settings import PROJECT, EngineConfig, Problem, Secret, Settings, SettingsError, references
from settings.authorities import STACK as STACK_AUTHORITY
from settings.base import Model, Path, Sealed, dotted
from settings.providers import ContainerProvider
from settings.registry import Issued
from settings.schema import SCHEMA_FILE
from settings.walk import is_mapping, kind_of, members, mode_of
from testing.certificates import rsa_public_key
from testing.sources import ROOT

STACK: Final = "test"
CLEAR: Final = "HandedSecret"
"""What no message may repeat where it was given for a secret."""
SEALED: Final = Sealed()
"""An encrypted value as the file has it: what it is only the engine knows."""

_PYDANTIC: Final = (
    "Input should",
    "validation error",
    "Field required",
    "Extra inputs",
    "errors.pydantic.dev",
    "tuple[",
)
_LINE: Final = re.compile(r"(?P<setting>\S.*?): (?P<given>.+); allowed: (?P<allowed>.+)\. (?P<remedy>[A-Z].+)")
_CANDIDATES: Final = (
    # The first that a setting takes is its example.
    "reflector.test", "https://a.test/v1", "https://a.test", "192.0.2.1", "DNS:a.test", "unix:///run/docker.sock",
    "all", "me@a.test", "redis:7.2.1", "10.213.0.0/20", str(ROOT / SCHEMA_FILE), "somebody", 2100, 3, 20,
    ["admin"], ["192.0.2.1"], ["DNS:a.test"], rsa_public_key(), True, False, "memory", "0123456789abcdef",
    "active", "client", "a-name", "P256", "superseded", "0A1B", "2026-11-28", ["192.0.2.0/24"],
    "P384", "a.test:443", "kubernetes", "https://a.test:6443",
)  # fmt: skip


def example(field: FieldInfo) -> Any:
    """Return a value the setting takes."""
    if kind_of(field.annotation) is Secret:
        return SEALED
    if any(mark.table == references.AUTHORITIES and "server" in mark.kinds for mark in references.marks(field)):
        return STACK_AUTHORITY  # which is there, and for servers
    if any(mark.table == references.CERTIFICATES and mark.kinds == ("server",) for mark in references.marks(field)):
        return "web"
    adapter = TypeAdapter[Any](Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation)
    for candidate in _CANDIDATES:
        try:
            adapter.validate_python(candidate, strict=not isinstance(candidate, list))
        except ValidationError:
            continue
        if candidate == field.default:
            continue
        return candidate
    raise AssertionError(f"add an example for {field}")


def minimal(group: type[Model]) -> dict[str, Any]:
    """Return the least a group has to say."""
    mode = mode_of(group)
    content: dict[str, Any] = {} if mode is None else {"mode": mode}
    for name, field in group.model_fields.items():
        if field.is_required():
            content[name] = example(field)
    if "everybody_reads_everything" in group.model_fields:  # has no default that would do
        content["everybody_reads_everything"] = True
    if "directory" in group.model_fields:  # by default one that signs for public names alone
        content["directory"] = "https://a.test"
    if "proxy_protocol" in group.model_fields:  # is about proxies that have to be there
        content["trusted_proxies"] = ["192.0.2.1"]
    if group is Issued:  # a server nobody could ask for
        content["names"] = ["DNS:a.test"]
    if "access" in group.model_fields:  # is about a group and an address that have to be there
        content |= {"groups": {"reflector.test": {"members": ["admin"]}}, "admin_email": "me@reflector.test"}
    if group is ContainerProvider:  # shows what fits, to whom it knows
        content |= {"kind": "kubernetes", "address": "https://a.test:6443", "server_authority": STACK_AUTHORITY}
    for name in ("certificate_file", "authority_file", "path"):  # one of two has to be there
        if name in group.model_fields:
            content[name] = "brought.pem"
    return content


def put(tree: dict[str, Any], path: Path, value: object) -> dict[str, Any]:
    """Return a copy of `tree` with `value` at `path`."""
    tree = copy.deepcopy(tree)
    inner: Any = tree
    for step in path[:-1]:
        inner = inner.setdefault(step, {})
    inner[path[-1]] = value
    return tree


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A group, and a valid tree that has it."""

    path: Path
    group: type[Model]
    choice: tuple[type[Model], ...]
    """What else may stand there."""
    tree: dict[str, Any]

    def __str__(self) -> str:
        return "-".join([dotted(self.path) or "top", *([mode_of(self.group) or ""] if len(self.choice) > 1 else [])])


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A setting, and a valid tree without it where that can be."""

    spot: Spot
    name: str
    field: FieldInfo

    @property
    def path(self) -> Path:
        return (*self.spot.path, self.name)

    @property
    def kind(self) -> type | None:
        return kind_of(self.field.annotation)

    @property
    def left_out(self) -> dict[str, Any]:
        """The tree without it."""
        tree = copy.deepcopy(self.spot.tree)
        inner: Any = tree
        for step in self.spot.path:
            inner = inner.get(step, {})
        inner.pop(self.name, None)
        return tree

    def with_value(self, value: object) -> dict[str, Any]:
        tree = put(self.spot.tree, self.path, value)
        group: Any = tree
        for step in self.spot.path:
            group = group[step]
        group.pop(_INSTEAD.get(self.name), None)
        if self.name in _BESIDE:
            group[_BESIDE[self.name]] = _BESIDE_VALUES.get(self.name, "somebody")
        if self.spot.group is Issued and self.name in _WITH:
            # The stack's own authority signs for servers, the other one for clients.
            group |= _WITH[self.name]
        if self.name == "secrets":  # are a Swarm's
            group |= {"kind": "swarm", "address": "tcp://a.test:2376"}
            group |= {"client_certificate": "docker", "server_authority": "docker"}
        if self.name == "staging":
            tree["edge"] = {"domain": "reflector.example.com"}
        if self.name == "https_port" and "edge" not in self.spot.path:
            # A port of its own is what only those have who share an address.
            tree["edge"] = {"domain": "192.0.2.9"}
        return tree

    def __str__(self) -> str:
        return f"{self.spot}-{self.name}"


_PAIRS: Final = {
    **{f"{name}_file": name for name in ("certificate", "key", "chain", "authority")},
    "path": "certificates",
    "staging": "directory",
}
_INSTEAD: Final = {
    **_PAIRS,
    "endpoint": "certificate_file",
    "server_authority_file": "server_authority",
    **{other: name for name, other in _PAIRS.items() if other != "directory"},
}
"""What goes when a setting comes: of the two there can be one."""
_BESIDE: Final = {"account_key_id": "account_key", "account_key": "account_key_id", "allow": "client_authority"}
"""What comes with a setting: there are both or none."""
_BESIDE_VALUES: Final = {"account_key_id": SEALED, "allow": "all"}
_WITH: Final = {"authority": {"kind": "client"}, "kind": {"authority": "all"}}
"""What else of an issued certificate comes with a setting."""


def _spots(group: type[Model], path: Path, choice: tuple[type[Model], ...], tree: dict[str, Any]) -> Iterator[Spot]:
    yield Spot(path=path, group=group, choice=choice, tree=tree)
    for name, field in group.model_fields.items():
        inner = members(field.annotation)
        place: Path = (*path, name, _name(field)) if is_mapping(field.annotation) else (*path, name)
        for member in inner:
            yield from _spots(member, place, inner, put(tree, place, minimal(member)))


def _name(field: FieldInfo) -> str:
    """Return a name of the user's own that a mapping takes."""
    names = TypeAdapter[str](get_args(field.annotation)[0])
    for candidate in ("main", "docker.io", "g1"):
        with suppress(ValidationError):
            return names.validate_python(candidate)
    raise AssertionError(f"add a name for {field}")


# The one image upstream does not publish has to be given, and nothing belongs to a proxy without one.
_AROUND: Final[Mapping[str, Any]] = {
    "images": {"mode": "upstream", "references": {"transcription": "speech:1.2.3"}},
    "proxy": {"https": "http://proxy.test:3128"},
    # What settings name has to be there.
    "pki": {
        "authorities": {"all": {"purpose": "client"}, "docker": {"purpose": "docker-hosts"}},
        "certificates": {
            # Fits whoever wants a server, and whoever wants a client.
            "all": {"mode": "issued", "kind": "peer", "authority": "all", "names": ["DNS:a.test"]},
            "web": {
                "mode": "issued",
                # The edge may show it, so it is for what that serves where nothing is said.
                "names": ["DNS:a.test", "DNS:reflector.localhost", "DNS:s3.reflector.localhost"],
            },
            "admin": {"mode": "issued", "kind": "client", "authority": "all"},
            "docker": {"mode": "issued", "kind": "client", "authority": "docker"},
        },
    },
}


def _with(around: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return `tree` with what has to stand around it."""
    whole = {**around, **tree, "proxy": {**around["proxy"], **tree.get("proxy", {})}}
    pki = {**around["pki"], **tree.get("pki", {})}
    for table in around["pki"]:
        pki[table] = {**around["pki"][table], **tree.get("pki", {}).get(table, {})}
    return {**whole, "pki": pki}


SPOTS: Final = [
    Spot(
        path=spot.path,
        group=spot.group,
        choice=spot.choice,
        # The images of a spot of theirs stand as they are: one of its modes takes nothing else.
        tree=_with(_AROUND, spot.tree),
    )
    for spot in _spots(Settings, (), (), {})
]
"""Every group there can be."""
CONCERNS: Final = [spot for spot in SPOTS if len(spot.path) == 1]
UNIONS: Final = [spot for spot in SPOTS if len(spot.choice) > 1]
LEAVES: Final = [
    Leaf(spot=spot, name=name, field=field)
    for spot in SPOTS
    for name, field in spot.group.model_fields.items()
    if name != "mode" and not members(field.annotation)
]
"""Every setting there can be, once for each mode it is in."""
SECRETS: Final = [leaf for leaf in LEAVES if leaf.kind is Secret]
ORDINARY: Final = [leaf for leaf in LEAVES if leaf.kind is not Secret]


def parsed(tree: Mapping[Any, object]) -> Settings:
    """Return what a tree means; it has no problems."""
    return settings.parse(tree, STACK, PROJECT)


def as_yaml(content: Any) -> Any:
    """Return a tree as it is written."""
    if isinstance(content, Sealed):
        return {"secure": "v1:ciphertext"}
    if isinstance(content, Mapping):
        return {key: as_yaml(item) for key, item in content.items()}
    return [as_yaml(item) for item in content] if isinstance(content, list) else content


def stack_file(text: str) -> settings.StackFile:
    """Return what a stack file of this text says."""
    with tempfile.TemporaryDirectory() as folder:
        file = File(folder) / f"Pulumi.{STACK}.yaml"
        file.write_text(text, encoding="utf-8")
        return settings.read(file)


def written(tree: Mapping[Any, object]) -> str:
    """Return the text of a stack file that says `tree`."""
    config = {f"{PROJECT}:{name}": as_yaml(value) for name, value in tree.items()}
    return str(yaml.safe_dump({"config": config}, sort_keys=False))


def handed_over(tree: Mapping[Any, object]) -> EngineConfig:
    """Return what the engine makes of `tree` where nothing in it is encrypted."""
    return EngineConfig(values={name: as_engine_text(value) for name, value in tree.items()}, secret=frozenset())


def as_engine_text(value: object) -> str:
    """Return what the engine makes of a key's value."""
    if isinstance(value, Mapping | list):
        return json.dumps(value)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def outcome(tree: Mapping[Any, object]) -> Settings | tuple[Problem, ...]:
    """Return what a tree means, or its problems."""
    try:
        return parsed(tree)
    except SettingsError as error:
        return error.problems


def refused(tree: Mapping[Any, object]) -> list[Problem]:
    """Return the problems of a tree; that it has none is an error here, and that one is badly told."""
    with pytest.raises(SettingsError) as refusal:
        parsed(tree)
    found = list(refusal.value.problems)
    text = str(refusal.value)
    assert len(text.splitlines()) == 1 + len(found), "one line each"
    assert CLEAR not in text
    assert not [words for words in _PYDANTIC if words in text], text
    for line in text.splitlines()[1:]:
        assert _LINE.fullmatch(line.removeprefix("  - ")), line
    return found


def refused_everywhere(tree: Mapping[Any, object]) -> list[Problem]:
    """Return the problems of a tree, which are the same in a stack file and once the engine has handed it over."""
    found = refused(tree)
    file = stack_file(written(tree))
    assert refused(file.settings) == found
    if not any(isinstance(value, Sealed) for value in _values(tree)):
        assert refused(settings.resolved(file, handed_over(tree))) == found
    return found


def only(tree: Mapping[Any, object]) -> Problem:
    """Return the one problem of a tree, wherever that is read from."""
    found = refused_everywhere(tree)
    assert len(found) == 1, "\n".join(map(str, found))
    return found[0]


def _values(content: object) -> Iterator[object]:
    if isinstance(content, Mapping | list):
        for item in content.values() if isinstance(content, Mapping) else content:
            yield from _values(item)
    yield content
