"""What is made of the measurements, and what keeps a run from touching more than it should."""

import json
from pathlib import Path

import pytest
import yaml

from developer import comparison
from developer.benchmark import PAGE, replaced
from developer.comparison import Checkout, Contender, Life, Row
from developer.compose_model import ComparisonError
from toolchain import ROOT

HEALTHY = "health_status: healthy"
GRAPH = {
    "postgres": frozenset[str](),
    "redis": frozenset[str](),
    "server": frozenset({"postgres", "redis"}),
    "web": frozenset({"server"}),
}
COLD = {
    "postgres": {"create": 1.0, "start": 2.0, HEALTHY: 5.0},
    "redis": {"create": 1.0, "start": 1.5, HEALTHY: 7.5},
    "server": {"create": 8.0, "start": 9.0, HEALTHY: 13.0},
    "web": {"create": 14.0, "start": 15.0, HEALTHY: 18.0},
}


def checkout(folder: Path, stack: str = "dev") -> Checkout:
    folder.mkdir(exist_ok=True)
    (folder / "Pulumi.yaml").write_text("name: reflector\n", encoding="utf-8")
    return Checkout(root=folder, stack=stack)


def test_a_checkout_may_name_its_stack(tmp_path: Path) -> None:
    assert comparison.checkout(str(tmp_path), "dev") == Checkout(root=tmp_path, stack="dev")
    assert comparison.checkout(f"{tmp_path}@before", "dev") == Checkout(root=tmp_path, stack="before")
    assert comparison.checkout(f"{tmp_path}/a@b/c", "dev") == Checkout(root=tmp_path / "a@b" / "c", stack="dev")


def test_two_checkouts_never_share_the_names_on_the_host(tmp_path: Path) -> None:
    one, other = checkout(tmp_path / "one"), checkout(tmp_path / "other")
    with pytest.raises(ComparisonError, match="give one another name"):
        comparison.distinct([one, other])
    assert len(comparison.distinct([one, checkout(tmp_path / "other", "after")])) == 2


def test_a_checkout_does_not_inherit_the_state_of_the_one_this_runs_in() -> None:
    environment = {
        "PATH": "/usr/bin", "PULUMI_BACKEND_URL": "file:///one/state", "PULUMI_CONFIG_PASSPHRASE_FILE": "/one/phrase",
        "MAKEFLAGS": " -- ARGS=--trace", "STACK": "dev", "ARGS": "--trace", "TOOLCHAIN_CACHE": "/cache",
    }  # fmt: skip
    assert comparison.outside(environment) == {"PATH": "/usr/bin", "TOOLCHAIN_CACHE": "/cache"}


def tool(folder: Path, status: int) -> str:
    program = folder / "compose"
    program.write_text(f"#!/bin/sh\nexit {status}\n", encoding="utf-8")
    program.chmod(0o755)
    return str(program)


def test_a_compose_that_is_named_is_taken(tmp_path: Path) -> None:
    program = tool(tmp_path, 0)
    assert comparison.compose_command({"DOCKER_COMPOSE": program}) == (program,)


def test_where_there_is_no_compose_the_message_says_how_to_get_one(tmp_path: Path) -> None:
    for environment in (
        {"DOCKER_COMPOSE": tool(tmp_path, 1)},
        {"DOCKER_COMPOSE": str(tmp_path / "none")},
        {"PATH": str(tmp_path)},
    ):
        with pytest.raises(ComparisonError, match=r"Install the compose plugin .* DOCKER_COMPOSE"):
            comparison.compose_command(environment)


def test_the_memory_limit_is_changed_where_it_is_a_mapping_by_service() -> None:
    text = "config:\n  reflector:https_port: '8443'\n  reflector:memory_mib:\n    web: 256\n    beat: 128\n"
    assert yaml.safe_load(comparison.changed_memory(text, "reflector", 272)) == {
        "config": {"reflector:https_port": "8443", "reflector:memory_mib": {"web": 272, "beat": 128}}
    }


def test_the_memory_limit_is_changed_where_it_is_a_setting_of_the_application() -> None:
    text = "config:\n  reflector:application:\n    server: {memory_mib: 512}\nencryptionsalt: v1:abc\n"
    assert yaml.safe_load(comparison.changed_memory(text, "reflector", 272)) == {
        "config": {"reflector:application": {"web": {"memory_mib": 272}, "server": {"memory_mib": 512}}},
        "encryptionsalt": "v1:abc",
    }


def test_a_stack_file_without_memory_limits_is_refused() -> None:
    with pytest.raises(ComparisonError, match="no memory limits"):
        comparison.changed_memory("config:\n  reflector:https_port: '8443'\n", "reflector", 272)


def test_a_change_that_is_taken_back_leaves_the_very_bytes(tmp_path: Path) -> None:
    one = checkout(tmp_path)
    original = b"# why\nconfig:\n  reflector:memory_mib: {web: 256}  # so much\n"
    one.change(original, "reflector", 272, True)
    assert yaml.safe_load(one.stack_file.read_text("utf-8"))["config"]["reflector:memory_mib"] == {"web": 272}
    one.change(original, "reflector", 272, False)
    assert one.stack_file.read_bytes() == original


def test_of_the_project_only_the_limits_of_one_service_change(tmp_path: Path) -> None:
    project = comparison.Project(tool=("compose",), folder=tmp_path, name="reflector-dev-compose", environment={})
    model = {"services": {"web": {"image": "a", "mem_limit": 1, "memswap_limit": 1}, "beat": {"mem_limit": 1}}}
    project.change(model, 2, True)
    assert json.loads(project.file.read_text("utf-8"))["services"] == {
        "web": {"image": "a", "mem_limit": 2 * 1024**2, "memswap_limit": 2 * 1024**2}, "beat": {"mem_limit": 1},
    }  # fmt: skip
    project.change(model, 2, False)
    assert json.loads(project.file.read_text("utf-8")) == model


def test_a_project_is_taken_down_with_its_data_kept(tmp_path: Path) -> None:
    project = comparison.Project(tool=("docker", "compose"), folder=tmp_path, name="p", environment={})
    assert project.command("down").arguments == (
        "docker", "compose", "--file", str(tmp_path / "compose.json"), "--project-name", "p", "down",
    )  # fmt: skip


def event(action: str, seconds: float, **labels: str) -> str:
    attributes = {"name": "x"} | {key.replace("_", "."): value for key, value in labels.items()}
    return json.dumps({"Action": action, "Actor": {"Attributes": attributes}, "timeNano": int(seconds * 1e9)})


def test_events_become_the_first_time_each_thing_happened_to_a_service() -> None:
    lines = [
        event("kill", 101.0, service="web"),
        event("kill", 103.0, service="web"),
        event("create", 104.0, service="web"),
        event("health_status: unhealthy", 104.5, service="web"),
        event(HEALTHY, 105.5, service="web"),
        event("create", 104.0),
    ]
    assert comparison.timeline(lines, "service", 100.0) == {"web": {"kill": 1.0, "create": 4.0, HEALTHY: 5.5}}


def test_the_longest_chain_is_the_one_that_takes_longest_not_the_one_with_most_in_it() -> None:
    assert comparison.longest_chain(GRAPH, COLD) == (13.0, ("redis", "server", "web"))
    lonely = {**GRAPH, "ollama": frozenset[str]()}
    cold = {**COLD, "ollama": {"start": 1.0, HEALTHY: 31.0}}
    assert comparison.longest_chain(lonely, cold) == (30.0, ("ollama",))


@pytest.mark.parametrize(
    ("row", "happened"),
    [
        (Row.COLD, COLD),
        (Row.NOTHING, {}),
        (Row.ENGINE, {"web": {HEALTHY: 1.0}}),
        (Row.CHANGE, {"web": {"create": 1.0}}),
        (Row.DOWN, {service: {"destroy": 1.0} for service in GRAPH}),
    ],
)
def test_a_command_that_did_what_it_should_is_believed(row: Row, happened: comparison.Timeline) -> None:
    comparison.check(row, happened, GRAPH)


@pytest.mark.parametrize(
    ("row", "happened", "message"),
    [
        (Row.COLD, {"web": {HEALTHY: 1.0}}, "should have been healthy"),
        (Row.NOTHING, {"web": {"create": 1.0}}, "should have been created"),
        (Row.CHANGE, {"web": {"create": 1.0}, "server": {"create": 1.0}}, "should have been created"),
        (Row.DOWN, {}, "should have been removed"),
    ],
)
def test_a_command_that_did_something_else_is_no_measurement(
    row: Row, happened: comparison.Timeline, message: str
) -> None:
    with pytest.raises(ComparisonError, match=message):
        comparison.check(row, happened, GRAPH)


def measured(cold: float, engine: float, nothing: float, change: float, down: float, chain: float) -> Life:
    return Life(
        seconds={
            Row.COLD: [cold],
            Row.ENGINE: [engine, engine, 99.0],
            Row.NOTHING: [nothing],
            Row.CHANGE: [change],
            Row.DOWN: [down],
        },
        timelines={Row.COLD: COLD, Row.CHANGE: {"web": {"kill": 0.5, "create": 1.0}}, Row.DOWN: {}},
        chain=("redis", "server", "web"),
        chain_seconds=chain,
    )


def test_lives_are_compared_round_by_round() -> None:
    lives = [
        {"docker compose": measured(8, 0, 2, 4, 1, 8), "ours": measured(9, 3, 4, 4, 3, 5)},
        {"ours": measured(6, 2, 4, 6, 2, 5), "docker compose": measured(4, 0, 1, 4, 2, 4)},
    ]
    assert comparison.table(lives) == [
        "| what | docker compose | ours | ratio |",
        "| --- | --- | --- | --- |",
        "| `make up` and `up --wait`: from nothing | 6.00 [4.00–8.00] | 7.50 [6.00–9.00] | 1.31 [1.12–1.50] |",
        "| `pulumi up` and `up --wait`: nothing to change | 1.50 [1.00–2.00] | 2.50 [2.00–3.00] | 1.75 [1.50–2.00] |",
        "| `make up` and `up --wait`: nothing to change | 1.50 [1.00–2.00] | 4.00 [4.00–4.00] | 3.00 [2.00–4.00] |",
        "| `make up` and `up --wait`: one container changed | 4.00 [4.00–4.00] | 5.00 [4.00–6.00] | 1.25 [1.00–1.50] |",
        "| `make down` and `down` | 1.50 [1.00–2.00] | 2.50 [2.00–3.00] | 2.00 [1.00–3.00] |",
        "| the longest chain of starts in it, each until healthy | 6.00 [4.00–8.00] | 5.00 [5.00–5.00] |  |",
        "| all of it as a multiple of that chain | 1.00 [1.00–1.00] | 1.50 [1.20–1.80] |  |",
    ]


def test_every_version_has_two_columns() -> None:
    one = measured(1, 1, 1, 1, 1, 1)
    lines = comparison.table([{"docker compose": one, "abc (dev)": one, "def (after)": one}])
    assert lines[0] == "| what | docker compose | abc (dev) | ratio | def (after) | ratio |"
    assert {line.count("|") for line in lines} == {7}


def test_a_trace_tells_when_each_did_what_and_when_it_might_have_begun() -> None:
    contender = Contender(
        title="ours",
        label="a=b",
        service_label="a",
        commands={},
        change=lambda _: None,
        waits_for=GRAPH,
        environment={},
    )
    lines = comparison.traced(contender, measured(20, 3, 4, 4, 3, 10))
    assert lines[1] == "ours: from nothing, data kept, 20.00 s in all"
    assert lines[3] == "| container | created | started | healthy | those it waits for healthy | in the longest chain |"
    assert lines[5:9] == [
        "| postgres | 1.00 | 2.00 | 5.00 | 0.00 |  |",
        "| redis | 1.00 | 1.50 | 7.50 | 0.00 | yes |",
        "| server | 8.00 | 9.00 | 13.00 | 7.50 | yes |",
        "| web | 14.00 | 15.00 | 18.00 | 13.00 | yes |",
    ]
    assert "| web | 0.50 | 1.00 |" in lines


def test_a_command_that_fails_says_what_it_said(tmp_path: Path) -> None:
    command = comparison.Command(arguments=("sh", "-c", "echo broken; exit 3"), folder=tmp_path, environment={})
    with pytest.raises(ComparisonError, match="status 3:\nbroken"):
        command.run()


def test_the_page_has_a_place_for_the_table() -> None:
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert "| new |" in replaced(page, "compose", "| new |")
    with pytest.raises(ValueError, match="no place for the other measurement"):
        replaced(page, "other", "")
