"""A certificate is renewed while people use the edge, and they do not notice."""

import hashlib
import time
from collections.abc import Callable

import pytest

from tests.e2e.edge import Visitor
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
