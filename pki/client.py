"""What a client shows a server over TLS, and whom it trusts.

Its files are PEM and nothing else: Docker's command reads the same folder, and takes no other form.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from pki import facts, pem

T = TypeVar("T")

AUTHORITY: Final = "authority"
CERTIFICATE: Final = "certificate"
KEY: Final = "key"


@dataclass(frozen=True, kw_only=True)
class ClientCredentials:
    """What a client needs, read and found to fit together."""

    authorities: tuple[pem.Certificate, ...]
    """Whom it trusts to sign for servers."""
    chain: tuple[pem.Certificate, ...]
    """Its own certificate, then those between it and a root."""
    key: pem.PrivateKey = field(repr=False)

    def texts(self) -> tuple[str, str, str]:
        """Return authorities, chain and key as PEM, written anew."""
        return (
            pem.certificates_text(self.authorities),
            pem.certificates_text(self.chain),
            pem.private_key_text(self.key),
        )

    def out_of_date(self, now: facts.Instant) -> Iterator[tuple[str, str]]:
        """Yield AUTHORITY and CERTIFICATE where they are not valid at `now` (with a time zone), each with what is said.

        Of several authorities one that is valid will do.
        """
        authorities = [facts.validity(authority, now) for authority in self.authorities]
        if all(authorities):
            yield AUTHORITY, authorities[0]
        if facts.validity(self.chain[0], now):
            yield CERTIFICATE, facts.validity(self.chain[0], now)


def client_credentials(authority: bytes, certificate: bytes, key: bytes) -> ClientCredentials | list[tuple[str, str]]:
    """Return what is in three files of a client, or what is wrong with them: AUTHORITY, CERTIFICATE or KEY, and why."""
    wrong: list[tuple[str, str]] = []
    authorities = _read(AUTHORITY, pem.certificates, authority, wrong)
    chain = _read(CERTIFICATE, pem.certificates, certificate, wrong)
    private_key = _read(KEY, pem.private_key, key, wrong)
    if chain is None and private_key is None and _swapped(certificate, key):
        # One mistake, one line.
        wrong.remove(next(one for one in wrong if one[0] == KEY))
    if chain and not _is_for_clients(chain[0]):
        wrong.append((CERTIFICATE, "a certificate for servers only (its extended key usage has no clientAuth)"))
    elif chain and private_key is not None and not pem.belongs(private_key, chain[0]):
        wrong.append((KEY, "the key of another certificate"))
    if wrong or not authorities or not chain or private_key is None:
        return wrong
    return ClientCredentials(authorities=tuple(authorities), chain=tuple(chain), key=private_key)


def _read(what: str, read: Callable[[bytes], T], data: bytes, wrong: list[tuple[str, str]]) -> T | None:
    try:
        return read(data)
    except pem.PemError as error:
        wrong.append((what, str(error)))
        return None


def _swapped(certificate: bytes, key: bytes) -> bool:
    try:
        pem.private_key(certificate)
        pem.certificates(key)
    except pem.PemError:
        return False
    return True


def _is_for_clients(certificate: pem.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        # Without one, or with one only the server can judge, it is for whatever the server takes it for.
        return True
    return bool({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage))
