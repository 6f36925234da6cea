"""The front end's sign-in: at a provider, with a password, and what becomes of a session."""

import asyncio
import html
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from probe import redis_client, web, web_auth, web_openid, web_session
from probe.edge import default_context
from probe.environment import Environment
from probe.web_cookies import CookieError, Cookies, decrypt, encrypt
from probe.wiring import WiringError

from testing.sign_in import CLIENT_SECRET, Backend, FakeRedis, Provider, jwk, signing_key

SECRET = "0123456789abcdef0123456789abcdef"
SITE = "https://r.test:8443"
ISSUER = "https://auth.r.test:8443/application/o/reflector"
VALUES = {
    "NEXTAUTH_URL": SITE,
    "NEXTAUTH_SECRET": SECRET,
    "SERVER_API_URL": "http://server:1250",
    "KV_URL": "redis://redis:6379/0",
    "FEATURE_REQUIRE_LOGIN": "true",
}
AUTHENTIK = VALUES | {
    "AUTH_PROVIDER": "authentik",
    "AUTHENTIK_CLIENT_ID": "reflector",
    "AUTHENTIK_CLIENT_SECRET": CLIENT_SECRET,
    "AUTHENTIK_ISSUER": ISSUER,
    "AUTHENTIK_REFRESH_TOKEN_URL": "https://auth.r.test:8443/application/o/token/",
}
PASSWORD = VALUES | {"AUTH_PROVIDER": "credentials"}

FOREIGN = signing_key("foreign")


class World:
    """A front end with all it speaks to, and a browser before it."""

    def __init__(self, values: dict[str, str], redis: FakeRedis) -> None:
        self.provider = Provider("https://auth.r.test:8443", f"{SITE}/api/auth/callback/authentik")
        self.backend, self.redis = Backend(), redis
        self.auth = web_auth.Auth(Environment(values), self.http)
        self.app = web.application(Environment(values), self.auth)

    def http(self) -> httpx.AsyncClient:
        transports: dict[str, httpx.AsyncBaseTransport | None] = {
            "all://auth.r.test": httpx.ASGITransport(app=self.provider.app()),
            "all://server": httpx.ASGITransport(app=self.backend.app()),
        }
        return httpx.AsyncClient(mounts=transports, verify=default_context())

    def browse(self, visit: Callable[["Browser"], Awaitable[None]]) -> None:
        async def run() -> None:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=SITE) as client:
                await visit(Browser(self, client))

        asyncio.run(run())


class Browser:
    """Goes through pages by their links and forms."""

    def __init__(self, world: World, client: httpx.AsyncClient) -> None:
        self.world, self.client = world, client
        self.page = httpx.Response(204)

    async def go(self, method: str, url: str, **request: Any) -> httpx.Response:
        """Go there, and on where it leads on this site."""
        self.page = await self.client.request(method, url, **request)
        while self.page.has_redirect_location and self.page.next_request is not None:
            if self.page.next_request.url.host != "r.test":
                break
            self.page = await self.client.get(str(self.page.next_request.url))
        return self.page

    async def submit(self, **fields: str) -> httpx.Response:
        """Fill in and send the page's only form."""
        (form,) = re.findall(r"<form action=\"([^\"]+)\" method=\"POST\">(.*?)</form>", self.page.text)
        hidden = dict(re.findall(r"type=\"hidden\" name=\"([^\"]+)\" value=\"([^\"]*)\"", form[1]))
        filled = {name: html.unescape(value) for name, value in hidden.items()} | fields
        return await self.go("POST", html.unescape(form[0]), data=filled)

    async def to_provider(self) -> str:
        """Press the buttons up to the provider; returns where the browser is sent."""
        await self.go("GET", "/")
        assert '<a id="log-in" href="/api/auth/signin">' in self.page.text
        await self.go("GET", "/api/auth/signin")
        assert "Sign in with Authentik" in self.page.text
        return str((await self.submit()).headers["location"])

    async def sign_in(self) -> httpx.Response:
        """Go the whole way, and end on the page the provider's answer leads to."""
        back = self.world.provider.authorize(await self.to_provider())
        return await self.go("GET", "/api/auth/callback/authentik", params=back)

    async def session(self) -> dict[str, Any]:
        answer = await self.client.get("/api/auth/session")
        assert answer.status_code == 200
        told: dict[str, Any] = answer.json()
        return told

    @property
    def cookies(self) -> set[str]:
        return {cookie.name for cookie in self.client.cookies.jar}


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> FakeRedis:
    made = FakeRedis()
    monkeypatch.setattr(redis_client, "connection", made.connection)
    return made


@pytest.fixture
def world(redis: FakeRedis) -> World:
    return World(AUTHENTIK, redis)


def test_somebody_signs_in_at_the_provider_and_out_again(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    async def visit(browser: Browser) -> None:
        target = await browser.to_provider()
        asked = {name: value for name, (value,) in parse_qs(urlsplit(target).query).items()}
        assert target.startswith("https://auth.r.test:8443/application/o/authorize/?")
        assert {"__Secure-next-auth.state", "__Secure-next-auth.pkce.code_verifier"} <= browser.cookies
        assert "__Host-next-auth.csrf-token" in browser.cookies
        assert asked.pop("state") and asked.pop("code_challenge")
        assert asked == {
            "client_id": "reflector",
            "scope": "openid email profile offline_access",
            "response_type": "code",
            "redirect_uri": f"{SITE}/api/auth/callback/authentik",
            "code_challenge_method": "S256",
        }
        back = world.provider.authorize(target)
        await browser.go("GET", "/api/auth/callback/authentik", params=back)
        assert (browser.page.url, browser.page.status_code) == (httpx.URL(f"{SITE}"), 200)
        assert '<span id="who" data-user-id="row-1">ada@example.org</span>' in browser.page.text
        assert browser.cookies == {
            "__Host-next-auth.csrf-token",
            "__Secure-next-auth.callback-url",
            "__Secure-next-auth.session-token",
        }
        told = await browser.session()
        assert told["user"] == {"id": "row-1", "name": "Ada", "email": "ada@example.org"}
        assert told["accessToken"] == "access-1"
        assert 3590_000 < told["accessTokenExpires"] - time.time() * 1000 <= 3600_000
        kept = json.loads(world.redis.keys["token:hashed-id"])["token"]
        assert (kept["accessToken"], kept["refreshToken"]) == ("access-1", "refresh-1")
        await browser.go("GET", "/")
        await browser.submit()
        assert browser.page.url == httpx.URL(f"{SITE}/")
        assert 'id="log-in"' in browser.page.text
        assert await browser.session() == {}
        # Sign-out is between browser and front end only.
        assert "token:hashed-id" in world.redis.keys

    world.browse(visit)
    assert "accessToken: 'access-1'" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["name", "preferred_username"])
def test_the_name_is_taken_from_what_the_provider_calls_it(world: World, name: str) -> None:
    world.provider.claims |= {"name": None, name: "ada"}

    async def visit(browser: Browser) -> None:
        await browser.sign_in()
        assert (await browser.session())["user"]["name"] == "ada"

    world.browse(visit)


NOW = int(time.time())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": "another"}, "aud mismatch, expected reflector, got: another"),
        ({"aud": ["another"]}, "aud is missing the client_id"),
        ({"aud": ["reflector", "another"]}, "missing required JWT property azp"),
        ({"azp": "another"}, "azp mismatch"),
        ({"iss": ISSUER}, "unexpected iss value"),
        ({"exp": NOW - 60}, "JWT expired"),
        ({"nbf": NOW + 3600}, "JWT not active yet"),
        ({"iat": "today"}, "must be a JSON numeric value"),
        ({"sub": None}, "missing required JWT property sub"),
        ({"nonce": "another-sign-in"}, "nonce mismatch"),
        ({"at_hash": "another-token"}, "at_hash mismatch"),
    ],
)
def test_an_id_token_that_says_something_wrong_is_refused(
    world: World, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], reason: str
) -> None:
    world.provider.claims |= changes
    refused(world, capsys, reason)


@pytest.mark.parametrize(
    ("sign", "reason"),
    [
        (lambda claims, _: jwt.encode(claims, FOREIGN, "RS256", {"kid": "key-1"}), "failed to validate JWT signature"),
        (lambda claims, key: jwt.encode(claims, key, "RS256", {"kid": "key-0"}), "no valid key found"),
        (lambda claims, _: jwt.encode(claims, CLIENT_SECRET * 2, "HS256"), "unexpected JWT alg received"),
        (lambda claims, _: jwt.encode(claims, "", "none"), "unexpected JWT alg received, expected RS256"),
        (lambda claims, _: "no token", "failed to decode JWT"),
    ],
)
def test_an_id_token_that_another_signed_is_refused(
    world: World,
    capsys: pytest.CaptureFixture[str],
    sign: Callable[[dict[str, Any], rsa.RSAPrivateKey], str],
    reason: str,
) -> None:
    world.provider.sign = lambda claims: sign(claims, world.provider.signing)
    refused(world, capsys, reason)


def test_two_keys_take_a_name(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.provider.keys = [jwk(FOREIGN, "key-0"), jwk(world.provider.signing, "key-1")]
    world.browse(lambda browser: signed_in(browser))
    world.provider.sign = lambda claims: jwt.encode(claims, world.provider.signing, "RS256")
    refused(world, capsys, "multiple matching keys found")


async def signed_in(browser: Browser) -> None:
    assert 'id="who"' in (await browser.sign_in()).text


def refused(world: World, capsys: pytest.CaptureFixture[str], reason: str) -> None:
    async def visit(browser: Browser) -> None:
        await browser.sign_in()
        assert browser.page.url == httpx.URL(f"{SITE}/api/auth/signin?error=OAuthCallback")
        assert "Try signing in with a different account." in browser.page.text
        assert await browser.session() == {}

    world.browse(visit)
    assert reason in capsys.readouterr().err
    assert world.redis.keys.keys() <= {"token:hashed-id"}


def test_a_wrong_client_secret_is_refused_in_the_provider_s_words(
    redis: FakeRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(AUTHENTIK | {"AUTHENTIK_CLIENT_SECRET": "another"}, redis)
    refused(world, capsys, "invalid_client (Client authentication failed)")


def test_the_provider_s_answer_must_be_to_this_browser_s_question(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    async def visit(browser: Browser) -> None:
        back = world.provider.authorize(await browser.to_provider())
        path = "/api/auth/callback/authentik"
        for query in (back | {"state": "another"}, {"code": back["code"]}, {"state": back["state"]}):
            await browser.go("GET", path, params=query)
            assert browser.page.url.query == b"error=OAuthCallback"
        await browser.go("GET", path, params=back | {"iss": "https://elsewhere.test"})
        assert browser.page.url.query == b"error=OAuthCallback"
        for cookie in ("__Secure-next-auth.state", "__Secure-next-auth.pkce.code_verifier"):
            kept = browser.client.cookies[cookie]
            browser.client.cookies.delete(cookie)
            await browser.go("GET", path, params=back)
            assert browser.page.url.query == b"error=OAuthCallback"
            browser.client.cookies.set(cookie, kept, domain="r.test", path="/")
        await browser.go("GET", path, params=back)
        assert 'id="who"' in browser.page.text
        await browser.go("GET", path, params={"error": "access_denied", "state": back["state"]})
        assert browser.page.url.query == b"error=Callback"

    world.browse(visit)
    said = capsys.readouterr().err
    for reason in ("state mismatch", "state missing from the response", "code missing", "iss mismatch", "was missing"):
        assert reason in said


@pytest.mark.parametrize(
    ("issuer", "reason"),
    [
        ("https://auth.r.test:8443/moved", "expected 200 OK, got: 301 Moved Permanently"),
        ("https://auth.r.test:8443/text", "expected 200 OK, got: 503 Service Unavailable"),
        (f"{ISSUER}/", "expected 200 OK, got: 404 Not Found"),
        (ISSUER, "outgoing request timed out after 50ms"),
    ],
)
def test_a_provider_that_cannot_be_asked_shows_before_the_browser_leaves(
    redis: FakeRedis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], issuer: str, reason: str
) -> None:
    world = World(AUTHENTIK | {"AUTHENTIK_ISSUER": issuer}, redis)
    if issuer == ISSUER:
        monkeypatch.setattr(web_openid, "REQUEST_SECONDS", 0.05)
        world.provider.pause = 1.0

    async def visit(browser: Browser) -> None:
        await browser.go("GET", "/api/auth/signin")
        await browser.submit()
        assert browser.page.url == httpx.URL(f"{SITE}/api/auth/signin?error=OAuthSignin")

    world.browse(visit)
    said = capsys.readouterr().err
    assert "[next-auth][error][SIGNIN_OAUTH_ERROR]" in said and reason in said


def test_a_form_of_another_site_starts_nothing(world: World) -> None:
    async def visit(browser: Browser) -> None:
        for path in ("signin/authentik", "signout"):
            await browser.go("GET", "/api/auth/signin")
            answer = await browser.client.post(f"/api/auth/{path}", data={"csrfToken": "guessed"})
            assert answer.headers["location"].endswith("?csrf=true")
            answer = await browser.client.post(f"/api/auth/{path}")
            assert answer.headers["location"].endswith("?csrf=true")

    world.browse(visit)


@pytest.mark.parametrize(
    ("asked", "ends"),
    [
        ("/transcripts", f"{SITE}/transcripts"),
        (f"{SITE}/browse?x=1", f"{SITE}/browse?x=1"),
        ("https://elsewhere.test/", SITE),
        ("https://r.test/", SITE),
        ("https://r.test:8443@elsewhere.test/", SITE),
        ("https://[broken", SITE),
    ],
)
def test_a_sign_in_ends_on_this_site(world: World, asked: str, ends: str) -> None:
    async def visit(browser: Browser) -> None:
        await browser.go("GET", "/api/auth/signin", params={"callbackUrl": asked})
        back = world.provider.authorize(str((await browser.submit()).headers["location"]))
        answer = await browser.client.get("/api/auth/callback/authentik", params=back)
        assert answer.headers["location"] == ends

    world.browse(visit)


def test_next_auth_s_script_is_told_where_to_go(world: World) -> None:
    async def visit(browser: Browser) -> None:
        csrf = (await browser.client.get("/api/auth/csrf")).json()["csrfToken"]
        offered = (await browser.client.get("/api/auth/providers")).json()
        assert offered["authentik"]["signinUrl"] == f"{SITE}/api/auth/signin/authentik"
        body = {"csrfToken": csrf, "callbackUrl": SITE, "json": "true"}
        answer = await browser.client.post("/api/auth/signin/authentik", json=body)
        assert answer.json()["url"].startswith("https://auth.r.test:8443/application/o/authorize/?")

    world.browse(visit)


def test_a_usual_port_is_left_out_of_the_callback(redis: FakeRedis) -> None:
    world = World(AUTHENTIK | {"NEXTAUTH_URL": "https://r.test:443"}, redis)
    assert world.auth.client(world.auth.site).redirect_uri == "https://r.test/api/auth/callback/authentik"


def test_a_backend_that_refuses_the_token_ends_the_session(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    async def visit(browser: Browser) -> None:
        await browser.sign_in()
        world.backend.refuses = True
        assert await browser.session() == {}
        assert "__Secure-next-auth.session-token" not in browser.cookies
        assert 'id="log-in"' in (await browser.go("GET", "/")).text

    world.browse(visit)
    assert "[next-auth][error][JWT_SESSION_ERROR]" in capsys.readouterr().err


def test_without_redis_nobody_is_signed_in(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    async def visit(browser: Browser) -> None:
        back = world.provider.authorize(await browser.to_provider())
        world.redis.broken = True
        await browser.go("GET", "/api/auth/callback/authentik", params=back)
        assert browser.page.url.query == b"error=Callback"

    world.browse(visit)
    assert "OAUTH_CALLBACK_HANDLER_ERROR" in capsys.readouterr().err


def test_a_token_about_to_end_is_renewed_and_both_are_kept(world: World) -> None:
    world.provider.life = 120  # less than the four minutes that must be left

    async def visit(browser: Browser) -> None:
        await browser.sign_in()  # ends on the first page, which asks for the session
        assert world.provider.asked[1] == {
            "client_id": "reflector",
            "client_secret": CLIENT_SECRET,
            "grant_type": "refresh_token",
            "refresh_token": "refresh-1",
        }
        world.provider.life = 3600
        told = await browser.session()
        assert (told["accessToken"], world.provider.asked[2]["refresh_token"]) == ("access-3", "refresh-2")
        kept = json.loads(world.redis.keys["token:hashed-id"])["token"]
        assert (kept["accessToken"], kept["refreshToken"]) == ("access-3", "refresh-3")
        assert (await browser.session())["accessToken"] == "access-3"
        assert len(world.provider.asked) == 3

    world.browse(visit)


def test_after_a_provider_that_gives_no_new_refresh_token_the_next_renewal_fails(world: World) -> None:
    world.provider.life, world.provider.rotates = 120, False

    async def visit(browser: Browser) -> None:
        await browser.sign_in()
        assert (await browser.session())["error"] == web_session.REFRESH_ERROR
        assert world.provider.asked[-1]["refresh_token"] == "undefined"
        assert "token:hashed-id" not in world.redis.keys

    world.browse(visit)


def test_two_tabs_renew_once(world: World) -> None:
    async def visit(browser: Browser) -> None:
        await browser.sign_in()
        entry = json.loads(world.redis.keys["token:hashed-id"])
        entry["token"]["accessTokenExpires"] = time.time() * 1000 + 60_000
        world.redis.keys["token:hashed-id"] = json.dumps(entry)
        told = await asyncio.gather(*(browser.session() for _ in range(3)))
        assert {session["accessToken"] for session in told} == {"access-2"}
        assert len(world.provider.asked) == 2

    world.browse(visit)


def test_a_lock_somebody_else_keeps_too_long_ends_the_session(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_session, "LOCK_WAIT_SECONDS", (0.0, 0.0))

    async def visit(browser: Browser) -> None:
        await browser.sign_in()
        world.redis.keys["hashed-id-lock"] = "another's"
        world.redis.keys.pop("token:hashed-id")
        told = await browser.session()
        # The token of the cookie still holds for the backend, so the browser hears of both.
        assert (told["accessToken"], told["error"]) == ("access-1", web_session.REFRESH_ERROR)
        assert world.redis.keys["hashed-id-lock"] == "another's"

    world.browse(visit)


def test_what_redis_holds_of_another_kind_is_deleted_and_renewed(world: World) -> None:
    async def visit(browser: Browser) -> None:
        await browser.sign_in()
        for text in ("no JSON", "{}", '{"token": {"accessToken": 1, "accessTokenExpires": 2}, "timestamp": 3}'):
            world.redis.keys["token:hashed-id"] = text
            asked = len(world.provider.asked)
            assert (await browser.session())["accessToken"] == f"access-{asked + 1}"
            world.provider.refresh_tokens.add("refresh-1")

    world.browse(visit)


def test_a_long_token_takes_several_cookies(world: World) -> None:
    world.provider.padding = "x" * 6000
    name = "__Secure-next-auth.session-token"

    async def visit(browser: Browser) -> None:
        await browser.sign_in()
        parts = {cookie for cookie in browser.cookies if cookie.startswith(name)}
        assert parts == {f"{name}.{number}" for number in range(3)}
        assert all(len(cookie.value or "") <= 4096 for cookie in browser.client.cookies.jar)
        assert (await browser.session())["user"]["id"] == "row-1"
        world.provider.padding = ""
        await browser.go("GET", "/api/auth/signin")
        back = world.provider.authorize(str((await browser.submit()).headers["location"]))
        await browser.go("GET", "/api/auth/callback/authentik", params=back)
        assert {cookie for cookie in browser.cookies if cookie.startswith(name)} == {name}

    world.browse(visit)


@pytest.mark.parametrize("missing", [*web_openid.VARIABLES, "NEXTAUTH_SECRET", "NEXTAUTH_URL"])
def test_a_missing_variable_breaks_every_page_of_sign_in(redis: FakeRedis, missing: str) -> None:
    world = World({name: value for name, value in AUTHENTIK.items() if name != missing}, redis)

    async def visit(browser: Browser) -> None:
        for path in ("signin", "session"):
            assert (await browser.client.get(f"/api/auth/{path}")).status_code == 500
        assert (await browser.client.get("/")).status_code == 200

    world.browse(visit)


def test_the_administrator_signs_in_with_his_password(redis: FakeRedis, capsys: pytest.CaptureFixture[str]) -> None:
    async def visit(browser: Browser) -> None:
        await browser.go("GET", "/api/auth/signin")
        assert browser.page.url.path == "/login"
        await browser.submit(email="admin@localhost", password="wrong")
        assert browser.page.url.path == "/login"
        assert "Invalid email or password" in browser.page.text
        await browser.submit(email="admin@localhost", password="right")
        assert '<span id="who" data-user-id="row-1">admin@localhost</span>' in browser.page.text
        told = await browser.session()
        assert (told["user"]["id"], told["accessToken"]) == ("row-1", "own-token")
        await browser.go("GET", "/")
        await browser.submit()
        assert await browser.session() == {}

    World(PASSWORD, redis).browse(visit)
    # Upstream prints tokens of a provider only.
    assert "own-token" not in capsys.readouterr().out
    assert redis.keys == {}


def test_a_session_of_a_password_is_none_at_a_provider(redis: FakeRedis) -> None:
    passwords, provider = World(PASSWORD, redis), World(AUTHENTIK, redis)

    async def visit(browser: Browser) -> None:
        await browser.go("GET", "/login")
        await browser.submit(email="admin@localhost", password="right")
        provider.backend.refuses = True
        browser.client._transport = httpx.ASGITransport(app=provider.app)
        assert await browser.session() == {}

    passwords.browse(visit)


def test_nobody_signs_in_where_nobody_has_to(redis: FakeRedis) -> None:
    world = World(VALUES | {"FEATURE_REQUIRE_LOGIN": "false"}, redis)

    async def visit(browser: Browser) -> None:
        assert "log-in" not in (await browser.go("GET", "/")).text
        assert "<form" not in (await browser.go("GET", "/api/auth/signin")).text
        assert (await browser.client.get("/api/auth/providers")).json() == {}
        assert await browser.session() == {}
        assert (await browser.client.get("/api/auth/callback/authentik")).status_code == 400

    world.browse(visit)


def test_cookies_are_sealed_by_secret_purpose_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = encrypt({"sub": "row-1"}, SECRET, 60, "state")
    assert decrypt(sealed, SECRET, "state")["sub"] == "row-1"
    for text, secret, purpose in ((sealed, "another", "state"), (sealed, SECRET, ""), (sealed[:-2], SECRET, "state")):
        with pytest.raises(CookieError):
            decrypt(text, secret, purpose)
    later = time.time() + 76
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(CookieError, match="exp"):
        decrypt(sealed, SECRET, "state")


def test_plain_http_has_no_prefixes() -> None:
    cookies = Cookies("http://localhost:3000", SECRET)
    assert (cookies.session, cookies.csrf) == ("next-auth.session-token", "next-auth.csrf-token")


PROVIDER_FAULTS: list[tuple[dict[str, str], dict[str, Any], str]] = [
    ({"AUTHENTIK_ISSUER": f"{ISSUER}/"}, {}, "ends with a slash"),
    ({"AUTHENTIK_ISSUER": "https://auth.r.test:8443/none"}, {}, "expected 200 OK, got: 404"),
    (
        {},
        {"issuer": "http://auth.r.test/application/o/reflector/"},
        "but the provider calls itself http://auth.r.test/",
    ),
    ({"AUTHENTIK_REFRESH_TOKEN_URL": "https://auth.r.test:8443/application/o/token"}, {}, "but the provider's is"),
    ({}, {"id_token_signing_alg_values_supported": ["HS256"]}, "does not sign with RS256"),
    ({}, {"scopes_supported": ["openid", "email", "profile"]}, "knows no scope offline_access"),
    ({}, {"jwks_uri": None}, "jwks_uri must be configured on the issuer"),
]


@pytest.mark.parametrize(("values", "document", "reason"), PROVIDER_FAULTS)
def test_a_provider_that_does_not_fit_is_named(
    redis: FakeRedis, values: dict[str, str], document: dict[str, Any], reason: str
) -> None:
    world = World(AUTHENTIK | values, redis)
    world.provider.document |= document
    with pytest.raises(WiringError, match=re.escape(reason)):
        asyncio.run(web_openid.check_provider(world.auth.client(world.auth.site)))


def test_a_provider_without_a_key_is_named(world: World) -> None:
    world.provider.keys = []
    with pytest.raises(WiringError, match="no RSA key is published"):
        asyncio.run(web_openid.check_provider(world.auth.client(world.auth.site)))


@pytest.mark.parametrize("issuer", [ISSUER, f"{ISSUER}/"])
def test_a_provider_that_fits_is_described(world: World, issuer: str) -> None:
    # Authentik's name ends with a slash, which the variable must not have; other providers' have none.
    world.provider.document["issuer"] = issuer
    described = asyncio.run(web_openid.check_provider(world.auth.client(world.auth.site)))
    assert (described["issuer"], described["keys"]) == (issuer, 1)


def test_only_a_provider_s_front_end_checks_one() -> None:
    def names(values: dict[str, str]) -> set[str]:
        return {check.name for check in web.checks(Environment(values))}

    assert names(AUTHENTIK) - names(PASSWORD) == {"provider"}
    assert names(PASSWORD) == names(VALUES | {"FEATURE_REQUIRE_LOGIN": "false"})
