"""Server certificates: their names, their life, and who signs them."""

from collections.abc import Sequence
from typing import Any, Final

import pulumi
import pytest
from cryptography import x509

from components import pki
from components.base.handles import AuthorityHandle, CertificateHandle, RevocationList, Signed
from components.pki.certificate import Certificate, CertificateArgs
from components.pki.moments import earliest, hours_before
from components.pki.registry import Registry
from pki import issue
from settings.authorities import STACK
from settings.certificate import Private
from settings.pki import Pki
from testing import building, tls
from testing.certificates import certificate
from testing.engine import is_secret, urn_of, value_of

SOON: Final = "2026-02-01T00:00:00Z"
BUILT = building.built("Certificate")


def signed(leaf: str = "leaf") -> Signed:
    """Return what an authority elsewhere makes of anything."""
    soon = pulumi.Output.from_input(SOON)
    return Signed(certificate_pem=pulumi.Output.from_input(leaf), expires=soon, renew_at=soon)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dns_names": [], "ip_addresses": []}, "dns_names and ip_addresses must hold one name or more"),
        ({"validity_hours": 24, "renewal_hours": 24}, "renewal_hours must be less than validity_hours, 24"),
        ({"renewal_hours": 0}, "renewal_hours must be less than validity_hours, 2160"),
        ({"generation": 0}, "generation must be 1 or more, not 0"),
    ],
)
def test_bad_arguments_are_refused_by_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        building.build(lambda _: building.certificate_args("it", **given))


def test_a_leaf_carries_its_names_and_is_renewed_before_its_end() -> None:
    request, leaf = BUILT.named("it-1-request"), BUILT.named("it-1-certificate")
    assert (request.plain("dnsNames"), request.plain("ipAddresses")) == (["it.test"], ["127.0.0.1"])
    assert leaf.plain("allowedUses") == ["digital_signature", "server_auth"]
    assert (leaf.plain("validityPeriodHours"), leaf.plain("earlyRenewalHours")) == (2160, 720)


def test_a_leaf_is_signed_by_its_issuer_whose_key_stays_secret() -> None:
    leaf = BUILT.named("it-1-certificate")
    root = x509.load_pem_x509_certificate(leaf.plain("caCertPem").encode())
    assert root.subject.rfc4514_string() == "CN=Root of it,O=Reflector"
    assert leaf.is_secret("caPrivateKeyPem")
    assert x509.load_pem_x509_csr(leaf.plain("certRequestPem").encode()).subject.rfc4514_string() == "CN=it.test"
    x509.load_pem_x509_certificate(value_of(BUILT.component.handle.certificate_pem).encode()).verify_directly_issued_by(
        root
    )


def test_what_is_shown_is_written_anew_after_the_providers_and_is_no_secret() -> None:
    shown = BUILT.component.handle.certificate_pem
    assert not is_secret(shown), "a secret in every delivery, and nobody could see in a preview what changes"
    leaf = x509.load_pem_x509_certificate(value_of(shown).encode())
    assert leaf.not_valid_before_utc == tls.STARTS - issue.BACKDATED
    assert BUILT.engine.outputs_of("it")["certificate_pem"] == value_of(shown), "where renewals look it up"


def test_a_long_domain_only_lives_in_the_alternative_names() -> None:
    domain = f"{'a' * 60}.{'b' * 60}.test"
    built = building.build(lambda _: Certificate("it", building.certificate_args("it", dns_names=[domain])))
    request = built.named("it-1-request")
    assert len(request.plain("subject")["commonName"]) == 64
    assert built.component.handle.common_name == request.plain("subject")["commonName"]
    assert request.plain("dnsNames") == [domain]


def test_a_certificate_is_handed_over_with_its_names_and_a_secret_key() -> None:
    handle: CertificateHandle = BUILT.component.handle
    assert (handle.name, handle.common_name) == ("it", "it.test")
    assert handle.names == ["DNS:it.test", "IP:127.0.0.1"]
    assert "BEGIN CERTIFICATE" in value_of(handle.certificate_pem)
    assert value_of(handle.private_key_pem) == BUILT.engine.secrets["it-1-key.privateKeyPem"]
    assert is_secret(handle.private_key_pem)


def test_the_first_generation_is_what_was_there_before_there_were_any() -> None:
    parts = {part.name: part for part in building.below(BUILT.engine, "it")}
    former = {
        "it-1-key": "it-key", "it-1-request": "it-request", "it-1-certificate": "it-certificate",
    }  # fmt: skip
    assert parts.keys() == former.keys()
    for name, part in parts.items():
        assert part.former_urns == {urn_of(BUILT.named("it").urn, part.type, former[name])}, "it would be issued anew"


def test_a_second_generation_stands_beside_the_first() -> None:
    def build(_: object) -> None:
        for generation in (1, 2):
            given = building.certificate_args(f"it-{generation}", generation=generation)
            Certificate("it", given)

    built = building.build(build)
    urns = [resource.urn for resource in built.engine.resources]
    assert len(urns) == len(set(urns))
    assert not any(part.former_urns for part in building.below(built.engine, "it-2"))


def test_any_issuer_will_do() -> None:
    class Elsewhere:
        """An authority that signs without any resource of its own."""

        common_name = "Elsewhere"
        kind = "root"
        asked: Any = None

        def __init__(self) -> None:
            self.certificate_pem = pulumi.Output.from_input("root")
            self.expires = pulumi.Output.from_input("2036-01-01T00:00:00Z")

        def sign(
            self, name: str, *, request_pem: pulumi.Input[str], uses: Sequence[str], validity_hours: int,
            renewal_hours: int, opts: pulumi.ResourceOptions,
        ) -> Signed:  # fmt: skip
            self.asked = (name, list(uses), validity_hours, renewal_hours)
            return signed()

        def list_revoked(self, *_: object, **__: object) -> RevocationList:
            raise AssertionError("nobody asked for it")

    issuer = Elsewhere()

    def build(_: object) -> CertificateHandle:
        args = CertificateArgs(
            issuer=issuer, dns_names=["a.test"], ip_addresses=[], validity_hours=48, renewal_hours=24
        )
        return Certificate("it", args).handle

    built = building.build(build)
    assert value_of(built.component.certificate_pem) == "leaf"
    assert value_of(built.component.expires) == SOON
    assert issuer.asked == ("it-1-certificate", ["digital_signature", "server_auth"], 48, 24)
    assert [one for one in built.engine.resources if one.type == "tls:index/locallySignedCert:LocallySignedCert"] == []


# --- From settings ----------------------------------------------------------------------------------------------------


def own_authority(settings: Pki = Pki()) -> AuthorityHandle:  # noqa: B008 -- frozen
    """Return the authority every stack has."""
    return pki.authorities("authority", settings, "test")[STACK]


def identity(settings: Pki, authority: AuthorityHandle, name: str, *addresses: str) -> pki.EdgeIdentity:
    """Return what the stack's own authority makes of these settings."""
    return pki.edge_identity(
        "it",
        Private(),
        {STACK: authority},
        Registry(),
        own=None,
        signer=None,
        hours=(settings.certificate_validity_hours, settings.renewal_hours),
        common_name=name,
        dns_names=[name],
        ip_addresses=addresses,
        trusted=[],
    )


def test_settings_decide_how_long_a_certificate_lives() -> None:
    settings = Pki(certificate_validity_hours=240, renewal_hours=48)
    built = building.build(lambda _: identity(settings, own_authority(), "a.test", "::1").certificate)
    leaf = built.named("it-1-certificate")
    assert (leaf.plain("validityPeriodHours"), leaf.plain("earlyRenewalHours")) == (240, 48)
    assert built.component.names == ["DNS:a.test", "IP:::1"]


def test_the_earliest_end_of_the_chain_is_listed_where_the_authority_ends_first() -> None:
    ends = ["2026-12-18T03:04:26.067992Z", "2026-12-18T04:04:25.91813161+01:00", "2036-11-25T03:04:25Z"]
    assert earliest(ends) == ends[1]
    assert hours_before(ends[1], 24) == "2026-12-17T03:04:25Z"

    class EndsFirst:
        common_name = "Foreign root"
        certificate_pem = property(lambda _: pulumi.Output.from_input("root"))
        expires = property(lambda _: pulumi.Output.from_input("2026-01-21T00:00:00Z"))

        def sign(self, *_: object, **__: object) -> Signed:
            return signed(certificate("it")[0])

    def build(_: object) -> None:
        args = building.certificate_args("it", issuer=EndsFirst())
        pulumi.export("inventory", pki.inventory({}, {}, [Certificate("it", args).handle]))

    (entry,) = building.build(build).engine.exports["inventory"]
    assert (entry["expires"], entry["chain_expires"]) == (SOON, "2026-01-21T00:00:00Z")


def test_what_must_be_trusted_is_the_root() -> None:
    def build(_: object) -> tuple[Any, Any]:
        authority = own_authority()
        return authority, identity(Pki(), authority, "a.test")

    authority, made = building.build(build).component
    assert made.roots == made.issuers == (authority.issuer.certificate_pem,)


def test_the_inventory_lists_roots_and_leaves_as_they_name_themselves_and_no_key() -> None:
    def build(_: object) -> Any:
        authority = own_authority()
        leaf = identity(Pki(), authority, "a.test", "127.0.0.1").certificate
        pulumi.export("inventory", pki.inventory({STACK: authority}, {}, [leaf]))

    built = building.build(build)
    entries = built.engine.exports["inventory"]
    assert all(entry.pop("details")["sha256"] for entry in entries)
    assert entries == [
        {
            "name": "authority",
            "kind": "root",
            "subject": "Reflector test root",
            "expires": "2036-01-01T00:00:00Z",
            "authority": "stack",
            "generation": "g1",
            "purpose": "server",
        },
        {
            "name": "it",
            "kind": "server",
            "source": "private",
            "subject": "a.test",
            "names": ["DNS:a.test", "IP:127.0.0.1"],
            "expires": "2026-04-01T00:00:00Z",
            "chain_expires": "2026-04-01T00:00:00Z",
            "renew_at": "2026-03-02T00:00:00Z",
            "authority": "stack",
            "generation": "g1",
            "users": {"edge": ["a.test"]},
        },
    ]
    assert built.engine.secret_exports == frozenset()
