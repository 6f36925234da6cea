"""The registry: certificates by name, for whatever of the stack or beside it shows one."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints

from settings.authorities import STACK
from settings.base import Model
from settings.values import Brought, CertificateKind, EntryName, FilePath, Password, SubjectAlternativeName

CertificateName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


class Issued(Model):
    """Issued by an authority of the stack."""

    mode: Literal["issued"] = "issued"
    authority: EntryName = Field(default=STACK, description="Which of pki.authorities signs it")
    kind: CertificateKind = Field(
        default="server", description="What it is for: server, client, or peer, which is both"
    )
    names: Annotated[tuple[SubjectAlternativeName, ...], Field(strict=False)] = Field(
        default=(), description="Names and addresses it is for, each DNS:<name> or IP:<address>"
    )


class Imported(Model):
    """Brought along, with its key."""

    mode: Literal["imported"] = "imported"
    kind: CertificateKind = Field(
        default="server", description="What it is for: server, client, or peer, which is both"
    )
    certificate_file: FilePath | None = Field(
        default=None, description="File with the certificate and its chain: PEM, DER, PKCS #7 or PKCS #12"
    )
    certificate: Brought | None = Field(
        default=None, description="The same, encrypted in the stack file: PEM, or anything else in base64"
    )
    key_file: FilePath | None = Field(default=None, description="File with its private key: PEM, DER or PKCS #12")
    key: Brought | None = Field(default=None, description="The same, encrypted in the stack file")
    password: Password | None = Field(default=None, description="Password of the files that have one")


RegisteredCertificate: TypeAlias = Annotated[Issued | Imported, Field(discriminator="mode")]
Certificates = dict[CertificateName, RegisteredCertificate]
