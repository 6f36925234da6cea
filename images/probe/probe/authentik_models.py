"""The models a blueprint of ours can name, with their fields, defaults, enumerations and rules.

The tables follow the request models of authentik-client 2026.8.5 and the fields only a blueprint has (``password``,
``password_hash``, ``icon``); what each refuses, the serializers of Authentik (authentik/*/api). Where the real one
takes in silence what breaks sign-in later, the rule here refuses it, and says so in its text.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from probe.authentik_expressions import ExpressionError, compile_expression
from probe.authentik_fields import (
    ErrorDetail,
    Field,
    belong_together,
    boolean,
    certificate,
    choice,
    duration,
    integer,
    key,
    launch_url,
    mapping,
    one_of,
    private_key,
    redirect_uri,
    sequence,
    text,
)
from probe.authentik_passwords import parse_hash

Errors = dict[str, list[ErrorDetail]]
Fields = Mapping[str, Any]

FLOW: Final = "authentik_flows.flow"
SCOPE: Final = "authentik_providers_oauth2.scopemapping"
CERTIFICATE: Final = "authentik_crypto.certificatekeypair"
GROUP: Final = "authentik_core.group"
USER: Final = "authentik_core.user"
PROVIDER: Final = "authentik_providers_oauth2.oauth2provider"
APPLICATION: Final = "authentik_core.application"
BINDING: Final = "authentik_policies.policybinding"
EXPRESSION: Final = "authentik_policies_expression.expressionpolicy"
BRAND: Final = "authentik_brands.brand"

RESERVED_SLUGS: Final = ("authorize", "token", "device", "userinfo", "introspect", "revoke")
"""Slugs no application may have: they are endpoints."""

SLUG = text(
    pattern=r"[-a-zA-Z0-9_]+", hint="Enter a valid “slug” consisting of letters, numbers, underscores or hyphens."
)
GRANT_TYPES: Final = (
    "authorization_code",
    "implicit",
    "hybrid",
    "refresh_token",
    "client_credentials",
    "password",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:token-exchange",
)
FAMILIES: Final = {"policy": EXPRESSION, "group": GROUP, "user": USER}


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model: ``check`` sees a whole object and returns what is wrong with it.

    ``packaged``: only Authentik's own blueprints make such objects here. ``numbered``: its keys are numbers, no UUIDs.
    """

    fields: Mapping[str, Field]
    check: Callable[[Fields], Errors] = lambda fields: {}
    packaged: bool = False
    numbered: bool = False


def one(model: str, **options: Any) -> Field:
    """A reference to one object."""
    return Field(kind=key, reference=model, **options)


def several(model: str, **options: Any) -> Field:
    """References to a list of objects."""
    return Field(kind=sequence(key), reference=model, many=True, default=[], **options)


def _optional(kind: Callable[[Any], Any], default: Any) -> Field:
    return Field(kind=kind, default=default)


def _check_certificate(fields: Fields) -> Errors:
    if fields["key_data"] and not belong_together(fields["certificate_data"], fields["key_data"]):
        return {"key_data": [_ours("certificate and key do not belong together")]}
    return {}


def _check_provider(fields: Fields) -> Errors:
    errors: Errors = {}
    if not fields["grant_types"]:
        errors["grant_types"] = [_ours("is missing or empty: authorize and token would refuse every request")]
    if fields["signing_key"] is None:
        errors["signing_key"] = [_ours("is missing: tokens would be signed HS256, with the client's secret")]
    if fields["client_type"] == "confidential" and not fields["client_secret"]:
        errors["client_secret"] = [_ours("is empty")]
    return errors


def _check_application(fields: Fields) -> Errors:
    slug = fields["slug"]
    if slug in RESERVED_SLUGS:
        return {"slug": [ErrorDetail(f"The slug '{slug}' is reserved and cannot be used for applications.", "invalid")]}
    return {}


def _check_binding(fields: Fields) -> Errors:
    given = [name for name in sorted(FAMILIES) if fields[name] is not None]
    named = one_of(sorted(FAMILIES))
    if len(given) > 1:
        return {"non_field_errors": [ErrorDetail(f"Only one of {named} can be set.", "invalid")]}
    if not given:
        return {"non_field_errors": [ErrorDetail(f"One of {named} must be set.", "invalid")]}
    return {}


def _check_expression(fields: Fields) -> Errors:
    try:
        compile_expression(fields["expression"])
    except ExpressionError as problem:
        return {"expression": [ErrorDetail(str(problem), "invalid")]}
    return {}


def _check_user(fields: Fields) -> Errors:
    path = fields["path"]
    if "" in path.split("/"):
        return {"path": [ErrorDetail("No leading or trailing slashes allowed.", "invalid")]}
    return {}


def _ours(string: str) -> ErrorDetail:
    """An error the real one has not."""
    return ErrorDetail(f"{string} (the probe refuses this; Authentik takes it in silence)", "probe")


def check_passwords(fields: Fields) -> None:
    """Refuse two passwords and a hash that is none; raises ValueError, which the real one shows as a traceback."""
    if fields.get("password") is not None and fields.get("password_hash") is not None:
        raise ValueError("Cannot set both password and password_hash. Use only one.")
    if fields.get("password_hash") is not None:
        parse_hash(fields["password_hash"])


_NAME = Field(kind=text(), required=True)
_UNIQUE_NAME = Field(kind=text(), required=True, unique=True)
_MANAGED = Field(kind=text(), read_only=True)
_BLANK = text(blank=True)
_POLICY_MODE = _optional(choice("all", "any"), "any")

MODELS: Final[Mapping[str, Model]] = {
    FLOW: Model(
        packaged=True,
        fields={
            "slug": Field(kind=SLUG, required=True, unique=True),
            "name": _NAME,
            "title": _NAME,
            "designation": Field(
                kind=choice(
                    "authentication",
                    "authorization",
                    "invalidation",
                    "enrollment",
                    "unenrollment",
                    "recovery",
                    "stage_configuration",
                ),
                required=True,
            ),
            "denied_action": _optional(choice("message_continue", "message", "continue"), "message_continue"),
            "authentication": _optional(
                choice(
                    "none",
                    "require_authenticated",
                    "require_unauthenticated",
                    "require_superuser",
                    "require_redirect",
                    "require_outpost",
                    "require_token",
                ),
                "none",
            ),
        },
    ),
    SCOPE: Model(
        packaged=True,
        fields={
            "managed": Field(kind=text(), unique=True),
            "name": _UNIQUE_NAME,
            "scope_name": _NAME,
            "description": _optional(_BLANK, ""),
            "expression": _NAME,
        },
    ),
    CERTIFICATE: Model(
        check=_check_certificate,
        fields={
            "name": _UNIQUE_NAME,
            "certificate_data": Field(kind=certificate, required=True),
            "key_data": _optional(private_key, ""),
            "managed": _MANAGED,
        },
    ),
    GROUP: Model(
        fields={
            "name": _UNIQUE_NAME,
            "is_superuser": _optional(boolean, False),
            "parents": several(GROUP),
            "users": several(USER),
            "attributes": _optional(mapping, {}),
        },
    ),
    USER: Model(
        numbered=True,
        check=_check_user,
        fields={
            "username": Field(kind=text(150), required=True, unique=True),
            "name": Field(kind=_BLANK, required=True),
            "is_active": _optional(boolean, True),
            "groups": several(GROUP),
            "email": _optional(
                text(254, blank=True, pattern=r"[^@\s]+@[^@\s]+", hint="Enter a valid email address."), ""
            ),
            "attributes": _optional(mapping, {}),
            "path": _optional(text(), "users"),
            "type": _optional(
                choice("internal", "external", "service_account", "internal_service_account"), "internal"
            ),
            "password": Field(kind=text(), null=True),
            "password_hash": Field(kind=text(), null=True),
        },
    ),
    PROVIDER: Model(
        numbered=True,
        check=_check_provider,
        fields={
            "name": _UNIQUE_NAME,
            "authentication_flow": one(FLOW, null=True),
            "authorization_flow": one(FLOW, required=True, cascade=True),
            "invalidation_flow": one(FLOW, required=True, cascade=True),
            "property_mappings": several(SCOPE),
            "client_type": _optional(choice("confidential", "public"), "confidential"),
            "grant_types": _optional(sequence(choice(*GRANT_TYPES)), []),
            "client_id": Field(kind=text(255), unique=True),
            "client_secret": _optional(
                text(255, blank=True, pattern=r"[\x20-\x7e]+", hint="Only printable ASCII characters are allowed."), ""
            ),
            "access_code_validity": _optional(duration, "minutes=1"),
            "access_token_validity": _optional(duration, "hours=1"),
            "refresh_token_validity": _optional(duration, "days=30"),
            "refresh_token_threshold": _optional(duration, "seconds=0"),
            "include_claims_in_id_token": _optional(boolean, True),
            "signing_key": one(CERTIFICATE, null=True),
            "encryption_key": one(CERTIFICATE, null=True),
            "redirect_uris": Field(kind=sequence(redirect_uri), required=True),
            "logout_uri": _optional(_BLANK, ""),
            "logout_method": _optional(choice("backchannel", "frontchannel"), "backchannel"),
            "sub_mode": _optional(
                choice("hashed_user_id", "user_id", "user_uuid", "user_username", "user_email", "user_upn"),
                "hashed_user_id",
            ),
            "issuer_mode": _optional(choice("global", "per_provider"), "per_provider"),
        },
    ),
    APPLICATION: Model(
        check=_check_application,
        fields={
            "name": _NAME,
            "slug": Field(kind=SLUG, required=True, unique=True),
            "provider": one(PROVIDER, null=True, unique=True),
            "open_in_new_tab": _optional(boolean, False),
            "meta_launch_url": _optional(launch_url, ""),
            "meta_icon": _optional(_BLANK, ""),
            "icon": _optional(text(), ""),
            "meta_description": _optional(_BLANK, ""),
            "meta_publisher": _optional(_BLANK, ""),
            "policy_engine_mode": _POLICY_MODE,
            "group": _optional(_BLANK, ""),
            "meta_hide": _optional(boolean, False),
        },
    ),
    EXPRESSION: Model(
        check=_check_expression,
        fields={
            "name": _UNIQUE_NAME,
            "execution_logging": _optional(boolean, False),
            "expression": _NAME,
        },
    ),
    BINDING: Model(
        check=_check_binding,
        fields={
            "target": one(APPLICATION, required=True, cascade=True),
            "policy": one(EXPRESSION, null=True, cascade=True),
            "group": one(GROUP, null=True, cascade=True),
            "user": one(USER, null=True, cascade=True),
            "negate": _optional(boolean, False),
            "enabled": _optional(boolean, True),
            "order": Field(kind=integer(-2147483648), required=True),
            "timeout": _optional(integer(0), 30),
            "failure_result": _optional(boolean, False),
        },
    ),
    BRAND: Model(
        fields={
            "domain": Field(kind=text(), required=True, unique=True),
            "default": _optional(boolean, False),
            "branding_title": _optional(text(), "authentik"),
            "branding_logo": _optional(text(), "/static/dist/assets/icons/icon_left_brand.svg"),
            "branding_favicon": _optional(text(), "/static/dist/assets/icons/icon.png"),
            "branding_custom_css": _optional(_BLANK, ""),
            "branding_default_flow_background": _optional(text(), "/static/dist/assets/images/flow_background.jpg"),
            "branding_map_tiles": _optional(_BLANK, ""),
            "flow_authentication": one(FLOW, null=True),
            "flow_invalidation": one(FLOW, null=True),
            "flow_recovery": one(FLOW, null=True),
            "flow_unenrollment": one(FLOW, null=True),
            "flow_user_settings": one(FLOW, null=True),
            "flow_device_code": one(FLOW, null=True),
            "default_application": one(APPLICATION, null=True),
            "web_certificate": one(CERTIFICATE, null=True),
            "client_certificates": several(CERTIFICATE),
            "attributes": _optional(mapping, {}),
        },
    ),
}
"""Model → what it is. Fields of the real ones that refer to models which are not here are left out, and so refused."""
