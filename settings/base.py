"""What every module of settings is made of: frozen models, secrets as leaves of a type of their own, and own rules."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

Plain: TypeAlias = str | int | float | bool | None
Instant: TypeAlias = datetime
"""A moment, with a time zone. Whoever asks brings it: nothing here has a clock but `settings.program`."""
Path: TypeAlias = tuple[str | int, ...]
"""Way from the top to a setting: names, and places in lists."""

SECURE: Final = "secure"
"""What Pulumi writes before the ciphertext of an encrypted value."""


ENCRYPTED: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {SECURE: {"type": "string"}},
    "required": [SECURE],
    "additionalProperties": False,
    "description": "Written by: pulumi config set --secret --path <setting>",
}
"""JSON Schema of an encrypted value."""


@dataclass(frozen=True)
class Sealed:
    """A value that was encrypted in the stack file."""

    value: Plain = field(default=None, repr=False)
    """What it is; None before the engine has decrypted it."""


@dataclass(frozen=True)
class Unknown:
    """Stands for a setting that has no default and was encrypted, before the engine has decrypted it."""


@dataclass(frozen=True)
class Ambiguous:
    """A plain word of YAML that the engine and other readers take for different things, such as `no` or `010`."""

    text: str


@dataclass(frozen=True)
class Secret:
    """A leaf that must be encrypted; it never shows itself."""

    value: str | None = field(repr=False)
    """None where only its presence is known: before the engine has decrypted it."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validated, serialization=core_schema.plain_serializer_function_ser_schema(repr)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(ENCRYPTED)

    @classmethod
    def _validated(cls, given: object) -> "Secret":
        if isinstance(given, Secret):
            return given
        if not isinstance(given, Sealed):
            raise PydanticCustomError("clear_text", "a secret in clear text")
        if given.value is not None and (not isinstance(given.value, str) or not given.value.strip()):
            raise PydanticCustomError("no_secret", "an encrypted value that is no text")
        return cls(given.value)


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """Settings that are right one by one and wrong together."""

    path: Path
    """Where, below the model whose rule it is."""
    others: tuple[Path, ...] = ()
    """The other settings it is about, below the model. Where one of all these is wrong itself, nothing is said; where
    one was encrypted, `given` is not shown."""
    given: str
    allowed: str
    """What is right there; it never shows a value that was given."""
    remedy: str = "Set it: pulumi config set --path {path} <value>"
    """`{path}` becomes the whole path."""


class Model(BaseModel):
    """A group of settings."""

    # Strict: no text is taken for a number, and no number for a text.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    SERVICES: ClassVar[tuple[str, ...]] = ()
    """The services that run where this group is in the settings."""
    IMAGES: ClassVar[tuple[str, ...]] = ()
    """The parts images have to play for them."""
    NETWORKS: ClassVar[tuple[str, ...]] = ()
    """The roles of networks they are on; see components/hosts."""

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is wrong between settings of this group, each of which is right by itself."""
        yield from ()

    def conflicts_at(self, now: Instant) -> Iterator[Conflict]:
        """Yield what is wrong at `now`, a moment with a time zone: certificates have dates."""
        yield from ()


REMOVE: Final = "Remove it: pulumi config rm --path {path}"


def dotted(path: Path) -> str:
    """Return a path as `pulumi config set --path` takes it, e.g. `edge.extra_names[0]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.replace("_", "").replace("-", "").isalnum():
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=not step.isprintable())}]"
    return text
