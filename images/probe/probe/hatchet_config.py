"""Hatchet's two files in /config, and how they and the environment make its settings (pkg/config, v0.86.12).

``hatchet-admin quickstart`` reads both files, lays the variables over them, makes the keys that are missing and writes
everything back, secrets in clear: at each start. So a value that was once given by a variable stays after the variable
is taken away. Only what Go counts as empty (false, 0, "") is left out of the files, and goes back to its default.
"""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from probe.environment import Environment
from probe.wiring import WiringError

CONFIG: Final = Path("/config")
"""Where hatchet-lite's start script puts its generated files (hack/lite/start.sh, working directory /)."""

SERVER_FILE: Final = "server.yaml"
DATABASE_FILE: Final = "database.yaml"
"""The files, mode 0600; keys are fields of the first."""

DEFAULT_TENANT_ID: Final = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
DEFAULT_ADMIN_EMAIL: Final = "admin@example.com"
DEFAULT_ADMIN_PASSWORD: Final = "Admin123!!"
"""The seed's defaults (pkg/config/database/config.go)."""

Value = str | int | bool

SERVER_FIELDS: Final[Mapping[str, tuple[str, Value]]] = {
    "auth.basicAuthEnabled": ("SERVER_AUTH_BASIC_AUTH_ENABLED", True),
    "auth.cookie.domain": ("SERVER_AUTH_COOKIE_DOMAIN", ""),
    "auth.cookie.insecure": ("SERVER_AUTH_COOKIE_INSECURE", False),
    "auth.cookie.name": ("SERVER_AUTH_COOKIE_NAME", "hatchet"),
    "auth.cookie.secrets": ("SERVER_AUTH_COOKIE_SECRETS", ""),
    "auth.setEmailVerified": ("SERVER_AUTH_SET_EMAIL_VERIFIED", False),
    "enableDataRetention": ("SERVER_ENABLE_DATA_RETENTION", True),
    "encryption.jwt.privateJWTKeyset": ("SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET", ""),
    "encryption.jwt.publicJWTKeyset": ("SERVER_ENCRYPTION_JWT_PUBLIC_KEYSET", ""),
    "encryption.masterKeyset": ("SERVER_ENCRYPTION_MASTER_KEYSET", ""),
    "internalClient.internalGRPCBroadcastAddress": ("SERVER_INTERNAL_CLIENT_INTERNAL_GRPC_BROADCAST_ADDRESS", ""),
    "logger.format": ("SERVER_LOGGER_FORMAT", "json"),
    "logger.level": ("SERVER_LOGGER_LEVEL", "warn"),
    "msgQueue.kind": ("SERVER_MSGQUEUE_KIND", "rabbitmq"),
    "runtime.allowChangePassword": ("SERVER_ALLOW_CHANGE_PASSWORD", True),
    "runtime.allowCreateTenant": ("SERVER_ALLOW_CREATE_TENANT", True),
    "runtime.allowInvites": ("SERVER_ALLOW_INVITES", True),
    "runtime.allowSignup": ("SERVER_ALLOW_SIGNUP", True),
    "runtime.apiRateLimit": ("SERVER_API_RATE_LIMIT", 10),
    "runtime.grpcBindAddress": ("SERVER_GRPC_BIND_ADDRESS", "127.0.0.1"),
    "runtime.grpcBroadcastAddress": ("SERVER_GRPC_BROADCAST_ADDRESS", "127.0.0.1:7070"),
    "runtime.grpcInsecure": ("SERVER_GRPC_INSECURE", False),
    "runtime.grpcPort": ("SERVER_GRPC_PORT", 7070),
    "runtime.healthcheck": ("SERVER_HEALTHCHECK", True),
    "runtime.healthcheckPort": ("SERVER_HEALTHCHECK_PORT", 8733),
    "runtime.port": ("SERVER_PORT", 8080),
    "runtime.url": ("SERVER_URL", "http://localhost:8080"),
    "securityCheck.enabled": ("SERVER_SECURITY_CHECK_ENABLED", True),
    "securityCheck.endpoint": ("SERVER_SECURITY_CHECK_ENDPOINT", "https://security.hatchet.run"),
}
DATABASE_FIELDS: Final[Mapping[str, tuple[str, Value]]] = {
    "ddlPoolMaxConns": ("DATABASE_DDL_POOL_MAX_CONNS", 5),
    "ddlPoolMinConns": ("DATABASE_DDL_POOL_MIN_CONNS", 1),
    "dbName": ("DATABASE_POSTGRES_DB_NAME", "hatchet"),
    "enforceUtcTimezone": ("DATABASE_ENFORCE_UTC_TIMEZONE", True),
    "host": ("DATABASE_POSTGRES_HOST", "127.0.0.1"),
    "logQueries": ("DATABASE_LOG_QUERIES", False),
    "maxConns": ("DATABASE_MAX_CONNS", 50),
    "minConns": ("DATABASE_MIN_CONNS", 1),
    "password": ("DATABASE_POSTGRES_PASSWORD", "hatchet"),
    "port": ("DATABASE_POSTGRES_PORT", 5431),
    "seed.adminEmail": ("ADMIN_EMAIL", DEFAULT_ADMIN_EMAIL),
    "seed.adminName": ("ADMIN_NAME", "Admin"),
    "seed.adminPassword": ("ADMIN_PASSWORD", DEFAULT_ADMIN_PASSWORD),
    "seed.defaultTenantId": ("DEFAULT_TENANT_ID", DEFAULT_TENANT_ID),
    "seed.defaultTenantName": ("DEFAULT_TENANT_NAME", "Default"),
    "seed.defaultTenantSlug": ("DEFAULT_TENANT_SLUG", "default"),
    "sslMode": ("DATABASE_POSTGRES_SSL_MODE", "disable"),
    "username": ("DATABASE_POSTGRES_USERNAME", "hatchet"),
}
"""Place in the file → the variable that sets it, and its default (the BindEnv lists and struct tags of pkg/config). The
address of the database is in DATABASE_URL alone, which no file holds."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Both files' settings by their places in the files."""

    server: dict[str, Value]
    database: dict[str, Value]

    @classmethod
    def load(cls, env: Environment, folder: Path | None = None) -> "Configuration":
        """Take each setting from its variable, else from the file in ``folder``, else its default."""
        return cls(
            server=_merged(SERVER_FIELDS, env, folder and folder / SERVER_FILE),
            database=_merged(DATABASE_FIELDS, env, folder and folder / DATABASE_FILE),
        )

    def with_keys(self) -> "Configuration":
        """This, with keys and cookie secrets where there are none."""
        server = dict(self.server)
        if not server["auth.cookie.secrets"]:
            server["auth.cookie.secrets"] = f"{secrets.token_hex(8)} {secrets.token_hex(8)}"
        if not server["encryption.masterKeyset"]:
            server["encryption.masterKeyset"] = _base64(secrets.token_bytes(32))
        private, public = "encryption.jwt.privateJWTKeyset", "encryption.jwt.publicJWTKeyset"
        if not server[private] or not server[public]:
            server[private], server[public] = _key_pair()
        return Configuration(server=server, database=self.database)

    def write(self, folder: Path) -> None:
        """Write both files."""
        _write_private(folder / DATABASE_FILE, _nested(self.database))
        _write_private(folder / SERVER_FILE, _nested(self.server))


def read(path: Path) -> dict[str, Any]:
    """What a file holds: what ``text`` makes, or JSON, which is YAML too. Raises OSError, or ValueError for others."""
    given = path.read_text()
    content = json.loads(given) if given.startswith("{") else _parsed(given)
    if not isinstance(content, dict):
        raise ValueError("no mapping")
    return content


def text(tree: Mapping[str, Any], indent: str = "") -> str:
    """A tree as Hatchet's YAML library writes it: one line a value, none folded, in alphabetical order."""
    lines = ""
    for name, value in sorted(tree.items()):
        if isinstance(value, Mapping):
            lines += f"{indent}{name}:\n{text(value, indent + '  ')}"
        else:
            # As in JSON: numbers and words for truth bare, texts in quotes, which not all of them need.
            lines += f"{indent}{name}: {json.dumps(value)}\n"
    return lines


def _parsed(given: str) -> dict[str, Any]:
    groups: list[dict[str, Any]] = [{}]
    for line in given.splitlines():
        name, colon, value = line.strip().partition(":")
        depth, uneven = divmod(len(line) - len(line.lstrip(" ")), 2)
        if not name or not colon or uneven or depth >= len(groups):
            raise ValueError(f"line {line!r} is none of those written here")
        del groups[depth + 1 :]
        if value:
            groups[depth][name] = json.loads(value)
        else:
            groups.append(groups[depth].setdefault(name, {}))
    return groups[0]


def _merged(fields: Mapping[str, tuple[str, Value]], env: Environment, path: Path | None) -> dict[str, Value]:
    content: dict[str, Any] = {}
    if path is not None and path.exists():
        try:
            content = read(path)
        except OSError as problem:
            raise WiringError(f"{path} cannot be read: {problem.strerror}") from problem
        except ValueError as problem:
            raise WiringError(f"{path} is not the file of settings it should be") from problem
    return {
        place: _given(env, variable, _found(content, place, default)) for place, (variable, default) in fields.items()
    }


def _given(env: Environment, variable: str, otherwise: Value) -> Value:
    # An empty variable counts as none, as in viper. To Python a boolean is a number too, so it comes first.
    if not env.text(variable):
        return otherwise
    if isinstance(otherwise, bool):
        return env.flag(variable, otherwise)
    if isinstance(otherwise, int):
        return env.number(variable, otherwise)
    return env.text(variable)


def _found(content: Any, place: str, default: Value) -> Value:
    for name in place.split("."):
        content = content.get(name) if isinstance(content, dict) else None
    # A value of another type would not be taken by Go either.
    return content if type(content) is type(default) else default


def _nested(values: Mapping[str, Value]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for place, value in values.items():
        *groups, name = place.split(".")
        if value:
            group = tree
            for step in groups:
                group = group.setdefault(step, {})
            group[name] = value
    return tree


def _key_pair() -> tuple[str, str]:
    private = ec.generate_private_key(ec.SECP256R1())
    return (
        _base64(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        ),
        _base64(
            private.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        ),
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _write_private(path: Path, value: dict[str, Any]) -> None:
    """Write YAML readable by the owner only, as a whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text(value))
    fresh.replace(path)
