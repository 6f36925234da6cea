"""The private authority, the identity of the edge, and who is trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, assert_never

import pulumi

from components.base.handles import (
    AuthorityHandle,
    CertificateHandle,
    EdgeCertificate,
    Issuer,
    OrderedCertificate,
    RevocationList,
    TrustBundle,
)
from components.base.secrecy import revealed
from components.pki.authorities import STACK, authorities, deployed
from components.pki.authority import brought_issuer
from components.pki.certificate import Certificate, CertificateArgs
from components.pki.registry import EMPTY, Registry, registry
from settings import certificate as modes
from settings.identity import Named
from settings.registry import External, resource_name

if TYPE_CHECKING:
    from pki.details import Details, ListDetails
    from pki.server import ServerCertificate
    from pki.signer import Signer


@dataclass(frozen=True, kw_only=True)
class EdgeIdentity:
    """What the edge shows, and whom a client has to trust for it."""

    certificate: EdgeCertificate
    roots: Sequence[pulumi.Input[str]] = ()
    """PEM of each root a client has to be told of; none where it is public, or nobody here knows it."""
    issuers: Sequence[pulumi.Input[str]] = ()
    """Those of them that sign here, so that our own processes have to trust them too."""
    authorities: Mapping[str, Issuer] = field(default_factory=dict)
    """Who signs here besides the stack's own authority, by the names the inventory has for them."""
    registered: bool = False
    """Whether it is one of the registry."""

    @property
    def certificates(self) -> Sequence[EdgeCertificate]:
        """What the inventory has of it besides the registry."""
        return [] if self.registered else [self.certificate]

    relied_on: Sequence[str] = ()
    """What of the inventory those rely on who trust the roots, by its names there."""


def edge_identity(
    name: str,
    settings: modes.Private | modes.Own | modes.Acme | modes.SignedBy | Named,
    authorities: Mapping[str, AuthorityHandle],
    registry: Registry,
    *,
    own: "ServerCertificate | None",
    signer: "Signer | None",
    hours: tuple[int, int],
    common_name: str,
    dns_names: Sequence[str],
    ip_addresses: Sequence[str],
    trusted: Sequence[str],
) -> EdgeIdentity:
    """Return the identity of the edge for these names, which people call by `common_name`.

    `own` and `signer` are what `settings` bring along. What is issued here lives for the first of `hours`, and is
    renewed in the second before its end. `trusted` are PEMs of further authorities.
    """
    authority = authorities[STACK]
    issued = CertificateArgs(
        issuer=authority.issuer,
        common_name=common_name,
        dns_names=dns_names,
        ip_addresses=ip_addresses,
        validity_hours=hours[0],
        renewal_hours=hours[1],
        signed_by=(authority.name, authority.generation),
    )
    if isinstance(settings, modes.Private | modes.SignedBy):
        issued = replace(issued, generation=settings.issue)
    names = (*(f"DNS:{dns_name}" for dns_name in dns_names), *(f"IP:{address}" for address in ip_addresses))
    match settings:
        case modes.Private():
            trusted_roots = authority.trusted.certificates
            return EdgeIdentity(
                certificate=Certificate(name, issued).handle,
                roots=trusted_roots,
                issuers=trusted_roots,
                relied_on=[*authority.issuers],
            )
        case modes.SignedBy():
            assert signer is not None, "what is wrong with it has ended the run before"
            brought = brought_issuer(signer)
            issued = replace(issued, issuer=brought, source="signed-by", signed_by=("", ""))
            # Where the root was not brought along, the one who signs is all there is to be trusted.
            anchor = signer.root or signer.certificate
            return EdgeIdentity(
                certificate=Certificate(name, issued).handle,
                roots=[anchor],
                issuers=[anchor],
                authorities={f"{name}-authority": brought},
                relied_on=[f"{name}-authority"],
            )
        case modes.Own():
            assert own is not None, "what is wrong with it has ended the run before"
            handle = CertificateHandle(
                name=name,
                common_name=own.common_name,
                names=names,
                certificate_pem=pulumi.Output.from_input(own.chain),
                private_key_pem=pulumi.Output.secret(own.key),
                expires=pulumi.Output.from_input(own.ends),
                source="own",
            )
            return EdgeIdentity(certificate=handle, roots=_roots_of(own))
        case Named():
            found = registry.use(settings.name, by=f"edge {common_name}")
            # The edge keeps it as the one it had before: a file of another name takes another container.
            handle = replace(found, name=name)
            if own is not None:
                return EdgeIdentity(certificate=handle, roots=_roots_of(own), registered=True)
            signing = authorities[handle.authority]
            return EdgeIdentity(
                certificate=handle,
                roots=signing.trusted.certificates,
                issuers=signing.trusted.certificates,
                relied_on=[*signing.issuers],
                registered=True,
            )
        case modes.Acme():
            key = revealed(settings.account_key)
            return EdgeIdentity(
                certificate=OrderedCertificate(
                    name=name,
                    names=names,
                    directory=settings.url,
                    email=settings.email,
                    account_key_id=settings.account_key_id,
                    account_key=pulumi.Output.secret(key) if key is not None else None,
                    trusted=tuple(trusted),
                )
            )
        case _:
            assert_never(settings)


def _roots_of(brought: "ServerCertificate") -> list[str]:
    """Return the root of what was brought along, PEM, where clients do not trust it by themselves."""
    return [brought.root] if brought.root and not modes.is_public(brought.root) else []


def revocation_lists(authorities: Mapping[str, AuthorityHandle]) -> Mapping[str, pulumi.Output[str]]:
    """Return the revocation lists (PEM) by the names of the authorities that have any: those of clients."""
    return {name: one.crls for name, one in authorities.items() if one.purpose == "client"}


def trust(*certificates: pulumi.Input[str]) -> TrustBundle:
    """Return whom a process has to trust besides the public authorities: each as PEM."""
    return TrustBundle(certificates=tuple(dict.fromkeys(certificates)))


def inventory(
    authorities: Mapping[str, AuthorityHandle],
    brought: Mapping[str, Issuer],
    certificates: Sequence[EdgeCertificate],
    named: Registry = EMPTY,
    *,
    hosts: Mapping[str, Sequence[str]] | None = None,
) -> list[Mapping[str, pulumi.Input[object]]]:
    """Return what there is of certificates and when each ends, without any key.

    Of a certificate `expires` is its own end and `chain_expires` the earliest of it and all above it: from then on
    clients refuse it. `renew_at` is there where this program issues a new one.
    What is ordered by the edge has no end here: the last one only the edge knows. `brought` are authorities that sign
    besides the stack's own, by their names here. `certificates` are those of the edge; those of the registry that is
    `named` have `certificate`, which is what they are called there, and all have their `users` by kind. What is of the
    kind `crl` is a revocation list, and ends with its next update.
    `hosts` are those that trust an authority themselves, by its name here.
    """
    trusted_by = {name: {"users": {"hosts": [*own]}} for name, own in (hosts or {}).items() if own}
    roots: list[Mapping[str, pulumi.Input[object]]] = [
        {
            **_root_entry(name, issuer),
            "authority": authority.name,
            "generation": authority.generations[name],
            "purpose": authority.purpose,
            **trusted_by.get(name, {}),
        }
        for authority in authorities.values()
        for name, issuer in authority.issuers.items()
    ]
    lists = [
        _list_entry(authority.name, generation, one)
        for authority in authorities.values()
        for generation, one in authority.lists.items()
    ]
    return [
        *roots,
        *lists,
        *({**_root_entry(name, issuer), **trusted_by.get(name, {})} for name, issuer in brought.items()),
        *({**_leaf_entry(one), "users": {"edge": [one.names[0].removeprefix("DNS:")]}} for one in certificates),
        *(
            {**_leaf_entry(handle), "certificate": name, "users": dict(named.users.get(name, {}))}
            for name, handle in named.handles.items()
        ),
        *(_seen_entry(name, settings, found) for name, (settings, found) in named.seen.items()),
    ]


def _root_entry(name: str, issuer: Issuer) -> Mapping[str, pulumi.Input[object]]:
    return {
        "name": name,
        "kind": issuer.kind,
        "subject": issuer.common_name,
        "expires": issuer.expires,
        "details": issuer.certificate_pem.apply(_details),
    }


def _list_entry(authority: str, generation: str, revocations: RevocationList) -> Mapping[str, pulumi.Input[object]]:
    return {
        "name": revocations.name,
        "kind": "crl",
        "authority": authority,
        "generation": generation,
        "expires": revocations.expires,
        "renew_at": revocations.renew_at,
        "details": revocations.pem.apply(_list_details),
    }


def _leaf_entry(certificate: EdgeCertificate) -> Mapping[str, pulumi.Input[object]]:
    entry: dict[str, pulumi.Input[object]] = {
        "name": certificate.name,
        "kind": "server",
        "source": certificate.source,
        "names": list(certificate.names),
        **_end(certificate),
    }
    if isinstance(certificate, CertificateHandle):
        entry |= {"kind": certificate.kind, "details": certificate.certificate_pem.apply(_details)}
        if certificate.authority:
            entry |= {"authority": certificate.authority, "generation": certificate.generation}
    return entry


def _seen_entry(name: str, settings: External, found: "ServerCertificate | None") -> Mapping[str, pulumi.Input[object]]:
    """Return the entry of what is elsewhere: of an endpoint only where it is, as nobody has asked there."""
    entry: dict[str, pulumi.Input[object]] = {
        "name": resource_name(name),
        "certificate": name,
        "kind": settings.kind,
        "source": "external",
        "names": list(settings.names),
        "users": {},
    }
    if settings.endpoint is not None:
        entry["endpoint"] = settings.endpoint
    if found is not None:
        entry |= {"subject": found.common_name, "expires": found.ends, "details": {**_details(found.chain)}}
    return entry


def _details(text: str) -> "Details":
    from pki.details import details  # a tenth of a second, once it is known what there is to tell

    return details(text)


def _list_details(text: str) -> "ListDetails":
    from pki.details import list_details  # as above

    return list_details(text)


def _end(certificate: EdgeCertificate) -> Mapping[str, pulumi.Input[object]]:
    if isinstance(certificate, CertificateHandle):
        return {
            "subject": certificate.common_name,
            "expires": certificate.expires,
            "chain_expires": certificate.expires if certificate.chain_expires is None else certificate.chain_expires,
            **({} if certificate.renew_at is None else {"renew_at": certificate.renew_at}),
        }
    return {"directory": certificate.directory}


__all__ = [
    "STACK",
    "EdgeIdentity",
    "authorities",
    "deployed",
    "edge_identity",
    "inventory",
    "registry",
    "revocation_lists",
    "trust",
]
