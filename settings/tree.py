"""All settings of a stack as one typed tree, and the rules between its branches."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import Field, PrivateAttr

from settings.application import Application
from settings.base import REMOVE, Conflict, Model
from settings.data import Data
from settings.edge import Edge
from settings.health import Health
from settings.hosts import MAIN, Host, Hosts
from settings.images import Images, ImageSources, Upstream
from settings.language_model import LanguageModel, Ollama
from settings.pki import Pki
from settings.proxy import Proxy
from settings.sign_in import Password, SignIn
from settings.speech import InProcess, Speech
from settings.storage import Garage, Storage
from settings.walk import active, classes
from settings.workflow import Workflow


class Settings(Model):
    """Everything a stack can be told, checked."""

    hosts: Annotated[Hosts, Field(min_length=1)] = Field(
        default={MAIN: Host()},
        description="The Docker hosts by name; for now one, called main, on which everything runs",
    )
    images: Images = Field(default=Upstream(), description="Where the images come from")
    edge: Edge = Field(default=Edge(), description="What is reachable from outside, and by which names")
    pki: Pki = Field(default=Pki(), description="What the private authority issues")
    sign_in: SignIn = Field(default=Password(), description="Who may use it")
    speech: Speech = Field(default=InProcess(), description="Where speech becomes text")
    language_model: LanguageModel = Field(default=Ollama(), description="Where summaries and topics come from")
    storage: Storage = Field(default=Garage(), description="Where audio and derived files are kept")
    application: Application = Field(default=Application(), description="Reflector's own processes")
    data: Data = Field(default=Data(), description="PostgreSQL and Redis")
    workflow: Workflow = Field(default=Workflow(), description="Hatchet, the workflow engine")
    proxy: Proxy = Field(default=Proxy(), description="The way out, where the Docker host has none of its own")
    health: Health = Field(default=Health(), description="Health checks, and how long a start may take")

    _project: str = PrivateAttr("")
    _stack: str = PrivateAttr("")
    _sources: ImageSources = PrivateAttr(ImageSources(images={}, parts={}))
    _encrypted: frozenset[str] = PrivateAttr(frozenset())

    @property
    def stack(self) -> str:
        """Name of the stack."""
        return self._stack

    @property
    def prefix(self) -> str:
        """What every name on a Docker host starts with."""
        return f"{self._project}-{self._stack}"

    @property
    def host(self) -> Host:
        """The host everything runs on."""
        return self.hosts[MAIN]

    @property
    def sources(self) -> ImageSources:
        """The images of this stack."""
        return self._sources

    @property
    def encrypted(self) -> frozenset[str]:
        """Values of ordinary settings that somebody encrypted all the same, as text."""
        return self._encrypted

    @property
    def url(self) -> str:
        """Reflector's URL as people see it, without a trailing slash."""
        return self.edge.url(self.edge.domain)

    @property
    def storage_domain(self) -> str | None:
        """Host name of the object store at the edge; None where it is not on this host."""
        if not isinstance(self.storage, Garage):
            return None
        return self.storage.domain or f"s3.{self.edge.domain}"

    @property
    def dns_names(self) -> tuple[str, ...]:
        """Every DNS name the edge serves: the domain first, then the object store's, localhost, and the extra ones."""
        first, *others = self.edge.names
        return tuple(dict.fromkeys((first, *((self.storage_domain,) if self.storage_domain else ()), *others)))

    @property
    def reached_directly(self) -> tuple[str, ...]:
        """What no proxy stands before: every name that means something inside the stack, and what is excluded.

        Not the edge's further names: nothing inside resolves them to it, and a new one would replace every container.
        """
        domains = (self.edge.domain, *((self.storage_domain,) if self.storage_domain else ()))
        return (*ALL_SERVICES, *domains, *self.proxy.exclude)

    @property
    def admin_email(self) -> str | None:
        """Login name of the administrator; None where nobody logs in."""
        if not isinstance(self.sign_in, Password):
            return None
        return self.sign_in.admin_email or f"admin@{self.edge.domain}"

    @cached_property
    def services(self) -> frozenset[str]:
        """The services these settings ask for."""
        return frozenset(service for _, model in active(self) for service in model.SERVICES)

    @cached_property
    def networks(self) -> frozenset[str]:
        """The roles of the networks they are on."""
        return frozenset(role for _, model in active(self) for role in model.NETWORKS)

    @cached_property
    def needed_images(self) -> frozenset[str]:
        """The parts images have to play for them."""
        return frozenset(part for _, model in active(self) for part in model.IMAGES)

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is wrong between branches, each of which is right by itself."""
        for name in sorted(self.hosts.keys() - {MAIN}):
            yield Conflict(
                path=("hosts", name),
                given="another host" if MAIN in self.hosts else f"a host, and none is called {MAIN}",
                allowed=f"one host, called {MAIN}",
                remedy=REMOVE if MAIN in self.hosts else "Rename it in the stack file",
            )
        # Both are names of the edge inside the stack too, beside those of the services.
        if self.edge.domain in ALL_SERVICES:
            yield _taken(("edge", "domain"), self.edge.domain, ALL_SERVICES)
        domain = self.storage_domain
        # To a container localhost is itself. As the domain that does no harm: Reflector never calls itself by it.
        taken = ("localhost", *ALL_SERVICES)
        if domain in taken:
            yield _taken(("storage", "domain"), domain, taken)
        if domain == self.edge.domain:
            yield Conflict(
                path=("storage", "domain"),
                others=(("edge", "domain"),),
                given=f"{domain!r}",
                allowed="a host name other than edge.domain: a signed URL fixes its whole path",
                remedy="Set it: pulumi config set --path {path} <host name>",
            )


def _taken(path: tuple[str, str], name: str, taken: tuple[str, ...]) -> Conflict:
    return Conflict(
        path=path,
        given=f"{name!r}",
        allowed=f"a host name other than {', '.join(taken)}: inside the stack those have a meaning of their own",
        remedy="Set it: pulumi config set --path {path} <host name>",
    )


ALL_SERVICES: Final[tuple[str, ...]] = tuple(
    dict.fromkeys(service for model in classes(Settings) for service in model.SERVICES)
)
"""Every service any stack can have."""


def finished(
    settings: Settings, *, project: str, stack: str, sources: ImageSources, encrypted: frozenset[str]
) -> Settings:
    """Return `settings` with what does not stand in a stack file."""
    private: Mapping[str, Any] = {
        "_project": project, "_stack": stack, "_sources": sources, "_encrypted": encrypted,
    }  # fmt: skip
    for name, value in private.items():
        setattr(settings, name, value)
    return settings
