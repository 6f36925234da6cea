"""A request as Authentik sees it: who is believed about the address it was made to, and the session behind its cookie.

Scheme and host come from X-Forwarded-Proto and X-Forwarded-Host where the peer is a trusted proxy, else from the
connection and the Host header; the visitor's address is the right-most of X-Forwarded-For that is no trusted proxy.
"""

import hashlib
import html
import ipaddress
import secrets
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import jwt
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from probe.authentik_models import USER
from probe.authentik_registry import Object, Registry
from probe.authentik_settings import Network
from probe.authentik_store import ACCESS, CODE, SESSION, Document, Store

COOKIE = "authentik_session"

SESSION_SECONDS = 24 * 3600.0
"""How long a session is kept; the cookie itself ends with the browser."""


@dataclass(kw_only=True)
class Visit:
    """One request, with the registry as it was when it came, and its session, which ``finish`` keeps."""

    request: Request
    store: Store
    registry: Registry
    install_id: str
    avatars: str
    scheme: str
    host: str
    client_ip: str
    key: str | None
    session: Document = field(default_factory=dict)
    _secret: str
    _ended: list[str] = field(default_factory=list)
    _before: Document = field(default_factory=dict)

    @classmethod
    async def open(
        cls, request: Request, store: Store, trusted: Sequence[Network], secret: str, install_id: str, avatars: str
    ) -> "Visit":
        """Look at a request."""
        peer = request.client.host if request.client is not None else ""
        believed = _is_in(peer, trusted)
        headers = request.headers
        scheme, host = request.url.scheme, headers.get("host", "")
        if believed:
            scheme = headers.get("x-forwarded-proto", scheme).split(",")[0].strip()
            host = headers.get("x-forwarded-host", host).split(",")[0].strip()
        visit = cls(
            request=request,
            store=store,
            registry=await store.registry(),
            install_id=install_id,
            avatars=avatars,
            scheme=scheme,
            host=host,
            client_ip=_client(peer, headers.get("x-forwarded-for", ""), trusted) if believed else peer,
            key=_session_key(request.cookies.get(COOKIE, ""), secret),
            _secret=secret,
        )
        if visit.key is not None:
            found = await store.get(SESSION, visit.key)
            if found is None or found["expires"] < time.time():
                visit.key = None
            else:
                visit.session, visit._before = found, deepcopy(found)
        return visit

    @property
    def user(self) -> Object | None:
        """Who has signed in, and still may."""
        found = self.registry.get(USER, self.session.get("user"))
        return found if found is not None and found["is_active"] else None

    @property
    def own_path(self) -> str:
        """Path and query of this request."""
        query = self.request.url.query
        return self.request.url.path + (f"?{query}" if query else "")

    def absolute(self, path: str) -> str:
        """A path of Authentik as the visitor's browser would have it."""
        return f"{self.scheme}://{self.host}{path}"

    def sign_in(self, user: Object) -> None:
        """Begin a new session for the user."""
        self._leave()
        self.session = {"user": user["pk"], "auth_time": int(time.time()), "login": secrets.token_hex(16)}

    def sign_out(self) -> None:
        """End the session; the access tokens made with it end too, the refresh tokens live on."""
        self._leave()
        self.session = {}

    async def finish(self, response: Response) -> Response:
        """Keep the session, and give its cookie to the browser where it is new."""
        for key in self._ended:
            await self.store.delete(SESSION, key)
            await self.store.end("session", hash_session(key), (ACCESS, CODE))
        if self.session and (self._ended or self.key is None or self.session != self._before):
            if self.key is None:
                self.key = secrets.token_urlsafe(24)
                self._set_cookie(response)
            await self.store.put(SESSION, self.key, {**self.session, "expires": time.time() + SESSION_SECONDS})
        elif not self.session and COOKIE in self.request.cookies:
            response.delete_cookie(COOKIE)
        return response

    def page(self, title: str, body: str, status: int = 200) -> Response:
        """A page with the brand in its title; ``body`` is HTML."""
        brand = html.escape(self.registry.brand_title())
        return HTMLResponse(
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)} - {brand}</title>'
            f"</head><body><main><h1>{html.escape(title)}</h1>{body}</main></body></html>",
            status_code=status,
        )

    def _leave(self) -> None:
        if self.key is not None:
            self._ended.append(self.key)
        self.key = None

    def _set_cookie(self, response: Response) -> None:
        secure = self.scheme == "https"
        user = self.user
        claims: dict[str, Any] = {
            "sid": self.key,
            "iss": "authentik",
            "sub": "anonymous" if user is None else uid(user, self.install_id),
            "authenticated": user is not None,
            "acr": "goauthentik.io/core/default",
        }
        response.set_cookie(
            COOKIE,
            jwt.encode(claims, _signing_key(self._secret), algorithm="HS256"),
            httponly=True,
            secure=secure,
            samesite="none" if secure else "lax",
        )


def uid(user: Object, install_id: str) -> str:
    """The hashed id of a user: the same after a restore, another in a fresh database."""
    return hashlib.sha256(f"{user['pk']}-{install_id}".encode()).hexdigest()


def hash_session(key: str) -> str:
    """How tokens name a session (``sid``)."""
    return hashlib.sha256(key.encode()).hexdigest()


def _signing_key(secret: str) -> str:
    return hashlib.sha512(secret.encode()).hexdigest()


def _session_key(cookie: str, secret: str) -> str | None:
    try:
        return str(jwt.decode(cookie, _signing_key(secret), algorithms=["HS256"])["sid"])
    except (jwt.PyJWTError, KeyError):
        return None


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in networks)


def _client(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    for address in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
        if not _is_in(address, trusted):
            return address
    return peer
