"""The variables of Authentik's server and worker, by its own names, defaults and forms.

As authentik/lib/config.py and lib/default.yml have them (2026.8): two underscores are a level, and a value may be
``env://NAME`` or ``file:///path``, except those of the bootstrap, which are read as they are. A variable that begins
with AUTHENTIK_ and is none of them is refused here; the real one would ignore it.
"""

import base64
import binascii
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from probe import size
from probe.environment import Environment
from probe.wiring import WiringError

PREFIX = "AUTHENTIK_"

BOOTSTRAP_HASH = "AUTHENTIK_BOOTSTRAP_PASSWORD_HASH"
BOOTSTRAP_EMAIL = "AUTHENTIK_BOOTSTRAP_EMAIL"
BOOTSTRAP = (BOOTSTRAP_HASH, BOOTSTRAP_EMAIL)
"""What makes the administrator (blueprints/system/bootstrap.yaml). A password in clear and an API token are not played:
a deployment needs neither, and the token would never expire."""

DEFAULT_TRUSTED = "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fe80::/10,::1/128"
"""Whose X-Forwarded headers count unless the variable replaces the list."""

SECRET_KEY_LENGTH = 50
"""Shortest secret key; Django only warns of a shorter one."""

LOG_LEVELS = ("trace", "debug", "info", "warning", "error")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

FLAGS = (
    "AUTHENTIK_DISABLE_STARTUP_ANALYTICS",
    "AUTHENTIK_DISABLE_UPDATE_CHECK",
    "AUTHENTIK_ERROR_REPORTING__ENABLED",
    "AUTHENTIK_ERROR_REPORTING__SEND_PII",
    "AUTHENTIK_OUTPOSTS__DISABLE_EMBEDDED_OUTPOST",
    "AUTHENTIK_OUTPOSTS__DISCOVER",
    "AUTHENTIK_POSTGRESQL__CONN_HEALTH_CHECKS",
    "AUTHENTIK_POSTGRESQL__DISABLE_SERVER_SIDE_CURSORS",
    "AUTHENTIK_POSTGRESQL__USE_POOL",
    "AUTHENTIK_SKIP_MIGRATIONS",
)
NUMBERS = {
    "AUTHENTIK_CACHE__TIMEOUT": 300,
    "AUTHENTIK_CACHE__TIMEOUT_FLOWS": 300,
    "AUTHENTIK_CACHE__TIMEOUT_POLICIES": 300,
    "AUTHENTIK_POSTGRESQL__CONN_MAX_AGE": 0,
    "AUTHENTIK_POSTGRESQL__PORT": 5432,
    "AUTHENTIK_WEB__MAX_REQUESTS": 1000,
    "AUTHENTIK_WEB__MAX_REQUESTS_JITTER": 50,
    "AUTHENTIK_WEB__THREADS": 4,
    "AUTHENTIK_WEB__WORKERS": 2,
    "AUTHENTIK_WORKER__PROCESSES": 1,
    "AUTHENTIK_WORKER__THREADS": 2,
}
"""Numbers and their defaults."""

LEAST = {
    "AUTHENTIK_WEB__THREADS": 1,
    "AUTHENTIK_WEB__WORKERS": 1,
    "AUTHENTIK_WORKER__PROCESSES": 1,
    "AUTHENTIK_WORKER__THREADS": 2,
}
"""Numbers with a lower bound: a worker's threads are never fewer than two."""

TEXTS = (
    "AUTHENTIK_AVATARS",
    "AUTHENTIK_COOKIE_DOMAIN",
    "AUTHENTIK_ERROR_REPORTING__ENVIRONMENT",
    "AUTHENTIK_LISTEN__DEBUG",
    "AUTHENTIK_LISTEN__DEBUG_PY",
    "AUTHENTIK_LISTEN__DEBUG_TOKIO",
    "AUTHENTIK_LISTEN__HTTP",
    "AUTHENTIK_LISTEN__HTTPS",
    "AUTHENTIK_LISTEN__METRICS",
    "AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS",
    "AUTHENTIK_LOG_LEVEL",
    "AUTHENTIK_POSTGRESQL__DEFAULT_SCHEMA",
    "AUTHENTIK_POSTGRESQL__HOST",
    "AUTHENTIK_POSTGRESQL__NAME",
    "AUTHENTIK_POSTGRESQL__PASSWORD",
    "AUTHENTIK_POSTGRESQL__POOL_OPTIONS",
    "AUTHENTIK_POSTGRESQL__SSLMODE",
    "AUTHENTIK_POSTGRESQL__SSLROOTCERT",
    "AUTHENTIK_POSTGRESQL__USER",
    "AUTHENTIK_SECRET_KEY",
    "AUTHENTIK_WEB__BASE_URL",
)

KNOWN = frozenset((*FLAGS, *NUMBERS, *TEXTS, *BOOTSTRAP))
"""Every variable the probe knows. Of the rest of Authentik's a deployment of ours has no use; one that gets such a
variable has most likely misspelt another."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where something listens."""

    host: str
    port: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What server, worker and command line take from their environment."""

    dsn: str
    secret_key: str
    bootstrap_hash: str
    bootstrap_email: str
    http: tuple[Address, ...]
    https: tuple[Address, ...]
    metrics: tuple[Address, ...]
    trusted_networks: tuple[Network, ...]
    base_url: str
    avatars: str
    update_check: bool
    startup_analytics: bool
    error_reporting: bool
    embedded_outpost: bool
    real_size: bool

    @classmethod
    def from_environment(cls, given: Environment) -> "Settings":
        """Read and check every variable; raises WiringError with the name of the first that is wrong."""
        unknown = sorted(name for name in given.values if name.startswith(PREFIX) and name not in KNOWN)
        if unknown:
            raise WiringError(f"{unknown[0]} is no variable of Authentik that the probe knows")
        env = Environment(_resolved(given.values))
        for name, default in NUMBERS.items():
            if env.number(name, default) < LEAST.get(name, 0):
                raise WiringError(f"{name}={env.text(name)!r} is too small; the least is {LEAST.get(name, 0)}")
        flags = {name: env.flag(name, name == "AUTHENTIK_OUTPOSTS__DISCOVER") for name in FLAGS}
        env.choice("AUTHENTIK_LOG_LEVEL", LOG_LEVELS, "info")
        for name in ("AUTHENTIK_LISTEN__DEBUG", "AUTHENTIK_LISTEN__DEBUG_PY", "AUTHENTIK_LISTEN__DEBUG_TOKIO"):
            # Nothing listens there unless debugging is on, which the probe does not know.
            _addresses(env, name, "0.0.0.0:9900")
        _check_pool(env, flags["AUTHENTIK_POSTGRESQL__USE_POOL"])
        return cls(
            dsn=_dsn(env),
            secret_key=_secret_key(env),
            bootstrap_hash=given.text(BOOTSTRAP_HASH),
            bootstrap_email=given.text(BOOTSTRAP_EMAIL) or "root@example.com",
            http=_addresses(env, "AUTHENTIK_LISTEN__HTTP", "[::]:9000"),
            https=_addresses(env, "AUTHENTIK_LISTEN__HTTPS", "[::]:9443"),
            metrics=_addresses(env, "AUTHENTIK_LISTEN__METRICS", "[::]:9300"),
            trusted_networks=_networks(env),
            base_url=_base_url(env),
            avatars=env.required("AUTHENTIK_AVATARS", "gravatar,initials"),
            update_check=not flags["AUTHENTIK_DISABLE_UPDATE_CHECK"],
            startup_analytics=not flags["AUTHENTIK_DISABLE_STARTUP_ANALYTICS"],
            error_reporting=flags["AUTHENTIK_ERROR_REPORTING__ENABLED"],
            embedded_outpost=not flags["AUTHENTIK_OUTPOSTS__DISABLE_EMBEDDED_OUTPOST"],
            real_size=size.is_real(given),
        )


def temporary_folder(values: Mapping[str, str]) -> Path:
    """The folder of everything written at run time: TMPDIR, which the image sets to /dev/shm."""
    return Path(values.get("TMPDIR") or "/dev/shm")


def _resolved(values: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value if name in BOOTSTRAP or not name.startswith(PREFIX) else _dereferenced(name, value)
        for name, value in values.items()
    }


def _dereferenced(name: str, value: str) -> str:
    if value.startswith("env://"):
        return os.environ.get(value.removeprefix("env://"), "")
    if value.startswith("file://"):
        path = Path(value.removeprefix("file://"))
        try:
            return path.read_text(encoding="utf-8").strip()
        except OSError as problem:
            raise WiringError(f"{name}: {path} cannot be read: {problem.strerror}") from problem
    return value


def _secret_key(env: Environment) -> str:
    key = env.required("AUTHENTIK_SECRET_KEY")
    if len(key) < SECRET_KEY_LENGTH:
        raise WiringError(f"AUTHENTIK_SECRET_KEY is shorter than {SECRET_KEY_LENGTH} characters")
    return key


def _dsn(env: Environment) -> str:
    name = "AUTHENTIK_POSTGRESQL__"
    user, password = env.required(name + "USER", "authentik"), env.required(name + "PASSWORD")
    host, port = env.required(name + "HOST", "localhost"), env.number(name + "PORT", 5432)
    database = env.required(name + "NAME", "authentik")
    query = {"sslmode": env.choice(name + "SSLMODE", SSL_MODES, "disable")}
    if env.text(name + "SSLROOTCERT"):
        query["sslrootcert"] = env.text(name + "SSLROOTCERT")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"postgresql://{login}@{host}:{port}/{quote(database, safe='')}?{urlencode(query)}"


def _check_pool(env: Environment, used: bool) -> None:
    options = env.text("AUTHENTIK_POSTGRESQL__POOL_OPTIONS")
    if not options:
        return
    if not used:
        raise WiringError("AUTHENTIK_POSTGRESQL__POOL_OPTIONS is set, but AUTHENTIK_POSTGRESQL__USE_POOL is not true")
    try:
        base64.b64decode(options, validate=True)
    except binascii.Error:
        raise WiringError("AUTHENTIK_POSTGRESQL__POOL_OPTIONS must be JSON in base64") from None


def _addresses(env: Environment, name: str, default: str) -> tuple[Address, ...]:
    """``host:port``, several with commas; an IPv6 host in brackets."""
    found = []
    for text in env.required(name, default).split(","):
        host, _, port = text.strip().rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            bare = ""
        if not bare or not port.isdigit() or not 0 < int(port) < 65536 or (":" in host and host[0] != "["):
            raise WiringError(f"{name}={text.strip()!r} is no address; write it as 0.0.0.0:9000 or [::]:9000")
        found.append(Address(host=bare, port=int(port)))
    return tuple(found)


def _networks(env: Environment) -> tuple[Network, ...]:
    name = "AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS"
    found = []
    for text in env.required(name, DEFAULT_TRUSTED).split(","):
        try:
            found.append(ipaddress.ip_network(text.strip()))
        except ValueError:
            raise WiringError(
                f"{name}={text.strip()!r} is no network; write a list as 172.18.0.0/16,fd00::/64"
            ) from None
    return tuple(found)


def _base_url(env: Environment) -> str:
    name = "AUTHENTIK_WEB__BASE_URL"
    if not env.text(name):
        return ""
    parts = env.url(name)
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise WiringError(f"{name} must be scheme and host, and a port where there is one: nothing after it")
    return f"{parts.scheme}://{parts.netloc}"
