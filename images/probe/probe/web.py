"""The role ``web``: the front end on port 3000, with the variables and the trust Node.js would use."""

import logging
import time
from datetime import UTC, datetime
from typing import Any

import redis.exceptions
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from probe import redis_client, trust, web_openid
from probe.edge import get_through_edge, http_client
from probe.environment import Environment, check_of, parse_url
from probe.serving import Listener, Role
from probe.web_auth import Auth, features, provider_of
from probe.web_openid import VARIABLES
from probe.web_session import redis_url
from probe.wiring import Check, WiringError, describe

PORT = 3000
"""Upstream's port (www/Dockerfile)."""

log = logging.getLogger("probe.web")


def role(env: Environment) -> Role:
    """Assemble the role."""
    return Role(name="web", checks=checks(env), listeners=[Listener(app=application(env), port=PORT)])


def checks(env: Environment) -> list[Check]:
    """What the front end depends on."""
    return [
        check_of(env, "server", check_server),
        check_of(env, "redis", check_redis),
        check_of(env, "trust", check_trust),
        check_of(env, "edge", check_edge),
        check_of(env, "urls", check_urls),
        check_of(env, "session", check_session),
        *([check_of(env, "provider", check_provider)] if provider_of(env) == "authentik" else []),
    ]


async def check_server(env: Environment) -> dict[str, Any]:
    """The backend by its inner address, and its login route where passwords are used."""
    base = env.required("SERVER_API_URL")
    env.url("SERVER_API_URL")
    passwords = provider_of(env) == "credentials"
    async with http_client(verify=trust.node_context(env.values)) as client:
        response = await client.get(f"{base}/health")
        if response.status_code != 200:
            raise WiringError(f"SERVER_API_URL: GET {base}/health answered {response.status_code}, expected 200")
        if passwords:
            # The route takes POST only: 405 proves that it exists without spending one of its few attempts.
            response = await client.get(f"{base}/v1/auth/login")
            if response.status_code != 405:
                raise WiringError(
                    f"AUTH_PROVIDER=credentials, but the server has no password login "
                    f"({base}/v1/auth/login answered {response.status_code}); its AUTH_BACKEND must be password"
                )
    return {"url": base, "password_login": passwords}


async def check_redis(env: Environment) -> dict[str, Any]:
    """The session cache."""
    return await redis_client.exercise(redis_url(env))


async def check_trust(env: Environment) -> dict[str, Any]:
    """What Node.js trusts."""
    return trust.check_node(env.values)


async def check_edge(env: Environment) -> dict[str, Any]:
    """SITE_URL leads back here through the edge, with the front end's own trust."""
    return await get_through_edge(env, "SITE_URL", "/api/health", trust.node_context(env.values))


async def check_urls(env: Environment) -> dict[str, Any]:
    """The browser's addresses agree with each other, and NextAuth reaches itself."""
    site = env.url("SITE_URL")
    api = env.url("API_URL")
    auth = env.url("NEXTAUTH_URL")
    if (auth.scheme, auth.netloc) != (site.scheme, site.netloc):
        raise WiringError("NEXTAUTH_URL and SITE_URL must have the same origin, or sign-in redirects go astray")
    if site.scheme == "https" and api.scheme != "https":
        raise WiringError("API_URL is plain HTTP although SITE_URL is HTTPS: browsers block it as mixed content")
    websocket = env.text("WEBSOCKET_URL") or "auto"
    if websocket != "auto":
        parse_url("WEBSOCKET_URL", websocket, ("ws", "wss"))
    internal = env.text("NEXTAUTH_URL_INTERNAL") or env.required("NEXTAUTH_URL")
    if env.text("NEXTAUTH_URL_INTERNAL"):
        env.url("NEXTAUTH_URL_INTERNAL")
        async with http_client() as client:
            response = await client.get(f"{internal.rstrip('/')}/api/health")
        if response.status_code != 200:
            raise WiringError(f"NEXTAUTH_URL_INTERNAL: {internal}/api/health answered {response.status_code}")
    return {"site": env.text("SITE_URL"), "api": env.text("API_URL"), "websocket": websocket, "internal": internal}


async def check_session(env: Environment) -> dict[str, Any]:
    """Sign-in has what it needs."""
    if len(env.required("NEXTAUTH_SECRET")) < 32:
        raise WiringError("NEXTAUTH_SECRET is shorter than 32 characters")
    provider = env.text("AUTH_PROVIDER")
    if provider_of(env) == "authentik":
        missing = [name for name in VARIABLES if not env.text(name)]
        if missing:
            raise WiringError(
                f"sign-in is required and AUTH_PROVIDER is {provider or 'unset'}, which means Authentik, "
                f"but {', '.join(missing)} are not set"
            )
        env.url("AUTHENTIK_ISSUER")
    return {"provider": provider or None, "features": features(env)}


async def check_provider(env: Environment) -> dict[str, Any]:
    """The provider by its public name and port, as sign-in asks it."""
    auth = Auth(env)
    return await web_openid.check_provider(auth.client(auth.site))


def application(env: Environment, auth: Auth | None = None) -> Starlette:
    """The page, sign-in and the health endpoint; ``auth`` takes the place of what the environment says of sign-in."""
    started = time.monotonic()
    signing = auth or Auth(env)

    async def health(request: Request) -> Response:
        healthy = True
        try:
            await redis_client.exercise(redis_url(env))
        except (WiringError, redis.exceptions.RedisError, OSError, RuntimeError) as error:
            log.warning("redis: %s", describe(error))
            healthy = False
        body = {
            "status": "healthy",
            "timestamp": datetime.now(UTC).isoformat(),
            "uptime": round(time.monotonic() - started, 3),
            "environment": env.text("NODE_ENV"),
            "checks": {"redis": healthy},
        }
        return JSONResponse(body, status_code=200 if healthy else 503)

    async def page(request: Request) -> Response:
        shown = {name: env.text(name) or None for name in ("API_URL", "WEBSOCKET_URL", "AUTH_PROVIDER")}
        return await signing.home(request, {**shown, **features(env)})

    return Starlette(routes=[Route("/api/health", health), *signing.routes(), Route("/", page)])
