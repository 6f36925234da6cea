"""The front end's sign-in below /api/auth, as next-auth 4.24.13 serves it to Reflector v0.45.0."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import cached_property, wraps
from http import HTTPStatus
from typing import Any, Concatenate, ParamSpec
from urllib.parse import quote, urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from probe import trust, web_pages
from probe.edge import http_client
from probe.environment import Environment, parse_url
from probe.web_cookies import CookieError, Cookies, Csrf
from probe.web_openid import (
    HttpClients,
    OpenIdClient,
    ProviderError,
    ProviderSettings,
    Tokens,
    code_challenge,
    code_verifier,
)
from probe.web_session import Sessions, Token, console_error, milliseconds, session_end
from probe.wiring import WiringError, describe

FEATURES = {
    "FEATURE_REQUIRE_LOGIN": True,
    "FEATURE_PRIVACY": True,
    "FEATURE_BROWSE": True,
    "FEATURE_SEND_TO_ZULIP": True,
    "FEATURE_ROOMS": True,
    "FEATURE_EMAIL_TRANSCRIPT": False,
}
"""Feature switches and what they mean when unset (www/app/lib/features.ts, v0.45.0)."""

PROVIDERS = {"authentik": "Authentik", "credentials": "Password"}
"""What next-auth calls a way to sign in, by its id."""

UNCACHED = {"Cache-Control": "private, no-cache, no-store", "Pragma": "no-cache", "Expires": "0"}

ON_SIGN_IN_PAGE = (*web_pages.ERRORS, "OAuthAccountNotLinked", "EmailCreateAccount", "EmailSignin")
"""Errors that are shown on the page for signing in; any other has a page of its own (core/index.ts)."""


def features(env: Environment) -> dict[str, bool]:
    """Each switch as the front end understands it: only the exact word ``true`` means on."""
    return {name: env.values[name] == "true" if name in env.values else unset for name, unset in FEATURES.items()}


def provider_of(env: Environment) -> str | None:
    """``credentials``, or ``authentik`` for every other word and for none; None where nobody has to sign in."""
    if not features(env)["FEATURE_REQUIRE_LOGIN"]:
        return None
    return "credentials" if env.text("AUTH_PROVIDER") == "credentials" else "authentik"


@dataclass(frozen=True, kw_only=True)
class Site:
    """The front end's own address, and what hangs on it."""

    origin: str
    cookies: Cookies

    @property
    def url(self) -> str:
        """Where next-auth is."""
        return f"{self.origin}/api/auth"

    def within(self, target: str) -> str:
        """Where the browser is sent: the target on this site, or the site itself in place of any other."""
        if target.startswith("/"):
            return f"{self.origin}{target}"
        return target if _origin(target) == self.origin else self.origin


def _origin(url: str) -> str:
    """Scheme, host and port of a URL as browsers write them: without a port that goes without saying."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    host = (parts.hostname or "") if ":" not in (parts.hostname or "") else f"[{parts.hostname}]"
    return f"{parts.scheme}://{host}" + ("" if port in (None, usual) else f":{port}")


P = ParamSpec("P")


def answered(
    handler: Callable[Concatenate["Auth", P], Coroutine[Any, Any, Response]],
) -> Callable[Concatenate["Auth", P], Coroutine[Any, Any, Response]]:
    """Answer 500 where variables are missing: upstream makes its configuration at each request, and fails there."""

    @wraps(handler)
    async def answer(auth: "Auth", /, *args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return await handler(auth, *args, **kwargs)
        except WiringError as problem:
            console_error("Error:", str(problem))
            return JSONResponse({"message": "There is a problem with the server configuration."}, status_code=500)

    return answer


class Auth:
    """The handlers of /api/auth over one environment."""

    def __init__(self, env: Environment, http: HttpClients | None = None) -> None:
        """Keep the environment, which is read at each request; ``http`` takes the network's place."""
        self.env = env
        self.sessions = Sessions(env, http or self._client)
        self._http = http or self._client

    def _client(self) -> httpx.AsyncClient:
        return http_client(verify=self._trust)

    @cached_property
    def _trust(self) -> Any:
        return trust.node_context(self.env.values)

    def routes(self) -> list[Route]:
        """Everything below /api/auth, and Reflector's page for a password."""
        return [
            Route("/api/auth/csrf", self.csrf),
            Route("/api/auth/providers", self.providers),
            Route("/api/auth/session", self.session),
            Route("/api/auth/signin", self.sign_in_page),
            Route("/api/auth/signin/{provider}", self.sign_in, methods=["POST"]),
            Route("/api/auth/callback/{provider}", self.callback, methods=["GET", "POST"]),
            Route("/api/auth/signout", self.sign_out_page, methods=["GET"]),
            Route("/api/auth/signout", self.sign_out, methods=["POST"]),
            Route("/api/auth/error", self.error),
            Route("/login", self.password_page),
        ]

    @property
    def site(self) -> Site:
        """Read from NEXTAUTH_URL and NEXTAUTH_SECRET."""
        url = self.env.required("NEXTAUTH_URL")
        parse_url("NEXTAUTH_URL", url)
        return Site(origin=_origin(url), cookies=Cookies(url, self.env.required("NEXTAUTH_SECRET")))

    def client(self, site: Site) -> OpenIdClient:
        """The client of the provider; raises WiringError where its variables are not set."""
        provider = ProviderSettings.from_environment(self.env)
        return OpenIdClient(provider, f"{site.url}/callback/authentik", self._http)

    @answered
    async def csrf(self, request: Request) -> Response:
        """The token forms must send back."""
        site = self.site
        csrf = site.cookies.csrf_of(request, None)
        return _with_csrf(site, JSONResponse({"csrfToken": csrf.token}, headers=UNCACHED), csrf)

    @answered
    async def providers(self, request: Request) -> Response:
        """The ways to sign in."""
        site, provider = self.site, provider_of(self.env)
        if provider is None:
            return JSONResponse({})
        return JSONResponse(
            {
                provider: {
                    "id": provider,
                    "name": PROVIDERS[provider],
                    "type": "credentials" if provider == "credentials" else "oauth",
                    "signinUrl": f"{site.url}/signin/{provider}",
                    "callbackUrl": f"{site.url}/callback/{provider}",
                }
            }
        )

    @answered
    async def session(self, request: Request) -> Response:
        """Who is signed in, with his token; ``{}`` where nobody is, or no longer."""
        cookies = Response()
        told = await self.told(request, cookies)
        return _with_cookies(JSONResponse(told or {}, headers=UNCACHED), cookies)

    async def told(self, request: Request, response: Response) -> dict[str, Any] | None:
        """What a browser is told of its session; None where it has none. Its cookie is set anew, or taken away."""
        site, provider = self.site, provider_of(self.env)
        if provider == "authentik":
            ProviderSettings.from_environment(self.env)
        try:
            held = site.cookies.session_of(request)
            if held is None:
                return None
            if provider is None:
                return {"user": {name: held.get(name) for name in ("name", "email")}, "expires": session_end()}
            token = held if provider == "credentials" else await self.sessions.current(held)
            told = await self.sessions.told(token, passwords=provider == "credentials")
            site.cookies.write_session(request, response, token)
            return told
        # next-auth takes whatever goes wrong for a session that does not hold.
        except Exception as problem:  # noqa: BLE001  # see above
            _log_error("JWT_SESSION_ERROR", problem)
            site.cookies.end_session(request, response)
            return None

    @answered
    async def home(self, request: Request, settings: Mapping[str, Any]) -> Response:
        """The first page: ``settings`` is what the front end hands to the browser."""
        sign_in = provider_of(self.env) is not None
        # Whoever brings no cookie is nobody; the page is there where sign-in is not yet.
        if not sign_in or not any("next-auth.session-token" in name for name in request.cookies):
            return web_pages.home(settings, sign_in, None, "")
        site, cookies = self.site, Response()
        told = await self.told(request, cookies)
        csrf = site.cookies.csrf_of(request, None)
        return _with_csrf(site, _with_cookies(web_pages.home(settings, sign_in, told, csrf.token), cookies), csrf)

    @answered
    async def sign_in_page(self, request: Request) -> Response:
        """The page with the button; with passwords, on to Reflector's own."""
        site, provider = self.site, provider_of(self.env)
        csrf = site.cookies.csrf_of(request, None)
        callback_url, error = self._callback_url(site, request, {}), request.query_params.get("error")
        if provider == "credentials":
            suffix = f"&error={quote(error, safe='')}" if error else ""
            response: Response = RedirectResponse(f"/login?callbackUrl={quote(callback_url, safe='')}{suffix}", 302)
        else:
            if provider == "authentik":
                ProviderSettings.from_environment(self.env)
            name = None if provider is None else PROVIDERS[provider]
            response = web_pages.sign_in(site.url, csrf.token, callback_url, name, error)
        site.cookies.write(response, site.cookies.callback_url, callback_url)
        return _with_csrf(site, response, csrf)

    @answered
    async def password_page(self, request: Request) -> Response:
        """The form for e-mail and password."""
        site = self.site
        csrf = site.cookies.csrf_of(request, None)
        callback_url = self._callback_url(site, request, {})
        page = web_pages.password(site.url, csrf.token, callback_url, request.query_params.get("error"))
        return _with_csrf(site, page, csrf)

    @answered
    async def sign_in(self, request: Request) -> Response:
        """Send the browser to the provider, with state and PKCE's secret left behind in its cookies."""
        site, form = self.site, await _form(request)
        csrf = site.cookies.csrf_of(request, form.get("csrfToken"))
        if not csrf.verified or request.path_params["provider"] != provider_of(self.env):
            return _with_csrf(site, _redirect(form, f"{site.url}/signin?csrf=true"), csrf)
        if provider_of(self.env) == "credentials":
            return _redirect(form, f"{site.url}/signin")
        client = self.client(site)
        try:
            metadata = await client.discover()
        except ProviderError as problem:
            _log_error("SIGNIN_OAUTH_ERROR", problem)
            return _redirect(form, f"{site.url}/error?error=OAuthSignin")
        state, verifier = code_verifier(), code_verifier()
        response = _redirect(form, client.authorization_url(metadata, state, code_challenge(verifier)))
        site.cookies.keep(response, site.cookies.state, state)
        site.cookies.keep(response, site.cookies.code_verifier, verifier)
        site.cookies.write(response, site.cookies.callback_url, self._callback_url(site, request, form))
        return response

    @answered
    async def callback(self, request: Request) -> Response:
        """Where the provider sends the browser back to, and where the form with the password goes."""
        site, provider = self.site, provider_of(self.env)
        if provider is None or request.path_params["provider"] != provider:
            return Response(f"Error: This action with HTTP {request.method} is not supported by NextAuth.js", 400)
        if provider == "credentials":
            return await self._password(request, site)
        return await self._code(request, site)

    async def _code(self, request: Request, site: Site) -> Response:
        client, cookies = self.client(site), site.cookies
        query = {**request.query_params, **await _form(request)}
        if "error" in query:
            _log_error("OAUTH_CALLBACK_ERROR", ProviderError(f"{query['error']} {query.get('error_description', '')}"))
            return _redirect({}, f"{site.url}/error?error=Callback")
        try:
            tokens = await client.callback(
                query, cookies.kept(request, cookies.state), cookies.kept(request, cookies.code_verifier)
            )
        except (ProviderError, CookieError) as problem:
            _log_error("OAUTH_CALLBACK_ERROR", problem)
            return _redirect({}, f"{site.url}/error?error=OAuthCallback")
        response = _redirect({}, self._callback_url(site, request, {}))
        try:
            token = _token(tokens)
            await self.sessions.begin(token)
            cookies.write_session(request, response, token)
        # Upstream's callback fails in its own ways, of which each leads to the same page.
        except Exception as problem:  # noqa: BLE001  # see above
            _log_error("OAUTH_CALLBACK_HANDLER_ERROR", problem)
            response = _redirect({}, f"{site.url}/error?error=Callback")
        for name in (cookies.state, cookies.code_verifier):
            cookies.remove(response, name)
        return response

    async def _password(self, request: Request, site: Site) -> Response:
        form = await _form(request)
        csrf = site.cookies.csrf_of(request, form.get("csrfToken"))
        if request.method != "POST" or not csrf.verified:
            return _with_csrf(site, _redirect(form, f"{site.url}/signin?csrf=true"), csrf)
        email, secret = form.get("email", ""), form.get("password", "")
        given = await self._log_in(email, secret) if email and secret else None
        if given is None:
            return _redirect(form, f"{site.url}/error?error=CredentialsSignin&provider=credentials")
        # Where the backend does not say who it is, the word stays that upstream puts there first.
        token: Token = {
            "email": email,
            "sub": await self.sessions.user_id(given["access_token"]) or "pending",
            "accessToken": given["access_token"],
            "accessTokenExpires": milliseconds() + given["expires_in"] * 1000,
        }
        response = _redirect(form, self._callback_url(site, request, form))
        site.cookies.write_session(request, response, token)
        return response

    async def _log_in(self, email: str, secret: str) -> dict[str, Any] | None:
        url = f"{self.env.required('SERVER_API_URL')}/v1/auth/login"
        try:
            async with self._http() as client:
                answer = await client.post(url, json={"email": email, "password": secret})
        except httpx.HTTPError as problem:
            console_error("Error:", describe(problem))
            return None
        given: dict[str, Any] | None = answer.json() if answer.status_code == HTTPStatus.OK else None
        return given

    @answered
    async def sign_out_page(self, request: Request) -> Response:
        """The question before."""
        site = self.site
        csrf = site.cookies.csrf_of(request, None)
        return _with_csrf(site, web_pages.sign_out(site.url, csrf.token), csrf)

    @answered
    async def sign_out(self, request: Request) -> Response:
        """Take the cookie away. The provider hears nothing of it, nor does Redis: his tokens live on."""
        site, form = self.site, await _form(request)
        csrf = site.cookies.csrf_of(request, form.get("csrfToken"))
        if not csrf.verified:
            return _with_csrf(site, _redirect(form, f"{site.url}/signout?csrf=true"), csrf)
        response = _redirect(form, self._callback_url(site, request, form))
        site.cookies.end_session(request, response)
        return response

    @answered
    async def error(self, request: Request) -> Response:
        """What went wrong, on the page for signing in where one may try again."""
        site, error = self.site, request.query_params.get("error", "")
        if error in ON_SIGN_IN_PAGE:
            return _redirect({}, f"{site.url}/signin?error={error}")
        return web_pages.failure(error)

    def _callback_url(self, site: Site, request: Request, form: Mapping[str, str]) -> str:
        """Where to go in the end: what was asked for now or before, if it is on this site."""
        asked = form.get("callbackUrl") or request.query_params.get("callbackUrl")
        return site.within(asked or site.cookies.read(request, site.cookies.callback_url) or site.origin)


def _token(tokens: Tokens) -> Token:
    """A session's token of what the provider gave; raises ValueError where what it needs is missing."""
    claims = tokens.claims
    if not claims["sub"]:
        raise ValueError("Profile id is missing in Authentik OAuth profile response")
    if tokens.access_token is None or tokens.expires_in is None:
        raise ValueError("access_token or expires_in is missing in the provider's answer")
    email = claims.get("email")
    token = {
        "name": claims.get("name") or claims.get("preferred_username"),
        "email": email.lower() if isinstance(email, str) else None,
        "sub": str(claims["sub"]),
        "accessToken": tokens.access_token,
        "accessTokenExpires": milliseconds() + tokens.expires_in * 1000,
    }
    return token if tokens.refresh_token is None else token | {"refreshToken": tokens.refresh_token}


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, or of a JSON object, as next-auth's script sends either."""
    if request.method != "POST":
        return {}
    if request.headers.get("content-type", "").startswith("application/json"):
        try:
            body = await request.json()
        except ValueError:
            body = None
        return {name: str(value) for name, value in body.items()} if isinstance(body, dict) else {}
    async with request.form() as form:
        return {name: value for name, value in form.items() if isinstance(value, str)}


def _redirect(form: Mapping[str, str], url: str) -> Response:
    """Send the browser on; its script is told where to, if it says that it asks."""
    return JSONResponse({"url": url}) if form.get("json") == "true" else RedirectResponse(url, 302)


def _with_cookies(response: Response, source: Response) -> Response:
    """Set what was set on a response made before the body was known."""
    response.raw_headers.extend(header for header in source.raw_headers if header[0] == b"set-cookie")
    return response


def _with_csrf(site: Site, response: Response, csrf: Csrf) -> Response:
    if csrf.fresh is not None:
        site.cookies.write(response, site.cookies.csrf, csrf.fresh)
    return response


def _log_error(code: str, problem: Exception) -> None:
    """As next-auth logs: the place of the error, a page about it, and its text."""
    console_error(f"[next-auth][error][{code}]", f"\nhttps://next-auth.js.org/errors#{code.lower()}", describe(problem))
