"""The OpenID Connect endpoints of a provider, below /application/o/ (authentik/providers/oauth2/views)."""

import base64
import binascii
import hashlib
import html
import logging
import re
import time
from collections.abc import Awaitable, Callable
from hmac import compare_digest
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from uuid import uuid4

import jwt
from cryptography import x509
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from probe import authentik_tokens as tokens
from probe.authentik_access import may_use
from probe.authentik_flows import AUTHENTICATION, denied_page, flow_path, start_session_end
from probe.authentik_models import APPLICATION, CERTIFICATE, FLOW, PROVIDER, RESERVED_SLUGS, USER
from probe.authentik_registry import Object
from probe.authentik_request import Visit, hash_session
from probe.authentik_store import ACCESS, CODE, REFRESH, Document

FORBIDDEN_SCHEMES: Final = ("javascript", "data", "vbscript")

AUTHORIZE_ERRORS: Final = {
    "invalid_request": "The request is otherwise malformed",
    "unsupported_response_type": (
        "The authorization server does not support obtaining an authorization code using this method"
    ),
    "login_required": "The Authorization Server requires End-User authentication",
    "request_not_supported": "The provider does not support use of the request parameter",
    "server_error": "The authorization server encountered an error",
}
TOKEN_ERRORS: Final = {
    "invalid_request": "The request is otherwise malformed",
    "invalid_client": (
        "Client authentication failed (e.g., unknown client, no client authentication included, or unsupported "
        "authentication method)"
    ),
    "invalid_grant": (
        "The provided authorization grant or refresh token is invalid, expired, revoked, does not match the "
        "redirection URI used in the authorization request, or was issued to another client"
    ),
    "unsupported_grant_type": "The authorization grant type is not supported by the authorization server",
    "invalid_scope": (
        "The requested scope is invalid, unknown, malformed, or exceeds the scope granted by the resource owner"
    ),
}
"""Errors and their descriptions, which are the wire's (RFC 6749 §5.2 and OpenID Connect Core §3.1.2.6)."""

CODE_GRANT, REFRESH_GRANT = "authorization_code", "refresh_token"
RESPONSE_TYPES: Final = {
    "code": CODE_GRANT,
    "id_token": "implicit",
    "id_token token": "implicit",
    "code token": "hybrid",
    "code id_token": "hybrid",
    "code id_token token": "hybrid",
}

Handler = Callable[[Visit], Awaitable[Response]]

log = logging.getLogger("probe.authentik.oidc")


class AuthorizeError(Exception):
    """An error the client is told by way of its redirect URI."""

    def __init__(self, error: str, description: str | None = None) -> None:
        """Keep the error's code."""
        super().__init__(error)
        self.error = error
        self.description = description or AUTHORIZE_ERRORS[error]


class TokenError(Exception):
    """An error of the token endpoint."""


async def discovery(visit: Visit) -> Response:
    """The provider's metadata, all addresses as this visitor has them."""
    application, provider = _of_slug(visit)
    slug = application["slug"]

    def at(path: str) -> str:
        return visit.absolute(tokens.ENDPOINTS + path)

    mapped = tokens.scopes(visit.registry, provider)
    claims = ["sub", "iss", "aud", "exp", "iat", "auth_time", "acr", "amr", "nonce"]
    if "email" in mapped:
        claims += ["email", "email_verified"]
    if "profile" in mapped:
        claims += ["name", "given_name", "preferred_username", "nickname", "groups"]
    return JSONResponse(
        {
            "issuer": tokens.issuer(visit, application),
            "authorization_endpoint": at("authorize/"),
            "token_endpoint": at("token/"),
            "userinfo_endpoint": at("userinfo/"),
            "end_session_endpoint": at(f"{slug}/end-session/"),
            "introspection_endpoint": at("introspect/"),
            "revocation_endpoint": at("revoke/"),
            "device_authorization_endpoint": at("device/"),
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
            "frontchannel_logout_supported": True,
            "frontchannel_logout_session_supported": True,
            "response_types_supported": list(RESPONSE_TYPES),
            "response_modes_supported": ["query", "fragment", "form_post"],
            "jwks_uri": at(f"{slug}/jwks/"),
            # The same for every provider, whatever its grant types are.
            "grant_types_supported": [
                CODE_GRANT,
                REFRESH_GRANT,
                "implicit",
                "client_credentials",
                "password",
                "urn:ietf:params:oauth:grant-type:device_code",
            ],
            "id_token_signing_alg_values_supported": [tokens.algorithm(visit.registry, provider)],
            "subject_types_supported": ["public"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "acr_values_supported": [tokens.ACR],
            "scopes_supported": mapped if "openid" in mapped else [*mapped, "openid"],
            "request_parameter_supported": False,
            "claims_supported": claims,
            "claims_parameter_supported": False,
            "code_challenge_methods_supported": ["plain", "S256"],
        }
    )


async def provider_root(visit: Visit) -> Response:
    """The issuer's own address leads to the metadata."""
    slug = visit.request.path_params["slug"]
    if slug in RESERVED_SLUGS:
        # An endpoint, asked in a way it does not know.
        raise HTTPException(405)
    return RedirectResponse(f"{tokens.ENDPOINTS}{slug}/.well-known/openid-configuration", 302)


async def jwks(visit: Visit) -> Response:
    """The key tokens are verified with; an empty object where there is none."""
    _, provider = _of_slug(visit)
    pair = visit.registry.get(CERTIFICATE, provider["signing_key"])
    keys = {} if pair is None or not pair["key_data"] else {"keys": [tokens.jwk(pair)]}
    return JSONResponse(keys, headers={"Access-Control-Allow-Origin": "*"})


async def authorize(visit: Visit) -> Response:
    """Send the visitor to sign in, or back to the client with a code."""
    query = visit.request.query_params
    if not query:
        raise HTTPException(404)
    provider = visit.registry.find(PROVIDER, {"client_id": query.get("client_id", "")})
    if provider is None:
        return _bad_request(visit, "Client ID Error", "The client identifier (client_id) is missing or invalid.")
    uri = query.get("redirect_uri", "")
    if not _is_allowed(provider, uri) or urlsplit(uri).scheme in FORBIDDEN_SCHEMES:
        log.warning("redirect URI %s is none of provider %s", uri, provider["name"])
        text = "The request fails due to a missing, invalid, or mismatching redirection URI (redirect_uri)."
        return _bad_request(visit, "Redirect URI Error", text)
    try:
        _check_request(visit, provider)
    except AuthorizeError as problem:
        log.warning("authorize of provider %s: %s", provider["name"], problem)
        state = query.get("state")
        back = f"{uri}?error={problem.error}&error_description={quote(problem.description)}"
        return RedirectResponse(back + (f"&state={state}" if state else ""), 302)
    application = visit.registry.application_of(provider)
    if application is None:
        return denied_page(visit)
    user = visit.user
    if user is None or _must_sign_in_again(visit):
        return _to_sign_in(visit, application, provider)
    if not may_use(visit.registry, application, user):
        log.info("user %s may not use %s", user["username"], application["slug"])
        return denied_page(visit)
    grant = {
        "user": user["pk"],
        "scope": _granted(visit, provider),
        "auth_time": visit.session["auth_time"],
        "session": hash_session(str(visit.key)),
        "nonce": query.get("nonce"),
        "challenge": query.get("code_challenge"),
        "method": query.get("code_challenge_method", "plain"),
        "redirect_uri": uri,
    }
    code = await tokens.issue_code(visit, provider, grant)
    parts = urlsplit(uri)
    given = {**parse_qs(parts.query), "code": code, "state": query.get("state", "")}
    return RedirectResponse(parts._replace(query=urlencode(given, doseq=True)).geturl(), 302)


async def token(visit: Visit) -> Response:
    """Exchange a code or a refresh token."""
    form = await visit.request.form()
    try:
        return _not_kept(await _exchange(visit, form))
    except TokenError as problem:
        log.warning("token: %s", problem)
        return _not_kept(_error(str(problem)), 400)


async def userinfo(visit: Visit) -> Response:
    """What is known of the user a token was made for."""
    given = await _bearer(visit)
    found = await visit.store.get(ACCESS, tokens.token_key(given)) if given else None
    if found is None or found["expires"] < time.time() or found["revoked"]:
        text = "The access token provided is expired, revoked, malformed, or invalid for other reasons"
        return _refused(401, "invalid_token", text)
    if "openid" not in found["scope"]:
        text = "The request requires higher privileges than provided by the access token"
        return _refused(403, "insufficient_scope", text)
    user = visit.registry.get(USER, found["user"])
    assert user is not None  # a user's tokens go with the user
    claims = {"sub": found["sub"], **tokens.user_claims(visit.registry, user, found["scope"])}
    if found["nonce"] is not None:
        claims["nonce"] = found["nonce"]
    return _not_kept(claims)


async def introspect(visit: Visit) -> Response:
    """Whether a token of this client is still good."""
    form = await visit.request.form()
    provider = _authenticated(visit, form)
    for kind in (ACCESS, REFRESH):
        found = await visit.store.get(kind, tokens.token_key(str(form.get("token", ""))))
        if provider is not None and found is not None and found["provider"] == provider["pk"]:
            alive = found["expires"] > time.time() and not found["revoked"]
            said = {"active": alive, "scope": " ".join(found["scope"]), "client_id": provider["client_id"]}
            return _not_kept({**found.get("claims", {}), **said})
    return _not_kept({"active": False})


async def revoke(visit: Visit) -> Response:
    """Take a token of this client back."""
    form = await visit.request.form()
    provider = _authenticated(visit, form)
    if provider is None:
        return _not_kept(_error("invalid_client"), 401)
    key = tokens.token_key(str(form.get("token", "")))
    for kind in (ACCESS, REFRESH):
        found = await visit.store.get(kind, key)
        if found is not None and found["provider"] == provider["pk"]:
            await visit.store.delete(kind, key)
    return _not_kept({})


async def end_session(visit: Visit) -> Response:
    """Leave one application: its access tokens end, the session with Authentik does not."""
    application, provider = _of_slug(visit)
    user = visit.user
    if user is None:
        return _to_sign_in(visit, application, provider)
    if not may_use(visit.registry, application, user):
        return denied_page(visit)
    query: Any = visit.request.query_params if visit.request.method == "GET" else await visit.request.form()
    try:
        uri = _logout_uri(visit, application, provider, query)
    except TokenError as problem:
        return _bad_request(visit, "Bad Request", TOKEN_ERRORS[str(problem)])
    await visit.store.end("session", hash_session(str(visit.key)), (ACCESS,))
    flow = visit.registry.get(FLOW, provider["invalidation_flow"])
    if flow is None:
        raise HTTPException(404)
    start_session_end(visit, flow, application, uri)
    return RedirectResponse(flow_path(flow["slug"], visit.request.url.query), 302)


async def _exchange(visit: Visit, form: FormData) -> dict[str, Any]:
    client_id, secret = _client_login(visit, form)
    provider = visit.registry.find(PROVIDER, {"client_id": client_id})
    if provider is None:
        raise TokenError("invalid_client")
    grant_type = form.get("grant_type", "")
    if grant_type not in provider["grant_types"]:
        raise TokenError("invalid_grant")
    if provider["client_type"] == "confidential" and not _same(provider["client_secret"], secret):
        raise TokenError("invalid_client")
    application = visit.registry.application_of(provider)
    if application is None:
        raise TokenError("invalid_grant")
    if grant_type == CODE_GRANT:
        grant = await _use_code(visit, provider, form)
        answer = await tokens.issue(visit, provider, application, grant)
        if tokens.OFFLINE in grant["scope"]:
            answer["refresh_token"] = await tokens.issue_refresh(visit.store, provider, grant)
        return answer
    if grant_type == REFRESH_GRANT:
        return await _refresh(visit, provider, application, form)
    raise TokenError("unsupported_grant_type")


async def _use_code(visit: Visit, provider: Object, form: FormData) -> Document:
    code = str(form.get("code", ""))
    if not code:
        raise TokenError("invalid_grant")
    if not _is_allowed(provider, str(form.get("redirect_uri", ""))):
        # Whatever the secret: this is the real one's answer to a foreign redirect URI.
        raise TokenError("invalid_client")
    key = tokens.token_key(code)
    found = await visit.store.get(CODE, key)
    if found is None or found["expires"] < time.time() or found["provider"] != provider["pk"]:
        raise TokenError("invalid_grant")
    verifier = str(form.get("code_verifier", ""))
    if bool(found["challenge"]) != bool(verifier):
        raise TokenError("invalid_grant")
    if verifier and not _same(_challenge(verifier, found["method"]), found["challenge"]):
        raise TokenError("invalid_grant")
    if not await visit.store.delete(CODE, key):
        raise TokenError("invalid_grant")
    return {name: found[name] for name in ("user", "scope", "auth_time", "session", "nonce")}


async def _refresh(visit: Visit, provider: Object, application: Object, form: FormData) -> dict[str, Any]:
    given = str(form.get("refresh_token", ""))
    key = tokens.token_key(given)
    found = await visit.store.get(REFRESH, key) if given else None
    if found is None or found["provider"] != provider["pk"] or found["expires"] < time.time():
        raise TokenError("invalid_grant")
    mapped = tokens.scopes(visit.registry, provider)
    wanted = [scope for scope in str(form.get("scope", "")).split() if scope in mapped] or found["scope"]
    if found["revoked"]:
        log.warning("Revoked refresh token was used")
        raise TokenError("invalid_grant")
    if not set(wanted) <= set(found["scope"]) or tokens.OFFLINE not in wanted:
        raise TokenError("invalid_scope")
    answer = await tokens.issue(
        visit,
        provider,
        application,
        {name: found[name] for name in ("user", "scope", "auth_time", "session")} | {"nonce": None},
    )
    threshold = tokens.life(provider, "refresh_token_threshold").total_seconds()
    if threshold == 0 or found["expires"] - time.time() < threshold:
        answer["refresh_token"] = await tokens.issue_refresh(visit.store, provider, found)
        await visit.store.put(REFRESH, key, {**found, "revoked": True})
    return answer


def _check_request(visit: Visit, provider: Object) -> None:
    query = visit.request.query_params
    grant = RESPONSE_TYPES.get(query.get("response_type", ""))
    if grant is None:
        raise AuthorizeError("unsupported_response_type")
    if grant not in provider["grant_types"]:
        raise AuthorizeError("invalid_request")
    if query.get("request"):
        raise AuthorizeError("request_not_supported")
    method = query.get("code_challenge_method", "plain")
    if query.get("code_challenge") and method not in ("plain", "S256"):
        raise AuthorizeError("invalid_request", f"Unsupported challenge method {method}")
    if grant != CODE_GRANT or query.get("response_mode", "query") != "query":
        raise AuthorizeError("server_error", "The probe answers with a code in the query only")
    if "none" in query.get("prompt", "").split() and visit.user is None:
        raise AuthorizeError("login_required")


def _must_sign_in_again(visit: Visit) -> bool:
    """By max_age, and once by prompt=login: the session remembers for which sign-in it was asked."""
    query = visit.request.query_params
    longest = query.get("max_age", "")
    if longest.isdigit() and int(longest) and time.time() - visit.session["auth_time"] > int(longest):
        return True
    if "login" in query.get("prompt", "").split():
        asked, login = visit.session.get("asked"), visit.session["login"]
        if asked in (None, login):
            visit.session["asked"] = login
            return True
    return False


def _granted(visit: Visit, provider: Object) -> list[str]:
    mapped = tokens.scopes(visit.registry, provider)
    wanted = visit.request.query_params.get("scope", "").split()
    return sorted(scope for scope in mapped if scope in wanted or not wanted)


def _to_sign_in(visit: Visit, application: Object, provider: Object) -> Response:
    flow = visit.registry.get(FLOW, provider["authentication_flow"]) or visit.registry.find(
        FLOW, {"slug": AUTHENTICATION}
    )
    if flow is None:
        raise HTTPException(404)
    visit.session["plan"] = {"flow": flow["slug"], "application": application["pk"]}
    given = [*visit.request.query_params.multi_items(), ("next", visit.own_path)]
    return RedirectResponse(flow_path(flow["slug"], urlencode(given)), 302)


def _is_allowed(provider: Object, uri: str, kind: str = "authorization") -> bool:
    for allowed in provider["redirect_uris"]:
        if allowed["redirect_uri_type"] != kind:
            continue
        if allowed["matching_mode"] == "strict":
            if uri == allowed["url"]:
                return True
        elif re.fullmatch(allowed["url"], uri):
            return True
    return False


def _logout_uri(visit: Visit, application: Object, provider: Object, query: Any) -> str | None:
    hint, uri = str(query.get("id_token_hint", "")), str(query.get("post_logout_redirect_uri", ""))
    if hint:
        pair = visit.registry.get(CERTIFICATE, provider["signing_key"])
        key: Any = provider["client_secret"]
        if pair is not None:
            key = x509.load_pem_x509_certificate(pair["certificate_data"].encode()).public_key()
        try:
            jwt.decode(
                hint,
                key,
                algorithms=[tokens.algorithm(visit.registry, provider)],
                audience=provider["client_id"],
                issuer=tokens.issuer(visit, application),
                options={"verify_exp": False},
            )
        except jwt.PyJWTError:
            raise TokenError("invalid_request") from None
    if not uri:
        return None
    if not hint or not _is_allowed(provider, uri, "logout") or urlsplit(uri).scheme in FORBIDDEN_SCHEMES:
        raise TokenError("invalid_request")
    state = query.get("state")
    return f"{uri}{'&' if '?' in uri else '?'}state={quote(state, safe='')}" if state else uri


def _of_slug(visit: Visit) -> tuple[Object, Object]:
    application = visit.registry.find(APPLICATION, {"slug": visit.request.path_params["slug"]})
    provider = None if application is None else visit.registry.get(PROVIDER, application["provider"])
    if application is None or provider is None:
        raise HTTPException(404)
    return application, provider


def _client_login(visit: Visit, form: FormData) -> tuple[str, str]:
    """Client id and secret: percent-decoded from a Basic header, else from the body."""
    scheme, _, encoded = visit.request.headers.get("authorization", "").partition(" ")
    if scheme != "Basic":
        return str(form.get("client_id", "")), str(form.get("client_secret", ""))
    try:
        name, _, secret = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote(name), unquote(secret)


def _authenticated(visit: Visit, form: FormData) -> Object | None:
    client_id, secret = _client_login(visit, form)
    provider = visit.registry.find(PROVIDER, {"client_id": client_id})
    return provider if provider is not None and _same(provider["client_secret"], secret) else None


async def _bearer(visit: Visit) -> str:
    scheme, _, given = visit.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if visit.request.method == "POST":
        return str((await visit.request.form()).get("access_token", ""))
    return visit.request.query_params.get("access_token", "")


def _challenge(verifier: str, method: str) -> str:
    if method != "S256":
        return verifier
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _same(one: str, other: str) -> bool:
    return compare_digest(one.encode(), other.encode())


def _bad_request(visit: Visit, title: str, text: str) -> Response:
    return visit.page(title, f"<p>{html.escape(text)}</p>", 400)


def _error(error: str) -> dict[str, Any]:
    return {"error": error, "error_description": TOKEN_ERRORS[error], "request_id": uuid4().hex}


def _not_kept(content: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(content, status, {"Cache-Control": "no-store", "Pragma": "no-cache"})


def _refused(status: int, code: str, text: str) -> Response:
    return Response(status_code=status, headers={"WWW-Authenticate": f'error="{code}", error_description="{text}"'})


def routes(visited: Callable[[Handler], Any]) -> list[Route]:
    """The endpoints; ``visited`` makes a handler of requests of one of visits."""
    root = tokens.ENDPOINTS
    return [
        Route(root + "authorize/", visited(authorize), methods=["GET", "POST"]),
        Route(root + "token/", visited(token), methods=["POST"]),
        # Without the slash there is no endpoint: the real one refuses the method.
        Route(root + "token", visited(_no_such_method), methods=["POST"]),
        Route(root + "userinfo/", visited(userinfo), methods=["GET", "POST"]),
        Route(root + "introspect/", visited(introspect), methods=["POST"]),
        Route(root + "revoke/", visited(revoke), methods=["POST"]),
        Route(root + "{slug}/end-session/", visited(end_session), methods=["GET", "POST"]),
        Route(root + "{slug}/jwks/", visited(jwks)),
        Route(root + "{slug}/.well-known/openid-configuration", visited(discovery)),
        Route(root + "{slug}/", visited(provider_root)),
    ]


async def _no_such_method(visit: Visit) -> Response:
    raise HTTPException(405)
