"""What Authentik is told: the blueprint that makes Reflector an application of it, and its variables.

A blueprint says what there is to be, and Authentik makes it so (https://docs.goauthentik.io/customize/blueprints/). It
makes nothing go away that is no longer in the text, so what is optional stands there either way. Secrets are not in it:
it names files they are in at the time.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

T = TypeVar("T")

PORT: Final = 9000
CLIENT_ID: Final = "reflector"
CALLBACK_PATH: Final = "/api/auth/callback/authentik"
"""Where Reflector's web frontend takes codes, whoever the provider is (its next-auth calls every one authentik)."""

BLUEPRINTS_DIRECTORY: Final = "/blueprints/custom"
BLUEPRINT_FILE: Final = "custom/reflector.yaml"
"""As Authentik's own command names it, relative to its folder of blueprints."""
SECRETS_DIRECTORY: Final = "/run/reflector"
"""Readable by Authentik alone; a file is there while a blueprint is applied, and at no other time."""
RECORD_FILE: Final = "/data/.reflector.json"
"""In its volume: who and what of it is ours."""
PACKAGED: Final = (
    "default/flow-default-provider-authorization-implicit-consent.yaml",
    "default/flow-default-provider-invalidation.yaml",
    "system/providers-oauth2.yaml",
    "default/default-brand.yaml",
)
"""What ours refers to, of the blueprints Authentik brings along, in the order they need each other."""

ADMINISTRATOR: Final = "akadmin"
"""Authentik's own administrator."""
ADMINISTRATOR_PASSWORD: Final = "administrator"
"""Name of the secret that is akadmin's password."""
REFLECTOR_ADMINISTRATOR: Final = "admin"
"""Name, in Authentik, of Reflector's own."""
_SCOPES: Final = ("openid", "email", "profile", "offline_access")
"""What Reflector's web frontend asks for; without the last there is no refresh token."""
_KEY_NAME: Final = "Reflector signing key"
_EMAIL_POLICY: Final = "reflector-email-domain"
_GROUP_ORDER: Final = 0
_EMAIL_ORDER: Final = 1


_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
"""What would be no text without quotes, in any case of letters."""


@dataclass(frozen=True)
class _Tag:
    """A value Authentik looks up itself."""

    name: str
    value: object


def _find(model: str, **identifiers: str) -> _Tag:
    return _Tag("!Find", [model, *([key, value] for key, value in identifiers.items())])


def secret_file(name: str) -> str:
    """Return where the secret called `name` is while a blueprint is applied."""
    return f"{SECRETS_DIRECTORY}/{name}"


def _secret(name: str) -> _Tag:
    return _Tag("!File", secret_file(name))


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who may have an account."""

    user_name: str
    name: str
    email: str
    is_active: bool = True
    groups: Sequence[str] = ()
    subject: str = ""
    """What Reflector knows the person by; empty: what Authentik makes of the account."""

    @property
    def password(self) -> str:
        """Name of the secret that is the initial password."""
        return f"password-{self.user_name}"


@dataclass(frozen=True, kw_only=True)
class Application:
    """Reflector as an application of Authentik, and who there is."""

    slug: str
    title: str
    url: str
    """Reflector's, without a trailing slash."""
    access_token_minutes: int
    refresh_token_days: int
    administrator: Person
    """Of Reflector."""
    others: Sequence[Person] = ()
    groups: Sequence[str] = ()
    access_group: str | None = None
    access_email_domain: str | None = None

    @property
    def people(self) -> Sequence[Person]:
        """Everybody it knows, the administrator first."""
        return (self.administrator, *self.others)

    @property
    def redirect_uri(self) -> str:
        """The one place a code may be sent to; compared as text, so it is written as browsers are sent there."""
        return f"{self.url}{CALLBACK_PATH}"

    def may_enter(self, person: Person) -> bool:
        """Return whether these rules let somebody in."""
        return (
            person.is_active
            and (self.access_group is None or self.access_group in person.groups)
            and (
                self.access_email_domain is None
                or person.email.lower().endswith(f"@{self.access_email_domain.lower()}")
            )
        )

    @property
    def secrets(self) -> Sequence[str]:
        """Names of the secrets the blueprint refers to."""
        people = (person.password for person in self.people)
        return (ADMINISTRATOR_PASSWORD, "client-secret", "signing-certificate", "signing-key", *people)


def issuer(url: str, slug: str) -> str:
    """Return the issuer at an Authentik whose base URL is `url`, as its tokens have it: with a slash at its end."""
    return f"{url}/application/o/{slug}/"


def token_url(url: str) -> str:
    """Return the token endpoint; without the slash at its end it refuses every POST."""
    return f"{url}/application/o/token/"


def secrets_digest(secrets: Mapping[str, str]) -> str:
    """Return what tells one set of secrets from another and nothing of what they are."""
    # Each is long and random, or says nothing by itself, so a hash gives none away.
    parts = "".join(f"{name}\0{len(secrets[name])}\0{secrets[name]}" for name in sorted(secrets))
    return hashlib.sha256(parts.encode()).hexdigest()


def blueprint(application: Application, digest: str) -> str:
    """Return the blueprint; `digest` of the secrets makes another text of it when one of them is another."""
    return _text(
        "Reflector",
        [
            *_signing_key(),
            *(_group(name) for name in application.groups),
            _provider(
                application, client_secret=_secret("client-secret"), signing_key=_find(_KEY_MODEL, name=_KEY_NAME)
            ),
            _application(application),
            *_access(application),
            *(entry for person in application.people for entry in _person(person)),
            _brand(application.title),
        ],
        context={"digest": digest},
    )


def administrators_blueprint(person: Person) -> str:
    """Return the blueprint that puts the generated passwords of akadmin and of Reflector's administrator in force.

    For a database that is older than they are: one that was kept while this way of signing in was switched off.
    """
    passwords = {ADMINISTRATOR: ADMINISTRATOR_PASSWORD, person.user_name: person.password}
    return _text(
        "Reflector's administrators",
        [
            {
                **_entry(_USER_MODEL, {"username": name}, {"password": _secret(secret)}),
                # Whoever was deleted there is not made again without rights; the proof says who is missing.
                "conditions": [_find(_USER_MODEL, username=name)],
            }
            for name, secret in passwords.items()
        ],
    )


def blueprint_for_import(application: Application) -> str:
    """Return a blueprint for an Authentik elsewhere: provider and application, no more.

    The key is the one Authentik made for itself, the client secret one it makes now; people are its own business.
    """
    own_key = _find(_KEY_MODEL, name="authentik Self-signed Certificate")
    return _text("Reflector", [_provider(application, signing_key=own_key), _application(application)])


_KEY_MODEL: Final = "authentik_crypto.certificatekeypair"
_PROVIDER_MODEL: Final = "authentik_providers_oauth2.oauth2provider"
_APPLICATION_MODEL: Final = "authentik_core.application"
_USER_MODEL: Final = "authentik_core.user"
_GROUP_MODEL: Final = "authentik_core.group"
_BINDING_MODEL: Final = "authentik_policies.policybinding"
_EXPRESSION_MODEL: Final = "authentik_policies_expression.expressionpolicy"
_PROVIDER_NAME: Final = "Reflector"


def _entry(
    model: str,
    identifiers: Mapping[str, object],
    attributes: Mapping[str, object] | None = None,
    *,
    state: str = "present",
) -> dict[str, Any]:
    entry: dict[str, Any] = {"model": model, "state": state, "identifiers": dict(identifiers)}
    return entry if attributes is None else {**entry, "attrs": dict(attributes)}


def _signing_key() -> list[dict[str, Any]]:
    certificate, key = _secret("signing-certificate"), _secret("signing-key")
    return [_entry(_KEY_MODEL, {"name": _KEY_NAME}, {"certificate_data": certificate, "key_data": key})]


def _provider(application: Application, signing_key: _Tag, **secrets: _Tag) -> dict[str, Any]:
    return _entry(
        _PROVIDER_MODEL,
        {"name": _PROVIDER_NAME},
        {
            "authorization_flow": _find("authentik_flows.flow", slug="default-provider-authorization-implicit-consent"),
            "invalidation_flow": _find("authentik_flows.flow", slug="default-provider-invalidation-flow"),
            "client_type": "confidential",
            "client_id": CLIENT_ID,
            **secrets,
            # None by default, and then it answers every request with invalid_request.
            "grant_types": ["authorization_code", "refresh_token"],
            "redirect_uris": [{"matching_mode": "strict", "url": application.redirect_uri}],
            "property_mappings": [
                _find(
                    "authentik_providers_oauth2.scopemapping", managed=f"goauthentik.io/providers/oauth2/scope-{scope}"
                )
                for scope in _SCOPES
            ],
            "signing_key": signing_key,
            # The administrator has one, the same as with a password; for all others it is what it would be anyway.
            "sub_mode": "user_upn",
            "issuer_mode": "per_provider",
            # The access token is made from it, and Reflector needs the address in there.
            "include_claims_in_id_token": True,
            "access_code_validity": "minutes=1",
            "access_token_validity": f"minutes={application.access_token_minutes}",
            "refresh_token_validity": f"days={application.refresh_token_days}",
            # Reflector keeps what the answer has in its place, so there has to be a new one each time.
            "refresh_token_threshold": "seconds=0",
        },
    )


def _application(application: Application) -> dict[str, Any]:
    return _entry(
        _APPLICATION_MODEL,
        {"slug": application.slug},
        {
            "name": application.title,
            "provider": _find(_PROVIDER_MODEL, name=_PROVIDER_NAME),
            "meta_launch_url": application.url,
            "policy_engine_mode": "all",
        },
    )


def _access(application: Application) -> list[dict[str, Any]]:
    target = _find(_APPLICATION_MODEL, slug=application.slug)

    def binding(order: int, wanted: bool, **who: object) -> dict[str, Any]:
        identifiers = {"target": target, "order": order}
        if not wanted:
            return _entry(_BINDING_MODEL, identifiers, state="absent")
        return _entry(_BINDING_MODEL, identifiers, {"enabled": True, "negate": False, **who})

    group, domain = application.access_group, application.access_email_domain
    by_group = binding(_GROUP_ORDER, group is not None, group=_find(_GROUP_MODEL, name=group or ""))
    if domain is None:
        # What is bound to it goes with it.
        return [by_group, _entry(_EXPRESSION_MODEL, {"name": _EMAIL_POLICY}, state="absent")]
    return [
        by_group,
        _entry(
            _EXPRESSION_MODEL,
            {"name": _EMAIL_POLICY},
            {"expression": f'return request.user.email.lower().endswith("@{domain}")'},
        ),
        binding(_EMAIL_ORDER, wanted=True, policy=_find(_EXPRESSION_MODEL, name=_EMAIL_POLICY)),
    ]


def _group(name: str) -> dict[str, Any]:
    return _entry(_GROUP_MODEL, {"name": name}, {"is_superuser": False})


def _person(person: Person) -> list[dict[str, Any]]:
    identifiers = {"username": person.user_name}
    told: dict[str, object] = {
        "name": person.name,
        "email": person.email,
        "is_active": person.is_active,
        "type": "internal",
        "path": "reflector",
    }
    return [
        # The password is theirs from then on: in the other entry it would be set anew each time.
        _entry(_USER_MODEL, identifiers, {**told, "password": _secret(person.password)}, state="created"),
        _entry(
            _USER_MODEL,
            identifiers,
            {
                **told,
                # Where it stands it is all there is: a person's own choices are in it too.
                **({"attributes": {"upn": person.subject}} if person.subject else {}),
                "groups": [_find(_GROUP_MODEL, name=group) for group in person.groups],
            },
        ),
    ]


def _brand(title: str) -> dict[str, Any]:
    # The one of no host: others are found by a host with its port.
    return _entry("authentik_brands.brand", {"domain": "authentik-default"}, {"branding_title": title})


def _text(name: str, entries: Sequence[Mapping[str, Any]], context: Mapping[str, str] | None = None) -> str:
    content = {
        "version": 1,
        "metadata": {
            "name": name,
            # Authentik would apply it by itself as well, at its start and whenever it likes.
            "labels": {"blueprints.goauthentik.io/instantiate": "false"},
        },
        **({"context": dict(context)} if context else {}),
        "entries": list(entries),
    }
    return "\n".join(_lines(content)) + "\n"


def _lines(value: object) -> list[str]:
    """Return a value as lines of YAML; what has no other value inside is written as JSON, which is YAML too."""
    if isinstance(value, Mapping) and value:
        lines = []
        for key, item in value.items():
            first, *rest = _lines(item)
            if rest or (isinstance(item, Mapping | list) and item):
                lines += [f"{_scalar(key)}:", *(f"  {line}" for line in (first, *rest))]
            else:
                lines.append(f"{_scalar(key)}: {first}")
        return lines
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            first, *rest = _lines(item)
            lines += [f"- {first}", *(f"  {line}" for line in rest)]
        return lines
    return [_scalar(value)]


def _scalar(value: object) -> str:
    if isinstance(value, _Tag):
        return f"{value.name} {_flow(value.value)}"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


def _flow(value: object) -> str:
    return f"[{', '.join(map(_flow, value))}]" if isinstance(value, list) else _scalar(value)


def environment(
    *,
    url: str,
    administrator_email: str,
    trusted_proxies: T,
    secret_key: T,
    administrator_hash: T,
    database: Mapping[str, str | T],
) -> dict[str, str | T]:
    """Return what server and worker read; `database` is what its connection is made of, by the names it has for that.

    `url` is its base URL without a trailing slash, `trusted_proxies` are ranges of addresses with commas between,
    `administrator_hash` is of the password of akadmin, as Django stores it.
    """
    return {
        "AUTHENTIK_SECRET_KEY": secret_key,
        **{f"AUTHENTIK_POSTGRESQL__{name}": value for name, value in database.items()},
        "AUTHENTIK_POSTGRESQL__SSLMODE": "disable",
        # At the first start only. Without them whoever comes first would be asked to choose a password.
        "AUTHENTIK_BOOTSTRAP_PASSWORD_HASH": administrator_hash,
        "AUTHENTIK_BOOTSTRAP_EMAIL": administrator_email,
        # By default on [::], which is a crash where there is no IPv6; all but the first would be open to the network.
        "AUTHENTIK_LISTEN__HTTP": f"0.0.0.0:{PORT}",
        "AUTHENTIK_LISTEN__HTTPS": "127.0.0.1:9443",
        "AUTHENTIK_LISTEN__METRICS": "127.0.0.1:9300",
        "AUTHENTIK_LISTEN__DEBUG": "127.0.0.1:9900",
        "AUTHENTIK_LISTEN__DEBUG_PY": "127.0.0.1:9901",
        "AUTHENTIK_LISTEN__DEBUG_TOKIO": "127.0.0.1:6669",
        "AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS": trusted_proxies,
        "AUTHENTIK_WEB__BASE_URL": url,
        "AUTHENTIK_WEB__WORKERS": "2",
        "AUTHENTIK_WEB__THREADS": "4",
        "AUTHENTIK_WORKER__PROCESSES": "1",
        "AUTHENTIK_WORKER__THREADS": "2",
        # Nobody outside hears of it: its makers, and Gravatar, which would be told of every face.
        "AUTHENTIK_DISABLE_UPDATE_CHECK": "true",
        "AUTHENTIK_DISABLE_STARTUP_ANALYTICS": "true",
        "AUTHENTIK_ERROR_REPORTING__ENABLED": "false",
        "AUTHENTIK_AVATARS": "initials",
        # It would look for Docker and Kubernetes, to run proxies there.
        "AUTHENTIK_OUTPOSTS__DISABLE_EMBEDDED_OUTPOST": "true",
        "AUTHENTIK_OUTPOSTS__DISCOVER": "false",
        "AUTHENTIK_LOG_LEVEL": "info",
        # The C library would keep much of what Python gives back.
        "MALLOC_ARENA_MAX": "2",
    }
