"""From what a stack file or the engine says to `Settings`, collecting every problem on the way."""

import difflib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from settings import images
from settings.base import Ambiguous, Instant, Model, Path, Sealed, Secret, Unknown, dotted
from settings.flat import MOVED, gone, is_moved
from settings.problems import SECRET, Problem, SettingsError
from settings.tree import Settings, finished
from settings.walk import Place, active, is_mapping, is_secret, kind_of, member_for, members, mode_of, place

_KINDS: Final = {
    # pydantic's name of a mistake → what is allowed instead
    "string_type": "a text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_ENCRYPTED: Final = "an encrypted value"
"""What is shown of one."""


def parse(tree: Mapping[Any, object], stack: str, project: str, now: Instant | None = None) -> Settings:
    """Return the settings a tree means.

    Shape: as `stack_file.read` or `stack_file.resolved` return it. A `Sealed` without a value counts as right where it
    stands, and the setting has its default; one without a default is an `Unknown`. Without `now`, a moment with a time
    zone, nothing is said of what has dates.
    Raises: SettingsError listing every problem.
    """
    opened = _Opened.of(tree)
    settings, mistakes = _checked(opened, stack, now)
    problems = [problem for _, problem in mistakes]
    sources, missing = images.sources(settings.images, project, stack, settings.needed_images)
    untold = opened.unknown.union(path for path, _ in mistakes)
    if not any(path[:1] == ("images",) for path in untold):
        problems += missing
    if problems:
        raise SettingsError(problems)
    return finished(settings, project=project, stack=stack, sources=sources, encrypted=opened.values(settings), now=now)


def is_whole(tree: Mapping[Any, object]) -> bool:
    """Return whether all of a tree is known; secrets that must be one are taken on trust."""
    return not _Opened.of(tree).unknown


def usable_part(tree: Mapping[Any, object], stack: str, project: str, now: Instant | None = None) -> Settings:
    """Return the settings without those that are wrong, so that the host can be checked in the same run."""
    opened = _Opened.of(tree)
    _, mistakes = _checked(opened, stack, now)
    settings = _without(opened.tree, {path for path, _ in mistakes})
    sources, _ = images.sources(settings.images, project, stack, settings.needed_images)
    return finished(settings, project=project, stack=stack, sources=sources, encrypted=opened.values(settings), now=now)


def _checked(opened: "_Opened", stack: str, now: Instant | None) -> tuple[Settings, list[tuple[Path, Problem]]]:
    """Return the settings without what is wrong by itself, and every mistake with what has to go for it to be gone."""
    mistakes: list[tuple[Path, Problem]] = []
    try:
        settings = Settings.model_validate(opened.tree)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            if details["type"] == "too_short" and details["input"]:
                continue  # what is in it is wrong, and said already
            where = place(Settings, opened.tree, details["loc"])
            mistakes.append((_removable(where.path, details["type"]), _problem(where, details, opened, stack)))
        # Without what is wrong, so that what else is wrong is said in the same breath.
        settings = _without(opened.tree, {path for path, _ in mistakes})
    untold = opened.unknown.union(path for path, _ in mistakes)
    return settings, [*mistakes, *_conflicts(settings, untold, opened.sealed.keys(), now)]


# --- Before the models ------------------------------------------------------------------------------------------------

_LEFT_OUT: Final = object()


@dataclass
class _Opened:
    """A tree with ordinary settings in the clear."""

    tree: dict[Any, object] = field(default_factory=dict)
    sealed: dict[Path, object] = field(default_factory=dict)
    """Which of them were encrypted, with their values."""
    unknown: set[Path] = field(default_factory=set)
    """Where nothing is known, as nothing has been decrypted."""

    @classmethod
    def of(cls, tree: Mapping[Any, object]) -> "_Opened":
        opened = cls()
        opened.tree = opened._group(Settings, tree, ())
        return opened

    def values(self, settings: Settings) -> frozenset[str]:
        """Return what was encrypted as text: as it was written, in its normal form, and without what marks its kind."""
        found: set[str] = set()
        for path, value in self.sealed.items():
            if path[-1] == "mode":  # one of a few words everybody knows
                continue
            known: Any = settings
            for step in path:
                if not isinstance(known, tuple):  # of a list every item counts
                    known = known[step] if isinstance(known, Mapping) else getattr(known, str(step), None)
            if isinstance(known, bool):  # nor is that anything to hide, in words that stand everywhere
                continue
            for one in (value, *(known if isinstance(known, tuple) else (known,))):
                if one is not None and str(one):
                    found |= {str(one), str(one).removeprefix("DNS:").removeprefix("IP:")}
        return frozenset(found)

    def _group(self, group: type[Model], content: Mapping[Any, object], path: Path) -> dict[Any, object]:
        result: dict[Any, object] = {}
        for name, item in content.items():
            known = group.model_fields.get(name) if isinstance(name, str) else None
            if known is None:
                result[name] = item
                continue
            value = self._setting(known.annotation, item, (*path, name))
            if value is not _LEFT_OUT:
                result[name] = value
            elif known.is_required():
                result[name] = Unknown()
        return result

    def _setting(self, annotation: Any, content: object, path: Path) -> object:
        if isinstance(content, Sealed) and kind_of(annotation) in (int, bool, str):
            return self._leaf(annotation, content, path)
        if isinstance(content, list) and kind_of(annotation) is tuple:
            items = [
                self._leaf(str, item, (*path, index)) if isinstance(item, Sealed) else item
                for index, item in enumerate(content)
            ]
            return _LEFT_OUT if _LEFT_OUT in items else items
        if not isinstance(content, dict) or not members(annotation):
            return content
        if is_mapping(annotation):
            value = get_args(annotation)[1]
            found = {name: self._setting(value, item, (*path, name)) for name, item in content.items()}
            known = {name: item for name, item in found.items() if item is not _LEFT_OUT}
            return known if known or not found else _LEFT_OUT
        mode = content.get("mode")
        if isinstance(mode, Sealed):
            mode = self._leaf(str, mode, (*path, "mode"))
            if mode is _LEFT_OUT:
                return _LEFT_OUT
            content = {**content, "mode": mode}
        group = member_for(annotation, content)
        return content if group is None else self._group(group, content, path)

    def _leaf(self, annotation: Any, content: Sealed, path: Path) -> object:
        value = content.value
        if value is None:
            self.unknown.add(path)
            return _LEFT_OUT
        self.sealed[path] = value
        # What the engine has decrypted is always a text.
        kind = kind_of(annotation)
        if kind is bool and value in ("true", "false"):
            return value == "true"
        if kind is int and isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit():
            return int(value) if len(value) < 40 else value
        return value


def _removable(path: Path, kind: str) -> Path:
    """Return what has to go for one mistake to be gone: the setting, its list, or all of a group that lacks one."""
    if kind in ("missing", "union_tag_not_found", "union_tag_invalid"):
        return path[:1]
    return _without_places(path)


def _without_places(path: Path) -> Path:
    """Return where the list is that an item is in: it goes as a whole, or it would be another list."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    return path


def _without(tree: Mapping[Any, object], wrong: set[Path]) -> Settings:
    """Return the settings without what is wrong; where that is not enough, without all of its concern."""
    for removed in (wrong, wrong | {path[:1] for path in wrong}):
        try:
            return Settings.model_validate(_pruned(tree, removed))
        except ValidationError:
            continue
    return Settings()


def _pruned(content: Any, removed: set[Path], path: Path = ()) -> Any:
    if not isinstance(content, Mapping):
        return content
    return {
        name: _pruned(item, removed, (*path, name)) for name, item in content.items() if (*path, name) not in removed
    }


# --- What is wrong ----------------------------------------------------------------------------------------------------


def _conflicts(
    settings: Settings, untold: set[Path], sealed: Iterable[Path], now: Instant | None
) -> Iterator[tuple[Path, Problem]]:
    """Yield what the groups' own rules say, but for what is about settings that are wrong themselves."""
    for place_, model in active(settings):
        for conflict in chain(model.conflicts(), model.conflicts_at(now) if now is not None else ()):
            path = (*place_, *conflict.path)
            about = [path, *((*place_, *other) for other in conflict.others)]
            if _meet(about, untold):
                continue
            setting = dotted(path)
            yield (
                _without_places(path),
                Problem(
                    setting=setting,
                    given=_ENCRYPTED if _meet(about, sealed) else conflict.given,
                    allowed=conflict.allowed,
                    remedy=conflict.remedy.replace("{path}", shlex.quote(setting)),
                ),
            )


def _meet(ones: Iterable[Path], others: Iterable[Path]) -> bool:
    """Return whether one of the paths leads to or through one of the others."""
    others = list(others)
    return any(one[: len(other)] == other[: len(one)] for one in ones for other in others)


def _shown(value: object) -> str:
    match value:
        case Ambiguous():
            return f"{value.text}, which readers of YAML take for different things"
        case None:
            return "nothing"
        case True | False:
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case Sealed():
            return _ENCRYPTED
        case int() | float():
            return str(value)
        case str():
            return repr(_masked(value))
        case _:
            return repr(value)


def _masked(text: str) -> str:
    """Return `text` without what may be a key, or a password in a URL: its user information, and its query.

    The user of another scheme than http is no secret, and often what is wrong. Of PEM the first line says what it is.
    """
    text = re.sub(r"(-----BEGIN [^-]*-----).*", rf"\1{SECRET}", text, flags=re.DOTALL)
    text = re.sub(r"(?i)(https?://).*@", rf"\1{SECRET}@", text, flags=re.DOTALL)
    text = re.sub(r"(://[^/:@]*:).*@", rf"\1{SECRET}@", text, flags=re.DOTALL)
    return re.sub(r"(://[^?]*\?).+", rf"\1{SECRET}", text, flags=re.DOTALL)


def _problem(where: Place, details: ErrorDetails, opened: _Opened, stack: str) -> Problem:
    kind = details["type"]
    setting = dotted(where.path)
    quoted = shlex.quote(setting)
    sealed = where.path in opened.sealed or kind_of(where.annotation) is Secret
    set_it = f"Set it: pulumi config set{' --secret' if sealed else ''} --path {quoted}"
    if len(where.path) == 1 and is_moved(setting, details["input"]):
        return _moved(setting, stack)
    match kind:
        case "extra_forbidden":
            return _unknown(where)
        case "missing":
            return _missing(where)
        case "union_tag_not_found" | "union_tag_invalid" | "model_attributes_type":
            return _mode(where, details["input"], opened)
    given, allowed = _ENCRYPTED if sealed else _shown(details["input"]), _KINDS.get(kind)
    # The engine asks for what is encrypted: on the command line others could read it.
    remedy = set_it if sealed else f"{set_it} <value>"
    match kind:
        case "clear_text":
            given, allowed = "a value in clear text", "an encrypted value"
            remedy = f"Set it: pulumi config set --secret --path {quoted}"
        case "no_secret":
            given, allowed = "an encrypted value without a text in it", "an encrypted text"
            remedy = f"Set it: pulumi config set --secret --path {quoted}"
        case "value_error":
            allowed = str(details["ctx"]["error"])
            if details["loc"][-1] == "[key]":
                remedy = "Rename it in the stack file"
        case "too_short" if is_mapping(where.annotation):
            given, allowed, remedy = "an empty mapping", "one or more", f"Remove it: pulumi config rm --path {quoted}"
        case "too_short":
            first = shlex.quote(f"{setting}[0]")
            given, allowed = "an empty list", "one or more"
            remedy = f"Set it: pulumi config set --path {first} <value>"
        case "string_pattern_mismatch":
            allowed = "a name of lower-case letters, digits and hyphens that begins with a letter"
            remedy = "Rename it in the stack file"
        case "string_type" if not sealed and isinstance(details["input"], Ambiguous | int | float | bool):
            remedy = f"Write it in quotes, or set it: pulumi config set --path {quoted} --type string <value>"
        case "int_type" if not sealed:
            remedy = f"{set_it} <number>"
        case "string_type" | "bool_type" | "int_type":
            pass
        case _:
            remedy = f"Correct it as docs/configuration.md shows, or remove it: pulumi config rm --path {quoted}"
    return Problem(setting=setting, given=given, allowed=allowed or "what docs/configuration.md says", remedy=remedy)


def _moved(setting: str, stack: str) -> Problem:
    return Problem(
        setting=setting,
        given="a setting of an earlier release",
        allowed=f"now it is {MOVED[setting]}",
        remedy=f"Convert the stack file: make convert STACK={shlex.quote(stack)}",
    )


def _unknown(where: Place) -> Problem:
    setting = dotted(where.path)
    remove = f"pulumi config rm --path {shlex.quote(setting)}"
    *above, name = where.path
    others = [str(mode_of(member)) for member in where.choice if str(name) in member.model_fields]
    if others and where.group is not None:
        choice = dotted((*above, "mode"))
        return Problem(
            setting=setting,
            given=f"set while {choice} is {mode_of(where.group)!r}: two modes at once",
            allowed=f"only with {choice}: {' or '.join(sorted(others))}",
            remedy=f"Choose one: pulumi config set --path {choice} {min(others)}, or {remove}",
        )
    known = {field: dotted((*above, field)) for field in where.group.model_fields} if where.group is not None else {}
    if not above:
        known |= {old: new for old, new in MOVED.items() if " " not in new}
    close = difflib.get_close_matches(str(name), known, n=1)
    return Problem(
        setting=setting,
        given="unknown setting",
        allowed=f"did you mean {known[close[0]]}?" if close else "the settings of docs/configuration.md",
        # A name nobody can type is nothing for a command.
        remedy=f"Remove it: {remove}" if str(name).isprintable() else "Remove it from the stack file",
    )


def _missing(where: Place) -> Problem:
    setting = dotted(where.path)
    *above, name = where.path
    assert where.group is not None, "only of a group that is known can it be told what it lacks"
    mode = mode_of(where.group)
    secret = is_secret(where.group.model_fields[str(name)])
    return Problem(
        setting=setting,
        given="nothing",
        allowed=f"a value: {dotted((*above, 'mode'))} is {mode!r}" if mode else "a value",
        # The engine asks for a secret: on the command line others could read it.
        remedy=f"Set it: pulumi config set {'--secret ' if secret else ''}--path {shlex.quote(setting)}"
        + ("" if secret else " <value>"),
    )


def _mode(where: Place, given: object, opened: _Opened) -> Problem:
    modes = [str(mode_of(member)) for member in members(where.annotation)]
    allowed = " or ".join([", ".join(modes[:-1]), modes[-1]])
    path = (*where.path, "mode")
    default = where.group.model_fields[str(where.path[-1])].default if where.group is not None else None
    meant = mode_of(type(default)) if isinstance(default, Model) else modes[0]
    set_it = f"pulumi config set --path {dotted(path)} {meant}"
    if not isinstance(given, Mapping):
        return Problem(
            setting=dotted(where.path),
            given=_shown(given),
            allowed=f"a mapping with a mode: {allowed}",
            remedy=f"Remove it, then set it: pulumi config rm {dotted(where.path)} && {set_it}",
        )
    if path not in opened.sealed and (problem := gone(dotted(path), given.get("mode"))) is not None:
        return problem
    return Problem(
        setting=dotted(path),
        given=_ENCRYPTED if path in opened.sealed else _shown(given.get("mode")),
        allowed=allowed,
        remedy=f"Set it: {set_it}",
    )
