"""Many certificates made ahead on the real engine, by a run that saves the state once.

That many are taken away last is looked at where a whole stack has them: test_certificates.py.
"""

import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from operations import bulk
from tests.e2e.docker_host import DockerHost
from tests.e2e.processes import Run
from tests.e2e.stack import Checkout, Stack

pytestmark = pytest.mark.docker

ISSUE: Final = """
import sys

from operations import bulk, checks
from operations.healing import of_type
from operations.rekeying import Aged
from operations.resource_types import LEAF_TYPE
from operations.stack import Stack
from settings import PROJECT, parse
from toolchain import Layout

stack = Stack(name="many", layout=Layout())
stack.ensure()
stack.recover()
settings = parse(checks.tree_of(stack), stack.name, PROJECT)
leaves = of_type(stack.resources(), LEAF_TYPE) if sys.argv[1:] == ["rekey"] else ()
aged = [Aged(name=one["urn"], days=0, leaf=one["urn"]) for one in leaves]
raise SystemExit(bulk.make(stack, bulk.ahead(stack, settings, aged)))
"""
"""What `make up` does before it deploys anything; where that is asked for, as if all keys had had their time."""


@pytest.fixture
def stack(checkout: Checkout, host: DockerHost) -> Iterator[Stack]:
    """A stack of its own, as it never gets further than its certificates: nothing of it is on the host."""
    many = Stack(checkout=checkout, name="many", host=host)
    checkout.add_stack(many.name, {"pki.authorities.clients.purpose": "client", **fleet("a")})
    yield many
    many.forget()


def fleet(*kinds: str) -> dict[str, object]:
    """Return the settings of a fleet with as many services of each kind as are just made ahead."""
    services: dict[str, object] = {f"{kind}{number}": {} for kind in kinds for number in range((bulk.MANY + 1) // 2)}
    return {"pki.fleet.client_authority": "clients", "pki.fleet.services": services}


def issue(stack: Stack, *arguments: str) -> Run:
    python = str(stack.checkout.layout.venv / "bin" / "python")
    return stack.checkout.start(python, "-c", ISSUE, *arguments, environment=stack.environment)


def made(stack: Stack) -> dict[str, Any]:
    """Return what is made of keys and certificates, by the names of resources."""
    return {
        one["urn"].rpartition("::")[2]: one["outputs"].get("privateKeyPem") or one["outputs"].get("certPem")
        for one in stack.resources(show_secrets=True)
        if one["type"].startswith("tls:index/")
    }


def test_a_run_that_is_killed_while_it_makes_many_has_done_nothing(stack: Stack) -> None:
    issue(stack).finish(120).succeeded()
    first = made(stack)
    assert {"authority-1-key", "authority-clients-1-key", "certificate-a0-server-1-certificate"} <= first.keys()
    types = {one["type"] for one in stack.resources()}
    assert not any(one.startswith(("docker:", "command:", "random:")) for one in types), "nothing else was touched"

    saved = stack.checkpoint.read_bytes()
    stack.configure(fleet("a", "b"))
    run = issue(stack)
    deadline = time.monotonic() + 120
    while "certificate-b" not in run.output():
        assert not run.is_over, run.output()
        assert time.monotonic() < deadline, run.output()
        time.sleep(0.02)
    assert run.kill() >= 4  # the command, the engine, the program and a plugin
    assert stack.checkpoint.read_bytes() == saved, "nobody has been given anything of what was made"

    issue(stack).finish(120).succeeded()
    then = made(stack)
    assert first.items() <= then.items(), "what was there has stayed what it was"
    assert then.keys() - first.keys() == {name.replace("-a", "-b") for name in first if "certificate-a" in name}

    issue(stack, "rekey").finish(120).succeeded()
    anew = made(stack)
    assert anew.keys() == then.keys()
    kept = {name for name, what in anew.items() if what == then[name]}
    assert kept == {name for name in then if not name.startswith("certificate-")}, "who signs is as it was"
