"""Images come from a registry that wants a login and has a private authority, and a moved tag is refused.

A stack of its own, of the images' and the cache's rooms alone: none but the probe's parts can be had as upstream's are
named, and what is looked at here happens before any other service is made.
"""

import json
import os
from collections.abc import Iterator

import pytest

from settings import lock_path
from testing.docker import free_port
from tests.e2e.docker_host import DockerHost
from tests.e2e.registry import PASSWORD, USERNAME, Registry
from tests.e2e.stack import Checkout, Stack

pytestmark = pytest.mark.docker

PROGRAM = '''\
"""The images of the settings, and one service that runs one of them."""

import pulumi

from components import hosts, images
from components.base.secrecy import keep_secret
from components.data.redis import Redis, RedisArgs
from settings.program import load

settings = load()
keep_secret(settings.encrypted)
host = hosts.docker_host(
    "host", settings.host, settings.health, settings.proxy, prefix=settings.prefix, networks=frozenset({"cache"}),
    direct=settings.reached_directly, logins=settings.sources.logins,
)
parts = images.images("images", settings.sources, host)
redis = Redis("redis", RedisArgs(host=host, image=parts["redis"], memory_mib=64))
pulumi.export("services", {"redis": redis.service.described})
'''
PARTS = ("backend", "frontend", "postgres", "garage", "hatchet", "caddy")
"""What has to be given besides Redis; pulled, and run by nobody."""


@pytest.fixture(scope="module")
def registry(host: DockerHost) -> Iterator[Registry]:
    """A registry."""
    if os.geteuid() != 0:
        reason = "making a Docker daemon trust a registry takes root: sudo make e2e"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with Registry(host) as started:
        yield started


@pytest.fixture(scope="module")
def base(checkout: Checkout, host: DockerHost) -> str:
    """The image of Redis this checkout builds; built here if no stack of this run has yet."""
    manifest = json.loads((checkout.layout.images / "manifest.json").read_text(encoding="utf-8"))["redis"]
    reference = f"reflector-redis:{manifest['sha256'][:12]}"
    if not host.docker("image", "ls", "--quiet", reference).strip():
        context = str(checkout.layout.images / manifest["context"])
        host.docker("build", "--quiet", "--tag", reference, context, timeout_seconds=300)
    return reference


@pytest.fixture(scope="module")
def stack(checkout: Checkout, registry: Registry, base: str, host: DockerHost) -> Iterator[Stack]:
    """Not up yet; its registry holds all it needs."""
    stack = Stack(checkout=checkout, name="e2e-registry", host=host)
    host.erase(stack.prefix)
    registry.push(base, "redis:v1.0.0", made="first")
    registry.push(base, "other:v1.0.0", made="other")
    references = dict.fromkeys(PARTS, f"{registry.address}/other:v1.0.0")
    checkout.add_stack(
        stack.name,
        {
            "images": {"mode": "upstream", "references": {**references, "redis": f"{registry.address}/redis:v1.0.0"}},
            "edge.https_port": free_port(),
            "edge.http_port": free_port(),
            "language_model": {"mode": "external", "url": "https://models.example.com/v1", "model": "any"},
            "health.interval_seconds": 2,
        },
        # The local stack's limits are for the probe alone.
        without=["speech", "application", "data", "workflow"],
    )
    program = checkout.layout.root / "__main__.py"
    whole = program.read_text(encoding="utf-8")
    program.write_text(PROGRAM, encoding="utf-8")
    stack.pulumi("stack", "init").succeeded()
    try:
        yield stack
        stack.run("down").succeeded()
    finally:
        program.write_text(whole, encoding="utf-8")
        host.erase(stack.prefix)
        for name in ("redis", "other"):
            registry.forget(f"{registry.address}/{name}:v1.0.0")


def log_in(stack: Stack, registry: Registry, password: str) -> None:
    """Set the login as a person does."""
    login = f'images.registries["{registry.address}"]'
    stack.pulumi("config", "set", "--path", f"{login}.username", USERNAME).succeeded()
    stack.pulumi("config", "set", "--secret", "--path", f"{login}.password", password).succeeded()


def test_without_a_login_the_pull_fails_with_one_line_that_names_the_setting(stack: Stack, registry: Registry) -> None:
    output = stack.run("up").failed().output
    assert_refused(output, registry)


def test_a_wrong_password_fails_with_the_same_line_and_shows_in_nothing(stack: Stack, registry: Registry) -> None:
    log_in(stack, registry, "wrong-password")
    output = stack.run("up").failed().output
    assert_refused(output, registry)
    assert "wrong-password" not in output


def assert_refused(output: str, registry: Registry) -> None:
    lines = {line.strip() for line in output.splitlines() if "does not give out" in line}
    assert lines, output
    for line in lines:
        assert f'images.registries["{registry.address}"].password' in line, line
    assert "Traceback" not in output


def test_with_the_login_the_image_is_pulled_and_run_and_written_down(stack: Stack, registry: Registry) -> None:
    log_in(stack, registry, PASSWORD)
    output = stack.up()
    assert "Written down what 2 images are" in output
    lock = lock_path(stack.name, stack.checkout.layout.root).read_text(encoding="utf-8")
    assert f'"{registry.address}/redis:v1.0.0" = "sha256:' in lock
    assert stack.containers()["redis"]["State"]["Health"]["Status"] == "healthy"


def test_nothing_changes_when_nothing_has_changed(stack: Stack) -> None:
    before, lock = stack.ids(), lock_path(stack.name, stack.checkout.layout.root).read_bytes()
    assert "Written down" not in stack.up()
    assert stack.last_changes().keys() == {"same"}
    assert stack.planned(refresh=True) == {}
    assert (stack.ids(), lock_path(stack.name, stack.checkout.layout.root).read_bytes()) == (before, lock)


def test_the_password_is_nowhere_in_the_open(stack: Stack) -> None:
    assert [name for name, text in stack.files() if PASSWORD in text] == []
    assert not [output for output in stack.console if PASSWORD in output]


def test_another_login_replaces_no_image_and_no_container(stack: Stack, registry: Registry) -> None:
    before = stack.ids()
    log_in(stack, registry, "another-password")
    assert stack.planned().keys() <= {"host"}
    stack.up()
    assert stack.ids() == before
    log_in(stack, registry, PASSWORD)


def test_the_users_own_login_serves_on_purpose(stack: Stack, registry: Registry) -> None:
    before = stack.ids()
    file = registry.docker_config()
    stack.pulumi("config", "rm", "--path", "images.registries").succeeded()
    stack.pulumi("config", "set", "--path", "images.docker_config", str(file)).succeeded()
    registry.forget(f"{registry.address}/other:v1.0.0")
    stack.up("--refresh")
    assert stack.host.docker("image", "ls", "--quiet", f"{registry.address}/other:v1.0.0").strip()
    assert stack.ids() == before


def test_a_moved_tag_is_refused_before_a_container_is_touched(stack: Stack, registry: Registry, base: str) -> None:
    before = stack.ids()
    lock = lock_path(stack.name, stack.checkout.layout.root)
    kept = lock.read_text(encoding="utf-8")
    registry.push(base, "redis:v1.0.0", made="second")  # the daemon's own copy of the tag goes with it
    for output in (
        stack.run("up", "--refresh").failed().output,
        # The state knows the new image now: it is refused all the same, by the engine alone as well.
        stack.run("up").failed().output,
        stack.pulumi("up", "--yes", "--skip-preview").failed().output,
        stack.pulumi("preview").failed().output,
    ):
        assert f"the image {registry.address}/redis:v1.0.0 is sha256:" in output, output
        assert "make images-accept" in output
        assert "Traceback" not in output
        assert stack.ids() == before
    assert lock.read_text(encoding="utf-8") == kept


def test_a_moved_tag_is_deployed_once_it_was_accepted(stack: Stack, registry: Registry) -> None:
    before = stack.ids()
    accepted = stack.run("images-accept").succeeded().output
    assert f"{registry.address}/redis:v1.0.0: sha256:" in accepted
    stack.up()
    assert stack.ids() != before
    assert stack.planned(refresh=True) == {}
    label = stack.containers()["redis"]["Config"]["Labels"]["made"]
    assert label == "second"
