"""The private certificate authority."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_tls as tls

from components.base.handles import Issuer, Signed
from components.pki.generation import former_names, member, whole

if TYPE_CHECKING:
    from pki.signer import Signer

COMMON_NAME_LENGTH: Final = 64  # RFC 5280 appendix A.1, ub-common-name
ROOT_VALIDITY_HOURS: Final = 10 * 365 * 24
"""Ten years: a new root has to reach every client by hand."""


@dataclass(frozen=True, kw_only=True)
class AuthorityArgs:
    """A certificate authority."""

    common_name: str
    """Subject of the root, by which people recognise it in their trust stores."""
    generation: int = 1
    """Which root of this authority; a further one stands beside it under names of its own."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.common_name) <= COMMON_NAME_LENGTH:
            raise ValueError(f"common_name must have 1 to {COMMON_NAME_LENGTH} characters, not {len(self.common_name)}")
        if self.generation < 1:
            raise ValueError(f"generation must be 1 or more, not {self.generation}")


@dataclass(frozen=True, kw_only=True)
class _Issuer:
    """An authority that signs leaves itself."""

    common_name: str
    certificate_pem: pulumi.Output[str]
    expires: pulumi.Output[str]
    _private_key_pem: pulumi.Output[str] = field(repr=False)
    kind: str = "root"
    """See `Issuer`."""
    _chain_pem: str = ""
    """What a server shows behind its leaf; empty for a root, which clients have."""

    def sign(
        self,
        name: str,
        *,
        request_pem: pulumi.Input[str],
        uses: Sequence[str],
        validity_hours: int,
        renewal_hours: int,
        opts: pulumi.ResourceOptions,
    ) -> Signed:
        """Return what a certificate request becomes."""
        certificate = tls.LocallySignedCert(
            name,
            tls.LocallySignedCertArgs(
                cert_request_pem=request_pem,
                ca_cert_pem=self.certificate_pem,
                ca_private_key_pem=self._private_key_pem,
                allowed_uses=list(uses),
                validity_period_hours=validity_hours,
                early_renewal_hours=renewal_hours,
                set_subject_key_id=True,
            ),
            opts=opts,
        )
        shown = certificate.cert_pem
        if self._chain_pem:
            shown = pulumi.Output.concat(certificate.cert_pem, self._chain_pem)
        return Signed(certificate_pem=shown, expires=certificate.validity_end_time)


def brought_issuer(signer: "Signer") -> Issuer:
    """Return an authority of somebody else's, who has given its key away for this."""
    return _Issuer(
        common_name=signer.subject,
        certificate_pem=pulumi.Output.from_input(signer.certificate),
        expires=pulumi.Output.from_input(signer.ends),
        _private_key_pem=pulumi.Output.secret(signer.key),
        kind="intermediate" if signer.chain else "root",
        _chain_pem=signer.chain,
    )


class Authority(pulumi.ComponentResource):
    """A P-384 root that signs leaves. Creates: its key and its certificate, both protected.

    Neither is ever renewed by itself: every client trusts this very certificate.
    """

    issuer: Issuer
    """What signs; nothing else ever gets the key."""

    def __init__(self, name: str, args: AuthorityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:authority:Authority", whole(name, args.generation), {}, opts)
        key = tls.PrivateKey(
            member(name, args.generation, "key"),
            # The provider's own default, P-224, is unusable in TLS 1.3 and in browsers.
            tls.PrivateKeyArgs(algorithm="ECDSA", ecdsa_curve="P384"),
            opts=pulumi.ResourceOptions(parent=self, protect=True, aliases=former_names(name, args.generation, "key")),
        )
        certificate = tls.SelfSignedCert(
            member(name, args.generation, "certificate"),
            tls.SelfSignedCertArgs(
                private_key_pem=key.private_key_pem,
                is_ca_certificate=True,
                # Nothing implies them, and strict verifiers (RFC 5280 §4.2.1.3; Python 3.13) refuse a CA without.
                allowed_uses=["cert_signing", "crl_signing"],
                subject=tls.SelfSignedCertSubjectArgs(common_name=args.common_name, organization="Reflector"),
                validity_period_hours=ROOT_VALIDITY_HOURS,
                set_subject_key_id=True,
            ),
            opts=pulumi.ResourceOptions(
                parent=self, protect=True, aliases=former_names(name, args.generation, "certificate")
            ),
        )
        self.issuer = _Issuer(
            common_name=args.common_name,
            certificate_pem=certificate.cert_pem,
            expires=certificate.validity_end_time,
            _private_key_pem=key.private_key_pem,
        )
        self.register_outputs({"certificate_pem": certificate.cert_pem, "expires": certificate.validity_end_time})
