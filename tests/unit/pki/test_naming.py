"""How authorities and certificates are called in the state."""

import pytest

from pki import naming
from settings import authorities


def test_the_authority_every_stack_has_is_the_one_of_the_settings() -> None:
    assert naming.STACK == authorities.STACK


@pytest.mark.parametrize(
    ("name", "generation", "whole", "key"),
    [
        ("stack", 1, "authority", "authority-1-key"),
        ("stack", 2, "authority-2", "authority-2-key"),
        ("agents", 1, "authority-agents", "authority-agents-1-key"),
        ("agents", 12, "authority-agents-12", "authority-agents-12-key"),
    ],
)
def test_names_stay_what_they_are_in_states_that_exist(name: str, generation: int, whole: str, key: str) -> None:
    called = naming.authority(name)
    assert (naming.whole(called, generation), naming.member(called, generation, "key")) == (whole, key)
