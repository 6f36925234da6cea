"""Read the variables the real software reads, with its names, defaults and forms."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit

from probe.wiring import CHECK_SECONDS, Check, WiringError

Number = TypeVar("Number", int, float)

TRUE_WORDS = frozenset(("1", "t", "true", "on", "yes", "y"))
FALSE_WORDS = frozenset(("0", "f", "false", "off", "no", "n", ""))
"""What pydantic (backend) and Go's strconv (Hatchet) between them take for a boolean."""

POOL_OPTIONS = ("min_size", "max_size")
"""What databases 0.8.0 takes out of a URL for itself; everything else goes on to PostgreSQL, which refuses it."""

DEFAULT_SECRET_KEY = "changeme-f02f86fd8b3e4fd892c6043e5a298e21"
"""Reflector's built-in SECRET_KEY (reflector/settings.py, v0.45.0); public, so a deployment must replace it."""


class Environment:
    """Typed look-ups in an environment; every error names the variable, what was given and what is allowed."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """Keep the mapping; nothing is read until it is asked for."""
        self.values = values

    def text(self, name: str, default: str = "") -> str:
        """The variable, or the default where it is not set at all (an empty value counts as set)."""
        return self.values.get(name, default)

    def required(self, name: str, default: str = "") -> str:
        """The variable, which must not be empty."""
        value = self.values.get(name, default)
        if not value:
            raise WiringError(f"{name} is not set")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """The variable as a boolean."""
        if name not in self.values:
            return default
        word = self.values[name].strip().lower()
        if word in TRUE_WORDS:
            return True
        if word in FALSE_WORDS:
            return False
        raise WiringError(f"{name}={self.values[name]!r} is no boolean; allowed are true and false")

    def number(self, name: str, default: Number) -> Number:
        """The variable as a number of the default's type."""
        if name not in self.values:
            return default
        try:
            return type(default)(self.values[name])
        except ValueError:
            raise WiringError(f"{name}={self.values[name]!r} is no {type(default).__name__}") from None

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """The variable, which must be one of the allowed words."""
        value = self.values.get(name, default)
        if value not in allowed:
            raise WiringError(f"{name}={value!r} is not known; allowed are {', '.join(allowed)}")
        return value

    def url(self, name: str, default: str = "", schemes: tuple[str, ...] = ("http", "https")) -> SplitResult:
        """The variable as a URL with one of the schemes, a host and a usable port."""
        value = self.required(name, default)
        return parse_url(name, value, schemes)


def parse_url(name: str, value: str, schemes: tuple[str, ...] = ("http", "https")) -> SplitResult:
    """Split a URL that came from the variable ``name``; raises WiringError where it is none."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as problem:
        raise WiringError(f"{name} is no valid URL: {problem}") from None
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise WiringError(f"{name} must be a URL like {schemes[0]}://host[:port], got scheme {parts.scheme!r}")
    return parts


def check_of(
    env: Environment,
    name: str,
    run: Callable[[Environment], Awaitable[Mapping[str, Any]]],
    seconds: float = CHECK_SECONDS,
) -> Check:
    """A check of this environment."""
    return Check(name=name, run=partial(run, env), seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Database:
    """A Postgres database as asyncpg takes it: a plain ``postgresql://`` URL."""

    dsn: str

    @classmethod
    def from_url(cls, url: str) -> "Database":
        """Take SQLAlchemy's form with the asyncpg driver, or a plain URL, as Reflector does; refuse other drivers."""
        scheme, separator, rest = url.partition("://")
        dialect, _, driver = scheme.partition("+")
        if not separator or dialect not in ("postgresql", "postgres") or driver not in ("", "asyncpg"):
            raise WiringError(f"DATABASE_URL must start with postgresql+asyncpg://, got scheme {scheme!r}")
        parts = parse_url("DATABASE_URL", f"postgresql://{rest}", ("postgresql",))
        if len(parts.path) < 2:
            raise WiringError("DATABASE_URL names no database (…/name)")
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name not in POOL_OPTIONS or not value.isdigit() or int(value) == 0:
                raise WiringError(f"DATABASE_URL: {name}={value} is no bound of a pool, or none that can be")
        return cls(dsn=parts._replace(query="").geturl())


@dataclass(frozen=True, kw_only=True)
class Redis:
    """Reflector's Redis: host and port only. Its code knows neither password nor TLS."""

    host: str
    port: int
    cache_database: int

    @classmethod
    def from_environment(cls, env: Environment) -> "Redis":
        """Read REDIS_HOST, REDIS_PORT and REDIS_CACHE_DB with Reflector's defaults."""
        return cls(
            host=env.required("REDIS_HOST", "localhost"),
            port=env.number("REDIS_PORT", 6379),
            cache_database=env.number("REDIS_CACHE_DB", 2),
        )

    def url(self, database: int) -> str:
        """The URL of one numbered database."""
        return f"redis://{self.host}:{self.port}/{database}"


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The object store of transcripts, as Reflector's AwsStorage takes it."""

    bucket: str
    prefix: str
    region: str
    access_key_id: str
    secret_access_key: str
    endpoint_url: str | None

    @classmethod
    def from_environment(cls, env: Environment) -> "Storage":
        """Read TRANSCRIPT_STORAGE_*; ``name/prefix`` in the bucket's name splits at the first slash."""
        prefix = "TRANSCRIPT_STORAGE_"
        backend = env.required(prefix + "BACKEND")
        if backend != "aws":
            raise WiringError(f"{prefix}BACKEND={backend!r} is not known; allowed is aws")
        bucket, _, folder = env.required(prefix + "AWS_BUCKET_NAME", "reflector-bucket").partition("/")
        endpoint = env.text(prefix + "AWS_ENDPOINT_URL") or None
        if endpoint is not None:
            parse_url(prefix + "AWS_ENDPOINT_URL", endpoint)
        return cls(
            bucket=bucket,
            prefix=folder,
            region=env.required(prefix + "AWS_REGION", "us-east-1"),
            access_key_id=env.required(prefix + "AWS_ACCESS_KEY_ID"),
            secret_access_key=env.required(prefix + "AWS_SECRET_ACCESS_KEY"),
            endpoint_url=endpoint,
        )


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """An OpenAI-compatible model."""

    url: str
    model: str
    api_key: str

    @classmethod
    def from_environment(cls, env: Environment) -> "LanguageModel":
        """Read LLM_URL, LLM_MODEL and LLM_API_KEY; the client library refuses to run without a key."""
        env.url("LLM_URL")
        return cls(
            url=env.required("LLM_URL").rstrip("/"),
            model=env.required("LLM_MODEL", "microsoft/phi-4"),
            api_key=env.required("LLM_API_KEY"),
        )


SPEECH_BACKENDS = {
    "transcript": ("TRANSCRIPT_BACKEND", "whisper", ("whisper", "modal"), "TRANSCRIPT_URL", "TRANSCRIPT_MODAL_API_KEY"),
    "diarization": (
        "DIARIZATION_BACKEND",
        "modal",
        ("modal", "pyannote"),
        "DIARIZATION_URL",
        "DIARIZATION_MODAL_API_KEY",
    ),
    # Upstream looks for TRANSLATION_MODAL_* but declares only TRANSLATE_MODAL_API_KEY: no variable makes it send a key.
    "translation": ("TRANSLATION_BACKEND", "passthrough", ("passthrough", "marian", "modal"), "TRANSLATE_URL", None),
    "padding": ("PADDING_BACKEND", "pyav", ("pyav", "modal"), "PADDING_URL", "PADDING_MODAL_API_KEY"),
    "mixdown": ("MIXDOWN_BACKEND", "pyav", ("pyav", "modal"), "MIXDOWN_URL", "MIXDOWN_MODAL_API_KEY"),
}
"""Service to (backend variable, its default, allowed backends, URL variable, key variable): reflector/settings.py and
reflector/processors/*_auto.py of v0.45.0."""


@dataclass(frozen=True, kw_only=True)
class SpeechService:
    """One remote speech service: where it is and the key Reflector would send, if any."""

    url: str
    api_key: str | None

    @property
    def headers(self) -> dict[str, str]:
        """The Authorization header Reflector sends; none without a key."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}


def speech_service(env: Environment, name: str) -> SpeechService | None:
    """The remote service of this name, or None where the backend runs inside Reflector's own process."""
    backend, default, allowed, url, key = SPEECH_BACKENDS[name]
    if env.choice(backend, allowed, default) != "modal":
        return None
    env.url(url)
    api_key = env.text(key) if key is not None else ""
    if name in ("padding", "mixdown") and not api_key:
        api_key = env.text("MODAL_API_KEY")
    if name == "transcript" and not api_key:
        raise WiringError(
            f"{key} is empty: live transcription goes through the OpenAI client, which cannot send an empty key; "
            "any text will do where the service asks for none"
        )
    return SpeechService(url=env.required(url), api_key=api_key or None)
