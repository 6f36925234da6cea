"""What rooms hand to each other: addresses are made from fields, and no secret shows itself."""

from collections.abc import Callable
from typing import Any

import pytest

from components.base import handles
from components.base.handles import IdentityProvider
from testing import building
from testing.building import HANDED_SECRETS, Neighbours
from testing.engine import is_secret, value_of

PASSWORD = f"{building.DATABASE_PASSWORD}"


@pytest.mark.parametrize(
    ("asked", "url"),
    [
        (lambda database: database.url(), f"postgresql://reflector-user:{PASSWORD}@sql:15432/reflector"),
        (
            lambda database: database.url("postgresql+asyncpg"),
            f"postgresql+asyncpg://reflector-user:{PASSWORD}@sql:15432/reflector",
        ),
        (
            lambda database: database.url(sslmode="disable", connect_timeout="30"),
            f"postgresql://reflector-user:{PASSWORD}@sql:15432/reflector?sslmode=disable&connect_timeout=30",
        ),
    ],
)
def test_a_databases_url_is_made_from_its_fields_and_secret(asked: Callable[[Any], Any], url: str) -> None:
    made = building.build(lambda near: asked(near.database())).component
    assert value_of(made) == url
    assert is_secret(made)


@pytest.mark.parametrize(
    ("number", "url"), [(None, "redis://keys:16379"), (0, "redis://keys:16379/0"), (1, "redis://keys:16379/1")]
)
def test_a_caches_url_is_of_one_database_or_of_the_default_one(number: int | None, url: str) -> None:
    assert building.build(lambda near: near.cache().url(number)).component == url


HANDLES: list[Callable[[Neighbours], object]] = [
    Neighbours.database, Neighbours.cache, Neighbours.certificate, Neighbours.object_store, Neighbours.language_model,
    Neighbours.speech, Neighbours.workflow, Neighbours.sites,
    lambda _: IdentityProvider(backend={"A": HANDED_SECRETS[0]}, server={"A": HANDED_SECRETS[1]}, web={}),
]  # fmt: skip


@pytest.mark.parametrize("hand_over", HANDLES)
def test_no_secret_shows_in_the_repr_of_a_handle(hand_over: Callable[[Neighbours], object]) -> None:
    shown = repr(building.build(hand_over).component)
    assert [secret for secret in HANDED_SECRETS if secret in shown] == [], "a traceback would print it"
    assert "password" not in shown
    assert "private_key" not in shown


def test_a_network_whose_range_nobody_knows_is_named() -> None:
    with pytest.raises(RuntimeError, match="the network application has no address range in the state; run: make up"):
        handles._subnets("application", [])
