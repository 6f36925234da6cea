"""The workflow engine: keys made once, tokens as Hatchet's, its command line and its doors."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from probe import hatchet, hatchet_commands
from probe.engine import EngineClient, token_claims
from probe.environment import Environment
from probe.hatchet import Engine, Keys, Settings, TokenRefusedError, parse_duration, postgres_dsn
from probe.hatchet_commands import Quickstart, TokenRequest, parse_admin
from probe.wiring import WiringError
from probe.worker import Heart

BASE = {
    "DATABASE_URL": "postgresql://hatchet:pw@postgres:5432/hatchet?sslmode=disable&connect_timeout=30",
    "SERVER_URL": "http://hatchet:8888",
    "SERVER_GRPC_INSECURE": "t",
    "SERVER_GRPC_BIND_ADDRESS": "0.0.0.0",
    "SERVER_GRPC_BROADCAST_ADDRESS": "hatchet:7077",
    "SERVER_GRPC_PORT": "7077",
    "ADMIN_EMAIL": "admin@example.org",
    "ADMIN_PASSWORD": "Password1",
}


def settings(**changes: str) -> Settings:
    return Settings.from_environment(Environment(BASE | changes))


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys.quickstart(tmp_path, settings())


def token(keys: Keys, given: Settings, life: timedelta = timedelta(hours=1)) -> str:
    return keys.sign(given, given.tenant_id, uuid4(), datetime.now(UTC) + life)


def test_defaults_are_hatchet_s() -> None:
    given = Settings.from_environment(Environment({"DATABASE_URL": BASE["DATABASE_URL"], "SERVER_GRPC_INSECURE": "t"}))
    assert (given.server_url, given.grpc_bind_address, given.grpc_port) == ("http://localhost:8080", "127.0.0.1", 7070)
    assert (given.allow_signup, given.http_port, str(given.tenant_id)) == (True, 8888, hatchet.DEFAULT_TENANT_ID)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"SERVER_GRPC_INSECURE": "f"}, "SERVER_GRPC_INSECURE"),
        ({"SERVER_URL": "hatchet:8888"}, "SERVER_URL"),
        ({"DATABASE_URL": "postgresql+asyncpg://h/d"}, "DATABASE_URL"),
        ({"DEFAULT_TENANT_ID": "default"}, "DEFAULT_TENANT_ID"),
        ({"SERVER_ALLOW_SIGNUP": "maybe"}, "SERVER_ALLOW_SIGNUP"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, str], reason: str) -> None:
    with pytest.raises(WiringError, match=reason):
        settings(**changes)


def test_only_the_parameter_asyncpg_does_not_know_is_dropped() -> None:
    assert postgres_dsn(BASE["DATABASE_URL"]) == "postgresql://hatchet:pw@postgres:5432/hatchet?sslmode=disable"


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    first = Keys.quickstart(tmp_path, settings())
    content = (tmp_path / "server.yaml").read_bytes()
    second = Keys.quickstart(tmp_path, settings(SERVER_URL="http://elsewhere:8888"))
    assert first.kid == second.kid
    assert (tmp_path / "server.yaml").read_bytes() == content
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "server.yaml": 0o600,
        "database.yaml": 0o600,
    }
    fields = json.loads(content)["encryption"]
    assert set(fields) == {"masterKeyset", "jwt"}
    assert set(fields["jwt"]) == {"privateJWTKeyset", "publicJWTKeyset"}


@pytest.mark.parametrize("content", ["", "{}", '{"encryption": {"jwt": {"privateJWTKeyset": "AAAA"}}}'])
def test_unusable_keys_are_a_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "server.yaml").write_text(content)
    with pytest.raises(WiringError, match="holds no usable keys"):
        Keys.load(tmp_path)
    with pytest.raises(WiringError, match="cannot be read: No such file"):
        Keys.load(tmp_path / "missing")


def test_a_token_carries_hatchet_s_claims(keys: Keys) -> None:
    given = settings()
    text = token(keys, given)
    assert jwt.get_unverified_header(text)["alg"] == "ES256"
    claims = jwt.decode(text, options={"verify_signature": False})
    assert set(claims) == {"aud", "exp", "grpc_broadcast_address", "iat", "iss", "server_url", "sub", "token_id"}
    assert claims["aud"] == claims["iss"] == claims["server_url"] == "http://hatchet:8888"
    assert (claims["sub"], claims["grpc_broadcast_address"]) == (hatchet.DEFAULT_TENANT_ID, "hatchet:7077")
    assert keys.verify(given, text) == (given.tenant_id, UUID(claims["token_id"]))


def test_a_token_is_refused_for_each_reason_hatchet_has(keys: Keys) -> None:
    given = settings()
    other = Keys(ec.generate_private_key(ec.SECP256R1()), "x")
    with pytest.raises(TokenRefusedError, match="Signature verification failed"):
        keys.verify(given, token(other, given))
    with pytest.raises(TokenRefusedError, match="expired"):
        keys.verify(given, token(keys, given, timedelta(seconds=-5)))
    with pytest.raises(TokenRefusedError, match="Invalid issuer"):
        keys.verify(settings(SERVER_URL="http://new:8888"), token(keys, given))
    with pytest.raises(TokenRefusedError, match="decode"):
        keys.verify(given, "not-a-token")


@pytest.mark.parametrize(
    ("text", "seconds"), [("8760h", 31_536_000), ("1h30m", 5400), ("1.5s", 1.5), ("250ms", 0.25), ("90m0s", 5400)]
)
def test_durations_are_go_s(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["365d", "1 h", "h", "10", ""])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)


def test_the_command_line_takes_flags_as_hatchet_admin_does() -> None:
    tenant = hatchet.DEFAULT_TENANT_ID
    assert parse_admin(
        ["token", "create", "--config", "/config", "--tenant-id", tenant, "--name=r", "-e", "48h"]
    ) == TokenRequest(config=Path("/config"), tenant_id=UUID(tenant), name="r", life=timedelta(days=2))
    assert parse_admin(["token", "create"]) == TokenRequest(
        config=Path(), tenant_id=None, name="default", life=timedelta(days=90)
    )
    assert parse_admin(
        ["quickstart", "--skip", "certs", "--generated-config-dir", "./config", "--overwrite=false"]
    ) == Quickstart(config=Path("config"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["token", "list"],
        ["token", "create", "--expiresIn", "30d"],
        ["token", "create", "--tenant-id", "x"],
        ["quickstart"],
    ],
)
def test_a_wrong_command_line_ends_with_status_one(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_admin(arguments)
    assert ended.value.code == 1
    assert capsys.readouterr().out.startswith("Error: ")


def test_the_command_prints_the_bare_token(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def connect(engine: Engine) -> Rows:
        return Rows()

    monkeypatch.setattr(Engine, "connect", connect)
    assert hatchet_commands.admin(["token", "create", "--config", str(tmp_path), "-e", "2h"], BASE) == 0
    out, err = capsys.readouterr()
    assert (out.count("\n"), err) == (1, "")
    tenant_id, token_id = keys.verify(settings(), out.strip())
    assert tenant_id == settings().tenant_id
    assert Rows.inserted[-1][:3] == (token_id, tenant_id, "default")


def test_the_command_says_why_it_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unreachable = BASE | {"DATABASE_URL": "postgresql://hatchet:pw@127.0.0.1:9/hatchet"}
    assert hatchet_commands.admin(["token", "create", "--config", str(tmp_path)], unreachable) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Fatal: could not run [token create] command: DATABASE_URL: ")


@pytest.mark.parametrize("address", ["admin", "admin@localhost", "@example.com", "admin@example."])
def test_an_address_hatchet_refuses_ends_the_quickstart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    line = ["quickstart", "--skip", "certs", "--generated-config-dir", str(tmp_path), "--overwrite=false"]
    assert hatchet_commands.admin(line, BASE | {"ADMIN_EMAIL": address}) == 1
    assert "is no address" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_server_does_not_start_without_its_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hatchet_commands.lite(["--config", str(tmp_path)], BASE) == 1
    assert "server.yaml cannot be read" in capsys.readouterr().err


class Rows:
    """A connection that remembers what is inserted and finds every token valid."""

    inserted: list[tuple[object, ...]] = []  # noqa: RUF012  # one list for all connections is the point

    async def execute(self, statement: str, *values: object) -> None:
        assert statement.startswith('INSERT INTO "APIToken"')
        self.inserted.append(values)

    async def fetchrow(self, statement: str, token_id: UUID) -> dict[str, object]:
        return {"revoked": False, "expiresAt": datetime.now(UTC) + timedelta(hours=1)}

    async def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def doors(engine: Engine) -> AsyncIterator[int]:
    """The engine's workers' port on loopback."""
    server = await asyncio.start_server(engine._answer, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


def client(text: str, port: int) -> EngineClient:
    env = {"HATCHET_CLIENT_TOKEN": text, "HATCHET_CLIENT_TLS_STRATEGY": "none"}
    return EngineClient.from_environment(Environment(env | {"HATCHET_CLIENT_HOST_PORT": f"127.0.0.1:{port}"}))


def test_a_worker_proves_its_token_and_heartbeats(tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(engine: Engine) -> Rows:
        return Rows()

    monkeypatch.setattr(Engine, "connect", connect)
    engine = Engine(settings(), tmp_path)

    async def run() -> None:
        async with doors(engine) as port:
            async with client(token(keys, settings()), port).connection() as link:
                await link.heartbeat()
                assert len(engine.workers) == 1
            forged = token(Keys(ec.generate_private_key(ec.SECP256R1()), "x"), settings())
            with pytest.raises(WiringError, match="refuses the token: failed to verify and decode JWT: Signature"):
                async with client(forged, port).connection():
                    raise AssertionError("a forged token was taken")

    asyncio.run(run())


def test_a_worker_is_healthy_only_while_the_engine_answers(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(engine: Engine) -> Rows:
        return Rows()

    monkeypatch.setattr(Engine, "connect", connect)
    monkeypatch.setattr("probe.worker.HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr("probe.worker.RETRY_SECONDS", 0.05)
    engine = Engine(settings(), tmp_path)

    async def until(heart: Heart, status: str) -> None:
        async with asyncio.timeout(5):
            while heart.status != status:
                await asyncio.sleep(0.01)

    async def run() -> None:
        async with doors(engine) as port:
            heart = Heart(client(token(keys, settings()), port))
            assert heart.status == "STARTING"
            beating = asyncio.ensure_future(heart.beat())
            await until(heart, "HEALTHY")

            async def refuse(*_: object) -> None:
                raise TokenRefusedError("token has been revoked")

            monkeypatch.setattr(Engine, "accept", refuse)
            monkeypatch.setattr("probe.engine.EngineConnection.heartbeat", refuse_heartbeat)
            await until(heart, "UNHEALTHY")
            beating.cancel()

    async def refuse_heartbeat(*_: object) -> None:
        raise WiringError("hatchet hung up")

    asyncio.run(run())


def test_a_client_takes_address_and_url_from_the_token(keys: Keys) -> None:
    text = token(keys, settings())
    derived = EngineClient.from_environment(Environment({"HATCHET_CLIENT_TOKEN": text}))
    assert (derived.host, derived.port, derived.server_url) == ("hatchet", 7077, "http://hatchet:8888")
    # The SDK's own default is TLS, which the plain port of a self-hosted engine never answers.
    assert derived.tls is not None


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "HATCHET_CLIENT_TOKEN must be set"), ("abc", "no JWT"), ("ey.e30.x", "lacks the claims sub, server_url")],
)
def test_a_useless_token_is_named(text: str, reason: str) -> None:
    with pytest.raises(WiringError, match=reason):
        EngineClient.from_environment(Environment({"HATCHET_CLIENT_TOKEN": text}))


def test_claims_are_read_without_verifying(keys: Keys) -> None:
    assert token_claims(token(keys, settings()))["sub"] == hatchet.DEFAULT_TENANT_ID


@pytest.mark.parametrize("password", ["Short1", "alllower1", "ALLUPPER1", "NoNumbers", "A1" + "a" * 63])
def test_a_weak_administrator_password_stops_the_start(password: str) -> None:
    with pytest.raises(WiringError, match="does not meet requirements"):
        hatchet.check_password(password)
    hatchet.check_password("A1" + "a" * 62)
