"""Adding a mode, done for real: a stored change is applied to a copy of the checkout, whose program then knows it.

The change makes vLLM a way to have a language model. docs/development.md walks through it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from settings.schema import config_block
from testing.sources import ROOT

CHANGE: Final = Path(__file__).with_name("adding_a_mode.patch")
FILES: Final = [
    # The mode's settings, and the part an image plays for it.
    "settings/language_model.py",
    "settings/images.py",
    # Which image that is.
    "toolchain/versions.toml",
    # The component, and the one line that leads to it.
    "components/language_model/vllm.py",
    "components/language_model/__init__.py",
    # Its tests.
    "tests/unit/language_model/test_vllm.py",
]
COPIED: Final = (
    "__main__.py", "conftest.py", "pyproject.toml", "Pulumi.yaml", "Pulumi.authentik.yaml", "Pulumi.dev.yaml",
    "Pulumi.selfhosted.yaml", "components", "developer", "images", "operations", "pki", "rendering", "settings",
    "testing", "tests", "toolchain",
)  # fmt: skip

LOOK: Final = """
import json

from settings import PROJECT, SettingsError, parse
from settings.schema import config_block, rows, stack_schema
from testing.building import environment_of, networks_of
from testing.rules import broken_rules
from tests.program.shapes import Encrypted, run, settings_of

CHOSEN = {"mode": "vllm", "model": "some/model", "memory_mib": 9000, "hf_token": Encrypted("ConfiguredToken")}

engine, settings = run({**settings_of("selfhosted"), "language_model": CHOSEN})
containers = {
    container.plain("name").removeprefix("reflector-test-"): container
    for container in engine.of_type("docker:index/container:Container")
}


def problems(content):
    try:
        parse({"language_model": content}, "test", PROJECT)
    except SettingsError as error:
        return list(map(str, error.problems))
    return []


print(json.dumps({
    "services": sorted(containers),
    "expected": sorted(settings.services),
    "image": engine.named("images-vllm").plain("name"),
    "memory": containers["vllm"].plain("memory"),
    "networks": sorted(networks_of(containers["vllm"])),
    "broken": list(broken_rules(containers["vllm"])),
    "server": environment_of(containers["server"]),
    "key": engine.secrets["vllm-api-key.result"],
    "open": [one.name for one in engine.resources if "ConfiguredToken" in one.open_text()],
    "waits": engine.named("vllm-container").urn in engine.named("reflector-server").request.dependencies,
    "llm": engine.exports["llm"],
    "output": engine.exports["services"]["vllm"],
    "problems": {
        "of another mode": problems({"mode": "vllm", "model": "m", "url": "https://a.test"}),
        "without a model": problems({"mode": "vllm"}),
        "of this mode": problems({"mode": "external", "url": "https://a.test", "model": "m", "gpus": "all"}),
        "unknown": problems({"mode": "vlm"}),
    },
    "schema": stack_schema()["$defs"]["Vllm"],
    "modes": rows("language_model")[0].type,
    "config": config_block(),
}))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with the change in it."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy(ROOT / name, copy)
    # No repository: where the copy lies in one, its own paths would count.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(copy.parent)}
    applied = subprocess.run(
        ["git", "apply", str(CHANGE)], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert applied.returncode == 0, f"the code around the change is another now; renew it:\n{applied.stderr}"
    return copy


def python(checkout: Path, *arguments: str) -> str:
    """Run Python in the copy, and return what it printed."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-B", *arguments],
        cwd=checkout,
        env={**environment, "PULUMI_ERROR_OUTPUT_STRING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(checkout: Path) -> Any:
    """What the changed program makes of a stack in the new mode."""
    return json.loads(python(checkout, "-c", LOOK).splitlines()[-1])


def touched() -> list[str]:
    return re.findall(r"^\+\+\+ b/(.+)$", CHANGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_a_mode_touches_six_files_at_most_and_never_the_composition_root() -> None:
    assert sorted(touched()) == sorted(FILES)
    assert len(FILES) <= 6
    assert "__main__.py" not in FILES


def test_a_mode_takes_nothing_away() -> None:
    removed = re.findall(r"^-(?!--)(.*)$", CHANGE.read_text(encoding="utf-8"), re.MULTILINE)
    # The two unions it joins.
    assert len(removed) == 2, removed
    assert all("Ollama | " in line for line in removed)


def test_the_new_mode_runs_its_container_and_not_the_other_ones(found: Any) -> None:
    assert "vllm" in found["services"]
    assert "ollama" not in found["services"]
    assert found["services"] == found["expected"], "settings and components name the same services"
    assert (found["image"], found["memory"]) == ("vllm/vllm-openai:v0.11.0", 9000)
    assert found["networks"] == ["reflector-test-application"]
    assert found["broken"] == [], "it keeps every rule"


def test_the_rest_of_the_stack_uses_it_by_its_handle(found: Any) -> None:
    assert found["server"]["LLM_URL"] == "http://vllm:8000/v1"
    assert found["server"]["LLM_API_KEY"] == found["key"]
    assert found["waits"], "the server is started after it"
    assert found["llm"] == {"url": "http://vllm:8000/v1", "model": "some/model", "context_tokens": 16384}
    assert found["output"]["address"] == "vllm:8000"


def test_its_secrets_stay_secret(found: Any) -> None:
    assert found["open"] == []


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("of another mode", "language_model.url: set while language_model.mode is 'vllm': two modes at once"),
        ("without a model", "language_model.model: nothing; allowed: a value: language_model.mode is 'vllm'"),
        ("of this mode", "language_model.gpus: set while language_model.mode is 'external': two modes at once"),
        ("unknown", "language_model.mode: 'vlm'; allowed: ollama, vllm or external"),
    ],
)
def test_a_mistake_about_it_is_one_clear_line(found: Any, case: str, said: str) -> None:
    (problem,) = found["problems"][case]
    assert problem.startswith(said)
    assert "pulumi config" in problem, "what to do is said too"


def test_editors_and_the_reference_know_it(found: Any) -> None:
    schema = found["schema"]
    assert schema["properties"].keys() == {"mode", "model", "context_tokens", "gpus", "memory_mib", "hf_token"}
    assert schema["additionalProperties"] is False
    assert sorted(schema["required"]) == ["mode", "model"]
    assert found["modes"] == "ollama or vllm or external"


def test_the_project_file_stays_as_it_is(found: Any) -> None:
    assert found["config"] == config_block(), "what is in a concern is not the engine's to know"


def test_its_own_tests_and_the_rules_of_the_house_hold(checkout: Path) -> None:
    rules = "test_no_room_knows_the_service_of_another or test_every_room_of_settings or test_nothing_is_made_inside"
    python(
        checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider",
        "tests/unit/language_model/test_vllm.py", "tests/unit/test_architecture.py",
        "-k", f"vllm or {rules}",
    )  # fmt: skip
