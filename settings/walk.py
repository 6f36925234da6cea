"""Ways through the models: to the type of a setting, to every group in use, and to every group there can be."""

import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from settings.base import Model, Path, Secret


def active(model: Model) -> Iterator[Model]:
    """Yield `model` and every group in it, as it is set."""
    yield model
    for name in type(model).model_fields:
        value = getattr(model, name)
        for item in value.values() if isinstance(value, Mapping) else (value,):
            if isinstance(item, Model):
                yield from active(item)


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
    return ()


def is_mapping(annotation: Any) -> bool:
    """Return whether a field holds groups by names of the user's own."""
    return get_origin(annotation) is dict


def is_secret(field: FieldInfo) -> bool:
    """Return whether a field must be encrypted."""
    return field.annotation is Secret or Secret in get_args(field.annotation)


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
    return next((member for member in found if mode_of(member) == mode), None)


def group_at(root: type[Model], tree: Mapping[Any, object], path: Path) -> tuple[Any, Path]:
    """Return the annotation at `path`, and what of the path stands for it.

    `path` is pydantic's: behind a union's name comes the mode, which is no part of the setting's own path.
    """
    annotation: Any = root
    content: object = tree
    own: list[str | int] = []
    steps = list(path)
    while steps:
        step = steps.pop(0)
        if step == "[key]":  # pydantic's word for a name in a mapping, which stands before it
            break
        group = member_for(annotation, content) if not isinstance(step, int) else None
        own.append(step)
        content = content.get(step) if isinstance(content, Mapping) else None
        if group is None or step not in group.model_fields:
            annotation = None
            own += [more for more in steps if more != "[key]"]
            break
        annotation = group.model_fields[step].annotation
        if is_mapping(annotation) and steps and isinstance(steps[0], str):
            name = steps.pop(0)
            own.append(name)
            content = content.get(name) if isinstance(content, Mapping) else None
        elif steps and len(members(annotation)) > 1 and any(mode_of(m) == steps[0] for m in members(annotation)):
            steps.pop(0)
    return annotation, tuple(own)
