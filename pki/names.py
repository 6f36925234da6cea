"""Which names a certificate is for, as clients look at it (RFC 9525), and which an authority may sign (RFC 5280)."""

import ipaddress
from collections.abc import Iterator
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.x509.oid import NameOID

from pki import facts
from pki.pem import Certificate

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_BEHIND_A_WILDCARD: Final = 2  # labels at least, as browsers and OpenSSL want it


def address(name: str) -> Address | None:
    """Return the address a name is, with or without the brackets of a URL."""
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def matches(pattern: str, name: str) -> bool:
    """Return whether a DNS name of a certificate is for `name`, which is no address; both in ASCII, IDN as A-labels.

    A wildcard is a whole label, the leftmost, and stands for one label.
    """
    pattern, name = pattern.lower(), name.lower().removesuffix(".")
    if address(name) or address(pattern):
        return False
    if not pattern.startswith("*."):
        return pattern == name and "*" not in pattern
    first, _, rest = name.partition(".")
    behind = pattern.removeprefix("*.")
    return bool(first) and rest == behind and "*" not in behind and behind.count(".") + 1 >= _BEHIND_A_WILDCARD


def listed(certificate: Certificate) -> tuple[list[str], list[Address]]:
    """Return the DNS names and the addresses a certificate is for."""
    names = facts.extension(certificate, x509.SubjectAlternativeName)
    if names is None:
        return [], []
    addresses = [one for one in names.get_values_for_type(x509.IPAddress) if isinstance(one, Address)]
    return names.get_values_for_type(x509.DNSName), addresses


def _uris(certificate: Certificate) -> list[str]:
    names = facts.extension(certificate, x509.SubjectAlternativeName)
    return names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else []


def uncovered(certificate: Certificate, name: str) -> str:
    """Return why a certificate is not for `name`, or nothing; the common name is never looked at, as by no client."""
    if "://" in name:
        uris = _uris(certificate)
        said = f"not for {name}"
        return (
            "" if name in uris else f"{said}, but: {', '.join(map(_shown, uris))}" if uris else f"{said}: no URI in it"
        )
    dns, addresses = listed(certificate)
    wanted = address(name)
    if wanted in addresses if wanted else any(matches(one, name) for one in dns):
        return ""
    said = f"not for {name}"
    if wanted and any(address(one.strip()) == wanted for one in dns):
        return f"{said}: it stands there as a DNS name, and clients look for an IP address"
    if any(one != one.strip() and matches(one.strip(), name) for one in dns):
        return f"{said}: it stands there with a blank"
    if any(one.endswith(".") and matches(one[:-1], name) for one in dns):
        return f"{said}: it stands there with a dot at the end"
    lowered = name.lower()
    for one in dns:
        if "*" in one and _seems_to_match(one.lower(), lowered):
            return f"{said}: {_shown(one)} stands for one whole label, the leftmost, under a name of two labels or more"
    common = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if any(address(one) == wanted if wanted else matches(one, name) for one in common):
        return f"{said}: it stands only as the common name, which clients do not look at"
    every = [*dns, *map(str, addresses)]
    return f"{said}, but: {', '.join(map(_shown, every))}" if every else f"{said}: it has no alternative names"


def _seems_to_match(pattern: str, name: str) -> bool:
    first, _, last = pattern.partition("*")
    if last.startswith(".") and name == last[1:]:
        return True
    return len(name) >= len(first) + len(last) and name.startswith(first) and name.endswith(last)


def _shown(name: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in name)


def forbidden(authority: Certificate, name: str) -> str:
    """Return why the name constraints of `authority` forbid it to sign for `name`, or nothing.

    `name` is a DNS name, a wildcard or an address.
    """
    constraints = facts.extension(authority, x509.NameConstraints)
    return "" if constraints is None else outside(constraints, name)


def outside(constraints: x509.NameConstraints, name: str) -> str:
    """Return why such name constraints forbid an authority to sign for a DNS name, a wildcard or an address."""
    wanted = address(name)
    permitted = list(_of_kind(constraints.permitted_subtrees, wanted))
    if any(_holds(one, name, wanted, excluding=True) for one in _of_kind(constraints.excluded_subtrees, wanted)):
        return f"may not sign for {name}: its name constraints exclude that"
    if permitted and not any(_holds(one, name, wanted, excluding=False) for one in permitted):
        allowed = ", ".join(_shown(str(one.value)) for one in permitted)
        return f"may not sign for {name}: its name constraints permit {allowed}"
    return ""


def unjudged(authority: Certificate) -> bool:
    """Return whether name constraints are there of kinds other than DNS names and addresses."""
    constraints = facts.extension(authority, x509.NameConstraints)
    if constraints is None:
        return False
    every = [*(constraints.permitted_subtrees or ()), *(constraints.excluded_subtrees or ())]
    return any(not isinstance(one, x509.DNSName | x509.IPAddress) for one in every)


def _of_kind(subtrees: list[x509.GeneralName] | None, wanted: Address | None) -> Iterator[x509.GeneralName]:
    for one in subtrees or ():
        if isinstance(one, x509.IPAddress if wanted else x509.DNSName):
            yield one


def _holds(subtree: x509.GeneralName, name: str, wanted: Address | None, *, excluding: bool) -> bool:
    """Return whether a name is in a subtree; where it excludes, also whether a wildcard may stand for one that is."""
    if wanted:
        network = subtree.value
        return isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network) and wanted in network
    base, lowered = str(subtree.value).lower(), name.lower().removesuffix(".")
    if excluding and lowered.startswith("*.") and base.removeprefix(".").partition(".")[2] == lowered[2:]:
        return True
    # With a dot before it, it is for names below only.
    return lowered.endswith(base) if base.startswith(".") else not base or f".{lowered}".endswith(f".{base}")
