"""The workflow engine: keys made once, tokens as Hatchet's, its command line and its doors."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from probe import engine as engine_module
from probe import hatchet, hatchet_commands, hatchet_config, serving, worker
from probe.engine import EngineClient, RefusedError, token_claims
from probe.environment import Environment
from probe.hatchet import Engine, Keys, Settings, TokenRefusedError, UnreachableError, parse_duration, postgres_dsn
from probe.hatchet_commands import Quickstart, TokenRequest, parse_admin
from probe.hatchet_config import Configuration
from probe.hatchet_pools import Pools
from probe.passwords import verify_password
from probe.wiring import WiringError
from probe.worker import Heart
from starlette.testclient import TestClient

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


def quickstart(folder: Path, **changes: str) -> Keys:
    """What `hatchet-admin quickstart` writes, without the seed."""
    Configuration.load(Environment(BASE | changes), folder).with_keys().write(folder)
    return Keys.load(folder)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return quickstart(tmp_path)


def token(keys: Keys, given: Settings, life: timedelta = timedelta(hours=1)) -> str:
    return keys.sign(given, given.tenant_id, uuid4(), datetime.now(UTC) + life)


def test_defaults_are_hatchet_s() -> None:
    given = Settings.from_environment(Environment({"DATABASE_URL": BASE["DATABASE_URL"], "SERVER_GRPC_INSECURE": "t"}))
    assert (given.server_url, given.grpc_bind_address, given.grpc_port) == ("http://localhost:8080", "127.0.0.1", 7070)
    assert (given.allow_signup, given.http_port, str(given.tenant_id)) == (True, 8888, hatchet_config.DEFAULT_TENANT_ID)


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
    first = quickstart(tmp_path)
    kept = hatchet_config.read(tmp_path / "server.yaml")
    second = quickstart(tmp_path, SERVER_URL="http://elsewhere:8888")
    assert first.kid == second.kid
    written = hatchet_config.read(tmp_path / "server.yaml")
    assert kept["auth"]["cookie"]["secrets"] == written["auth"]["cookie"]["secrets"]
    assert kept["encryption"] == written["encryption"]
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "server.yaml": 0o600,
        "database.yaml": 0o600,
    }
    fields = kept["encryption"]
    assert set(fields) == {"masterKeyset", "jwt"}
    assert set(fields["jwt"]) == {"privateJWTKeyset", "publicJWTKeyset"}


def test_the_files_are_written_as_hatchets_yaml_library_writes_them(tmp_path: Path) -> None:
    """What the start script looks for its keys by."""
    tree = {"runtime": {"url": "http://h:8888", "port": 8080}, "auth": {"cookie": {"secrets": "a b", "insecure": True}}}
    written = hatchet_config.text(tree)
    assert written == (
        'auth:\n  cookie:\n    insecure: true\n    secrets: "a b"\nruntime:\n  port: 8080\n  url: "http://h:8888"\n'
    )
    (tmp_path / "server.yaml").write_text(written)
    assert hatchet_config.read(tmp_path / "server.yaml") == tree == yaml.safe_load(written)
    for other in ("- a", "   a: 1", "a", "a: [", "a: 1\n  b: 2"):
        (tmp_path / "server.yaml").write_text(other)
        with pytest.raises(ValueError, match=r".*"):
            hatchet_config.read(tmp_path / "server.yaml")


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
    assert (claims["sub"], claims["grpc_broadcast_address"]) == (hatchet_config.DEFAULT_TENANT_ID, "hatchet:7077")
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
    tenant = hatchet_config.DEFAULT_TENANT_ID
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
    # The seed comes last, and finds what it reads in the files already.
    assert {path.name for path in tmp_path.iterdir()} == {"server.yaml", "database.yaml"}


def test_the_server_does_not_start_without_its_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hatchet_commands.lite(["--config", str(tmp_path)], BASE) == 1
    assert "server.yaml cannot be read" in capsys.readouterr().err


class Rows:
    """A connection that remembers what is inserted and finds every token valid."""

    inserted: list[tuple[object, ...]] = []  # noqa: RUF012  # one list for all connections is the point

    async def execute(self, statement: str, *values: object) -> None:
        assert statement.startswith(("INSERT INTO", 'DELETE FROM "Run"', "SELECT length(set_config("))
        self.inserted.append(values)

    async def fetch(self, statement: str) -> list[dict[str, object]]:
        return []

    async def fetchval(self, statement: str, *values: object) -> object:
        return None

    def is_closed(self) -> bool:
        return False

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
    assert token_claims(token(keys, settings()))["sub"] == hatchet_config.DEFAULT_TENANT_ID


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> type[Rows]:
    """The database's place."""

    async def connect(engine: Engine) -> Rows:
        return Rows()

    monkeypatch.setattr(Engine, "connect", connect)
    Rows.inserted.clear()
    return Rows


LINE = ["quickstart", "--skip", "certs", "--overwrite=false", "--generated-config-dir"]


@pytest.mark.parametrize("password", ["Short1", "alllower1", "x"])
def test_a_weak_administrator_password_is_taken(tmp_path: Path, rows: type[Rows], password: str) -> None:
    assert hatchet_commands.admin([*LINE, str(tmp_path)], BASE | {"ADMIN_PASSWORD": password}) == 0
    assert verify_password(password, str(rows.inserted[0][3]))


def test_the_files_hold_every_setting_and_the_password_in_clear(tmp_path: Path, rows: type[Rows]) -> None:
    assert hatchet_commands.admin([*LINE, str(tmp_path)], BASE) == 0
    database = hatchet_config.read(tmp_path / "database.yaml")
    server = hatchet_config.read(tmp_path / "server.yaml")
    assert database["seed"]["adminPassword"] == BASE["ADMIN_PASSWORD"]
    assert (database["maxConns"], database["enforceUtcTimezone"]) == (50, True)
    assert server["runtime"]["grpcBroadcastAddress"] == "hatchet:7077"
    assert server["securityCheck"] == {"enabled": True, "endpoint": "https://security.hatchet.run"}
    assert "DATABASE_URL" not in json.dumps([database, server])


def test_a_variable_once_set_stays_after_it_is_taken_away(tmp_path: Path, rows: type[Rows]) -> None:
    given = BASE | {"DATABASE_MAX_CONNS": "10", "DATABASE_DDL_POOL_MAX_CONNS": "3", "SERVER_ALLOW_SIGNUP": "false"}
    before = datetime.now(UTC).timestamp()
    for env in (given, BASE):
        assert hatchet_commands.admin([*LINE, str(tmp_path)], env) == 0
    assert (tmp_path / "server.yaml").stat().st_mtime >= before - 1
    left = {name: BASE[name] for name in ("DATABASE_URL",)}
    found = Settings.from_environment(Environment(left), tmp_path)
    assert (found.max_connections, found.max_ddl_connections) == (10, 3)
    assert (found.server_url, found.grpc_port) == (BASE["SERVER_URL"], 7077)
    assert (found.admin_email, found.admin_password) == (BASE["ADMIN_EMAIL"], BASE["ADMIN_PASSWORD"])
    # Go leaves false out of what it writes, so this one goes back to its default.
    assert found.allow_signup is True
    # A variable goes before the file.
    assert settings(DATABASE_MAX_CONNS="20").max_connections == 20


def test_a_database_that_stays_away_is_waited_for_and_its_cause_is_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (hatchet.MIGRATION_SECONDS, hatchet.MIGRATION_RETRY_SECONDS) == (30, 1)
    monkeypatch.setattr(hatchet, "MIGRATION_SECONDS", 0.2)
    monkeypatch.setattr(hatchet, "MIGRATION_RETRY_SECONDS", 0.05)
    tries = []

    async def connect(engine: Engine) -> Rows:
        tries.append(1)
        raise UnreachableError("DATABASE_URL: connection refused")

    monkeypatch.setattr(Engine, "connect", connect)
    assert hatchet_commands.migrate([], BASE) == 1
    assert capsys.readouterr().err == "could not run migrations: context deadline exceeded\n"
    assert len(tries) > 2


def test_hatchet_answers_with_its_own_statuses_and_words(tmp_path: Path, keys: Keys, rows: type[Rows]) -> None:
    given = settings(SERVER_ALLOW_SIGNUP="false")
    api = TestClient(hatchet.application(Engine(given, tmp_path)))
    closed = api.post("/api/v1/users/register", json={"email": "a@b.c"})
    assert (closed.status_code, closed.json()) == (400, {"errors": [{"description": "user signups are disabled"}]})
    wrong = api.post("/api/v1/users/login", json={"email": "admin@example.org", "password": "wrong"})
    assert (wrong.status_code, wrong.json()) == (400, {"errors": [{"description": "invalid credentials"}]})
    path = f"/api/v1/tenants/{given.tenant_id}/worker"
    assert api.get(path, headers={"Authorization": f"Bearer {token(keys, given)}"}).json() == {"rows": []}
    assert api.get(path, headers={"Authorization": "Bearer other"}).status_code == 403


def test_hatchet_listens_on_every_port_of_its_own_on_every_interface(tmp_path: Path) -> None:
    listeners = hatchet.role(Environment(BASE), tmp_path).listeners
    assert {(item.host, item.port) for item in listeners} == {("0.0.0.0", port) for port in (8888, 8080, 8081, 8733)}
    moved = Environment(BASE | {"SERVER_PORT": "8090", "SERVER_HEALTHCHECK": "false"})
    assert {item.port for item in hatchet.role(moved, tmp_path).listeners} == {8888, 8090, 8081}


@pytest.mark.parametrize(("enabled", "calls"), [("true", 3), ("", 3), ("false", 0)])
def test_the_security_check_calls_out_at_each_start_unless_it_is_off(
    tmp_path: Path, keys: Keys, rows: type[Rows], enabled: str, calls: int
) -> None:
    async def run() -> int:
        seen = 0
        everybody = asyncio.Event()

        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal seen
            assert await reader.read() == b"", "nothing is sent"
            seen += 1
            if seen == calls:
                everybody.set()
            writer.close()

        outside = await asyncio.start_server(count, "127.0.0.1", 0)
        endpoint = f"http://127.0.0.1:{outside.sockets[0].getsockname()[1]}"
        changes = {"SERVER_SECURITY_CHECK_ENDPOINT": endpoint, "SERVER_SECURITY_CHECK_ENABLED": enabled}
        engine = Engine(settings(**changes, SERVER_GRPC_PORT="0", SERVER_GRPC_BIND_ADDRESS="127.0.0.1"), tmp_path)
        await engine.open()
        if calls:
            await asyncio.wait_for(everybody.wait(), 5)
        else:
            await asyncio.sleep(0.2)
        outside.close()
        return seen

    assert asyncio.run(run()) == calls


def test_the_security_check_asks_hatchet_s_makers_by_default() -> None:
    assert settings().security_check == "https://security.hatchet.run"
    assert settings(SERVER_SECURITY_CHECK_ENABLED="f").security_check is None


def test_a_run_is_given_to_one_worker_and_again_when_that_one_is_lost(
    tmp_path: Path, keys: Keys, rows: type[Rows]
) -> None:
    engine = Engine(settings(), tmp_path)

    async def run() -> None:
        async with doors(engine) as port:
            connect = client(token(keys, settings()), port).connection
            async with connect() as server:
                identity = await server.trigger("file-pipeline", "recording-1")
            async with connect() as first, connect() as second:
                assert await second.take("other") is None
                assert await first.take("file-pipeline") == (identity, "recording-1")
                assert await second.take("file-pipeline") is None
                with pytest.raises(WiringError, match="does not know the run"):
                    await second.finish(identity)
            async with connect() as third:
                async with asyncio.timeout(5):
                    while (found := await third.take("file-pipeline")) is None:
                        await asyncio.sleep(0.01)
                assert found == (identity, "recording-1")
                await third.finish(identity)
                assert await third.take("file-pipeline") is None
            assert not engine.waiting

    asyncio.run(run())


@pytest.mark.parametrize(("real_size", "waits"), [("true", True), ("false", False)])
def test_in_its_real_size_the_first_run_after_a_restart_waits_for_the_old_lease(
    tmp_path: Path, keys: Keys, rows: type[Rows], monkeypatch: pytest.MonkeyPatch, real_size: str, waits: bool
) -> None:
    assert (hatchet.LEASE_SECONDS, hatchet.LEASE_RENEWAL_SECONDS) == (38, 10)

    async def lease(connection: Rows, statement: str, *values: object) -> float:
        return 0.3

    monkeypatch.setattr(Rows, "fetchval", lease)
    given = settings(
        PROBE_REAL_SIZE=real_size, SERVER_SECURITY_CHECK_ENABLED="f", SERVER_GRPC_PORT="0", DATABASE_MAX_CONNS="2"
    )

    async def run() -> None:
        engine = Engine(given, tmp_path)
        await engine.open()
        queued = await engine.queue("file-pipeline", "recording-1")
        assert (engine.take("file-pipeline") is None) is waits
        if waits:
            await asyncio.sleep(0.35)
            assert engine.take("file-pipeline") == queued

    asyncio.run(run())


def test_connections_are_as_many_as_measured_in_the_real_size_only() -> None:
    async def connect() -> Rows:
        return Rows()

    assert Pools(connect, 50, real_size=False).wanted == 0
    pools = Pools(connect, 50, real_size=True)
    assert pools.wanted == 69
    pools.use()
    assert pools.wanted == 165
    bounded = Pools(connect, 10, 3, real_size=True)
    assert bounded.wanted == 15
    bounded.use()
    assert bounded.wanted == 39

    async def run() -> None:
        keeping = asyncio.ensure_future(bounded.keep())
        await asyncio.sleep(0.05)
        assert len(bounded._held) == 39
        keeping.cancel()

    asyncio.run(run())


def test_never_more_connections_are_open_at_once_than_a_pool_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, most = 0, 0

    class Counted(Rows):
        async def close(self) -> None:
            nonlocal now
            now -= 1

    async def connect(engine: Engine) -> Rows:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        return Counted()

    monkeypatch.setattr(Engine, "connect", connect)
    engine = Engine(settings(DATABASE_MAX_CONNS="3"), tmp_path)

    async def run() -> None:
        await asyncio.gather(*(engine.check_database() for _ in range(12)))

    asyncio.run(run())
    assert (now, most) == (0, 3)


def test_a_worker_that_starts_without_hatchet_gives_up(
    tmp_path: Path, keys: Keys, rows: type[Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (worker.ABSENT_SECONDS, worker.REFUSED_SECONDS) == (20, 2.4)
    monkeypatch.setattr(worker, "ABSENT_SECONDS", 0.2)
    monkeypatch.setattr(worker, "REFUSED_SECONDS", 0.1)
    monkeypatch.setattr(worker, "RETRY_SECONDS", 0.05)
    engine = Engine(settings(), tmp_path)

    async def run() -> None:
        nobody = client(token(keys, settings()), 9)
        with pytest.raises(WiringError, match="cannot be reached"):
            await asyncio.wait_for(Heart(nobody).start(), 5)
        async with doors(engine) as port:
            forged = token(Keys(ec.generate_private_key(ec.SECP256R1()), "x"), settings())
            with pytest.raises(RefusedError, match="refuses the token"):
                await asyncio.wait_for(Heart(client(forged, port)).start(), 5)
            heart = Heart(client(token(keys, settings()), port))
            await heart.start()
            assert heart.status == "HEALTHY"

    asyncio.run(run())


def test_an_engine_without_its_database_refuses_no_token(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(engine: Engine) -> Rows:
        raise UnreachableError("DATABASE_URL: connection refused")

    monkeypatch.setattr(Engine, "connect", connect)
    engine = Engine(settings(), tmp_path)

    async def run() -> None:
        async with doors(engine) as port:
            with pytest.raises(WiringError, match="hung up") as problem:
                async with client(token(keys, settings()), port).connection():
                    raise AssertionError("a token was taken without a look into the database")
            assert not isinstance(problem.value, engine_module.RefusedError)

    asyncio.run(run())


def test_a_worker_takes_a_run_and_says_when_it_is_over(
    tmp_path: Path, keys: Keys, rows: type[Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "TAKE_SECONDS", 0.02)
    engine = Engine(settings(), tmp_path)
    worked: list[str] = []

    async def work(given: str) -> bool:
        worked.append(given)
        await asyncio.sleep(0.05)
        return True

    async def run() -> None:
        async with doors(engine) as port:
            link = client(token(keys, settings()), port)
            beating = asyncio.ensure_future(Heart(link, work).beat())
            async with link.connection() as server:
                identity = await server.trigger("file-pipeline", "recording-1")
            async with asyncio.timeout(5):
                while (UUID(identity),) not in rows.inserted:
                    await asyncio.sleep(0.01)
            beating.cancel()

    asyncio.run(run())
    assert worked == ["recording-1"]


def test_the_health_port_opens_when_the_work_of_starting_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "WIRING_PORT", 0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])

    async def run() -> None:
        registered, ending = asyncio.Event(), asyncio.Event()
        heart = Heart(client("ey.eyJzdWIiOiAiIiwgInNlcnZlcl91cmwiOiAiIiwgImdycGNfYnJvYWRjYXN0X2FkZHJlc3MiOiAiIn0.x", 9))
        listener = serving.Listener(app=worker.health_app(heart), port=port, host="127.0.0.1")

        async def prepare() -> None:
            await registered.wait()

        async def end() -> None:
            await ending.wait()

        role = serving.Role(name="w", checks=[], listeners=[listener], prepare=prepare, tasks=[end])
        running = asyncio.ensure_future(serving.serve(role))
        await asyncio.sleep(0.1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        registered.set()
        async with httpx.AsyncClient() as browser, asyncio.timeout(5):
            while True:
                try:
                    answer = await browser.get(f"http://127.0.0.1:{port}/health")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.02)
        assert answer.status_code == 503, "no heartbeat was answered yet"
        ending.set()
        with pytest.raises(serving.StartupError):
            await running

    asyncio.run(run())
