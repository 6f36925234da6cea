"""What every tier shares."""

from collections.abc import Iterator

import pytest

from tests.unit import engine as recording


@pytest.fixture
def engine() -> Iterator[recording.Engine]:
    """A fresh recording engine."""
    yield from recording.engines()
