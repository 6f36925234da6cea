"""What people are told of a certificate."""

from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from pki import facts, pem
from testing.certificates import issue, key_of

NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)


def test_a_certificate_is_found_by_its_common_name() -> None:
    assert facts.common_name(issue("Example root", now=NOW).certificate) == "Example root"
    assert facts.common_name(issue("Example\nroot ", now=NOW).certificate) == "Example?root", "it is one line"


def test_without_a_common_name_it_is_found_by_its_whole_subject() -> None:
    made = issue("Example root", now=NOW)
    organization = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example")])
    key = key_of("secp256r1", "another")
    builder = x509.CertificateBuilder(
        issuer_name=organization,
        subject_name=organization,
        public_key=made.certificate.public_key(),
        serial_number=1,
        not_valid_before=NOW,
        not_valid_after=datetime(2027, 6, 1, tzinfo=UTC),
    )
    assert facts.common_name(builder.sign(key, hashes.SHA256())) == "O=Example"  # type: ignore[arg-type]  # it is one of EC


def test_der_is_read_as_what_it_was() -> None:
    made = issue("Example root", now=NOW)
    assert pem.der_certificate(pem.der(made.certificate)) == made.certificate
