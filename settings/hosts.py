"""The Docker hosts."""

from collections.abc import Iterator
from functools import cached_property
from ipaddress import IPv4Network
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, StringConstraints

from settings.base import REMOVE, Conflict, Instant, Model
from settings.values import DeploymentId, DockerAddress, Folder, Gibibytes, MemoryLimits, PrivatePool, PulledFrom

if TYPE_CHECKING:
    from pki.client import ClientCredentials

MAIN: Final = "main"
"""The host everything runs on."""

_FILES: Final = {"authority": "ca.pem", "certificate": "cert.pem", "key": "key.pem"}
"""The layout of DOCKER_CERT_PATH, by what `pki.client` calls it."""
_ALL_FILES: Final = ", ".join(_FILES.values())

HostId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]


class HostTrust(Model):
    """What of a Docker host itself trusts the stack's own roots and `trusted_authorities`."""

    system_store: bool = Field(
        default=False,
        description="Whether they are installed in its store of authorities, for all programs there; done as its root",
    )
    registries: Annotated[tuple[PulledFrom, ...], Field(strict=False)] = Field(
        default=(),
        description="Registries, each named as the images begin, where its Docker daemon trusts them when it pulls",
    )

    @property
    def is_on(self) -> bool:
        """Whether anything of it does."""
        return self.system_store or bool(self.registries)

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is named twice."""
        for index, one in enumerate(self.registries):
            if one in self.registries[:index]:
                yield Conflict(
                    path=("registries", index), given=f"{one!r} a second time", allowed="each once", remedy=REMOVE
                )


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
    memory_limits: MemoryLimits = Field(
        default="memory-and-swap",
        description="What of memory the host's kernel can limit; with less, services may swap, or take all there is",
    )
    adopt: DeploymentId | None = Field(
        default=None,
        description="Deployment on the host, 16 hex digits, whose data and names this state takes over because its own "
        "state is lost",
    )
    minimum_free_disk_gib: Gibibytes = Field(
        default=5, description="Free disk, in GiB, a local host must have before anything is created"
    )

    trust: HostTrust = Field(
        default=HostTrust(), description="What of the host itself trusts the stack's own roots and trusted_authorities"
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
        """Authority, certificate and key for a tcp:// address, as PEM written anew; None for any other.

        Raises: OSError or ValueError where `conflicts` has named the file.
        """
        found = self._credentials
        if isinstance(found, list):
            raise ValueError(f"{self.certificates}: {found}")
        return found.texts() if found is not None else None

    def conflicts_at(self, now: Instant) -> Iterator[Conflict]:
        """Yield certificates that are not valid at `now`."""
        if not self.address.startswith("tcp://") or any(self._unreadable()):
            return  # said already
        found = self._credentials
        for what, reason in found.out_of_date(now) if found is not None and not isinstance(found, list) else ():
            yield self._wrong(what, reason)

    @cached_property
    def _credentials(self) -> "ClientCredentials | list[tuple[str, str]] | None":
        """What is in the folder, or what is wrong with it; None where there is none.

        Raises: OSError.
        """
        if not self.certificates:
            return None
        from pki.client import client_credentials  # a tenth of a second, for those with a tcp:// address

        return client_credentials(*(Path(self.certificates, name).read_bytes() for name in _FILES.values()))

    def _wrong(self, what: str, reason: str) -> Conflict:
        return Conflict(
            path=("certificates",),
            given=f"{Path(self.certificates or '', _FILES[what])}: {reason}",
            allowed=f"a folder with {_ALL_FILES} in PEM form, a certificate of a client's and its key, in their time",
            remedy="Put the right file there, or set another folder: pulumi config set --path {path} <folder>",
        )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield certificates that are missing, or in the way."""
        secured = self.address.startswith("tcp://")
        if secured and not self.certificates:
            # The provider would skip verification altogether without them, and a bare tcp:// daemon is root for anyone.
            yield Conflict(
                path=("certificates",),
                others=(("address",),),
                given="nothing",
                allowed=f"a folder with {_ALL_FILES}: address is tcp://",
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
            unreadable = list(self._unreadable())
            found = self._credentials if not unreadable else None
            yield from unreadable
            for what, reason in found if isinstance(found, list) else ():
                yield self._wrong(what, reason)

    def _unreadable(self) -> Iterator[Conflict]:
        for what, name in _FILES.items():
            try:
                Path(self.certificates or "", name).read_bytes()
            except OSError as error:
                yield self._wrong(what, error.strerror or type(error).__name__)


Hosts = dict[HostId, Host]
