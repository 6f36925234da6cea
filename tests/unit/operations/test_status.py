"""How a stack is: what Docker and the inventory say, in a table, as JSON and as an exit status."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from operations import __main__ as commands
from operations import status
from operations.inventory import Level
from operations.served import Place
from operations.stack import Stack
from operations.status import ServiceStatus
from settings import parse
from testing.commands import fake_command, path_with
from testing.docker import free_port
from tests.unit.operations.stand_ins import listed, listed_volume, with_engine, with_file, with_state

PREFIX = "reflector-test"
NOWHERE = Place(host="127.0.0.1", port=1)
SETTINGS: dict[str, Any] = {"edge": {"domain": "a.test"}, "storage": {"mode": "garage"}}
SERVICES = parse(SETTINGS, "test", "reflector").services
Run = Callable[..., tuple[int, str]]


def ends(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days, seconds=5)).isoformat()


@pytest.fixture
def run(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `status` on a deployed stack, and returns its exit status and what it printed."""

    def go(*flags: str, days: float = 60, containers: str | None = None, uploads: str = "", **answers: Any) -> Any:
        with_file(stack, SETTINGS)
        with_state(stack, resources=[{"urn": "urn:x", "type": "x", "outputs": {}}])
        end = ends(days)
        entries = [
            {"name": "authority", "kind": "root", "subject": "s", "expires": ends(3000), "source": "private"},
            {"name": "edge-certificate", "kind": "server", "source": "own", "names": ["DNS:a.test"], "expires": end},
        ]
        with_engine(stack, stack_output=json.dumps({"pki_inventory": entries}))
        monkeypatch.setenv("PATH", path_with(tmp_path / "path"))
        healthy = "".join(listed(f"{PREFIX}-{name}", stack=PREFIX) for name in SERVICES)
        told = {
            "ps": healthy if containers is None else containers,
            "volume ls": listed_volume(f"{PREFIX}-garage-data", PREFIX) + listed_volume(f"{PREFIX}-redis", PREFIX),
            "exec": uploads or json.dumps({"unfinishedUploads": 3, "unfinishedMultipartUploadBytes": 5_000_000}),
            "system df": json.dumps({"Volumes": [{"Name": f"{PREFIX}-garage-data", "Size": "1.5GB"}]}),
            **answers,
        }
        fake_command(tmp_path / "path", "docker", told)
        monkeypatch.setattr("operations.__main__.Layout", lambda: stack.layout)
        monkeypatch.setattr("sys.argv", ["operations", "status", "--stack", "test", "--at", str(NOWHERE), *flags])
        result = commands.main()
        said = capsys.readouterr()
        return result, said.out + said.err

    return go


@pytest.mark.parametrize(("days", "level"), [(31, 0), (30, 1), (8, 1), (7, 2), (0, 2), (-1, 2)])
def test_the_exit_status_is_how_near_the_next_end_is(run: Run, days: float, level: int) -> None:
    # A moment passes between the end that is reckoned and the look at it.
    assert run(days=days if days == 31 or days == 8 else days - 0.001)[0] == level


def test_the_table_shows_certificates_services_and_volumes(run: Run) -> None:
    result, said = run()
    assert result == 0
    assert f"{PREFIX}-garage-data  1.5 GB" in said
    assert "Unfinished uploads: 3, 5 MB (removed after a week)" in said
    assert f"{PREFIX}-caddy" in said
    assert "running, healthy" in said
    assert said.rstrip().endswith("test: OK")


def test_json_is_for_programs(run: Run) -> None:
    result, said = run("--json")
    told = json.loads(said)
    assert (result, told["level"], told["stack"]) == (0, "ok", "test")
    assert [one["name"] for one in told["certificates"]] == ["authority", "edge-certificate"]
    assert told["certificates"][1]["days_left"] == pytest.approx(60, abs=0.1)
    assert {one["name"] for one in told["services"]} == SERVICES
    assert told["volumes"] == [
        {"name": f"{PREFIX}-garage-data", "bytes": 1_500_000_000},
        {"name": f"{PREFIX}-redis", "bytes": None},
    ]
    assert told["unfinished_uploads"] == {"count": 3, "bytes": 5_000_000}
    assert told["renewal"] is None


def test_sizes_are_only_asked_for_where_they_are_wanted(run: Run) -> None:
    told = json.loads(run("--json", "--no-sizes", **{"system df": {"status": 1}})[1])
    assert [one["bytes"] for one in told["volumes"]] == [None, None]
    assert told["faults"] == []


def test_a_service_that_is_gone_or_ill_is_critical(run: Run) -> None:
    ill = "".join(
        listed(
            f"{PREFIX}-{name}", stack=PREFIX, status="Up 1 second (unhealthy)" if name == "redis" else "Up (healthy)"
        )
        for name in SERVICES - {"caddy"}
    )
    result, said = run("--json", containers=ill)
    states = {one["name"]: (one["state"], one["health"], one["level"]) for one in json.loads(said)["services"]}
    assert result == 2
    assert states["caddy"] == ("missing", None, "critical")
    assert states["redis"] == ("running", "unhealthy", "critical")
    assert states["server"] == ("running", "healthy", "ok")


def test_a_service_that_starts_is_a_warning() -> None:
    def level(state: str, health: str) -> Level:
        return ServiceStatus(name="x", container="x", state=state, health=health).level

    assert (level("running", "starting"), level("running", ""), level("exited", "")) == (
        Level.WARNING, Level.OK, Level.CRITICAL,
    )  # fmt: skip


def test_a_daemon_that_does_not_answer_is_critical_and_the_ends_are_shown_all_the_same(run: Run) -> None:
    result, said = run(ps={"status": 1, "stderr": "Cannot connect to the Docker daemon"})
    assert result == 2
    assert "edge-certificate" in said
    assert "Could not be looked at: Docker on unix:///var/run/docker.sock: Cannot connect" in said


def test_a_store_that_answers_something_else_is_told_of(run: Run) -> None:
    result, said = run("--json", uploads="{}")
    assert (result, json.loads(said)["unfinished_uploads"]) == (2, None)
    assert "Garage's answer about the bucket reflector-media: KeyError" in said


def test_metrics_are_written_where_they_are_wanted(run: Run, tmp_path: Path) -> None:
    assert run("--metrics", str(tmp_path / "a.prom"))[0] == 0
    assert 'reflector_status_level{stack="test"} 0' in (tmp_path / "a.prom").read_text(encoding="utf-8")
    result, said = run("--metrics", str(tmp_path / "nowhere" / "a.prom"))
    assert (result, len(said.splitlines())) == (3, 1)


@pytest.mark.parametrize("flags", [["--at", "nowhere"], []])
def test_what_cannot_be_told_is_unknown_and_one_line(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    with_file(stack, {"edge": {"domain": "a.test", "https_port": free_port()}})
    monkeypatch.setattr("operations.__main__.Layout", lambda: stack.layout)
    monkeypatch.setattr("sys.argv", ["operations", "status", "--stack", "test", *flags])
    assert commands.main() == commands.UNKNOWN
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --at: " if flags else "error: the stack test is not deployed")


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("64B", 64), ("3.39kB", 3390), ("56.4MB", 56_400_000), ("1.5TB", 1_500_000_000_000), ("N/A", None)],
)
def test_a_size_is_read_as_docker_writes_it(text: str, size: int | None) -> None:
    assert status.in_bytes(text) == size
