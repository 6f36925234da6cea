"""Everything that can be known to be wrong before the first resource, as one list."""

import errno
import json
import os
import socket
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from components.base.daemon import Daemon
from operations import checks
from operations.checks import Found
from operations.listing import Listing, containers
from operations.stack import Stack
from settings import Settings
from settings.problems import Problem
from testing.certificates import CLIENT, certificate, docker_client
from testing.commands import fake_command, path_with
from testing.docker import free_port
from tests.unit.operations.stand_ins import (
    INFO,
    OLDER,
    VERSION,
    Docker,
    asked,
    listed,
    settings_of,
    with_engine,
    with_file,
    with_state,
)

ANY: Final = ("0.0.0.0",)
ELSEWHERE: Final[Mapping[str, object]] = {"main": {"address": "ssh://host"}}


@pytest.fixture
def free_ports() -> tuple[int, int]:
    """Two ports nobody uses."""
    return free_port(), free_port()


def state_of(deployment: str) -> list[dict[str, Any]]:
    """Return the resources of a state that marks what is its own like this; none if it is empty."""
    return [{"urn": "urn::host-deployment", "outputs": {"hex": deployment}}] if deployment else []


def found_on_host(settings: Settings, deployment: str | None = None) -> list[Problem]:
    """Return what is wrong with the Docker host."""
    return checks.look_at_host(settings, None if deployment is None else state_of(deployment)).problems


def publishing(ports: str) -> Listing:
    """Return a container with these published ports."""
    (listing,) = containers(listed("x", ports))
    return listing


# --- Ports ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ports", "port", "protocol", "expected"),
    [
        ("127.0.0.1:8443->8443/tcp", 8443, "tcp", True),
        ("127.0.0.1:8443->8443/tcp", 8443, "udp", False),
        ("127.0.0.1:8443->443/tcp", 443, "tcp", False),
        ("127.0.0.1:18443->8443/tcp", 8443, "tcp", False),
        ("0.0.0.0:80->8080/tcp, 0.0.0.0:443->8443/tcp", 443, "tcp", True),
        ("0.0.0.0:443->443/udp, :::443->443/udp", 443, "udp", True),
        ("[::]:443->443/tcp", 443, "tcp", True),
        ("5432/tcp", 5432, "tcp", False),
        ("", 443, "tcp", False),
        # Docker writes neighbouring ports as one range.
        ("127.0.0.1:8442-8444->8442-8444/tcp", 8443, "tcp", True),
        ("127.0.0.1:8442-8444->8442-8444/tcp", 8444, "tcp", True),
        ("127.0.0.1:8442-8444->8442-8444/tcp", 8445, "tcp", False),
        ("8442-8444/tcp", 8443, "tcp", False),
    ],
)
def test_published_ports_are_read_from_dockers_own_notation(
    ports: str, port: int, protocol: str, expected: bool
) -> None:
    assert publishing(ports).publishes(port, protocol, ANY) is expected


@pytest.mark.parametrize(
    ("published", "addresses", "expected"),
    [
        ("127.0.0.1", ("192.0.2.1",), False),
        ("127.0.0.1", ("192.0.2.1", "127.0.0.1"), True),
        ("0.0.0.0", ("192.0.2.1",), True),
        ("127.0.0.1", ("0.0.0.0",), True),
        ("::", ("::1",), True),
        ("[::1]", ("::1",), True),
        ("127.0.0.1", ("::",), True),
    ],
)
def test_a_port_is_only_in_the_way_on_an_address_both_use(
    published: str, addresses: tuple[str, ...], expected: bool
) -> None:
    assert publishing(f"{published}:443->443/tcp").publishes(443, "tcp", addresses) is expected


def test_a_port_of_another_container_is_named_with_its_holder(docker: Docker, free_ports: tuple[int, int]) -> None:
    https, http = free_ports
    docker(listed("proxy", f"127.0.0.1:{https}->80/tcp"))
    (problem,) = found_on_host(settings_of(https, http))
    assert str(problem) == (
        f"edge.https_port: {https}/tcp is in use by the container proxy on unix:///var/run/docker.sock; "
        "allowed: a free port. Stop it, or set another: pulumi config set --path edge.https_port <port>"
    )


def test_a_port_of_another_program_is_found_by_trying_it(docker: Docker, free_ports: tuple[int, int]) -> None:
    docker()
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        (problem,) = found_on_host(settings_of(free_ports[0], port))
    assert (problem.setting, problem.given) == (
        "edge.http_port",
        f"{port}/tcp is in use by another program on unix:///var/run/docker.sock",
    )


def test_a_busy_udp_port_is_found_too(docker: Docker, free_ports: tuple[int, int]) -> None:
    docker()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
        busy.bind(("127.0.0.1", 0))
        port = busy.getsockname()[1]
        (problem,) = found_on_host(settings_of(port, free_ports[1]))
    assert problem.given.startswith(f"{port}/udp is in use by another program"), "HTTP/3 would fail to start"


def test_a_busy_port_of_the_stores_own_is_found_too(docker: Docker, free_ports: tuple[int, int]) -> None:
    docker()
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        edge = {"domain": "192.0.2.9", "bind_addresses": ["0.0.0.0"]}
        (problem,) = found_on_host(settings_of(*free_ports, edge, storage={"mode": "garage", "https_port": port}))
    assert problem.setting == "storage.https_port"
    assert problem.given.startswith(f"{port}/tcp is in use by another program")


@pytest.mark.parametrize("refusal", [errno.EACCES, errno.EINVAL])
def test_a_port_this_user_may_not_try_is_not_in_use(
    docker: Docker, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    docker()
    monkeypatch.setattr(socket.socket, "bind", refuse)
    assert found_on_host(settings_of(443, 80)) == [], "below 1024 only root may listen, and Docker is root"


def test_an_address_the_host_does_not_have_is_a_problem_of_its_own(docker: Docker, free_ports: tuple[int, int]) -> None:
    docker()
    # RFC 5737 and RFC 3849 keep these addresses for documentation: no machine has them.
    addresses = ["127.0.0.1", "192.0.2.1", "2001:db8::1"]
    found = found_on_host(settings_of(*free_ports, {"bind_addresses": addresses}))
    assert [str(problem) for problem in found] == [
        f"edge.bind_addresses[{index}]: {addresses[index]} is no address of this machine; allowed: addresses of the "
        f"Docker host. Set another: pulumi config set --path 'edge.bind_addresses[{index}]' <address>"
        for index in (1, 2)
    ]


def test_addresses_of_another_machine_cannot_be_tried(docker: Docker) -> None:
    docker()
    elsewhere = settings_of(443, 80, {"bind_addresses": ["192.0.2.1"]}, hosts=ELSEWHERE)
    assert found_on_host(elsewhere) == []


def test_a_busy_port_of_another_machine_cannot_be_tried(docker: Docker, tmp_path: Path) -> None:
    docker()
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert found_on_host(settings_of(port, 2, hosts=ELSEWHERE)) == []


def test_the_stacks_own_ports_are_not_in_its_way(docker: Docker) -> None:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        own.listen()
        port = own.getsockname()[1]
        ports = ", ".join(f"127.0.0.1:{port}-{port + 1}->{port}-{port + 1}/{kind}" for kind in ("tcp", "udp"))
        docker(listed("reflector-test-caddy", ports, stack="reflector-test"))
        assert found_on_host(settings_of(port, port + 1)) == [], "a second `up` must not trip over the first"


# --- Names and the engine ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", ["", "reflector-other"])
def test_a_name_somebody_else_uses_is_a_problem(docker: Docker, free_ports: tuple[int, int], owner: str) -> None:
    docker(listed("reflector-test-postgres", stack=owner))
    (problem,) = found_on_host(settings_of(*free_ports))
    assert str(problem) == (
        "STACK: the container reflector-test-postgres on unix:///var/run/docker.sock is not this stack's; allowed: "
        "names nobody else uses. Remove it (docker rm reflector-test-postgres), or use another stack name"
    )


@pytest.mark.parametrize("known", ["", "fedcba9876543210"])
@pytest.mark.parametrize("theirs", ["", "0123456789abcdef"])
def test_a_stack_of_this_name_that_this_state_does_not_know_is_somebody_elses(
    docker: Docker, free_ports: tuple[int, int], known: str, theirs: str
) -> None:
    https, http = free_ports
    docker(listed("reflector-test-caddy", f"127.0.0.1:{https}->{https}/tcp", "reflector-test", theirs))
    (problem,) = found_on_host(settings_of(https, http), known)
    assert str(problem) == (
        "STACK: a stack of this name is on unix:///var/run/docker.sock already, and this state knows nothing of it: "
        "reflector-test-caddy; allowed: a stack this checkout or backend has deployed itself, or a name nobody else "
        "uses. Go on where it was deployed, or use another stack name; if its state is lost, take it over: "
        f"pulumi config set --path hosts.main.adopt {theirs or '0000000000000000'} (docs/deploy.md)"
    )


@pytest.mark.parametrize("known", [None, "0123456789abcdef"])
def test_a_stack_this_state_knows_or_the_engine_alone_can_know_is_no_problem(
    docker: Docker, free_ports: tuple[int, int], known: str | None
) -> None:
    https, http = free_ports
    docker(listed("reflector-test-caddy", f"127.0.0.1:{https}->{https}/tcp", "reflector-test", "0123456789abcdef"))
    assert found_on_host(settings_of(https, http), known) == []


def test_the_stacks_own_containers_and_unrelated_ones_are_no_problem(
    docker: Docker, free_ports: tuple[int, int]
) -> None:
    docker(listed("reflector-test-postgres", stack="reflector-test") + listed("blog-postgres"))
    assert found_on_host(settings_of(*free_ports)) == []


def test_an_engine_that_is_too_old_is_a_problem(docker: Docker, free_ports: tuple[int, int]) -> None:
    docker(version={"Version": "19.03.1", "ApiVersion": "1.40"})
    found = found_on_host(settings_of(*free_ports))
    assert [problem.setting for problem in found] == ["hosts.main.address", "hosts.main.address"]
    assert "19.03.1" in found[0].given


def test_too_little_disk_is_a_problem(docker: Docker, free_ports: tuple[int, int]) -> None:
    docker()
    (problem,) = found_on_host(settings_of(*free_ports, hosts={"main": {"minimum_free_disk_gib": 10**9}}))
    assert "GiB" in problem.given


def test_a_folder_that_cannot_be_looked_into_is_no_problem(docker: Docker, free_ports: tuple[int, int]) -> None:
    docker(info={**INFO, "DockerRootDir": "/nowhere/docker"})
    assert found_on_host(settings_of(*free_ports)) == []


# --- Asking the daemon ------------------------------------------------------------------------------------------------


def test_the_daemon_is_asked_everything_at_once(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    docker()
    answer = Daemon.run
    # Nobody gets past it before all four are there.
    together = threading.Barrier(4)

    def run(daemon: Daemon, *arguments: str) -> str:
        together.wait(timeout=30)
        return answer(daemon, *arguments)

    monkeypatch.setattr(Daemon, "run", run)
    assert found_on_host(settings_of(free_port(), free_port()), "") == []


@pytest.mark.parametrize("question", ["info", "version", "ps", "volume ls"])
def test_a_question_the_daemon_does_not_answer_is_the_only_problem_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    answers: dict[str, Any] = {"info": json.dumps(dict(INFO)), "version": json.dumps(dict(VERSION))}
    answers |= {"ps": "", "volume ls": ""}
    answers[question] = {"status": 1, "stderr": "Cannot connect to the Docker daemon"}
    log = fake_command(tmp_path, "docker", answers)
    monkeypatch.setenv("PATH", path_with(tmp_path))
    found = checks.look_at_host(settings_of(443, 80), ())
    assert [str(problem) for problem in found.problems] == [
        "hosts.main.address: unix:///var/run/docker.sock: Cannot connect to the Docker daemon; "
        "allowed: a Docker daemon that answers. Start it, allow this user to reach it, or set another: "
        "pulumi config set --path hosts.main.address <address>"
    ]
    assert found.hints == []
    assert len(asked(log)) == 4, "none of them is left behind"


def test_without_the_docker_command_there_is_one_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (problem,) = found_on_host(settings_of(443, 80))
    assert "the docker command is not installed" in problem.given


def test_a_daemon_that_knows_it_is_proposed_to_look_at_starting_services_more_often(docker: Docker) -> None:
    docker()
    found = checks.look_at_host(settings_of(free_port(), free_port()), None)
    assert found.problems == []
    (hint,) = found.hints
    assert hint.endswith("pulumi config set --path health.start_interval_seconds 1")


def test_nothing_is_proposed_to_who_has_set_it_already(docker: Docker) -> None:
    docker()
    settings = settings_of(free_port(), free_port(), health={"start_interval_seconds": 2})
    assert checks.look_at_host(settings, None) == Found(problems=[])


def test_nothing_is_proposed_that_the_daemon_does_not_know(docker: Docker) -> None:
    docker(version=OLDER)
    assert checks.look_at_host(settings_of(free_port(), free_port()), None) == Found(problems=[])


def test_what_the_daemon_does_not_know_is_a_problem(docker: Docker) -> None:
    docker(version=OLDER)
    settings = settings_of(free_port(), free_port(), health={"start_interval_seconds": 2})
    found = checks.look_at_host(settings, None)
    assert [str(problem) for problem in found.problems] == [
        "health.start_interval_seconds: 2, while unix:///var/run/docker.sock speaks API 1.43; allowed: nothing on an "
        "engine older than Docker 25 (API 1.44). Remove it: pulumi config rm --path health.start_interval_seconds"
    ]
    assert found.hints == []


# --- One list ---------------------------------------------------------------------------------------------------------


def test_a_stack_without_a_file_is_named_with_those_that_have_one(stack: Stack) -> None:
    for name in ("dev", "other"):
        (stack.layout.root / f"Pulumi.{name}.yaml").touch()
    checked = checks.check(stack)
    assert checked.settings is None
    assert [str(problem) for problem in checked.problems] == [
        "STACK: 'test', but there is no Pulumi.test.yaml; allowed: a stack with a file: dev, other. "
        "Copy one of them to Pulumi.test.yaml, or choose another: make up STACK=<name>"
    ]


def test_problems_of_settings_and_host_come_in_one_list(
    stack: Stack, docker: Docker, free_ports: tuple[int, int]
) -> None:
    https, http = free_ports
    docker(listed("reflector-test-redis") + listed("proxy", f"0.0.0.0:{http}->80/tcp"))
    edge = {"domian": "x", "https_port": https, "http_port": http}
    with_file(stack, {"edge": edge, "language_model": {"mode": "ollama", "context_tokens": 3}})
    checked = checks.check(stack)
    assert checked.settings is None
    assert [problem.setting for problem in checked.problems] == [
        "edge.domian", "language_model.context_tokens", "STACK", "edge.http_port",
    ]  # fmt: skip


def test_without_settings_to_go_by_no_host_is_asked(stack: Stack, docker: Docker) -> None:
    log = docker(listed("reflector-test-redis"))
    (stack.layout.root / "Pulumi.test.yaml").write_text("config: [\n", encoding="utf-8")
    checked = checks.check(stack)
    assert [problem.setting for problem in checked.problems] == ["Pulumi.test.yaml"]
    assert asked(log) == []


@pytest.mark.parametrize(
    ("main", "setting"),
    [
        ({"address": "ssh://-oProxyCommand=x@h"}, "hosts.main.address"),
        ({"address": "tcp://h:2376"}, "hosts.main.certificates"),
        ({"address": "TCP://10.0.0.5:2375"}, "hosts.main.certificates"),
        ({"address": "tcp://h:2376", "certificates": "/nowhere"}, "hosts.main.certificates"),
        (3, "hosts.main"),
    ],
)
def test_where_the_way_to_the_host_is_wrong_no_other_host_is_asked(
    stack: Stack, docker: Docker, main: object, setting: str
) -> None:
    log = docker(listed("reflector-test-redis"))
    with_file(stack, {"hosts": {"main": main}})
    assert {problem.setting for problem in checks.check(stack).problems} == {setting}
    assert asked(log) == []


@pytest.mark.parametrize("name", ["ca", "cert"])
def test_certificates_that_are_out_of_date_are_told_before_the_host_is_asked(
    stack: Stack, docker: Docker, tmp_path: Path, name: str
) -> None:
    log = docker()
    docker_client(tmp_path)
    late, key = certificate("late", usages=[CLIENT], from_days=-60, to_days=-30)
    (tmp_path / f"{name}.pem").write_text(late)
    if name == "cert":
        (tmp_path / "key.pem").write_text(key)
    with_file(stack, {"hosts": {"main": {"address": "tcp://h:2376", "certificates": str(tmp_path)}}})
    (problem,) = checks.check(stack).problems
    day = (datetime.now(UTC) - timedelta(days=30)).strftime("%Y-%m-%d")
    assert str(problem) == (
        f"hosts.main.certificates: {tmp_path}/{name}.pem: expired on {day}; allowed: a folder with ca.pem, cert.pem, "
        "key.pem in PEM form, a certificate of a client's and its key, in their time. Put the right file there, or set "
        "another folder: pulumi config set --path hosts.main.certificates <folder>"
    )
    assert asked(log) == []


def test_what_settings_hint_at_is_passed_on(stack: Stack, docker: Docker, free_ports: tuple[int, int]) -> None:
    docker()
    https, http = free_ports
    with_file(stack, {"edge": {"domain": "reflector.local", "https_port": https, "http_port": http}})
    checked = checks.check(stack)
    assert checked.problems == []
    assert [hint for hint in checked.hints if hint.startswith("s3.reflector.local has a dot before .local")]


def test_a_stack_without_problems_gives_its_settings(stack: Stack, docker: Docker, free_ports: tuple[int, int]) -> None:
    docker()
    log = with_engine(stack)
    with_file(stack, {"edge": {"https_port": free_ports[0], "http_port": free_ports[1]}})
    checked = checks.check(stack)
    assert checked.problems == []
    assert checked.settings is not None
    assert checked.settings.edge.https_port == free_ports[0]
    assert asked(log) == [], "the file says everything, and the engine takes a second"


def test_what_this_state_has_deployed_is_found_in_it(stack: Stack, docker: Docker, free_ports: tuple[int, int]) -> None:
    docker(listed("reflector-test-redis", "", "reflector-test", "12ab"))
    with_file(stack, {"edge": {"https_port": free_ports[0], "http_port": free_ports[1]}})
    assert [problem.setting for problem in checks.check(stack).problems] == ["STACK"], "the state knows nothing yet"
    with_state(stack, resources=[{"urn": "urn::host-deployment", "outputs": {"hex": "12ab"}}])
    assert checks.check(stack).problems == []


# --- What only the engine knows ---------------------------------------------------------------------------------------


def as_config(**concerns: object) -> str:
    """Return what `pulumi config --json --show-secrets` prints."""
    encrypted = "language_model"
    return json.dumps(
        {
            f"reflector:{name}": {"value": json.dumps(value), "objectValue": value, "secret": name == encrypted}
            for name, value in concerns.items()
        }
    )


def test_the_engine_is_asked_what_an_ordinary_setting_is_that_is_encrypted(stack: Stack, docker: Docker) -> None:
    docker()
    with_state(stack)
    edge = {"https_port": free_port(), "http_port": free_port()}
    model = {"mode": "ollama", "model": {"secure": "v1:ciphertext"}}
    with_file(stack, {"edge": edge, "language_model": model})
    log = with_engine(stack, config=as_config(edge=edge, language_model={"mode": "ollama", "model": "confidential"}))
    checked = checks.check(stack)
    assert checked.problems == []
    settings: Any = checked.settings
    assert settings.language_model.model == "confidential"
    assert settings.encrypted == {"confidential"}, "it has to stay secret to the end"
    assert asked(log) == ["config --json --show-secrets --stack test"]


def test_a_wrong_value_that_is_encrypted_is_found_like_any_other(stack: Stack, docker: Docker) -> None:
    docker()
    with_state(stack)
    model = {"mode": "ollama", "model": {"secure": "v1:ciphertext"}}
    with_file(stack, {"edge": {"https_port": free_port(), "http_port": free_port()}, "language_model": model})
    with_engine(stack, config=as_config(language_model={"mode": "ollama", "model": "two words"}))
    assert [problem.setting for problem in checks.check(stack).problems] == ["language_model.model"]


def test_what_is_encrypted_is_not_shown_where_the_host_is_at_fault(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_command(tmp_path / "path", "docker", {"": {"status": 1, "stderr": "cannot reach ssh://confidential"}})
    monkeypatch.setenv("PATH", path_with(tmp_path / "path"))
    with_state(stack)
    with_file(stack, {"hosts": {"main": {"address": {"secure": "v1:ciphertext"}}}})
    with_engine(stack, config=as_config(hosts={"main": {"address": "ssh://confidential"}}))
    (problem,) = checks.check(stack).problems
    assert problem.given == "[secret]: cannot reach [secret]"


def test_a_secret_alone_is_no_reason_to_start_the_engine(stack: Stack, docker: Docker) -> None:
    docker()
    edge = {"https_port": free_port(), "http_port": free_port()}
    with_file(stack, {"edge": edge, "speech": {"mode": "in-process", "hf_token": {"secure": "v1:ciphertext"}}})
    log = with_engine(stack)
    assert checks.check(stack).problems == []
    assert asked(log) == []


def test_a_stack_that_the_engine_cannot_open_is_one_problem(
    stack: Stack, docker: Docker, capfd: pytest.CaptureFixture[str]
) -> None:
    docker()
    with_state(stack)
    with_file(stack, {"storage": {"mode": "garage", "bucket": {"secure": "v1:ciphertext"}}})
    with_engine(stack, config={"status": 255, "stderr": "error: incorrect passphrase\n"})
    checked = checks.check(stack)
    assert [problem.setting for problem in checked.problems] == ["Pulumi.test.yaml"]
    assert "incorrect passphrase" in capfd.readouterr().err, "the engine's own words say why"


def test_an_imported_environment_cannot_be_had_where_the_state_is_in_files(stack: Stack, docker: Docker) -> None:
    log = docker()
    engine = with_engine(stack)
    with_file(stack, {}, environment=["reflector/production"])
    assert [str(problem) for problem in checks.check(stack).problems] == [
        "environment: an import of Pulumi ESC, while the state is kept in files; "
        "allowed: imports where the state is in Pulumi Cloud. Log in there (. ./env.sh && pulumi login), or write "
        "the settings into the stack file"
    ]
    assert (asked(log), asked(engine)) == ([], [])


def test_the_engine_is_asked_for_what_is_imported_where_it_can_tell(
    stack: Stack, docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker()
    monkeypatch.setenv("PULUMI_BACKEND_URL", "https://api.pulumi.example.com")
    edge = {"https_port": free_port(), "http_port": free_port(), "domain": "imported.example.com"}
    with_file(stack, {}, environment=["reflector/production"])
    log = with_engine(stack, stack_select="", config=as_config(edge=edge))
    checked = checks.check(stack)
    assert checked.problems == []
    assert checked.settings is not None
    assert checked.settings.edge.domain == "imported.example.com"
    assert asked(log) == ["stack select --create --stack test", "config --json --show-secrets --stack test"]


# --- Addresses of networks --------------------------------------------------------------------------------------------


def with_networks(docker: Docker, *networks: tuple[str, str, str]) -> None:
    """Let the daemon have networks: name, subnet, and the stack they are of."""
    docker(
        addresses=[
            {
                "Name": name,
                "Labels": {"org.reflector.stack": stack} if stack else None,
                "IPAM": {"Config": [{"Subnet": subnet}] if subnet else None},
            }
            for name, subnet, stack in networks
        ]
    )


def pooled(free_ports: tuple[int, int]) -> Settings:
    return settings_of(*free_ports, hosts={"main": {"subnets": "10.213.0.0/20"}})


def test_addresses_another_network_has_are_refused_by_its_name(docker: Docker, free_ports: tuple[int, int]) -> None:
    with_networks(docker, ("vpn", "10.213.4.0/24", ""), ("wide", "10.0.0.0/8", "reflector-other"), ("host", "", ""))
    (problem,) = found_on_host(pooled(free_ports))
    assert str(problem) == (
        "hosts.main.subnets: 10.213.0.0/20, of which other networks on unix:///var/run/docker.sock have a part: "
        "vpn (10.213.4.0/24), wide (10.0.0.0/8); allowed: addresses no other network of that host has. Set another: "
        "pulumi config set --path hosts.main.subnets <network>"
    )


def test_the_stacks_own_networks_and_those_beside_are_not_in_the_way(
    docker: Docker, free_ports: tuple[int, int]
) -> None:
    with_networks(
        docker,
        ("reflector-test-application", "10.213.0.0/24", "reflector-test"), ("bridge", "172.17.0.0/16", ""),
        ("six", "fd00::/64", ""), ("beside", "10.213.16.0/24", ""),
    )  # fmt: skip
    assert found_on_host(pooled(free_ports)) == []


def test_other_addresses_must_be_apart_from_those_the_stack_has(docker: Docker, free_ports: tuple[int, int]) -> None:
    with_networks(
        docker,
        ("reflector-test-application", "10.213.0.0/16", "reflector-test"),
        ("reflector-test-cache", "10.213.16.0/24", "reflector-test"),
    )
    (problem,) = found_on_host(pooled(free_ports))
    assert str(problem) == (
        "hosts.main.subnets: 10.213.0.0/20, of which networks of this stack have a part until they are replaced: "
        "reflector-test-application (10.213.0.0/16); allowed: addresses apart from those it has now. Take it down "
        "first (make down keeps the data), or set another: pulumi config set --path hosts.main.subnets <network>"
    )


def test_nobody_asks_for_networks_where_docker_chooses(docker: Docker, free_ports: tuple[int, int]) -> None:
    log = docker()
    assert found_on_host(settings_of(*free_ports)) == []
    assert not any(call.startswith("network") for call in asked(log))


def test_a_docker_command_that_is_missing_over_ssh_has_a_remedy_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", path_with(tmp_path / "path"))
    missing = {"status": 1, "stderr": "command [ssh -- host docker system dial-stdio] has exited with exit status 127"}
    fake_command(tmp_path / "path", "docker", {"": missing})
    (problem,) = found_on_host(settings_of(8443, 8080, hosts=ELSEWHERE))
    assert str(problem) == (
        "hosts.main.address: ssh://host: the docker command is not on the PATH of a non-interactive ssh session there; "
        "allowed: a Docker daemon that answers. Install it there, or link it to where such sessions look (ssh <host> "
        "'echo $PATH'), often /usr/bin or /usr/local/bin"
    )
