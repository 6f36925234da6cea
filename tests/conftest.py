"""What every tier shares."""

import os
import subprocess
from collections.abc import Iterator

import pytest

# An Output inside an f-string would only be logged, and its place taken by an English sentence.
os.environ["PULUMI_ERROR_OUTPUT_STRING"] = "1"

from testing import engine as recording

DOCKER_SECONDS = 20
"""How long a daemon may take to answer before it counts as absent."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "docker: needs a Docker daemon; fails without one in CI, is skipped elsewhere")
    # The SDK of AWS warns of its own classes while it is imported.
    config.addinivalue_line("filterwarnings", "ignore:.*has been deprecated in favor of:DeprecationWarning:pulumi_aws")


@pytest.fixture(scope="session")
def docker_absence() -> str:
    """Why no Docker daemon can be used; empty where one answers."""
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            timeout=DOCKER_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return "the docker command is not installed"
    except subprocess.TimeoutExpired:
        return f"the Docker daemon did not answer within {DOCKER_SECONDS} s"
    return "" if asked.returncode == 0 else f"no Docker daemon answers: {asked.stderr.strip()}"


@pytest.fixture(autouse=True)
def _docker_is_there(request: pytest.FixtureRequest) -> None:
    """Keep a test that needs Docker from failing in a hundred ways where there is none."""
    if request.node.get_closest_marker("docker") is None:
        return
    absence: str = request.getfixturevalue("docker_absence")
    if not absence:
        return
    line = f"{request.node.name} needs Docker, and {absence}"
    if os.environ.get("CI"):
        pytest.fail(line, pytrace=False)
    pytest.skip(line)


@pytest.fixture
def engine() -> Iterator[recording.Engine]:
    """A fresh recording engine."""
    yield from recording.engines()
