"""The browser itself, before a site in this process: what it trusts, and the ways in and out. Needs no Docker."""

import asyncio
import os
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from probe import redis_client, web, web_auth
from probe.environment import Environment
from starlette.types import ASGIApp, Receive, Scope, Send

from testing.certificates import served
from testing.sign_in import CLIENT_SECRET, Backend, FakeRedis, Provider
from tests.e2e.browser import Browser, BrowserError

NAMES = ("reflector.test", "*.reflector.test")


@dataclass(frozen=True, kw_only=True)
class Site:
    """A front end with its provider beside it, both by HTTPS on one port."""

    url: str
    ca_pem: str
    provider: Provider

    def browser(self) -> Browser:
        """A browser that trusts it."""
        return Browser(self.url, self.ca_pem, NAMES)


def serve(folder: Path, provider_signs_in: bool) -> Iterator[Site]:
    """Serve the probe's front end for as long as the caller needs it."""
    authority, chain, key = served(*NAMES)
    (folder / "chain.pem").write_text(chain)
    (folder / "key.pem").write_text(key)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    url, auth_url = f"https://reflector.test:{port}", f"https://auth.reflector.test:{port}"
    provider = Provider(auth_url, f"{url}/api/auth/callback/authentik")
    provider_app, backend_app = provider.app(), Backend().app()

    def http() -> httpx.AsyncClient:
        return httpx.AsyncClient(
            mounts={
                "all://auth.reflector.test": httpx.ASGITransport(app=provider_app),
                "all://server": httpx.ASGITransport(app=backend_app),
            }
        )

    env = Environment(
        {
            "NEXTAUTH_URL": url,
            "NEXTAUTH_SECRET": "0123456789abcdef0123456789abcdef",
            "SERVER_API_URL": "http://server:1250",
            "KV_URL": "redis://redis:6379/0",
            "FEATURE_REQUIRE_LOGIN": "true",
            "AUTH_PROVIDER": "authentik" if provider_signs_in else "credentials",
            "AUTHENTIK_CLIENT_ID": "reflector",
            "AUTHENTIK_CLIENT_SECRET": CLIENT_SECRET,
            "AUTHENTIK_ISSUER": provider.issuer.rstrip("/"),
            "AUTHENTIK_REFRESH_TOKEN_URL": f"{auth_url}/application/o/token/",
        }
    )
    web_app: ASGIApp = web.application(env, web_auth.Auth(env, http))

    async def by_name(scope: Scope, receive: Receive, send: Send) -> None:
        host = dict(scope["headers"]).get(b"host", b"")
        await (provider_app if host.startswith(b"auth.") else web_app)(scope, receive, send)

    server = uvicorn.Server(
        uvicorn.Config(
            by_name,
            ssl_certfile=folder / "chain.pem",
            ssl_keyfile=str(folder / "key.pem"),
            lifespan="off",
            ws="none",
            log_config=None,
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    yield Site(url=url, ca_pem=authority, provider=provider)
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture(autouse=True)
def _redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_client, "connection", FakeRedis().connection)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """People sign in at the provider."""
    yield from serve(tmp_path, provider_signs_in=True)


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """The administrator signs in with his password."""
    yield from serve(tmp_path, provider_signs_in=False)


def test_somebody_signs_in_at_the_provider_and_stays_known_there(site: Site, tmp_path: Path) -> None:
    with site.browser() as browser:
        assert browser.whoami() is None
        assert browser.session() == {}
        assert browser.sign_in("ada", "right") == "ada@example.org"
        assert browser.whoami() == "ada@example.org"
        assert browser.session()["accessToken"].startswith("access-")
        assert browser.text == "Reflector\nSigned in as ada@example.org\nLog out"
        browser.screenshot(tmp_path / "signed-in.png")
        assert (tmp_path / "signed-in.png").read_bytes().startswith(b"\x89PNG")
        browser.sign_out()
        assert browser.whoami() is None
        # Known at the provider, he is not asked again, whatever is said of him.
        assert browser.sign_in("nobody", "wrong") == "ada@example.org"
        browser.sign_out()
        browser.forget()
        with pytest.raises(BrowserError, match=r"asked for password again, at https://auth\.reflector\.test:\d+/"):
            browser.sign_in("ada", "wrong")


def test_whoever_may_not_enter_is_told_what_the_provider_says(site: Site) -> None:
    site.provider.denied.add("ada")
    with site.browser() as browser, pytest.raises(BrowserError, match=r"there is no way on.*Permission denied"):
        browser.sign_in("ada", "right")


def test_the_administrator_signs_in_on_the_site_itself(own_site: Site) -> None:
    with own_site.browser() as browser:
        with pytest.raises(BrowserError, match="Invalid email or password"):
            browser.sign_in("admin@localhost", "wrong")
        assert browser.sign_in("admin@localhost", "right") == "admin@localhost"
        browser.sign_out()


def test_no_site_is_shown_that_another_authority_vouches_for(own_site: Site) -> None:
    other, _, _ = served("other.test")
    with (
        Browser(own_site.url, other, NAMES) as browser,
        pytest.raises(BrowserError, match="ERR_CERT_AUTHORITY_INVALID"),
    ):
        browser.open("/")


def test_one_authority_of_several_will_do_and_no_other_name_is_reached(own_site: Site) -> None:
    other, _, _ = served("other.test")
    with Browser(own_site.url, f"{other}\n{own_site.ca_pem}", NAMES) as browser:
        assert browser.whoami() is None
        for address in ("https://example.org/", own_site.url.replace("reflector.test", "localhost")):
            with pytest.raises(BrowserError, match="ERR_NAME_NOT_RESOLVED"):
                browser.open(address)


def test_somebody_who_goes_on_regardless_has_an_exception_for_one_name(own_site: Site) -> None:
    other, _, _ = served("other.test")
    second = own_site.url.replace("reflector.test", "auth.reflector.test")
    with Browser(own_site.url, other, NAMES) as browser:
        browser.go_on_regardless("/")
        assert browser.location == f"{own_site.url}/"
        assert browser.answer(f"fetch('{second}', {{mode: 'no-cors'}}).then(() => done(1), () => done(0));") == 0


def test_a_page_is_looked_at_with_a_screen_of_ones_choice(own_site: Site) -> None:
    with own_site.browser() as browser:
        browser.open("/")
        for width, dark in ((390, True), (1280, False)):
            browser.look(width, 800, dark=dark)
            assert browser.answer("done(screen.width);") == width
            assert browser.answer("done(matchMedia('(prefers-color-scheme: dark)').matches);") is dark


def ip(*arguments: str) -> None:
    """Change the network of this machine."""
    subprocess.run(["ip", *arguments], check=True, timeout=10)


@pytest.fixture
def shaking(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A site in front of which this machine gets another address while it is asked first; its URL and authority."""
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("another address of this machine takes root")
    authority, chain, key = served("reflector.test")
    (tmp_path / "both.pem").write_text(chain + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    address = ("198.18.78.1/32", "dev", "lo")  # RFC 2544 keeps it for tests: nobody is there
    first = threading.Semaphore()
    shaken = threading.Event()

    class Page(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if first.acquire(blocking=False):
                ip("address", "replace", *address)
                time.sleep(0.5)  # until the browser has noticed
                shaken.set()
            shaken.wait(10)
            with suppress(OSError), context.wrap_socket(self.request, server_side=True) as connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nHere")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"https://reflector.test:{server.server_address[1]}", authority
        finally:
            server.shutdown()
            thread.join()
            ip("address", "del", *address)


def test_a_page_is_asked_for_again_where_this_machine_has_got_another_address(shaking: tuple[str, str]) -> None:
    with Browser(*shaking, NAMES) as browser:
        assert browser.open("/") == "Here"
