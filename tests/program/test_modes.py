"""Any mode of any concern can be switched to any other and back: nothing that leaves the program stops the engine."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import pytest

from settings import Settings
from settings.walk import members, mode_of
from testing.building import VOLUME
from testing.engine import Engine, Registered
from tests.program.shapes import Encrypted, run, settings_of, shape
from tests.unit.settings.examples import SEALED, minimal

BUCKET: Final = "aws:s3/bucket:Bucket"


def _modes() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for concern, field in Settings.model_fields.items():
        choice = members(field.annotation)
        if len(choice) > 1 and concern != "images":  # which image plays a part moves nothing
            for member in choice:
                yield concern, mode_of(member) or "", minimal(member)


MODES: Final = {(concern, mode): least for concern, mode, least in _modes()}
PAIRS: Final = [(concern, mode, other) for concern, mode in MODES for _, other in MODES if (concern, other) in MODES]
SWITCHES: Final = sorted({(concern, one, other) for concern, one, other in PAIRS if one != other})


@cache
def engine_of(concern: str, mode: str) -> Engine:
    """Return the record of the development stack with one concern in another mode."""
    if concern == "certificate" and mode != "private":
        # They need what no example has.
        return shape(mode).engine
    tree = {**settings_of("selfhosted" if concern == "certificate" else "dev"), concern: _opened(MODES[concern, mode])}
    return run(tree)[0]


def _opened(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mode's settings with a value for each secret."""
    return {name: Encrypted("Secret") if value == SEALED else value for name, value in content.items()}


def leaving(concern: str, mode: str, other: str) -> list[Registered]:
    """Return what is no longer in the program after a switch."""
    after = engine_of(concern, other).resources
    stays = {resource.urn for resource in after}.union(*(resource.former_urns for resource in after))
    return [resource for resource in engine_of(concern, mode).resources if resource.urn not in stays]


def test_every_concern_with_modes_is_switched() -> None:
    assert {concern for concern, _, _ in SWITCHES} == {"certificate", "sign_in", "speech", "language_model", "storage"}


@pytest.mark.parametrize(("concern", "mode", "other"), SWITCHES)
def test_nothing_protected_leaves_with_a_mode(concern: str, mode: str, other: str) -> None:
    assert [resource.name for resource in leaving(concern, mode, other) if resource.request.protect] == []


@pytest.mark.parametrize(("concern", "mode", "other"), SWITCHES)
def test_data_stay_when_their_mode_leaves(concern: str, mode: str, other: str) -> None:
    data = [resource for resource in leaving(concern, mode, other) if resource.type in {VOLUME, BUCKET}]
    assert [resource.name for resource in data if not resource.request.retainOnDelete] == []
    if (concern, mode) in {("language_model", "ollama"), ("storage", "garage"), ("storage", "s3")}:
        assert data, "or the rule would say nothing"
