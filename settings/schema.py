"""The configuration schema, read from the `config:` block of Pulumi.yaml.

The block is the one place that names a key, its type, its default and its description; the checks, the generated
reference and Pulumi itself all read it there, so they cannot drift apart.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

import yaml

ROOT: Final = Path(__file__).resolve().parent.parent

SECRETS: Final = frozenset({"transcription_api_key", "hf_token", "llm_api_key", "s3_secret_access_key"})
"""Keys that must be encrypted in the stack file.

Not declared as `secret: true` in Pulumi.yaml: the engine takes no default for such a key, which would make every one of
them required.
"""

Value: TypeAlias = str | int | bool | list[object] | dict[str, object]
"""A configuration value after conversion to its declared type."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """One declared configuration key."""

    name: str
    type: str
    """One of Pulumi's configuration types: string, integer, boolean, array, object."""
    description: str
    default: Value
    secret: bool

    @property
    def article(self) -> str:
        """The type with its article, for messages: 'an integer'."""
        return f"{'an' if self.type[0] in 'aeio' else 'a'} {self.type}"

    def convert(self, raw: object) -> Value:
        """Return `raw` as this key's type.

        The engine hands every value over as text (objects and arrays as JSON) while a stack file holds YAML values, so
        both forms are taken.

        Raises: ValueError if `raw` is neither.
        """
        match self.type, raw:
            case "string", str():
                return raw
            case "integer", int() if not isinstance(raw, bool):
                return raw
            case "integer", str():
                return int(raw)
            case "boolean", bool():
                return raw
            case "boolean", "true" | "false":
                return raw == "true"
            case "array", list():
                return raw
            case "object", dict():
                return raw
            case "array" | "object", str():
                value = json.loads(raw)
                if isinstance(value, list if self.type == "array" else dict):
                    converted: Value = value
                    return converted
        raise ValueError(f"not {self.article}")


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The project's name and every key it declares."""

    project: str
    keys: Mapping[str, Key]


@cache
def schema(path: Path = ROOT / "Pulumi.yaml") -> Schema:
    """Return the schema of the project file at `path`."""
    project = yaml.safe_load(path.read_text(encoding="utf-8"))
    keys = {
        name: Key(
            name=name,
            type=declared["type"],
            description=declared["description"],
            default=declared["default"],
            secret=name in SECRETS,
        )
        for name, declared in project["config"].items()
    }
    return Schema(project=project["name"], keys=keys)
