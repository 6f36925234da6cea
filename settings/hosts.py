"""The Docker hosts."""

from collections.abc import Iterator
from functools import cached_property
from ipaddress import IPv4Network
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from settings.base import REMOVE, Conflict, Model
from settings.values import DockerAddress, Folder, Gibibytes, PrivatePool

MAIN: Final = "main"
"""The host everything runs on."""

_FILES: Final = ("ca.pem", "cert.pem", "key.pem")
"""The layout of DOCKER_CERT_PATH."""

HostId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]


class Host(Model):
    """A Docker host."""

    address: DockerAddress = Field(
        default="unix:///var/run/docker.sock",
        description="The host's Docker daemon, as unix:///path, ssh://user@host[:port] or tcp://host:port",
    )
    certificates: Folder | None = Field(
        default=None,
        description="Folder with ca.pem, cert.pem and key.pem for a tcp:// address (the layout of DOCKER_CERT_PATH)",
    )
    subnets: PrivatePool | None = Field(
        default=None,
        description="Private IPv4 network of which each of the stack's networks there gets a part; by default Docker "
        "chooses",
    )
    minimum_free_disk_gib: Gibibytes = Field(
        default=5, description="Free disk, in GiB, a local host must have before anything is created"
    )

    @property
    def is_local(self) -> bool:
        """Whether the daemon is on the machine the program runs on, as far as its address tells."""
        return self.address.startswith("unix://")

    @cached_property
    def pieces(self) -> tuple[IPv4Network, ...]:
        """The sixteen pieces of `subnets`, of which the network in a role gets the one at its place; empty where Docker
        chooses.

        A piece is a sixteenth, or a /24 where that is smaller. It depends on nothing but the place, and there is room
        for more roles. Two of one size are the same or apart, whatever they are pieces of.
        """
        if self.subnets is None:
            return ()
        whole = IPv4Network(self.subnets)
        return tuple(islice(whole.subnets(new_prefix=max(whole.prefixlen + 4, 24)), 16))

    @cached_property
    def tls(self) -> tuple[str, str, str] | None:
        """Authority, certificate and key for a tcp:// address, PEM; None for any other.

        Raises: OSError or ValueError where `conflicts` has named the file.
        """
        if not self.certificates:
            return None
        ca, certificate, key = (Path(self.certificates, name).read_text(encoding="ascii") for name in _FILES)
        return ca, certificate, key

    def conflicts(self) -> Iterator[Conflict]:
        """Yield certificates that are missing, or in the way."""
        secured = self.address.startswith("tcp://")
        if secured and not self.certificates:
            # The provider would skip verification altogether without them, and a bare tcp:// daemon is root for anyone.
            yield Conflict(
                path=("certificates",),
                others=(("address",),),
                given="nothing",
                allowed=f"a folder with {', '.join(_FILES)}: address is tcp://",
                remedy="Set it: pulumi config set --path {path} <folder>",
            )
        elif self.certificates and not secured:
            yield Conflict(
                path=("certificates",),
                others=(("address",),),
                given=f"{self.certificates!r} while address is {self.address!r}: two modes at once",
                allowed="only with a tcp:// address",
                remedy=REMOVE,
            )
        elif self.certificates:
            for name in _FILES:
                file = Path(self.certificates, name)
                try:
                    file.read_text(encoding="ascii")
                except (OSError, UnicodeDecodeError) as error:
                    yield Conflict(
                        path=("certificates",),
                        given=f"{file}: {error}",
                        allowed=f"a folder with {', '.join(_FILES)} in PEM form",
                        remedy="Put the file there, or set another folder: pulumi config set --path {path} <folder>",
                    )


Hosts = dict[HostId, Host]
