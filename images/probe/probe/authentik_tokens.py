"""Tokens of a provider: keys, claims, and what is kept of each (authentik/providers/oauth2, id_token.py, models.py)."""

import base64
import hashlib
import secrets
import time
from datetime import timedelta
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from probe.authentik_fields import load_key, parse_duration
from probe.authentik_models import CERTIFICATE, SCOPE, USER
from probe.authentik_registry import Object, Registry, names
from probe.authentik_request import Visit, uid
from probe.authentik_store import ACCESS, CODE, REFRESH, Document, Store

ACR: Final = "goauthentik.io/providers/oauth2/default"
OFFLINE: Final = "offline_access"

ENDPOINTS: Final = "/application/o/"

CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


def token_key(token: str) -> str:
    """Under what a token or code is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


def life(provider: Object, field: str) -> timedelta:
    """One of the provider's durations."""
    return parse_duration(provider[field])


def issuer(visit: Visit, application: Object) -> str:
    """The issuer, which ends with a slash, as this visitor has it."""
    return visit.absolute(f"{ENDPOINTS}{application['slug']}/")


def kid(pair: Object) -> str:
    """The id of a key: of its text as it is kept."""
    return _base64url(hashlib.sha512(pair["key_data"].encode()).digest())


def scopes(registry: Registry, provider: Object) -> list[str]:
    """The names of the scopes a provider maps."""
    found = [registry.get(SCOPE, key) for key in provider["property_mappings"]]
    return sorted(scope["scope_name"] for scope in found if scope is not None)


def algorithm(registry: Registry, provider: Object) -> str:
    """By what its tokens are signed."""
    return _signer(registry, provider)[1]


def jwk(pair: Object) -> dict[str, Any]:
    """A key pair as a JSON Web Key. The numbers are the key's, x5c is the certificate."""
    private = load_key(pair["key_data"])
    public = private.public_key()
    certificate = x509.load_pem_x509_certificate(pair["certificate_data"].encode())
    key: dict[str, Any] = {"alg": _algorithm(private), "kid": kid(pair), "use": "sig"}
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        key |= {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    elif isinstance(public, ec.EllipticCurvePublicKey):
        point = public.public_numbers()
        size = (public.curve.key_size + 7) // 8
        curve = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}[public.curve.name]
        key |= {"kty": "EC", "crv": curve, "x": _number(point.x, size), "y": _number(point.y, size)}
    key["x5c"] = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]
    # SHA-1 because the field is defined that way (RFC 7517); nothing is trusted by it.
    key["x5t"] = _base64url(certificate.fingerprint(hashes.SHA1()))
    key["x5t#S256"] = _base64url(certificate.fingerprint(hashes.SHA256()))
    return key


def user_claims(registry: Registry, user: Object, wanted: list[str]) -> dict[str, Any]:
    """What the packaged scope mappings say of a user; verified is an address never."""
    claims: dict[str, Any] = {}
    if "email" in wanted:
        claims |= {"email": user["email"], "email_verified": False}
    if "entitlements" in wanted:
        claims |= {"entitlements": [], "roles": []}
    if "profile" in wanted:
        groups = [group for group in registry.groups_of(user) if group["pk"] in user["groups"]]
        claims |= {
            "name": user["name"],
            "given_name": user["name"],
            "preferred_username": user["username"],
            "nickname": user["username"],
            "groups": sorted(names(groups)),
        }
    return claims


def subject(visit: Visit, provider: Object, user: Object) -> str:
    """Who the user is to the application, by the provider's mode."""
    hashed = uid(user, visit.install_id)
    return str(
        {
            "hashed_user_id": hashed,
            "user_id": user["pk"],
            "user_uuid": uuid5(NAMESPACE_URL, hashed),
            "user_username": user["username"],
            "user_email": user["email"],
            "user_upn": user["attributes"].get("upn", hashed),
        }[provider["sub_mode"]]
    )


async def issue(visit: Visit, provider: Object, application: Object, grant: Document) -> dict[str, Any]:
    """The answer of the token endpoint for a grant: access and id token, and a refresh token where its scope says so.

    ``grant`` has ``user``, ``scope`` (list), ``auth_time``, ``session`` (hash or None) and ``nonce`` (or None).
    """
    now = int(time.time())
    validity = life(provider, "access_token_validity")
    claims = _id_token(visit, provider, application, grant, now + int(validity.total_seconds()))
    access = {**claims, "azp": provider["client_id"], "uid": secrets.token_urlsafe(30)}
    access.setdefault("scope", " ".join(grant["scope"]))
    token = _encode(visit.registry, provider, access)
    kept = {**grant, "provider": provider["pk"], "revoked": False, "sub": claims["sub"]}
    await visit.store.put(ACCESS, token_key(token), {**kept, "expires": claims["exp"], "claims": claims})
    return {
        "access_token": token,
        "token_type": "Bearer",
        "scope": " ".join(grant["scope"]),
        "expires_in": int(validity.total_seconds()),
        "id_token": _encode(visit.registry, provider, claims),
    }


async def issue_refresh(store: Store, provider: Object, grant: Document) -> str:
    """A new refresh token for a grant: opaque."""
    token = secrets.token_urlsafe(96)
    kept = {name: grant[name] for name in ("user", "scope", "auth_time", "session", "nonce")}
    expires = time.time() + life(provider, "refresh_token_validity").total_seconds()
    await store.put(
        REFRESH, token_key(token), {**kept, "provider": provider["pk"], "revoked": False, "expires": expires}
    )
    return token


async def issue_code(visit: Visit, provider: Object, grant: Document) -> str:
    """A code to be exchanged once."""
    code = secrets.token_hex(16)
    expires = time.time() + life(provider, "access_code_validity").total_seconds()
    await visit.store.put(CODE, token_key(code), {**grant, "provider": provider["pk"], "expires": expires})
    return code


def _id_token(visit: Visit, provider: Object, application: Object, grant: Document, expires: int) -> dict[str, Any]:
    user = visit.registry.get(USER, grant["user"])
    assert user is not None  # a user's grants go with the user
    claims: dict[str, Any] = {
        "iss": issuer(visit, application) if provider["issuer_mode"] == "per_provider" else visit.absolute("/"),
        "sub": subject(visit, provider, user),
        "aud": provider["client_id"],
        "exp": expires,
        "iat": int(time.time()),
        "auth_time": grant["auth_time"],
        "acr": ACR,
        "amr": ["pwd"],
        "jti": secrets.token_urlsafe(30),
    }
    if grant["session"] is not None:
        claims["sid"] = grant["session"]
    if grant["nonce"] is not None:
        claims["nonce"] = grant["nonce"]
    if provider["include_claims_in_id_token"]:
        claims |= user_claims(visit.registry, user, grant["scope"])
    return claims


def _encode(registry: Registry, provider: Object, claims: dict[str, Any]) -> str:
    key, name = _signer(registry, provider)
    pair = registry.get(CERTIFICATE, provider["signing_key"])
    return jwt.encode(claims, key, algorithm=name, headers=None if pair is None else {"kid": kid(pair)})


def _signer(registry: Registry, provider: Object) -> tuple[Any, str]:
    pair = registry.get(CERTIFICATE, provider["signing_key"])
    if pair is None or not pair["key_data"]:
        # The certificate was deleted since: the real one falls back without a word, too.
        return provider["client_secret"], "HS256"
    private = load_key(pair["key_data"])
    return private, _algorithm(private)


def _algorithm(private: Any) -> str:
    return CURVES[private.curve.name] if isinstance(private, ec.EllipticCurvePrivateKey) else "RS256"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _number(value: int, size: int = 0) -> str:
    return _base64url(value.to_bytes(max(size, (value.bit_length() + 7) // 8), "big"))
