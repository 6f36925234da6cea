"""Which certificate the edge shows: made or brought for it alone, or one of the registry."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from settings.base import Model
from settings.certificate import Acme, Own, Private, SignedBy
from settings.references import OwnServerCertificateName


class Named(Model):
    """One of the registry, which relays may show as well."""

    mode: Literal["named"] = "named"
    name: OwnServerCertificateName = Field(
        description="Which of pki.certificates the edge shows; it has to be for every name and address that is served"
    )


Certificate: TypeAlias = Annotated[Private | Own | Acme | SignedBy | Named, Field(discriminator="mode")]
