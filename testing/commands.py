"""Stand-ins for commands: programs that answer by their arguments, and remember what they were called with."""

import json
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def fake_command(folder: Path, name: str, answers: Mapping[str, Any]) -> Path:
    """Put a program called `name` into `folder` that answers by its arguments, and return the log of its calls.

    `answers` maps a prefix of the joined arguments to what it prints: text, or {"stdout", "stderr", "status"}. A call
    nobody foresaw fails with status 97.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    log.touch()
    table = {key: value if isinstance(value, dict) else {"stdout": value} for key, value in answers.items()}
    program = folder / name
    program.write_text(
        f"""#!{sys.executable} -IS
import json, os, sys
arguments = sys.argv[1:]
stdin = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
with open({str(log)!r}, "a") as log:
    log.write(json.dumps({{"arguments": arguments, "stdin": stdin, "environment": dict(os.environ)}}) + "\\n")
table = json.loads({json.dumps(table)!r})
for prefix in sorted(table, key=len, reverse=True):
    if " ".join(arguments).startswith(prefix):
        answer = table[prefix]
        sys.stdout.write(answer.get("stdout", ""))
        sys.stderr.write(answer.get("stderr", ""))
        sys.exit(answer.get("status", 0))
sys.stderr.write("unforeseen call: " + " ".join(arguments))
sys.exit(97)
""",
        encoding="utf-8",
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return log


def calls(log: Path) -> list[dict[str, Any]]:
    """Return the calls a fake command got: arguments, stdin, environment."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def path_with(folder: Path) -> str:
    """Return PATH with `folder` first."""
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
