"""Blueprints: YAML with tags, read, checked and carried out as Authentik's importer does (authentik/blueprints/v1).

All entries of a blueprint count or none: they are tried on a copy of the registry first. An entry that is wrong ends
the trial with a line as ``ak apply_blueprint`` prints it, the entry's attributes and so every secret of it included:
that is what the real one does, and whoever shows the output has to hide them. Other mistakes (no YAML, an unknown tag
or state, two passwords, a file that is not there) end in an exception, as they do there.
"""

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from probe.authentik_fields import ErrorDetail, Refused
from probe.authentik_models import MODELS, Errors, check_passwords
from probe.authentik_passwords import hash_password, unusable_password
from probe.authentik_registry import Object, Registry, UnknownFieldError

LOGGER = "authentik.blueprints.v1.importer"
TAG_LOGGER = "authentik.blueprints.v1.common"

NO_INSTANTIATION = "blueprints.goauthentik.io/instantiate"
"""Label that keeps the worker from applying a blueprint by itself."""


class DesiredState(Enum):
    """What an entry wants of its object."""

    ABSENT = "absent"
    PRESENT = "present"
    CREATED = "created"
    MUST_CREATED = "must_created"


class BlueprintError(Exception):
    """The file is no blueprint, or there is none."""


class EntryInvalidError(Exception):
    """An entry is wrong; the message is the log's event after ``Entry invalid: ``."""


@dataclass(frozen=True)
class LogEvent:
    """A line of the log that ``ak apply_blueprint`` shows when a blueprint is invalid."""

    logger: str
    event: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Entry:
    """An entry as it stands in the file, tags unresolved."""

    model: Any
    state: Any = "present"
    conditions: list[Any] = field(default_factory=list)
    identifiers: dict[str, Any] = field(default_factory=dict)
    attrs: dict[str, Any] | None = field(default_factory=dict)
    permissions: list[Any] = field(default_factory=list)
    id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """A whole file."""

    version: Any
    context: Mapping[str, Any]
    entries: Sequence[Entry]
    labels: Mapping[str, str]
    packaged: bool
    """One of Authentik's own, which may make objects that ours can only find."""

    @property
    def instantiated(self) -> bool:
        """Whether the worker applies it by itself once it finds the file."""
        return self.labels.get(NO_INSTANTIATION, "").lower() != "false"


@dataclass(kw_only=True)
class Resolution:
    """What tags are resolved with: the registry as it is, and the objects of the entries before."""

    registry: Registry
    context: Mapping[str, Any]
    environment: Mapping[str, str]
    made: dict[str, Object] = field(default_factory=dict)
    log: list[LogEvent] = field(default_factory=list)

    def resolve(self, value: Any) -> Any:
        """A copy of the value with every tag in it resolved."""
        if isinstance(value, Tag):
            return value.resolve(self)
        if isinstance(value, dict):
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return value


class Tag(ABC):
    """A YAML tag with its arguments."""

    def __init__(self, arguments: Any) -> None:
        """Keep what stands behind the tag: a text, or a list for a sequence."""
        self.arguments = arguments

    @abstractmethod
    def resolve(self, using: Resolution) -> Any:
        """The value it stands for."""

    def _name_and_default(self) -> tuple[str, Any]:
        if isinstance(self.arguments, list):
            name, default = self.arguments
            return str(name), default
        return str(self.arguments), None


class KeyOf(Tag):
    """The key of an earlier entry's object."""

    def resolve(self, using: Resolution) -> Any:
        """Raises EntryInvalidError where no entry of that id made or found one."""
        if self.arguments not in using.made:
            raise EntryInvalidError(f"KeyOf: failed to find entry with `id` of `{self.arguments}` and a model instance")
        return using.made[self.arguments]["pk"]


class Find(Tag):
    """The key of an object that is there, or None."""

    def resolve(self, using: Resolution) -> Any:
        """Raises EntryInvalidError for an unknown model, UnknownFieldError for a field it has not."""
        model, *conditions = using.resolve(self.arguments)
        if model not in MODELS:
            raise EntryInvalidError(f"No installed app with label and model '{model}'.")
        found = using.registry.find(model, {str(name): value for name, value in conditions})
        return None if found is None else found["pk"]


class Env(Tag):
    """A variable of the process that applies; an empty one counts as none."""

    def resolve(self, using: Resolution) -> Any:
        """The variable or the default."""
        name, default = self._name_and_default()
        return using.environment.get(name) or using.resolve(default)


class File(Tag):
    """What a file holds, stripped."""

    def resolve(self, using: Resolution) -> Any:
        """The content, or the default with a warning where the file cannot be read."""
        path, default = self._name_and_default()
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as problem:
            event = "Failed to read file. Falling back to default value"
            using.log.append(LogEvent(TAG_LOGGER, event, {"path": path, "exc": str(problem)}))
            return using.resolve(default)


class Context(Tag):
    """A value of the blueprint's context."""

    def resolve(self, using: Resolution) -> Any:
        """The value or the default."""
        name, default = self._name_and_default()
        return using.resolve(using.context.get(name, default))


class Format(Tag):
    """A text with values put in."""

    def resolve(self, using: Resolution) -> Any:
        """Raises EntryInvalidError where they do not fit."""
        pattern, *values = using.resolve(self.arguments)
        try:
            return pattern % tuple(values)
        except TypeError as problem:
            raise EntryInvalidError(str(problem)) from problem


class If(Tag):
    """One of two values."""

    def resolve(self, using: Resolution) -> Any:
        """True or False where there are no values."""
        condition, *values = self.arguments
        true, false = values or (True, False)
        return using.resolve(true if using.resolve(condition) else false)


class Condition(Tag):
    """Several values as one truth."""

    _MODES: Mapping[str, Callable[[list[bool]], bool]] = {
        "AND": all,
        "NAND": lambda values: not all(values),
        "OR": any,
        "NOR": lambda values: not any(values),
        "XOR": lambda values: sum(values) % 2 == 1,
        "XNOR": lambda values: sum(values) % 2 == 0,
    }

    def resolve(self, using: Resolution) -> Any:
        """Raises EntryInvalidError for an unknown mode, and without values."""
        mode, *values = using.resolve(self.arguments)
        if not values:
            raise EntryInvalidError("At least one value is required after mode selection.")
        if str(mode).upper() not in self._MODES:
            raise EntryInvalidError(f"'{mode}'")
        return self._MODES[str(mode).upper()]([bool(value) for value in values])


class _Loader(yaml.SafeLoader):
    """YAML with these tags. Authentik's others (Enumerate, AtIndex, ParseJSON, FindObject …) are unknown here."""


def _constructor(tag: type[Tag], shortest: int | None, scalar: bool) -> Callable[[_Loader, yaml.Node], Tag]:
    def construct(loader: _Loader, node: yaml.Node) -> Tag:
        if isinstance(node, yaml.SequenceNode) and shortest is not None and len(node.value) >= shortest:
            return tag(loader.construct_sequence(node, deep=True))
        if isinstance(node, yaml.ScalarNode) and scalar:
            return tag(node.value)
        raise yaml.constructor.ConstructorError(None, None, f"{node.tag} is not written this way", node.start_mark)

    return construct


for _name, _tag, _shortest, _scalar in (
    ("!KeyOf", KeyOf, None, True),
    ("!Find", Find, 2, False),
    ("!Env", Env, 2, True),
    ("!File", File, 2, True),
    ("!Context", Context, 2, True),
    ("!Format", Format, 1, False),
    ("!If", If, 1, False),
    ("!Condition", Condition, 1, False),
):
    _Loader.add_constructor(_name, _constructor(_tag, _shortest, _scalar))


def load(text: str, *, packaged: bool = False) -> Blueprint:
    """Read a blueprint; raises yaml.YAMLError, or BlueprintError for what is YAML but no blueprint."""
    # A SafeLoader with constructors of its own, which make nothing but the tags above.
    given = yaml.load(text, Loader=_Loader)
    if not isinstance(given, dict):
        raise BlueprintError("a blueprint is a mapping")
    _only(given, ("version", "metadata", "context", "entries"), "blueprint")
    metadata = given.get("metadata") or {}
    _only(metadata, ("name", "labels"), "metadata")
    if metadata and not isinstance(metadata.get("name"), str):
        raise BlueprintError('missing value for field "metadata.name"')
    labels = metadata.get("labels") or {}
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise BlueprintError('wrong value type for field "metadata.labels": values are texts, in quotes')
    entries = given.get("entries")
    if not isinstance(entries, list):
        raise BlueprintError('wrong value type for field "entries"')
    return Blueprint(
        version=given.get("version", 1),
        context=given.get("context") or {},
        entries=[_entry(item) for item in entries],
        labels=labels,
        packaged=packaged,
    )


def retrieve(folder: Path, path: str) -> str:
    """The text of a blueprint by its path below the folder; raises BlueprintError where there is none."""
    whole = (folder / path).resolve()
    if not whole.is_relative_to(folder.resolve()):
        raise BlueprintError("Invalid blueprint path")
    try:
        return whole.read_text(encoding="utf-8")
    except OSError as problem:
        raise BlueprintError(str(problem)) from problem


def validate(blueprint: Blueprint, registry: Registry, environment: Mapping[str, str]) -> list[LogEvent] | None:
    """Try it on a copy; None where it holds, else the log up to what is wrong."""
    importer = Importer(blueprint, copy.deepcopy(registry), environment)
    return None if importer.run() else importer.log


def apply(blueprint: Blueprint, registry: Registry, environment: Mapping[str, str] = os.environ) -> list[LogEvent]:
    """Carry it out if a trial on a copy succeeds; returns the log of a trial that fails, and nothing otherwise."""
    log = validate(blueprint, registry, environment)
    if log is not None:
        return log
    Importer(blueprint, registry, environment).run()
    return []


class Importer:
    """One run over the entries of a blueprint."""

    def __init__(self, blueprint: Blueprint, registry: Registry, environment: Mapping[str, str]) -> None:
        """Work on this very registry."""
        self._blueprint = blueprint
        self._registry = registry
        self._using = Resolution(registry=registry, context=blueprint.context, environment=environment)

    @property
    def log(self) -> list[LogEvent]:
        """What was logged."""
        return self._using.log

    def run(self) -> bool:
        """Carry out the entries in their order; False at the first that is wrong."""
        if self._blueprint.version != 1:
            self.log.append(LogEvent("None", "Invalid blueprint version"))
            return False
        for entry in self._blueprint.entries:
            model = str(self._using.resolve(entry.model))
            if model not in MODELS:
                app, _, name = model.partition(".")
                self.log.append(LogEvent(LOGGER, "App or Model does not exist", {"app": app, "model": name}))
                return self._failed()
            state = DesiredState(self._using.resolve(entry.state))
            try:
                if all(self._using.resolve(entry.conditions)):
                    self._carry_out(entry, model, state)
            except (EntryInvalidError, UnknownFieldError) as problem:
                attributes = {"entry": self._shown(entry), "error": {"message": str(problem)}}
                self.log.append(LogEvent(LOGGER, f"Entry invalid: {problem}", attributes))
                return self._failed()
        return True

    def _failed(self) -> bool:
        self.log.append(LogEvent(LOGGER, "Blueprint validation failed"))
        return False

    def _carry_out(self, entry: Entry, model: str, state: DesiredState) -> None:
        registry, definition = self._registry, MODELS[model]
        if definition.packaged and not self._blueprint.packaged:
            raise EntryInvalidError(f"Model {model} not allowed (the probe has Authentik's own and makes no other)")
        identifiers = self._using.resolve(entry.identifiers)
        if not identifiers:
            raise EntryInvalidError("No or invalid identifiers")
        try:
            found = registry.find(model, identifiers)
        except UnknownFieldError as problem:
            raise EntryInvalidError(f"Invalid identifier field: {problem}") from problem
        if state is DesiredState.ABSENT:
            if found is not None:
                registry.delete(model, found["pk"])
            return
        if found is not None and state is DesiredState.MUST_CREATED:
            message = f"State is set to {state.value} and object exists already"
            raise EntryInvalidError({name: [ErrorDetail(message, "unique")] for name in identifiers})
        given = {**self._using.resolve(entry.attrs or {}), **identifiers}
        fields = self._cleaned(model, given, identifiers, found)
        if found is None:
            found = registry.add(model, fields)
        elif state is DesiredState.PRESENT:
            registry.update(model, found, fields)
        if entry.id is not None:
            self._using.made[entry.id] = found

    def _cleaned(self, model: str, given: Object, identifiers: Object, found: Object | None) -> Object:
        """The fields to keep; raises EntryInvalidError with the errors of all that are wrong."""
        definition = MODELS[model]
        errors: Errors = {}
        fields: Object = {}
        for name in given:
            described = definition.fields.get(name)
            if described is None and name != "pk":
                errors[name] = [ErrorDetail("unknown attribute (Authentik would ignore it)", "probe")]
            elif described is not None and described.read_only and name not in identifiers:
                errors[name] = [ErrorDetail("read-only (Authentik would ignore it)", "probe")]
        for name, described in definition.fields.items():
            if name in given:
                try:
                    fields[name] = self._one(given[name], name, model)
                except Refused as problem:
                    errors[name] = [problem.detail]
            elif found is None:
                if described.required:
                    errors[name] = [ErrorDetail("This field is required.", "required")]
                fields[name] = copy.deepcopy(described.default)
        whole = {**(found or {}), **fields}
        if not errors:
            clash = self._registry.clash(model, fields, None if found is None else found["pk"])
            if clash is not None:
                message = f"{model.partition('.')[2]} with this {clash} already exists."
                errors[clash] = [ErrorDetail(message, "unique")]
        if not errors:
            errors = definition.check(whole)
        if errors:
            raise EntryInvalidError(f"Serializer errors {errors}")
        return _with_password(model, fields, found)

    def _one(self, value: Any, name: str, model: str) -> Any:
        described = MODELS[model].fields[name]
        if value is None:
            if described.null:
                return None
            raise Refused("This field may not be null.", "null")
        taken = described.kind(value)
        if described.reference is not None:
            for key in taken if described.many else [taken]:
                if self._registry.get(described.reference, key) is None:
                    raise Refused(f'Invalid pk "{key}" - object does not exist.', "does_not_exist")
        return taken

    def _shown(self, entry: Entry) -> dict[str, Any]:
        """The entry as the real one logs it: with every tag resolved."""
        return {item.name: self._bared(getattr(entry, item.name)) for item in fields(entry)}

    def _bared(self, value: Any) -> Any:
        if isinstance(value, Tag):
            silent = Resolution(
                registry=self._registry, context=self._using.context, environment=self._using.environment
            )
            try:
                return str(value.resolve(silent))
            except (EntryInvalidError, UnknownFieldError) as problem:
                return f"<{type(value).__name__}: {problem}>"
        if isinstance(value, dict):
            return {key: self._bared(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._bared(item) for item in value]
        return value


def _with_password(model: str, given: Object, found: Object | None) -> Object:
    """A user's password as the hash that is kept; a user without one gets one that nobody can enter."""
    if "password" not in MODELS[model].fields:
        return given
    check_passwords(given)
    kept = {name: value for name, value in given.items() if name not in ("password", "password_hash")}
    if given.get("password_hash") is not None:
        kept["password"] = given["password_hash"]
    elif given.get("password") is not None:
        kept["password"] = hash_password(given["password"])
    elif found is None:
        kept["password"] = unusable_password()
    return kept


def _only(given: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(given, dict):
        raise BlueprintError(f"{where} is no mapping")
    unknown = sorted(str(name) for name in given if name not in known)
    if unknown:
        raise BlueprintError(
            f"unknown key {unknown[0]!r} in {where} (Authentik would ignore it); it has {', '.join(known)}"
        )


def _entry(given: Any) -> Entry:
    _only(given, [item.name for item in fields(Entry)], "entry")
    if "model" not in given:
        raise BlueprintError('missing value for field "entries.model"')
    entry = Entry(**given)
    for name, kind in (("identifiers", dict), ("conditions", list), ("permissions", list)):
        if not isinstance(getattr(entry, name), kind):
            raise BlueprintError(f'wrong value type for field "entries.{name}"')
    if not isinstance(entry.attrs, dict | None):
        raise BlueprintError('wrong value type for field "entries.attrs"')
    if entry.permissions:
        raise BlueprintError("the probe does not know permissions of objects")
    return entry


def listed(log: Sequence[LogEvent]) -> Iterator[str]:
    """What ``ak apply_blueprint`` writes to standard error for a blueprint that is invalid."""
    yield "Blueprint invalid"
    for event in log:
        yield f"\t{event.logger}: {event.event}: {dict(event.attributes)}"
