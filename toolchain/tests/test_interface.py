"""The one public interface, and what the toolchain itself may import."""

import ast
import functools
import inspect
import sys
from pathlib import Path

import pytest

import toolchain
from toolchain.layout import ROOT


def imports(path: Path) -> set[tuple[str, str]]:
    """Return all a file imports, at the top or inside a function, as (module, name); ("a.b", "") is `import a.b`."""
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "", alias.name) for alias in node.names}
    return found


def elsewhere() -> list[Path]:
    """Return every Python file of the checkout outside this room."""
    tops = [path for path in ROOT.iterdir() if not path.name.startswith(".") and path != ROOT / "toolchain"]
    return [file for top in tops for file in ([top] if top.is_file() else top.rglob("*")) if file.suffix == ".py"]


@functools.cache
def used() -> dict[Path, set[tuple[str, str]]]:
    """Return for each of those files what it imports of this package."""
    return {
        path: {(module, name) for module, name in imports(path) if module.partition(".")[0] == "toolchain"}
        for path in elsewhere()
    }


def test_other_rooms_import_nothing_but_public_names() -> None:
    private = {
        f"{path.relative_to(ROOT)}: {module} {name}"
        for path, names in used().items()
        for module, name in names
        if module != "toolchain" or (name and name not in toolchain.__all__)
    }
    assert private == set()


@pytest.mark.parametrize("name", toolchain.__all__)
def test_a_public_name_is_described_and_used_by_another_room(name: str) -> None:
    thing = getattr(toolchain, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert thing.__doc__, f"{name} promises nothing"
    assert any(("toolchain", name) in names for names in used().values()), "then it need not be public"


def test_any_other_name_is_missing_as_usual() -> None:
    with pytest.raises(AttributeError, match="module 'toolchain' has no attribute 'prepare_sate'"):
        toolchain.prepare_sate  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    "path",
    [*sorted((ROOT / "toolchain").glob("*.py")), ROOT / "toolchain" / "go" / "build.py"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_it_runs_on_a_bare_python_and_needs_no_other_room(path: Path) -> None:
    modules = {module if not name else f"{module}.{name}" for module, name in imports(path)}
    assert {module.partition(".")[0] for module in modules} <= {*sys.stdlib_module_names, "toolchain"}
    assert not [module for module in modules if module.startswith("toolchain.tests")]
