"""Stamps: knowing in a moment that nothing is to be done."""

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolchain import stamps
from toolchain.layout import ROOT, Layout
from toolchain.tests.stand_ins import program, put


def test_a_stamp_holds_until_an_input_or_a_product_changes(layout: Layout, tmp_path: Path) -> None:
    product = tmp_path / "product"
    product.write_text("1")
    before = stamps.setup_fingerprint(layout)
    assert not stamps.current(layout, "setup", before)
    stamps.write(layout, "setup", before, [str(product)])
    assert stamps.current(layout, "setup", before)
    assert stamps.setup_fingerprint(layout) == before
    (layout.root / "toolchain" / "new.py").write_text("x")
    assert stamps.setup_fingerprint(layout) != before
    assert not stamps.current(layout, "setup", stamps.setup_fingerprint(layout))
    product.write_text("22")
    assert not stamps.current(layout, "setup", before)
    product.unlink()
    assert not stamps.current(layout, "setup", before)


def test_tests_and_documentation_are_no_inputs(layout: Layout) -> None:
    """Else who writes a test sets everything up anew."""
    before = (stamps.setup_fingerprint(layout), stamps.dev_fingerprint(layout), stamps.image_fingerprint(layout))
    for name in ("README.md", "tests/test_x.py", "go/plugin/main_test.go"):
        put(layout.root / "toolchain" / name, "x")
    after = (stamps.setup_fingerprint(layout), stamps.dev_fingerprint(layout), stamps.image_fingerprint(layout))
    assert after == before
    put(layout.root / "toolchain" / "go" / "README.md", "x")
    assert stamps.setup_fingerprint(layout) != before[0]


def test_bytecode_and_settings(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stamps.setup_fingerprint(layout)
    (layout.root / "toolchain" / "__pycache__").mkdir()
    (layout.root / "toolchain" / "__pycache__" / "a.pyc").write_text("x")
    assert stamps.setup_fingerprint(layout) == before
    monkeypatch.setenv("TOOLCHAIN_ORIGINS", "release")
    assert stamps.setup_fingerprint(layout) != before


def test_nothing_to_do_takes_a_moment(layout: Layout, bare: Path) -> None:
    """The same package, in a checkout whose set-up is over, as a process of its own: no step runs."""
    # Not the caches other tools keep below it while they run beside the tests.
    unwanted = shutil.ignore_patterns("__pycache__", ".*", "build")
    shutil.copytree(ROOT / "toolchain", layout.root / "toolchain", dirs_exist_ok=True, ignore=unwanted)
    shutil.copy(ROOT / "requirements.txt", layout.root)
    program(bare, "docker", "exit 0")
    finish = """
import sys; sys.path.insert(0, ".")
from toolchain import needs, stamps; from toolchain.layout import Layout
layout = Layout(); layout.home.mkdir(exist_ok=True); layout.passphrase.touch()
stamps.write(layout, "setup", stamps.setup_fingerprint(layout), [str(layout.passphrase)])
needs._ask = lambda *_: {"docker_host": "ssh://a@b", "minimum_free_disk_gib": 5, "images": False, "aws": False}
needs.of(layout, "x")
"""
    subprocess.run([sys.executable, "-c", finish], cwd=layout.root, check=True)
    command = [sys.executable, "-m", "toolchain", "setup", "--stack", "x"]
    seconds = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=layout.root, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Processor time: it holds on a machine that builds something else meanwhile.
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.stdout + done.stderr == ""
    assert min(seconds) < 0.3, seconds
    shown = subprocess.run(
        [*command[:1], "-X", "importtime", *command[1:]], cwd=layout.root, capture_output=True, text=True
    )
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "toolchain.stamps" in imported
    slow = {"dataclasses", "http.client", "subprocess", "tomllib", "toolchain.daemon", "toolchain.setup"}
    assert not imported & slow
