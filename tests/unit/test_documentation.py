"""The documentation says what the code says, and the workflows ask for no more than they need."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations import documentation
from settings import parse
from settings.schema import ROOT, schema

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGES = sorted([ROOT / "CHANGELOG.md", *ROOT.glob("README.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/**/*.md")])
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


@pytest.mark.parametrize("page", documentation.PAGES, ids=lambda page: page.name)
def test_generated_parts_are_current(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert documentation.renewed(text) == text, "run: make docs"


def test_every_part_is_on_a_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in documentation.PAGES)
    assert set(re.findall(r"<!-- generated: ([\w-]+) -->", text)) == documentation.PARTS.keys()


def test_a_change_is_found_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- generated: memory-limits -->\nold\n<!-- /generated -->\nafter\n", encoding="utf-8")
    monkeypatch.setattr(documentation, "ROOT", tmp_path)
    monkeypatch.setattr(documentation, "PAGES", (page,))
    assert documentation.main(["--check"]) == 1
    said = capsys.readouterr()
    assert "-old\n" in said.out
    assert "make docs" in said.err
    assert "old" in page.read_text(encoding="utf-8"), "a check must write nothing"
    assert documentation.main([]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- generated: memory-limits -->\n| Service |")
    assert text.endswith("<!-- /generated -->\nafter\n")
    assert documentation.main(["--check"]) == 0


def test_an_unknown_part_is_an_error() -> None:
    with pytest.raises(KeyError, match="no-such-part"):
        documentation.renewed("<!-- generated: no-such-part -->\n<!-- /generated -->\n")


def test_the_reference_has_every_key_once() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", documentation.settings_in_full(), re.MULTILINE)
    assert sorted(rows) == sorted(schema().keys)


def test_the_examples_make_a_valid_stack() -> None:
    keys = schema().keys
    raw: dict[str, object] = {}
    for name, example in documentation.MOST_USED.items():
        value: object = [example] if keys[name].type == "array" else example
        raw[name] = {"secure": "v1:ciphertext"} if keys[name].secret else value
    settings = parse(raw, "production")
    assert settings.edge.domain == documentation.MOST_USED["domain"]


def test_a_secret_is_never_an_argument() -> None:
    for name in documentation.MOST_USED:
        key = schema().keys[name]
        assert ("--secret" in documentation.command(key, "value")) is key.secret
        assert ("value" in documentation.command(key, "value")) is not key.secret


def test_the_picture_is_the_program() -> None:
    graph = documentation.graph()
    edges = graph.edges
    assert ("authority", "edge-certificate") in edges
    assert ("postgres", "hatchet") in edges
    assert ("server", "worker") in edges, "workers wait for the server, which migrates the database"
    assert ("server", "web") not in edges, "the longer way over the workers says it"
    assert ("web", "caddy") in edges
    assert [container.service for container in graph.containers if container.published] == ["caddy"]
    assert {container.service for container in graph.containers if container.internal} == {
        "postgres",
        "redis",
        "garage",
    }
    drawn = documentation.picture()
    assert all(f'"{name}' in drawn for name in graph.components)
    assert all(f'"{container.service}<br/>' in drawn for container in graph.containers)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and anchor not in _anchors(linked)):
            broken.append(target)
    assert not broken


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    # As GitHub makes them: lower case, blanks to hyphens, and nothing but letters, digits, hyphens and underscores.
    return {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:components|images|operations|rendering|settings|tests|toolchain|docs)/[\w./-]+)`", text)
    assert not [path for path in named if not (ROOT / path).exists()]


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


def test_tests_a_page_names_are_there() -> None:
    files = (path for folder in ("tests", "toolchain/tests") for path in (ROOT / folder).rglob("test_*.py"))
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    defined = set(re.findall(r"^(?:async )?def (test_\w+)", source, re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))}
    assert named
    assert named <= defined, sorted(named - defined)
