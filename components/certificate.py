"""A server certificate from the private authority."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
import pulumi_tls as tls

from components.handover import CertificateHandle

VALIDITY_HOURS: Final = 90 * 24
"""Well below the 825 days Apple allows private authorities, short enough that renewal is exercised."""
RENEWAL_HOURS: Final = 30 * 24
"""Inside this time before its end any plain `up` issues a new one."""


@dataclass(frozen=True, kw_only=True)
class CertificateArgs:
    """A server certificate."""

    dns_names: Sequence[str]
    """The first is the common name too, for people; clients look at the alternative names alone (RFC 9525)."""
    ip_addresses: Sequence[str]
    authority_certificate_pem: pulumi.Input[str]
    authority_private_key_pem: pulumi.Input[str] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.dns_names:
            raise ValueError("dns_names must hold one name or more")
        object.__setattr__(self, "authority_private_key_pem", pulumi.Output.secret(self.authority_private_key_pem))


class Certificate(pulumi.ComponentResource):
    """A P-256 leaf for TLS servers, renewed on a plain `up` once it is within 30 days of its end."""

    handle: CertificateHandle
    """The leaf with its key."""

    def __init__(self, name: str, args: CertificateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:certificate:Certificate", name, {}, opts)
        key = tls.PrivateKey(
            f"{name}-key",
            tls.PrivateKeyArgs(algorithm="ECDSA", ecdsa_curve="P256"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        # RFC 5280 limits a common name to 64 characters; a longer domain only lives in the alternative names.
        common_name = args.dns_names[0][:64]
        request = tls.CertRequest(
            f"{name}-request",
            tls.CertRequestArgs(
                private_key_pem=key.private_key_pem,
                subject=tls.CertRequestSubjectArgs(common_name=common_name),
                dns_names=list(args.dns_names),
                ip_addresses=list(args.ip_addresses),
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        certificate = tls.LocallySignedCert(
            f"{name}-certificate",
            tls.LocallySignedCertArgs(
                cert_request_pem=request.cert_request_pem,
                ca_cert_pem=args.authority_certificate_pem,
                ca_private_key_pem=args.authority_private_key_pem,
                # An ECDSA key only signs: no key encipherment (RFC 5480 §3).
                allowed_uses=["digital_signature", "server_auth"],
                validity_period_hours=VALIDITY_HOURS,
                early_renewal_hours=RENEWAL_HOURS,
                set_subject_key_id=True,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.handle = CertificateHandle(
            common_name=common_name,
            certificate_pem=certificate.cert_pem,
            private_key_pem=key.private_key_pem,
            expires=certificate.validity_end_time,
        )
        self.register_outputs({"certificate_pem": certificate.cert_pem, "expires": certificate.validity_end_time})
