"""The probe's models have the fields, types and enumerations of Authentik's official client.

The client's modules are read and not imported: importing one imports all of them, which takes ten seconds.
"""

import ast
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import pytest
from probe.authentik_fields import MATCHING_MODES, REDIRECT_URI_TYPES, Choice, Field, Kind, Sequence
from probe.authentik_models import (
    APPLICATION,
    BINDING,
    BRAND,
    CERTIFICATE,
    EXPRESSION,
    FLOW,
    GROUP,
    MODELS,
    PROVIDER,
    SCOPE,
    USER,
)

MODULES = {
    FLOW: "flow_request",
    SCOPE: "scope_mapping_request",
    CERTIFICATE: "certificate_key_pair_request",
    GROUP: "group_request",
    USER: "user_request",
    PROVIDER: "o_auth2_provider_request",
    APPLICATION: "application_request",
    EXPRESSION: "expression_policy_request",
    BINDING: "policy_binding_request",
    BRAND: "brand_request",
}

BLUEPRINT_ONLY = {
    USER: {"password", "password_hash"},
    APPLICATION: {"icon"},
    # Read-only, and so in no request; a blueprint may look an object up by it.
    CERTIFICATE: {"managed"},
}
"""Fields only a blueprint has (blueprints/schema.json)."""

LEFT_OUT = {
    FLOW: {"background", "policy_engine_mode", "compatibility_mode", "layout"},
    GROUP: {"roles"},
    USER: {"last_login", "roles"},
    PROVIDER: {"jwt_federation_sources", "jwt_federation_providers"},
    APPLICATION: {"backchannel_providers"},
    BRAND: {"flow_user_switch", "flow_lockdown", "flow_request"},
}
"""What the probe has no use for, and refuses."""


@dataclass(frozen=True)
class Declared:
    """A field as the client declares it."""

    type: str
    required: bool


def client() -> Path:
    """The folder of the client's models."""
    spec = importlib.util.find_spec("authentik_client")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "models"


def parsed(module: str) -> ast.Module:
    return ast.parse((client() / f"{module}.py").read_text(encoding="utf-8"))


def declared(module: str) -> dict[str, Declared]:
    """The fields of a model's request."""
    (body,) = [node.body for node in parsed(module).body if isinstance(node, ast.ClassDef)]
    # Whatever else is declared there is a ClassVar, with underscores before its name.
    return {
        node.target.id: _declared(node)
        for node in body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and not ast.unparse(node.annotation).startswith("ClassVar")
    }


def _declared(node: ast.AnnAssign) -> Declared:
    # `= None`, `= Field(default=None, …)`, or nothing and `= Field(description=…)` where it has to be there.
    given = node.value
    if isinstance(given, ast.Call):
        required = not any(word.arg == "default" for word in given.keywords)
    else:
        required = given is None
    return Declared(ast.unparse(node.annotation), required)


def enumeration(module: str, type_: str) -> set[str] | None:
    """The values of the enumeration a field's type names."""
    for node in parsed(module).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("authentik_client.models."):
            for name in node.names:
                if name.name in type_ and (node.module or "").endswith(("_enum", "_mode")):
                    return _values((node.module or "").rpartition(".")[2])
    return None


def _values(module: str) -> set[str]:
    (body,) = [node.body for node in parsed(module).body if isinstance(node, ast.ClassDef)]
    return {
        str(node.value.value) for node in body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }


def words(kind: Kind) -> set[str] | None:
    """What words a kind of field takes."""
    if isinstance(kind, Sequence):
        return words(kind.kind)
    return set(kind.words) if isinstance(kind, Choice) else None


@pytest.mark.parametrize("model", MODULES)
def test_fields_and_enumerations_are_the_clients(model: str) -> None:
    wanted, fields = declared(MODULES[model]), MODELS[model].fields
    assert set(fields) == (set(wanted) | BLUEPRINT_ONLY.get(model, set())) - LEFT_OUT.get(model, set())
    for name, field in fields.items():
        if name in wanted:
            assert field.required == wanted[name].required, name
            assert words(field.kind) == enumeration(MODULES[model], wanted[name].type), name
            assert isinstance(field.kind, Sequence) == ("List[" in wanted[name].type), name
            if field.reference is not None:
                assert _key_type(field) in wanted[name].type, name


def _key_type(field: Field) -> str:
    assert field.reference is not None
    return "Int" if MODELS[field.reference].numbered else "UUID"


def test_redirect_uris_are_the_clients() -> None:
    wanted = declared("redirect_uri_request")
    assert {name for name, field in wanted.items() if field.required} == {"url", "matching_mode"}
    assert set(MATCHING_MODES.words) == enumeration("redirect_uri_request", wanted["matching_mode"].type)
    assert set(REDIRECT_URI_TYPES.words) == enumeration("redirect_uri_request", wanted["redirect_uri_type"].type)


def test_no_model_is_left_unchecked() -> None:
    assert MODULES.keys() == MODELS.keys()
