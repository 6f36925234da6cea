"""The probe's Authentik reads its variables by Authentik's names, and its command line by Authentik's commands."""

import asyncio
from pathlib import Path

import pytest
from probe import authentik_commands
from probe.authentik import apply_path
from probe.authentik_passwords import hash_password, is_usable, parse_hash, unusable_password, verify_password
from probe.authentik_settings import Address, Settings
from probe.authentik_store import MemoryStore
from probe.environment import Environment
from probe.wiring import WiringError

from rendering import authentik as rendering
from tests.unit.probe_authentik import BLUEPRINTS, VARIABLES

# What Django 5.2 itself makes of "correct horse" with this salt and as many rounds.
KNOWN = "pbkdf2_sha256$1000$abcdefgh$L0FcF43cV3afIpAPb8mzVB0BuB1/nZH2CUp/AfhPGGg="


def settings(**changes: str) -> Settings:
    return Settings.from_environment(Environment(VARIABLES | changes))


def test_defaults_are_authentiks() -> None:
    given = Settings.from_environment(
        Environment({name: VARIABLES[name] for name in ("AUTHENTIK_SECRET_KEY", "AUTHENTIK_POSTGRESQL__PASSWORD")})
    )
    assert given.dsn == "postgresql://authentik:database-password@localhost:5432/authentik?sslmode=disable"
    assert given.http == (Address(host="::", port=9000),)
    assert (given.https[0].port, given.metrics[0].port) == (9443, 9300)
    assert [str(network) for network in given.trusted_networks][:2] == ["127.0.0.0/8", "10.0.0.0/8"]
    assert (given.update_check, given.startup_analytics, given.error_reporting) == (True, True, False)
    assert (given.avatars, given.embedded_outpost, given.bootstrap_email) == (
        "gravatar,initials",
        True,
        "root@example.com",
    )


def test_what_a_deployment_gives_it_is_taken() -> None:
    given = rendering.environment(
        url="https://auth.reflector.example:8443",
        administrator_email="root@reflector.example",
        trusted_proxies="10.1.0.0/16,fd00::/64",
        secret_key="k" * 64,
        administrator_hash=KNOWN,
        database={"HOST": "postgres", "PORT": "5432", "NAME": "authentik", "USER": "authentik", "PASSWORD": "p"},
    )
    taken = Settings.from_environment(Environment(given))
    assert taken.http == (Address(host="0.0.0.0", port=9000),)
    assert {address.host for address in (*taken.https, *taken.metrics)} == {"127.0.0.1"}
    assert (taken.update_check, taken.startup_analytics, taken.error_reporting, taken.avatars) == (
        *(False, False, False),
        "initials",
    )
    assert taken.base_url == "https://auth.reflector.example:8443"


def test_the_list_of_trusted_proxies_replaces_the_default() -> None:
    assert [str(network) for network in settings().trusted_networks] == ["10.1.0.0/16", "fd00::/64"]


def test_addresses_are_lists() -> None:
    given = settings(AUTHENTIK_LISTEN__HTTP="0.0.0.0:9000, [fd00::1]:9001", AUTHENTIK_LISTEN__METRICS="127.0.0.1:9300")
    assert given.http == (Address(host="0.0.0.0", port=9000), Address(host="fd00::1", port=9001))
    assert given.metrics == (Address(host="127.0.0.1", port=9300),)


def test_a_value_may_be_in_a_file_or_another_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("from the file\n")
    monkeypatch.setenv("ELSEWHERE", "e" * 50)
    given = settings(
        AUTHENTIK_POSTGRESQL__PASSWORD=f"file://{tmp_path}/password", AUTHENTIK_SECRET_KEY="env://ELSEWHERE"
    )
    assert ":from%20the%20file@" in given.dsn
    assert given.secret_key == "e" * 50
    with pytest.raises(WiringError, match=r"AUTHENTIK_POSTGRESQL__PASSWORD: .*/none cannot be read: No such file"):
        settings(AUTHENTIK_POSTGRESQL__PASSWORD=f"file://{tmp_path}/none")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("AUTHENTIK_SECRET_KEY", "", "AUTHENTIK_SECRET_KEY is not set"),
        ("AUTHENTIK_SECRET_KEY", "short", "AUTHENTIK_SECRET_KEY is shorter than 50 characters"),
        ("AUTHENTIK_POSTGRESQL__PASSWORD", "", "AUTHENTIK_POSTGRESQL__PASSWORD is not set"),
        ("AUTHENTIK_POSTGRESQL__PORT", "five", "AUTHENTIK_POSTGRESQL__PORT='five' is no int"),
        ("AUTHENTIK_POSTGRESQL__SSLMODE", "on", "AUTHENTIK_POSTGRESQL__SSLMODE='on' is not known"),
        ("AUTHENTIK_POSTGRESQL__POOL_OPTIONS", "e30=", "AUTHENTIK_POSTGRESQL__USE_POOL is not true"),
        ("AUTHENTIK_POSTGRES__HOST", "postgres", "AUTHENTIK_POSTGRES__HOST is no variable of Authentik"),
        ("AUTHENTIK_REDIS__HOST", "redis", "AUTHENTIK_REDIS__HOST is no variable of Authentik"),
        ("AUTHENTIK_BOOTSTRAP_TOKEN", "t", "AUTHENTIK_BOOTSTRAP_TOKEN is no variable of Authentik"),
        ("AUTHENTIK_LISTEN__HTTP", "9000", "AUTHENTIK_LISTEN__HTTP='9000' is no address"),
        ("AUTHENTIK_LISTEN__HTTP", "localhost:9000", "is no address"),
        ("AUTHENTIK_LISTEN__HTTPS", "::1:9443", "is no address"),
        ("AUTHENTIK_LISTEN__METRICS", "0.0.0.0:99999", "is no address"),
        ("AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS", '["10.0.0.0/8"]', "AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS="),
        ("AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS", "10.1.2.3/8", "is no network"),
        (
            "AUTHENTIK_WEB__BASE_URL",
            "https://auth.example/application",
            "AUTHENTIK_WEB__BASE_URL must be scheme and host",
        ),
        ("AUTHENTIK_WEB__BASE_URL", "auth.example", "AUTHENTIK_WEB__BASE_URL must be a URL"),
        ("AUTHENTIK_WORKER__THREADS", "1", "AUTHENTIK_WORKER__THREADS='1' is too small; the least is 2"),
        ("AUTHENTIK_DISABLE_UPDATE_CHECK", "maybe", "AUTHENTIK_DISABLE_UPDATE_CHECK='maybe' is no boolean"),
        ("AUTHENTIK_LOG_LEVEL", "loud", "AUTHENTIK_LOG_LEVEL='loud' is not known"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, reason: str) -> None:
    with pytest.raises(WiringError) as problem:
        settings(**{name: value})
    assert reason in str(problem.value)


def test_passwords_are_djangos() -> None:
    made = hash_password("correct horse", iterations=1000)
    assert made.startswith("pbkdf2_sha256$1000$")
    assert verify_password("correct horse", made)
    assert not verify_password("correct horse ", made)
    assert verify_password("correct horse", KNOWN)
    assert not is_usable(unusable_password())
    assert not verify_password("!", unusable_password())


@pytest.mark.parametrize(
    "text", ["", "pw", "pbkdf2:sha256:1000$a$b", "pbkdf2_sha256$1000$a", KNOWN[:-8], "pbkdf2_sha256$$a$" + "A" * 43]
)
def test_other_text_is_no_hash_and_is_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid password hash") as problem:
        parse_hash(text)
    assert not text or text not in str(problem.value)


def test_a_wrong_variable_ends_each_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    env = VARIABLES | {"AUTHENTIK_POSTGRESQL__SSLMODE": "on", "TMPDIR": str(tmp_path)}
    for arguments in (["server"], ["worker"], ["apply_blueprint", "default/default-brand.yaml"]):
        assert authentik_commands.main(arguments, env) == 1
        assert "AUTHENTIK_POSTGRESQL__SSLMODE='on' is not known" in capsys.readouterr().err
    assert authentik_commands.main(["changepassword", "akadmin"], env) == 1
    assert "Unknown command: 'changepassword'" in capsys.readouterr().err


def test_health_is_asked_of_the_process_that_runs_here(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    env = {"TMPDIR": str(tmp_path)}
    assert authentik_commands.healthcheck(env) == 1
    (tmp_path / "authentik-mode").write_text("nothing")
    assert authentik_commands.healthcheck(env) == 1
    assert "Invalid mode 'nothing'" in capsys.readouterr().err
    (tmp_path / "authentik-mode").write_text("server")

    async def ask(status: bytes) -> int:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert (await reader.readline()).startswith(b"HEAD /-/health/live/ ")
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        async with await asyncio.start_unix_server(answer, tmp_path / "authentik.sock"):
            return await asyncio.to_thread(authentik_commands.healthcheck, env)

    assert asyncio.run(ask(b"200 OK")) == 0
    assert asyncio.run(ask(b"502 Bad Gateway")) == 1
    assert "unhealthy status code 502" in capsys.readouterr().err


def test_a_dry_run_keeps_nothing() -> None:
    async def run() -> None:
        store, env, path = MemoryStore(), Environment({}), "system/providers-oauth2.yaml"
        assert await apply_path(store, BLUEPRINTS, path, env, dry_run=True) == []
        assert store.documents == {}
        assert await apply_path(store, BLUEPRINTS, path, env) == []
        assert len(store.documents) == 5

    asyncio.run(run())
