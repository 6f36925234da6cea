"""Server and front end: their public routes, and the rules their wiring checks."""

import asyncio
import dataclasses
import datetime
import json
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from probe import backend, database, server, serving, users, web
from probe.edge import get_through_edge
from probe.environment import Environment
from probe.passwords import hash_password
from probe.wiring import WiringError
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

SECRET = "0123456789abcdef0123456789abcdef"
PASSWORD = {"AUTH_BACKEND": "password", "SECRET_KEY": SECRET, "ADMIN_EMAIL": "admin@localhost"}


def call(app: Starlette, method: str, path: str, **request: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path, **request)

    return asyncio.run(run())


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[database.Note]:
    """The database's place: one administrator with the password 'right', and notes in a list."""
    notes: list[database.Note] = []
    stored = hash_password("right", iterations=10)

    async def find_user(dsn: str, email: str) -> tuple[str, str] | None:
        return ("user-1", stored) if email == "admin@localhost" else None

    async def add_note(dsn: str, body: str) -> database.Note:
        notes.append(database.Note(id=len(notes) + 1, body=body, created_at=datetime.datetime.now(datetime.UTC)))
        return notes[-1]

    async def list_notes(dsn: str) -> list[database.Note]:
        return notes

    monkeypatch.setattr(users, "find_user", find_user)
    for function in (add_note, list_notes):
        monkeypatch.setattr(database, function.__name__, function)
    return notes


def login(app: Starlette, password: str, email: str = "admin@localhost") -> httpx.Response:
    return call(app, "POST", "/v1/auth/login", json={"email": email, "password": password})


def test_health_says_nothing_about_dependencies() -> None:
    app = server.application(Environment({"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}))
    assert call(app, "GET", "/health").json() == {"status": "healthy"}


def test_login_gives_a_token_signed_with_the_secret_key(rows: list[database.Note]) -> None:
    app = server.application(Environment(PASSWORD))
    answer = login(app, "right")
    assert (answer.status_code, answer.json()["expires_in"]) == (200, 86_400)
    claims = jwt.decode(answer.json()["access_token"], SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["email"]) == ("user-1", "admin@localhost")
    assert login(app, "wrong").status_code == 401
    assert login(app, "right", "other@localhost").status_code == 401
    assert call(app, "POST", "/v1/auth/login", json={"email": "a"}).status_code == 422


def test_only_password_sign_in_has_a_login_route(rows: list[database.Note]) -> None:
    assert login(server.application(Environment({"AUTH_BACKEND": "none"})), "right").status_code == 404
    assert call(server.application(Environment(PASSWORD)), "GET", "/v1/auth/login").status_code == 405


def test_notes_need_a_token_where_sign_in_is_on(rows: list[database.Note]) -> None:
    app = server.application(Environment(PASSWORD))
    assert call(app, "GET", "/v1/notes").status_code == 401
    forged = jwt.encode({"sub": "user-1"}, "another secret key of 32 letters", algorithm="HS256")
    assert call(app, "GET", "/v1/notes", headers={"Authorization": f"Bearer {forged}"}).status_code == 401
    headers = {"Authorization": f"Bearer {login(app, 'right').json()['access_token']}"}
    assert call(app, "POST", "/v1/notes", headers=headers, json={"body": "kept"}).status_code == 201
    assert [note["body"] for note in call(app, "GET", "/v1/notes", headers=headers).json()["items"]] == ["kept"]
    assert call(app, "POST", "/v1/notes", headers=headers, json={}).status_code == 422
    assert call(app, "GET", "/v1/me", headers=headers).json() == {"sub": "user-1", "email": "admin@localhost"}


@pytest.mark.parametrize("values", [{"AUTH_BACKEND": "none"}, PASSWORD | {"PUBLIC_MODE": "true"}])
def test_notes_are_open_where_upstream_is_open(rows: list[database.Note], values: dict[str, str]) -> None:
    assert call(server.application(Environment(values)), "GET", "/v1/notes").status_code == 200


def test_the_websocket_takes_its_token_as_a_subprotocol(rows: list[database.Note]) -> None:
    app = server.application(Environment(PASSWORD))
    protocols = f"bearer, {login(app, 'right').json()['access_token']}"
    client = TestClient(app)
    with client.websocket_connect("/v1/events", headers={"Sec-WebSocket-Protocol": protocols}) as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"
        assert str(socket.accepted_subprotocol) == "bearer"
    for headers in ({}, {"Sec-WebSocket-Protocol": "bearer, forged"}, {"Sec-WebSocket-Protocol": "bearer"}):
        with (
            pytest.raises(WebSocketDisconnect) as refused,
            client.websocket_connect("/v1/events", headers=headers),
        ):
            raise AssertionError("a WebSocket without a token was accepted")
        assert refused.value.code == server.UNAUTHORISED


def test_metrics_count_requests() -> None:
    app = server.application(Environment({}))
    call(app, "GET", "/health")
    call(app, "GET", "/nothing")
    text = call(app, "GET", "/metrics").text
    assert 'http_requests_total{method="GET",status="200"} 1' in text
    assert 'http_requests_total{method="GET",status="404"} 1' in text


def test_cors_follows_its_variable() -> None:
    app = server.application(Environment({"CORS_ORIGIN": "https://a.example,https://b.example"}))
    allowed = call(app, "GET", "/health", headers={"Origin": "https://b.example"})
    refused = call(app, "GET", "/health", headers={"Origin": "https://c.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://b.example"
    assert "access-control-allow-origin" not in refused.headers


def fails(check: Callable[[Environment], Awaitable[Any]], values: dict[str, str], reason: str) -> None:
    with pytest.raises(WiringError, match=reason):
        asyncio.run(asyncio.wait_for(check(Environment(values)), 5))


URLS = {"BASE_URL": "https://r.test", "UI_BASE_URL": "https://r.test", "CORS_ORIGIN": "https://r.test"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"UI_BASE_URL": ""}, "UI_BASE_URL is not set"),
        ({"UI_BASE_URL": "http://localhost:3000", "CORS_ORIGIN": "*"}, "UI_BASE_URL is plain HTTP"),
        ({"CORS_ORIGIN": "https://r.test/"}, "without a path or a slash"),
        ({"CORS_ORIGIN": "https://other.test"}, "CORS_ORIGIN lacks the origin of UI_BASE_URL"),
        ({"CORS_ORIGIN": "*", "CORS_ALLOW_CREDENTIALS": "true"}, "browsers refuse"),
        ({"BASE_URL": "r.test"}, "BASE_URL must be a URL"),
        ({"BASE_URL": "https://localhost:8443"}, "means this container itself"),
    ],
)
def test_addresses_that_do_not_fit_are_named(changes: dict[str, str], reason: str) -> None:
    fails(backend.check_urls, URLS | changes, reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"AUTH_BACKEND": "oauth"}, "AUTH_BACKEND='oauth' is not known; allowed are none, password, jwt"),
        ({"AUTH_BACKEND": "password", "PUBLIC_MODE": "true"}, "anonymous access"),
        ({"SECRET_KEY": "changeme-please"}, "SECRET_KEY is Reflector's public default"),
        ({}, "SECRET_KEY differs from the server's"),
    ],
)
def test_sign_in_settings_that_do_not_fit_are_named(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], reason: str
) -> None:
    async def published(dsn: str, name: str) -> str:
        return database.fingerprint("the server's own key")

    monkeypatch.setattr(database, "deployment_value", published)

    async def check(env: Environment) -> Any:
        return await backend.check_auth(env, "worker")

    fails(check, {"SECRET_KEY": SECRET} | changes, reason)


def test_a_data_folder_must_be_the_server_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def published(dsn: str, name: str) -> str:
        return "marker-1"

    monkeypatch.setattr(database, "deployment_value", published)

    async def check(env: Environment) -> Any:
        return await backend.check_data(env, "worker")

    values = {"DATA_DIR": str(tmp_path)}
    fails(check, values, "is not the server's volume")
    (tmp_path / database.DATA_MARKER).write_text("marker-0")
    fails(check, values, "is not the server's volume")
    (tmp_path / database.DATA_MARKER).write_text("marker-1")
    assert asyncio.run(check(Environment(values))) == {"path": str(tmp_path)}
    assert [path.name for path in tmp_path.iterdir()] == [database.DATA_MARKER]
    fails(check, {"DATA_DIR": str(tmp_path / "missing")}, "cannot be written")


def test_remote_services_get_a_check_even_when_their_setting_is_wrong() -> None:
    base = {"DIARIZATION_BACKEND": "pyannote"}
    names = [check.name for check in backend.checks("worker", Environment(base | {"TRANSCRIPT_BACKEND": "modal"}))]
    assert "transcript" in names
    assert not {"diarization", "translation", "padding", "mixdown"} & set(names)
    assert [check.name for check in backend.beat_checks("beat", Environment({}))] == ["database", "broker", "trust"]


def test_the_page_hands_its_settings_to_the_browser() -> None:
    app = web.application(Environment({"API_URL": 'https://r.test/?a=1&b="2"', "FEATURE_ROOMS": "TRUE"}))
    text = call(app, "GET", "/").text
    data = text.partition('data-env="')[2].partition('"')[0].replace("&quot;", '"').replace("&amp;", "&")
    given = json.loads(data)
    assert given["API_URL"] == 'https://r.test/?a=1&b="2"'
    # Only the exact word "true" switches a feature on, and login is required unless it is switched off.
    assert (given["FEATURE_ROOMS"], given["FEATURE_REQUIRE_LOGIN"], given["FEATURE_EMAIL_TRANSCRIPT"]) == (
        False,
        True,
        False,
    )


@pytest.mark.parametrize("values", [{}, {"KV_URL": "http://redis"}, {"KV_URL": "redis://127.0.0.1:9"}])
def test_the_front_end_is_unhealthy_without_redis(values: dict[str, str]) -> None:
    response = call(web.application(Environment(values)), "GET", "/api/health")
    assert (response.status_code, response.json()["checks"]) == (503, {"redis": False})


WEB = {"SITE_URL": "https://r.test", "API_URL": "https://r.test", "NEXTAUTH_URL": "https://r.test"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"NEXTAUTH_URL": "https://other.test"}, "same origin"),
        ({"API_URL": "http://r.test"}, "mixed content"),
        ({"WEBSOCKET_URL": "https://r.test"}, "WEBSOCKET_URL must be a URL like ws://"),
        ({"SITE_URL": ""}, "SITE_URL is not set"),
    ],
)
def test_front_end_addresses_that_do_not_fit_are_named(changes: dict[str, str], reason: str) -> None:
    fails(web.check_urls, WEB | changes, reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"NEXTAUTH_SECRET": ""}, "NEXTAUTH_SECRET is not set"),
        ({"NEXTAUTH_SECRET": "short"}, "shorter than 32"),
        ({}, "AUTHENTIK_CLIENT_ID, AUTHENTIK_CLIENT_SECRET, AUTHENTIK_ISSUER, AUTHENTIK_REFRESH_TOKEN_URL are not set"),
    ],
)
def test_front_end_sign_in_that_cannot_work_is_named(changes: dict[str, str], reason: str) -> None:
    fails(web.check_session, {"NEXTAUTH_SECRET": SECRET} | changes, reason)


@pytest.mark.parametrize("changes", [{"FEATURE_REQUIRE_LOGIN": "false"}, {"AUTH_PROVIDER": "credentials"}])
def test_front_end_sign_in_that_works(changes: dict[str, str]) -> None:
    asyncio.run(web.check_session(Environment({"NEXTAUTH_SECRET": SECRET} | changes)))


class Edge(BaseHTTPRequestHandler):
    """An edge that answers /health only to the host it serves."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" and self.headers["Host"] == "r.test:8443" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[tuple[int, ssl.SSLContext]]:
    """A TLS server with a certificate for r.test, its port, and a context that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "r.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("r.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, private = tmp_path / "tls.crt", tmp_path / "tls-private"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    running = HTTPServer(("127.0.0.1", 0), Edge)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, private)
    running.socket = context.wrap_socket(running.socket, server_side=True)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield running.server_port, ssl.create_default_context(cafile=str(chain))
    running.shutdown()
    thread.join()
    running.server_close()


def test_the_edge_is_reached_elsewhere_under_its_public_name(edge: tuple[int, ssl.SSLContext]) -> None:
    port, trusted = edge
    env = Environment({"BASE_URL": "https://r.test:8443", "PROBE_EDGE": f"127.0.0.1:{port}"})
    assert asyncio.run(get_through_edge(env, "BASE_URL", "/health", trusted))["status"] == 200
    with pytest.raises(WiringError, match="answered 404, expected 200"):
        asyncio.run(get_through_edge(env, "BASE_URL", "/other", trusted))


def test_the_certificate_must_name_the_public_host(edge: tuple[int, ssl.SSLContext]) -> None:
    port, trusted = edge
    env = Environment({"BASE_URL": "https://localhost:8443", "PROBE_EDGE": f"127.0.0.1:{port}"})
    with pytest.raises(httpx.ConnectError, match="Hostname mismatch"):
        asyncio.run(get_through_edge(env, "BASE_URL", "/health", trusted))


def test_an_edge_with_an_unknown_root_is_refused(edge: tuple[int, ssl.SSLContext]) -> None:
    env = Environment({"BASE_URL": "https://r.test:8443", "PROBE_EDGE": f"127.0.0.1:{edge[0]}"})
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(get_through_edge(env, "BASE_URL", "/health"))


def behind_uvicorn(values: dict[str, str], *requests: tuple[str, str, dict[str, str], Any]) -> list[httpx.Response]:
    """Answers of the server role on a real port: method, path, headers and JSON body of each request.

    The peer is this test, at 127.0.0.1.
    """
    listener = server.role(Environment(values)).listeners[0]
    running = serving._server(dataclasses.replace(listener, host="127.0.0.1", port=0))

    async def run() -> list[httpx.Response]:
        serve = asyncio.ensure_future(running.serve())
        async with asyncio.timeout(5):
            while not running.started:
                await asyncio.sleep(0.01)
        port = running.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answers = [
                await client.request(method, path, headers=headers, json=body)
                for method, path, headers, body in requests
            ]
        running.should_exit = True
        await serve
        return answers

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("trusted", "scheme"),
    [
        (None, "https"),  # Uvicorn's default, 127.0.0.1
        ("*", "https"),
        ("10.0.0.0/8,127.0.0.1", "https"),
        ("127.0.0.0/8", "https"),
        ("172.18.0.4", "http"),
        ("10.0.0.0/8, 192.168.0.0/16", "http"),
        ("127.0.0.1/8", "http"),  # host bits are set, so Uvicorn takes it for no network at all
        ("", "http"),
    ],
)
def test_a_redirect_keeps_https_only_where_the_proxy_is_trusted(trusted: str | None, scheme: str) -> None:
    values = {} if trusted is None else {server.TRUSTED_PROXIES: trusted}
    headers = {"Host": "r.test", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
    (answer,) = behind_uvicorn(values, ("GET", "/v1/transcripts/", headers, None))
    assert (answer.status_code, answer.headers["location"]) == (307, f"{scheme}://r.test/v1/transcripts")


def attempt(address: str, password: str = "wrong") -> tuple[str, str, dict[str, str], Any]:
    body = {"email": "admin@localhost", "password": password}
    return "POST", "/v1/auth/login", {"X-Forwarded-For": address}, body


def test_ten_wrong_passwords_lock_out_one_address_where_the_proxy_is_trusted(rows: list[database.Note]) -> None:
    values = PASSWORD | {server.TRUSTED_PROXIES: "127.0.0.1"}
    wrong = [attempt("192.0.2.1")] * 11
    # What the client itself claims stands before what the proxy adds, and does not count.
    spoofed = attempt("198.51.100.7, 192.0.2.1", "right")
    answers = behind_uvicorn(values, *wrong, attempt("192.0.2.1", "right"), spoofed, attempt("192.0.2.2", "right"))
    assert [answer.status_code for answer in answers] == [401] * 10 + [429, 429, 429, 200]
    assert answers[10].json() == {"detail": "Too many login attempts. Try again later."}


def test_ten_wrong_passwords_lock_out_everybody_where_it_is_not(rows: list[database.Note]) -> None:
    values = PASSWORD | {server.TRUSTED_PROXIES: "10.0.0.0/8"}
    wrong = [attempt(f"192.0.2.{number}") for number in range(10)]
    answers = behind_uvicorn(values, *wrong, attempt("192.0.2.200", "right"))
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]


def test_attempts_are_forgotten_after_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("probe.server.time.monotonic", lambda: now)
    limit = server.LoginLimit()
    assert [limit.allow("a") for _ in range(12)] == [True] * 10 + [False] * 2
    now += 299
    assert not limit.allow("a")
    now += 1
    assert limit.allow("a")


class Transcripts:
    """The database's and Hatchet's place for transcripts."""

    def __init__(self) -> None:
        self.found: dict[str, database.Transcript] = {}
        self.runs: list[tuple[str, str]] = []

    async def add_transcript(self, dsn: str, name: str, user_id: str | None) -> database.Transcript:
        made = database.Transcript(
            id=f"t{len(self.found) + 1}",
            name=name,
            status="idle",
            title=None,
            long_summary=None,
            created_at=datetime.datetime.now(datetime.UTC),
            user_id=user_id,
        )
        self.found[made.id] = made
        return made

    async def list_transcripts(self, dsn: str, user_id: str | None) -> list[database.Transcript]:
        return list(self.found.values())

    async def find_transcript(self, dsn: str, identity: str) -> database.Transcript | None:
        return self.found.get(identity)

    async def update_transcript(self, dsn: str, identity: str, status: str) -> None:
        self.found[identity] = dataclasses.replace(self.found[identity], status=status)


def test_an_uploaded_recording_becomes_a_run_of_the_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Transcripts()
    for name in ("add_transcript", "list_transcripts", "find_transcript", "update_transcript"):
        monkeypatch.setattr(database, name, getattr(store, name))

    class Link:
        async def trigger(self, workflow: str, given: str) -> str:
            store.runs.append((workflow, given))
            return "run-1"

    class Client:
        @asynccontextmanager
        async def connection(self) -> AsyncIterator[Link]:
            yield Link()

    monkeypatch.setattr("probe.server.EngineClient.from_environment", lambda env: Client())
    app = server.application(Environment({"DATA_DIR": str(tmp_path), "PUBLIC_MODE": "true"}))
    made = call(app, "POST", "/v1/transcripts", json={"name": "Meeting"}).json()
    assert (made["status"], made["title"]) == ("idle", None)
    path = f"/v1/transcripts/{made['id']}"
    upload = {"params": {"chunk_number": 0, "total_chunks": 1}, "files": {"chunk": ("a.wav", b"RIFF")}}
    assert call(app, "POST", f"{path}/record/upload", **upload).json() == {"status": "ok"}
    assert call(app, "GET", path).json()["status"] == "uploaded"
    assert (tmp_path / made["id"] / "upload.wav").read_bytes() == b"RIFF"
    assert store.runs == [("file-pipeline", made["id"])]
    assert [item["id"] for item in call(app, "GET", "/v1/transcripts").json()["items"]] == [made["id"]]
    assert call(app, "GET", "/v1/transcripts/none").status_code == 404
    assert call(app, "POST", "/v1/transcripts", json={}).status_code == 422
    assert call(app, "POST", f"{path}/record/upload").status_code == 422
    asyncio.run(store.update_transcript("", made["id"], "ended"))
    assert call(app, "POST", f"{path}/record/upload", **upload).status_code == 400
