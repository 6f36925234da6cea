"""Whom the Docker host itself trusts, looked at before a run and by `pki verify`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from components.base.daemon import Daemon, DaemonError
from operations import checks, healing, host_trust
from rendering import host_trust as rendering
from settings import Settings
from testing.commands import calls, fake_command, path_with
from testing.docker import free_port
from tests.unit.operations.stand_ins import INFO, Docker, settings_of

REGISTRY: Final = "registry.example.com:5000"
TRUST: Final = {"system_store": True, "registries": [REGISTRY]}
FILES: Final = {"reflector-test_stack_01234567.crt": "01234567" * 8, "reflector-test_corp_89abcdef.crt": "89abcdef" * 8}
PEM: Final = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
DAEMON: Final = Daemon(address="unix:///var/run/docker.sock")


def command(name: str, **environment: str) -> dict[str, Any]:
    listed = "".join(f"{file} {sha256}\n" for file, sha256 in FILES.items())
    return {
        "urn": f"urn:pulumi:test::reflector::reflector:hosttrust:HostTrust$command:local:Command::host-trust-{name}",
        "type": "command:local:Command",
        "inputs": {"environment": {"AUTHORITIES": listed, **environment}, "stdin": PEM},
        "outputs": {},
    }


STORE: Final = command("store")
REGISTRIES: Final = command("registries", REGISTRIES=f"{REGISTRY}\n")
RESOURCES: Final = [STORE, REGISTRIES]


def settings(trust: Mapping[str, object] | None = TRUST) -> Settings:
    return settings_of(free_port(), free_port(), hosts={"main": {"trust": dict(trust or {})}})


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a `docker` on PATH by which a look finds this, and returns the log of its calls."""

    def install(found: str = "", **more: Any) -> Path:
        monkeypatch.setenv("PATH", path_with(tmp_path / "path"))
        return fake_command(tmp_path / "path", "docker", {"image inspect": "[]", "run": found, **more})

    return install


def look(trust: Mapping[str, object] | None = TRUST, info: Mapping[str, Any] = INFO, resources: Any = RESOURCES) -> Any:
    return host_trust.look(settings(trust), DAEMON, info, lambda: resources)


def test_who_asks_for_nothing_is_not_looked_at(host: Any) -> None:
    log = host()
    assert look({}) == host_trust.Look()
    assert calls(log) == []


def test_where_all_is_right_nothing_is_said(host: Any) -> None:
    log = host()
    assert look() == host_trust.Look()
    (run,) = [call for call in calls(log) if call["arguments"][0] == "run"]
    assert "/:/host:ro" in run["arguments"]
    environment = run["environment"]
    assert (environment["TASK"], environment["STACK"], environment["STORE"]) == ("look", "reflector-test", "yes")
    assert (environment["FOLDERS"], environment["REGISTRIES"], run["stdin"]) == (REGISTRY, REGISTRY, PEM)
    assert environment["AUTHORITIES"].split()[::2] == [*FILES]


def test_before_the_first_run_only_what_stands_in_its_way_is_looked_for(host: Any) -> None:
    log = host()
    assert look(resources=()) == host_trust.Look()
    environment = calls(log)[-1]["environment"]
    assert environment["SYSTEM"] == "yes"
    assert {"STORE", "AUTHORITIES"}.isdisjoint(environment)


@pytest.mark.parametrize(
    ("found", "setting", "given", "allowed", "remedy"),
    [
        (
            "system NixOS 24.05 (nixos)\n", "hosts.main.trust.system_store",
            "true, and the system of unix:///var/run/docker.sock is NixOS 24.05 (nixos)", "Debian, Ubuntu, Alpine",
            "pulumi config rm --path hosts.main.trust.system_store",
        ),
        (
            "tool update-ca-certificates Alpine Linux v3.20 (alpine)\n", "hosts.main.trust.system_store",
            "Alpine Linux v3.20 (alpine) at unix:///var/run/docker.sock has no update-ca-certificates",
            "a host with update-ca-certificates", "Install its package ca-certificates there",
        ),
        (
            f"client /etc/docker/certs.d/{REGISTRY}/ca.cert ca.key\n", "hosts.main.trust.registries",
            f"/etc/docker/certs.d/{REGISTRY}/ca.cert lies on unix:///var/run/docker.sock without ca.key",
            "files that end in .crt for authorities", "Rename it there, or remove it",
        ),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_one_line(
    host: Any, found: str, setting: str, given: str, allowed: str, remedy: str
) -> None:
    host(found)
    (problem,) = look().problems
    assert problem.setting == setting
    assert given in problem.given
    assert allowed in problem.allowed
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}, "is rootless"),
        ({"OperatingSystem": "Docker Desktop"}, "is Docker Desktop's"),
        ({"DockerRootDir": "/var/snap/docker/common/var-lib-docker"}, "is a snap"),
    ],
)
def test_a_daemon_that_is_not_straight_on_its_host_is_refused_unasked(host: Any, info: Any, said: str) -> None:
    log = host()
    (problem,) = look(info={**INFO, **info}).problems
    assert problem.setting == "hosts.main.trust"
    assert said in problem.given
    assert calls(log) == []


def test_a_host_that_cannot_be_looked_at_is_a_problem_and_no_traceback(host: Any) -> None:
    host({"status": 127, "stderr": 'exec: "chroot": executable file not found in $PATH'})
    (problem,) = look().problems
    assert "does not run its own tools in a container: exec: " in problem.given


def test_what_the_host_forgot_is_made_again_in_the_same_run(host: Any) -> None:
    first = next(iter(FILES))
    host(f"store {first}\nregistry {REGISTRY}\n")
    found = look()
    assert found.problems == ()
    assert [str(one) for one in found.damage] == [
        f"the trust store of the Docker host lacks what was put there: {first}",
        f"what the Docker host trusts registries by lacks what was put there: {REGISTRY}",
    ]
    flags = healing.flags(found.damage, refresh=False)
    assert flags == ["--replace", STORE["urn"], "--replace", REGISTRIES["urn"]]


def test_what_is_about_to_be_taken_away_is_not_made_again(host: Any) -> None:
    host(f"store {next(iter(FILES))}\nregistry {REGISTRY}\n")
    (damage,) = look({"system_store": True}).damage
    assert damage.urn == STORE["urn"]


def test_it_is_a_part_of_the_checks(docker: Docker, tmp_path: Path) -> None:
    log = docker()
    fake = tmp_path / "path" / "docker"
    fake.write_text(
        fake.read_text(encoding="utf-8").replace(
            "table = json.loads(", "table = dict([('run', {'stdout': 'system X (x)\\n'}), ('image', {})]) | json.loads("
        ),
        encoding="utf-8",
    )
    (problem,) = checks.look_at_host(settings(), []).problems
    assert problem.setting == "hosts.main.trust.system_store"
    assert [call for call in calls(log) if call["arguments"][0] == "run"]


# --- pki verify -------------------------------------------------------------------------------------------------------


def findings(resources: Any = RESOURCES, trust: Mapping[str, object] | None = TRUST) -> list[tuple[str, bool]]:
    return list(host_trust.findings(settings(trust), DAEMON, resources))


def test_verify_tells_of_each_file_and_each_registry(host: Any) -> None:
    first, second = FILES
    host(f"store {first}\n")
    assert findings() == [
        (f"{first} (0123456701234567…) is not in its store and its bundle", False),
        (f"{second} (89abcdef89abcdef…) is in its store and its bundle", True),
        (f"its daemon trusts what it was told to at {REGISTRY}", True),
    ]


def test_verify_tells_what_stops_docker_as_well(host: Any) -> None:
    host(f"client /etc/docker/certs.d/{REGISTRY}/ca.cert ca.key\nregistry {REGISTRY}\n")
    told = findings()
    assert [fine for _, fine in told] == [False, True, True, False]
    assert "ca.cert lies on" in told[0][0]


def test_verify_asks_nobody_where_nothing_was_told_and_hides_no_failure(host: Any) -> None:
    log = host({"status": 1, "stderr": "no space left"})
    assert findings([]) == []
    assert calls(log) == []
    with pytest.raises(DaemonError, match=re.escape("no space left")):
        findings()


def test_the_names_of_resources_are_those_the_program_gives() -> None:
    assert host_trust.Deployed.of(RESOURCES).addresses == [REGISTRY]
    assert host_trust.Deployed.of([STORE]).files == FILES
    assert host_trust.Deployed.of([]).is_nothing
    assert rendering.call("look", "", "x")["TASK"] == "look"
