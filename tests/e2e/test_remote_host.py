"""The Docker host may be another machine: everything works over `ssh://`, and nothing lands on this one."""

import hashlib
import json
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509

from pki.facts import serial
from pki.pem import belongs, private_key
from testing.certificates import CLIENT, certificate, issue
from testing.docker import free_port
from tests.e2e.docker_host import DockerHost
from tests.e2e.processes import Finished, Run, run
from tests.e2e.registry import Registry
from tests.e2e.remote_host import RemoteHost, install_programs
from tests.e2e.stack import DOMAIN, Checkout, Stack
from tests.e2e.test_rollover import held

pytestmark = pytest.mark.docker

STORE: Final = "/usr/local/share/ca-certificates"
BUNDLE: Final = "/etc/ssl/certs/ca-certificates.crt"
REGISTRIES: Final = "/etc/docker/certs.d"
SERVICE: Final = "api"
"""Of the Swarm."""
TARGETS: Final = {"certificate": "tls.crt", "key": "tls.key"}
"""The files its tasks have the secrets in."""
HANDED: Final = ("corp.pem", "corp ca.crt", "corp.CRT")
"""As people call their files; the system's own tool takes the second alone, and makes another name of it."""


def trust_of_this_machine() -> str:
    """Return what changes if whom this machine trusts does."""
    folders = [Path(STORE), Path(BUNDLE).parent, Path(REGISTRIES)]
    names = [str(file) for folder in folders if folder.is_dir() for file in sorted(folder.rglob("*"))]
    bundle = Path(BUNDLE).read_bytes() if Path(BUNDLE).exists() else b""
    return "\n".join([*names, hashlib.sha256(bundle).hexdigest()])


def files_of(stack: Stack, remote: RemoteHost) -> list[str]:
    """Return what of a stack is among the authorities of the other host."""
    return sorted(file for file in remote.inside("ls", STORE).splitlines() if file.startswith(stack.prefix))


@pytest.fixture(scope="module")
def remote() -> Iterator[RemoteHost]:
    """Another Docker host."""
    if os.geteuid() != 0:
        reason = "making a second Docker host takes root: sudo make e2e"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    install_programs()
    before = trust_of_this_machine()
    with RemoteHost() as host:
        yield host
    assert trust_of_this_machine() == before


@pytest.fixture(scope="module")
def registry(remote: RemoteHost) -> Iterator[Registry]:
    """A registry of a private authority, which the other host knows nothing of."""
    with Registry(remote.near, ip=remote.neighbour) as started:
        # Now the daemon has read the system's store, too, and does not read it again.
        assert "x509: certificate signed by unknown authority" in started.pull(f"{started.address}/some:v1.0.0").stderr
        yield started


@pytest.fixture(scope="module")
def authorities(registry: Registry) -> Path:
    """A folder of authorities, the registry's among them."""
    folder = registry.folder / "authorities"
    folder.mkdir()
    for name in HANDED[:2]:
        (folder / name).write_bytes(issue(name, now=datetime.now(UTC), ca=True).pem)
    shutil.copy(registry.authority, folder / HANDED[2])
    return folder


@pytest.fixture(scope="module")
def stack(checkout: Checkout, remote: RemoteHost, registry: Registry, authorities: Path) -> Stack:
    """A small stack on it, without a speech service, which has the host itself trust somebody."""
    stack = Stack(
        checkout=checkout, name="e2e-remote", host=remote.near, address=remote.address, environment=remote.environment
    )
    checkout.add_stack(
        stack.name,
        {
            "hosts.main.address": remote.docker_host,
            "hosts.main.trust.system_store": True,
            "hosts.main.trust.registries": [registry.address],
            "trusted_authorities.corp.path": str(authorities),
            "edge.domain": DOMAIN,
            "edge.https_port": free_port(),
            "edge.http_port": free_port(),
            # As behind a router: people see another port than the host publishes.
            "edge.public_port": 8443,
            "edge.bind_addresses": ["0.0.0.0"],
            "health.interval_seconds": 2,
            "pki.authorities.docker.purpose": "docker-hosts",
            "pki.certificates.daemon": {
                "mode": "issued", "authority": "docker", "names": [f"IP:{remote.address}"],
            },
            "pki.certificates.deployer": {"mode": "issued", "kind": "client", "authority": "docker"},
            "pki.certificates.web": {"mode": "issued", "names": ["DNS:web.reflector.test"]},
            "container_providers.managers": {
                "kind": "swarm",
                "address": remote.manager,
                "client_certificate": "deployer",
                "server_authority": "docker",
            },
        },
        without=["speech"],
    )  # fmt: skip
    stack.up()
    return stack


def managers(stack: Stack) -> dict[str, Any]:
    """Return what the stack hands over of the Swarm."""
    found: dict[str, Any] = stack.outputs()["container_providers"]["managers"]
    return found


@pytest.fixture(scope="module")
def command(stack: Stack, remote: RemoteHost) -> Callable[..., Finished]:
    """Asks the manager of the Swarm, with what the stack hands over, or with something else in its place.

    The manager shows a certificate of the stack's own, which is handed over to it, and obeys who has another.
    """
    pem = remote.folder / "daemon.pem"
    stack.run("pki", "export", "daemon", "--pem", str(pem)).succeeded()
    remote.start_manager(pem, managers(stack)["client_ca"])

    def ask(*arguments: str, **instead: str) -> Finished:
        given = {**managers(stack), **instead}
        with tempfile.TemporaryDirectory() as folder:
            for name, content in (("ca.pem", "ca"), ("cert.pem", "certificate"), ("key.pem", "key")):
                (Path(folder) / name).write_text(given[content], encoding="ascii")
            variables = {"DOCKER_HOST": given["address"], "DOCKER_CERT_PATH": folder, "DOCKER_TLS_VERIFY": "1"}
            return run(["docker", *arguments], environment={**os.environ, **variables})

    return ask


def stored(command: Callable[..., Finished]) -> list[str]:
    """Return the names of the secrets the Swarm has."""
    return sorted(command("secret", "ls", "--format", "{{.Name}}").succeeded().output.split())


def found_by_verify(stack: Stack, remote: RemoteHost) -> list[str]:
    """Return what the command that looks whether certificates are right says of the Swarm."""
    place = f"{stack.address}:{stack.setting('edge.https_port')}"
    lines = stack.run("pki", "verify", "--at", place).succeeded().output.splitlines()
    return [line.partition(f"{remote.manager} ")[2] for line in lines if "provider managers" in line]


def test_a_swarm_is_given_a_certificate_by_its_name(
    stack: Stack, remote: RemoteHost, command: Callable[..., Finished]
) -> None:
    stack.configure({"container_providers.managers.secrets": ["web"]})
    stack.up()
    secrets = managers(stack)["secrets"]
    assert stored(command) == sorted(secrets["web"].values())
    assert all(name.startswith(f"{stack.prefix}-web-") for name in stored(command))
    told = found_by_verify(stack, remote)
    assert told[:3] == [
        "answers to its client", "is a manager of a Swarm", "has every secret that was published",
    ]  # fmt: skip
    assert [what.partition(" (")[0] for what in told[3:]] == [
        "refuses who has no certificate", "refuses a certificate of another authority",
    ]  # fmt: skip


def is_what_the_stack_has(stack: Stack, chain: str, key: str) -> bool:
    """Return whether a chain (PEM) begins with the certificate of the inventory, and a key (PEM) belongs to it."""
    (listed,) = (one for one in stack.outputs()["pki_inventory"] if one.get("certificate") == "web")
    leaf = x509.load_pem_x509_certificate(chain.encode())
    return serial(leaf) == listed["details"]["serial"] and belongs(private_key(key.encode()), leaf)


def in_task(command: Callable[..., Finished], *unlike: str) -> tuple[str, str, str]:
    """Wait until the service has one task, in none of the containers `unlike`; return its container and its secrets."""
    deadline = time.monotonic() + 60
    while True:
        found = command("ps", "--quiet", "--filter", f"label=com.docker.swarm.service.name={SERVICE}").output.split()
        if len(found) == 1 and found[0] not in unlike:
            certificate, key = (
                command("exec", found[0], "cat", f"/run/secrets/{target}").succeeded().output
                for target in TARGETS.values()
            )
            return found[0], certificate, key
        assert time.monotonic() < deadline, command("service", "ps", "--no-trunc", SERVICE).output
        time.sleep(0.2)


def test_another_certificate_is_another_pair_and_the_pair_before_stays_while_a_service_has_it(
    stack: Stack, remote: RemoteHost, command: Callable[..., Finished]
) -> None:
    before = managers(stack)["secrets"]["web"]
    image, archive = stack.containers()["redis"]["Image"], remote.folder / "image.tar"
    remote.near.docker("save", "--output", str(archive), image)
    command("load", "--input", str(archive)).succeeded()
    archive.unlink()
    wanted = [f"--secret=source={before[part]},target={target},mode=0400" for part, target in TARGETS.items()]
    making = ("service", "create", "--detach", "--name", SERVICE, "--no-resolve-image", "--stop-grace-period=1s")
    # As root, who alone may read what has this mode.
    command(*making, *wanted, "--user=0:0", "--entrypoint=sleep", image, "infinity").succeeded()
    try:
        task, certificate, key = in_task(command)
        assert is_what_the_stack_has(stack, certificate, key)
        containers, resources = stack.ids(), held(stack)

        stack.run("pki", "rotate", "web").succeeded()
        stack.up()
        after = managers(stack)["secrets"]["web"]
        assert not set(before.values()) & set(after.values())
        assert stored(command) == sorted([*before.values(), *after.values()])
        assert in_task(command) == (task, certificate, key), "nobody has deployed it since"
        now = held(stack)
        changed = {urn for urn in now.keys() | resources.keys() if now.get(urn) != resources.get(urn)}
        names = {urn.rpartition("::")[2] for urn in changed}
        own = ("certificate-web", "container-provider-managers-web")
        assert sorted(name for name in names if not name.startswith(own)) == [], sorted(names)
        assert stack.ids() == containers

        # By the command that is printed, which Docker refuses as long as a service has them.
        (said,) = (line for line in found_by_verify(stack, remote) if "secrets of before" in line)
        removal = shlex.split(said.partition(": docker ")[2])
        refused = command(*removal).failed()
        assert "is in use by the following service" in refused.output
        moved = [
            flag
            for part, target in TARGETS.items()
            for flag in (f"--secret-rm={before[part]}", f"--secret-add=source={after[part]},target={target},mode=0400")
        ]
        command("service", "update", "--detach", *moved, SERVICE).succeeded()
        _, certificate, key = in_task(command, task)
        assert is_what_the_stack_has(stack, certificate, key)
        command(*removal).succeeded()
        assert stored(command) == sorted(after.values())
    finally:
        command("service", "rm", SERVICE)
    # That nobody misses what was retained is seen with all the rest, when nothing has changed.


def test_who_has_another_certificate_commands_nothing_there(command: Callable[..., Finished]) -> None:
    foreign, key = certificate("stranger", usages=[CLIENT])
    assert "Server" in command("version").succeeded().output
    assert command("version", certificate=foreign, key=key).failed()


def test_no_key_of_these_is_in_the_state_in_the_open(stack: Stack) -> None:
    # The first line holds it; what follows is the public key, which is no secret.
    line = managers(stack)["key"].splitlines()[1]
    assert line in json.dumps(stack.export("--show-secrets"))
    assert [name for name, text in stack.files() if line in text] == []


def test_a_stack_comes_up_on_another_host(stack: Stack, host: DockerHost) -> None:
    health = {service: container["State"]["Health"]["Status"] for service, container in stack.containers().items()}
    assert health == dict.fromkeys(stack.services, "healthy")
    for kind in ("container", "network", "volume"):
        assert host.ids(kind, stack.prefix) == []


def test_everything_there_is_wired(stack: Stack) -> None:
    assert stack.broken_wires() == {}


def test_the_edge_of_the_other_host_answers_at_its_address(stack: Stack) -> None:
    assert stack.edge.ask("GET", "/health").json() == {"status": "healthy"}
    assert stack.outputs()["url"] == f"https://{DOMAIN}:8443"
    assert stack.edge.ask_plainly("/x").headers["location"] == f"https://{DOMAIN}:8443/x"
    assert stack.leave_traces().are_found_in(stack)


def test_nothing_changes_there_when_nothing_has_changed(stack: Stack) -> None:
    before = stack.ids()
    stack.up()
    assert stack.last_changes().keys() == {"same"}
    assert stack.ids() == before
    assert stack.planned(refresh=True) == {}


def test_the_host_itself_trusts_the_stack_and_all_whom_that_trusts(
    stack: Stack, remote: RemoteHost, authorities: Path
) -> None:
    root = stack.outputs()["ca_certificate"].strip()
    files = files_of(stack, remote)
    assert [file.split("_")[1] for file in files] == ["corp", "corp", "corp", "stack"]
    assert all(file.endswith(".crt") for file in files)
    bundle = remote.inside("cat", BUNDLE)
    for pem in (root, *((authorities / name).read_text(encoding="ascii").strip() for name in HANDED)):
        assert pem in bundle
    listed = {one["name"]: one for one in stack.outputs()["pki_inventory"]}
    assert listed["authority"]["users"] == {"hosts": ["main"]}


def test_its_daemon_pulls_from_a_registry_of_theirs_and_was_not_started_anew(stack: Stack, registry: Registry) -> None:
    image = stack.containers()["redis"]["Image"]
    registry.push(image, "some:v1.0.0", made="here")
    done = registry.pull(f"{registry.address}/some:v1.0.0")
    assert done.returncode == 0, done.stderr
    registry.forget(f"{registry.address}/some:v1.0.0")


def test_what_would_stop_the_pull_is_refused_before_anything_is_touched(
    stack: Stack, remote: RemoteHost, registry: Registry
) -> None:
    file = f"{REGISTRIES}/{registry.address}/ca.cert"
    remote.inside("touch", file)
    output = stack.run("preview").failed().output
    remote.inside("rm", file)
    assert f"hosts.main.trust.registries: {file} lies on {remote.docker_host} without ca.key: Docker takes it" in output


def test_what_somebody_took_away_there_is_found_and_put_back_and_what_is_not_set_any_more_goes(
    stack: Stack, remote: RemoteHost, registry: Registry
) -> None:
    files = files_of(stack, remote)
    remote.inside("rm", f"{STORE}/{files[0]}")
    output = stack.run("pki", "verify").failed().output
    assert f"FAIL  hosts.main: {files[0]}" in output
    assert f"ok    hosts.main: {files[1]}" in output
    assert f"ok    hosts.main: its daemon trusts what it was told to at {registry.address}" in output
    stack.configure({}, without=["hosts.main.trust.registries"])
    assert f"the trust store of the Docker host lacks what was put there: {files[0]}: it is made again" in stack.up()
    assert files_of(stack, remote) == files
    assert registry.address not in remote.inside("find", "/etc/docker")
    done = registry.pull(f"{registry.address}/some:v1.0.0")
    assert "x509: certificate signed by unknown authority" in done.stderr


def test_a_host_that_cannot_be_reached_is_a_clear_error(stack: Stack, remote: RemoteHost) -> None:
    # The key of a host nobody knows: what ssh says has to come through.
    known = remote.folder / "known_hosts"
    kept = known.read_bytes()
    known.write_bytes(b"")
    try:
        output = stack.run("up").failed().output
    finally:
        known.write_bytes(kept)
    assert "hosts.main.address: " in output
    assert "Host key verification failed" in output
    assert stack.edge.ask("GET", "/health").status == 200


def test_another_host_is_left_as_clean_as_this_one(stack: Stack, remote: RemoteHost, authorities: Path) -> None:
    volumes = sorted(stack.host.ids("volume", stack.prefix))
    stack.run("down").succeeded()
    assert stack.host.ids("container", stack.prefix) == []
    assert stack.host.ids("network", stack.prefix) == []
    assert sorted(stack.host.ids("volume", stack.prefix)) == volumes != []
    assert files_of(stack, remote) == []
    assert stack.prefix not in remote.inside("ls", str(Path(BUNDLE).parent))
    bundle = remote.inside("cat", BUNDLE)
    assert "BEGIN CERTIFICATE" in bundle
    for name in HANDED:
        assert (authorities / name).read_text(encoding="ascii").strip() not in bundle


def test_only_the_application_has_a_way_out(deployment: Stack, remote: RemoteHost) -> None:
    ports = {"postgres": 5432, "redis": 6379, "garage": 3900, "server": 1250}
    # All at once, as who has none waits for it. Every image holds bash, which can open a connection by itself: to the
    # service's own port to show that it does.
    attempts = {
        service: Run(
            [
                *("docker", "--host", deployment.host.address, "exec", f"{deployment.prefix}-{service}"),
                *("timeout", "5", "bash", "-c"),
                f"exec 3<> /dev/tcp/127.0.0.1/{port} && echo connected && "
                f"exec 3<> /dev/tcp/{remote.address}/{remote.ssh_port} && head -c 4 <&3",
            ],
            cwd=Path("/"),
            environment=os.environ,
        )
        for service, port in ports.items()
    }
    done = {service: attempt.finish(60) for service, attempt in attempts.items()}
    for service, one in done.items():
        assert "connected\n" in one.output, (service, one.output)
        assert ("SSH-" in one.output) is (service == "server"), (service, one.output)
        assert (one.status == 0) is (service == "server"), (service, one.output)


def test_ssh_is_only_ever_asked_for_the_other_host(remote: RemoteHost) -> None:
    # The test's own proof: the way over ssh leads to the second daemon and not to this machine's.
    environment = {**os.environ, **remote.environment, "DOCKER_HOST": remote.docker_host}
    root = run(["docker", "info", "--format", "{{.DockerRootDir}}"], environment=environment).succeeded().output
    assert root.strip() == str(remote.folder / "data")
