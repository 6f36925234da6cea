"""How the tiers are counted, and what becomes of a test that needs Docker where there is none."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from conftest import tier_of, tier_summary
from toolchain import ROOT

NEEDS_DOCKER = """
import pytest

@pytest.mark.docker
def test_that_needs_docker() -> None:
    pass
"""


@pytest.mark.parametrize(
    ("node", "tier"),
    [
        ("toolchain/tests/test_a.py::test_b", "toolchain"),
        ("tests/unit/test_a.py::test_b", "unit"),
        ("tests/program/test_a.py::test_b[x/y]", "program"),
        ("tests/e2e/sub/test_a.py::test_b", "e2e"),
        ("elsewhere/unit/test_a.py::test_b", "other"),
        ("tests/test_a.py::test_b", "other"),
    ],
)
def test_a_test_belongs_to_the_tier_of_its_folder(node: str, tier: str) -> None:
    assert tier_of(node) == tier


def test_the_summary_names_each_tier_that_ran_with_its_numbers() -> None:
    outcomes = {"program": Counter(passed=2), "unit": Counter(passed=3, failed=1, skipped=1)}
    assert tier_summary(outcomes) == [
        "unit: 5 tests (1 failed, 3 passed, 1 skipped)",
        "program: 2 tests (2 passed)",
    ]


def run_without_docker(folder: Path, *, in_ci: bool) -> subprocess.CompletedProcess[str]:
    """Run a test that needs Docker on a machine where the docker command does not exist."""
    test = folder / "test_it.py"
    test.write_text(NEEDS_DOCKER, encoding="utf-8")
    (folder / "bin").mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    environment |= {"PATH": str(folder / "bin"), **({"CI": "true"} if in_ci else {})}
    return subprocess.run(
        [
            sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "-p", "tests.conftest",
            f"--rootdir={folder}", "-c", str(ROOT / "pyproject.toml"), str(test),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def test_without_docker_a_test_that_needs_it_fails_in_ci_with_the_reason(tmp_path: Path) -> None:
    done = run_without_docker(tmp_path, in_ci=True)
    assert done.returncode == 1, done.stdout
    assert "test_that_needs_docker needs Docker, and the docker command is not installed" in done.stdout


def test_without_docker_a_test_that_needs_it_is_skipped_by_name_elsewhere(tmp_path: Path) -> None:
    done = run_without_docker(tmp_path, in_ci=False)
    assert done.returncode == 0, done.stdout
    assert "1 skipped" in done.stdout
    assert "test_that_needs_docker needs Docker, and the docker command is not installed" in done.stdout
