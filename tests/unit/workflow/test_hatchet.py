"""Hatchet: closed to sign-ups, with a token minted before anybody can use it, and again near its end."""

import os
import subprocess
from pathlib import Path

import pytest

from components import workflow
from rendering import startup
from settings.workflow import Workflow
from testing import building
from testing.building import Neighbours, password_of, printed_by
from testing.engine import is_secret, value_of

BUILT = building.built("Hatchet")


def test_hatchet_is_closed_to_sign_ups_and_has_an_administrator_of_its_own() -> None:
    environment = building.environment_of(BUILT.named("it-container"))
    for variable in ("SERVER_ALLOW_SIGNUP", "SERVER_ALLOW_INVITES", "SERVER_ALLOW_CREATE_TENANT"):
        assert environment[variable] == "false", variable
    assert environment["ADMIN_PASSWORD"] == password_of("it-admin"), "else the seed is upstream's well-known one"


def test_hatchet_tells_its_makers_nothing() -> None:
    assert building.environment_of(BUILT.named("it-container"))["SERVER_SECURITY_CHECK_ENABLED"] == "false"


def test_hatchet_reaches_the_database_it_was_handed_on_the_databases_network() -> None:
    container = BUILT.named("it-container")
    assert building.environment_of(container)["DATABASE_URL"] == (
        f"postgresql://hatchet-user:{building.DATABASE_PASSWORD}@sql:15432/hatchet?sslmode=disable&connect_timeout=30"
    )
    assert building.networks_of(container).keys() == {"reflector-test-application", "reflector-test-database"}
    assert BUILT.named("anchor").urn in container.request.dependencies, "the database has to be there"


def test_hatchet_says_of_itself_what_others_are_handed() -> None:
    environment = building.environment_of(BUILT.named("it-container"))
    engine = BUILT.component.engine
    assert environment["SERVER_URL"] == engine.server_url == engine.services[0].url(8888)
    assert environment["SERVER_GRPC_BROADCAST_ADDRESS"] == engine.host_port == "hatchet:7077"


def test_hatchets_token_is_secret_and_minted_before_anybody_can_use_it() -> None:
    engine = BUILT.component.engine
    assert is_secret(engine.token)
    assert value_of(engine.token) == printed_by("it-token")
    assert value_of(engine.ready.urn) == BUILT.named("it-token").urn
    assert set(BUILT.named("it-token").request.additionalSecretOutputs) == {"stdout", "stderr"}


def test_hatchets_token_is_minted_anew_when_its_lease_ends() -> None:
    minted, lease = BUILT.named("it-token"), BUILT.named("it-token-lease")
    assert minted.plain("triggers") == ["2036-01-01T00:00:00Z"]
    assert lease.urn in minted.request.dependencies
    assert 0 < lease.plain("earlyRenewalHours") < lease.plain("validityPeriodHours")


def test_hatchet_is_started_by_the_script() -> None:
    assert BUILT.named("it-container").plain("command") == ["sh", "-c", startup.hatchet()]


@pytest.mark.parametrize(
    ("answer", "status", "printed"),
    [
        ("200", 0, "eyJkept"),
        ("401", 0, "eyJnew"),
        ("403", 0, "eyJnew"),
        # Not an answer to the question: workers with a token that works must not be replaced for it.
        ("404", 1, ""),
        ("500", 1, ""),
    ],
)
def test_a_token_is_minted_only_when_hatchet_refuses_the_last_one(
    tmp_path: Path, answer: str, status: int, printed: str
) -> None:
    for name, text in (("curl", f"cat > /dev/null; printf {answer}"), ("hatchet-admin", "echo noise; echo eyJnew")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = building.script_of(BUILT.named("it-token")).replace("/hatchet-admin", "hatchet-admin")
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PULUMI_COMMAND_STDOUT": "eyJkept"}
    done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (status, printed)
    if status:
        assert answer in done.stderr
        assert "eyJ" not in done.stderr, "what a failed step has written stands in its error"


def test_the_room_makes_a_hatchet_with_the_limit_of_the_settings() -> None:
    def build(near: Neighbours) -> object:
        images = {"hatchet": near.image()}
        return workflow.workflow_engine(
            Workflow(memory_mib=300), near.host, images, database=near.database(), trust=near.trust()
        )

    built = building.build(build)
    assert built.named("hatchet-container").plain("memory") == 300
    assert [service.name for service in built.component.services] == ["hatchet"]
