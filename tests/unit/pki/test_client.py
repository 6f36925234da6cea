"""What a client shows a server: three files that have to fit together."""

from datetime import UTC, datetime, timedelta

import pytest

from pki.client import AUTHORITY, CERTIFICATE, KEY, ClientCredentials, client_credentials
from testing.certificates import CLIENT, SERVER, certificate

CA, CA_KEY = certificate("ca", to_days=10)
CERT, ITS_KEY = certificate("client", usages=[CLIENT, SERVER])
PLAIN, PLAIN_KEY = certificate("without usages")
FOR_SERVERS, SERVERS_KEY = certificate("server", usages=[SERVER])
EXPIRED, EXPIRED_KEY = certificate("late", usages=[CLIENT], from_days=-60, to_days=-30)
EARLY, EARLY_KEY = certificate("early", usages=[CLIENT], from_days=1, to_days=2)
NOW = datetime.now(UTC)


def read(ca: str = CA, cert: str = CERT, key: str = ITS_KEY) -> ClientCredentials | list[tuple[str, str]]:
    return client_credentials(ca.encode(), cert.encode(), key.encode())


def good(ca: str = CA, cert: str = CERT, key: str = ITS_KEY) -> ClientCredentials:
    found = read(ca, cert, key)
    assert isinstance(found, ClientCredentials)
    return found


@pytest.mark.parametrize(("cert", "key"), [(CERT, ITS_KEY), (PLAIN, PLAIN_KEY), (CERT + CA, ITS_KEY)])
def test_what_fits_together_is_written_anew_and_the_key_never_shows(cert: str, key: str) -> None:
    found = good(CA + "# Réunion\n" + PLAIN, "Bag Attributes\n" + cert, key)
    assert found.texts() == (CA + PLAIN, cert, key)
    assert list(found.out_of_date(NOW)) == []
    assert "key" not in repr(found)


@pytest.mark.parametrize(
    ("files", "wrong"),
    [
        ((CA, CERT, PLAIN_KEY), [(KEY, "the key of another certificate")]),
        ((CA, ITS_KEY, CERT), [(CERTIFICATE, "no certificate in it, but: private key")]),
        (("", CERT, ITS_KEY), [(AUTHORITY, "no certificate in it")]),
        ((CA_KEY, CERT, ITS_KEY), [(AUTHORITY, "no certificate in it, but: private key")]),
        (
            (CA, FOR_SERVERS, SERVERS_KEY),
            [(CERTIFICATE, "a certificate for servers only (its extended key usage has no clientAuth)")],
        ),
        (("", "", ""), [(AUTHORITY, "no certificate in it"), (CERTIFICATE, "no certificate in it"),
                        (KEY, "no private key in it")]),
    ],
)  # fmt: skip
def test_each_mistake_is_told_once_with_the_file_it_is_in(
    files: tuple[str, str, str], wrong: list[tuple[str, str]]
) -> None:
    assert read(*files) == wrong


def test_what_is_out_of_date_is_told_by_whoever_has_a_clock() -> None:
    days = (NOW - timedelta(days=30)).strftime("%Y-%m-%d")
    assert list(good(cert=EXPIRED, key=EXPIRED_KEY).out_of_date(NOW)) == [(CERTIFICATE, f"expired on {days}")]
    ((what, reason),) = good(cert=EARLY, key=EARLY_KEY).out_of_date(NOW)
    assert (what, reason.startswith("not valid before ")) == (CERTIFICATE, True)
    assert list(good(EXPIRED).out_of_date(NOW)) == [(AUTHORITY, f"expired on {days}")]
    assert list(good(EXPIRED + CA).out_of_date(NOW)) == [], "one authority that is valid will do"
    assert [what for what, _ in good().out_of_date(NOW + timedelta(days=11))] == [AUTHORITY, CERTIFICATE]
