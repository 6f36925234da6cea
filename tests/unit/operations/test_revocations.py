"""Revocations in the settings, held against what is deployed: what is still shown, and what nobody has issued."""

from pathlib import Path
from typing import Any, Final

import pytest

from operations import revocations
from settings import Settings, parse
from tests.unit.operations.stand_ins import checkpoint

NODE: Final = "4A0B"
AGENT: Final = "4A0C"
STACK_TYPE: Final = "pulumi:pulumi:Stack"


def settings_with(*serials: str, issue: int = 1, authority: str = "clients") -> Settings:
    """Return the settings of a relay that shows a peer's certificate and lets an agent in, with these revoked."""
    return parse(
        {
            "pki": {
                "authorities": {"clients": {"purpose": "client"}, "others": {"purpose": "client"}},
                "certificates": {
                    "node": {"mode": "issued", "kind": "peer", "authority": "clients", "names": ["DNS:a.test"],
                             "issue": issue},
                    "agent": {"mode": "issued", "kind": "client", "authority": "clients", "issue": issue},
                },
                "revocations": {
                    f"lost-{number}": {"authority": authority, "serial": serial, "on": "2026-01-01"}
                    for number, serial in enumerate(serials)
                },
            },
            "relays": {
                "agents": {"upstream": "http://x.test", "port": 9443, "certificate": "node", "allow": ["agent"],
                           "client_authority": "clients"},
            },
        },
        "test",
        "reflector",
    )  # fmt: skip


def deployed(*revoked: str) -> list[dict[str, Any]]:
    """Return the state of that stack."""
    entries = [
        {"name": f"certificate-{name}", "certificate": name, "kind": "client", "authority": "clients",
         "details": {"serial": serial}}
        for name, serial in (("node", NODE), ("agent", AGENT))
    ] + [{"name": "l", "kind": "crl", "authority": "clients", "details": {"revoked": list(revoked)}}]  # fmt: skip
    return [
        {"urn": "urn:pulumi:test::reflector::x::reflector-test", "type": STACK_TYPE,
         "outputs": {"pki_inventory": entries}},
        *({"urn": f"urn:pulumi:test::reflector::x::certificate-{name}-1-key"} for name in ("node", "agent")),
    ]  # fmt: skip


def test_what_shows_a_revoked_certificate_as_its_own_is_refused() -> None:
    (problem,) = revocations.problems(settings_with("0" + NODE), deployed())
    assert problem.setting == "relays.agents.certificate"
    assert problem.given == "'node', whose serial number 4A0B pki.revocations.lost-0 has revoked"
    assert problem.remedy == "Make it anew: make pki ARGS='rotate node' STACK=test"
    assert not list(revocations.hints(settings_with(NODE), deployed(NODE), []))


@pytest.mark.parametrize(
    "settings",
    [
        settings_with(),
        settings_with(AGENT),
        settings_with(NODE, issue=2),
        settings_with(NODE, authority="others"),
    ],
)
def test_another_one_is_no_reason(settings: Settings) -> None:
    """One that is made anew in this very run, or is of another authority, among them."""
    assert list(revocations.problems(settings, deployed())) == []


def test_whoever_is_let_in_no_more_by_its_name_is_a_hint() -> None:
    (hint,) = revocations.hints(settings_with(AGENT), deployed(), [])
    assert hint.startswith("pki.certificates.agent: its serial number 4A0C is revoked by pki.revocations.lost-0")
    assert hint.endswith("make pki ARGS='rotate agent' STACK=test")
    assert list(revocations.hints(settings_with(AGENT, issue=2), deployed(), [])) == []


def test_a_number_nobody_has_issued_is_a_hint_until_it_is_deployed(tmp_path: Path) -> None:
    past = tmp_path / "test-1.checkpoint.json"
    past.write_text(checkpoint(resources=deployed()).replace(AGENT, "0BAD"), encoding="utf-8")
    settings = settings_with("BAD")
    (hint,) = revocations.hints(settings, deployed(), [])
    assert hint.startswith("pki.revocations.lost-0.serial: nothing with the serial number 0BAD is known to have been")
    assert list(revocations.hints(settings, deployed("0BAD"), [])) == [], "said once"
    assert list(revocations.hints(settings, deployed(), [past])) == [], "it is an earlier one"
    assert list(revocations.hints(settings, deployed(), [tmp_path / "gone"])) == [], "what cannot be read may have it"
    assert list(revocations.hints(settings, [], [])) == [], "nothing is known of what is not deployed"


def test_of_an_inventory_that_is_encrypted_nothing_is_said() -> None:
    secret = [{"urn": "x", "type": STACK_TYPE, "outputs": {"pki_inventory": {"ciphertext": "x"}}}]
    assert list(revocations.hints(settings_with(AGENT), secret, [])) == []
    assert list(revocations.problems(settings_with(NODE), secret)) == []
