"""What is wrong is said before anything is made, all of it at once."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from testing.certificates import CLIENT, SIGNS_NO_LISTS, certificate, docker_client, issue
from testing.docker import free_port
from tests.e2e.docker_host import DockerHost
from tests.e2e.stack import Checkout, Stack

pytestmark = pytest.mark.docker


@pytest.fixture
def misconfigured(checkout: Checkout, host: DockerHost) -> Iterator[Stack]:
    """A stack that has never been up."""
    stack = Stack(checkout=checkout, name="e2e-bad", host=host)
    stack.host.erase(stack.prefix)
    if not checkout.stack_file(stack.name).exists():
        checkout.add_stack(stack.name, {"edge.https_port": free_port(), "edge.http_port": free_port()})
    kept = checkout.stack_file(stack.name).read_bytes()
    yield stack
    checkout.stack_file(stack.name).write_bytes(kept)
    stack.host.erase(stack.prefix)


def made_nothing(stack: Stack) -> bool:
    """Return whether neither the Docker host nor the state shows a trace of the stack."""
    traces = [kind for kind in ("container", "network", "volume") if stack.host.ids(kind, stack.prefix)]
    return not traces and not stack.checkpoint.exists()


@pytest.mark.parametrize("command", ["preview", "up"])
def test_every_problem_is_listed_at_once_and_nothing_is_made(misconfigured: Stack, command: str) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        misconfigured.configure(
            {
                "edge.http_prot": 80,  # an unknown setting
                "storage.capacity_gib": "plenty",  # a wrong type
                "edge.extra_names": ["DNS:fine.reflector.test", "DNS:under_score.test", "reflector.test"],  # bad names
                "language_model.url": "https://llm.test/v1",  # a second mode of the language model
                "edge.https_port": port,  # somebody else's
            }
        )
        output = misconfigured.run(command).failed().output
    lines = [line for line in output.splitlines() if line.startswith("  - ")]
    expected = (
        "edge.http_prot",
        "storage.capacity_gib",
        "edge.extra_names[1]",
        "edge.extra_names[2]",
        "language_model.url",
        "edge.https_port",
    )
    assert len(lines) == len(expected), output
    for setting in expected:
        (line,) = (line for line in lines if line.startswith(f"  - {setting}: "))
        assert "; allowed: " in line
    assert "6 problems in the configuration, nothing was created" in output
    assert "did you mean edge.http_port?" in output
    assert f"{port}/tcp is in use by another program" in output
    assert "two modes at once" in output
    assert "Traceback" not in output
    assert made_nothing(misconfigured)


PASTED: Final[dict[str, object]] = {
    "edge.domain": "1.2.3.0x4",  # an address to browsers
    "edge.extra_names": ["IP:0.0.0.0"],
    "edge.http_port": 6000,  # browsers do not ask it
    "speech": {"mode": "hosted", "url": "http://localhost:8000"},  # the container itself
    "language_model": {"mode": "external", "model": "m", "url": "https://me:HandedSecret@llm.test/v1"},
    "storage": {
        "mode": "s3", "region": "eu-central-1\n", "bucket": "sthree-media",
    },
}  # fmt: skip
"""What looks right at first sight, and would have failed later or never."""


@pytest.mark.parametrize("command", ["preview", "up"])
def test_what_was_badly_pasted_is_one_line_each_and_nothing_is_made(misconfigured: Stack, command: str) -> None:
    misconfigured.configure(PASTED)
    output = misconfigured.run(command).failed().output
    settings = [line.removeprefix("  - ").partition(": ")[0] for line in output.splitlines() if line.startswith("  - ")]
    assert sorted(settings) == [
        "edge.domain", "edge.extra_names[0]", "edge.http_port", "language_model.url", "speech.url", "storage.bucket",
        "storage.region",
    ], output  # fmt: skip
    assert "HandedSecret" not in output
    assert "Traceback" not in output
    assert made_nothing(misconfigured)


def test_a_secret_with_a_line_break_is_refused_by_name(misconfigured: Stack) -> None:
    """Only the engine can open it, so it is told by the program: before anything is made, and not shown."""
    misconfigured.pulumi("stack", "init").succeeded()
    try:
        misconfigured.pulumi("config", "set", "--secret", "--path", "speech.hf_token", "HandedSecret\n").succeeded()
        output = misconfigured.pulumi("preview").failed().output
        assert "1 problem in the configuration, nothing was created" in output
        assert "speech.hf_token: an encrypted value; allowed: one encrypted word of ASCII characters" in output
        assert "HandedSecret" not in output
        assert "Traceback" not in output
        assert misconfigured.host.ids("container", misconfigured.prefix) == []
    finally:
        misconfigured.pulumi("stack", "rm", "--yes", "--preserve-config").succeeded()


@pytest.mark.parametrize(
    ("main", "given"),
    [
        ({"address": "ssh://-oProxyCommand=x@host.test"}, "hosts.main.address: 'ssh://-oProxyCommand=x@host.test'"),
        ({"address": "TCP://192.0.2.1:2376"}, "hosts.main.certificates: nothing"),
        ({"address": "tcp://2001:db8::1:2376"}, "allowed: an IPv6 address in brackets, such as tcp://[2001:db8::1]"),
        ({"address": "tcp://192.0.2.1:2376", "certificates": ""}, "cert.pem: expired on "),
    ],
    ids=["option", "capitals", "no-brackets", "expired"],
)
def test_a_wrong_way_to_the_host_is_told_before_anybody_is_asked(
    misconfigured: Stack, tmp_path: Path, main: dict[str, str], given: str
) -> None:
    """Nobody answers at that address: a connection would end in another line, a minute later."""
    docker_client(tmp_path)
    late, key = certificate("late", usages=[CLIENT], from_days=-60, to_days=-30)
    (tmp_path / "cert.pem").write_text(late)
    (tmp_path / "key.pem").write_text(key)
    misconfigured.configure({"hosts": {"main": main | ({"certificates": str(tmp_path)} if len(main) > 1 else {})}})
    output = misconfigured.run("preview").failed().output
    (line,) = (line for line in output.splitlines() if line.startswith("  - "))
    assert given in line
    assert "Traceback" not in output
    assert made_nothing(misconfigured)


def test_plain_pulumi_lists_the_same_problems(misconfigured: Stack, tmp_path: Path) -> None:
    company = issue("company", now=datetime.now(UTC), ca=True, to_days=900, extensions=[(SIGNS_NO_LISTS, True)])
    (tmp_path / "ca.pem").write_bytes(company.pem)
    (tmp_path / "ca.key").write_bytes(company.key_pem)
    brought = {"certificate_file": str(tmp_path / "ca.pem"), "key_file": str(tmp_path / "ca.key")}
    clients = {"purpose": "client", "generations": {"g1": {"mode": "imported", "state": "active", **brought}}}
    misconfigured.pulumi("stack", "init").succeeded()
    try:
        misconfigured.configure(
            {"edge.http_prot": 80, "edge.extra_names": ["under_score.test"], "pki.authorities.clients": clients}
        )
        output = misconfigured.pulumi("preview").failed().output
        assert "3 problems in the configuration, nothing was created" in output
        assert "edge.http_prot: unknown setting" in output
        assert "edge.extra_names[0]" in output
        (line,) = (line for line in output.splitlines() if "pki.authorities.clients.generations.g1." in line)
        assert "a CA certificate that may not sign lists of what is revoked" in line
        assert "Traceback" not in output
        # Of two names the meaning has changed; what to do about them is said as well, and by us.
        misconfigured.configure({"domain": "reflector.test", "storage": "garage", "edge": {}}, without=["pki"])
        output = misconfigured.pulumi("preview").failed().output
        assert output.count("make convert") == 2, output
        assert "Traceback" not in output
        assert misconfigured.host.ids("container", misconfigured.prefix) == []
    finally:
        misconfigured.pulumi("stack", "rm", "--yes", "--preserve-config").succeeded()


def test_a_container_of_somebody_else_is_named_and_left_alone(misconfigured: Stack, deployment: Stack) -> None:
    name = f"{misconfigured.prefix}-web"
    image = deployment.containers()["redis"]["Image"]
    foreign = misconfigured.host.docker("create", "--name", name, image).strip()
    try:
        output = misconfigured.run("up").failed().output
        assert f"the container {name} on {misconfigured.host.address} is not this stack's" in output
        assert f"docker rm {name}" in output
        assert made_nothing(misconfigured)
    finally:
        misconfigured.host.docker("rm", foreign)


def test_the_ports_of_another_stack_are_named_by_their_holder(misconfigured: Stack, deployment: Stack) -> None:
    taken = deployment.setting("edge.https_port")
    misconfigured.configure({"edge.https_port": taken})
    output = misconfigured.run("preview").failed().output
    assert f"{taken}/tcp is in use by the container {deployment.prefix}-caddy" in output
    assert made_nothing(misconfigured)


def test_a_stack_without_a_file_is_a_clear_error(checkout: Checkout, host: DockerHost) -> None:
    output = Stack(checkout=checkout, name="nowhere", host=host).run("up").failed().output
    assert "'nowhere', but there is no Pulumi.nowhere.yaml" in output
    assert "Traceback" not in output


def test_a_daemon_that_does_not_answer_is_a_clear_error(misconfigured: Stack) -> None:
    misconfigured.configure({"hosts.main.address": "unix:///nowhere/docker.sock"})
    output = misconfigured.run("up").failed().output
    assert "hosts.main.address: unix:///nowhere/docker.sock" in output
    assert "Traceback" not in output
    assert made_nothing(misconfigured)
