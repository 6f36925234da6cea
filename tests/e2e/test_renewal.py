"""A certificate is renewed while people use the edge, and they do not notice."""

import hashlib
import json
import os
import re
import shlex
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.edge import Visitor
from tests.e2e.processes import Finished, Run
from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker


def test_no_request_is_lost_while_the_certificate_is_renewed(
    deployment: Stack, record_property: Callable[[str, object], None]
) -> None:
    caddy = deployment.containers()["caddy"]
    page = "/v1/config"
    digest = hashlib.sha256(deployment.edge.ask("GET", page).body).hexdigest()
    newcomers = [Visitor(deployment.edge, page, digest, keep_alive=False) for _ in range(2)]
    regulars = [Visitor(deployment.edge, page, digest, keep_alive=True) for _ in range(2)]
    visitors = [*newcomers, *regulars]
    for visitor in visitors:
        visitor.start()
    leaf = deployment.urn("edge-certificate-1-certificate")
    deployment.settled = False
    for _ in range(2):
        seen = [len(visitor.traffic.serials) for visitor in newcomers]
        download = SlowDownload(deployment)
        deployment.pulumi("up", "--yes", "--skip-preview", "--replace", leaf).succeeded()
        assert download.finish() == download.expected
        deadline = time.monotonic() + 60
        while any(len(v.traffic.serials) == count for v, count in zip(newcomers, seen, strict=True)):
            assert time.monotonic() < deadline, "the renewed certificate is not served"
            assert all(visitor.is_alive() for visitor in visitors)
            time.sleep(0.05)
    traffic = [visitor.stop() for visitor in visitors]
    deployment.settled = True
    requests = sum(one.requests for one in traffic)
    record_property("requests", requests)
    failures = [failure for one in traffic for failure in one.failures]
    assert failures == [], f"{len(failures)} of {requests} requests failed"
    assert requests > 200
    assert all(len(visitor.traffic.serials) == 3 for visitor in newcomers)
    # Who was connected stays connected.
    assert [one.reconnected for one in traffic] == [0, 0, 0, 0]
    now = deployment.containers()["caddy"]
    assert (now["Id"], now["State"]["StartedAt"]) == (caddy["Id"], caddy["State"]["StartedAt"])
    assert deployment.planned() == {}


class SlowDownload:
    """A large object, fetched by a presigned URL, that is still under way when the edge takes a new certificate."""

    SIZE = 16 * 1024 * 1024  # more than fits into all the buffers on the way

    def __init__(self, stack: Stack) -> None:
        content = hashlib.shake_256(b"slow").digest(self.SIZE)
        self.expected = hashlib.sha256(content).hexdigest()
        user = stack.log_in()
        assert stack.edge.ask("PUT", "/v1/objects/e2e/slow.bin", content, user).status == 201
        url = stack.edge.ask("GET", "/v1/objects/e2e/slow.bin", headers=user).json()["url"]
        host, _, target = url.removeprefix("https://").partition("/")
        self._connection = stack.edge.connect(name=host.partition(":")[0])
        self._connection.request("GET", f"/{target}")
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200
        self._hash = hashlib.sha256(self._answer.read(1024))

    def finish(self) -> str:
        """Read the rest and return the hash of all."""
        while piece := self._answer.read(64 * 1024):
            self._hash.update(piece)
        self._connection.close()
        return self._hash.hexdigest()


# --- Without a person -------------------------------------------------------------------------------------------------

DAYS: Final = 70
"""Puts a leaf of 90 days inside its window of 30."""
KEY_DAYS: Final = 365
"""Puts a key beyond its period of 360."""


def near_its_end(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state, of the shape of an export, in which the leaf is older, and so are its key and what outputs tell.

    The clock of the machine is left alone; the provider and we hold the times in the state against it.
    """
    resources = state["deployment"]["resources"]
    leaf = next(one["outputs"] for one in resources if one["urn"].endswith("::edge-certificate-1-certificate"))
    key = next(one for one in resources if one["urn"].endswith("::edge-certificate-1-key"))
    key["created"] = (datetime.fromisoformat(key["created"]) - timedelta(days=KEY_DAYS)).isoformat()
    listed = next(one["outputs"] for one in resources if one["type"] == "pulumi:pulumi:Stack")["pki_inventory"]
    moments = {
        leaf["validityStartTime"],
        leaf["validityEndTime"],
        *(one[end] for one in listed if "renew_at" in one for end in ("expires", "chain_expires", "renew_at")),
    }
    text = json.dumps(state)
    for moment in moments:
        earlier = datetime.fromisoformat(moment) - timedelta(days=DAYS)
        text = text.replace(moment, earlier.isoformat().replace("+00:00", "Z"))
    return dict(json.loads(text))


def public_key(stack: Stack) -> object:
    """Return the public half of the edge's key."""
    urn = stack.urn("edge-certificate-1-key")
    return next(one["outputs"]["publicKeyPem"] for one in stack.resources() if one["urn"] == urn)


class Scheduled:
    """What `make schedule` has written for a stack, run as systemd would: by its own words and nothing else."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        stack.run("schedule", "--output", str(folder)).succeeded()
        (service,) = folder.glob("*.service")
        (self.timer,) = folder.glob("*.timer")
        self.said = [line.partition("=")[::2] for line in service.read_text(encoding="utf-8").splitlines()]
        (command,) = self._all("ExecStart")
        self.command = [word.replace("$$", "$") for word in shlex.split(command)]
        (self.folder,) = self._all("WorkingDirectory")

    def _all(self, name: str) -> list[str]:
        return [value.replace("%%", "%") for key, value in self.said if key == name]

    def run(self) -> Finished:
        """Run it to its end."""
        variables = dict(shlex.split(line)[0].partition("=")[::2] for line in self._all("Environment"))
        # What systemd itself gives to a unit with a user.
        environment = {"HOME": os.environ["HOME"], "USER": "root", "LOGNAME": "root", **variables}
        return Run(self.command, cwd=Path(self.folder), environment=environment).finish(300)


def test_the_timers_command_renews_the_leaf_and_loses_no_request(
    deployment: Stack, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    deployment.settled = False
    scheduled = Scheduled(deployment, tmp_path)
    containers = {name: (one["Id"], one["State"]["StartedAt"]) for name, one in deployment.containers().items()}
    deployment.restore(near_its_end(deployment.export()))
    key = public_key(deployment)
    assert deployment.run("status", "--no-sizes").status == 1, "20 days are a warning"
    page = "/v1/config"
    digest = hashlib.sha256(deployment.edge.ask("GET", page).body).hexdigest()
    visitors = [
        Visitor(deployment.edge, page, digest, keep_alive=keep_alive) for keep_alive in (False, False, True, True)
    ]
    for visitor in visitors:
        visitor.start()
    # A change that waits to be deployed, and has nothing to do with certificates, keeps nobody from it and stays away.
    memory_mib = deployment.setting("workflow.memory_mib")
    deployment.checkout.configure(deployment.name, {"workflow.memory_mib": memory_mib + 32})
    first = scheduled.run().succeeded()
    assert re.search(r"^renewed edge-certificate: ended .* UTC, ends .* UTC, served at ", first.output, re.MULTILINE)
    assert "edge-certificate is due for renewal, and its key is 365 days old: it gets a new one" in first.output
    assert public_key(deployment) != key
    deployment.checkout.configure(deployment.name, {"workflow.memory_mib": memory_mib})
    deadline = time.monotonic() + 30
    while any(len(visitor.traffic.serials) < 2 for visitor in visitors[:2]):
        assert time.monotonic() < deadline, "the renewed certificate is not served"
        time.sleep(0.05)
    traffic = [visitor.stop() for visitor in visitors]
    requests = sum(one.requests for one in traffic)
    record_property("requests", requests)
    failures = [failure for one in traffic for failure in one.failures]
    assert failures == [], f"{len(failures)} of {requests} requests failed"
    assert requests > 200
    assert [one.reconnected for one in traffic] == [0, 0, 0, 0]
    now = {name: (one["Id"], one["State"]["StartedAt"]) for name, one in deployment.containers().items()}
    assert now == containers
    assert deployment.planned() == {}
    assert scheduled.run().succeeded().output == "nothing is due\n"
    told = json.loads(deployment.run("status", "--json").output)
    assert [one["level"] for one in told["certificates"]] == ["ok"] * 3
    assert {one["state"] for one in told["services"]} == {"running"}
    assert all(one["bytes"] is not None for one in told["volumes"])
    assert told["renewal"]["succeeded"] is True
    deployment.settled = True


def test_a_renewal_that_cannot_be_done_says_so_in_one_line_and_changes_nothing(
    deployment: Stack, tmp_path: Path
) -> None:
    deployment.settled = False
    scheduled = Scheduled(deployment, tmp_path)
    kept = deployment.export()
    deployment.restore(near_its_end(kept))
    file = deployment.checkout.stack_file(deployment.name)
    text = file.read_text(encoding="utf-8")
    for changes, said in (
        ({"hosts.main.address": f"unix://{tmp_path}/nobody.sock"}, "error: nothing was renewed: hosts.main.address: "),
        (
            {"edge.extra_names": ["DNS:other.reflector.test"]},
            "error: nothing was renewed: the checkout or the stack file",
        ),
    ):
        deployment.checkout.configure(deployment.name, changes)
        failed = scheduled.run().failed()
        file.write_text(text, encoding="utf-8")
        lines = failed.output.splitlines()
        assert len(lines) == 1, failed.output
        assert lines[0].startswith(said)
    assert deployment.run("status", "--no-sizes").status == 1, "the leaf is as it was, and so is its end"
    deployment.restore(kept)
    assert scheduled.run().succeeded().output == "nothing is due\n"
    deployment.settled = True
