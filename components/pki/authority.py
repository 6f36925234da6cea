"""The private certificate authority."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_tls as tls

from components.base.handles import Issuer, RevocationList, Signed
from components.pki import moments
from components.pki.generation import former_names
from pki import crl, issue
from pki.naming import member, whole

if TYPE_CHECKING:
    from pki.signer import Signer

COMMON_NAME_LENGTH: Final = 64  # RFC 5280 appendix A.1, ub-common-name
YEAR_HOURS: Final = 365 * 24
REVOCATIONS_HOURS: Final = 14 * 24
"""How long a revocation list is good for; any `up` in the second half of that makes the next one."""
KEYS: Final[Mapping[str, Callable[[], tls.PrivateKeyArgs]]] = {
    # The provider's own default, P-224, is unusable in TLS 1.3 and in browsers.
    "P256": lambda: tls.PrivateKeyArgs(algorithm="ECDSA", ecdsa_curve="P256"),
    "P384": lambda: tls.PrivateKeyArgs(algorithm="ECDSA", ecdsa_curve="P384"),
    "RSA-2048": lambda: tls.PrivateKeyArgs(algorithm="RSA", rsa_bits=2048),
    "RSA-3072": lambda: tls.PrivateKeyArgs(algorithm="RSA", rsa_bits=3072),
    "Ed25519": lambda: tls.PrivateKeyArgs(algorithm="ED25519"),
}
"""Kinds of keys, as settings call them."""


@dataclass(frozen=True, kw_only=True)
class AuthorityArgs:
    """A certificate authority."""

    common_name: str
    """Subject of the root, by which people recognise it in their trust stores."""
    generation: int = 1
    """Which root of this authority; a further one stands beside it under names of its own."""
    key: str = "P384"
    """One of KEYS."""
    years: int = 10
    """Its life: a new root has to reach every client by hand."""
    permitted: issue.Permitted = issue.ANYTHING
    """What it may sign for."""
    protected: bool = True
    """Whether neither key nor certificate can be deleted."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.common_name) <= COMMON_NAME_LENGTH:
            raise ValueError(f"common_name must have 1 to {COMMON_NAME_LENGTH} characters, not {len(self.common_name)}")
        if self.generation < 1:
            raise ValueError(f"generation must be 1 or more, not {self.generation}")
        if self.key not in KEYS:
            raise ValueError(f"key must be one of {', '.join(KEYS)}, not {self.key}")


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
        written = _public(
            pulumi.Output.all(certificate.cert_pem, self.certificate_pem, self._private_key_pem).apply(_leaf)
        )
        return Signed(
            certificate_pem=pulumi.Output.concat(written.certificate_pem, self._chain_pem),
            expires=written.expires,
            # The provider is who finds out when it is due, and by its own end.
            renew_at=certificate.validity_end_time.apply(partial(moments.hours_before, hours=renewal_hours)),
        )

    def list_revoked(
        self, name: str, *, revoked: Sequence[crl.Revoked], opts: pulumi.ResourceOptions
    ) -> RevocationList:
        """Return the list of what is not to be taken any more; in time at every `up`, and anew with each change.

        The provider is its clock, by a certificate that exists for that alone (docs/decisions/0006).
        """
        key = tls.PrivateKey(f"{name}-key", KEYS["Ed25519"](), opts=opts)
        contents = hashlib.sha256(repr(sorted((one.serial, one.on, one.reason) for one in revoked)).encode())
        clock = tls.SelfSignedCert(
            name,
            tls.SelfSignedCertArgs(
                private_key_pem=key.private_key_pem,
                allowed_uses=["digital_signature"],
                # Another list has another time, and with it a greater number.
                subject=tls.SelfSignedCertSubjectArgs(common_name=f"Clock of {contents.hexdigest()[:16]}"),
                validity_period_hours=REVOCATIONS_HOURS,
                early_renewal_hours=REVOCATIONS_HOURS // 2,
            ),
            opts=opts,
        )
        times = (clock.validity_start_time, clock.validity_end_time)
        made = pulumi.Output.all(self.certificate_pem, self._private_key_pem, *times)
        return RevocationList(
            name=name,
            pem=pulumi.Output.unsecret(made.apply(partial(_listed, revoked=tuple(revoked)))),
            expires=clock.validity_end_time,
            renew_at=clock.validity_end_time.apply(partial(moments.hours_before, hours=REVOCATIONS_HOURS // 2)),
        )


def _leaf(of: Sequence[str]) -> issue.Written:
    template, issuer, key = of
    try:
        return issue.leaf(template, issuer, key)
    except issue.IssueError as error:
        raise pulumi.RunError(f"no certificate can be signed: {error}") from None


def _listed(of: Sequence[str], revoked: Sequence[crl.Revoked]) -> str:
    issuer, key, starts, ends = of
    start = moments.read(starts)
    try:
        return crl.revocation_list(
            issuer,
            key,
            revoked,
            number=int(start.timestamp()),
            this_update=start - issue.BACKDATED,
            next_update=moments.read(ends),
        )
    except issue.IssueError as error:
        raise pulumi.RunError(f"no revocation list can be made: {error}") from None


def _root(of: Sequence[str], permitted: issue.Permitted) -> issue.Written:
    template, key = of
    try:
        return issue.root(template, key, permitted)
    except issue.IssueError as error:
        raise pulumi.RunError(f"no root can be made: {error}") from None


def _public(written: pulumi.Output[issue.Written]) -> pulumi.Output[issue.Written]:
    """Return what came out of a key, and is a certificate all the same."""
    return pulumi.Output.unsecret(written)


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
    """A root that signs leaves. Creates: its key, and the template of its certificate, both protected.

    Neither is ever renewed by itself: every client trusts this very certificate.
    """

    issuer: Issuer
    """What signs; nothing else ever gets the key."""

    def __init__(self, name: str, args: AuthorityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:authority:Authority", whole(name, args.generation), {}, opts)
        key = tls.PrivateKey(
            member(name, args.generation, "key"),
            KEYS[args.key](),
            opts=pulumi.ResourceOptions(
                parent=self, protect=args.protected, aliases=former_names(name, args.generation, "key")
            ),
        )
        template = tls.SelfSignedCert(
            member(name, args.generation, "certificate"),
            tls.SelfSignedCertArgs(
                private_key_pem=key.private_key_pem,
                is_ca_certificate=True,
                # Nothing implies them, and strict verifiers (RFC 5280 §4.2.1.3; Python 3.13) refuse a CA without.
                allowed_uses=["cert_signing", "crl_signing"],
                subject=tls.SelfSignedCertSubjectArgs(common_name=args.common_name, organization="Reflector"),
                validity_period_hours=args.years * YEAR_HOURS,
                set_subject_key_id=True,
                # By this it is told from those of releases that showed the template itself, see issue.root.
                set_authority_key_id=True,
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=args.protected,
                aliases=former_names(name, args.generation, "certificate"),
                ignore_changes=["setAuthorityKeyId"],
            ),
        )
        written = _public(
            pulumi.Output.all(template.cert_pem, key.private_key_pem).apply(partial(_root, permitted=args.permitted))
        )
        self.issuer = _Issuer(
            common_name=args.common_name,
            certificate_pem=written.certificate_pem,
            expires=written.expires,
            _private_key_pem=key.private_key_pem,
        )
        self.register_outputs({"certificate_pem": self.issuer.certificate_pem, "expires": self.issuer.expires})
