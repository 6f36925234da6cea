"""The private certificate authority."""

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_tls as tls

from components.handover import TrustBundle

ROOT_VALIDITY_HOURS: Final = 10 * 365 * 24
"""Ten years: a new root has to reach every client by hand."""


@dataclass(frozen=True, kw_only=True)
class AuthorityArgs:
    """A certificate authority."""

    common_name: str
    """Subject of the root, by which people recognise it in their trust stores."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.common_name) <= 64:  # RFC 5280 appendix A.1, ub-common-name
            raise ValueError(f"common_name must have 1 to 64 characters, not {len(self.common_name)}")


class Authority(pulumi.ComponentResource):
    """A P-384 root that signs leaves. Creates: its key and its certificate, both protected.

    Neither is ever renewed by itself: every client trusts this very certificate.
    """

    common_name: str
    """Of the root's subject."""
    certificate_pem: pulumi.Output[str]
    """The root, PEM."""
    private_key_pem: pulumi.Output[str]
    """Its key, PEM; secret, and only ever an input of certificates."""
    trust: TrustBundle
    """What must be trusted to reach whatever it signed."""
    expires: pulumi.Output[str]
    """RFC 3339 time."""

    def __init__(self, name: str, args: AuthorityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:authority:Authority", name, {}, opts)
        key = tls.PrivateKey(
            f"{name}-key",
            # The provider's own default, P-224, is unusable in TLS 1.3 and in browsers.
            tls.PrivateKeyArgs(algorithm="ECDSA", ecdsa_curve="P384"),
            opts=pulumi.ResourceOptions(parent=self, protect=True),
        )
        certificate = tls.SelfSignedCert(
            f"{name}-certificate",
            tls.SelfSignedCertArgs(
                private_key_pem=key.private_key_pem,
                is_ca_certificate=True,
                # Nothing implies them, and strict verifiers (RFC 5280 §4.2.1.3; Python 3.13) refuse a CA without.
                allowed_uses=["cert_signing", "crl_signing"],
                subject=tls.SelfSignedCertSubjectArgs(common_name=args.common_name, organization="Reflector"),
                validity_period_hours=ROOT_VALIDITY_HOURS,
                set_subject_key_id=True,
            ),
            opts=pulumi.ResourceOptions(parent=self, protect=True),
        )
        self.common_name = args.common_name
        self.certificate_pem = certificate.cert_pem
        self.private_key_pem = key.private_key_pem
        self.trust = TrustBundle(pem=certificate.cert_pem)
        self.expires = certificate.validity_end_time
        self.register_outputs(
            {
                "certificate_pem": self.certificate_pem,
                "private_key_pem": self.private_key_pem,
                "expires": self.expires,
            }
        )
