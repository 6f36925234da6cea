"""The one reader of `Pulumi.<stack>.yaml`: for the program, for the checks before it, and for the toolchain.

YAML means different things to different readers: to Pulumi's engine `no` is a text and `010` is eight, to others it is
false and ten. A plain word of that kind is kept as what it is, and whoever asks for a value refuses it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from settings.base import SECURE, Ambiguous, Sealed
from settings.problems import Problem, SettingsError

PROJECT: Final = "reflector"
"""The project's name in Pulumi.yaml, and the namespace of its settings in a stack file."""

# What every reader takes for the same thing.
_WHOLE_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)")
_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+")
# What Go's reader takes for a number and PyYAML for a text; YAML 1.1's short words for truth, which PyYAML leaves out.
_GO_NUMBER: Final = re.compile(r"[-+]?(\.?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+|0[oO][0-7_]+|0[0-9]+)")
_SHORT_TRUTH: Final = frozenset("yYnN")


@dataclass(frozen=True, kw_only=True)
class StackFile:
    """What a stack file says."""

    settings: Mapping[str, object]
    """The project's keys without their namespace; values as in YAML, encrypted ones as `Sealed`, unclear ones as
    `Ambiguous`."""
    imports: bool = False
    """Whether it imports environments of Pulumi ESC: then only the engine knows all settings."""


def path_of(stack: str, root: Path) -> Path:
    """Return where the file of `stack` is in the checkout at `root`."""
    return root / f"Pulumi.{stack}.yaml"


def read(path: Path) -> StackFile:
    """Return what the stack file at `path` says.

    Raises: SettingsError with one problem if it is not a stack file; FileNotFoundError.
    """
    try:
        # From the file, not from its text: errors about a text quote it, and there may be a secret in it.
        with path.open(encoding="utf-8") as file:
            content = _mapping("the file", yaml.load(file, _Loader))
        settings = _settings(_mapping("config", content.get("config")))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise SettingsError(
            [
                Problem(
                    setting=path.name,
                    given=" ".join(str(error).split()),
                    allowed="YAML with the settings in a mapping `config`",
                    remedy="Correct the file",
                )
            ]
        ) from None
    return StackFile(settings=settings, imports=bool(content.get("environment")))


def _settings(config: Mapping[str, object]) -> dict[str, object]:
    """Return what is the project's own of `config`: to the engine that is also what has no namespace."""
    found: dict[str, object] = {}
    for key, value in config.items():
        namespace, colon, name = key.partition(":")
        if not colon:
            name = key
        elif namespace != PROJECT:
            continue
        if name in found:
            raise ValueError(f"{name} stands there twice, with and without {PROJECT}:")
        found[name] = value
    return found


def _mapping(name: str, content: object) -> dict[str, object]:
    """Return `content` if it is a mapping; nothing at all is an empty one."""
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{name} is no mapping")
    return content


class _Loader(yaml.SafeLoader):
    """Plain words as every reader understands them; keys are texts, each once; ciphertexts marked; no tags."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        if isinstance(node, ScalarNode):
            # Nobody writes tags here, and what they promise need not hold.
            meant = self.resolve(ScalarNode, node.value, (node.style is None, True))  # type: ignore[no-untyped-call]
            if node.tag != meant:
                raise ConstructorError(None, None, f"the tag {node.tag} is not understood here", node.start_mark)
            return self._plain(node) if node.style is None else str(node.value)
        return super().construct_object(node, deep=True)

    def _plain(self, node: ScalarNode) -> object:
        word = str(node.value)
        if node.tag == "tag:yaml.org,2002:null":
            return None
        if word in ("true", "True", "TRUE", "false", "False", "FALSE"):
            return word.lower() == "true"
        if _WHOLE_NUMBER.fullmatch(word):
            return int(word)
        if _DECIMAL.fullmatch(word):
            return float(word)
        if node.tag != "tag:yaml.org,2002:str" or word in _SHORT_TRUTH or _GO_NUMBER.fullmatch(word):
            return Ambiguous(word)
        return word

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        _refuse_twins(node)
        self.flatten_mapping(node)
        content: dict[str, object] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise ConstructorError(None, None, "a key that is no text", key.start_mark)
            content[str(key.value)] = self.construct_object(value)
        return content


def _refuse_twins(node: MappingNode) -> None:
    """Raise an error if a key stands twice in a mapping; what another one lends it by `<<` may stand there again."""
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, ScalarNode):
            if key.value in seen:
                raise ConstructorError(None, None, f"{key.value} stands there twice", key.start_mark)
            seen.add(key.value)


def _construct_mapping(loader: _Loader, node: MappingNode) -> object:
    content = loader.construct_mapping(node)
    if content.keys() == {SECURE} and isinstance(content[SECURE], str):
        return Sealed()
    return content


def _construct_sequence(loader: _Loader, node: SequenceNode) -> object:
    return [loader.construct_object(item) for item in node.value]


def _refuse(loader: _Loader, node: Node) -> object:
    raise ConstructorError(None, None, f"the tag {node.tag} is not understood here", node.start_mark)


# Whole at once, not as PyYAML's generators, which hand out a mapping before it is filled.
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
_Loader.add_constructor("tag:yaml.org,2002:seq", _construct_sequence)
for _other in ("set", "omap", "pairs"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_other}", _refuse)
_Loader.add_constructor(None, _refuse)


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """A stack's configuration as the engine has it: decrypted, with imported environments and defaults."""

    values: Mapping[str, str] = field(repr=False)
    """Key without its namespace → text; objects and lists as JSON."""
    secret: frozenset[str]
    """Keys that are secret or have something secret in them."""

    @classmethod
    def of(cls, values: Mapping[str, str], secret: frozenset[str]) -> "EngineConfig":
        """Return the project's part of all `values`, whose keys have their namespaces."""
        prefix = f"{PROJECT}:"
        return cls(
            values={key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)},
            secret=frozenset(key.removeprefix(prefix) for key in secret if key.startswith(prefix)),
        )


def resolved(file: StackFile, engine: EngineConfig) -> dict[str, object]:
    """Return the settings with every value known.

    What is in the file stays as the file has it, so that the same things are refused everywhere, with ciphertexts
    opened. What the engine alone knows (imported environments, defaults) or knows better is the engine's; of a key that
    has something secret in it, it does not say what, so there every leaf counts as encrypted.
    """
    found: dict[str, object] = {}
    for name, text in engine.values.items():
        value = _decoded(text)
        try:
            found[name] = _opened(file.settings[name], value)
        except (KeyError, _DifferentError):
            found[name] = _sealed(value) if name in engine.secret else value
    # What the engine leaves out is nothing at all to it.
    return found | {name: value for name, value in file.settings.items() if name not in found}


class _DifferentError(Exception):
    """The file says something else than the engine has."""


def _decoded(text: str) -> object:
    # Only objects and lists travel as JSON: a text that looks like a number is still one.
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _opened(written: object, value: Any) -> object:
    if isinstance(written, Sealed):
        return Sealed(value)
    if isinstance(written, dict) and isinstance(value, dict):
        if written.keys() != value.keys():
            raise _DifferentError
        return {key: _opened(item, value[key]) for key, item in written.items()}
    if isinstance(written, list) and isinstance(value, list):
        if len(written) != len(value):
            raise _DifferentError
        return [_opened(*pair) for pair in zip(written, value, strict=True)]
    # At the top nothing is an empty text to the engine, and everything else but objects and lists a text.
    as_text = "" if written is None else json.dumps(written) if isinstance(written, bool | int | float) else written
    if isinstance(written, Ambiguous) or written == value or as_text == value:
        return written
    raise _DifferentError


def _sealed(value: Any) -> object:
    if isinstance(value, dict):
        return {key: _sealed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_sealed(item) for item in value]
    return None if value is None else Sealed(value)
