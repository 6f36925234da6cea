"""What every tier shares."""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest

# An Output inside an f-string would only be logged, and its place taken by an English sentence.
os.environ["PULUMI_ERROR_OUTPUT_STRING"] = "1"

from tests.unit import engine as recording

TIERS = ("unit", "program", "e2e")
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


def tier_of(node_id: str) -> str:
    """Return the tier of a test by the folder it is in."""
    parts = node_id.split("::")[0].split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "tests" and parts[1] in TIERS else "other"


def tier_summary(outcomes: dict[str, Counter[str]]) -> list[str]:
    """Return one line a tier that ran: how many tests, and how they ended."""
    lines = []
    for tier in (*TIERS, "other"):
        ended = outcomes.get(tier)
        if ended:
            details = ", ".join(f"{count} {outcome}" for outcome, count in sorted(ended.items()))
            lines.append(f"{tier}: {ended.total()} tests ({details})")
    return lines


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    outcomes: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "skipped", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            outcomes.setdefault(tier_of(report.nodeid), Counter())[outcome] += 1
    lines = tier_summary(outcomes)
    if lines:
        terminalreporter.section("tests by tier")
        for line in lines:
            terminalreporter.write_line(line)
