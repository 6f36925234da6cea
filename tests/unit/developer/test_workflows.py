"""The workflows ask for no more than they need."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from toolchain import ROOT

WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED: Final = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def _parsed(path: Path) -> dict[Any, Any]:
    content: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def test_there_are_workflows() -> None:
    assert {path.name for path in WORKFLOWS} >= {"ci.yml", "preview.yml"}


def test_a_workflow_grants_nothing_by_default(workflow: Path) -> None:
    content = _parsed(workflow)
    assert content["permissions"] == {}
    assert all("permissions" in job for job in content["jobs"].values()), "each job says what it needs"


def test_a_workflow_pins_every_action_by_commit(workflow: Path) -> None:
    lines = [line.strip().removeprefix("- ") for line in workflow.read_text(encoding="utf-8").splitlines()]
    used = [line for line in lines if line.startswith("uses:")]
    assert used
    assert not [line for line in used if not PINNED.fullmatch(line)]


def test_a_workflow_gives_no_secret_to_strangers(workflow: Path) -> None:
    # YAML 1.1 reads the key `on` as true.
    assert "pull_request_target" not in _parsed(workflow)[True]
    assert "secrets." not in workflow.read_text(encoding="utf-8")


def test_a_workflow_puts_no_expression_into_a_script(workflow: Path) -> None:
    steps = [step for job in _parsed(workflow)["jobs"].values() for step in job["steps"]]
    scripts = [step.get("run", "") + step.get("with", {}).get("script", "") for step in steps]
    assert not [script for script in scripts if "${{" in script], "values travel as variables: text is no code"


def test_a_job_that_may_write_runs_no_code_of_the_pull_request(workflow: Path) -> None:
    for job in _parsed(workflow)["jobs"].values():
        if "write" in job["permissions"].values():
            assert not [step for step in job["steps"] if "run" in step or "checkout" in step.get("uses", "")]


def test_a_job_ends(workflow: Path) -> None:
    assert all(job["timeout-minutes"] <= 120 for job in _parsed(workflow)["jobs"].values())
