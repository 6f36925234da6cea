"""What the tests of the probe's Authentik share: an instance in memory, our blueprint's shape, a browser."""

import asyncio
import copy
import datetime
import functools
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from probe.authentik import Authentik, application, apply_path
from probe.authentik_blueprint import LogEvent, apply, load
from probe.authentik_passwords import hash_password
from probe.authentik_registry import Object, Registry
from probe.authentik_settings import Settings
from probe.authentik_store import Document, MemoryStore
from probe.environment import Environment
from starlette.testclient import TestClient

from toolchain import ROOT

BLUEPRINTS = ROOT / "images" / "probe" / "blueprints"
PACKAGED = (
    "default/flow-default-provider-authorization-implicit-consent.yaml",
    "default/flow-default-provider-invalidation.yaml",
    "system/providers-oauth2.yaml",
    "default/default-brand.yaml",
    "default/flow-oobe.yaml",
)

HOST = "auth.reflector.example:8443"
ISSUER = f"https://{HOST}/application/o/reflector/"
REDIRECT = "https://reflector.example:8443/api/auth/callback/authentik"
SECRET = "client-secret-0123456789"
ADMIN_PASSWORD = "the administrator's password"

VARIABLES = {
    "AUTHENTIK_SECRET_KEY": "k" * 60,
    "AUTHENTIK_POSTGRESQL__HOST": "postgres",
    "AUTHENTIK_POSTGRESQL__USER": "authentik",
    "AUTHENTIK_POSTGRESQL__PASSWORD": "database-password",
    "AUTHENTIK_BOOTSTRAP_PASSWORD_HASH": hash_password(ADMIN_PASSWORD, iterations=1000),
    "AUTHENTIK_BOOTSTRAP_EMAIL": "root@reflector.example",
    "AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS": "10.1.0.0/16,fd00::/64",
    "AUTHENTIK_AVATARS": "initials",
}


def key_pair(kind: str = "rsa", name: str = "signing") -> tuple[str, str]:
    """Certificate and key as PEM; the same for the same name."""
    return _key_pair(kind, name)


@functools.cache
def _key_pair(kind: str, name: str) -> tuple[str, str]:
    private: Any = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if kind == "rsa"
        else ec.generate_private_key(ec.SECP256R1())
    )
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    today = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(today)
        .not_valid_after(today + datetime.timedelta(days=3650))
        .sign(private, hashes.SHA256())
    )
    key = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), key.decode()


def find(model: str, **conditions: str) -> str:
    """A !Find tag."""
    return "!Find [" + ", ".join([model, *(f"[{name}, {value}]" for name, value in conditions.items())]) + "]"


SCOPES = ", ".join(
    find("authentik_providers_oauth2.scopemapping", managed=f"goauthentik.io/providers/oauth2/scope-{name}")
    for name in ("openid", "email", "profile", "offline_access")
)
PROVIDER = f"""
  - model: authentik_providers_oauth2.oauth2provider
    identifiers: {{name: Reflector}}
    attrs:
      authorization_flow: {find("authentik_flows.flow", slug="default-provider-authorization-implicit-consent")}
      invalidation_flow: {find("authentik_flows.flow", slug="default-provider-invalidation-flow")}
      client_type: confidential
      grant_types: [authorization_code, refresh_token]
      client_id: reflector
      client_secret: {SECRET}
      redirect_uris: [{{matching_mode: strict, url: "{REDIRECT}", redirect_uri_type: authorization}}]
      property_mappings: [{SCOPES}]
      signing_key: {find("authentik_crypto.certificatekeypair", name="Reflector")}
      sub_mode: user_upn
      issuer_mode: per_provider
      include_claims_in_id_token: true
      access_code_validity: minutes=1
      access_token_validity: minutes=5
      refresh_token_validity: days=30
      refresh_token_threshold: seconds=0
"""
APPLICATION = f"""
  - model: authentik_core.application
    identifiers: {{slug: reflector}}
    attrs:
      name: Reflector
      provider: {find("authentik_providers_oauth2.oauth2provider", name="Reflector")}
      meta_launch_url: https://reflector.example:8443
      policy_engine_mode: all
"""
USERS = f"""
  - model: authentik_core.group
    identifiers: {{name: Meetings}}
  - model: authentik_core.user
    state: created
    identifiers: {{username: ada}}
    attrs: {{name: Ada, email: ada@reflector.example, password: first password}}
  - model: authentik_core.user
    identifiers: {{username: ada}}
    attrs:
      name: Ada
      email: ada@reflector.example
      is_active: true
      attributes: {{upn: "local:ada@reflector.example"}}
      groups: [{find("authentik_core.group", name="Meetings")}]
"""
BRAND = """
  - model: authentik_brands.brand
    identifiers: {domain: authentik-default}
    attrs: {branding_title: Meetings of ours}
"""


def certificate_entry(pair: tuple[str, str] | None = None) -> str:
    """The signing key's entry."""
    certificate, key = pair or key_pair()
    return f"""
  - model: authentik_crypto.certificatekeypair
    identifiers: {{name: Reflector}}
    attrs: {{certificate_data: {json.dumps(certificate)}, key_data: {json.dumps(key)}}}
"""


def document(*entries: str) -> str:
    """A blueprint of entries."""
    return "version: 1\nmetadata: {name: Reflector}\nentries:\n" + "".join(entries)


def whole(*more: str) -> str:
    """The blueprint of a deployment, and more entries behind it."""
    return document(certificate_entry(), PROVIDER, APPLICATION, USERS, BRAND, *more)


def packaged_registry() -> Registry:
    """The registry once the worker has made what is packaged."""
    return asyncio.run(_packaged_store().registry())


def applied(registry: Registry, text: str, **environment: str) -> list[LogEvent]:
    """Apply a blueprint's text; what is wrong with it."""
    return apply(load(text), registry, environment)


def _packaged_store() -> MemoryStore:
    store = MemoryStore()
    store.documents = copy.deepcopy(_packaged_documents())
    return store


@functools.cache
def _packaged_documents() -> dict[tuple[str, str], Document]:
    store = MemoryStore()

    async def fill() -> None:
        for path in PACKAGED:
            assert not await apply_path(store, BLUEPRINTS, path, Environment({}))

    asyncio.run(fill())
    return store.documents


class Instance:
    """A started server over a store in memory."""

    def __init__(self, text: str = "", **changes: str) -> None:
        """Start it, packaged objects and a blueprint applied."""
        env = Environment({name: value for name, value in (VARIABLES | changes).items() if value})
        self.store = _packaged_store()
        self.authentik = Authentik(Settings.from_environment(env), self.store, env, BLUEPRINTS)
        asyncio.run(self.authentik.begin())
        self.authentik.phase = 2
        if text:
            self.apply(text)

    def apply(self, text: str) -> None:
        """Apply a blueprint, which has to be valid."""

        async def change() -> None:
            async with self.store.change() as registry:
                assert apply(load(text), registry, {}) == []

        asyncio.run(change())

    def object(self, model: str, **conditions: Any) -> Object:
        """An object that is there."""
        found = asyncio.run(self.store.registry()).find(model, conditions)
        assert found is not None
        return found

    def browser(self, peer: str = "10.1.0.7", **headers: str) -> TestClient:
        """A visitor through the edge, who keeps cookies and follows nothing."""
        given = {"host": HOST, "x-forwarded-proto": "https", "x-forwarded-host": HOST, **headers}
        return TestClient(
            application(self.authentik),
            base_url=f"https://{HOST}",
            headers=given,
            follow_redirects=False,
            client=(peer, 50000),
        )


def authorize_path(**changes: str) -> str:
    """The address next-auth sends the browser to."""
    query = {
        "client_id": "reflector",
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "scope": "openid email profile offline_access",
        "state": "some-state",
    }
    return "/application/o/authorize/?" + urlencode(query | changes)


def sign_in(browser: TestClient, start: str, user: str = "ada", password: str = "first password") -> Any:
    """Fill the forms of the page that the address leads to; returns the answer after the password."""
    page = browser.get(start)
    assert page.status_code == 302, page.text
    page = browser.get(page.headers["location"])
    assert re.search('<input id="uid_field" name="uid_field"', page.text)
    answer = browser.post(str(page.url), data={"uid_field": user})
    page = browser.get(answer.headers["location"])
    assert re.search('<input id="password" name="password"', page.text)
    return browser.post(str(page.url), data={"password": password})


def code_of(browser: TestClient, **changes: str) -> str:
    """Sign in and come back with a code."""
    answer = sign_in(browser, authorize_path(**changes))
    while "/api/auth/callback" not in answer.headers["location"]:
        answer = browser.get(answer.headers["location"])
    assert answer.headers["location"].startswith(REDIRECT + "?")
    return str(answer.headers["location"]).split("code=")[1].split("&")[0]


def exchange(browser: TestClient, secret: str = SECRET, **form: str) -> Any:
    """Ask the token endpoint with a Basic login."""
    return browser.post("/application/o/token/", data=form, auth=("reflector", secret))


def written(folder: Path, name: str, text: str) -> Path:
    """A file."""
    path = folder / name
    path.write_text(text)
    return path
