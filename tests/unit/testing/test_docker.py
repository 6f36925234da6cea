"""What throw-away stacks need of a Docker host."""

from pathlib import Path

import pytest

from components.base.daemon import Daemon
from testing import docker
from testing.commands import calls, fake_command, path_with


def test_a_free_port_is_free_for_both_protocols_and_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    busy = {(20000, "tcp"), (20002, "udp")}
    monkeypatch.setattr(docker, "is_busy", lambda _, port, protocol: (port, protocol) in busy)
    monkeypatch.setattr(docker, "_given", {20001})
    assert [docker.free_port(), docker.free_port()] == [20003, 20004]
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")
    assert docker.free_port() == 21000, "those who run side by side ask for the same port in the same moment"


def test_without_a_free_port_there_is_a_clear_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "is_busy", lambda *_: True)
    with pytest.raises(RuntimeError, match="no port from 20000 to 31999 is free"):
        docker.free_port()


def test_of_a_stack_its_data_goes_too_and_nothing_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = fake_command(tmp_path, "docker", {"container ls": "c1\n", "network ls": "", "volume ls": "v1\nv2\n", "": ""})
    monkeypatch.setenv("PATH", path_with(tmp_path))
    docker.erase(Daemon(address="unix:///x"), "reflector-cold")
    asked = [" ".join(call["arguments"]) for call in calls(log)]
    only = "--quiet --filter label=org.reflector.stack=reflector-cold"
    assert asked == [
        f"container ls --all {only}",
        "container rm --force --volumes c1",
        f"network ls {only}",
        f"volume ls {only}",
        "volume rm v1 v2",
    ]
