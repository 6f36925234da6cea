"""What a stack is, as plain frozen dataclasses: the shape the program is built from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import pulumi

from settings.images import ImageSources


@dataclass(frozen=True, kw_only=True)
class Host:
    """The Docker host everything runs on."""

    address: str
    """unix:///path, ssh://user@host[:port] or tcp://host:port."""
    certificates: str
    """Folder with ca.pem, cert.pem, key.pem for a tcp:// address; empty otherwise."""
    ca_pem: str
    cert_pem: str
    key_pem: str = field(repr=False)
    """The three files of `certificates`, read; empty otherwise."""
    minimum_free_disk_gib: int

    @property
    def is_local(self) -> bool:
        """Whether the daemon is on the machine the program runs on, as far as its address tells."""
        return self.address.startswith("unix://")


@dataclass(frozen=True, kw_only=True)
class Edge:
    """What is reachable from outside."""

    domain: str
    s3_domain: str
    """Empty where the object store is not on this host."""
    dns_names: tuple[str, ...]
    """Every DNS name in the certificate; the domain first, then the object store's, localhost, and the extra ones."""
    ip_addresses: tuple[str, ...]
    """Every address in the certificate: both loopbacks, then the extra ones."""
    bind_addresses: tuple[str, ...]
    https_port: int
    http_port: int

    def url(self, host: str) -> str:
        """Return the HTTPS URL of `host` on the published port, without a trailing slash."""
        return f"https://{host}" + ("" if self.https_port == 443 else f":{self.https_port}")


@dataclass(frozen=True, kw_only=True)
class Authentication:
    """Who may use Reflector."""

    password: bool
    """True: one administrator with a password; False: Reflector's public mode."""
    admin_email: str


class SpeechMode(Enum):
    """Where speech becomes text."""

    CONTAINER = "container"
    IN_PROCESS = "in-process"
    HOSTED = "hosted"


@dataclass(frozen=True, kw_only=True)
class Speech:
    """Transcription, diarization, translation, padding and mixdown."""

    mode: SpeechMode
    url: str
    """Of the hosted service; empty otherwise."""
    api_key: pulumi.Output[str] | None = field(repr=False)
    """Of the hosted service, secret."""
    gpus: str
    whisper_model: str
    hf_token: pulumi.Output[str] | None = field(repr=False)


class LanguageModelMode(Enum):
    """Where summaries and topics come from."""

    OLLAMA = "ollama"
    EXTERNAL = "external"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class LanguageModelSettings:
    """The language model."""

    mode: LanguageModelMode
    model: str
    url: str
    """Of the external endpoint, including /v1; empty otherwise."""
    api_key: pulumi.Output[str] | None = field(repr=False)
    context_tokens: int
    gpus: str


class StorageMode(Enum):
    """Where audio and derived files are kept."""

    GARAGE = "garage"
    S3 = "s3"
    EXTERNAL = "external"


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The object store."""

    mode: StorageMode
    bucket: str
    garage_capacity_gib: int
    region: str
    endpoint: str
    access_key_id: str
    secret_access_key: pulumi.Output[str] | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a stack can be told, checked."""

    project: str
    stack: str
    host: Host
    images: ImageSources
    edge: Edge
    authentication: Authentication
    speech: Speech
    language_model: LanguageModelSettings
    storage: Storage
    health_interval_seconds: int
    startup_limit_seconds: int
    memory_mib: Mapping[str, int]
    """Service → memory limit in MiB; every service of the stack is in it."""

    @property
    def prefix(self) -> str:
        """What every name on the Docker host starts with."""
        return f"{self.project}-{self.stack}"
