"""Who calls the server: by a bearer token of its sign-in mode, by an API key, or by both."""

import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from probe import users
from probe.environment import DEFAULT_SECRET_KEY, Environment
from probe.wiring import WiringError

BACKENDS = ("none", "password", "jwt")
"""Modules upstream has for AUTH_BACKEND; it does not start with another (reflector/auth/__init__.py, v0.45.0)."""

JWT_KEYS = Path("/app/reflector/auth/jwt/keys")
"""Folder AUTH_JWT_PUBLIC_KEY names a file in (reflector/auth/auth_jwt.py, relative to /app)."""

DEFAULT_JWT_KEY = "authentik.monadical.com_public.pem"
DEFAULT_JWT_ALGORITHM = "RS256"
"""Defaults of reflector/settings.py, v0.45.0. The key is its makers' own: whoever signs with it gets in."""

PASSWORD_ALGORITHM = "HS256"
"""What the server signs its own tokens with (reflector/auth/auth_password.py)."""

API_KEY_BYTES = 48
"""Random bytes of an API key (reflector/db/user_api_keys.py)."""

PUBLIC_KEY_HEADER = "-----BEGIN PUBLIC KEY-----"

log = logging.getLogger("probe.accounts")


class RefusedError(Exception):
    """The credentials are not accepted: 401."""


class TwoUsersError(Exception):
    """Token and API key belong to different people."""


@dataclass(frozen=True, kw_only=True)
class User:
    """Who calls: the id of his row, and the e-mail of his token; none by an API key alone."""

    id: str
    email: str | None


def auth_backend(env: Environment) -> str:
    """The sign-in mode; raises WiringError for one nobody knows."""
    return env.choice("AUTH_BACKEND", BACKENDS, "none")


def read_key(env: Environment) -> str:
    """The public key as every role that imports upstream's views reads it when it starts; empty in other modes.

    Raises WiringError where the file is not there: such a role does not start. What it holds is not looked at.
    """
    return _key_file(env)[1] if auth_backend(env) == "jwt" else ""


def _key_file(env: Environment) -> tuple[Path, str]:
    # Not joined as paths: a name that starts with a slash is looked for below the folder all the same.
    path = Path(f"{JWT_KEYS}/{env.required('AUTH_JWT_PUBLIC_KEY', DEFAULT_JWT_KEY)}")
    try:
        return path, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is no text"
        raise WiringError(f"AUTH_JWT_PUBLIC_KEY: {path} cannot be read: {reason}") from problem


def check_key(env: Environment) -> dict[str, Any]:
    """Prove that tokens of a provider can be verified: RS256, an audience, and one RSA public key in PEM.

    Reflector itself starts with any file, and then refuses each token (certificate) or fails at it (private key).
    """
    algorithm = env.required("AUTH_JWT_ALGORITHM", DEFAULT_JWT_ALGORITHM)
    if algorithm != DEFAULT_JWT_ALGORITHM:
        raise WiringError(f"AUTH_JWT_ALGORITHM={algorithm!r}: only {DEFAULT_JWT_ALGORITHM} can be signed and verified")
    name = env.text("AUTH_JWT_PUBLIC_KEY")
    if not name:
        raise WiringError("AUTH_JWT_PUBLIC_KEY is not set: the key of Reflector's makers would be trusted")
    path, text = _key_file(env)
    header = text.strip().partition("\n")[0].strip()
    if "CERTIFICATE" in header or "PRIVATE KEY" in header:
        kind = "a certificate" if "CERTIFICATE" in header else "a private key"
        raise WiringError(f"AUTH_JWT_PUBLIC_KEY: {path} is {kind}; it must be a public key ({PUBLIC_KEY_HEADER})")
    try:
        key = load_pem_public_key(text.encode())
    except ValueError as problem:
        raise WiringError(f"AUTH_JWT_PUBLIC_KEY: {path} is no public key in PEM: {problem}") from problem
    if not isinstance(key, RSAPublicKey):
        kind = "an EC key" if isinstance(key, EllipticCurvePublicKey) else "a key of another kind"
        raise WiringError(f"AUTH_JWT_PUBLIC_KEY: {path} is {kind}; {DEFAULT_JWT_ALGORITHM} takes an RSA key")
    return {"algorithm": algorithm, "key": name, "bits": key.key_size, "audience": env.required("AUTH_JWT_AUDIENCE")}


class Accounts:
    """Finds out who calls, over one environment and its database."""

    def __init__(self, env: Environment, dsn: Callable[[], str]) -> None:
        """Read the public key; raises WiringError where it is missing, or where the mode is unknown.

        ``dsn`` is asked when the database is needed: what is wrong with its address shows then.
        """
        self.backend = auth_backend(env)
        self._dsn = dsn
        self._env = env
        self._key = read_key(env)

    @property
    def secret_key(self) -> str:
        """What the server's own tokens are signed with, and API keys hashed."""
        return self._env.required("SECRET_KEY", DEFAULT_SECRET_KEY)

    async def identify(self, token: str | None, api_key: str | None) -> User | None:
        """Who calls, or None where nobody says so; an API key nobody knows counts as none.

        Raises RefusedError for a token that does not hold, TwoUsersError where both are given and disagree, and
        KeyError or ValueError for a provider's token without ``sub`` or ``email``: upstream answers those with 500.
        """
        if self.backend == "none":
            return None
        found: list[User] = []
        if api_key:
            known = await users.find_api_key(self._dsn(), self.hash_api_key(api_key))
            if known is not None:
                found.append(User(id=known.user_id, email=None))
        if token:
            found.append(await (self._provider_user(token) if self.backend == "jwt" else self._password_user(token)))
        if len({user.id for user in found}) > 1:
            raise TwoUsersError("Invalid authentication: more than one user provided")
        return found[0] if found else None

    async def _provider_user(self, token: str) -> User:
        """Whom a provider's token names, made at his first call. Neither issuer nor verified e-mail are looked at."""
        claims = self._decode(
            token,
            self._key,
            self._env.required("AUTH_JWT_ALGORITHM", DEFAULT_JWT_ALGORITHM),
            self._env.values.get("AUTH_JWT_AUDIENCE"),
        )
        authentik_uid, email = claims["sub"], claims["email"]
        if not isinstance(email, str):
            raise ValueError("the token's email is no text")
        return User(id=await users.sign_in(self._dsn(), authentik_uid, email), email=email)

    async def _password_user(self, token: str) -> User:
        claims = self._decode(token, self.secret_key, PASSWORD_ALGORITHM, None)
        return User(id=claims["sub"], email=claims.get("email"))

    def _decode(self, token: str, key: str, algorithm: str, audience: str | None) -> dict[str, Any]:
        try:
            return jwt.decode(token, key, algorithms=[algorithm], audience=audience)
        except jwt.PyJWTError as problem:
            log.error("JWT error: %s", problem)
            raise RefusedError("Invalid authentication") from problem

    def hash_api_key(self, key: str) -> str:
        """What is stored of an API key: HMAC-SHA256 under SECRET_KEY, in hex."""
        return hmac.new(self.secret_key.encode(), key.encode(), hashlib.sha256).hexdigest()

    async def make_api_key(self, user: User, name: str | None) -> tuple[users.ApiKey, str]:
        """Make somebody a key; returns what is stored, and the key itself, which is not."""
        key = secrets.token_urlsafe(API_KEY_BYTES)
        return await users.add_api_key(self._dsn(), user.id, self.hash_api_key(key), name), key
