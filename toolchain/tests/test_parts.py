"""Parts: the order of origins, the cache, locks, and runs that are killed."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from toolchain import parts, releases
from toolchain.layout import ROOT, ToolchainError
from toolchain.progress import Progress

GOOD = "import pathlib, sys; pathlib.Path(sys.argv[1], 'tool').write_text('built')"


def no_release() -> releases.Release:
    raise releases.NotAvailable("nothing is published for this test")


class Counter:
    """Counts how often a build was asked for."""

    def __init__(self, code: str = GOOD) -> None:
        self.code = code
        self.calls = 0

    def __call__(self, folder: Path) -> Sequence[str]:
        self.calls += 1
        return [sys.executable, "-c", self.code, str(folder)]


def part(build: Callable[[Path], Sequence[str]] | None, inputs: str = "1", **more: object) -> parts.Part:
    fields: dict[str, object] = {
        "name": "tool",
        "version": "1.0",
        "files": ("tool",),
        "platform": "linux-amd64",
        "build": build,
        "release": no_release,
        "inputs": lambda: inputs,
        **more,
    }
    return parts.Part(**fields)  # type: ignore[arg-type]  # the fields are checked by the calls of the tests


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def shop(tmp_path: Path, log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> parts.Workshop:
    monkeypatch.delenv("TOOLCHAIN_ORIGINS", raising=False)
    return parts.Workshop(Progress(log), cache=tmp_path / "cache", logs=tmp_path / "logs")


def test_what_is_installed_wins(shop: parts.Workshop, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("mine")
    build = Counter()
    found = shop.obtain(part(build, find_installed=lambda: {"tool": tool}))
    assert (found.origin, found.main, build.calls) == (parts.INSTALLED, tool, 0)


def test_without_a_release_it_is_built_once_and_then_cached(shop: parts.Workshop, log: io.StringIO) -> None:
    build = Counter()
    first, second = shop.obtain(part(build)), shop.obtain(part(build))
    assert first == second
    assert (first.origin, first.main.read_text(), build.calls) == (parts.REGISTRY, "built", 1)
    assert first.main.is_relative_to(shop.cache)
    assert "nothing is published for this test" in log.getvalue()
    assert list((shop.cache / "work").iterdir()) == []


def test_other_inputs_are_another_part(shop: parts.Workshop) -> None:
    build = Counter()
    assert shop.obtain(part(build, "1")).key != shop.obtain(part(build, "2")).key
    assert build.calls == 2


def test_a_part_with_a_hole_is_made_anew(shop: parts.Workshop) -> None:
    build = Counter()
    shop.obtain(part(build)).main.unlink()
    assert shop.obtain(part(build)).main.read_text() == "built"
    assert build.calls == 2


def test_a_failing_build_says_why_and_leaves_nothing(shop: parts.Workshop, tmp_path: Path) -> None:
    code = "import sys; print('compiling'); print('no such header'); sys.exit(3)"
    with pytest.raises(ToolchainError, match="status 3") as caught:
        shop.obtain(part(Counter(code)))
    assert "no such header" in str(caught.value)
    assert "no such header" in (tmp_path / "logs" / "tool.log").read_text()
    assert not (shop.cache / "parts").exists()
    assert shop.obtain(part(Counter())).main.read_text() == "built"


def test_a_build_that_forgets_a_file_is_refused(shop: parts.Workshop) -> None:
    with pytest.raises(ToolchainError, match="without tool"):
        shop.obtain(part(Counter("pass")))


def test_a_wrong_checksum_is_not_passed_over_by_building(shop: parts.Workshop) -> None:
    def tampered() -> releases.Release:
        raise releases.WrongChecksum("sum differs")

    build = Counter()
    with pytest.raises(releases.WrongChecksum):
        shop.obtain(part(build, release=tampered))
    assert build.calls == 0


def test_origins_can_be_narrowed(shop: parts.Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "tool"
    tool.write_text("mine")
    monkeypatch.setenv("TOOLCHAIN_ORIGINS", "registry")
    assert shop.obtain(part(Counter(), find_installed=lambda: {"tool": tool})).origin == parts.REGISTRY
    monkeypatch.setenv("TOOLCHAIN_ORIGINS", "release")
    with pytest.raises(ToolchainError, match="nothing is published"):
        shop.obtain(part(Counter(), "other"))
    monkeypatch.setenv("TOOLCHAIN_ORIGINS", "internet")
    with pytest.raises(ToolchainError, match="installed, release, registry"):
        shop.obtain(part(Counter()))


@pytest.mark.parametrize("origins", ["release", "installed", "release,registry"])
def test_what_can_only_be_built_is_built_whatever_the_origins(
    shop: parts.Workshop, monkeypatch: pytest.MonkeyPatch, origins: str
) -> None:
    monkeypatch.setenv("TOOLCHAIN_ORIGINS", origins)
    build = Counter()
    only_built = part(build, release=None)
    assert shop.obtain(only_built) == shop.obtain(only_built)
    assert (shop.obtain(only_built).origin, build.calls) == (parts.REGISTRY, 1)
    monkeypatch.setenv("TOOLCHAIN_ORIGINS", "internet")
    with pytest.raises(ToolchainError, match="installed, release, registry"):
        shop.obtain(only_built)


def released(*, sums: tuple[str, ...] = (), sha256: str | None = None) -> Callable[[], releases.Release]:
    return lambda: releases.Release("tool", "https://example.org/tool.tar.gz", sums, sha256, {"tool": "tool"})


@pytest.mark.parametrize(
    ("release", "origins", "prepared"),
    [
        (None, "installed,release,registry", True),
        (no_release, "installed,release,registry", True),
        (released(), "installed,release,registry", True),
        (released(sums=("https://example.org/sums",)), "installed,release,registry", False),
        (released(sha256="ab" * 32), "installed,release,registry", False),
        (released(sha256="ab" * 32), "registry", True),
        (released(), "release", False),
    ],
)
def test_what_only_a_build_can_bring_is_prepared_for(
    shop: parts.Workshop,
    monkeypatch: pytest.MonkeyPatch,
    release: Callable[[], releases.Release] | None,
    origins: str,
    prepared: bool,
) -> None:
    monkeypatch.setenv("TOOLCHAIN_ORIGINS", origins)
    calls: list[Progress] = []
    tool = part(Counter(), release=release, prepare_build=calls.append)
    shop.prepare(tool)
    shop.prepare(part(None, name="one", shared=tool, release=release))
    assert len(calls) == (2 if prepared else 0)


def test_what_is_at_hand_is_not_prepared_for(shop: parts.Workshop, tmp_path: Path) -> None:
    def refuse(progress: Progress) -> None:
        raise ToolchainError("no compiler")

    tool = tmp_path / "tool"
    tool.write_text("mine")
    shop.prepare(part(Counter(), find_installed=lambda: {"tool": tool}, prepare_build=refuse))
    shop.obtain(part(Counter()))
    shop.prepare(part(Counter(), prepare_build=refuse))
    with pytest.raises(ToolchainError, match="no compiler"):
        shop.prepare(part(Counter(), "other", prepare_build=refuse))


def test_one_build_serves_several_parts(shop: parts.Workshop) -> None:
    build = Counter()
    shared = part(build, name="many", release=None)
    first = shop.obtain(part(None, name="a", version="1", files=("a-plugin",), shared=shared))
    second = shop.obtain(part(None, name="b", version="2", files=("b-plugin",), shared=shared))
    assert build.calls == 1
    assert (first.main, list(first.files)) == (second.main, ["a-plugin"])
    assert (second.name, second.version, list(second.files)) == ("b", "2", ["b-plugin"])


def test_further_files_of_a_build_are_part_of_it(shop: parts.Workshop) -> None:
    code = GOOD + "; pathlib.Path(sys.argv[1], 'helper').write_text('more')"
    assert list(shop.obtain(part(Counter(code))).files) == ["tool", "helper"]


def test_hashes_are_stable_and_notice_every_change(tmp_path: Path) -> None:
    one, two = tmp_path / "a", tmp_path / "b"
    one.write_text("x")
    two.write_text("y")
    before = parts.tree_hash(tmp_path, [one, two])
    assert parts.tree_hash(tmp_path, [two, one]) == before
    two.chmod(0o755)
    executable = parts.tree_hash(tmp_path, [one, two])
    two.write_text("z")
    assert len({before, executable, parts.tree_hash(tmp_path, [one, two]), parts.tree_hash(tmp_path, [one])}) == 4
    assert parts.tree_hash(tmp_path, [one], "1") == parts.tree_hash(tmp_path, [one], "1")


RUN = """
import pathlib, sys
from toolchain import parts
from toolchain.progress import Progress
cache, code = pathlib.Path(sys.argv[1]), sys.argv[2]
tool = parts.Part(
    name="tool", version="1.0", files=("tool",), platform="linux-amd64", inputs=lambda: "1",
    build=lambda folder: [sys.executable, "-c", code, str(folder)],
)
found = parts.Workshop(Progress(), cache=cache).obtain(tool)
print("ANSWER", found.main.read_text())
"""

SLOW = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
cache = folder.parent.parent
with (cache / "builds").open("a") as log:
    log.write("begun\\n")
(folder / "tool").write_text("half")
deadline = time.monotonic() + 20
while not (cache / "go-on").exists() and time.monotonic() < deadline:
    time.sleep(0.02)
(folder / "tool").write_text("whole")
"""
"""A build that has begun and written half its result, and ends when the test says so."""


def start(cache: Path, code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "TOOLCHAIN_ORIGINS": "registry"}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(cache), code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def read_until(run: subprocess.Popen[str], words: str) -> None:
    assert run.stdout is not None
    for line in run.stdout:
        if words in line:
            return
    pytest.fail(f"the run ended without saying {words!r}")


def test_a_killed_run_leaves_no_half_part_and_the_next_one_finishes(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = start(cache, SLOW)
    wait_for(cache / "builds")
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not (cache / "parts").exists()
    second = start(cache, SLOW)
    # The killed run's own build lives on and holds the lock, so the two never write to one folder at once.
    read_until(second, "waiting for another set-up")
    assert (cache / "builds").read_text() == "begun\n"
    (cache / "go-on").touch()
    answer, _ = second.communicate(timeout=30)
    assert "ANSWER whole" in answer
    assert (cache / "builds").read_text() == "begun\nbegun\n"
    assert list((cache / "work").iterdir()) == []


def test_two_runs_at_once_build_once(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = start(cache, SLOW)
    wait_for(cache / "builds")
    second = start(cache, SLOW)
    read_until(second, "waiting for another set-up")
    (cache / "go-on").touch()
    answers = [run.communicate(timeout=30)[0] for run in (first, second)]
    assert all("ANSWER whole" in answer for answer in answers)
    assert (cache / "builds").read_text() == "begun\n"


def test_the_record_of_a_part_names_its_origin(shop: parts.Workshop) -> None:
    found = shop.obtain(part(Counter()))
    record = json.loads((found.main.parent / "part.json").read_text())
    assert record["origin"] == parts.REGISTRY
    assert record["sha256"] == found.sha256
