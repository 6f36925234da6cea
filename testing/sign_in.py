"""What a sign-in needs besides the front end: a provider, a backend and a Redis, all in this process."""

import asyncio
import base64
import functools
import hashlib
import html
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT_SECRET = "a secret: with +signs%"
"""Of the client `reflector`."""


class Provider:
    """An OpenID Connect provider as Authentik is one, and what it can do wrong."""

    def __init__(self, origin: str, redirect_uri: str) -> None:
        self.issuer = f"{origin}/application/o/reflector/"
        self.redirect_uri = redirect_uri
        self.document: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{origin}/application/o/authorize/",
            "token_endpoint": f"{origin}/application/o/token/",
            "jwks_uri": f"{self.issuer}jwks/",
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile", "offline_access"],
        }
        self.signing = signing_key("provider")
        self.keys = [jwk(self.signing, "key-1")]
        self.claims: dict[str, Any] = {"sub": "hashed-id", "email": "Ada@Example.org", "name": "Ada"}
        self.sign: Callable[[dict[str, Any]], str] = lambda claims: jwt.encode(
            claims, self.signing, "RS256", headers={"kid": "key-1"}
        )
        self.life = 3600
        self.padding = ""
        self.rotates = True
        self.pause = 0.0
        self.users = {"ada": "right"}
        self.denied: set[str] = set()
        self.codes: dict[str, dict[str, str]] = {}
        self.refresh_tokens: set[str] = set()
        self.asked: list[dict[str, str]] = []

    def app(self) -> Starlette:
        """What it serves; below /moved and /text is what it serves while it is not as it should be."""
        prefix = "/application/o"
        return Starlette(
            routes=[
                Route(f"{prefix}/reflector/.well-known/openid-configuration", self._discovery),
                Route(f"{prefix}/reflector/jwks/", self._jwks),
                Route(f"{prefix}/authorize/", self._sign_in, methods=["GET", "POST"]),
                Route(f"{prefix}/token/", self._token, methods=["POST"]),
                Route("/moved/.well-known/openid-configuration", self._moved),
                Route("/text/.well-known/openid-configuration", self._text),
            ]
        )

    async def _discovery(self, request: Request) -> Response:
        await asyncio.sleep(self.pause)
        return JSONResponse(self.document)

    async def _moved(self, request: Request) -> Response:
        return RedirectResponse(f"{self.issuer}.well-known/openid-configuration", 301)

    async def _text(self, request: Request) -> Response:
        return Response("not yet", 503)

    async def _jwks(self, request: Request) -> Response:
        return JSONResponse({"keys": self.keys})

    def authorize(self, url: str) -> dict[str, str]:
        """Sign in, and return the query the browser is sent back with."""
        query = dict(parse_qsl(urlsplit(url).query))
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        return {"code": code, "state": query["state"]}

    async def _sign_in(self, request: Request) -> Response:
        # For the name first, then for the password; whoever is known is not asked again.
        async with request.form() as form:
            name, password = str(form.get("uid_field", "")), str(form.get("password", ""))
        known = request.cookies.get("provider_session") or (name if self.users.get(name) == password else "")
        if known in self.denied:
            return HTMLResponse("<h1>Permission denied</h1><p>Request has been denied.</p>")
        if known:
            back = RedirectResponse(f"{self.redirect_uri}?{urlencode(self.authorize(str(request.url)))}", 303)
            back.set_cookie("provider_session", known, secure=True, httponly=True)
            return back
        field = (
            f'<input type="hidden" name="uid_field" value="{html.escape(name)}"><input id="password" name="password">'
            if name
            else '<input id="uid_field" name="uid_field">'
        )
        return HTMLResponse(f'<form method="POST">{field}<button type="submit">Continue</button></form>')

    async def _token(self, request: Request) -> Response:
        async with request.form() as form:
            given = {name: str(value) for name, value in form.items()}
        self.asked.append(given)
        if given["grant_type"] == "refresh_token":
            if (given["client_id"], given["client_secret"]) != ("reflector", CLIENT_SECRET):
                return JSONResponse({"error": "invalid_client"}, 401)
            if given["refresh_token"] not in self.refresh_tokens:
                return JSONResponse({"error": "invalid_grant"}, 400)
            return JSONResponse(self._tokens(rotate=self.rotates))
        pair = base64.b64encode(b"reflector:a+secret%3A+with+%2Bsigns%25").decode()
        if request.headers["authorization"] != f"Basic {pair}":
            return JSONResponse({"error": "invalid_client", "error_description": "Client authentication failed"}, 400)
        asked = self.codes.pop(given["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(given["code_verifier"].encode()).digest()).rstrip(b"=")
        if asked is None or asked["code_challenge"] != challenge.decode():
            return JSONResponse({"error": "invalid_grant"}, 400)
        assert given["redirect_uri"] == asked["redirect_uri"] == self.redirect_uri
        return JSONResponse(self._tokens(rotate=True))

    def _tokens(self, rotate: bool) -> dict[str, Any]:
        now = int(time.time())
        standard = {"iss": self.issuer, "aud": "reflector", "iat": now, "exp": now + self.life}
        claims = {name: value for name, value in (standard | self.claims).items() if value is not None}
        answer: dict[str, Any] = {
            "access_token": f"access-{len(self.asked)}{self.padding}",
            "id_token": self.sign(claims),
            "token_type": "Bearer",
            "expires_in": self.life,
        }
        if rotate:
            answer["refresh_token"] = f"refresh-{len(self.asked)}"
            self.refresh_tokens = {answer["refresh_token"]}
        return answer


@functools.cache
def signing_key(name: str) -> rsa.RSAPrivateKey:
    """Return the RSA key of this name, made once: that takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    """Return the public half as a provider publishes it."""
    made: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return made | {"kid": kid, "use": "sig", "alg": "RS256"}


class Backend:
    """The server as far as the front end asks it: everybody is known whose token it gave, or the provider."""

    def __init__(self) -> None:
        self.refuses = False

    def app(self) -> Starlette:
        """What it serves."""
        return Starlette(routes=[Route("/v1/me", self._me), Route("/v1/auth/login", self._log_in, methods=["POST"])])

    async def _me(self, request: Request) -> Response:
        token = request.headers["authorization"].removeprefix("Bearer ")
        if self.refuses or not token.startswith(("access-", "own-")):
            return JSONResponse({"detail": "Invalid authentication"}, 401)
        return JSONResponse({"sub": "row-1", "email": "ada@example.org"})

    async def _log_in(self, request: Request) -> Response:
        if (await request.json()) != {"email": "admin@localhost", "password": "right"}:
            return JSONResponse({"detail": "Invalid email or password"}, 401)
        return JSONResponse({"access_token": "own-token", "token_type": "bearer", "expires_in": 86_400})


class FakeRedis:
    """The keys of one Redis."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.broken = False

    @asynccontextmanager
    async def connection(self, url: str) -> AsyncIterator["FakeRedis"]:
        """Open a connection, unless it is broken."""
        if self.broken:
            raise ConnectionRefusedError("Connection refused")
        yield self

    async def get(self, name: str) -> str | None:
        """Read a key."""
        return self.keys.get(name)

    async def set(self, name: str, value: str, ex: int | None = None, px: int | None = None, nx: bool = False) -> Any:
        """Set a key; none true where `nx` keeps it from that."""
        if nx and name in self.keys:
            return None
        # Thirty days for tokens and ten seconds for a lock, as the front end has it.
        assert (ex, px) in ((2_592_000, None), (None, 10_000))
        self.keys[name] = value
        return True

    async def delete(self, *names: str) -> int:
        """Delete keys and return how many there were."""
        return sum(self.keys.pop(name, None) is not None for name in names)

    async def eval(self, script: str, numkeys: int, name: str, value: str) -> int:
        """Run the only script there is: give back a lock, if it is the caller's."""
        return await self.delete(name) if self.keys.get(name) == value else 0
