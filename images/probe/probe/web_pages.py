"""The front end's pages, in plain HTML: a browser needs no script to sign in and out."""

import html
import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import HTMLResponse

ERRORS = {
    "CredentialsSignin": "Sign in failed. Check the details you provided are correct.",
    "SessionRequired": "Please sign in to access this page.",
    **dict.fromkeys(
        ("Signin", "OAuthSignin", "OAuthCallback", "OAuthCreateAccount", "Callback"),
        "Try signing in with a different account.",
    ),
}
"""What next-auth's page says of an error (core/pages/signin.tsx, 4.24.13)."""


def home(settings: Mapping[str, Any], sign_in: bool, session: Mapping[str, Any] | None, csrf: str) -> HTMLResponse:
    """The first page: who is signed in, and the way in or out where there is one."""
    if not sign_in:
        shown = ""
    elif session is None:
        shown = '<a id="log-in" href="/api/auth/signin">Log in</a>'
    else:
        user = session["user"]
        email = f'<span id="who" data-user-id="{_text(user["id"])}">{_text(user["email"] or "")}</span>'
        shown = f"<p>Signed in as {email}</p>" + _form(
            "/api/auth/signout", csrf, {"callbackUrl": "/"}, '<button id="log-out">Log out</button>'
        )
    # Upstream hands its runtime settings to the browser in this attribute (www/app/layout.tsx).
    return _page("Reflector", f"<main><h1>Reflector</h1>{shown}</main>", json.dumps(dict(settings)))


def sign_in(url: str, csrf: str, callback_url: str, provider: str | None, error: str | None) -> HTMLResponse:
    """next-auth's own page, with a button for each provider; there is one, or none where nobody signs in."""
    shown = _error("" if error is None else ERRORS.get(error, "Unable to sign in."))
    if provider is not None:
        button = f'<button id="sign-in" type="submit"><span>Sign in with {_text(provider)}</span></button>'
        shown += _form(f"{url}/signin/{provider.lower()}", csrf, {"callbackUrl": callback_url}, button)
    return _page("Sign In", shown)


def password(url: str, csrf: str, callback_url: str, error: str | None) -> HTMLResponse:
    """Reflector's page for a password (www/app/login/page.tsx)."""
    fields = (
        '<label>Email <input id="email" name="email" type="email" required></label>'
        '<label>Password <input id="password" name="password" type="password" required></label>'
        '<button id="sign-in" type="submit">Log in</button>'
    )
    form = _form(f"{url}/callback/credentials", csrf, {"callbackUrl": callback_url}, fields)
    return _page("Log in", _error("Invalid email or password" if error else "") + form)


def sign_out(url: str, csrf: str) -> HTMLResponse:
    """next-auth's question whether somebody means it."""
    button = '<button id="log-out" type="submit">Sign out</button>'
    return _page("Sign Out", f"<p>Are you sure you want to sign out?</p>{_form(f'{url}/signout', csrf, {}, button)}")


def failure(error: str) -> HTMLResponse:
    """next-auth's page for an error that has none of its own."""
    return _page("Error", _error(f"Error: {error}"))


def _error(message: str) -> str:
    return f'<p id="error">{_text(message)}</p>' if message else ""


def _form(action: str, csrf: str, hidden: Mapping[str, str], content: str) -> str:
    inputs = "".join(
        f'<input type="hidden" name="{name}" value="{_text(value)}">'
        for name, value in {"csrfToken": csrf, **hidden}.items()
    )
    return f'<form action="{_text(action)}" method="POST">{inputs}{content}</form>'


def _page(title: str, body: str, data: str | None = None) -> HTMLResponse:
    attribute = "" if data is None else f' data-env="{_text(data)}"'
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title></head>'
        f"<body{attribute}>{body}</body></html>"
    )


def _text(value: str) -> str:
    return html.escape(value, quote=True)
