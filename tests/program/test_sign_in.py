"""Every way of signing in with every form of domain and port: whoever is led anywhere arrives at one URL."""

import itertools
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from testing.blueprints import entries
from testing.building import environment_of
from testing.engine import Engine
from tests.program.shapes import SHAPES, Shape, run, settings_of

FORMS: Final[Mapping[str, tuple[Mapping[str, Any], str]]] = {
    # Form → the edge, and what people type.
    "a domain": ({"domain": "meet.example.com"}, "https://meet.example.com"),
    "another port": ({"domain": "meet.example.com", "https_port": 8443}, "https://meet.example.com:8443"),
    "behind a router": (
        {"domain": "meet.example.com", "https_port": 8443, "public_port": 443}, "https://meet.example.com",
    ),
    "a tunnel": ({"domain": "meet.example.com", "public_port": 4443}, "https://meet.example.com:4443"),
    "localhost": ({"domain": "reflector.localhost", "https_port": 8443}, "https://reflector.localhost:8443"),
    "another script": ({"domain": "büro.example.com"}, "https://xn--bro-hoa.example.com"),
    "capitals": ({"domain": "Meet.Example.COM"}, "https://meet.example.com"),
}  # fmt: skip
MODES: Final[Mapping[str, Mapping[str, Any]]] = {
    "password": {"mode": "password"},
    "authentik": {"mode": "authentik"},
    "authentik elsewhere named": {"mode": "authentik", "domain": "login.example.org"},
    "oidc": SHAPES["oidc"]["sign_in"],
    "public": SHAPES["public"]["sign_in"],
}


@cache
def stack(mode: str, form: str) -> Shape:
    """Return the production stack with this way of signing in and this form of edge."""
    edge, _ = FORMS[form]
    engine, settings = run({**settings_of("selfhosted"), "edge": {"http_port": 8080, **edge}, "sign_in": MODES[mode]})
    return Shape(name=f"{mode}, {form}", engine=engine, settings=settings)


def desired(engine: Engine) -> dict[str, Any]:
    """Return what the step is told that makes Authentik know Reflector."""
    return dict(json.loads(engine.named("authentik-application").plain("stdin")))


@pytest.mark.parametrize(("mode", "form"), list(itertools.product(MODES, FORMS)))
def test_pages_and_api_agree_on_where_people_are(mode: str, form: str) -> None:
    made = stack(mode, form)
    web, server = environment_of(made.containers["web"]), environment_of(made.containers["server"])
    url = FORMS[form][1]
    assert made.engine.exports["url"] == url
    assert {web["NEXTAUTH_URL"], web["SITE_URL"], server["BASE_URL"], server["UI_BASE_URL"]} == {url}
    assert url in server["CORS_ORIGIN"].split(",")


@pytest.mark.parametrize(("mode", "form"), list(itertools.product(("authentik", "authentik elsewhere named"), FORMS)))
def test_browser_pages_and_authentik_have_one_issuer(mode: str, form: str) -> None:
    made = stack(mode, form)
    web = environment_of(made.containers["web"])
    domain, _, port = urlsplit(FORMS[form][1]).netloc.partition(":")
    host = MODES[mode].get("domain", f"auth.{domain}") + (f":{port}" if port else "")
    issuer = f"https://{host}/application/o/reflector"
    assert web["AUTHENTIK_ISSUER"] == issuer, "what is called there is added with a slash"
    assert web["AUTHENTIK_REFRESH_TOKEN_URL"] == f"https://{host}/application/o/token/"
    told = desired(made.engine)
    assert told["proof"]["issuer"] == f"{issuer}/"
    assert told["proof"]["url"] == f"https://{host}"
    (provider,) = entries(told["blueprint"], "authentik_providers_oauth2.oauth2provider")
    (redirect,) = provider["attrs"]["redirect_uris"]
    # As the browser is sent there: next-auth makes it from NEXTAUTH_URL.
    assert redirect["url"] == f"{web['NEXTAUTH_URL']}/api/auth/callback/authentik"
    assert environment_of(made.containers["authentik"])["AUTHENTIK_WEB__BASE_URL"] == f"https://{host}"
    # The name is the edge's inside too, and in its certificate.
    caddy = json.dumps(made.containers["caddy"].plain("networksAdvanced"))
    assert host.partition(":")[0] in caddy
    assert host.partition(":")[0] in made.engine.named("edge-certificate-1-request").plain("dnsNames")


@pytest.mark.parametrize(("mode", "form"), list(itertools.product(MODES, FORMS)))
def test_the_backend_is_public_only_where_that_was_chosen(mode: str, form: str) -> None:
    made = stack(mode, form)
    for role in ("server", "worker", "beat", "hatchet-worker-llm"):
        told = environment_of(made.containers[role])
        assert (told["PUBLIC_MODE"] == "true") is (mode == "public"), role
        assert (told["AUTH_BACKEND"] == "none") is (mode == "public"), role
