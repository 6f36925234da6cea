"""`python -m developer.review HEAD [BASE]`: what a change does to a deployment, as Markdown for its reviewers.

Both are files with the output of `pulumi preview --json` of a stack that was never deployed. Comparing two such
previews needs no state and no secret of anybody's: a random or computed value is unknown in both.
"""

import argparse
import difflib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""The engine's own mark for a value that is not known before the update (sdk/go/common/resource/plugin/rpc.go)."""
MAXIMUM_CHARACTERS: Final = 60_000
"""A comment on GitHub holds 65,536."""
_OPTIONS: Final = ("protect", "retainOnDelete", "ignoreChanges", "replaceOnChanges", "deleteBeforeReplace")


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Scripts as blocks: a changed line is then a line of the difference.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(UNKNOWN, "(known after up)")
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items() if key != "__defaults"}
    return value


def _name(urn: str) -> str:
    """Return the resource's type and name, without the types of its parents."""
    type_, _, name = urn.partition("::")[2].partition("::")[2].partition("::")
    return f"{type_.rpartition('$')[2]} {name}"


def resources(preview: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return every resource of a preview as lines of YAML, by its URN."""
    found = {}
    for step in preview["steps"]:
        state = step["newState"]
        described = _readable(state.get("inputs", {})) | {
            f"({option})": state[option] for option in _OPTIONS if option in state
        }
        if state.get("dependencies"):
            described["(depends on)"] = sorted(_name(urn) for urn in state["dependencies"])
        text = yaml.dump(described, Dumper=_Dumper, width=110, allow_unicode=True) if described else ""
        found[step["urn"]] = text.splitlines()
    return found


def difference(base: Mapping[str, list[str]], head: Mapping[str, list[str]]) -> list[str]:
    """Return the lines of a difference by resource; empty where both make the same."""
    lines = []
    for urn in sorted(base.keys() | head.keys(), key=_name):
        old, new = base.get(urn), head.get(urn)
        if old == new:
            continue
        lines.append(f"{'+' if old is None else '-' if new is None else '!'} {_name(urn)}")
        changes = list(difflib.unified_diff(old or [], new or [], n=1, lineterm=""))[2:]
        lines += [f"{line[0]}     {line[1:]}" for line in changes if not line.startswith("@@")]
    return lines


def report(head: Mapping[str, Any], base: Mapping[str, Any] | None) -> str:
    """Return the review's text."""
    made = resources(head)
    lines = ["### What this changes in a deployment", ""]
    if base is None:
        lines += [
            "The base could not be previewed, so there is nothing to compare with."
            f" A first deployment makes {len(made)} resources.",
        ]
        return "\n".join(lines) + "\n"
    changes = difference(resources(base), made)
    if not changes:
        lines.append(f"Nothing: a first deployment makes the same {len(made)} resources, with the same inputs.")
        return "\n".join(lines) + "\n"
    kept: list[str] = []
    room = MAXIMUM_CHARACTERS
    for line in changes:
        room -= len(line) + 1
        if room < 0:
            kept.append(f"… and {len(changes) - len(kept)} more lines: see the log of the job")
            break
        kept.append(line)
    # A fence longer than any in the text itself.
    lines += [
        "A first deployment of the pull request, compared with one of its base (`+` new, `-` gone, `!` changed):",
        "",
        "`````diff",
        *kept,
        "`````",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Print the review and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m developer.review", description=__doc__)
    parser.add_argument("head", type=Path, help="preview of the change")
    parser.add_argument("base", type=Path, nargs="?", help="preview of what it is to be merged into")
    files = parser.parse_args(arguments)
    head = json.loads(files.head.read_text(encoding="utf-8"))
    base = json.loads(files.base.read_text(encoding="utf-8")) if files.base else None
    print(report(head, base), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
