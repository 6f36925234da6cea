"""What happens before and after the engine runs: checks as one list, and the traces of killed runs cleared away."""

import errno
import gzip
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

import settings
from components.host import Owner
from operations import __main__ as commands
from operations import preflight
from operations.preflight import Listing
from operations.stack import Stack
from settings.schema import ROOT
from tests.unit.building import calls, fake_command, path_with
from toolchain import Layout

INFO: Final[Mapping[str, Any]] = {
    "DockerRootDir": "/", "CgroupVersion": "2", "Driver": "overlay2", "OperatingSystem": "Debian",
}  # fmt: skip
VERSION: Final[Mapping[str, Any]] = {"Version": "27.1.1", "ApiVersion": "1.46"}
ANY: Final = ("0.0.0.0",)


def listed(name: str, ports: str = "", stack: str = "", deployment: str = "") -> str:
    """Return a line of `docker ps`."""
    labels = "maintainer=somebody"
    labels += f",org.reflector.stack={stack}" if stack else ""
    labels += f",org.reflector.deployment={deployment}" if deployment else ""
    return json.dumps({"Names": name, "Labels": labels, "Ports": ports}) + "\n"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a `docker` on PATH that tells of this host, and return the log of its calls."""

    def install(containers: str = "", info: Mapping[str, Any] = INFO, version: Mapping[str, Any] = VERSION) -> Path:
        monkeypatch.setenv("PATH", path_with(tmp_path / "path"))
        answers = {"info": json.dumps(dict(info)), "version": json.dumps(dict(version)), "ps": containers}
        return fake_command(tmp_path / "path", "docker", answers)

    return install


@pytest.fixture
def free_ports() -> tuple[int, int]:
    """Two ports nobody uses."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def stack_settings(https_port: int, http_port: int, **more: object) -> settings.Settings:
    raw = {"https_port": https_port, "http_port": http_port, "bind_addresses": ["127.0.0.1"], **more}
    return settings.parse(raw, "test")


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
    assert Listing(name="x", owner=Owner.of(None), ports=ports).publishes(port, protocol, ANY) is expected


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
    listing = Listing(name="x", owner=Owner.of(None), ports=f"{published}:443->443/tcp")
    assert listing.publishes(443, "tcp", addresses) is expected


def test_a_port_of_another_container_is_named_with_its_holder(
    docker: Callable[..., Path], free_ports: tuple[int, int]
) -> None:
    https, http = free_ports
    docker(listed("proxy", f"127.0.0.1:{https}->80/tcp"))
    (problem,) = preflight.host_problems(stack_settings(https, http), deployment=None)
    assert str(problem) == (
        f"https_port: {https}/tcp is in use by the container proxy on unix:///var/run/docker.sock; "
        "allowed: a free port. Stop it, or set another: pulumi config set https_port <port>"
    )


def test_a_port_of_another_program_is_found_by_trying_it(
    docker: Callable[..., Path], free_ports: tuple[int, int]
) -> None:
    docker()
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        (problem,) = preflight.host_problems(stack_settings(free_ports[0], port), deployment=None)
    assert (problem.setting, problem.given) == (
        "http_port",
        f"{port}/tcp is in use by another program on unix:///var/run/docker.sock",
    )


def test_a_busy_udp_port_is_found_too(docker: Callable[..., Path], free_ports: tuple[int, int]) -> None:
    docker()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
        busy.bind(("127.0.0.1", 0))
        port = busy.getsockname()[1]
        (problem,) = preflight.host_problems(stack_settings(port, free_ports[1]), deployment=None)
    assert problem.given.startswith(f"{port}/udp is in use by another program"), "HTTP/3 would fail to start"


@pytest.mark.parametrize("refusal", [errno.EACCES, errno.EINVAL])
def test_a_port_this_user_may_not_try_is_not_in_use(
    docker: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    docker()
    monkeypatch.setattr(socket.socket, "bind", refuse)
    assert preflight.host_problems(stack_settings(443, 80), deployment=None) == [], (
        "below 1024 only root may listen, and Docker is root"
    )


def test_an_address_the_host_does_not_have_is_a_problem_of_its_own(
    docker: Callable[..., Path], free_ports: tuple[int, int]
) -> None:
    docker()
    # RFC 5737 and RFC 3849 keep these addresses for documentation: no machine has them.
    addresses = ["127.0.0.1", "192.0.2.1", "2001:db8::1"]
    found = preflight.host_problems(stack_settings(*free_ports, bind_addresses=addresses), deployment=None)
    assert [str(problem) for problem in found] == [
        f"bind_addresses[{index}]: {addresses[index]} is no address of this machine; allowed: addresses of the Docker "
        f'host. Set another: pulumi config set --path "bind_addresses[{index}]" <address>'
        for index in (1, 2)
    ]


def test_addresses_of_another_machine_cannot_be_tried(docker: Callable[..., Path]) -> None:
    docker()
    elsewhere = stack_settings(443, 80, docker_host="ssh://host", bind_addresses=["192.0.2.1"])
    assert preflight.host_problems(elsewhere, deployment=None) == []


def test_a_busy_port_of_another_machine_cannot_be_tried(docker: Callable[..., Path], tmp_path: Path) -> None:
    docker()
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert preflight.host_problems(stack_settings(port, 1, docker_host="ssh://host"), deployment=None) == []


def test_the_stacks_own_ports_are_not_in_its_way(docker: Callable[..., Path]) -> None:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        own.listen()
        port = own.getsockname()[1]
        ports = ", ".join(f"127.0.0.1:{port}-{port + 1}->{port}-{port + 1}/{kind}" for kind in ("tcp", "udp"))
        docker(listed("reflector-test-caddy", ports, stack="reflector-test"))
        assert preflight.host_problems(stack_settings(port, port + 1), deployment=None) == [], (
            "a second `up` must not trip over the first"
        )


# --- Names and the engine ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", ["", "reflector-other"])
def test_a_name_somebody_else_uses_is_a_problem(
    docker: Callable[..., Path], free_ports: tuple[int, int], owner: str
) -> None:
    docker(listed("reflector-test-postgres", stack=owner))
    (problem,) = preflight.host_problems(stack_settings(*free_ports), deployment=None)
    assert str(problem) == (
        "STACK: the container reflector-test-postgres on unix:///var/run/docker.sock is not this stack's; allowed: "
        "names nobody else uses. Remove it (docker rm reflector-test-postgres), or use another stack name"
    )


@pytest.mark.parametrize("known", ["", "fedcba9876543210"])
@pytest.mark.parametrize("theirs", ["", "0123456789abcdef"])
def test_a_stack_of_this_name_that_this_state_does_not_know_is_somebody_elses(
    docker: Any, free_ports: tuple[int, int], known: str, theirs: str
) -> None:
    https, http = free_ports
    docker(listed("reflector-test-caddy", f"127.0.0.1:{https}->{https}/tcp", "reflector-test", theirs))
    (problem,) = preflight.host_problems(stack_settings(https, http), deployment=known)
    assert str(problem) == (
        "STACK: a stack of this name is on unix:///var/run/docker.sock already, and this state knows nothing of it: "
        "reflector-test-caddy; allowed: a stack this checkout or backend has deployed itself, or a name nobody else "
        "uses. Go on where it was deployed, or use another stack name; if its state is lost: docs/deploy.md"
    )


@pytest.mark.parametrize("known", [None, "0123456789abcdef"])
def test_a_stack_this_state_knows_or_the_engine_alone_can_know_is_no_problem(
    docker: Any, free_ports: tuple[int, int], known: str | None
) -> None:
    https, http = free_ports
    docker(listed("reflector-test-caddy", f"127.0.0.1:{https}->{https}/tcp", "reflector-test", "0123456789abcdef"))
    assert preflight.host_problems(stack_settings(https, http), deployment=known) == []


def test_a_stack_knows_its_own_by_what_its_state_says(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stack.deployment == ""
    with_state(stack)
    assert stack.deployment == "", "made, and never brought up"
    with_state(
        stack, resources=[{"urn": "urn:pulumi:test::reflector::x$y::host-deployment", "outputs": {"hex": "12ab"}}]
    )
    assert stack.deployment == "12ab"
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://somebodys-state")
    assert stack.deployment is None, "only the engine could tell"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file://{root}/else where", "else where"),
        ("file://{root}/else%20where?no_tmp_dir=true", "else where"),
        ("file://~", "home"),
        ("file://~/deep/er", "home/deep/er"),
        ("file://./near", "near"),
    ],
)
def test_the_state_is_found_where_the_engine_keeps_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, url: str, folder: str, compressed: bool
) -> None:
    root = stack.layout.root
    monkeypatch.setenv("HOME", str(root / "home"))
    monkeypatch.setenv("PULUMI_BACKEND_URL", url.format(root=root))
    with_state(stack, root / folder, resources=[{"urn": "urn::host-deployment", "outputs": {"hex": "12ab"}}])
    if compressed:
        (plain,) = (root / folder).rglob("test.json")
        plain.with_name("test.json.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    assert stack.deployment == "12ab"


def test_the_stacks_own_containers_and_unrelated_ones_are_no_problem(
    docker: Callable[..., Path], free_ports: tuple[int, int]
) -> None:
    docker(listed("reflector-test-postgres", stack="reflector-test") + listed("blog-postgres"))
    assert preflight.host_problems(stack_settings(*free_ports), deployment=None) == []


def test_an_engine_that_is_too_old_is_a_problem(docker: Callable[..., Path], free_ports: tuple[int, int]) -> None:
    docker(version={"Version": "19.03.1", "ApiVersion": "1.40"})
    found = preflight.host_problems(stack_settings(*free_ports), deployment=None)
    assert [problem.setting for problem in found] == ["docker_host", "docker_host"]
    assert "19.03.1" in found[0].given


def test_too_little_disk_is_a_problem(docker: Callable[..., Path], free_ports: tuple[int, int]) -> None:
    docker()
    (problem,) = preflight.host_problems(stack_settings(*free_ports, minimum_free_disk_gib=10**9), deployment=None)
    assert "GiB" in problem.given


def test_a_folder_that_cannot_be_looked_into_is_no_problem(
    docker: Callable[..., Path], free_ports: tuple[int, int]
) -> None:
    docker(info={**INFO, "DockerRootDir": "/nowhere/docker"})
    assert preflight.host_problems(stack_settings(*free_ports), deployment=None) == []


def test_a_daemon_that_does_not_answer_is_the_only_problem_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_command(tmp_path, "docker", {"info": {"status": 1, "stderr": "Cannot connect to the Docker daemon"}})
    monkeypatch.setenv("PATH", path_with(tmp_path))
    (problem,) = preflight.host_problems(stack_settings(443, 80), deployment=None)
    assert (problem.setting, problem.allowed) == ("docker_host", "a Docker daemon that answers")
    assert "Cannot connect to the Docker daemon" in problem.given


# --- One list ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of nothing but stack files."""
    monkeypatch.setattr(preflight, "ROOT", tmp_path)
    return tmp_path


def test_a_stack_without_a_file_is_named_with_those_that_have_one(checkout: Path) -> None:
    (checkout / "Pulumi.dev.yaml").touch()
    (checkout / "Pulumi.other.yaml").touch()
    found, (problem,) = preflight.check("tset", deployment=None)
    assert found is None
    assert str(problem) == (
        "STACK: 'tset', but there is no Pulumi.tset.yaml; allowed: a stack with a file: dev, other. "
        "Copy one of them to Pulumi.tset.yaml, or choose another: make up STACK=<name>"
    )


def test_problems_of_settings_and_host_come_in_one_list(
    checkout: Path, docker: Callable[..., Path], capsys: pytest.CaptureFixture[str], free_ports: tuple[int, int]
) -> None:
    https, http = free_ports
    docker(listed("reflector-test-redis") + listed("proxy", f"0.0.0.0:{http}->80/tcp"))
    (checkout / "Pulumi.test.yaml").write_text(
        f'config:\n  reflector:domian: x\n  reflector:https_port: "{https}"\n  reflector:http_port: "{http}"\n'
        "  reflector:llm_context_tokens: 3\n"
    )
    assert commands.check(Stack(name="test", layout=Layout(checkout))) is False
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "4 problems in the configuration, nothing was created:"
    assert [line.split(":")[0] for line in lines[1:]] == [
        "  - domian", "  - llm_context_tokens", "  - STACK", "  - http_port",
    ]  # fmt: skip


def test_without_settings_to_go_by_no_host_is_asked(
    checkout: Path, docker: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    docker(listed("reflector-test-redis"))
    (checkout / "Pulumi.test.yaml").write_text("config: [\n")
    assert commands.check(Stack(name="test", layout=Layout(checkout))) is False
    heading, line = capsys.readouterr().err.splitlines()
    assert heading == "1 problem in the configuration, nothing was created:"
    assert line.startswith("  - Pulumi.test.yaml: ")


def test_a_stack_without_problems_gives_its_settings(
    checkout: Path, docker: Callable[..., Path], free_ports: tuple[int, int]
) -> None:
    docker()
    (checkout / "Pulumi.test.yaml").write_text(
        f'config:\n  reflector:https_port: "{free_ports[0]}"\n  reflector:http_port: "{free_ports[1]}"\n'
    )
    found, problems = preflight.check("test", deployment=None)
    assert problems == []
    assert found is not None
    assert found.edge.https_port == free_ports[0]


# --- The stack around the engine --------------------------------------------------------------------------------------

PENDING: Final[Mapping[str, Any]] = {
    "version": 3,
    "deployment": {
        "resources": [{"urn": "kept"}],
        "pending_operations": [{"type": "creating", "resource": {"urn": "urn:interrupted"}}],
    },
}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack of a checkout with local state and no engine yet."""
    for variable in ("PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE"):
        monkeypatch.delenv(variable, raising=False)
    return Stack(name="test", layout=Layout(tmp_path))


def with_engine(stack: Stack, **answers: Any) -> Path:
    """Give the checkout of `stack` an engine with these answers, and return the log of its calls."""
    return fake_command(stack.layout.bin, "pulumi", {key.replace("_", " "): value for key, value in answers.items()})


def with_state(
    stack: Stack,
    folder: Path | None = None,
    *,
    resources: Sequence[Mapping[str, Any]] = (),
    pending: bool = False,
    lock: Mapping[str, Any] | None = None,
) -> Path:
    """Give `stack` a checkpoint, and perhaps a lock; return where the lock is."""
    state = (folder or stack.layout.state) / ".pulumi"
    checkpoint = state / "stacks" / "reflector" / "test.json"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    latest = PENDING["deployment"] if pending else {"resources": resources}
    checkpoint.write_text(json.dumps({"checkpoint": {"latest": latest}}))
    locks = state / "locks" / "organization" / "reflector" / "test"
    locks.mkdir(parents=True, exist_ok=True)
    if lock is not None:
        (locks / "lock.json").write_text(json.dumps(lock))
    return locks / "lock.json"


def asked(log: Path) -> list[str]:
    return [" ".join(call["arguments"]) for call in calls(log)]


def ended_process() -> int:
    """Return the id of a process that is no more."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_the_engine_runs_on_the_checkouts_own_state(stack: Stack) -> None:
    log = with_engine(stack, up="")
    assert stack.pulumi("up", "--yes") == 0
    assert asked(log) == ["up --yes --stack test"]
    environment = calls(log)[0]["environment"]
    assert environment["PULUMI_BACKEND_URL"] == f"file://{stack.layout.state}"
    assert environment["PULUMI_HOME"] == str(stack.layout.pulumi_home)


def test_the_engines_failure_is_passed_on(stack: Stack) -> None:
    with_engine(stack, up={"status": 255})
    assert stack.pulumi("up") == 255


def test_a_stack_is_made_on_first_use_only(stack: Stack) -> None:
    log = with_engine(stack, stack_select="")
    stack.ensure()
    assert asked(log) == ["stack select --create --stack test"]
    with_state(stack)
    stack.ensure()
    assert len(asked(log)) == 1, "nothing to make, so the engine is not even started"


def test_a_stack_that_cannot_be_made_ends_the_command(stack: Stack) -> None:
    with_engine(stack, stack_select={"status": 6})
    with pytest.raises(SystemExit) as end:
        stack.ensure()
    assert end.value.code == 6


def git(stack: Stack, *arguments: str) -> str:
    """Return what git prints about the checkout of `stack`, whatever git is set to elsewhere."""
    settings_of_nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return subprocess.run(
        ["git", "-c", "user.name=tests", "-c", "user.email=tests@reflector.test", *arguments],
        cwd=stack.layout.root,
        env={**os.environ, **settings_of_nobody},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def test_git_sees_nothing_of_the_salt_however_it_came_there(stack: Stack) -> None:
    with_state(stack)
    file = stack.layout.root / "Pulumi.test.yaml"
    file.write_text("config: {}\n")
    (stack.layout.root / ".gitattributes").write_text("Pulumi.*.yaml filter=pulumi-salt\n")
    (stack.layout.root / ".gitignore").write_text(".toolchain\n")
    git(stack, "init", "--quiet")
    git(stack, "add", "--all")
    git(stack, "commit", "--quiet", "--message=Everything")
    file.write_text("config: {}\nencryptionsalt: v1:x\n")
    stack.ensure()
    assert git(stack, "status", "--porcelain") == ""
    file.write_text("config: {a:b: c}\nencryptionsalt: v1:x\n")
    stack.ensure()
    assert git(stack, "status", "--porcelain") == " M Pulumi.test.yaml\n", "a change of the user's own is still one"
    git(stack, "add", "--all")
    assert git(stack, "show", ":Pulumi.test.yaml") == "config: {a:b: c}\n"


def with_git(stack: Stack, monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Any]) -> Path:
    """Make the checkout of `stack` look like a repository to a git with these answers; return the log of its calls."""
    (stack.layout.root / ".git").mkdir()
    monkeypatch.setenv("PATH", path_with(stack.layout.root / "path"))
    return fake_command(stack.layout.root / "path", "git", answers)


def test_git_is_told_nothing_it_knows(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with_state(stack)
    log = with_git(stack, monkeypatch, {"status": "", "config --default": "sed -e /^encryptionsalt:/d\n"})
    stack.ensure()
    assert [call["arguments"][0] for call in calls(log)] == ["status", "config"]


def test_a_git_that_refuses_is_a_hint_and_no_end(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_state(stack)
    refusal = "fatal: detected dubious ownership in repository at '/x'\nTo add an exception, call:\n"
    with_git(stack, monkeypatch, {"": {"status": 128, "stderr": refusal}})
    stack.ensure()
    assert capsys.readouterr().err == (
        "git may show Pulumi.test.yaml as modified: fatal: detected dubious ownership in repository at '/x'\n"
    )


def test_without_git_there_is_nobody_to_tell(stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_state(stack)
    (stack.layout.root / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    stack.ensure()


def test_the_lock_of_a_dead_run_is_removed(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    lock = with_state(stack, lock={"pid": ended_process(), "hostname": socket.gethostname()})
    stack.recover()
    assert not lock.exists()
    assert capsys.readouterr().out == "Removed the lock of a run that did not end (1).\n"


def test_the_lock_of_a_number_that_is_another_programs_by_now_is_removed(stack: Stack) -> None:
    lock = with_state(stack, lock={"pid": os.getpid(), "hostname": socket.gethostname()})
    stack.recover()
    assert not lock.exists(), "this process is no engine"


def test_half_a_file_of_attributes_does_not_make_the_state_unreadable(stack: Stack) -> None:
    lock = with_state(stack)
    checkpoints = stack.layout.state / ".pulumi" / "stacks" / "reflector"
    torn, whole = checkpoints / "test.json.attrs", checkpoints / "test.json.bak.attrs"
    beside_lock = lock.with_name("lock.json.attrs")
    torn.write_text("")
    beside_lock.write_text('{"md5":')
    whole.write_text("{}")
    stack.ensure()
    assert (torn.exists(), beside_lock.exists(), whole.exists()) == (False, False, True)


def test_the_lock_of_a_running_engine_is_respected(stack: Stack, tmp_path: Path) -> None:
    engine = tmp_path / "pulumi"
    engine.symlink_to("/bin/sleep")
    running = subprocess.Popen([engine, "60"])
    try:
        # The kernel names a process a moment after Popen has returned.
        while "pulumi" not in Path(f"/proc/{running.pid}/comm").read_text(encoding="utf-8"):
            time.sleep(0.01)
        lock = with_state(stack, lock={"pid": running.pid, "hostname": socket.gethostname()})
        stack.recover()
        assert lock.exists()
    finally:
        running.kill()
        running.wait()


def test_the_lock_of_an_engine_nobody_has_collected_is_removed(stack: Stack, tmp_path: Path) -> None:
    engine = tmp_path / "pulumi"
    engine.symlink_to("/bin/true")
    ended = subprocess.Popen([engine])
    # Without reaping it: what a container without an init is full of.
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    lock = with_state(stack, lock={"pid": ended.pid, "hostname": socket.gethostname()})
    stack.recover()
    ended.wait()
    assert not lock.exists()


def test_the_lock_of_another_machine_is_respected(stack: Stack) -> None:
    lock = with_state(stack, lock={"pid": ended_process(), "hostname": "another-machine"})
    stack.recover()
    assert lock.exists()


def test_operations_under_way_are_stripped_and_said(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    with_state(stack, pending=True)
    log = with_engine(stack, stack_export=json.dumps(dict(PENDING)), stack_import="")
    stack.recover()
    assert asked(log) == ["stack export --stack test", "stack import --stack test"]
    assert json.loads(calls(log)[1]["stdin"]) == {"version": 3, "deployment": {"resources": [{"urn": "kept"}]}}
    assert "The last run was interrupted while creating urn:interrupted" in capsys.readouterr().out


def test_a_run_that_ended_well_needs_no_recovery(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    with_state(stack)
    log = with_engine(stack)
    stack.recover()
    assert asked(log) == []
    assert capsys.readouterr().out == ""


def test_a_backend_of_the_users_own_is_left_to_itself(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = with_state(stack, lock={"pid": ended_process(), "hostname": socket.gethostname()})
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://somebodys-state")
    stack.recover()
    assert lock.exists()


# --- The commands -----------------------------------------------------------------------------------------------------


def with_checks(monkeypatch: pytest.MonkeyPatch, problems: list[settings.Problem]) -> None:
    monkeypatch.setattr(preflight, "check", lambda _, *, deployment: (None, problems))


PROBLEM: Final = settings.Problem(setting="domain", given="'x'", allowed="y", remedy="z")


@pytest.mark.parametrize("command", [commands.up, commands.preview])
def test_nothing_runs_while_there_is_a_problem(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, command: Callable[..., int]
) -> None:
    with_checks(monkeypatch, [PROBLEM])
    log = with_engine(stack)
    assert command(stack, refresh=False) == 1
    assert asked(log) == []


@pytest.mark.parametrize(("refresh", "flag"), [(False, ""), (True, " --refresh")])
def test_up_says_where_the_stack_is_and_never_the_password(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refresh: bool, flag: str
) -> None:
    with_checks(monkeypatch, [])
    with_state(stack)
    outputs = {"url": "https://a.test", "admin_email": "admin@a.test", "admin_password": "[secret]"}
    log = with_engine(stack, up="", stack_output=json.dumps(outputs))
    assert commands.up(stack, refresh=refresh) == 0
    assert asked(log) == [
        f"up --yes --skip-preview{flag} --stack test",
        # Without --show-secrets: what this process never had cannot slip out of it.
        "stack output --json --stack test",
    ]
    said = capsys.readouterr().out
    assert "Reflector is up: https://a.test" in said
    assert "admin@a.test" in said


def test_a_failed_up_is_not_announced(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_checks(monkeypatch, [])
    with_state(stack)
    with_engine(stack, up={"status": 255})
    assert commands.up(stack, refresh=False) == 255
    assert "Reflector is up" not in capsys.readouterr().out


def test_down_keeps_what_is_protected(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    with_state(stack)
    log = with_engine(stack, destroy="")
    assert commands.down(stack) == 0
    assert asked(log) == ["destroy --yes --skip-preview --exclude-protected --stack test"]
    assert "Data, keys and passwords are kept" in capsys.readouterr().out


def test_every_committed_stack_can_be_named() -> None:
    assert {path.name for path in ROOT.glob("Pulumi.*.yaml")} >= {"Pulumi.dev.yaml", "Pulumi.selfhosted.yaml"}
