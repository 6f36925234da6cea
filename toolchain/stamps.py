"""Knowing in a moment that nothing is to be done.

A stamp says what a finished step was made from (one hash over the files that decide it) and what it left behind (path,
size, time of every product). While both still hold, the step is over. In the same way an answer is kept that takes long
to find. Only modules that start fast are imported here.
"""

import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from toolchain.layout import Layout

SETUP_INPUTS = ("toolchain", "requirements.txt", "requirements-aws.txt")
"""What decides the result of `setup`, as files and folders below the checkout."""

DEV_INPUTS = (*SETUP_INPUTS, "requirements-dev.txt", "images/probe/requirements.txt")
"""What decides the environment for tests."""

IMAGE_INPUTS = ("toolchain", "images")
"""What decides the staged images."""

_SETTINGS = ("TOOLCHAIN_CACHE", "TOOLCHAIN_ORIGINS", "XDG_CACHE_HOME")
_ENDINGS = ("__pycache__", ".pyc", "_test.go")
_BESIDE = {"/toolchain/README.md", "/toolchain/tests"}
"""What lies among the inputs and decides nothing, by the end of its name or its path below the checkout."""


def fingerprint(root: Path, inputs: Iterable[str], *more: str) -> str:
    """Return a hash over the files below `inputs` (files or folders, relative to `root`), and over further strings."""
    digest = hashlib.sha256()
    for text in (*more, *(f"{name}={os.environ.get(name, '')}" for name in _SETTINGS)):
        digest.update(text.encode() + b"\0")
    for name in inputs:
        _add(digest, root, str(root / name))
    return digest.hexdigest()


def setup_fingerprint(layout: Layout) -> str:
    """Return the fingerprint of `setup`."""
    return fingerprint(layout.root, SETUP_INPUTS, sys.version, sys.base_prefix)


def dev_fingerprint(layout: Layout) -> str:
    """Return the fingerprint of the environment for tests."""
    return fingerprint(layout.root, DEV_INPUTS, sys.version, sys.base_prefix)


def image_fingerprint(layout: Layout) -> str:
    """Return the fingerprint of the staged images."""
    return fingerprint(layout.root, IMAGE_INPUTS)


def _add(digest: "hashlib._Hash", root: Path, path: str) -> None:
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except NotADirectoryError:
        digest.update(path[len(str(root)) :].encode() + b"\0")
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
        return
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.path[len(str(root)) :] not in _BESIDE and not entry.name.endswith(_ENDINGS):
            _add(digest, root, entry.path)


def _products(paths: Iterable[str]) -> list[list[object]]:
    result: list[list[object]] = []
    for path in paths:
        facts = Path(path).stat()
        folder = stat.S_ISDIR(facts.st_mode)
        result.append([path, 0 if folder else facts.st_size, 0 if folder else facts.st_mtime_ns])
    return result


def current(layout: Layout, name: str, fingerprint: str) -> bool:
    """Tell whether the step `name` was finished from these inputs and its products are still as it left them."""
    products = kept(layout, name, fingerprint)
    try:
        return isinstance(products, list) and products == _products(path for path, _, _ in products)
    except (FileNotFoundError, NotADirectoryError):
        return False


def write(layout: Layout, name: str, fingerprint: str, products: Iterable[str]) -> None:
    """Record that the step `name` is finished."""
    keep(layout, name, fingerprint, _products(products))


def kept(layout: Layout, name: str, fingerprint: str) -> object:
    """Return what `keep` was given under this name and fingerprint, or None."""
    try:
        stamp = json.loads((layout.stamps / f"{name}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return stamp["content"] if stamp["fingerprint"] == fingerprint else None


def keep(layout: Layout, name: str, fingerprint: str, content: object) -> None:
    """Keep what was worked out from the inputs of a fingerprint; `content` is what JSON can hold."""
    layout.stamps.mkdir(parents=True, exist_ok=True)
    draft = layout.stamps / f"{name}.json.{os.getpid()}"
    draft.write_text(json.dumps({"fingerprint": fingerprint, "content": content}), encoding="utf-8")
    draft.replace(layout.stamps / f"{name}.json")
