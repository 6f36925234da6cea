"""What the pages point at is there."""

import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from developer.documentation import row_of
from settings import Settings
from settings.schema import rows
from toolchain import ROOT

PAGES: Final = sorted(
    [ROOT / "CHANGELOG.md", *ROOT.glob("README.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/**/*.md")]
)
FLOORS: Final = (
    "components", "developer", "images", "operations", "pki", "policy", "rendering", "settings", "testing", "tests",
    "toolchain", "docs",
)  # fmt: skip


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
    named = re.findall(rf"`((?:{'|'.join(FLOORS)})/[\w./-]+)`", text)
    assert not [path for path in named if not (ROOT / path).exists()]


def test_tests_a_page_names_are_there() -> None:
    files = (path for folder in ("tests", "toolchain/tests") for path in (ROOT / folder).rglob("test_*.py"))
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    defined = set(re.findall(r"^(?:async )?def (test_\w+)", source, re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))}
    assert named
    assert named <= defined, sorted(named - defined)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_a_page_prints_set_what_there_is(page: Path) -> None:
    wrong = []
    for line in re.findall(r"pulumi config (?:set|rm|get) [^`\n]+", page.read_text(encoding="utf-8")):
        _, _, action, *arguments = shlex.split(line, comments=True)
        setting, *_ = (argument for argument in arguments if not argument.startswith("--"))
        # `<…>` stands for what the reader knows.
        if not setting.startswith("<") and not _is_right(action, arguments, re.sub(r"\[\d+\]$", "", setting)):
            wrong.append(line)
    assert not wrong


def _is_right(action: str, arguments: list[str], setting: str) -> bool:
    """Return whether a command names what there is, within its concern, and keeps a secret out of sight."""
    if "--path" not in arguments:
        return False
    if action == "set":
        try:
            return not row_of(setting).secret or "--secret" in arguments
        except KeyError:
            return False
    steps = setting.split(".")
    known = [row.path.split(".") for concern in Settings.model_fields for row in rows(concern)]
    return any(
        len(steps) <= len(path) and all(there in (step, "<name>") for step, there in zip(steps, path, strict=False))
        for path in known
    )
