"""What the tests of settings share."""

import json
from pathlib import Path

import pytest

from settings.images import STAGED

# Its assertions are those of the tests.
pytest.register_assert_rewrite("tests.unit.settings.examples")

IMAGES = ("base", "postgres", "redis", "garage", "caddy", "ollama", "probe")


@pytest.fixture(autouse=True)
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stage build contexts as `make images` does, and return the manifest of them: this checkout's may be missing."""
    manifest = tmp_path / "checkout" / STAGED / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(
        json.dumps(
            {
                name: {"context": f"of-{name}", "base": None if name == "base" else "base", "sha256": "ab" * 32}
                for name in IMAGES
            }
        )
    )
    monkeypatch.setattr("settings.images.ROOT", tmp_path / "checkout")
    return manifest
