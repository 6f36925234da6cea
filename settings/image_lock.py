"""What images were when their tags were first pulled: `Pulumi.<stack>.images.lock`, beside the stack file.

A tag can be moved: whoever holds the registry can put another image under it. The first successful `make up` writes
down what each tag meant, and the program refuses anything else from then on. The file is to be committed.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from settings.problems import Problem

_HEADING: Final = """\
# What each image was when it was first pulled by its tag. `make up` adds what is new, and refuses a tag that has been
# moved. Keep this file with the stack file, in version control. To accept what is there now: make images-accept
"""
_TABLE: Final = "images"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def lock_path(stack: str, root: Path) -> Path:
    """Return where the file of `stack` is in the checkout at `root`."""
    return root / f"Pulumi.{stack}.images.lock"


def lock_of(stack: str, root: Path) -> tuple[Mapping[str, str], list[Problem]]:
    """Return image reference → digest as the file says, nothing if there is none; and what is wrong with it."""
    path = lock_path(stack, root)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError) as error:
        return {}, [_problem(path, " ".join(str(error).split()))]
    images = content.get(_TABLE, {})
    if content.keys() - {_TABLE} or not isinstance(images, dict):
        return {}, [_problem(path, f"something else than a table [{_TABLE}]")]
    wrong = sorted(
        reference for reference, digest in images.items() if not (isinstance(digest, str) and _DIGEST.fullmatch(digest))
    )
    if wrong:
        return {}, [_problem(path, f"no digest for {', '.join(wrong)}")]
    return images, []


def lock_text(images: Mapping[str, str]) -> str:
    """Return the text of a file that says `images`."""
    lines = [f"{json.dumps(reference)} = {json.dumps(images[reference])}" for reference in sorted(images)]
    return "\n".join([f"{_HEADING}[{_TABLE}]", *lines, ""])


def _problem(path: Path, given: str) -> Problem:
    return Problem(
        setting=path.name,
        given=given,
        allowed='lines such as "caddy:2.11.6" = "sha256:<64 hexadecimal digits>"',
        remedy="Bring back the file as it was committed, or remove it to accept what the tags mean today",
    )
