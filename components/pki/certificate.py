"""A certificate of a server, a client or a peer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_tls as tls

from components.base.handles import CertificateHandle, Issuer
from components.pki.authority import COMMON_NAME_LENGTH, KEYS
from components.pki.generation import former_names
from components.pki.moments import earliest
from pki.naming import member, whole

USES: Final[Mapping[str, Sequence[str]]] = {
    "server": ["server_auth"],
    # A server's certificate is none for a client: whoever has one could go in wherever its authority is trusted.
    "client": ["client_auth"],
    "peer": ["server_auth", "client_auth"],
}


@dataclass(frozen=True, kw_only=True)
class CertificateArgs:
    """A leaf."""

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
    kind: str = "server"
    """server, client, or peer, which is both."""
    key: str = "P256"
    """Kind of its key: one of `KEYS`."""
    uris: Sequence[str] = ()
    common_name: str = ""
    """For people: clients look at the alternative names alone (RFC 9525). Empty: the first of these."""
    signed_by: tuple[str, str] = ("", "")
    """Which of `pki.authorities` signs, and which generation of it, as the inventory has them."""

    def __post_init__(self) -> None:
        if not (self.dns_names or self.ip_addresses or (self.kind == "client" and self.common_name)):
            raise ValueError("dns_names and ip_addresses must hold one name or more")
        if self.kind not in USES or self.key not in KEYS:
            raise ValueError(f"no such kind of certificate or key: {self.kind}, {self.key}")
        if not 0 < self.renewal_hours < self.validity_hours:
            raise ValueError(f"renewal_hours must be less than validity_hours, {self.validity_hours}")
        if self.generation < 1:
            raise ValueError(f"generation must be 1 or more, not {self.generation}")


class Certificate(pulumi.ComponentResource):
    """A leaf with a key of its own, renewed on a plain `up` once it is near its end."""

    handle: CertificateHandle
    """The leaf with its key."""

    def __init__(self, name: str, args: CertificateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:certificate:Certificate", whole(name, args.generation), {}, opts)

        def options(part: str) -> pulumi.ResourceOptions:
            return pulumi.ResourceOptions(parent=self, aliases=former_names(name, args.generation, part))

        key = tls.PrivateKey(
            member(name, args.generation, "key"),
            KEYS[args.key](),
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
                # None where there are none: an empty list would be a change to those that are there.
                uris=list(args.uris) or None,
            ),
            opts=options("request"),
        )
        signed = args.issuer.sign(
            member(name, args.generation, "certificate"),
            request_pem=request.cert_request_pem,
            # Only an RSA key is encrypted to, in TLS 1.2 without forward secrecy (RFC 5480 §3).
            uses=["digital_signature", *(["key_encipherment"] if args.key.startswith("RSA") else []), *USES[args.kind]],
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
                *(f"URI:{uri}" for uri in args.uris),
            ],
            certificate_pem=signed.certificate_pem,
            private_key_pem=key.private_key_pem,
            expires=signed.expires,
            source=args.source,
            kind=args.kind,
            authority=args.signed_by[0],
            generation=args.signed_by[1],
            chain_expires=pulumi.Output.all(signed.expires, args.issuer.expires).apply(earliest),
            renew_at=signed.renew_at,
        )
        self.register_outputs({"certificate_pem": signed.certificate_pem, "expires": signed.expires})
