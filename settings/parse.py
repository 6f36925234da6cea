"""From what a stack file or the engine says to `Settings`, collecting every problem on the way."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from settings import images
from settings.base import Ambiguous, Model, Path, Sealed, dotted
from settings.flat import MOVED
from settings.problems import Problem, SettingsError
from settings.tree import Settings, finished
from settings.walk import active, group_at, is_mapping, is_secret, member_for, members, mode_of

_KINDS: Final = {
    # pydantic's name of a mistake → what is allowed instead
    "string_type": "a text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def parse(tree: Mapping[Any, object], stack: str, project: str) -> Settings:
    """Return the settings a tree means.

    Shape: as `stack_file.read` or `stack_file.resolved` return it. A `Sealed` without a value counts as right where it
    stands, and the setting has its default.
    Raises: SettingsError listing every problem.
    """
    opened, encrypted, unknown = _opened(tree)
    problems: list[Problem] = []
    wrong: set[Path] = set()
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(opened)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            annotation, path = group_at(Settings, opened, details["loc"])
            if path not in unknown:
                problems.append(_problem(opened, path, annotation, details))
            wrong.add(_removable(opened, path, details))
        # Without what is wrong, so that what else is wrong is said in the same breath.
        settings = _usable(opened, wrong)
    if settings is not None:
        problems += _conflicts(settings, wrong)
        sources, missing = images.sources(settings.images, project, settings.needed_images)
        problems += missing
        if not problems:
            return finished(settings, project=project, stack=stack, sources=sources, encrypted=encrypted)
    raise SettingsError(problems)


def is_whole(tree: Mapping[Any, object]) -> bool:
    """Return whether all of a tree is known; secrets that must be one are taken on trust."""
    return not _opened(tree)[2]


def usable_part(tree: Mapping[Any, object], stack: str, project: str, error: SettingsError) -> Settings | None:
    """Return the settings without those `error` names, so that the host can be checked in the same run."""
    opened, _, _ = _opened(tree)
    named = {problem.setting for problem in error.problems}
    wrong = {path for path in _paths(opened) if dotted(path) in named}
    settings = _usable(opened, wrong)
    if settings is None:
        return None
    sources, _ = images.sources(settings.images, project, settings.needed_images)
    return finished(settings, project=project, stack=stack, sources=sources, encrypted=frozenset())


# --- Before the models ------------------------------------------------------------------------------------------------


def _opened(tree: Mapping[Any, object]) -> tuple[dict[Any, object], frozenset[str], frozenset[Path]]:
    """Return `tree` with ordinary settings in the clear, which of them were encrypted, and where nothing is known."""
    encrypted: set[str] = set()
    unknown: set[Path] = set()

    def within(annotation: Any, content: object, path: Path, secret: bool) -> object:
        if isinstance(content, Sealed):
            if secret:
                return content
            if content.value is None:
                unknown.add(path)
                return content
            if path[-1] != "mode":  # one of a few words everybody knows
                encrypted.add(str(content.value))
            return content.value
        if isinstance(content, list):
            items = [within(None, item, (*path, index), secret=False) for index, item in enumerate(content)]
            if any(isinstance(item, Sealed) for item in items):
                unknown.add(path)
            return items
        if not isinstance(content, dict):
            return content
        if is_mapping(annotation):
            (value,) = members(annotation)
            return {name: within(value, item, (*path, name), secret=False) for name, item in content.items()}
        mode = content.get("mode")
        if isinstance(mode, Sealed):
            content = {**content, "mode": mode.value}
        group = member_for(annotation, content)
        result: dict[object, object] = {}
        for name, item in content.items():
            field = group.model_fields.get(name) if group is not None and isinstance(name, str) else None
            result[name] = within(
                field.annotation if field else None, item, (*path, name), secret=field is not None and is_secret(field)
            )
        return result

    opened = within(Settings, dict(tree), (), secret=False)
    assert isinstance(opened, dict)
    for path in unknown:
        _remove(opened, path)
    return opened, frozenset(encrypted), frozenset(unknown)


def _paths(content: object, path: Path = ()) -> Iterator[Path]:
    yield path
    if isinstance(content, dict):
        for name, item in content.items():
            yield from _paths(item, (*path, name))
    elif isinstance(content, list):
        for index, item in enumerate(content):
            yield from _paths(item, (*path, index))


def _remove(content: Any, path: Path) -> None:
    for step in path[:-1]:
        try:
            content = content[step]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(content, dict):
        content.pop(path[-1], None)


def _removable(tree: Mapping[Any, object], path: Path, details: ErrorDetails) -> Path:
    """Return what has to go for one mistake to be gone: the setting, its list, or all of a group that lacks one."""
    if details["type"] in ("missing", "union_tag_not_found", "union_tag_invalid"):
        return path[:1]
    while path and isinstance(path[-1], int):
        path = path[:-1]
    return path


def _usable(tree: Mapping[Any, object], wrong: set[Path]) -> Settings | None:
    kept = _copied(tree)
    for path in wrong:
        _remove(kept, path)
    try:
        return Settings.model_validate(kept)
    except ValidationError:
        return None


def _copied(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _copied(item) for key, item in content.items()}
    return list(content) if isinstance(content, list) else content


# --- What is wrong ----------------------------------------------------------------------------------------------------


def _conflicts(settings: Settings, wrong: set[Path]) -> Iterator[Problem]:
    """Yield what the groups' own rules say, but for groups of which something was left out."""
    places = {id(model): path for path, model in _placed(settings)}
    for model in active(settings):
        place = places[id(model)]
        for conflict in model.conflicts():
            path = (*place, *conflict.path)
            if any(path[: max(len(one) - 1, 1)] == one[: max(len(one) - 1, 1)] for one in wrong):
                continue
            setting = dotted(path)
            yield Problem(
                setting=setting,
                given=conflict.given,
                allowed=conflict.allowed,
                remedy=conflict.remedy.replace("{path}", _quoted(setting)),
            )


def _placed(model: Model, path: Path = ()) -> Iterator[tuple[Path, Model]]:
    yield path, model
    for name in type(model).model_fields:
        value = getattr(model, name)
        items = value.items() if isinstance(value, Mapping) else [(None, value)]
        for key, item in items:
            if isinstance(item, Model):
                yield from _placed(item, (*path, name) if key is None else (*path, name, key))


def _quoted(setting: str) -> str:
    """Return a path as a shell takes it for one word that means itself."""
    return f"'{setting}'" if set(setting) & set('[]"') else setting


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
            return "an encrypted value"
        case int() | float():
            return str(value)
        case _:
            return repr(value)


def _problem(tree: Mapping[Any, object], path: Path, annotation: Any, details: ErrorDetails) -> Problem:
    setting = dotted(path)
    kind = details["type"]
    place = _quoted(setting)
    setting_it = f"Set it: pulumi config set --path {place} <value>"
    given = _shown(details["input"])
    match kind:
        case "extra_forbidden":
            return _unknown(tree, path)
        case "missing":
            return _missing(tree, path)
        case "union_tag_not_found" | "union_tag_invalid" | "model_attributes_type":
            return _mode(path, annotation, kind, details)
        case "clear_text":
            return Problem(
                setting=setting,
                given="a value in clear text",
                allowed="an encrypted value",
                remedy=f"Set it: pulumi config set --secret --path {place}",
            )
        case "no_secret":
            return Problem(
                setting=setting,
                given="an encrypted value without a text in it",
                allowed="an encrypted text",
                remedy=f"Set it: pulumi config set --secret --path {place}",
            )
        case "value_error":
            return Problem(setting=setting, given=given, allowed=str(details["ctx"]["error"]), remedy=setting_it)
        case "too_short":
            one = is_mapping(annotation)
            return Problem(
                setting=setting,
                given=f"an empty {'mapping' if one else 'list'}",
                allowed="one or more",
                remedy=setting_it if one else setting_it.replace(place, f"'{setting}[0]'"),
            )
        case "string_pattern_mismatch":
            return Problem(
                setting=setting,
                given=given,
                allowed="a name of lower-case letters, digits and hyphens that begins with a letter",
                remedy="Rename it in the stack file",
            )
        case "string_type" if isinstance(details["input"], Ambiguous | int | float | bool):
            return Problem(
                setting=setting,
                given=given,
                allowed="a text",
                remedy=f"Write it in quotes, or set it: pulumi config set --path {place} --type string <value>",
            )
        case "int_type":
            return Problem(
                setting=setting,
                given=given,
                allowed=_KINDS[kind],
                remedy=f"Set it: pulumi config set --path {place} --type int <number>",
            )
    return Problem(
        setting=setting,
        given=given,
        allowed=_KINDS.get(kind, f"what docs/configuration.md says ({kind})"),
        remedy=setting_it if kind in _KINDS and kind.endswith(("string_type", "bool_type")) else _rewrite(place),
    )


def _rewrite(place: str) -> str:
    return f"Correct it as docs/configuration.md shows, or remove it: pulumi config rm --path {place}"


def _group(tree: Mapping[Any, object], path: Path) -> tuple[Any, type[Model] | None, object]:
    """Return the annotation, the group and the content of what holds the setting at `path`."""
    annotation: Any = Settings
    content: Any = tree
    for step in path[:-1]:
        group = member_for(annotation, content)
        content = content.get(step) if isinstance(content, Mapping) else None
        if is_mapping(annotation):
            (annotation,) = members(annotation)
            continue
        if group is None or not isinstance(step, str) or step not in group.model_fields:
            return None, None, content
        annotation = group.model_fields[step].annotation
    return annotation, member_for(annotation, content), content


def _unknown(tree: Mapping[Any, object], path: Path) -> Problem:
    setting = dotted(path)
    name = str(path[-1])
    place = _quoted(setting)
    annotation, group, _ = _group(tree, path)
    others = [member for member in members(annotation) if name in member.model_fields and member is not group]
    if others and group is not None:
        choice = dotted((*path[:-1], "mode"))
        modes = sorted(str(mode_of(member)) for member in others)
        return Problem(
            setting=setting,
            given=f"set while {choice} is {mode_of(group)!r}: two modes at once",
            allowed=f"only with {choice}: {' or '.join(modes)}",
            remedy=f"Choose one: pulumi config set --path {choice} {modes[0]}, or pulumi config rm --path {place}",
        )
    if len(path) == 1 and name in MOVED:
        return Problem(
            setting=setting,
            given="a setting of an earlier release",
            allowed=f"now it is {MOVED[name]}",
            remedy="Convert the stack file: make convert STACK=<stack>",
        )
    known = group.model_fields if group is not None else {}
    close = difflib.get_close_matches(name, known, n=1)
    return Problem(
        setting=setting,
        given="unknown setting",
        allowed=f"did you mean {dotted((*path[:-1], close[0]))}?" if close else "the settings of docs/configuration.md",
        remedy=f"Remove it: pulumi config rm --path {place}",
    )


def _missing(tree: Mapping[Any, object], path: Path) -> Problem:
    _, group, _ = _group(tree, path)
    setting = dotted(path)
    mode = mode_of(group) if group is not None else None
    field = group.model_fields[str(path[-1])] if group is not None else None
    flag = " --secret" if field is not None and is_secret(field) else ""
    because = f": {dotted((*path[:-1], 'mode'))} is {mode!r}" if mode else ""
    return Problem(
        setting=setting,
        given="nothing",
        allowed=f"a value{because}",
        remedy=f"Set it: pulumi config set{flag} --path {_quoted(setting)} <value>",
    )


def _mode(path: Path, annotation: Any, kind: str, details: ErrorDetails) -> Problem:
    modes = [str(mode_of(member)) for member in members(annotation)]
    allowed = " or ".join([", ".join(modes[:-1]), modes[-1]])
    setting = dotted(path)
    if kind == "model_attributes_type":
        return Problem(
            setting=setting,
            given=_shown(details["input"]),
            allowed=f"a mapping with a mode: {allowed}",
            remedy=f"Remove it, then set it: pulumi config set --path {setting}.mode {modes[0]}",
        )
    given: Any = details["input"]
    mode = given.get("mode") if isinstance(given, Mapping) else given
    return Problem(
        setting=f"{setting}.mode",
        given=_shown(mode),
        allowed=allowed,
        remedy=f"Set it: pulumi config set --path {setting}.mode {modes[0]}",
    )
