"""Writing down what images were when their tags were pulled; the program holds every later pull against it."""

import sys
from collections.abc import Mapping

from operations.healing import IMAGE_TYPE, of_type
from operations.stack import Stack
from settings import Settings, digest_of, lock_of, lock_path, lock_text


def pulled(stack: Stack) -> dict[str, str]:
    """Return the images of the state that were pulled by a tag, each with its digest, empty where it has none.

    One whose name is secret is left out: it is a ciphertext there.
    """
    resources = stack.resources()
    if resources is None:
        resources = stack.exported_resources()
    found: dict[str, str] = {}
    for resource in of_type(resources, IMAGE_TYPE):
        inputs, outputs = resource.get("inputs") or {}, resource.get("outputs") or {}
        name, digest = inputs.get("name"), outputs.get("repoDigest")
        if "build" not in inputs and isinstance(name, str) and isinstance(digest, str) and digest_of(name) is None:
            found[name] = digest_of(digest) or ""
    return found


def record(stack: Stack, settings: Settings) -> None:
    """Add to the file of `stack` every image of `settings` that was pulled by a tag and is not in it yet.

    What is there already stays, also where it is not in use: on the way back it is needed again.
    """
    known, _ = lock_of(stack.name, stack.layout.root)
    new = {
        reference
        for reference in settings.sources.tagged
        # An encrypted setting has no place in a file that is committed.
        if reference not in known and not any(hidden in reference for hidden in settings.encrypted)
    }
    if not new:
        return
    found = {reference: digest for reference, digest in pulled(stack).items() if digest and reference in new}
    if found:
        _write(stack, {**known, **found})
        print(
            f"\nWritten down what {len(found)} image{'s are' if len(found) > 1 else ' is'}, to commit with the stack "
            f"file: {lock_path(stack.name, stack.layout.root).name}"
        )


def accept(stack: Stack) -> int:
    """Take what was pulled last for what each tag means, and return the exit status."""
    known, problems = lock_of(stack.name, stack.layout.root)
    if problems:
        print("\n".join(map(str, problems)), file=sys.stderr)
        return 1
    accepted = dict(known)
    for reference, digest in pulled(stack).items():
        if reference not in known or known[reference] == digest:
            continue
        print(f"{reference}: {known[reference]} → {digest or 'any, as it was not pulled'}")
        if digest:
            accepted[reference] = digest
        else:
            del accepted[reference]
    if accepted == known:
        print("No image was refused.")
        return 0
    _write(stack, accepted)
    print(f"To deploy it: make up STACK={stack.name}")
    return 0


def _write(stack: Stack, images: Mapping[str, str]) -> None:
    path = lock_path(stack.name, stack.layout.root)
    # In one move, so that there is always a whole one.
    draft = path.with_suffix(".lock.new")
    draft.write_text(lock_text(images), encoding="utf-8")
    draft.replace(path)
