"""Nothing a stack does reaches anybody who is not in its settings."""

from typing import Final

import pytest

from tests.e2e.outgoing import watched
from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

NOBODY: Final = "192.0.2.99"
"""RFC 5737 reserves it for documentation: nobody answers, and whoever asks has to leave the stack's networks."""
ASK: Final = """
import sys, urllib.request
try:  # and not by way of the proxy, which is in the settings
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=2)
except OSError:
    pass
"""


def test_a_stack_at_rest_and_in_use_reaches_nobody(deployment: Stack) -> None:
    with watched(deployment) as outgoing:
        # All of it starts anew: that is when software likes to tell its makers.
        for service in ("hatchet", "ollama", "caddy", "garage", "server", "worker", "web", "transcription"):
            deployment.host.docker("restart", f"{deployment.prefix}-{service}", timeout_seconds=180)
        deployment.wait_until_healthy()
        assert deployment.broken_wires() == {}
        assert deployment.leave_traces().are_found_in(deployment)
        assert outgoing.seen() == []
        # The same watch sees what does go out, by an address and by a name; whether it gets there does not matter.
        deployment.inside("server", "python3", "-c", ASK, f"http://{NOBODY}:8099/")
        deployment.inside("hatchet", "python3", "-c", ASK, "http://security.hatchet.run./")
        seen = outgoing.seen()
        assert any(line.endswith(f" connects to {NOBODY}:8099") for line in seen), seen
        assert any(line.endswith(" for the name security.hatchet.run") for line in seen), seen
