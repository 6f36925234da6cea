"""`make doctor`: what is there, in which version, and where it came from."""

from pathlib import Path

from toolchain import daemon, recipes, setup
from toolchain.layout import Layout, ToolchainError, cache_root
from toolchain.parts import INSTALLED, Obtained
from toolchain.pins import Pins


def main(layout: Layout, docker_socket: Path = daemon.SOCKET) -> int:
    """Print the state of every part and of Docker; return 1 when something that every stack needs is missing."""
    pins = Pins.read(layout.root)
    known = setup.recorded(layout)
    rows = [("part", "version", "origin", "sha256", "where")]
    missing = []
    for name, version, needed in expected(pins):
        part = known.get(name)
        if part is None or part.version != version or not all(path.exists() for path in placed(layout, part)):
            rows.append((name, version, "missing" if needed else "not asked for", "", ""))
            if needed:
                missing.append(name)
            continue
        path = part.main if part.origin == INSTALLED else placed(layout, part)[0]
        # What a release was verified by is told with it: not every publisher has the same.
        origin = f"{part.origin} ({part.proof.split()[0]})" if part.proof else part.origin
        rows.append((name, version, origin, part.sha256[:12], _shown(layout, path)))
    for name, link in (("venv", layout.venv), ("venv-dev", layout.venv_dev)):
        there = (link / "bin" / "python").exists()
        rows.append((name, "", "made from PyPI" if there else "missing" if name == "venv" else "not asked for", "", ""))
        if name == "venv" and not there:
            missing.append(name)
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"cache: {_shown(layout, cache_root())}")
    lines = _docker(pins, docker_socket)
    print("\n".join(lines))
    if missing:
        print(f"missing: {', '.join(missing)}. Run: make setup")
    return 1 if missing else 0


def expected(pins: Pins) -> list[tuple[str, str, bool]]:
    """Return every part as (name, pinned version, whether every stack needs it)."""
    pulumi = pins.version("pulumi")
    rows = [("engine", pulumi, True), ("language", pulumi, True)]
    rows += [(name, pins.version(name), True) for name in setup.REQUIRED_PLUGINS]
    rows += [("aws", pins.version("aws"), False)]
    rows += [(name, pins.version(name) if name in setup.PROGRAMS else "", False) for name in recipes.RECIPES]
    return rows


def placed(layout: Layout, part: Obtained) -> list[Path]:
    """Return where set-up has put a part; the cache, from which it came, is not needed any more."""
    if part.name in recipes.RECIPES and part.name not in setup.PROGRAMS:
        return [layout.images / "manifest.json"]
    return [setup.target(layout, part, name) for name in part.files]


def _shown(layout: Layout, path: Path) -> str:
    """Return `path` below the checkout, else below the home folder, else whole."""
    if path.is_relative_to(layout.root):
        return str(path.relative_to(layout.root))
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _docker(pins: Pins, path: Path) -> list[str]:
    try:
        found = daemon.facts(path)
    except ToolchainError as error:
        return [f"Docker: {error}"]
    if found is None:
        return [f"Docker: no daemon answers on {path} (not needed when docker_host is another machine's)"]
    return [*daemon.describe(found), *daemon.engine_problems(found, pins)]
