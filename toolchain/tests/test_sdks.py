"""What the Go tests take for the interface of the SDKs."""

import subprocess
import sys

import pytest

from toolchain.layout import ROOT


@pytest.mark.parametrize(
    ("script", "committed"),
    [
        ("toolchain/go/bridged/sdk_shapes.py", "toolchain/go/bridged/testdata/sdk_shapes.json"),
        ("toolchain/go/command/testdata/derive_sdk.py", "toolchain/go/command/testdata/sdk.json"),
    ],
)
def test_the_go_tests_compare_the_plugins_with_the_sdks_that_are_installed(script: str, committed: str) -> None:
    """Else a plugin that was moved is tested against what the SDK of the old one expects."""
    told = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told == (ROOT / committed).read_text(encoding="utf-8"), (
        f"run: .toolchain/venv/bin/python {script} > {committed}"
    )
