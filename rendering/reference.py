"""References to images and models: the one rule for what counts as pinned, and for what names a model."""

import re
from typing import Final

_REFERENCE: Final = re.compile(
    # The distribution project's reference grammar, less what an exact pin never needs: a host, which has a dot or a
    # port, a path of lower-case words, a tag, a digest.
    r"(?:(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:))(?::[0-9]+)?/)?"
    r"(?P<path>[a-z0-9]+(?:(?:\.|__?|-+|/)[a-z0-9]+)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?P<digest>@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_IMAGE_ID: Final = re.compile(r"sha256:[0-9a-f]{64}")
_EXACT_TAG: Final = re.compile(r"v?\d+(?:\.\d+)+[\w.-]*|[0-9a-f]{12,64}", re.ASCII)  # a version, or a content hash

DOCKER_HUB: Final = "docker.io"

_MODEL: Final = re.compile(r"[^\s-]\S*")


def is_pinned(reference: str) -> bool:
    """Return whether `reference` always means one image: an image id, a digest, or a tag that is a version or hash."""
    if reference.startswith("sha256:"):
        # Docker reserves that name for ids, so a broken id is not a tag either.
        return _IMAGE_ID.fullmatch(reference) is not None
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        return False
    return match["digest"] is not None or (match["tag"] is not None and _EXACT_TAG.fullmatch(match["tag"]) is not None)


def digest_of(reference: str) -> str | None:
    """Return the digest in `reference` (`sha256:…`); None if it names an image by its tag alone."""
    return reference.partition("@")[2] or None


def registry_of(reference: str) -> str:
    """Return the registry a reference is pulled from, `host[:port]`: what stands before the first slash, if it can be a
    host; else Docker Hub, of which a reference says nothing."""
    host, slash, _ = reference.partition("/")
    return host if slash and ("." in host or ":" in host or host == "localhost") else DOCKER_HUB


def is_model_name(name: str) -> bool:
    """Return whether `name` can be an argument of `ollama` and a word of its list: no hyphen first, no space."""
    return _MODEL.fullmatch(name) is not None and name.isprintable()
