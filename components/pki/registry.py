"""The registry: every certificate that has a name, and who uses it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pulumi

from components.base.handles import AuthorityHandle, CertificateHandle
from components.pki.certificate import Certificate, CertificateArgs
from settings.pki import Pki
from settings.registry import External, Imported, Issued, Read, resource_name

if TYPE_CHECKING:
    from pki.server import ServerCertificate

KINDS_OF_USERS: Final = {
    "edge": "edge",
    "relay": "relays",
    "service": "services",
    "host": "hosts",
    "container-provider": "container_providers",
}
"""How the inventory calls users, by the first word of what they call themselves."""


@dataclass(kw_only=True)
class Registry:
    """Certificates by name. Who needs one gets it by `use` alone, so that all users are known."""

    _handles: Mapping[str, CertificateHandle] = field(default_factory=dict, repr=False)
    _seen: Mapping[str, "tuple[External, ServerCertificate | None]"] = field(default_factory=dict, repr=False)
    _users: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def use(self, name: str, *, by: str) -> CertificateHandle:
        """Return a certificate for whoever `by` says, such as `relay agents`: what it is, and its name.

        Raises: ValueError where there is none, or nobody is such a user. Settings have been refused for it before.
        """
        if name not in self._handles:
            raise ValueError(f"no certificate is called {name}: {', '.join(self._handles) or 'there is none'}")
        kind, _, user = by.partition(" ")
        if kind not in KINDS_OF_USERS or not user:
            raise ValueError(f"{by!r} is no user: {', '.join(f'{kind} <name>' for kind in KINDS_OF_USERS)}")
        users = self._users.setdefault(name, {}).setdefault(KINDS_OF_USERS[kind], [])
        if user not in users:
            users.append(user)
        return self._handles[name]

    @property
    def users(self) -> Mapping[str, Mapping[str, list[str]]]:
        """Who uses what, by name of the certificate, then by kind of user."""
        return self._users

    @property
    def handles(self) -> Mapping[str, CertificateHandle]:
        """All of them by name, for the inventory; nobody uses what he has from here."""
        return self._handles

    @property
    def seen(self) -> "Mapping[str, tuple[External, ServerCertificate | None]]":
        """What is only looked at, by name, with what its file has where there is one."""
        return self._seen


EMPTY: Final = Registry()


def registry(settings: Pki, authorities: Mapping[str, AuthorityHandle], read: Read) -> Registry:
    """Return the registry, with everything in it that is issued here, and what was `read` of the rest."""
    handles: dict[str, CertificateHandle] = {}
    seen: dict[str, tuple[External, ServerCertificate | None]] = {}
    for name, one in settings.every_certificate.items():
        match one:
            case Issued():
                handles[name] = _issued(name, one, settings, authorities[one.authority])
            case Imported():
                handles[name] = _imported(name, one, read.imported[name], read.client_authorities.get(name, ()))
            case External():
                seen[name] = (one, read.external.get(name))
    return Registry(_handles=handles, _seen=seen)


def _issued(name: str, one: Issued, settings: Pki, authority: AuthorityHandle) -> CertificateHandle:
    kinds: dict[str, list[str]] = {"DNS": [], "IP": [], "URI": []}
    for each in one.names:
        kind, _, value = each.partition(":")
        kinds[kind].append(value)
    validity, renewal = settings.hours_of(one)
    made = Certificate(
        resource_name(name),
        CertificateArgs(
            issuer=authority.issuer,
            dns_names=kinds["DNS"],
            ip_addresses=kinds["IP"],
            uris=kinds["URI"],
            # A client is known by its name here; whom a server calls itself is for people alone.
            common_name=name if one.kind == "client" or not kinds["DNS"] else "",
            validity_hours=validity,
            renewal_hours=renewal,
            source="issued",
            generation=one.issue,
            kind=one.kind,
            key=one.key_type,
            signed_by=(authority.name, authority.generation),
        ),
    )
    return made.handle


def _imported(
    name: str, one: Imported, found: "ServerCertificate", client_authorities: tuple[str, ...]
) -> CertificateHandle:
    return CertificateHandle(
        name=resource_name(name),
        common_name=found.common_name,
        names=one.names or [f"{'IP' if _is_address(each) else 'DNS'}:{each}" for each in found.names],
        certificate_pem=pulumi.Output.from_input(found.chain),
        private_key_pem=pulumi.Output.secret(found.key),
        expires=pulumi.Output.from_input(found.ends),
        source="imported",
        kind=one.kind,
        client_authorities=client_authorities,
    )


def _is_address(name: str) -> bool:
    from pki.names import address  # it is there already: somebody has read a certificate

    return address(name) is not None
