"""The certificates of a stack, and what each end means."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from operations import inventory
from operations.inventory import Certificate, Level
from operations.stack import Stack
from tests.unit.operations.stand_ins import settings_of, with_engine

NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)


def ending(days: float, *, window_days: float | None = None, chain_days: float | None = None) -> Certificate:
    """Return a certificate that ends in so many days."""
    end = NOW + timedelta(days=days)
    return Certificate(
        name="leaf",
        kind="server",
        source="private",
        expires=end,
        chain_expires=end if chain_days is None else NOW + timedelta(days=chain_days),
        renew_at=None if window_days is None else end - timedelta(days=window_days),
    )


@pytest.mark.parametrize(
    ("days", "level"),
    [
        (31, Level.OK),
        (30, Level.WARNING),
        (8, Level.WARNING),
        (7, Level.CRITICAL),
        (0, Level.CRITICAL),
        (-1, Level.CRITICAL),
    ],
)
@pytest.mark.parametrize("window_days", [None, 30, 60])
def test_thirty_days_are_a_warning_and_seven_are_critical(days: float, level: Level, window_days: float | None) -> None:
    assert ending(days, window_days=window_days).level(NOW) is level


@pytest.mark.parametrize(
    ("days", "level"), [(3, Level.OK), (2, Level.WARNING), (0.6, Level.WARNING), (0.5, Level.CRITICAL)]
)
def test_what_lives_for_a_week_is_measured_by_its_own_window(days: float, level: Level) -> None:
    assert ending(days, window_days=2).level(NOW) is level


@pytest.mark.parametrize(
    ("days", "level"),
    [
        (6, Level.OK),
        (3.1, Level.OK),
        (3, Level.WARNING),
        (1.1, Level.WARNING),
        (1, Level.CRITICAL),
        (-1, Level.CRITICAL),
    ],
)
def test_a_list_that_nobody_makes_anew_is_told_of_in_its_last_days(days: float, level: Level) -> None:
    one = replace(ending(days, window_days=7), kind="crl", number=7, revoked=("0A",))
    assert one.level(NOW) is level
    assert one.told == "number 7, 1 revoked"
    assert ("out of date" in inventory.state(one, [one], NOW)) == (days < 0)


def test_what_a_list_of_its_authority_has_is_revoked_and_critical() -> None:
    def listed(authority: str) -> dict[str, Any]:
        return {"name": f"{authority}-list", "kind": "crl", "authority": authority, "details": {"revoked": ["0A"]}}

    leaf = {"name": "x", "kind": "client", "source": "issued", "authority": "clients", "details": {"serial": "0A"}}
    for authority, revoked in (("clients", True), ("others", False)):
        _, one = inventory.certificates([listed(authority), leaf], renewal_hours=24)
        assert one.is_revoked == revoked
        assert one.level(NOW) is (Level.CRITICAL if revoked else Level.OK)
        assert inventory.state(one, [one], NOW) == ("critical, revoked" if revoked else "ok")


def test_a_window_that_is_none_makes_nothing_fine() -> None:
    assert ending(5, window_days=-10).level(NOW) is Level.CRITICAL


def test_the_earliest_end_of_the_chain_counts_and_is_named() -> None:
    leaf = ending(80, window_days=30, chain_days=20)
    root = Certificate(name="foreign", kind="root", source="signed-by", expires=leaf.chain_expires)
    assert leaf.level(NOW) is Level.WARNING
    assert leaf.days_left(NOW) == pytest.approx(20)
    assert inventory.ends_first(leaf, [root, leaf]) == "foreign"
    assert inventory.ends_first(leaf, [leaf]) == "an authority above it"
    assert inventory.ends_first(ending(80), [root]) == ""


def test_it_is_due_from_the_beginning_of_its_window_on() -> None:
    assert ending(30, window_days=30).is_due(NOW)
    assert not ending(30.01, window_days=30).is_due(NOW)
    assert not ending(1).is_due(NOW), "nobody renews it"


def test_an_entry_of_an_earlier_release_has_the_window_of_the_settings() -> None:
    entries: list[dict[str, Any]] = [
        {"name": "authority", "kind": "root", "expires": "2036-01-01T00:00:00.918131612Z"},
        {"name": "edge-certificate", "kind": "server", "names": ["DNS:a.test"], "expires": "2026-04-01T02:00:00+02:00"},
    ]
    root, leaf = inventory.certificates(entries, renewal_hours=24)
    assert root.renew_at is None
    assert leaf.renew_at == datetime(2026, 3, 31, tzinfo=UTC)
    assert leaf.chain_expires == leaf.expires == datetime(2026, 4, 1, tzinfo=UTC)


def test_an_entry_that_is_not_ours_has_no_window_and_perhaps_no_end() -> None:
    entries = [{"name": "edge-certificate", "kind": "server", "source": "acme", "names": ["DNS:a.test"]}]
    (entry,) = inventory.certificates(entries, renewal_hours=24)
    assert (entry.expires, entry.renew_at, entry.is_ours, entry.days_left(NOW)) == (None, None, False, None)


def test_what_is_not_made_yet_is_not_there() -> None:
    """As the state has it after a run that was kept to other certificates, on a stack that was never deployed."""
    unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    entries = [
        {"name": "edge-certificate", "kind": "server", "source": "private", "expires": unknown, "details": unknown},
        {"name": "certificate-a", "kind": "server", "source": "issued", "expires": "2026-04-01T00:00:00Z"},
    ]
    assert [one.name for one in inventory.certificates(entries, renewal_hours=24)] == ["certificate-a"]


@pytest.mark.parametrize("listed", ['"04da6b54-80e4-46f7-96ec-b56ff0331ba9"', "null"])
def test_an_inventory_nobody_knows_is_an_empty_one(stack: Stack, listed: str) -> None:
    with_engine(stack, stack_output=f'{{"pki_inventory": {listed}}}')
    assert inventory.read(stack, settings_of(1443, 1080), [{"urn": "x", "type": "y"}]) == []


def test_a_name_to_ask_by_is_one_a_client_can_ask_by() -> None:
    def named(*names: str) -> str | None:
        return Certificate(name="x", kind="server", source="own", names=names).server_name

    assert named("DNS:*.a.test", "DNS:a.test", "IP:192.0.2.1") == "a.test"
    assert named("IP:192.0.2.1") is None


def test_a_token_ends_with_its_lease() -> None:
    lease = {
        "urn": "urn:pulumi:test::reflector::x$tls:index/selfSignedCert:SelfSignedCert::hatchet-token-lease",
        "type": "tls:index/selfSignedCert:SelfSignedCert",
        "outputs": {"validityEndTime": "2027-01-01T00:00:00Z"},
    }
    root = {**lease, "urn": "urn:pulumi:test::reflector::x::authority-1-certificate"}
    (token,) = inventory.tokens([lease, root])
    assert (token.name, token.kind, token.expires) == ("hatchet-token", "token", datetime(2027, 1, 1, tzinfo=UTC))
    assert not token.is_ours
