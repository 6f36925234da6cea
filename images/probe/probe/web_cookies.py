"""The front end's cookies, as next-auth 4.24.13 makes and reads them: names, encryption, parts, and the CSRF token."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from starlette.requests import Request
from starlette.responses import Response

SESSION_SECONDS = 30 * 24 * 60 * 60
"""Life of a session's cookie, begun anew whenever the session is asked for (jwt/index.ts)."""

CHECK_SECONDS = 15 * 60
"""Life of what a sign-in leaves behind until the provider answers (core/lib/oauth/checks.ts)."""

CLOCK_SECONDS = 15
"""How long after its end an encrypted token is still taken (jwt/index.ts)."""

PART_BYTES = 4096 - 163
"""Longest value of one cookie; a session that takes more comes in numbered parts (core/lib/cookie.ts)."""


class CookieError(Exception):
    """A cookie that is none of ours, or whose time is over."""


def encrypt(claims: Mapping[str, Any], secret: str, seconds: int, purpose: str = "") -> str:
    """The claims as JSON Web Encryption, ``dir`` with ``A256GCM``, under a key made from secret and purpose."""
    now = int(time.time())
    body = {**claims, "iat": now, "exp": now + seconds, "jti": str(uuid4())}
    header = _encode(json.dumps({"alg": "dir", "enc": "A256GCM"}, separators=(",", ":")).encode())
    nonce = os.urandom(12)
    sealed = AESGCM(_key(secret, purpose)).encrypt(nonce, json.dumps(body).encode(), header.encode())
    return f"{header}..{_encode(nonce)}.{_encode(sealed[:-16])}.{_encode(sealed[-16:])}"


def decrypt(text: str, secret: str, purpose: str = "") -> dict[str, Any]:
    """The claims ``encrypt`` was given, with its own; raises CookieError for anything else, and when it is over."""
    try:
        header, _, nonce, sealed, tag = text.split(".")
        opened = AESGCM(_key(secret, purpose)).decrypt(_decode(nonce), _decode(sealed) + _decode(tag), header.encode())
        claims = json.loads(opened)
    except (ValueError, InvalidTag) as problem:
        raise CookieError(f"decryption operation failed ({type(problem).__name__})") from problem
    if not isinstance(claims, dict) or claims.get("exp", 0) < time.time() - CLOCK_SECONDS:
        raise CookieError('"exp" claim timestamp check failed')
    return claims


def _key(secret: str, purpose: str) -> bytes:
    info = "NextAuth.js Generated Encryption Key" + (f" ({purpose})" if purpose else "")
    return HKDF(SHA256(), 32, purpose.encode(), info.encode()).derive(secret.encode())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(frozen=True, kw_only=True)
class Csrf:
    """The token a form must send back, whether this request did, and the cookie to set where there was none."""

    token: str
    verified: bool
    fresh: str | None


class Cookies:
    """The cookies of one site, by its address."""

    def __init__(self, url: str, secret: str) -> None:
        """Of the URL the scheme counts: prefixes that browsers guard, where it is https."""
        self.secure = urlsplit(url).scheme == "https"
        self._secret = secret
        prefix = "__Secure-" if self.secure else ""
        self.session = f"{prefix}next-auth.session-token"
        self.callback_url = f"{prefix}next-auth.callback-url"
        self.state = f"{prefix}next-auth.state"
        self.code_verifier = f"{prefix}next-auth.pkce.code_verifier"
        self.csrf = f"{'__Host-' if self.secure else ''}next-auth.csrf-token"

    def read(self, request: Request, name: str) -> str:
        """A cookie's value; empty where there is none."""
        return unquote(request.cookies.get(name, ""))

    def write(self, response: Response, name: str, value: str, seconds: int | None = None) -> None:
        """Set a cookie; it goes away with the browser where no time is given, and at once for 0."""
        same_site: Literal["lax"] = "lax"
        response.set_cookie(
            name,
            quote(value, safe="-._~!*'()"),
            seconds,
            path="/",
            secure=self.secure,
            httponly=True,
            samesite=same_site,
        )

    def remove(self, response: Response, name: str) -> None:
        """Take a cookie away."""
        self.write(response, name, "", 0)

    def keep(self, response: Response, name: str, value: str) -> None:
        """Leave a value with the browser that it cannot read, until the provider answers."""
        sealed = encrypt({"value": value}, self._secret, CHECK_SECONDS, name)
        self.write(response, name, sealed, CHECK_SECONDS)

    def kept(self, request: Request, name: str) -> str:
        """What ``keep`` left; raises CookieError where there is nothing, or nothing of ours."""
        text = self.read(request, name)
        if not text:
            raise CookieError(f"the cookie {name} was missing")
        value = decrypt(text, self._secret, name).get("value")
        if not isinstance(value, str) or not value:
            raise CookieError(f"the cookie {name} holds no value")
        return value

    def session_of(self, request: Request) -> dict[str, Any] | None:
        """What the session's cookie holds, put together from its parts; None where there is none.

        Raises CookieError for one that is none of ours.
        """
        text = "".join(self.read(request, name) for name in self._parts(request))
        return decrypt(text, self._secret) if text else None

    def write_session(self, request: Request, response: Response, claims: Mapping[str, Any]) -> None:
        """Set the session's cookie, in parts where it is long, and take away what is left of a former one."""
        text = encrypt(claims, self._secret, SESSION_SECONDS)
        parts = [text[start : start + PART_BYTES] for start in range(0, len(text), PART_BYTES)]
        named = (
            {self.session: text}
            if len(parts) == 1
            else {f"{self.session}.{number}": part for number, part in enumerate(parts)}
        )
        for name in self._parts(request):
            if name not in named:
                self.remove(response, name)
        for name, part in named.items():
            self.write(response, name, part, SESSION_SECONDS)

    def end_session(self, request: Request, response: Response) -> None:
        """Take away the session's cookie with all its parts."""
        for name in self._parts(request):
            self.remove(response, name)

    def _parts(self, request: Request) -> list[str]:
        def number(name: str) -> int:
            last = name.rpartition(".")[2]
            return int(last) if last.isdigit() else -1

        return sorted((name for name in request.cookies if name.startswith(self.session)), key=number)

    def csrf_of(self, request: Request, sent: str | None) -> Csrf:
        """The token of this browser; ``sent`` is what a form sent back, None where none was sent."""
        token, _, digest = self.read(request, self.csrf).partition("|")
        if token and hmac.compare_digest(digest, self._digest(token)):
            return Csrf(token=token, verified=sent is not None and hmac.compare_digest(sent, token), fresh=None)
        token = secrets.token_hex(32)
        return Csrf(token=token, verified=False, fresh=f"{token}|{self._digest(token)}")

    def _digest(self, token: str) -> str:
        return hashlib.sha256(f"{token}{self._secret}".encode()).hexdigest()
