"""A server certificate."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_tls as tls

from components.base.handles import CertificateHandle, Issuer
from components.pki.authority import COMMON_NAME_LENGTH
from components.pki.generation import former_names, member, whole
from components.pki.moments import earliest


@dataclass(frozen=True, kw_only=True)
class CertificateArgs:
    """A server certificate."""

    issuer: Issuer
    dns_names: Sequence[str]
    ip_addresses: Sequence[str]
    validity_hours: int
    renewal_hours: int
    """Inside this time before its end any plain `up` issues a new one."""
    source: str = "private"
    """See `CertificateHandle`."""
    generation: int = 1
    """Which certificate of this name; a further one stands beside it under names of its own."""
    common_name: str = ""
    """For people: clients look at the alternative names alone (RFC 9525). Empty: the first of these."""

    def __post_init__(self) -> None:
        if not (self.dns_names or self.ip_addresses):
            raise ValueError("dns_names and ip_addresses must hold one name or more")
        if not 0 < self.renewal_hours < self.validity_hours:
            raise ValueError(f"renewal_hours must be less than validity_hours, {self.validity_hours}")
        if self.generation < 1:
            raise ValueError(f"generation must be 1 or more, not {self.generation}")


class Certificate(pulumi.ComponentResource):
    """A P-256 leaf for TLS servers, renewed on a plain `up` once it is near its end."""

    handle: CertificateHandle
    """The leaf with its key."""

    def __init__(self, name: str, args: CertificateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:certificate:Certificate", whole(name, args.generation), {}, opts)

        def options(part: str) -> pulumi.ResourceOptions:
            return pulumi.ResourceOptions(parent=self, aliases=former_names(name, args.generation, part))

        key = tls.PrivateKey(
            member(name, args.generation, "key"),
            tls.PrivateKeyArgs(algorithm="ECDSA", ecdsa_curve="P256"),
            opts=options("key"),
        )
        # A domain longer than X.509 allows only lives in the alternative names.
        common_name = (args.common_name or [*args.dns_names, *args.ip_addresses][0])[:COMMON_NAME_LENGTH]
        request = tls.CertRequest(
            member(name, args.generation, "request"),
            tls.CertRequestArgs(
                private_key_pem=key.private_key_pem,
                subject=tls.CertRequestSubjectArgs(common_name=common_name),
                dns_names=list(args.dns_names),
                ip_addresses=list(args.ip_addresses),
            ),
            opts=options("request"),
        )
        signed = args.issuer.sign(
            member(name, args.generation, "certificate"),
            request_pem=request.cert_request_pem,
            # An ECDSA key only signs: no key encipherment (RFC 5480 §3).
            uses=["digital_signature", "server_auth"],
            validity_hours=args.validity_hours,
            renewal_hours=args.renewal_hours,
            opts=options("certificate"),
        )
        self.handle = CertificateHandle(
            name=name,
            common_name=common_name,
            names=[
                *(f"DNS:{dns_name}" for dns_name in args.dns_names),
                *(f"IP:{address}" for address in args.ip_addresses),
            ],
            certificate_pem=signed.certificate_pem,
            private_key_pem=key.private_key_pem,
            expires=signed.expires,
            source=args.source,
            chain_expires=pulumi.Output.all(signed.expires, args.issuer.expires).apply(earliest),
            renew_at=signed.renew_at,
        )
        self.register_outputs({"certificate_pem": signed.certificate_pem, "expires": signed.expires})
