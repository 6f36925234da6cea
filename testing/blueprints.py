"""Blueprints of Authentik, read as strictly as it reads them, and compared with the models of its official client."""

import importlib
import importlib.util
import sys
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Final
from uuid import UUID

import yaml
from pydantic import BaseModel, ValidationError

_CLIENT: Final = "authentik_client"
_ID: Final = UUID(int=1)
_NUMBER: Final = 1

MODELS: Final[Mapping[str, str]] = {
    "authentik_crypto.certificatekeypair": "certificate_key_pair",
    "authentik_core.group": "group",
    "authentik_core.user": "user",
    "authentik_core.application": "application",
    "authentik_providers_oauth2.oauth2provider": "o_auth2_provider",
    "authentik_policies.policybinding": "policy_binding",
    "authentik_policies_expression.expressionpolicy": "expression_policy",
    "authentik_brands.brand": "brand",
}
"""Models of entries, each with the module of the client that has it; the client calls them after its API."""
REFERENCES: Final[Mapping[str, UUID | int]] = {
    "authentik_core.user": _NUMBER,
    "authentik_providers_oauth2.oauth2provider": _NUMBER,
    "authentik_providers_oauth2.scopemapping": _ID,
    "authentik_flows.flow": _ID,
    **dict.fromkeys(
        (
            "authentik_crypto.certificatekeypair",
            "authentik_core.group",
            "authentik_core.application",
            "authentik_policies_expression.expressionpolicy",
        ),
        _ID,
    ),
}
"""What can be looked up, with a primary key of its kind."""
LOOKED_UP_BY: Final[Mapping[str, frozenset[str]]] = {
    # What the client only knows to be in answers.
    "authentik_providers_oauth2.scopemapping": frozenset({"managed"}),
    "authentik_flows.flow": frozenset({"slug"}),
}
BLUEPRINT_ONLY: Final[Mapping[tuple[str, str], str]] = {
    ("authentik_core.user", "password"): "the API has an endpoint of its own for it; UserSerializer takes it as text "
    "where a blueprint is applied (authentik/core/api/users.py)",
}
"""Attributes the client does not know, and why they are right all the same."""
_INSIDE: Final = {"redirect_uris": "redirect_uri_request"}
"""Attributes that are lists of models of their own."""
STATES: Final = frozenset({"present", "created", "must_created", "absent"})
ENTRY: Final = frozenset({"model", "state", "identifiers", "attrs", "conditions"})
"""What of an entry is used here; Authentik ignores any key it does not know."""


@dataclass(frozen=True)
class Find:
    """A look-up of a primary key."""

    model: str
    conditions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class FileText:
    """The text of a file."""

    path: str


class _Loader(yaml.SafeLoader):
    """Knows the tags that are used here, and no other; a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found = super().construct_mapping(node, deep=deep)
        if len(found) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key that stands twice", node.start_mark)
        return found


def _find(loader: yaml.SafeLoader, node: yaml.Node) -> Find:
    assert isinstance(node, yaml.SequenceNode)
    model, *conditions = loader.construct_sequence(node, deep=True)
    return Find(model, tuple((key, value) for key, value in conditions))


def _file(loader: yaml.SafeLoader, node: yaml.Node) -> FileText:
    assert isinstance(node, yaml.ScalarNode)
    return FileText(str(loader.construct_scalar(node)))


_Loader.add_constructor("!Find", _find)
_Loader.add_constructor("!File", _file)


def read(text: str) -> dict[str, Any]:
    """Return what a blueprint says.

    Raises: yaml.YAMLError for what Authentik could not read either.
    """
    return dict(yaml.load(text, Loader=_Loader))


def entries(text: str, model: str = "") -> list[dict[str, Any]]:
    """Return the entries of a blueprint, all or those of one model."""
    return [entry for entry in read(text)["entries"] if model in ("", entry["model"])]


def tags(value: object) -> Iterator[Find | FileText]:
    """Yield every look-up and every file in a value."""
    if isinstance(value, Find | FileText):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tags(item)
    elif isinstance(value, list):
        for item in value:
            yield from tags(item)


def _package(name: str) -> None:
    """Put an empty package in place of one of the client's, which would import a thousand modules."""
    if name not in sys.modules:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.submodule_search_locations is not None
        package = ModuleType(name)
        package.__path__ = list(spec.submodule_search_locations)
        # Others ask where it is.
        package.__spec__ = spec
        sys.modules[name] = package


@cache
def _request(module: str) -> type[BaseModel]:
    """Return the client's model of what is sent to its API, from the module that has it and no more."""
    _package(_CLIENT)
    _package(f"{_CLIENT}.models")
    found = importlib.import_module(f"{_CLIENT}.models.{module}")
    name = module.replace("_", "")
    models: dict[str, type[BaseModel]] = {key.lower(): value for key, value in vars(found).items()}
    return models[name]


def faults(entry: Mapping[str, Any]) -> list[str]:
    """Return what of an entry Authentik would refuse, or ignore without a word."""
    model, state = str(entry.get("model")), entry.get("state", "present")
    if model not in MODELS:
        return [f"{model}: no such model"]
    identifiers, attributes = entry.get("identifiers") or {}, entry.get("attrs") or {}
    found = [f"{model}: {key}: no such key of an entry" for key in entry if key not in ENTRY]
    if state not in STATES:
        found.append(f"{model}: {state}: no such state")
    if not identifiers:
        found.append(f"{model}: no identifiers")
    for tag in tags(entry):
        if isinstance(tag, Find):
            found += _of_a_look_up(tag)
    request = _request(f"{MODELS[model]}_request")
    known = {*request.model_fields, *(name for owner, name in BLUEPRINT_ONLY if owner == model)}
    found += [f"{model}: {name}: no such attribute" for name in (*identifiers, *attributes) if name not in known]
    if state == "absent":
        return found + ([f"{model}: attributes of what is not to be"] if attributes else [])
    # What is looked for first need not be made.
    partial = bool(entry.get("conditions"))
    kind = _request(f"patched_{MODELS[model]}_request") if partial else request
    content = {name: value for name, value in {**attributes, **identifiers}.items() if name in request.model_fields}
    try:
        kind.model_validate(_resolved(content))
    except ValidationError as error:
        found += [f"{model}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    further = {name: value for name, value in attributes.items() if (model, name) in BLUEPRINT_ONLY}
    found += [f"{model}: {name}: no text" for name, value in further.items() if not isinstance(value, str | FileText)]
    return found + _of_nested(model, kind, content)


def _of_a_look_up(tag: Find) -> list[str]:
    if tag.model not in REFERENCES:
        return [f"{tag.model}: nothing to look up"]
    known = LOOKED_UP_BY.get(tag.model) or frozenset(_request(f"{MODELS[tag.model]}_request").model_fields)
    return [f"{tag.model}: cannot be looked up by {name}" for name, _ in tag.conditions if name not in known]


def _of_nested(model: str, kind: type[BaseModel], content: Mapping[str, Any]) -> list[str]:
    """Return the keys the models inside a model do not know; they would let them pass."""
    return [
        f"{model}: {name}: {key}: no such attribute"
        for name, module in _INSIDE.items()
        if name in kind.model_fields and isinstance(content.get(name), list)
        for item in content[name]
        for key in item
        if key not in _request(module).model_fields
    ]


def _resolved(value: Any) -> Any:
    """Return a value as it is once everything was looked up."""
    if isinstance(value, Find):
        return REFERENCES.get(value.model, value.model)
    if isinstance(value, FileText):
        return "the text of a file"
    if isinstance(value, Mapping):
        return {name: _resolved(item) for name, item in value.items()}
    return [_resolved(item) for item in value] if isinstance(value, list) else value
