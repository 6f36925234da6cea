"""Volumes outlive whatever uses them."""

from components.base.volume import volume
from testing import building

MADE = building.build(lambda near: volume("data", near.host, "postgres", near.ready)).named("data")


def test_a_volume_is_protected_and_kept() -> None:
    assert MADE.request.protect
    assert MADE.request.retainOnDelete, "even a stack that is forced away keeps its data"


def test_a_volume_is_never_replaced_by_an_edit() -> None:
    assert {"labels", "driver", "driverOpts"} <= set(MADE.request.ignoreChanges)


def test_a_volume_has_a_fixed_name_and_the_stacks_label() -> None:
    assert MADE.plain("name") == "reflector-test-postgres"
    assert MADE.plain("labels") == [{"label": "org.reflector.stack", "value": "reflector-test"}]


def test_a_volume_is_made_on_the_host_it_is_for() -> None:
    assert "::host-provider::" in MADE.request.provider
