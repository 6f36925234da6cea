"""What a host can do, held against what the settings ask of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from operations import capacity, checks
from settings import parse
from testing.docker import free_port
from tests.unit.operations.stand_ins import INFO, OLDER, Docker, settings_of

MIB = 1024**2


def problems(docker: Docker, info: Mapping[str, Any], **concerns: Any) -> list[str]:
    """Return what is wrong with a host that tells this of itself."""
    docker(info={**INFO, **info})
    return [str(one) for one in checks.look_at_host(settings_of(free_port(), free_port(), **concerns), ()).problems]


@pytest.mark.parametrize(
    ("info", "able", "what"),
    [
        ({"SwapLimit": False, "MemoryLimit": True}, "memory", "swap"),
        ({"SwapLimit": False, "MemoryLimit": False}, "none", "memory"),
    ],
)
def test_a_limit_the_kernel_cannot_keep_is_refused_with_the_setting_that_can(
    docker: Docker, info: Mapping[str, Any], able: str, what: str
) -> None:
    assert problems(docker, info) == [
        f"hosts.main.memory_limits: 'memory-and-swap', while the kernel of unix:///var/run/docker.sock does not limit "
        f"{what}; allowed: {able}, or a kernel that can (swapaccount=1 or cgroup_enable=memory on its command line). "
        f"Set it: pulumi config set --path hosts.main.memory_limits {able}"
    ]
    assert problems(docker, info, hosts={"main": {"memory_limits": able}}) == []


def test_limits_the_kernel_keeps_are_no_problem(docker: Docker) -> None:
    able = {"SwapLimit": True, "MemoryLimit": True}
    for limits in ("memory-and-swap", "memory", "none"):
        assert problems(docker, able, hosts={"main": {"memory_limits": limits}}) == []
    assert problems(docker, {"SwapLimit": False}, hosts={"main": {"memory_limits": "none"}}) == []


def test_a_rootless_daemon_publishes_no_low_port(
    docker: Docker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first_open = tmp_path / "ip_unprivileged_port_start"
    monkeypatch.setattr(capacity, "_FIRST_OPEN_PORT", first_open)
    rootless = {"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}
    settings = parse({"edge": {"https_port": 443, "http_port": 8080}}, "test", "reflector")

    def found(info: Mapping[str, Any]) -> list[str]:
        return [str(problem) for problem in capacity.problems(settings, info)]

    expected = [
        "edge.https_port: 443, while unix:///var/run/docker.sock is a rootless daemon; allowed: ports from 1024 on. "
        "Set another: pulumi config set --path edge.https_port <port>, or let it publish this one, on the host: sysctl "
        "net.ipv4.ip_unprivileged_port_start=443"
    ]
    assert found(rootless) == expected, "what the kernel allows is not known everywhere"
    first_open.write_text("1024\n", encoding="ascii")
    assert found(rootless) == expected
    first_open.write_text("80\n", encoding="ascii")
    assert found(rootless) == []
    assert found({"SecurityOptions": ["name=seccomp,profile=default"]}) == []
    assert found({"SecurityOptions": None}) == []


def test_limits_that_add_up_to_more_than_there_is_are_said(docker: Docker) -> None:
    docker(info={**INFO, "MemTotal": 8192 * MIB}, version=OLDER)
    settings = settings_of(free_port(), free_port(), language_model={"mode": "ollama", "memory_mib": 9000})
    (hint,) = checks.look_at_host(settings, ()).hints
    assert hint.startswith("The memory limits add up to ")
    assert "unix:///var/run/docker.sock has 8192 MiB" in hint
    assert "ollama 9000" in hint
    docker(info={**INFO, "MemTotal": 99999 * MIB}, version=OLDER)
    assert checks.look_at_host(settings, ()).hints == []


@pytest.mark.parametrize(
    ("model", "gib"),
    [
        ("qwen2.5:14b", 8.4),
        ("llama3.1:70b-instruct-q4_K_M", 42),
        ("mixtral:8x7b", 33.6),
        ("qwen2.5:0.5b", 0.3),
        ("tiny", None),
        ("bert-base", None),
    ],
)
def test_the_size_of_a_model_is_told_by_its_name(model: str, gib: float | None) -> None:
    assert capacity.model_gib(model) == (None if gib is None else pytest.approx(gib))


def test_a_model_larger_than_the_free_disk_is_said_until_it_is_there() -> None:
    settings = parse({"language_model": {"mode": "ollama", "model": "big:70b"}}, "test", "reflector")
    step = {"urn": "urn::ollama-model", "outputs": {"environment": {"MODEL": "big:70b"}}}
    other = {"urn": "urn::ollama-model", "outputs": {"environment": {"MODEL": "small:1b"}}}
    expected = ["The model big:70b takes some 42 GiB, and 30 GiB are free on the disk of Docker"]
    for resources, hints in (([], expected), ([other], expected), ([step], [])):
        assert list(capacity.hints(settings, {}, free_gib=30, resources=resources)) == hints
    assert list(capacity.hints(settings, {}, free_gib=50, resources=[])) == []
    assert list(capacity.hints(settings, {}, free_gib=None, resources=[])) == [], "not this machine's disk"
