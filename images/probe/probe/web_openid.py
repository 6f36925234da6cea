"""Sign-in at an OpenID Connect provider, as openid-client 5.7.1 does it for next-auth's provider ``authentik``."""

import asyncio
import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx
import jwt

from probe.environment import Environment
from probe.wiring import WiringError

REQUEST_SECONDS = 3.5
"""Longest wait for one answer of the provider (openid-client's lib/helpers/request.js); Reflector cannot change it."""

CLOCK_SECONDS = 10
"""How far the provider's clock may be off (next-auth's core/lib/oauth/client.ts)."""

SCOPE = "openid email profile offline_access"
"""What Reflector asks for (www/app/lib/authBackend.ts, v0.45.0)."""

ALGORITHM = "RS256"
"""What an id token must be signed with: openid-client's default, and nobody sets another."""

REQUIRED_CLAIMS = ("iss", "sub", "aud", "exp", "iat")

HttpClients = Callable[[], httpx.AsyncClient]
"""Makes a client that trusts what Node.js would."""

VARIABLES = ("AUTHENTIK_CLIENT_ID", "AUTHENTIK_CLIENT_SECRET", "AUTHENTIK_ISSUER", "AUTHENTIK_REFRESH_TOKEN_URL")


class ProviderError(Exception):
    """The provider, or what came back from it, is not as it must be."""


@dataclass(frozen=True, kw_only=True)
class ProviderSettings:
    """The provider as the variables tell it."""

    client_id: str
    client_secret: str
    issuer: str
    refresh_url: str

    @classmethod
    def from_environment(cls, env: Environment) -> "ProviderSettings":
        """Read AUTHENTIK_*; raises WiringError where one is not set, or the issuer is no URL."""
        env.url("AUTHENTIK_ISSUER")
        client_id, client_secret, issuer, refresh_url = (env.required(name) for name in VARIABLES)
        return cls(client_id=client_id, client_secret=client_secret, issuer=issuer, refresh_url=refresh_url)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a provider tells of itself; the issuer is taken from here, whatever the variable says."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    document: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What the provider gave for a code: the tokens, their life in seconds, and the id token's claims."""

    access_token: str | None
    refresh_token: str | None
    expires_in: int | None
    claims: Mapping[str, Any]


def code_verifier() -> str:
    """A fresh secret of one sign-in, for PKCE or as its state."""
    return secrets.token_urlsafe(32)


def code_challenge(verifier: str) -> str:
    """What is told of the verifier beforehand (S256)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


class OpenIdClient:
    """Speaks with one provider."""

    def __init__(self, provider: ProviderSettings, redirect_uri: str, http: HttpClients) -> None:
        """``redirect_uri`` is where the provider sends the browser back to; ``http`` makes a client for one request."""
        self.provider = provider
        self.redirect_uri = redirect_uri
        self._http = http

    async def discover(self) -> Metadata:
        """Ask what the provider is; this is done anew for each step of each sign-in."""
        document = await self._json("GET", f"{self.provider.issuer}/.well-known/openid-configuration")
        names = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
        missing = [name for name in names if not isinstance(document.get(name), str)]
        if missing:
            raise ProviderError(f"{', '.join(missing)} must be configured on the issuer")
        return Metadata(**{name: document[name] for name in names}, document=document)

    def authorization_url(self, metadata: Metadata, state: str, challenge: str) -> str:
        """Where the browser goes to sign in. No nonce is sent: next-auth checks state and PKCE here."""
        query = {
            "client_id": self.provider.client_id,
            "scope": SCOPE,
            "response_type": "code",
            "redirect_uri": self.redirect_uri,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        separator = "&" if "?" in metadata.authorization_endpoint else "?"
        return f"{metadata.authorization_endpoint}{separator}{urlencode(query)}"

    async def callback(self, query: Mapping[str, str], state: str, verifier: str) -> Tokens:
        """Exchange the code the browser came back with; raises ProviderError for whatever does not fit."""
        metadata = await self.discover()
        given = query.get("state")
        if given != state:
            raise ProviderError(
                f"state mismatch, expected {state}, got: {given}" if given else "state missing from the response"
            )
        if query.get("iss", metadata.issuer) != metadata.issuer:
            raise ProviderError(f"iss mismatch, expected {metadata.issuer}, got: {query['iss']}")
        if "code" not in query:
            raise ProviderError("code missing from response")
        # Form-encoded before it is put together, so that a colon in either half stays where it is.
        pair = f"{quote_plus(self.provider.client_id)}:{quote_plus(self.provider.client_secret)}"
        answer = await self._json(
            "POST",
            metadata.token_endpoint,
            headers={"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"},
            data={
                "grant_type": "authorization_code",
                "code": query["code"],
                "redirect_uri": self.redirect_uri,
                "code_verifier": verifier,
            },
        )
        id_token = answer.get("id_token")
        if not isinstance(id_token, str):
            raise ProviderError("id_token not present in TokenSet")
        access_token, refresh_token = answer.get("access_token"), answer.get("refresh_token")
        claims = await self.verify(metadata, id_token, access_token)
        return Tokens(
            access_token=access_token,
            refresh_token=refresh_token,
            expires_in=answer.get("expires_in"),
            claims=claims,
        )

    async def verify(self, metadata: Metadata, id_token: str, access_token: str | None) -> dict[str, Any]:
        """The claims of an id token that holds in every respect; raises ProviderError for any other."""
        try:
            header = jwt.get_unverified_header(id_token)
            claims: dict[str, Any] = jwt.decode(id_token, options={"verify_signature": False})
        except jwt.PyJWTError as problem:
            raise ProviderError(f"failed to decode JWT ({problem})") from problem
        if header.get("alg") != ALGORITHM:
            raise ProviderError(f"unexpected JWT alg received, expected {ALGORITHM}, got: {header.get('alg')}")
        self._check_claims(metadata, claims)
        wanted = {"alg": ALGORITHM, "use": "sig", **({"kid": header["kid"]} if "kid" in header else {})}
        keys = (await self._json("GET", metadata.jwks_uri)).get("keys")
        found = [key for key in keys or [] if _fits(key, header.get("kid"))]
        described = json.dumps(wanted)
        if not found:
            raise ProviderError(f"no valid key found in issuer's jwks_uri for key parameters {described}")
        if len(found) > 1 and "kid" not in header:
            raise ProviderError(f"multiple matching keys found in issuer's jwks_uri for key parameters {described}")
        if not any(_signed_by(id_token, key) for key in found):
            raise ProviderError("failed to validate JWT signature")
        at_hash = claims.get("at_hash")
        if access_token and at_hash is not None:
            half = hashlib.sha256(access_token.encode()).digest()[:16]
            if at_hash != base64.urlsafe_b64encode(half).rstrip(b"=").decode():
                raise ProviderError("at_hash mismatch")
        return claims

    def _check_claims(self, metadata: Metadata, claims: Mapping[str, Any]) -> None:
        now = time.time()
        for name in REQUIRED_CLAIMS:
            if name not in claims:
                raise ProviderError(f"missing required JWT property {name}")
        if claims["iss"] != metadata.issuer:
            raise ProviderError(f"unexpected iss value, expected {metadata.issuer}, got: {claims['iss']}")
        for name in ("iat", "nbf", "exp"):
            if name in claims and not isinstance(claims[name], int | float):
                raise ProviderError(f"JWT {name} claim must be a JSON numeric value")
        if claims.get("nbf", now) > now + CLOCK_SECONDS:
            raise ProviderError(f"JWT not active yet, now {now:.0f}, nbf {claims['nbf']}")
        if now - CLOCK_SECONDS >= claims["exp"]:
            raise ProviderError(f"JWT expired, now {now:.0f}, exp {claims['exp']}")
        client_id, audience = self.provider.client_id, claims["aud"]
        if isinstance(audience, list):
            if len(audience) > 1 and "azp" not in claims:
                raise ProviderError("missing required JWT property azp")
            if client_id not in audience:
                raise ProviderError(f"aud is missing the client_id, expected {client_id} to be included in {audience}")
        elif audience != client_id:
            raise ProviderError(f"aud mismatch, expected {client_id}, got: {audience}")
        if claims.get("azp", client_id) != client_id:
            raise ProviderError(f"azp mismatch, got: {claims['azp']}")
        # None was sent, so a token that holds one was made for another sign-in.
        if claims.get("nonce"):
            raise ProviderError(f"nonce mismatch, expected undefined, got: {claims['nonce']}")

    async def _json(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        try:
            async with asyncio.timeout(REQUEST_SECONDS), self._http() as client:
                response = await client.request(method, url, follow_redirects=False, **request)
        except TimeoutError:
            raise ProviderError(f"outgoing request timed out after {REQUEST_SECONDS * 1000:.0f}ms ({url})") from None
        except httpx.HTTPError as problem:
            raise ProviderError(f"{type(problem).__name__}: {problem} ({url})") from problem
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.status_code != HTTPStatus.OK:
            if isinstance(answer, dict) and answer.get("error"):
                description = answer.get("error_description")
                raise ProviderError(f"{answer['error']} ({description})" if description else str(answer["error"]))
            status = HTTPStatus(response.status_code)
            raise ProviderError(f"expected 200 OK, got: {status.value} {status.phrase}")
        if not isinstance(answer, dict):
            raise ProviderError(f"{url} answered no JSON object")
        return answer


def _fits(key: Mapping[str, Any], kid: str | None) -> bool:
    return (
        key.get("kty") == "RSA"
        and key.get("use") in (None, "sig")
        and key.get("alg") in (None, ALGORITHM)
        and kid in (None, key.get("kid"))
    )


def _signed_by(id_token: str, key: Mapping[str, Any]) -> bool:
    try:
        # The claims have been looked at, with another tolerance than this library's.
        jwt.PyJWS().decode(id_token, jwt.PyJWK(dict(key), ALGORITHM), algorithms=[ALGORITHM])
    except jwt.PyJWTError:
        return False
    return True


async def check_provider(client: OpenIdClient) -> dict[str, Any]:
    """Prove that people can sign in at the provider; raises WiringError by the variable that does not fit."""
    provider = client.provider
    if provider.issuer.endswith("/"):
        raise WiringError(
            f"AUTHENTIK_ISSUER {provider.issuer} ends with a slash: the front end then asks for //.well-known"
        )
    try:
        metadata = await client.discover()
        keys = (await client._json("GET", metadata.jwks_uri)).get("keys") or []
    except ProviderError as problem:
        raise WiringError(f"AUTHENTIK_ISSUER {provider.issuer}: {problem}") from problem
    # Authentik's own name ends with a slash that the variable must not have; other providers' have none.
    if metadata.issuer not in (provider.issuer, f"{provider.issuer}/"):
        raise WiringError(f"AUTHENTIK_ISSUER is {provider.issuer}, but the provider calls itself {metadata.issuer}")
    if metadata.token_endpoint != provider.refresh_url:
        raise WiringError(
            f"AUTHENTIK_REFRESH_TOKEN_URL is {provider.refresh_url}, but the provider's is {metadata.token_endpoint}"
        )
    if ALGORITHM not in metadata.document.get("id_token_signing_alg_values_supported", [ALGORITHM]):
        raise WiringError(f"AUTHENTIK_ISSUER {provider.issuer}: the provider does not sign with {ALGORITHM}")
    if not any(_fits(key, None) for key in keys):
        raise WiringError(f"AUTHENTIK_ISSUER {provider.issuer}: no RSA key is published at {metadata.jwks_uri}")
    missing = set(SCOPE.split()) - set(metadata.document.get("scopes_supported", SCOPE.split()))
    if missing:
        raise WiringError(f"AUTHENTIK_ISSUER {provider.issuer}: the provider knows no scope {', '.join(missing)}")
    return {"issuer": metadata.issuer, "token_endpoint": metadata.token_endpoint, "keys": len(keys)}
