"""PEM as people have it."""

from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from pki.pem import (
    PemError,
    belongs,
    certificates,
    certificates_text,
    private_key,
    private_key_text,
    rsa_public_key_text,
)
from testing.certificates import certificate, ec_public_key, rsa_private_key, rsa_public_key

ONE, ITS_KEY = certificate("one")
OTHER, OTHER_KEY = certificate("other", key_format=PrivateFormat.TraditionalOpenSSL)
PASSPHRASE = "a private key with a passphrase, which nobody is there to type"
ATTRIBUTES = "Bag Attributes\n    friendlyName: Réunion CA\nsubject=CN = one\n"


@pytest.mark.parametrize(
    "data",
    [
        ONE.encode(),
        (ATTRIBUTES + ONE + "\n# Réunion, at the end").encode(),
        (ATTRIBUTES + ONE).encode("latin-1"),
        b"\xef\xbb\xbf" + ONE.encode(),
        ONE.replace("\n", "\r\n").encode(),
        ONE.rstrip().encode(),
        ONE.replace("\n", "\n  ").encode(),
        (ITS_KEY + ONE).encode(),
        ONE.replace(" CERTIFICATE-", " X509 CERTIFICATE-").encode(),
    ],
    ids=["plain", "utf-8", "latin-1", "bom", "crlf", "no-last-line", "indented", "with-its-key", "old-label"],
)
def test_what_stands_outside_the_blocks_is_ignored_whatever_bytes_it_has(data: bytes) -> None:
    assert certificates_text(certificates(data)) == ONE


def test_every_certificate_is_read_in_its_order_and_written_on_lines_of_its_own() -> None:
    """A chain made by `cat` of a file without a last line has an END and a BEGIN on one."""
    assert certificates_text(certificates((ONE.rstrip() + OTHER + ATTRIBUTES).encode())) == ONE + OTHER


def test_a_key_is_read_in_any_of_its_forms_and_written_in_one() -> None:
    assert private_key_text(private_key((ATTRIBUTES + ITS_KEY).encode("latin-1"))) == ITS_KEY
    key = private_key(
        ("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + OTHER_KEY).encode()
    )
    assert "BEGIN EC PRIVATE KEY" in OTHER_KEY
    assert "BEGIN PRIVATE KEY" in private_key_text(key)
    (one,), (other,) = certificates(ONE.encode()), certificates(OTHER.encode())
    assert belongs(key, other)
    assert not belongs(key, one)


def with_passphrase(form: PrivateFormat) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"x")).decode("ascii")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "no certificate in it"),
        ("nothing of the kind", "no certificate in it"),
        (ITS_KEY, "no certificate in it, but: private key"),
        (ONE.replace("M", "?", 1), "a certificate that cannot be read, number 1 in it"),
        (ONE + ONE[:200] + ONE[300:], "a certificate that cannot be read, number 2 in it"),
        (ONE[:-30], "no certificate in it"),
        (ONE.encode("utf-16").decode("latin-1"), "no certificate in it"),
    ],
)
def test_what_is_no_certificate_is_said_without_its_content(data: str, said: str) -> None:
    with pytest.raises(PemError) as error:
        certificates(data.encode("latin-1"))
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "no private key in it"),
        (ONE, "no private key in it, but: certificate"),
        (ITS_KEY + OTHER_KEY, "several private keys in it"),
        (ITS_KEY[:60] + ITS_KEY[90:], "a private key that cannot be read"),
        (with_passphrase(PrivateFormat.PKCS8), PASSPHRASE),
        (with_passphrase(PrivateFormat.TraditionalOpenSSL), PASSPHRASE),
    ],
)
def test_what_is_no_key_is_said_without_its_content(data: str, said: str) -> None:
    with pytest.raises(PemError) as error:
        private_key(data.encode())
    assert str(error.value) == said


RSA_KEY: Final = rsa_public_key()


@pytest.mark.parametrize(
    "data",
    [
        RSA_KEY.encode(),
        (ATTRIBUTES + RSA_KEY).encode("latin-1"),
        b"\xef\xbb\xbf" + RSA_KEY.encode(),
        RSA_KEY.replace("\n", "\r\n").encode(),
        RSA_KEY.rstrip().encode(),
        RSA_KEY.replace("\n", "\n  ").encode(),
    ],
    ids=["plain", "latin-1", "bom", "crlf", "no-last-line", "indented"],
)
def test_a_public_key_is_written_anew_whatever_is_around_it(data: bytes) -> None:
    assert rsa_public_key_text(data) == RSA_KEY


def test_a_public_key_of_more_bits_is_taken() -> None:
    assert rsa_public_key_text(rsa_public_key(3072).encode()) == rsa_public_key(3072)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "a text without any"),
        ("nothing of the kind", "a text without any"),
        (RSA_KEY[:-40], "a text without any"),
        (rsa_private_key(), "a private key"),
        (RSA_KEY + rsa_private_key(), "a private key"),
        (ONE, "a certificate"),
        (ONE + ITS_KEY + ONE, "a certificate and a private key"),
        (RSA_KEY + RSA_KEY, "several of them"),
        (RSA_KEY.replace("M", "?", 1), "one that cannot be read"),
        (ec_public_key(), "a key of another kind: tokens have to be signed with RS256"),
        (rsa_public_key(1024), "one of 1024 bits, which is too short: 2048 or more"),
        (RSA_KEY.replace("PUBLIC", "RSA PUBLIC"), "a rsa public key"),
    ],
)
def test_what_is_no_public_key_of_rsa_is_named(data: str, said: str) -> None:
    with pytest.raises(PemError) as refusal:
        rsa_public_key_text(data.encode())
    assert str(refusal.value) == said
    assert "MII" not in str(refusal.value)
