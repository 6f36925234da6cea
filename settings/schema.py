"""What is made from the models: Pulumi.yaml's `config:` block, a JSON Schema of stack files, and rows for pages."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic_core import PydanticUndefined

from settings.base import ENCRYPTED, Model, Path, dotted
from settings.stack_file import PROJECT
from settings.tree import Settings
from settings.walk import is_mapping, is_secret, members, mode_of

SCHEMA_FILE: Final = "stack.schema.json"
"""Where the JSON Schema of stack files lies in the checkout; the first line of each example names it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One setting, for a page."""

    path: str
    """As `pulumi config set --path` takes it; in a mapping `<name>` stands for a name of the user's own."""
    type: str
    secret: bool
    default: object
    """None: there is none."""
    required: bool
    only_with: tuple[str, ...]
    """Modes it belongs to; empty where it is always there."""
    description: str


def config_block() -> dict[str, dict[str, object]]:
    """Return the `config:` block of Pulumi.yaml.

    A default keeps the engine from demanding the key; it names the mode that is meant by leaving the key out, and
    nothing else. There is no type: the engine would refuse in words of its own what has another, a stack file of an
    earlier release for one, before the program can say what to do about it.
    """
    block: dict[str, dict[str, object]] = {}
    for name, field in Settings.model_fields.items():
        default = field.default
        mode = mode_of(type(default)) if isinstance(default, Model) else None
        block[name] = {
            "default": {"mode": mode} if mode else {key: {} for key in default} if isinstance(default, dict) else {},
            "description": str(field.description),
        }
    return block


def rows(concern: str) -> list[Row]:
    """Return every setting of a concern; one that several modes share stands there once."""
    field = Settings.model_fields[concern]
    path: Path = (concern, "<name>") if is_mapping(field.annotation) else (concern,)
    return _rows(members(field.annotation), path)


def _rows(groups: tuple[type[Model], ...], path: Path) -> list[Row]:
    """Return the rows of a group, or of the modes there are to choose from."""
    found: dict[str, Row] = {}
    for row in _rows_of_each(groups, path):
        known = found.get(row.path)
        if known is not None:
            row = Row(**{**vars(row), "only_with": known.only_with + row.only_with})
            if known.required != row.required or known.default != row.default:
                row = Row(**{**vars(row), "default": known.default if known.default is not None else row.default})
        found[row.path] = row
    whole = {str(mode_of(group)) for group in groups}
    return [
        Row(**{**vars(row), "only_with": () if {*row.only_with} == whole else row.only_with}) for row in found.values()
    ]


def _rows_of_each(groups: tuple[type[Model], ...], path: Path) -> Iterator[Row]:
    modes = tuple(str(mode_of(group)) for group in groups)
    if len(groups) > 1:
        yield Row(
            path=_path((*path, "mode")),
            type=" or ".join(modes),
            secret=False,
            default=None,
            required=True,
            only_with=(),
            description="; ".join(f"{mode}: {_sentence(group)}" for mode, group in zip(modes, groups, strict=True)),
        )
    for group in groups:
        mode = (str(mode_of(group)),) if len(groups) > 1 else ()
        for name, field in group.model_fields.items():
            if name == "mode":
                continue
            inner = members(field.annotation)
            if inner:
                place = (*path, name, "<name>") if is_mapping(field.annotation) else (*path, name)
                yield from (Row(**{**vars(row), "only_with": mode or row.only_with}) for row in _rows(inner, place))
                continue
            yield Row(
                path=_path((*path, name)),
                type=_type(field.annotation),
                secret=is_secret(field),
                default=None if field.default is PydanticUndefined else field.default,
                required=field.is_required(),
                only_with=mode,
                description=str(field.description),
            )


def _path(path: Path) -> str:
    return dotted(path).replace('["<name>"]', ".<name>")


def _sentence(group: type[Model]) -> str:
    text = str(group.__doc__).strip().rstrip(".")
    return text if text[1:2].isupper() else text[0].lower() + text[1:]


def _type(annotation: Any) -> str:
    inner = [one for one in get_args(annotation) if one is not type(None)]
    if annotation is int or int in inner:
        return "number"
    if annotation is bool:
        return "true or false"
    if str(annotation).startswith("tuple"):
        return "list"
    if len(inner) == 1 and inner[0] is not Ellipsis and not isinstance(annotation, type):
        return _type(getattr(inner[0], "__origin__", inner[0]))
    return "text"


def stack_schema() -> dict[str, object]:
    """Return a JSON Schema of stack files: what the engine itself puts there, and every setting of this project.

    An ordinary setting may be encrypted as well, a secret must be.
    """
    made = Settings.model_json_schema(ref_template="#/$defs/{model}")
    definitions: dict[str, Any] = {name: _with_ciphertexts(schema) for name, schema in made.pop("$defs").items()}
    definitions["Encrypted"] = dict(ENCRYPTED)
    settings: Mapping[str, Any] = made["properties"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Stack file of the self-hosted Reflector",
        "type": "object",
        "properties": {
            "config": {
                "type": "object",
                "properties": {f"{PROJECT}:{name}": _concern(schema) for name, schema in settings.items()},
                # Other namespaces are the engine's and the providers'; without one, a key is the project's own.
                "patternProperties": {f"^(?!{PROJECT}:)[^:]+:": {}},
                "additionalProperties": False,
            },
            "environment": {},
            "secretsprovider": {"type": "string"},
            "encryptedkey": {"type": "string"},
            "encryptionsalt": {"type": "string"},
        },
        "additionalProperties": False,
        "$defs": definitions,
    }


_CIPHERTEXT: Final = {"$ref": "#/$defs/Encrypted"}


def _concern(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in schema.items() if key not in ("default", "title")}
    return _named(kept) if "patternProperties" in kept else kept


def _named(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a mapping with names of the user's own, which takes no others."""
    return {**schema, "additionalProperties": False}


def _with_ciphertexts(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a group whose ordinary settings may be ciphertexts too, with each mode spelt out."""
    result = {key: value for key, value in schema.items() if key != "title"}
    properties: dict[str, Any] = {}
    for name, field in schema.get("properties", {}).items():
        field = {key: value for key, value in field.items() if key != "title"}
        if name == "mode":
            field.pop("default", None)
            properties[name] = field
            continue
        if isinstance(field.get("default"), dict):
            del field["default"]
        description = {key: field.pop(key) for key in ("description", "default") if key in field}
        if description.get("default", ...) is None:
            del description["default"]
        choices = [choice for choice in field.pop("anyOf", [field]) if choice != {"type": "null"}]
        if any(choice == ENCRYPTED for choice in choices):
            choices = [_CIPHERTEXT]
        elif choices[0].get("type") == "array":
            # The engine encrypts texts: of a list, the items one by one.
            choices = [{**choices[0], "items": {"anyOf": [choices[0]["items"], _CIPHERTEXT]}}]
        elif "patternProperties" in choices[0]:
            choices = [_named(choices[0])]
        elif not any("$ref" in choice for choice in choices):
            choices.append(_CIPHERTEXT)
        properties[name] = {**description, **(choices[0] if len(choices) == 1 else {"anyOf": choices})}
    if properties:
        result["properties"] = properties
        if "mode" in properties:
            result["required"] = ["mode", *(name for name in schema.get("required", ()) if name != "mode")]
    return result
