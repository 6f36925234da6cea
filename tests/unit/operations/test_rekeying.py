"""New keys by their age: with the renewal that is due, and never in between."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from operations import __main__ as commands
from operations import checks, image_lock, rekeying, renewal
from operations.checks import Checked
from operations.resource_types import KEY_TYPE, LEAF_TYPE
from operations.stack import Stack
from settings import parse
from tests.unit.operations.stand_ins import asked, with_engine, with_state

NOW: Final = datetime(2027, 3, 1, tzinfo=UTC)
OWNER: Final = "urn:pulumi:test::reflector::reflector:certificate:Certificate"


def in_state(name: str, *, key_days: float, leaf_days: float, now: datetime = NOW) -> list[dict[str, Any]]:
    """Return key and leaf of a certificate with a window of 30 days: the age of one, and what is left of the other."""
    return [
        {
            "urn": f"{OWNER}${KEY_TYPE}::{name}-key",
            "type": KEY_TYPE,
            "created": (now - timedelta(days=key_days)).isoformat(),
        },
        {
            "urn": f"{OWNER}${LEAF_TYPE}::{name}-certificate",
            "type": LEAF_TYPE,
            "outputs": {
                "validityEndTime": (now + timedelta(days=leaf_days)).isoformat(),
                "earlyRenewalHours": 30 * 24,
            },
        },
    ]


def found(resources: Sequence[Mapping[str, Any]], tree: Mapping[str, object] | None = None) -> list[str]:
    return [one.name for one in rekeying.aged(parse(tree or {}, "test", "reflector"), resources, NOW)]


@pytest.mark.parametrize(
    ("key_days", "leaf_days", "is_aged"),
    [(400, 29, True), (360, 30, True), (359.9, 30, False), (400, 30.1, False), (400, -1, True)],
)
def test_a_key_is_made_anew_with_the_renewal_that_follows_its_period(
    key_days: float, leaf_days: float, is_aged: bool
) -> None:
    name = "edge-certificate-1"
    assert found(in_state(name, key_days=key_days, leaf_days=leaf_days)) == (["edge-certificate"] if is_aged else [])


def test_each_has_a_period_of_its_own() -> None:
    names = ("edge-certificate-1", "certificate-api-1", "certificate-agent-2", "certificate-vault-server-1")
    resources = [one for name in names for one in in_state(name, key_days=100, leaf_days=10)]
    pki: dict[str, Any] = {
        "certificates": {
            "api": {"mode": "issued", "names": ["DNS:a.test"], "rekey_days": 90},
            "agent": {"mode": "issued", "names": ["DNS:a.test"], "issue": 2, "rekey_days": 101},
        },
        "fleet": {"services": {"vault": {}}},
    }
    assert found(resources, {"pki": pki}) == ["certificate-api"]
    pki["rekey_days"] = 95
    assert found(resources, {"pki": pki}) == ["edge-certificate", "certificate-api", "certificate-vault-server"]


def test_what_is_made_anew_anyway_or_by_somebody_else_is_left_alone() -> None:
    resources = in_state("edge-certificate-1", key_days=400, leaf_days=10)
    assert found(resources, {"certificate": {"mode": "private", "issue": 2}}) == []
    assert found(resources, {"certificate": {"mode": "acme"}, "edge": {"domain": "reflector.example.com"}}) == []
    del resources[0]["created"]
    assert found(resources) == [], "of a state that does not say when"


@pytest.mark.parametrize("command", ["up", "preview"])
@pytest.mark.parametrize(("key_days", "flags"), [(400, True), (10, False)])
def test_a_run_over_everything_makes_the_key_anew_and_says_so(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, key_days: int,
    flags: bool,
) -> None:  # fmt: skip
    settings = parse({}, "test", "reflector")
    monkeypatch.setattr(checks, "check", lambda _: Checked(settings=settings, problems=[]))
    monkeypatch.setattr(checks, "lacks_images", lambda *_: False)
    monkeypatch.setattr(checks, "forgotten_volumes", lambda _: [])
    monkeypatch.setattr(image_lock, "record", lambda *_: None)
    resources = in_state("edge-certificate-1", key_days=key_days, leaf_days=10, now=datetime.now(UTC))
    with_state(stack, resources=resources)
    log = with_engine(stack, up="", preview="")
    assert {"up": commands.up, "preview": commands.preview}[command](stack, refresh=False) == 0
    (call,) = [one for one in asked(log) if one.startswith(command)]
    assert (f"--replace {resources[0]['urn']}" in call) == flags
    said = capsys.readouterr().out
    assert ("edge-certificate is due for renewal, and its key is 400 days old: it gets a new one" in said) == flags


def event(urn: str, diffs: Sequence[str] | None) -> dict[str, Any]:
    return {"resOutputsEvent": {"metadata": {"urn": urn, "op": "replace", "type": "x", "diffs": diffs}}}


def test_a_renewal_expects_what_follows_from_a_new_key_and_nothing_else() -> None:
    resources = in_state("edge-certificate-1", key_days=400, leaf_days=10)
    (one,) = rekeying.aged(parse({}, "test", "reflector"), resources, NOW)
    assert one.request == f"{OWNER}$tls:index/certRequest:CertRequest::edge-certificate-1-request"
    events = [
        event(one.key, None),
        event(one.request, ["privateKeyPem"]),
        event(one.leaf, ["certRequestPem", "readyForRenewal"]),
    ]
    assert renewal.unexpected(events, [one.leaf], [one]) == []
    assert renewal.unexpected([event(one.request, ["privateKeyPem", "dnsNames"])], [one.leaf], [one]) == [
        "edge-certificate-1-request: dnsNames"
    ]
    assert len(renewal.unexpected(events, [one.leaf])) == 3, "where none is to be made"
