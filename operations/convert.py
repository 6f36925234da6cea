"""A stack file of an earlier release, taken to today's form."""

import sys

import yaml

from operations.stack import Stack
from settings import flat, path_of


def convert(stack: Stack) -> int:
    """Rewrite the file of `stack`, keep the old one, and return the exit status."""
    path = path_of(stack.name, stack.layout.root)
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        config = content.get("config") if isinstance(content, dict) else None
    except (OSError, ValueError, yaml.YAMLError) as error:
        print(f"{path.name} cannot be read: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    if not isinstance(config, dict) or not flat.is_flat(config):
        print(f"{path.name} has no settings of an earlier release")
        return 0
    new, left, problems = flat.stack_file(text)
    kept = stack.layout.home / "converted" / path.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(text, encoding="utf-8")
    # In one move, so that there is always a whole one.
    draft = path.with_suffix(".yaml.new")
    draft.write_text(new, encoding="utf-8")
    draft.replace(path)
    print(f"{path.name} is converted; as it was: {kept.relative_to(stack.layout.root)}")
    for name in left:
        print(f"left out, because it had no effect: {name}")
    for problem in problems:
        print(f"to decide before the next run: {problem}")
    return 0
