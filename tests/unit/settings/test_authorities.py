"""Authorities in the settings: who signs, what a root is made of, and what may be revoked."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509

from pki.issue import SIGNS
from settings import PROJECT, Settings, SettingsError, parse
from testing.certificates import CLIENT, SERVER, SIGNS_NO_LISTS, issue

NOW: Final = datetime(2026, 11, 28, tzinfo=UTC)
ACTIVE: Final = {"mode": "created", "state": "active"}
TRUSTED: Final = {"mode": "created", "state": "trusted"}


def read(pki: dict[str, Any], **more: Any) -> Settings:
    return parse({"edge": {"domain": "a.test"}, "pki": pki, **more}, "test", PROJECT, NOW)


def refused(pki: dict[str, Any], **more: Any) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        read(pki, **more)
    return [str(problem) for problem in raised.value.problems]


def generations(**given: Any) -> dict[str, Any]:
    return {"authorities": {"stack": {"generations": given}}}


def test_one_generation_is_active_and_both_are_trusted_by_age() -> None:
    authority = read(generations(g10=TRUSTED, g2=ACTIVE, g1={**TRUSTED, "state": "retired"})).pki.every_authority[
        "stack"
    ]
    assert (authority.active, authority.trusted) == ("g2", ("g2", "g10"))


@pytest.mark.parametrize(
    ("given", "said"),
    [({"g1": TRUSTED}, "none is active"), ({"g1": ACTIVE, "g2": ACTIVE}, "g1 and g2 are active")],
)
def test_exactly_one_generation_signs(given: dict[str, Any], said: str) -> None:
    assert refused(generations(**given)) == [
        f"pki.authorities.stack.generations: {said}; allowed: one generation that is active. Set its state: pulumi "
        "config set --path pki.authorities.stack.generations.<generation>.state <state>"
    ]


@pytest.mark.parametrize("name", ["relays-2", "2", "Relays", "relays-", "x" * 32])
def test_names_that_could_be_taken_for_a_generation_of_another_are_refused(name: str) -> None:
    assert len(refused({"authorities": {name: {"purpose": "client"}}})) == 1


@pytest.mark.parametrize("name", ["relays", "docker-hosts", "r2d2", "x" * 31])
def test_words_of_letters_are_names(name: str) -> None:
    assert name in read({"authorities": {name: {"purpose": "client"}}}).pki.every_authority


def test_the_stacks_own_authority_signs_for_servers() -> None:
    (problem,) = refused({"authorities": {"stack": {"purpose": "client"}}})
    assert problem.startswith("pki.authorities.stack.purpose: 'client'; allowed: server: it signs for the edge.")


def test_browsers_take_no_ed25519() -> None:
    made = {**ACTIVE, "key_type": "Ed25519"}
    (problem,) = refused(generations(g1=made))
    assert problem.startswith(
        "pki.authorities.stack.generations.g1.key_type: 'Ed25519'; allowed: P256, P384 or RSA-3072"
    )
    read({"authorities": {"relays": {"purpose": "client", "generations": {"g1": made}}}})


def test_a_root_lives_longer_than_what_it_signs() -> None:
    (problem,) = refused({**generations(g1={**ACTIVE, "years": 1}), "certificate_validity_hours": 9000})
    assert problem.startswith("pki.authorities.stack.generations.g1.years: 1, and what it signs lives for 9000 hours;")


def test_constraints_that_forbid_what_the_edge_is_asked_by_are_refused_and_localhost_is_not_forbidden() -> None:
    read(generations(g1={**ACTIVE, "permitted_names": ["a.test"]}))
    assert refused(generations(g1={**ACTIVE, "permitted_names": ["b.test"]})) == [
        "pki.authorities.stack.generations.g1.permitted_names: b.test, while the edge is asked by a.test, s3.a.test; "
        "allowed: every name and address the edge is asked by, for this authority signs for it. Set them: pulumi "
        "config set --path pki.authorities.stack.generations.g1.permitted_names[0] <domain or network>"
    ]
    (problem,) = refused(
        generations(g1={**ACTIVE, "permitted_names": ["a.test"]}),
        edge={"domain": "a.test", "extra_names": ["IP:192.0.2.7"]},
    )
    assert problem.startswith(
        "pki.authorities.stack.generations.g1.permitted_addresses: nothing, while the edge is asked by 192.0.2.7;"
    )


def brought(folder: Path, **given: Any) -> dict[str, Any]:
    authority = issue("authority of a company", now=NOW, ca=True, to_days=given.pop("to_days", 3000), **given)
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "ca.key").write_bytes(authority.key_pem)
    files = {"certificate_file": str(folder / "ca.pem"), "key_file": str(folder / "ca.key")}
    return {"mode": "imported", "state": "active", **files}


def test_an_authority_that_is_brought_along_signs_and_its_leaves_end_before_it(tmp_path: Path) -> None:
    settings = read(generations(g1=brought(tmp_path, to_days=60)))
    assert settings.signers["stack"]["g1"].subject == "CN=authority of a company"
    hours, renewal = settings.leaf_hours
    assert hours <= 60 * 24
    assert renewal < hours


@pytest.mark.parametrize(
    ("uses", "purpose", "kinds", "said"),
    [
        ([CLIENT], "client", ["client"], ""),
        ([CLIENT], "client", [], ""),
        ([CLIENT, SERVER], "client", ["client", "peer"], ""),
        ([SERVER], "client", ["client"], "may not sign for clients (its extended key usage has no clientAuth)"),
        ([CLIENT], "client", ["peer"], "may not sign for servers (its extended key usage has no serverAuth)"),
        ([CLIENT], "server", [], "may not sign for servers"),
        ([SERVER], "docker-hosts", ["server"], ""),
        ([SERVER], "docker-hosts", ["server", "client"], "may not sign for clients"),
        ([CLIENT], "docker-hosts", ["client"], ""),
    ],
)
def test_one_that_is_brought_along_may_sign_for_what_it_signs(
    tmp_path: Path, uses: list[x509.ObjectIdentifier], purpose: str, kinds: list[str], said: str
) -> None:
    given = brought(tmp_path, extensions=[(x509.ExtendedKeyUsage(uses), False)])
    pki = {
        "authorities": {"company": {"purpose": purpose, "generations": {"g1": given}}},
        "certificates": {
            kind: {"mode": "issued", "kind": kind, "authority": "company", "names": ["DNS:a.test"]} for kind in kinds
        },
    }
    if not said:
        assert read(pki).signers["company"]["g1"].subject == "CN=authority of a company"
        return
    (problem,) = refused(pki)
    assert problem.startswith("pki.authorities.company.generations.g1.certificate_file: ")
    assert said in problem


@pytest.mark.parametrize(
    ("extensions", "purpose", "state", "said"),
    [
        ([(SIGNS_NO_LISTS, True)], "client", "active", "(its key usage has no cRLSign)"),
        ([(SIGNS, True)], "client", "active", ""),
        ([], "client", "active", ""),
        ([(SIGNS_NO_LISTS, True)], "server", "active", ""),
        ([(SIGNS_NO_LISTS, True)], "docker-hosts", "active", ""),
        ([(SIGNS_NO_LISTS, True)], "client", "trusted", "(its key usage has no cRLSign)"),
        ([(SIGNS_NO_LISTS, True)], "client", "retired", ""),
    ],
)
def test_one_whose_lists_of_what_is_revoked_nobody_would_take_is_refused(
    tmp_path: Path, extensions: list[tuple[x509.ExtensionType, bool]], purpose: str, state: str, said: str
) -> None:
    """OpenSSL: "key usage does not include CRL signing", of everybody who comes with a certificate of it."""
    generations: dict[str, Any] = {"g1": {**brought(tmp_path, extensions=extensions), "state": state}}
    if state != "active":
        generations["g2"] = ACTIVE
    pki = {"authorities": {"company": {"purpose": purpose, "generations": generations}}}
    if not said:
        assert read(pki).pki.every_authority["company"].purpose == purpose
        return
    (problem,) = refused(pki)
    assert problem == (
        f"pki.authorities.company.generations.g1.certificate_file: {tmp_path / 'ca.pem'}: a CA certificate that may "
        f"not sign lists of what is revoked, which an authority of clients has {said}; allowed: the certificate of an "
        "authority that may sign, with its key. Put the right one there, or set another: pulumi config set --path "
        "pki.authorities.company.generations.g1.certificate_file <file>"
    )


def test_who_stands_over_an_issuing_authority_signs_no_list_of_it(tmp_path: Path) -> None:
    root = issue("root of a company", now=NOW, ca=True, to_days=3000, extensions=[(SIGNS_NO_LISTS, True)])
    below = issue("issuing", root, now=NOW, ca=True, to_days=900, extensions=[(SIGNS, True)])
    (tmp_path / "ca.pem").write_bytes(below.pem + root.pem)
    (tmp_path / "ca.key").write_bytes(below.key_pem)
    files = {"certificate_file": str(tmp_path / "ca.pem"), "key_file": str(tmp_path / "ca.key")}
    g1 = {"mode": "imported", "state": "active", **files}
    assert read({"authorities": {"company": {"purpose": "client", "generations": {"g1": g1}}}}).signers["company"]


def test_clients_may_be_signed_by_what_no_browser_takes(tmp_path: Path) -> None:
    given = brought(tmp_path, kind="ed25519")
    assert read({"authorities": {"company": {"purpose": "client", "generations": {"g1": given}}}}).signers["company"]
    (problem,) = refused({"authorities": {"company": {"purpose": "server", "generations": {"g1": given}}}})
    assert "an Ed25519 key, which no browser takes" in problem


@pytest.mark.parametrize("name", ["clients-2", "clients-2-key", "2"])
def test_no_authority_is_called_as_a_generation_of_another_would_be(name: str) -> None:
    """The second generation of clients is known to the engine as clients-2."""
    (problem,) = refused({"authorities": {"clients": {"purpose": "client"}, name: {}}})
    assert f"{name!r}; allowed: a name of " in problem
    assert "clients-2 is what the second generation of clients is called. Rename it" in problem


def test_one_that_has_ended_or_has_no_key_is_refused_in_one_line(tmp_path: Path) -> None:
    (problem,) = refused(generations(g1=brought(tmp_path, from_days=-9, to_days=-1)))
    assert "expired on 2026-11-27" in problem
    given = brought(tmp_path)
    (problem,) = refused(generations(g1={**given, "key_file": str(tmp_path / "none.key")}))
    assert problem.startswith("pki.authorities.stack.generations.g1.key_file: ")


def test_what_is_revoked_is_of_an_authority_of_clients() -> None:
    revoked = {"authority": "relays", "serial": "0a:1B", "on": "2026-11-28", "reason": "key-compromise"}
    settings = read({"authorities": {"relays": {"purpose": "client"}}, "revocations": {"laptop": revoked}})
    one = settings.pki.revocations["laptop"].revoked
    assert (one.serial, one.on, one.reason) == (0x0A1B, NOW, "key-compromise")
    (problem,) = refused({"revocations": {"laptop": {**revoked, "authority": "stack"}}})
    assert problem.startswith(
        "pki.revocations.laptop.authority: 'stack'; allowed: an authority with the purpose client: there is none."
    )


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("serial", "0"),
        ("serial", "xyz"),
        ("serial", "1" * 41),
        ("on", "2026-02-30"),
        ("on", "20261128"),
        ("reason", "x"),
    ],
)
def test_a_revocation_that_says_nothing_is_refused(setting: str, value: str) -> None:
    revoked = {"authority": "relays", "serial": "0A", "on": "2026-11-28", setting: value}
    (problem,) = refused({"authorities": {"relays": {"purpose": "client"}}, "revocations": {"laptop": revoked}})
    assert problem.startswith(f"pki.revocations.laptop.{setting}: ")
