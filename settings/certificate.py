"""The identity of the edge: which certificate it shows, and where that comes from."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from settings.base import REMOVE, Conflict, Instant, Model
from settings.material import choices, is_sealed, materials, password, wrong
from settings.values import (
    SHORTEST_VALIDITY_HOURS,
    AcmeDirectory,
    Brought,
    Email,
    FilePath,
    Issue,
    Password,
    Token,
    Word,
)

if TYPE_CHECKING:
    from pki.server import ServerCertificate
    from pki.signer import Signer
    from pki.trust import Authorities

LETS_ENCRYPT: Final = "https://acme-v02.api.letsencrypt.org/directory"
LETS_ENCRYPT_STAGING: Final = "https://acme-staging-v02.api.letsencrypt.org/directory"
_NOT_PUBLIC: Final = frozenset(
    # RFC 2606, 6761, 6762, 7686, 8375, 9476; ICANN's resolution of 2024 on .internal; and what networks at home use.
    {"localhost", "local", "internal", "test", "example", "invalid", "onion", "alt", "arpa", "lan", "home", "corp",
     "intranet", "private", "localdomain"}
)  # fmt: skip
"""Last labels nobody outside can own a name below."""
ISSUE: Final = (
    "Number of the key and certificate under this name: a greater one makes both anew, and takes the old ones away "
    "once everything that uses them has the new ones"
)
SERVER: Final = "server"
_OWN: Final = {
    SERVER: "a certificate for a server with its key, in its time, for every name that is served",
    "client": "a certificate for a client with its key, in its time, for every name it is said to have",
    "peer": "a certificate for servers and clients with its key, in its time, for every name it is said to have",
}
_AUTHORITY: Final = "the certificate of an authority that may sign for servers, with its key"


class Private(Model):
    """Issued by the stack's own authority."""

    mode: Literal["private"] = "private"
    issue: Issue = Field(default=1, description=ISSUE)


class BroughtCertificate(Model):
    """A certificate with its key that is there already, and what may come with it."""

    certificate_file: FilePath | None = Field(
        default=None,
        description="File with the certificate, and what else of its chain: PEM, DER, PKCS #7, or PKCS #12 with its "
        "key in it",
    )
    certificate: Brought | None = Field(
        default=None, description="The same, encrypted in the stack file: PEM, or anything else in base64"
    )
    key_file: FilePath | None = Field(default=None, description="File with its private key: PEM, DER or PKCS #12")
    key: Brought | None = Field(default=None, description="The same, encrypted in the stack file")
    chain_file: FilePath | None = Field(
        default=None, description="File with the authorities between it and the root, where the certificate's has none"
    )
    chain: Brought | None = Field(default=None, description="The same, encrypted in the stack file")
    password: Password | None = Field(default=None, description="Password of the files that have one")

    @property
    def used_as(self) -> str:
        """What it has to be for: server, client, or peer, which is both."""
        return SERVER

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is set twice, or not at all."""
        yield from choices(self, "certificate", required="a certificate")
        yield from choices(self, "key")
        yield from choices(self, "chain")

    def read(self, served: Sequence[str], now: Instant) -> "ServerCertificate | list[tuple[str, str]] | None":
        """Return what is served of it at `now`, or what is wrong with it; None where it is not decrypted yet.

        What is wrong: `certificate`, `key` or `chain`, and why.
        """
        from pki.server import server_certificate  # a tenth of a second, for those who bring one

        found, problems = materials(self, ("certificate", "key", "chain"))
        if problems:
            return problems
        if found["certificate"] is None or is_sealed(self.key, self.chain, self.password):
            return None
        return server_certificate(
            found["certificate"],
            found["key"],
            found["chain"],
            password=password(self),
            served=served,
            now=now,
            used_as=self.used_as,
        )

    def wrong(self, problems: Sequence[tuple[str, str]]) -> Iterator[Conflict]:
        """Yield what `read` has found wrong."""
        yield from wrong(self, problems, _OWN[self.used_as])


class Own(BroughtCertificate):
    """A certificate that is there already."""

    mode: Literal["own"] = "own"


class Acme(Model):
    """Ordered and renewed by the edge itself, from Let's Encrypt or any authority that speaks ACME."""

    mode: Literal["acme"] = "acme"
    email: Email | None = Field(default=None, description="Address the authority may write to; some want one")
    directory: AcmeDirectory | None = Field(
        default=None,
        description="URL of the authority's ACME directory; by default Let's Encrypt. One that no public root stands "
        "above has to be in trusted_authorities",
    )
    staging: bool = Field(
        default=False, description="Whether Let's Encrypt's staging is asked, whose certificates nobody trusts"
    )
    account_key_id: Word | None = Field(
        default=None, description="Key id of an external account, where the authority wants one"
    )
    account_key: Token | None = Field(default=None, description="Its key (base64url), where the authority wants one")

    @property
    def url(self) -> str:
        """The directory that is asked."""
        return self.directory or (LETS_ENCRYPT_STAGING if self.staging else LETS_ENCRYPT)

    @property
    def is_public(self) -> bool:
        """Whether it is Let's Encrypt, who signs for public names alone."""
        return self.url in (LETS_ENCRYPT, LETS_ENCRYPT_STAGING)

    def conflicts(self) -> Iterator[Conflict]:
        """Yield half an account, and two directories."""
        if self.staging and self.directory is not None:
            yield Conflict(
                path=("staging",),
                others=(("directory",),),
                given="true beside certificate.directory",
                allowed="only without certificate.directory: it is Let's Encrypt's",
                remedy=REMOVE,
            )
        if (self.account_key_id is None) != (self.account_key is None):
            missing, there = (
                ("account_key", "account_key_id") if self.account_key is None else ("account_key_id", "account_key")
            )
            secret = "--secret " if missing == "account_key" else ""
            yield Conflict(
                path=(missing,),
                others=((there,),),
                given=f"nothing, while {there} is set",
                allowed="both or none of account_key_id and account_key",
                remedy=f"Set it: pulumi config set {secret}--path {{path}}{'' if secret else ' <id>'}",
            )


class SignedBy(Model):
    """Issued here, signed by an authority's certificate and key that are brought along."""

    mode: Literal["signed-by"] = "signed-by"
    authority_file: FilePath | None = Field(
        default=None,
        description="File with the certificate of the authority, and of those over it: PEM, DER, PKCS #7, or PKCS #12 "
        "with its key in it",
    )
    authority: Brought | None = Field(
        default=None, description="The same, encrypted in the stack file: PEM, or anything else in base64"
    )
    key_file: FilePath | None = Field(default=None, description="File with its private key: PEM, DER or PKCS #12")
    key: Brought | None = Field(default=None, description="The same, encrypted in the stack file")
    password: Password | None = Field(default=None, description="Password of the files that have one")
    issue: Issue = Field(default=1, description=ISSUE)

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is set twice, or not at all."""
        yield from choices(self, "authority", required="a certificate of an authority")
        yield from choices(self, "key")

    def read(self, served: Sequence[str], now: Instant) -> "Signer | list[tuple[str, str]] | None":
        """Return who signs for `served` at `now`, or what is wrong; None where it is not decrypted yet.

        What is wrong: `authority` or `key`, and why.
        """
        from pki.signer import signer  # a tenth of a second, for those who bring one

        found, problems = materials(self, ("authority", "key"))
        if problems:
            return problems
        if found["authority"] is None or is_sealed(self.key, self.password):
            return None
        return signer(
            found["authority"],
            found["key"],
            password=password(self),
            leaf_hours=SHORTEST_VALIDITY_HOURS,
            served=served,
            now=now,
        )

    def wrong(self, problems: Sequence[tuple[str, str]]) -> Iterator[Conflict]:
        """Yield what `read` has found wrong."""
        yield from wrong(self, problems, _AUTHORITY)


def stranger(chain: str, authorities: "Authorities | None") -> str:
    """Return who signed for a chain (PEM), where neither a public root nor one of `authorities` stands above it."""
    from pki.trust import unknown_issuer

    return unknown_issuer(chain, public_roots().encode(), authorities)


def public_roots() -> str:
    """Return the public authorities, as Mozilla has them in its programs, PEM."""
    import certifi  # few need it

    return Path(certifi.where()).read_text(encoding="utf-8")


def is_public(root: str) -> bool:
    """Return whether a root (PEM) is one of them."""
    return not stranger(root, None)


def not_public(names: Sequence[str]) -> list[str]:
    """Return those of `names` no public authority signs for, as nobody can show that they are his."""
    return [name for name in names if "." not in name or name.rpartition(".")[2] in _NOT_PUBLIC]
