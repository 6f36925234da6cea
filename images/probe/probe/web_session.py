"""A session of the front end: its tokens in Redis, their renewal, and what the browser is told.

As www/app/lib/authBackend.ts of v0.45.0 does it, with what it prints: users' tokens, on every call.
"""

import asyncio
import json
import random
import secrets
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import httpx
import redis.exceptions

from probe import redis_client
from probe.environment import Environment, parse_url
from probe.web_cookies import SESSION_SECONDS
from probe.web_openid import HttpClients, ProviderSettings
from probe.wiring import WiringError, describe

REFRESH_MILLISECONDS = 4 * 60 * 1000
"""A token that has less left is renewed; a cached one that is older is deleted first (www/app/lib/auth.ts)."""

CACHE_SECONDS = 30 * 24 * 60 * 60
"""How long Redis keeps somebody's tokens (www/app/lib/redisTokenCache.ts)."""

CACHED = {"sub": str, "name": str, "email": str, "accessToken": str, "accessTokenExpires": float, "refreshToken": str}
"""What is kept of a token, and of which type; the rest is dropped, and without the two that are required it is none."""

LOCK_MILLISECONDS = 10_000
LOCK_TRIES = 11
LOCK_WAIT_SECONDS = (0.1, 0.3)
"""Life of the lock, how often it is tried, and the pause between (redlock 5's own)."""

UNLOCK = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"

REFRESH_ERROR = "RefreshAccessTokenError"

Token = dict[str, Any]
"""A session's token: what CACHED names, ``accessTokenExpires`` in milliseconds since 1970, and perhaps an ``error``."""


class SessionError(Exception):
    """There is no session: the browser's cookie is taken away."""


def redis_url(env: Environment) -> str:
    """KV_URL, with TLS where KV_USE_TLS says so."""
    url = env.required("KV_URL")
    parse_url("KV_URL", url, ("redis", "rediss"))
    return url.replace("redis://", "rediss://", 1) if env.text("KV_USE_TLS") == "true" else url


def console_log(*words: object) -> None:
    """Print as Node.js does: objects with a line for each of their members."""
    print(*(word if isinstance(word, str) else inspect(word) for word in words), flush=True)


def console_error(*words: object) -> None:
    """The same, on standard error."""
    print(*(word if isinstance(word, str) else inspect(word) for word in words), file=sys.stderr, flush=True)


def inspect(value: object) -> str:
    """An object as Node.js shows it, which is no JSON: ``{ name: 'value' }``, one member a line."""
    if isinstance(value, Mapping):
        return "{\n" + ",\n".join(f"  {name}: {inspect(item)}" for name, item in value.items()) + "\n}"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def milliseconds() -> float:
    """Now, as JavaScript counts it."""
    return round(time.time() * 1000)


def session_end() -> str:
    """When a session ends that is asked for now, in ISO 8601."""
    end = datetime.now(UTC) + timedelta(seconds=SESSION_SECONDS)
    return end.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def should_refresh(token: Mapping[str, Any]) -> bool:
    """Whether a token has so little left that a new one is fetched."""
    return bool(token["accessTokenExpires"] - milliseconds() < REFRESH_MILLISECONDS)


class TokenCache:
    """Somebody's tokens in Redis, under ``token:<sub>``."""

    def __init__(self, url: str) -> None:
        """Keep the address; each call opens a connection."""
        self._url = url

    async def read(self, sub: str) -> tuple[Token, float] | None:
        """The token and when it was put there, in milliseconds; what cannot be read is deleted."""
        async with redis_client.connection(self._url) as client:
            text = await client.get(f"token:{sub}")
        if text is None:
            return None
        try:
            entry = json.loads(text)
            return _cached(entry["token"]), float(entry["timestamp"])
        except (ValueError, KeyError, TypeError) as problem:
            console_error("Invalid token cache data:", str(problem))
            await self.delete(sub)
            return None

    async def write(self, sub: str, token: Token) -> None:
        """Keep a token for thirty days, over the former one; raises ValueError for one that is none."""
        text = json.dumps({"token": _cached(token), "timestamp": milliseconds()})
        async with redis_client.connection(self._url) as client:
            await client.set(f"token:{sub}", text, ex=CACHE_SECONDS)

    async def delete(self, sub: str) -> None:
        """Forget somebody's token."""
        async with redis_client.connection(self._url) as client:
            await client.delete(f"token:{sub}")

    @asynccontextmanager
    async def lock(self, sub: str) -> AsyncIterator[None]:
        """Keep everybody else from renewing the token; raises SessionError where somebody else is at it too long."""
        name, mine = f"{sub}-lock", secrets.token_hex(16)
        async with redis_client.connection(self._url) as client:
            for left in reversed(range(LOCK_TRIES)):
                if await client.set(name, mine, px=LOCK_MILLISECONDS, nx=True):
                    break
                if left == 0:
                    raise SessionError("The operation was unable to achieve a quorum during its retry window.")
                await asyncio.sleep(random.uniform(*LOCK_WAIT_SECONDS))
            try:
                yield
            finally:
                await client.eval(UNLOCK, 1, name, mine)


def _cached(token: Mapping[str, Any]) -> Token:
    kept: Token = {}
    for name, kind in CACHED.items():
        value = token.get(name)
        if value is None and name not in ("accessToken", "accessTokenExpires"):
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
            raise ValueError(f"{name}: expected {'number' if kind is float else 'string'}")
        kept[name] = value
    return kept


class Sessions:
    """What a session's token is worth today, and what the browser is told of it."""

    def __init__(self, env: Environment, http: HttpClients) -> None:
        """Keep the environment; ``http`` makes a client for one request."""
        self.env = env
        self._http = http

    @property
    def cache(self) -> TokenCache:
        """Where tokens are kept; raises WiringError where no place is named."""
        return TokenCache(redis_url(self.env))

    async def begin(self, token: Token) -> None:
        """Keep the token of somebody who has just signed in at the provider."""
        await self.cache.write(token["sub"], token)

    async def current(self, token: Token) -> Token:
        """The token in force for the one of the cookie, renewed where it is about to end.

        One that cannot be renewed comes back with an ``error``.
        """
        found = await self.cache.read(token["sub"])
        returned = found is not None and not should_refresh(found[0])
        shown = None if found is None else {"token": found[0], "timestamp": found[1]}
        console_log("currentToken from cache", json.dumps(shown, indent=2), "will be returned?", inspect(returned))
        if found is not None and returned:
            return found[0]
        return await self._renew_alone(token)

    async def _renew_alone(self, token: Token) -> Token:
        sub = token["sub"]
        try:
            async with self.cache.lock(sub):
                found = await self.cache.read(sub)
                if found is None:
                    console_log("no cached token received")
                else:
                    old = milliseconds() - found[1] > REFRESH_MILLISECONDS
                    console_log("received cached token. to delete?", inspect(old))
                    if old:
                        await self.cache.delete(sub)
                    elif not should_refresh(found[0]):
                        console_log("returning cached token", found[0])
                        return found[0]
                before = token if found is None else found[0]
                after = await self._renew(before)
                console_log("current token during refresh", before)
                console_log("new token during refresh", after)
                if "error" in after:
                    await self.cache.delete(sub)
                else:
                    await self.cache.write(sub, after)
                return after
        # Whatever went wrong, upstream says so in the token, and forgets what it had.
        except (SessionError, ValueError, redis.exceptions.RedisError, OSError) as problem:
            console_error("error refreshing token", describe(problem))
            try:
                await self.cache.delete(sub)
            except (redis.exceptions.RedisError, OSError) as deletion:
                console_error("error deleting errored token", describe(deletion))
            return {**token, "error": REFRESH_ERROR}

    async def _renew(self, token: Token) -> Token:
        provider = ProviderSettings.from_environment(self.env)
        form = {
            "client_id": provider.client_id,
            "client_secret": provider.client_secret,
            "grant_type": "refresh_token",
            # JavaScript writes a missing one as this word: after a provider that gave none, the next renewal fails.
            "refresh_token": token.get("refreshToken", "undefined"),
        }
        try:
            async with self._http() as client:
                response = await client.post(provider.refresh_url, data=form, follow_redirects=True)
            if response.status_code != HTTPStatus.OK:
                console_error("Failed to refresh access token. Response status:", response.status_code)
                console_error("Response body:", response.text)
                raise ValueError(f"Failed to refresh access token: {response.reason_phrase}")
            given = response.json()
            renewed = {
                **token,
                "accessToken": given["access_token"],
                "accessTokenExpires": milliseconds() + given["expires_in"] * 1000,
            }
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as problem:
            console_error("Error refreshing access token", describe(problem))
            return {**token, "error": REFRESH_ERROR}
        renewed.pop("refreshToken", None)
        if given.get("refresh_token") is not None:
            renewed["refreshToken"] = given["refresh_token"]
        return renewed

    async def user_id(self, access_token: str) -> str | None:
        """Who the backend says the token belongs to; None where it refuses, or cannot be asked."""
        try:
            url = f"{self.env.required('SERVER_API_URL')}/v1/me"
            async with self._http() as client:
                response = await client.get(url, headers={"Authorization": f"Bearer {access_token}"})
            if not response.is_success:
                console_error(response.text)
                return None
            return str(response.json()["sub"] or "") or None
        except (httpx.HTTPError, WiringError, ValueError, KeyError, TypeError) as problem:
            console_error("Error fetching user ID from backend:", describe(problem))
            return None

    async def told(self, token: Token, passwords: bool) -> dict[str, Any]:
        """What the browser is told of a session.

        Raises SessionError where it is nobody's: next-auth catches that, answers as if there were no session, with 200,
        and takes the cookie away.
        """
        if not passwords:
            console_log("extendedToken", token)
        user_id = token.get("sub") if passwords else await self.user_id(token["accessToken"])
        if not user_id:
            raise SessionError("User ID required")
        session = {
            "user": {"id": user_id, "name": token.get("name"), "email": token.get("email")},
            "expires": session_end(),
            "accessToken": token["accessToken"],
            "accessTokenExpires": token["accessTokenExpires"],
        }
        return session | ({"error": token["error"]} if "error" in token else {})
