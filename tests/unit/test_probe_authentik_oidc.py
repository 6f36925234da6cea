"""The probe's Authentik is a whole provider: sign-in, codes, tokens, keys, access, sessions."""

import asyncio
import base64
import hashlib
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from probe.authentik import STARTING, Authentik, application
from probe.authentik_settings import Settings
from probe.authentik_store import MemoryStore
from probe.environment import Environment
from starlette.testclient import TestClient

from tests.unit.probe_authentik import (
    ADMIN_PASSWORD,
    BLUEPRINTS,
    HOST,
    ISSUER,
    PROVIDER,
    REDIRECT,
    SECRET,
    VARIABLES,
    Instance,
    authorize_path,
    certificate_entry,
    code_of,
    document,
    exchange,
    find,
    key_pair,
    sign_in,
    whole,
    written,
)
from tests.unit.test_probe_authentik_blueprint import GROUP_BINDING

EXECUTOR = "/api/v3/flows/executor/default-authentication-flow/"
USER = "authentik_core.user"


@pytest.fixture
def instance() -> Instance:
    return Instance(whole())


def claims_of(token: str, kind: str = "rsa", name: str = "signing") -> dict[str, Any]:
    """What a token says, verified with the public key of the certificate only."""
    public = x509.load_pem_x509_certificate(key_pair(kind, name)[0].encode()).public_key()
    return dict(jwt.decode(token, public, algorithms=["RS256", "ES256"], audience="reflector", issuer=ISSUER))  # type: ignore[arg-type]


def tokens_of(browser: TestClient, **changes: str) -> dict[str, Any]:
    """Sign in and exchange the code."""
    answer = exchange(browser, grant_type="authorization_code", code=code_of(browser, **changes), redirect_uri=REDIRECT)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refreshed(browser: TestClient, token: str, **form: str) -> Any:
    """Refresh by a login in the body, as next-auth does."""
    login = {"client_id": "reflector", "client_secret": SECRET}
    return browser.post(
        "/application/o/token/", data={"grant_type": "refresh_token", "refresh_token": token} | login | form
    )


def user_entry(attrs: str) -> str:
    return document(f"\n  - model: {USER}\n    identifiers: {{username: ada}}\n    attrs: {attrs}\n")


def test_discovery_has_the_visitors_own_addresses(instance: Instance) -> None:
    answer = instance.browser().get("/application/o/reflector/.well-known/openid-configuration")
    found = answer.json()
    assert found["issuer"] == ISSUER
    assert found["token_endpoint"] == f"https://{HOST}/application/o/token/"
    assert found["jwks_uri"] == ISSUER + "jwks/"
    assert found["end_session_endpoint"] == ISSUER + "end-session/"
    assert found["id_token_signing_alg_values_supported"] == ["RS256"]
    assert found["scopes_supported"] == ["email", "offline_access", "openid", "profile"]
    assert answer.headers["x-powered-by"] == "authentik"


def test_forwarded_headers_count_from_a_trusted_proxy_only(instance: Instance) -> None:
    path = "/application/o/reflector/.well-known/openid-configuration"
    for peer, expected in (("fd00::9", ISSUER), ("::ffff:10.1.0.9", ISSUER), ("10.2.0.9", "forged")):
        browser = TestClient(
            application(instance.authentik),
            base_url="http://authentik:9000",
            headers={"x-forwarded-proto": "https", "x-forwarded-host": HOST},
            client=(peer, 1),
        )
        issuer = browser.get(path).json()["issuer"]
        assert issuer == ("http://authentik:9000/application/o/reflector/" if expected == "forged" else expected)


def test_paths_without_and_with_a_slash_too_many_are_none(instance: Instance) -> None:
    browser = instance.browser()
    assert browser.get("/application/o/reflector/.well-known/openid-configuration/").status_code == 404
    assert browser.get("/application/o/reflector/jwks").status_code == 404
    assert browser.post("/application/o/token", data={}).status_code == 405
    assert browser.get("/application/o/token/").status_code == 405
    assert browser.get("/application/o/authorize/").status_code == 404
    assert browser.get("/application/o/other/jwks/").status_code == 404
    assert browser.get("/application/o/reflector/").headers["location"].endswith("/.well-known/openid-configuration")
    assert browser.get("/api/v3/managed/blueprints/").status_code == 403
    assert browser.get("/nothing").status_code == 404


def test_jwks_is_our_key_with_our_certificate(instance: Instance) -> None:
    certificate, key = key_pair()
    (found,) = instance.browser().get("/application/o/reflector/jwks/").json()["keys"]
    der = x509.load_pem_x509_certificate(certificate.encode()).public_bytes(Encoding.DER)
    assert found["x5c"] == [base64.b64encode(der).decode()]
    kid = base64.urlsafe_b64encode(hashlib.sha512(key.strip().encode()).digest()).decode().rstrip("=")
    assert (found["kid"], len(kid)) == (kid, 86)
    assert jwt.PyJWK(found).algorithm_name == "RS256"
    instance.apply(document(certificate_entry(key_pair("ec"))))
    (found,) = instance.browser().get("/application/o/reflector/jwks/").json()["keys"]
    assert (found["kty"], found["alg"], found["crv"]) == ("EC", "ES256", "P-256")
    instance.apply(
        document(
            "\n  - model: authentik_crypto.certificatekeypair\n    identifiers: {name: Reflector}\n    state: absent\n"
        )
    )
    assert instance.browser().get("/application/o/reflector/jwks/").json() == {}
    path = "/application/o/reflector/.well-known/openid-configuration"
    assert instance.browser().get(path).json()["id_token_signing_alg_values_supported"] == ["HS256"]


def test_who_has_not_signed_in_is_led_into_the_flow(instance: Instance) -> None:
    answer = instance.browser().get(authorize_path())
    location = urlsplit(answer.headers["location"])
    assert (answer.status_code, location.netloc) == (302, "")
    assert location.path == "/if/flow/default-authentication-flow/"
    query = parse_qs(location.query)
    assert query["next"] == [authorize_path()]
    assert query["client_id"] == ["reflector"]


@pytest.mark.parametrize(
    ("uri", "title"),
    [
        (REDIRECT + "/", "Redirect URI Error"),
        ("https://elsewhere.example/", "Redirect URI Error"),
        ("", "Redirect URI"),
    ],
)
def test_a_foreign_redirect_uri_gets_a_page(instance: Instance, uri: str, title: str) -> None:
    answer = instance.browser().get(authorize_path(redirect_uri=uri))
    assert (answer.status_code, title in answer.text) == (400, True)
    assert "location" not in answer.headers


def test_an_unknown_client_gets_a_page(instance: Instance) -> None:
    answer = instance.browser().get(authorize_path(client_id="other"))
    assert (answer.status_code, "Client ID Error" in answer.text) == (400, True)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "id_token"}, "invalid_request"),
        ({"code_challenge": "x", "code_challenge_method": "S512"}, "invalid_request"),
        ({"request": "x"}, "request_not_supported"),
        ({"prompt": "none"}, "login_required"),
    ],
)
def test_other_mistakes_are_told_to_the_client(instance: Instance, changes: dict[str, str], error: str) -> None:
    answer = instance.browser().get(authorize_path(**changes))
    assert answer.status_code == 302
    assert answer.headers["location"].startswith(f"{REDIRECT}?error={error}&error_description=")
    assert answer.headers["location"].endswith("&state=some-state")


def test_empty_grant_types_lead_back_with_an_error_and_hide_a_wrong_secret(instance: Instance) -> None:
    async def empty() -> None:
        async with instance.store.change() as registry:
            registry.all("authentik_providers_oauth2.oauth2provider")[0]["grant_types"] = []

    asyncio.run(empty())
    browser = instance.browser()
    assert "error=invalid_request" in browser.get(authorize_path()).headers["location"]
    for secret in (SECRET, "wrong"):
        assert exchange(browser, secret, grant_type="authorization_code").json()["error"] == "invalid_grant"


def test_the_whole_code_flow(instance: Instance) -> None:
    browser = instance.browser()
    found = tokens_of(browser, nonce="n-1")
    assert set(found) == {"access_token", "token_type", "scope", "expires_in", "id_token", "refresh_token"}
    assert (found["token_type"], found["expires_in"]) == ("Bearer", 300)
    access, identity = claims_of(found["access_token"]), claims_of(found["id_token"])
    assert identity["sub"] == "local:ada@reflector.example"
    assert (identity["email"], identity["email_verified"]) == ("ada@reflector.example", False)
    assert (identity["groups"], identity["preferred_username"], identity["nonce"]) == (["Meetings"], "ada", "n-1")
    assert access["exp"] - access["iat"] == 300
    assert {**identity, "azp": "reflector", "uid": access["uid"], "scope": access["scope"]} == access
    header = jwt.get_unverified_header(found["access_token"])
    assert (header["alg"], len(header["kid"])) == ("RS256", 86)
    user = browser.get("/application/o/userinfo/", headers={"authorization": f"Bearer {found['access_token']}"}).json()
    assert (user["sub"], user["email"], user["nonce"]) == (identity["sub"], identity["email"], "n-1")
    # Signed in, nothing is asked again.
    assert browser.get(authorize_path()).headers["location"].startswith(REDIRECT + "?code=")


def test_a_user_without_upn_is_the_hashed_id(instance: Instance) -> None:
    instance.apply(user_entry("{attributes: {}}"))
    subject = claims_of(tokens_of(instance.browser())["id_token"])["sub"]
    assert len(subject) == 64
    assert claims_of(tokens_of(instance.browser())["id_token"])["sub"] == subject
    instance.apply(document(PROVIDER.replace("user_upn", "user_email")))
    assert claims_of(tokens_of(instance.browser())["id_token"])["sub"] == "ada@reflector.example"


def test_without_claims_in_the_id_token_there_is_no_address_in_the_access_token(instance: Instance) -> None:
    instance.apply(document(PROVIDER.replace("claims_in_id_token: true", "claims_in_id_token: false")))
    found = tokens_of(instance.browser())
    assert "email" not in claims_of(found["access_token"])


def test_without_offline_access_there_is_no_refresh_token(instance: Instance) -> None:
    assert "refresh_token" not in tokens_of(instance.browser(), scope="openid email")


def test_a_code_is_good_once_and_only_for_whom_it_was_made(instance: Instance) -> None:
    browser = instance.browser()
    form = {"grant_type": "authorization_code", "redirect_uri": REDIRECT}
    code = code_of(browser)
    assert exchange(browser, "wrong", code=code, **form).json()["error"] == "invalid_client"
    assert exchange(browser, **{**form, "redirect_uri": REDIRECT + "/"}, code=code).json()["error"] == "invalid_client"
    assert exchange(browser, code=code, code_verifier="x", **form).json()["error"] == "invalid_grant"
    assert exchange(browser, code=code, **form).status_code == 200
    again = exchange(browser, code=code, **form)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert set(again.json()) == {"error", "error_description", "request_id"}
    assert exchange(browser, grant_type="authorization_code").json()["error"] == "invalid_grant"
    assert exchange(browser, grant_type="client_credentials").json()["error"] == "invalid_grant"
    unknown = browser.post("/application/o/token/", data=form, auth=("nobody", "x"))
    assert (unknown.status_code, unknown.json()["error"]) == (400, "invalid_client")


@pytest.mark.parametrize("method", ["S256", "plain"])
def test_pkce(instance: Instance, method: str) -> None:
    browser, verifier = instance.browser(), "v" * 50
    challenge = verifier
    if method == "S256":
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    code = code_of(browser, code_challenge=challenge, code_challenge_method=method)
    form = {"grant_type": "authorization_code", "redirect_uri": REDIRECT, "code": code}
    assert exchange(browser, **form).json()["error"] == "invalid_grant"
    assert exchange(browser, code_verifier="w" * 50, **form).json()["error"] == "invalid_grant"
    assert exchange(browser, code_verifier=verifier, **form).status_code == 200


def test_a_refresh_token_is_replaced_and_its_reuse_refused(instance: Instance) -> None:
    browser = instance.browser()
    first = tokens_of(browser)["refresh_token"]
    answer = refreshed(browser, first).json()
    assert claims_of(answer["access_token"])["sub"] == "local:ada@reflector.example"
    assert answer["refresh_token"] != first
    assert refreshed(browser, first).json()["error"] == "invalid_grant"
    assert refreshed(browser, answer["refresh_token"], client_secret="wrong").json()["error"] == "invalid_client"
    assert refreshed(browser, answer["refresh_token"], scope="openid").json()["error"] == "invalid_scope"
    assert refreshed(browser, answer["refresh_token"]).status_code == 200


def test_with_a_threshold_the_refresh_token_stays_and_is_not_sent(instance: Instance) -> None:
    instance.apply(document(PROVIDER.replace("threshold: seconds=0", "threshold: minutes=1")))
    browser = instance.browser()
    first = tokens_of(browser)["refresh_token"]
    for _ in range(2):
        assert "refresh_token" not in refreshed(browser, first).json()


def test_lifetimes_end(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = instance.browser()
    found = tokens_of(browser)
    code = code_of_signed_in(browser)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 301)
    bearer = {"authorization": f"Bearer {found['access_token']}"}
    answer = browser.get("/application/o/userinfo/", headers=bearer)
    assert (answer.status_code, 'error="invalid_token"' in answer.headers["www-authenticate"]) == (401, True)
    late = exchange(browser, grant_type="authorization_code", code=code, redirect_uri=REDIRECT)
    assert late.json()["error"] == "invalid_grant"
    assert refreshed(browser, found["refresh_token"]).status_code == 200
    monkeypatch.setattr(time, "time", lambda: now + 31 * 24 * 3600)
    assert refreshed(browser, found["refresh_token"]).json()["error"] == "invalid_grant"


def code_of_signed_in(browser: TestClient) -> str:
    return str(browser.get(authorize_path()).headers["location"].split("code=")[1].split("&")[0])


def test_a_new_key_and_secret_count_at_once_and_refresh_tokens_live_on(instance: Instance) -> None:
    browser = instance.browser()
    found = tokens_of(browser)
    instance.apply(document(certificate_entry(key_pair(name="next")), PROVIDER.replace(SECRET, "another-secret")))
    assert refreshed(browser, found["refresh_token"]).json()["error"] == "invalid_client"
    answer = refreshed(browser, found["refresh_token"], client_secret="another-secret").json()
    assert claims_of(answer["access_token"], name="next")
    with pytest.raises(jwt.InvalidSignatureError):
        claims_of(answer["access_token"])


def test_who_is_not_in_the_group_is_told_so_with_status_200(instance: Instance) -> None:
    browser = instance.browser()
    found = tokens_of(browser)
    instance.apply(whole(GROUP_BINDING))
    assert browser.get(authorize_path()).headers["location"].startswith(REDIRECT)
    instance.apply(user_entry("{groups: []}"))
    answer = browser.get(authorize_path())
    assert (answer.status_code, "Permission denied" in answer.text) == (200, True)
    # The token endpoint asks no policy: the refresh goes on, without the group.
    again = refreshed(browser, found["refresh_token"])
    assert (again.status_code, claims_of(again.json()["access_token"])["groups"]) == (200, [])
    administrator = instance.browser()
    back = sign_in(administrator, authorize_path(), "akadmin", ADMIN_PASSWORD).headers["location"]
    administrator.follow_redirects = True
    answer = administrator.get(back)
    assert "Permission denied" in answer.text


def test_an_inactive_users_tokens_die_and_stay_dead(instance: Instance) -> None:
    browser = instance.browser()
    found = tokens_of(browser)
    instance.apply(user_entry("{is_active: false}"))
    assert refreshed(browser, found["refresh_token"]).json()["error"] == "invalid_grant"
    assert browser.get(authorize_path()).headers["location"].startswith("/if/flow/")
    bearer = {"authorization": f"Bearer {found['access_token']}"}
    assert browser.get("/application/o/userinfo/", headers=bearer).status_code == 401
    assert "Invalid password" in sign_in(instance.browser(), authorize_path()).text
    instance.apply(user_entry("{is_active: true}"))
    assert refreshed(browser, found["refresh_token"]).json()["error"] == "invalid_grant"
    assert tokens_of(instance.browser())


def test_tokens_can_be_inspected_and_taken_back(instance: Instance) -> None:
    browser = instance.browser()
    found = tokens_of(browser)

    def ask(endpoint: str, token: str, secret: str = SECRET) -> Any:
        return browser.post(f"/application/o/{endpoint}/", data={"token": token}, auth=("reflector", secret))

    said = ask("introspect", found["access_token"]).json()
    assert (said["active"], said["sub"], said["client_id"]) == (True, "local:ada@reflector.example", "reflector")
    assert ask("introspect", found["access_token"], "wrong").json() == {"active": False}
    assert ask("revoke", found["refresh_token"], "wrong").status_code == 401
    assert ask("revoke", found["refresh_token"]).status_code == 200
    assert ask("introspect", found["refresh_token"]).json() == {"active": False}
    assert refreshed(browser, found["refresh_token"]).json()["error"] == "invalid_grant"


def test_leaving_the_application_leaves_the_session(instance: Instance) -> None:
    browser = instance.browser()
    found = tokens_of(browser)
    answer = browser.get("/application/o/reflector/end-session/")
    assert answer.headers["location"] == "/if/flow/default-provider-invalidation-flow/"
    page = browser.get(answer.headers["location"])
    assert "You&#x27;ve logged out of Reflector." in page.text
    assert "Log out of Meetings of ours" in page.text
    bearer = {"authorization": f"Bearer {found['access_token']}"}
    assert browser.get("/application/o/userinfo/", headers=bearer).status_code == 401
    assert refreshed(browser, found["refresh_token"]).status_code == 200
    assert browser.get(authorize_path()).headers["location"].startswith(REDIRECT)
    answer = browser.get("/if/flow/default-invalidation-flow/")
    assert answer.headers["location"] == "/"
    assert "authentik_session" not in browser.cookies
    assert browser.get(authorize_path()).headers["location"].startswith("/if/flow/")


def test_a_way_back_after_leaving_has_to_be_registered_and_proved(instance: Instance) -> None:
    browser = instance.browser()
    found = tokens_of(browser)
    back, path = "https://reflector.example:8443/bye", "/application/o/reflector/end-session/"
    assert browser.get(path, params={"post_logout_redirect_uri": back}).status_code == 400
    given = {"post_logout_redirect_uri": back, "id_token_hint": found["id_token"], "state": "s"}
    assert browser.get(path, params=given).status_code == 400
    more = f'}}, {{matching_mode: strict, url: "{back}", redirect_uri_type: logout}}]'
    instance.apply(
        document(PROVIDER.replace("redirect_uri_type: authorization}]", "redirect_uri_type: authorization" + more))
    )
    page = browser.get(browser.get(path, params=given).headers["location"])
    assert page.headers["location"] == back + "?state=s"
    assert browser.get(path, params=given | {"id_token_hint": "x"}).status_code == 400


def test_signing_in_again_when_asked_for(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = instance.browser()
    code_of(browser)
    answer = sign_in(browser, authorize_path(prompt="login"))
    while answer.headers["location"].startswith("/"):
        answer = browser.get(answer.headers["location"])
    assert answer.headers["location"].startswith(REDIRECT + "?code=")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 100)
    assert browser.get(authorize_path(max_age="1000")).headers["location"].startswith(REDIRECT)
    assert browser.get(authorize_path(max_age="60")).headers["location"].startswith("/if/flow/")


def test_the_executor_answers_as_a_script_asks(instance: Instance) -> None:
    browser = instance.browser()
    query = {"query": "next=/application/o/authorize/"}
    asked = browser.get(EXECUTOR, params=query).json()
    assert (asked["component"], asked["user_fields"]) == ("ak-stage-identification", ["email", "username"])
    assert asked["flow_info"]["title"] == "Welcome to authentik!"
    refused = browser.post(EXECUTOR, params=query, json={"component": "ak-stage-identification"}).json()
    assert refused["response_errors"]["non_field_errors"][0]["string"] == "No identification data provided."
    answer = browser.post(EXECUTOR, params=query, json={"uid_field": "Root@Reflector.example"})
    assert (answer.status_code, answer.headers["location"]) == (302, f"{EXECUTOR}?{answer.request.url.query.decode()}")
    asked = browser.get(answer.headers["location"]).json()
    assert (asked["component"], asked["pending_user"]) == ("ak-stage-password", "Root@Reflector.example")
    wrong = browser.post(EXECUTOR, params=query, json={"password": "wrong"})
    assert wrong.status_code == 200
    assert wrong.json()["response_errors"] == {"password": [{"string": "Invalid password", "code": "invalid"}]}
    assert browser.get("/api/v3/core/users/me/").status_code == 403
    answer = browser.post(EXECUTOR, params=query, json={"password": ADMIN_PASSWORD})
    # The stage for second factors is passed over, by a redirect of its own.
    again = browser.get(answer.headers["location"])
    assert (answer.status_code, again.status_code) == (302, 302)
    done = browser.get(again.headers["location"])
    assert done.json() == {"component": "xak-flow-redirect", "to": "/application/o/authorize/"}
    cookie = done.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("authentik_session=", "httponly", "secure", "samesite=none", "path=/"))
    assert "max-age" not in cookie
    me = browser.get("/api/v3/core/users/me/").json()["user"]
    assert (me["username"], me["is_superuser"], me["groups"][0]["name"]) == ("akadmin", True, "authentik Admins")


def test_a_form_does_as_well_and_an_unknown_user_is_found_out_with_the_password(instance: Instance) -> None:
    browser = instance.browser()
    browser.follow_redirects = True
    asked = browser.post(EXECUTOR, data={"uid_field": "nobody"}).json()
    assert asked["component"] == "ak-stage-password"
    for _ in range(4):
        assert browser.post(EXECUTOR, data={"password": "x"}).json()["component"] == "ak-stage-password"
    ended = browser.post(EXECUTOR, data={"password": "x"}).json()
    assert (ended["component"], ended["error_message"]) == ("ak-stage-access-denied", "Invalid password")
    assert browser.get("/api/v3/flows/executor/no-such-flow/").status_code == 404


def test_a_flow_leads_to_no_other_host(instance: Instance) -> None:
    browser = instance.browser()
    browser.follow_redirects = True
    query = {"query": "next=//elsewhere.example/"}
    browser.post(EXECUTOR, params=query, json={"uid_field": "ada"})
    ended = browser.post(EXECUTOR, params=query, json={"password": "first password"}).json()
    assert (ended["component"], ended["error_message"]) == ("ak-stage-access-denied", "Invalid next URL")


def test_another_secret_key_signs_everybody_out(instance: Instance) -> None:
    browser = instance.browser()
    code_of(browser)
    instance.authentik.settings = Settings.from_environment(Environment(VARIABLES | {"AUTHENTIK_SECRET_KEY": "n" * 60}))
    assert browser.get(authorize_path()).headers["location"].startswith("/if/flow/")


def test_pages_have_the_brands_title(instance: Instance) -> None:
    browser = instance.browser()
    assert browser.get("/").headers["location"] == "/flows/-/default/authentication/?next=/"
    page = browser.get(browser.get("/flows/-/default/authentication/?next=/if/user/").headers["location"])
    assert "<title>Welcome to authentik! - Meetings of ours</title>" in page.text
    assert "<script" not in page.text
    answer = sign_in(browser, "/flows/-/default/authentication/?next=/if/user/")
    browser.follow_redirects = True
    page = browser.get(answer.headers["location"])
    assert '<a href="https://reflector.example:8443">Reflector</a>' in page.text
    assert "gravatar" not in page.text


def test_set_up_is_over_after_a_first_start_with_a_hash(instance: Instance) -> None:
    browser = instance.browser()
    denied = browser.get("/api/v3/flows/executor/initial-setup/").json()
    assert denied["component"] == "ak-stage-access-denied"
    assert browser.get("/setup").headers["location"] == "/"
    assert browser.head("/setup").status_code == 503
    assert browser.get("/if/flow/initial-setup/").status_code == 200
    asyncio.run(instance.authentik.check_bootstrap())


@pytest.mark.parametrize("value", ["", "pbkdf2:sha256:1000$a$b", "a password"])
def test_without_a_good_hash_set_up_is_open_to_the_first_visitor(value: str) -> None:
    instance = Instance(AUTHENTIK_BOOTSTRAP_PASSWORD_HASH=value)
    with pytest.raises(Exception, match="set-up is open to the first visitor"):
        asyncio.run(instance.authentik.check_bootstrap())
    browser = instance.browser()
    browser.follow_redirects = True
    executor = "/api/v3/flows/executor/initial-setup/"
    assert browser.get(executor).json()["component"] == "ak-stage-access-denied"
    assert str(browser.get("/").url).endswith("/if/flow/initial-setup/")
    assert browser.get(executor).json()["component"] == "ak-stage-prompt"
    given = {"email": "first@visitor.example", "password": "mine", "password_repeat": "other"}
    assert "response_errors" in browser.post(executor, json=given).json()
    assert browser.post(executor, json=given | {"password_repeat": "mine"}).json()["component"] == "xak-flow-redirect"
    assert instance.object(USER, username="akadmin")["email"] == "first@visitor.example"
    assert instance.browser().get("/setup").headers["location"] == "/"


def test_the_administrator_is_made_at_the_first_start_only(instance: Instance) -> None:
    before = instance.object(USER, username="akadmin")
    env = Environment(VARIABLES | {"AUTHENTIK_BOOTSTRAP_PASSWORD_HASH": "pbkdf2_sha256$1$a$" + "A" * 43 + "="})
    again = Authentik(Settings.from_environment(env), instance.store, env, BLUEPRINTS)
    asyncio.run(again.begin())
    assert instance.object(USER, username="akadmin") == before


def test_while_it_starts_it_says_so() -> None:
    env = Environment(VARIABLES)
    authentik = Authentik(Settings.from_environment(env), MemoryStore(), env, BLUEPRINTS)
    browser = TestClient(application(authentik))
    paths = ("/-/health/live/", "/-/health/ready/", "/application/o/reflector/jwks/", "/nothing")

    def statuses() -> list[int]:
        return [browser.get(path).status_code for path in paths]

    assert authentik.phase == STARTING
    assert statuses() == [502, 503, 503, 503]
    answer = browser.get("/", headers={"accept": "application/json"})
    assert (answer.json(), answer.headers["retry-after"]) == ({"error": "authentik starting"}, "5")
    asyncio.run(authentik.begin())
    assert statuses() == [200, 503, 503, 503]
    authentik.phase = 2
    assert statuses() == [200, 200, 404, 404]


def test_the_worker_makes_what_is_packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probe.authentik.STORM_SECONDS", 0.0)
    monkeypatch.setattr("probe.authentik.STORM_STEP_SECONDS", 0.0)
    env = Environment(VARIABLES | {"AUTHENTIK_DISABLE_UPDATE_CHECK": "true"})
    store = MemoryStore()
    worker = Authentik(Settings.from_environment(env), store, env, BLUEPRINTS)

    async def run() -> None:
        working = asyncio.create_task(worker.work())
        while not (brand := (await store.registry()).find("authentik_brands.brand", {"domain": "authentik-default"})):
            await asyncio.sleep(0.01)
            assert not working.done()
        registry = await store.registry()
        while registry.find("authentik_flows.flow", {"slug": "initial-setup"}) is None or (
            len(registry.all("authentik_providers_oauth2.scopemapping")) < 5
        ):
            await asyncio.sleep(0.01)
            registry = await store.registry()
        working.cancel()
        assert brand["default"] is True
        assert registry.get("authentik_flows.flow", brand["flow_authentication"]) is not None

    asyncio.run(asyncio.wait_for(run(), 20))


def test_the_worker_applies_what_it_finds_unless_the_label_says_not_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("probe.authentik.WATCH_SECONDS", 0.01)
    env, store = Environment(VARIABLES), MemoryStore()
    worker = Authentik(Settings.from_environment(env), store, env, tmp_path)
    label = 'labels: {blueprints.goauthentik.io/instantiate: "false"}'
    group = "\n  - model: authentik_core.group\n    identifiers: {name: %s}\n"

    async def names() -> set[str]:
        return {item["name"] for item in (await store.registry()).all("authentik_core.group")}

    async def run() -> None:
        watching = asyncio.create_task(worker.watch())
        written(tmp_path, "a.yaml", document(group % "no").replace("name: Reflector", "name: Reflector, " + label))
        written(tmp_path, "b.yaml", "version: [")
        written(tmp_path, "c.yaml", document(group % "one"))
        while await names() != {"one"}:
            await asyncio.sleep(0.01)
        written(tmp_path, "c.yaml", document(group % "two"))
        while await names() != {"one", "two"}:
            await asyncio.sleep(0.01)
        watching.cancel()

    asyncio.run(asyncio.wait_for(run(), 20))
    assert "b.yaml cannot be applied: ParserError" in caplog.text


def test_a_visitors_address_is_the_last_that_is_no_proxys(instance: Instance, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    browser = instance.browser(**{"x-forwarded-for": "1.1.1.1, 198.51.100.7, 10.1.0.3"})
    code_of(browser)
    assert "ada signed in from 198.51.100.7" in caplog.text
    sign_in(instance.browser("203.0.113.9", **{"x-forwarded-for": "1.1.1.1"}), authorize_path())
    assert "ada signed in" in caplog.text


def test_messages_come_over_a_web_socket(instance: Instance) -> None:
    with instance.browser().websocket_connect("/ws/client/") as socket:
        socket.send_text("{}")


def test_a_member_of_a_group_below_is_a_member(instance: Instance) -> None:
    parent = find("authentik_core.group", name="All")
    instance.apply(
        document(
            "\n  - model: authentik_core.group\n    identifiers: {name: All}\n",
            "\n  - model: authentik_core.group\n    identifiers: {name: Meetings}\n",
            f"    attrs: {{parents: [{parent}]}}\n",
            GROUP_BINDING.replace("Meetings", "All"),
        )
    )
    assert tokens_of(instance.browser())
