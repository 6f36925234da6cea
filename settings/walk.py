"""Ways through the models: to the type of a setting, to every group in use, and to every group there can be."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from settings.base import Model, Path, Secret


def active(model: Model, path: Path = ()) -> Iterator[tuple[Path, Model]]:
    """Yield `model` and every group in it, as it is set, each with its place."""
    yield path, model
    for name in type(model).model_fields:
        value = getattr(model, name)
        inner = {(name, key): one for key, one in value.items()} if isinstance(value, Mapping) else {(name,): value}
        for steps, item in inner.items():
            if isinstance(item, Model):
                yield from active(item, (*path, *steps))


def classes(model: type[Model]) -> Iterator[type[Model]]:
    """Yield `model` and every group there can be in it."""
    yield model
    for field in model.model_fields.values():
        for member in members(field.annotation):
            yield from classes(member)


def members(annotation: Any) -> tuple[type[Model], ...]:
    """Return the groups a field can hold: one, the members of a union, or those of a mapping's values."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return (annotation,)
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(member for one in get_args(annotation) for member in members(one))
    if get_origin(annotation) is dict:
        return members(get_args(annotation)[1])
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    return ()


def is_mapping(annotation: Any) -> bool:
    """Return whether a field holds groups by names of the user's own."""
    return get_origin(annotation) is dict


def is_secret(field: FieldInfo) -> bool:
    """Return whether a field must be encrypted."""
    return kind_of(field.annotation) is Secret


def mode_of(model: type[Model]) -> str | None:
    """Return the mode `model` is for; None where there is no choice."""
    field = model.model_fields.get("mode")
    return str(get_args(field.annotation)[0]) if field is not None and get_origin(field.annotation) is Literal else None


def member_for(annotation: Any, content: object) -> type[Model] | None:
    """Return which group `content`, as it is in a stack file, is meant to be; None if that cannot be told."""
    found = members(annotation)
    if len(found) == 1 and mode_of(found[0]) is None:
        return found[0]
    mode = content.get("mode") if isinstance(content, Mapping) else None
    return next((member for member in found if mode is not None and mode_of(member) == mode), None)


def kind_of(annotation: Any) -> type | None:
    """Return what a leaf holds: int, bool, tuple, Secret or str; None for groups, and for nothing."""
    if annotation is None or members(annotation):
        return None
    inner = [getattr(one, "__origin__", one) for one in (annotation, *get_args(annotation))]
    return next((kind for kind in (tuple, int, bool, Secret) if kind in inner), str)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a path leads in the models."""

    path: Path
    """The setting's own path."""
    annotation: Any
    """Type of the setting; None where there is no such setting."""
    choice: tuple[type[Model], ...]
    """The groups that may stand where the setting is in."""
    group: type[Model] | None
    """Which of them does, as far as that can be told."""


def place(root: type[Model], tree: object, steps: Path) -> Place:
    """Return where `steps` lead.

    They are pydantic's: behind a union's name comes the mode, and behind a bad name in a mapping its word for that;
    neither is a part of the setting's own path.
    """
    annotation: Any = root
    choice: tuple[type[Model], ...] = ()
    group: type[Model] | None = None
    own: list[str | int] = []
    rest = list(steps[:-1] if steps[-1:] == ("[key]",) else steps)
    while rest:
        step = rest.pop(0)
        own.append(step)
        choice = members(annotation)
        if is_mapping(annotation):
            annotation, group = get_args(annotation)[1], None
        else:
            group = member_for(annotation, tree)
            field = group.model_fields.get(str(step)) if group is not None else None
            annotation = field.annotation if field is not None else None
        modes = [] if is_mapping(annotation) else [mode_of(one) for one in members(annotation)]
        if len(modes) > 1 and rest and rest[0] in modes:
            del rest[0]
        tree = tree.get(step) if isinstance(tree, Mapping) else None
    return Place(path=tuple(own), annotation=annotation, choice=choice, group=group)
