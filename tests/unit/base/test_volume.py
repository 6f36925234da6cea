"""Volumes outlive whatever uses them."""

from components.base.volume import volume
from testing import building

MADE = building.build(lambda near: volume("data", near.host, "postgres", near.ready)).named("data")


def test_a_volume_is_protected_and_kept() -> None:
    assert MADE.request.protect
    assert MADE.request.retainOnDelete, "even a stack that is forced away keeps its data"


def test_a_volume_of_a_mode_that_can_be_switched_off_is_kept_without_being_protected() -> None:
    made = building.build(lambda near: volume("data", near.host, "models", near.ready, optional=True)).named("data")
    assert not made.request.protect, "or no run would ever get past it once the mode is off"
    assert made.request.retainOnDelete


def test_a_volume_is_never_replaced_by_an_edit() -> None:
    assert {"labels", "driver", "driverOpts"} <= set(MADE.request.ignoreChanges)


def test_a_volume_has_a_fixed_name_and_says_whose_it_is() -> None:
    assert MADE.plain("name") == "reflector-test-postgres"
    assert MADE.plain("labels") == [
        {"label": "org.reflector.deployment", "value": "0123456789abcdef"},
        {"label": "org.reflector.stack", "value": "reflector-test"},
    ]


def test_a_volume_is_made_on_the_host_it_is_for() -> None:
    assert "::host-provider::" in MADE.request.provider
