"""Reading the project's own sources: what tests of the architecture look at."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Source:
    """A Python file."""

    path: str
    """Relative to the checkout."""
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """What it says."""
        return ast.parse(self.text)

    @property
    def floor(self) -> str:
        """Folder at the top of the checkout; empty for a file there."""
        return self.path.split("/")[0] if "/" in self.path else ""

    @property
    def room(self) -> str:
        """Folder below the floor; empty for a file of the floor itself."""
        parts = self.path.split("/")
        return parts[1] if len(parts) > 2 else ""

    @property
    def is_front_door(self) -> bool:
        """Whether it is what others import of a room."""
        return bool(self.room) and self.path.endswith("/__init__.py")

    def walk(self) -> Iterator[ast.AST]:
        """Yield every node."""
        yield from ast.walk(self.tree)

    def imports(self, *, always: bool = False) -> set[str]:
        """Return every module it imports; where `always`, only those whoever imports it imports as well.

        Of `from a import b` it is `a.b` where that is a module of ours, else `a`.
        """
        found: set[str] = set()
        for node in _outside_functions(self.tree) if always else ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = "." * node.level + (node.module or "")
                for alias in node.names:
                    module = f"{base}.{alias.name}"
                    found.add(module if _is_ours(module) else base)
        return found

    def strings(self) -> Iterator[str]:
        """Yield every text in it but descriptions; one with values in it has {} in place of each."""
        skipped: set[int] = set()
        for node in self.walk():
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                skipped.add(id(node.value))
            elif isinstance(node, ast.JoinedStr):
                skipped |= {id(part) for part in node.values}
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
                # A text stands deeper than what it is a part of, and so comes later.
                yield node.value


def _outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _outside_functions(node)


def _is_ours(module: str) -> bool:
    path = ROOT.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def sources(*folders: str) -> list[Source]:
    """Return every Python file below the folders but tests, in order."""
    paths = [path.relative_to(ROOT) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [source(path.as_posix()) for path in paths if "tests" not in path.parts]


def source(path: str) -> Source:
    """Return one file."""
    return Source(path, (ROOT / path).read_text(encoding="utf-8"))


def dotted(node: ast.AST) -> str:
    """Return a name or a chain of attributes as text, `?` in place of what is neither."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else "?"
