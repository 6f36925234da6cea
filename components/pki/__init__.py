"""The private authority, and the certificates it issues."""

from collections.abc import Mapping, Sequence

import pulumi

from components.base.handles import CertificateHandle, Issuer, TrustBundle
from components.pki.authority import COMMON_NAME_LENGTH, Authority, AuthorityArgs
from components.pki.certificate import Certificate, CertificateArgs
from settings.pki import Pki


def authority(name: str, stack: str) -> Issuer:
    """Return the private authority of `stack`; it is made once and never replaced."""
    return Authority(name, AuthorityArgs(common_name=f"Reflector {stack} root"[:COMMON_NAME_LENGTH])).issuer


def server_certificate(
    name: str, settings: Pki, issuer: Issuer, *, dns_names: Sequence[str], ip_addresses: Sequence[str]
) -> CertificateHandle:
    """Return a certificate for TLS servers with these names, the canonical one first."""
    return Certificate(
        name,
        CertificateArgs(
            issuer=issuer,
            dns_names=dns_names,
            ip_addresses=ip_addresses,
            validity_hours=settings.certificate_validity_hours,
            renewal_hours=settings.renewal_hours,
        ),
    ).handle


def trust(issuer: Issuer) -> TrustBundle:
    """Return what must be trusted to reach whatever `issuer` signed."""
    return TrustBundle(pem=issuer.certificate_pem)


def inventory(
    issuers: Mapping[str, Issuer], certificates: Sequence[CertificateHandle]
) -> list[Mapping[str, pulumi.Input[object]]]:
    """Return what there is of certificates and when each ends, without any key."""
    roots: list[Mapping[str, pulumi.Input[object]]] = [
        {"name": name, "kind": "root", "subject": issuer.common_name, "expires": issuer.expires}
        for name, issuer in issuers.items()
    ]
    return roots + [
        {
            "name": certificate.name,
            "kind": "server",
            "subject": certificate.common_name,
            "names": list(certificate.names),
            "expires": certificate.expires,
        }
        for certificate in certificates
    ]
