"""The page that brings a private authority's root to people's devices, and the files it offers.

Two pages are made. The one served by HTTPS has everything; the one served by plain HTTP, to whom the former is still
behind a warning, has only the certificates and their fingerprints: whoever sits on the way could change it, so nothing
stands there that is to be copied and run.
"""

import base64
import hashlib
import html
import json
import re
import ssl
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from shlex import quote
from string import Template
from typing import Final

PATH: Final = "/trust"
PAGE: Final = "index.html"
FIRST_CONTACT_PAGE: Final = "first-contact.html"
"""What stands at PATH over plain HTTP."""
ALL_PEM: Final = "ca.pem"
"""Every root, as the stack's output `ca_certificate`."""
PROFILE: Final = "ca.mobileconfig"
FINGERPRINTS: Final = "fingerprint.txt"
MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".crt": "application/x-x509-ca-cert",
    ".html": "text/html; charset=utf-8",
    ".mobileconfig": "application/x-apple-aspen-config",
    ".pem": "application/x-pem-file",
    ".txt": "text/plain; charset=utf-8",
}
"""By the end of a file's name."""

_FOLDER: Final = Path(__file__).parent
_STYLE: Final = (_FOLDER / "trust_page.css").read_text(encoding="utf-8").strip()
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing but its own style, and no script at all."""

_BYTES_IN_A_GROUP: Final = 8
_STEM_LENGTH: Final = 48  # characters of a file's name, before its end


@dataclass(frozen=True, kw_only=True)
class Root:
    """A root certificate, and what of it people are told."""

    der: bytes
    common_name: str
    """By which people recognise it in their stores."""
    subject: str
    """The whole name, one line."""
    not_before: datetime
    not_after: datetime

    @cached_property
    def pem(self) -> str:
        """PEM, with a newline at its end."""
        return ssl.DER_cert_to_PEM_cert(self.der)

    @property
    def sha256(self) -> str:
        """Fingerprint: hexadecimal, upper case, with colons."""
        return _colons(hashlib.sha256(self.der).digest())

    @property
    def sha1(self) -> str:
        """The older fingerprint, which some dialogs show alone."""
        return _colons(hashlib.sha1(self.der, usedforsecurity=False).digest())


def _colons(digest: bytes) -> str:
    return digest.hex(":").upper()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the page is, and what it is about."""

    domain: str
    """Canonical name of the application."""
    url: str
    """Of the application by HTTPS, as people see it, without a trailing slash."""
    plain_url: str
    """The same by plain HTTP."""
    other_names: Sequence[str] = ()
    """Further names the browser talks to by itself, such as the object store's."""

    @property
    def page(self) -> str:
        """URL of the page."""
        return f"{self.url}{PATH}"

    @property
    def first_contact(self) -> str:
        """URL of the page by plain HTTP; the files are below both."""
        return f"{self.plain_url}{PATH}"


@dataclass(frozen=True, kw_only=True)
class _Offer:
    """A root, and the files it is had in."""

    root: Root
    pem: str
    """As it is called here."""
    der: str
    stem: str
    """What its files are called on people's devices, before the end."""


def files(roots: Sequence[Root], place: Place) -> dict[str, bytes]:
    """Return what is served below PATH, by file name; see MEDIA_TYPES for what each is.

    Raises: ValueError without a root.
    """
    if not roots:
        raise ValueError("a page about trust takes one root or more")
    offers = _offers(roots)
    pages = {
        PAGE: _page(offers, place, "trust_page_steps.html", _steps(offers, place)),
        FIRST_CONTACT_PAGE: _page(offers, place, "trust_page_first_contact.html", _words(offers, place)),
    }
    return {
        **{name: text.encode() for name, text in pages.items()},
        **{name: data for offer in offers for name, data in _single(offer)},
        ALL_PEM: "".join(root.pem for root in roots).encode(),
        PROFILE: _profile(offers, place),
        FINGERPRINTS: _fingerprints(roots).encode(),
    }


def _offers(roots: Sequence[Root]) -> list[_Offer]:
    """Return each root with its names; the first is always ca.crt, and alone it is all of ca.pem."""
    plain = [_stem(root.common_name) for root in roots]
    return [
        _Offer(
            root=root,
            pem=ALL_PEM if len(roots) == 1 else f"ca-{number}.pem",
            der="ca.crt" if number == 1 else f"ca-{number}.crt",
            stem=stem if plain.count(stem) == 1 else f"{stem}-{root.sha256.replace(':', '')[:8].lower()}",
        )
        for number, (root, stem) in enumerate(zip(roots, plain, strict=True), start=1)
    ]


def _stem(name: str) -> str:
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:_STEM_LENGTH].strip("-") or "reflector-root"


def _single(offer: _Offer) -> Iterator[tuple[str, bytes]]:
    yield offer.pem, offer.root.pem.encode()
    yield offer.der, offer.root.der


def _fingerprints(roots: Sequence[Root]) -> str:
    return "\n".join(
        f"{root.subject}\nvalid until {_day(root.not_after)}\nSHA-256 {root.sha256}\nSHA-1   {root.sha1}\n"
        for root in roots
    )


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


def _profile(offers: Sequence[_Offer], place: Place) -> bytes:
    """Return an Apple configuration profile with every root.

    The same roots make the same profile, and one with others takes the place of what is installed of this domain.
    """
    import plistlib  # only where there is such a page

    identifier = f"org.reflector.trust.{place.domain}"
    payloads = [
        {
            "PayloadType": "com.apple.security.root",
            "PayloadVersion": 1,
            "PayloadIdentifier": f"{identifier}.{offer.stem}",
            "PayloadUUID": _uuid("root", offer.root.sha256),
            "PayloadDisplayName": offer.root.common_name,
            "PayloadDescription": f"SHA-256 {offer.root.sha256}",
            "PayloadCertificateFileName": f"{offer.stem}.crt",
            "PayloadContent": offer.root.der,
        }
        for offer in offers
    ]
    profile = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": identifier,
        "PayloadUUID": _uuid("profile", place.domain, *(offer.root.sha256 for offer in offers)),
        "PayloadDisplayName": f"Reflector at {place.domain}",
        "PayloadDescription": f"Trusts the private certificate authority of Reflector at {place.domain}.",
        "PayloadOrganization": place.domain,
        "PayloadRemovalDisallowed": False,
        "PayloadContent": payloads,
    }
    return plistlib.dumps(profile)


def _uuid(*parts: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, " ".join(parts))).upper()


# --- Pages ------------------------------------------------------------------------------------------------------------


def _template(name: str) -> Template:
    return Template((_FOLDER / name).read_text(encoding="utf-8"))


def _page(offers: Sequence[_Offer], place: Place, rest: str, words: Mapping[str, str]) -> str:
    card = _template("trust_page_root.html")
    return _template("trust_page.html").substitute(
        _words(offers, place),
        style=_STYLE,
        cards="".join(card.substitute(_facts(offer)) for offer in offers),
        rest=_template(rest).substitute(words),
    )


def _facts(offer: _Offer) -> dict[str, str]:
    """Return what the card of a root says."""
    root = offer.root
    return {
        "common_name": html.escape(root.common_name),
        "subject": html.escape(root.subject),
        "from_day": _day(root.not_before),
        "until_day": _day(root.not_after),
        "from_time": f"{root.not_before:%Y-%m-%d}",
        "until_time": f"{root.not_after:%Y-%m-%d}",
        "sha256": _grouped(root.sha256),
        "sha1": _grouped(root.sha1),
        "stem": offer.stem,
        "pem": f"{PATH}/{offer.pem}",
        "der": f"{PATH}/{offer.der}",
        "profile": f"{PATH}/{PROFILE}",
    }


def _grouped(fingerprint: str) -> str:
    """Return a fingerprint that breaks between groups of bytes only, and is copied in one piece."""
    pairs = fingerprint.split(":")
    groups = [":".join(pairs[i : i + _BYTES_IN_A_GROUP]) for i in range(0, len(pairs), _BYTES_IN_A_GROUP)]
    return "".join(f"<span>{group}{':' if group is not groups[-1] else ''}</span><wbr>" for group in groups)


def _words(offers: Sequence[_Offer], place: Place) -> dict[str, str]:
    """Return what both pages say of the place."""
    names = [place.domain, *place.other_names]
    return {
        "domain": html.escape(place.domain),
        "url": html.escape(place.url),
        "page": html.escape(place.page),
        "plain_page": html.escape(place.first_contact),
        "path": PATH,
        "these_roots": "the certificate" if len(offers) == 1 else f"all {len(offers)} certificates",
        "authority": "a private certificate authority" if len(offers) == 1 else "private certificate authorities",
        "second_names": _listed(place.other_names) or "its other names",
        "every_name": _listed(names),
    }


def _listed(names: Sequence[str]) -> str:
    marked = [f"<b>{html.escape(name)}</b>" for name in names]
    return " and ".join(filter(None, [", ".join(marked[:-1]), *marked[-1:]]))


def _qr(text: str) -> str:
    """Return an SVG element with a QR code."""
    import segno  # as above

    return segno.make_qr(text, error="m").svg_inline(
        border=2, dark="#14171a", light="#fff", omitsize=True, svgclass="qr", lineclass=None, title="QR code of " + text
    )


# --- Steps ------------------------------------------------------------------------------------------------------------


def _steps(offers: Sequence[_Offer], place: Place) -> dict[str, str]:
    """Return what the steps for each system are filled in with; every text is what somebody runs as it stands."""
    one = len(offers) == 1
    bundle = f"{offers[0].stem}.pem" if one else f"{_stem(place.domain)}-roots.pem"
    fetched = [
        line
        for offer in offers
        for line in (
            f"curl -fsS -o {offer.stem}.pem {_at(place, offer.pem)}",
            f"openssl x509 -in {offer.stem}.pem -noout -fingerprint -sha256 | grep -F {offer.root.sha256}",
        )
    ]
    together = [] if one else [f"cat {' '.join(f'{offer.stem}.pem' for offer in offers)} > {bundle}"]
    check = f"curl -fsS {quote(f'{place.page}/{FINGERPRINTS}')}"
    blocks = {
        "fetch": fetched,
        "fetch_bundle": [*fetched, *together],
        "check": [check],
        "macos_fetch": [
            line
            for offer in offers
            for line in (
                f"curl -fsS -o {offer.stem}.crt {_at(place, offer.der)}",
                f"echo '{_bare(offer)}  {offer.stem}.crt' | shasum -a 256 -c",
            )
        ],
        "macos": [
            f"sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {offer.stem}.crt"
            for offer in offers
        ],
        "windows_fetch": [
            line
            for offer in offers
            for line in (
                f"curl.exe -fsS -o {offer.stem}.crt {_at(place, offer.der)}",
                f"(Get-FileHash {offer.stem}.crt).Hash -eq '{_bare(offer).upper()}'",
            )
        ],
        "windows": [
            f"Import-Certificate -FilePath {offer.stem}.crt -CertStoreLocation Cert:\\LocalMachine\\Root"
            for offer in offers
        ],
        "debian": [
            *(
                f"sudo install -m 644 {offer.stem}.pem /usr/local/share/ca-certificates/{offer.stem}.crt"
                for offer in offers
            ),
            "sudo update-ca-certificates",
        ],
        "fedora": [
            *(f"sudo install -m 644 {offer.stem}.pem /etc/pki/ca-trust/source/anchors/" for offer in offers),
            "sudo update-ca-trust",
        ],
        "firefox_fleet": [
            "sudo mkdir -p /etc/firefox/policies",
            f"sudo install -m 644 {' '.join(f'{offer.stem}.pem' for offer in offers)} /etc/firefox/policies/",
        ],
        "firefox_policies": [_firefox_policies(offers)],
        "chromium_package": ['old="$HOME/.pki/nssdb" new="$HOME/.local/share/pki/nssdb"'],
        "chromium_snap": [
            'old="$HOME/snap/chromium/current/.pki/nssdb" new="$HOME/snap/chromium/current/.local/share/pki/nssdb"'
        ],
        "chromium_flatpak": [
            'app="$HOME/.var/app/org.chromium.Chromium"',
            'old="$app/.pki/nssdb" new="$app/data/pki/nssdb"',
        ],
        "chromium": _chromium(offers),
        "java": [
            "sudo keytool -importcert -noprompt -cacerts -storepass changeit"
            f" -alias {offer.stem} -file {offer.stem}.pem"
            for offer in offers
        ],
        "java_check": [f"keytool -list -cacerts -storepass changeit -alias {offer.stem}" for offer in offers],
        "node": [f'export NODE_EXTRA_CA_CERTS="$PWD/{bundle}"'],
        "merge": [
            # A file without a newline at its end would glue two certificates together.
            f'awk 1 "$(python3 -m certifi)" {bundle} > public-and-{bundle}',
        ],
        "python": [
            f'export SSL_CERT_FILE="$PWD/public-and-{bundle}" REQUESTS_CA_BUNDLE="$PWD/public-and-{bundle}"',
        ],
        "docker_daemon": [
            f"sudo install -D -m 644 {bundle} /etc/docker/certs.d/{quote(place.url.partition('://')[2])}/ca.crt"
        ],
        "docker_image": [
            *(f"COPY {offer.stem}.pem /usr/local/share/ca-certificates/{offer.stem}.crt" for offer in offers),
            "RUN apt-get update && apt-get install -y ca-certificates && update-ca-certificates",
        ],
        "docker_run": [f'docker run -v "$PWD/{bundle}:/etc/{bundle}:ro" -e NODE_EXTRA_CA_CERTS=/etc/{bundle} <image>'],
    }
    return {
        **_words(offers, place),
        **{name: _block(name, lines) for name, lines in blocks.items()},
        "der_files": _codes(f"{offer.stem}.crt" for offer in offers),
        "sha256_list": ", ".join(f"<code>{_grouped(offer.root.sha256)}</code>" for offer in offers),
        "common_names": _codes(offer.root.common_name for offer in offers),
        "qr": _qr(place.first_contact),
        "profile": f"{PATH}/{PROFILE}",
        "profile_url": html.escape(f"{place.first_contact}/{PROFILE}"),
        "der_urls": _codes(f"{place.first_contact}/{offer.der}" for offer in offers),
    }


def _at(place: Place, name: str) -> str:
    return quote(f"{place.first_contact}/{name}")


def _bare(offer: _Offer) -> str:
    return offer.root.sha256.replace(":", "").lower()


def _chromium(offers: Sequence[_Offer]) -> list[str]:
    """Return what puts roots into every store that is there.

    Where there is none the older one is made: each version of Chromium reads it, and the newer one only if that is
    not there.
    """
    names = [(quote(offer.root.common_name), offer.stem) for offer in offers]
    return [
        '[ -d "$old" ] || [ -d "$new" ] || mkdir -p "$old"',
        'for store in "$old" "$new"; do',
        '  [ -d "$store" ] || continue',
        '  [ -e "$store/cert9.db" ] || certutil -N -d "sql:$store" --empty-password',
        *(f'  certutil -A -d "sql:$store" -t C,, -n {name} -i {stem}.pem' for name, stem in names),
        '  certutil -L -d "sql:$store"',
        "done",
    ]


def _firefox_policies(offers: Sequence[_Offer]) -> str:
    paths = [f"/etc/firefox/policies/{offer.stem}.pem" for offer in offers]
    return json.dumps({"policies": {"Certificates": {"Install": paths}}}, indent=2)


def _block(name: str, lines: Sequence[str]) -> str:
    text = html.escape("\n".join(lines), quote=False)
    return f'<pre><code data-step="{name.replace("_", "-")}">{text}</code></pre>'


def _codes(texts: Iterable[str]) -> str:
    return ", ".join(f"<code>{html.escape(text)}</code>" for text in texts)
