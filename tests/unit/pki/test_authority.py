"""The private authority: a root that signs, and a key nobody else ever gets."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pulumi
import pytest
from cryptography import x509

from components import pki
from components.base.handles import AuthorityHandle, Issuer
from components.pki.authority import Authority, AuthorityArgs
from pki import issue
from settings.authorities import AnyGeneration, Generation, Revocation
from settings.authorities import Authority as Authority_
from settings.pki import Pki
from testing import building, tls
from testing.engine import is_secret, urn_of, value_of

BUILT = building.built("Authority")


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_common_name_x509_does_not_allow_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"common_name must have 1 to 64 characters, not {len(name)}"):
        AuthorityArgs(common_name=name)


def test_a_generation_before_the_first_is_refused() -> None:
    with pytest.raises(ValueError, match="generation must be 1 or more, not 0"):
        AuthorityArgs(common_name="Root", generation=0)


def test_the_root_may_sign_and_nothing_else() -> None:
    certificate = BUILT.named("it-1-certificate")
    assert certificate.plain("isCaCertificate") is True
    assert certificate.plain("allowedUses") == ["cert_signing", "crl_signing"]
    assert BUILT.named("it-1-key").plain("ecdsaCurve") == "P384", "the provider's default is unusable in TLS 1.3"


@pytest.mark.parametrize(
    ("key", "asked"),
    [
        ("P256", {"algorithm": "ECDSA", "ecdsaCurve": "P256"}),
        ("RSA-3072", {"algorithm": "RSA", "rsaBits": 3072}),
        ("Ed25519", {"algorithm": "ED25519"}),
    ],
)
def test_the_key_is_of_the_kind_that_is_asked_for(key: str, asked: dict[str, object]) -> None:
    built = building.build(lambda _: Authority("it", AuthorityArgs(common_name="Root", key=key, years=5)))
    given = built.named("it-1-key")
    assert {name: given.plain(name) for name in given.inputs} == asked
    assert built.named("it-1-certificate").plain("validityPeriodHours") == 5 * 365 * 24


def test_a_kind_of_key_nobody_makes_is_refused() -> None:
    with pytest.raises(ValueError, match="key must be one of P256, P384, RSA-2048, RSA-3072, Ed25519, not P224"):
        AuthorityArgs(common_name="Root", key="P224")


def test_a_root_of_an_earlier_release_is_neither_replaced_nor_shown_as_another() -> None:
    """Every client has that very certificate; what tells it from others is ignored where there is one."""
    template = BUILT.named("it-1-certificate")
    assert template.plain("setAuthorityKeyId") is True
    assert list(template.request.ignoreChanges) == ["setAuthorityKeyId"]


def test_the_root_that_is_shown_may_be_named_constrained_and_is_valid_an_hour_before() -> None:
    permitted = issue.Permitted(names=["test"])
    built = building.build(lambda _: Authority("it", AuthorityArgs(common_name="Root", permitted=permitted)))
    root = x509.load_pem_x509_certificate(value_of(built.component.issuer.certificate_pem).encode())
    assert root.not_valid_before_utc == tls.STARTS - issue.BACKDATED
    assert root.extensions.get_extension_for_class(x509.NameConstraints).value == permitted.constraints()


def test_the_root_and_its_key_are_protected_and_never_renewed() -> None:
    assert all(part.request.protect for part in building.below(BUILT.engine, "it")), (
        "every client trusts this very root"
    )
    assert "earlyRenewalHours" not in BUILT.named("it-1-certificate").inputs


def test_the_root_is_open_and_its_key_is_nobodys() -> None:
    authority: Authority = BUILT.component
    issuer: Issuer = authority.issuer
    assert not is_secret(issuer.certificate_pem), "people have to read it to trust it"
    public = [field.name for field in fields(issuer) if not field.name.startswith("_")]  # type: ignore[arg-type]  # a protocol
    assert public == ["common_name", "certificate_pem", "expires", "kind"]
    assert "private" not in repr(issuer)


def test_the_first_generation_is_what_was_there_before_there_were_any() -> None:
    # A key that was not taken over would be made anew, and every client would have to be told.
    authority = BUILT.named("it").urn
    for name, type_, former in (
        ("it-1-key", "tls:index/privateKey:PrivateKey", "it-key"),
        ("it-1-certificate", "tls:index/selfSignedCert:SelfSignedCert", "it-certificate"),
    ):
        assert BUILT.named(name).former_urns == {urn_of(authority, type_, former)}
    assert urn_of(authority, "tls:index/privateKey:PrivateKey", "it-key") == (
        "urn:pulumi:test::reflector::reflector:authority:Authority$tls:index/privateKey:PrivateKey::it-key"
    )


def test_a_second_generation_stands_beside_the_first() -> None:
    built = building.build(
        lambda _: [Authority("it", AuthorityArgs(common_name="Root", generation=generation)) for generation in (1, 2)]
    )
    urns = [resource.urn for resource in built.engine.resources]
    assert len(urns) == len(set(urns)), "protected, the first could neither be replaced nor stay"
    second = building.below(built.engine, "it-2")
    assert {part.name for part in second} == {"it-2-key", "it-2-certificate"}
    assert not any(part.former_urns for part in second), "it would take the first one's place"


def handles(stack: str, settings: Pki) -> Mapping[str, AuthorityHandle]:
    made: Mapping[str, AuthorityHandle] = building.build(
        lambda _: pki.authorities("authority", settings, stack)
    ).component
    return made


def test_the_name_of_a_long_stack_is_cut_to_what_x509_allows() -> None:
    assert handles("x" * 60, Pki())["stack"].issuer.common_name == f"Reflector {'x' * 54}"


def test_every_root_has_a_subject_of_its_own_however_long_the_stacks_name_is() -> None:
    both: dict[str, AnyGeneration] = {"g1": Generation(state="trusted"), "g2": Generation(state="active")}
    settings = Pki(authorities={"stack": Authority_(generations=both), "relays": Authority_(generations=both)})
    for stack in ("dev", "x" * 60):
        names = [one.common_name for each in handles(stack, settings).values() for one in each.issuers.values()]
        assert len(set(names)) == 4
        assert all(len(name) <= 64 for name in names)


def test_an_authority_hands_over_who_signs_and_whom_to_trust() -> None:
    generations: dict[str, AnyGeneration] = {
        "g10": Generation(state="trusted"), "g2": Generation(state="active"), "g1": Generation(state="retired"),
    }  # fmt: skip
    relays = handles("dev", Pki(authorities={"relays": Authority_(purpose="client", generations=generations)}))[
        "relays"
    ]
    assert (relays.name, relays.purpose, relays.generation) == ("relays", "client", "g2")
    assert relays.issuer.common_name == "Reflector dev relays root 2"
    assert list(relays.issuers) == ["authority-relays-2", "authority-relays-10"], "by age, and none that is retired"
    assert relays.trusted.certificates == tuple(one.certificate_pem for one in relays.issuers.values())


REVOKED = {
    "lost": Revocation(authority="agents", serial="0A1B", on="2026-11-28", reason="key-compromise"),
    "older": Revocation(authority="agents", serial="0C", on="2026-11-01"),
}


def lists(revocations: Mapping[str, Revocation]) -> tuple[building.Built, list[Any]]:
    generations: dict[str, AnyGeneration] = {
        "g1": Generation(state="trusted"), "g2": Generation(state="active"), "g3": Generation(state="retired"),
    }  # fmt: skip
    agents = {"agents": Authority_(purpose="client", generations=generations)}
    settings = Pki(authorities=agents, revocations=dict(revocations))
    built = building.build(lambda _: pki.authorities("authority", settings, "test")["agents"])
    text, end = value_of(built.component.crls), "-----END X509 CRL-----\n"
    found = [x509.load_pem_x509_crl((one + end).encode()) for one in text.split(end) if one]
    return built, found


def test_each_generation_that_is_trusted_has_a_revocation_list_an_empty_one_too() -> None:
    built, found = lists({})
    assert [list(one) for one in found] == [[], []]
    roots = [value_of(pulumi.Output.from_input(pem)) for pem in built.component.trusted.certificates]
    for one, pem in zip(found, roots, strict=True):
        root = x509.load_pem_x509_certificate(pem.encode())
        assert one.issuer == root.subject
        assert one.is_signature_valid(root.public_key())
    assert not is_secret(built.component.crls), "everybody may have it"


def test_what_is_revoked_is_in_each_list_and_another_list_has_another_time() -> None:
    built, found = lists(REVOKED)
    assert [sorted(entry.serial_number for entry in one) for one in found] == [[0x0C, 0x0A1B]] * 2
    clock = "authority-agents-2-revocations"
    assert built.named(clock).plain("earlyRenewalHours") == 7 * 24
    _, again = lists(dict(reversed(REVOKED.items())))
    assert found == again, "the same in every run, in whatever order it is written"
    subject = built.named(clock).plain("subject")
    assert lists({})[0].named(clock).plain("subject") != subject, "so its time and its number are greater"


def test_nobody_asks_for_revocation_lists_of_servers() -> None:
    built = building.build(lambda _: pki.authorities("authority", Pki(), "test")["stack"])
    assert value_of(built.component.crls) == ""
