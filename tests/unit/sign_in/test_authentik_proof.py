"""The program that proves what Authentik was told, asked of a small server that answers as the real one does."""

import base64
import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from components.sign_in import authentik_proof as proof

HOST: Final = "auth.reflector.test:8443"
REDIRECT: Final = "https://reflector.test:8443/api/auth/callback/authentik"
SECRET: Final = "RightClientSecret"
PASSWORD: Final = "GeneratedPassword"
CERTIFICATE: Final = "TUlJQ2VydGlmaWNhdGU="
SLUG: Final = "/application/o/reflector/"
FLOWS: Final = "/api/v3/flows/executor/"


@dataclass
class Authentik:
    """What it knows, and what may be wrong with it."""

    scheme: str = "as the edge says"
    algorithms: tuple[str, ...] = ("RS256",)
    scopes: tuple[str, ...] = ("openid", "email", "profile", "offline_access")
    keys: tuple[Mapping[str, Any], ...] = ({"kid": "x", "x5c": [CERTIFICATE]},)
    redirect_uris: tuple[str, ...] = (REDIRECT,)
    grant_types: tuple[str, ...] = ("authorization_code", "refresh_token")
    secrets: tuple[str, ...] = (SECRET,)
    any_secret: bool = False
    set_up: bool = True
    password: str = PASSWORD
    both_at_once: bool = False
    """Whether name and password are asked for in one stage."""
    between: str = ""
    """A stage between password and end."""
    username: str = "akadmin"
    starting: int = 0
    """Answers that are still 503."""
    token_path: str = "/application/o/token/"
    other: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """Paths that answer otherwise."""
    sessions: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    attempts: int = 0
    ended: bool = False

    def base(self, headers: Mapping[str, str]) -> str:
        scheme = headers["X-Forwarded-Proto"] if self.scheme == "as the edge says" else self.scheme
        return f"{scheme}://{headers['X-Forwarded-Host']}"

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Any, str]:
        """Return status, content or nothing, and where it leads."""
        parts = urlsplit(path)
        if self.starting:
            self.starting -= 1
            return 503, "starting", ""
        if headers["Host"] != HOST or headers["X-Forwarded-Host"] != HOST:
            return 404, "no such brand", ""
        if parts.path in self.other:
            return (*self.other[parts.path], "")
        match method, parts.path:
            case "GET", "/application/o/reflector/.well-known/openid-configuration":
                base = self.base(headers)
                return 200, {
                    "issuer": f"{base}{SLUG}",
                    "token_endpoint": f"{base}{self.token_path}",
                    "id_token_signing_alg_values_supported": self.algorithms,
                    "scopes_supported": self.scopes,
                }, ""  # fmt: skip
            case "GET", "/application/o/reflector/jwks/":
                return 200, {"keys": self.keys} if self.keys else {}, ""
            case "GET", "/application/o/authorize/":
                return self.authorize({name: values[0] for name, values in parse_qs(parts.query).items()})
            case "POST", "/application/o/token/":
                return self.token(headers)
            case _, _ if parts.path.startswith(FLOWS):
                return self.flow(method, parts.path.removeprefix(FLOWS).strip("/"), headers, body)
            case "GET", "/api/v3/core/users/me/":
                signed_in = self.session(headers) == "done"
                return (200, {"user": {"username": self.username}}, "") if signed_in else (403, {"detail": "no"}, "")
        return 404, "no such page", ""

    def authorize(self, query: Mapping[str, str]) -> tuple[int, Any, str]:
        if query["client_id"] != "reflector" or query["redirect_uri"] not in self.redirect_uris:
            return 400, "Redirect URI Error", ""
        if "authorization_code" not in self.grant_types:
            return 302, "", f"{query['redirect_uri']}?error=invalid_request&state={query['state']}"
        return 302, "", f"/if/flow/default-authentication-flow/?next={quote('/application/o/authorize/')}"

    def token(self, headers: Mapping[str, str]) -> tuple[int, Any, str]:
        login = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
        client, _, secret = login.partition(":")
        right = not self.grant_types or (client == "reflector" and (self.any_secret or secret in self.secrets))
        return 400, {"error": "invalid_grant" if right else "invalid_client"}, ""

    def session(self, headers: Mapping[str, str]) -> str:
        return self.sessions.get(headers.get("Cookie", "").partition("authentik_session=")[2].partition(";")[0], "")

    def flow(self, method: str, slug: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Any, str]:
        itself = f"{FLOWS}{slug}/?query="
        if slug == "initial-setup":
            return 200, {"component": "ak-stage-access-denied" if self.set_up else "ak-stage-prompt"}, ""
        if slug == "default-invalidation-flow":
            self.ended = True
            return 200, {"component": "xak-flow-redirect", "to": "/"}, ""
        stage = self.session(headers) or "identification"
        challenges: dict[str, dict[str, Any]] = {
            "identification": {
                "component": "ak-stage-identification", "password_fields": self.both_at_once,
            },
            "password": {"component": "ak-stage-password"},
            "between": {"component": self.between},
            "done": {"component": "xak-flow-redirect", "to": "/"},
        }  # fmt: skip
        if method == "GET":
            return 200, challenges[stage], ""
        said = json.loads(body)
        assert said["component"] == challenges[stage]["component"]
        if stage == "identification":
            assert said["uid_field"] == "akadmin"
        if stage == "identification" and not self.both_at_once:
            self.sessions["s"] = "password"
        else:
            self.attempts += 1
            if said["password"] != self.password:
                errors = {"non_field_errors": [{"string": "Invalid password", "code": "invalid"}]}
                return 200, {**challenges[stage], "response_errors": errors}, ""
            self.sessions["s"] = "between" if self.between else "done"
        return 302, "", itself


class Handler(BaseHTTPRequestHandler):
    def _serve(self) -> None:
        known: Authentik = self.server.known  # type: ignore[attr-defined]  # put there by `serving`
        known.asked.append(f"{self.command} {urlsplit(self.path).path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, content, location = known.answer(self.command, self.path, dict(self.headers), body)
        sent = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Set-Cookie", "authentik_session=s; HttpOnly; Path=/")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = _serve  # noqa: N815 - as the library calls them

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(known: Authentik) -> Iterator[str]:
    """Serve an Authentik, and yield where."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.known = known  # type: ignore[attr-defined]  # read by Handler
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def wanted(address: str) -> dict[str, Any]:
    return {
        "address": address,
        "url": f"https://{HOST}",
        "issuer": f"https://{HOST}{SLUG}",
        "token_url": f"https://{HOST}/application/o/token/",
        "redirect_uri": REDIRECT,
        "client_id": "reflector",
        "client_secret": SECRET,
        "certificate": CERTIFICATE,
        "administrator_password": PASSWORD,
        "administrator_proven": False,
    }


Proven = Callable[..., tuple[int, str]]


@pytest.fixture
def proven(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Proven:
    """Return what runs the program against an Authentik, and returns its exit status and its words."""

    def run(known: Authentik, patience_seconds: float = 0, **changed: Any) -> tuple[int, str]:
        monkeypatch.setattr(proof, "PATIENCE_SECONDS", patience_seconds)
        with serving(known) as address:
            monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({**wanted(address), **changed})))
            try:
                proof.main()
            except SystemExit as end:
                # Python itself writes down a text it is ended with.
                said = capsys.readouterr().err
                return (end.code, said) if isinstance(end.code, int) else (1, f"{said}{end.code}\n")
            return 0, capsys.readouterr().err

    return run


def test_an_authentik_that_knows_reflector_passes_every_check(proven: Proven) -> None:
    known = Authentik()
    assert proven(known) == (0, "")
    assert known.asked[:4] == [
        "GET /application/o/reflector/.well-known/openid-configuration",
        "GET /application/o/reflector/jwks/",
        "GET /application/o/authorize/",
        "GET /application/o/authorize/",
    ]
    assert known.ended, "the session it has opened is closed again"


def test_a_sign_in_that_asks_for_name_and_password_at_once_is_one_too(proven: Proven) -> None:
    assert proven(Authentik(both_at_once=True)) == (0, "")


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (Authentik(scheme="http"), f"the issuer is 'http://{HOST}{SLUG}', and has to be 'https://{HOST}{SLUG}'"),
        (Authentik(token_path="/token"), f"the token endpoint is 'https://{HOST}/token', and has to be"),
        (Authentik(algorithms=("HS256",)), "the algorithm of tokens is ['HS256'], and has to be ['RS256']"),
        (Authentik(algorithms=("RS256", "HS256")), "the algorithm of tokens is ['RS256', 'HS256']"),
        (Authentik(scopes=("openid", "email")), "the scope offline_access is missing"),
        (
            Authentik(other={f"{SLUG}.well-known/openid-configuration": (404, "")}),
            "the status of the discovery document is 404, and has to be 200",
        ),
        (
            Authentik(other={f"{SLUG}.well-known/openid-configuration": (200, "{}")}),
            "the issuer is None, and has to be",
        ),
        (
            Authentik(other={f"{SLUG}.well-known/openid-configuration": (200, "[]")}),
            "it answers 200 with what is no JSON object",
        ),
        (Authentik(keys=()), "the number of signing keys is 0, and has to be 1"),
        (Authentik(keys=({"x5c": [CERTIFICATE]},) * 2), "the number of signing keys is 2"),
        (Authentik(keys=({"x5c": ["Zm9yZWlnbg=="]},)), "it signs with another key than ours"),
        (Authentik(keys=({"n": "a key without its certificate"},)), "it signs with another key than ours"),
        (Authentik(redirect_uris=(f"{REDIRECT}/",)), "Reflector's own address is answered 400 , and not led"),
        (Authentik(redirect_uris=(REDIRECT, proof.FOREIGN)), "the status for a foreign address is 302, and has to be"),
        (
            Authentik(grant_types=("refresh_token",)),
            "Reflector's own address is answered 302 invalid_request, and not led to the sign-in",
        ),
        (
            Authentik(secrets=("former",)),
            "the answer to the right client secret is 'invalid_client', and has to be 'invalid_grant'",
        ),
        (
            Authentik(any_secret=True),
            "the answer to a wrong client secret is 'invalid_grant', and has to be 'invalid_client'",
        ),
        (Authentik(other={"/application/o/token/": (405, "")}), "it answers 405 with what is no JSON object"),
        (
            Authentik(set_up=False),
            "what the initial set-up answers is 'ak-stage-prompt', and has to be 'ak-stage-access-denied'",
        ),
        (
            Authentik(between="ak-stage-authenticator-validate"),
            "the sign-in of akadmin ended at ak-stage-authenticator-validate",
        ),
        (Authentik(username="somebody"), "who signed in is 'somebody', and has to be 'akadmin'"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said(proven: Proven, known: Authentik, said: str) -> None:
    status, words = proven(known)
    assert status == 1
    assert words.startswith(f"it was told, and {said}"), words
    assert len(words.splitlines()) == 1
    assert not [secret for secret in (SECRET, PASSWORD) if secret in words]


def test_no_check_is_left_out() -> None:
    names = {check.__name__ for check in proof.CHECKS}
    assert names == {"discovery", "signing_key", "redirects", "client_secret", "setup_is_over", "administrator"}


def test_an_empty_list_of_grants_is_found_by_where_it_leads(proven: Proven) -> None:
    """Its token endpoint says invalid_grant to any secret then."""
    assert "answered 302 invalid_request" in proven(Authentik(grant_types=()))[1]


@pytest.mark.parametrize("both_at_once", [False, True])
def test_an_administrator_with_another_password_ends_it_with_a_status_of_its_own(
    proven: Proven, both_at_once: bool
) -> None:
    known = Authentik(password="another", both_at_once=both_at_once)
    assert proven(known, patience_seconds=60) == (3, "akadmin cannot sign in with the generated password\n")
    assert known.attempts == 1, "more would count as an attack"


def test_a_denied_sign_in_is_one_of_another_password(proven: Proven) -> None:
    denied = json.dumps({"component": "ak-stage-access-denied"})
    known = Authentik(other={f"{FLOWS}default-authentication-flow/": (200, denied)})
    assert proven(known)[0] == 3


def test_an_administrator_who_was_proven_is_not_asked_again(proven: Proven) -> None:
    known = Authentik(password="their own by now")
    assert proven(known, administrator_proven=True) == (0, "")
    assert known.attempts == 0


def test_all_else_is_checked_before_the_administrator(proven: Proven) -> None:
    """What follows from another password must only follow where all else is well."""
    assert proven(Authentik(password="another", any_secret=True))[0] == 1


def test_a_server_that_is_starting_gets_its_time(proven: Proven, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    known = Authentik(starting=5)
    assert proven(known, patience_seconds=60) == (0, "")
    assert known.starting == 0


def test_a_server_that_never_starts_is_given_up(proven: Proven) -> None:
    status, words = proven(Authentik(starting=1000))
    assert (status, words) == (1, "it was told, and the status of the discovery document is 503, and has to be 200\n")


def test_a_server_that_is_not_there_is_said_to_be(proven: Proven) -> None:
    status, words = proven(Authentik(), address="127.0.0.1:1")
    assert status == 1
    assert words.startswith("it was told, and the server does not answer: ")


def test_its_text_alone_is_the_program() -> None:
    """As it runs in the worker: without this checkout."""
    text = Path(proof.__file__).read_text(encoding="utf-8")
    with serving(Authentik()) as address:
        done = subprocess.run(
            [sys.executable, "-I", "-c", text], input=json.dumps(wanted(address)), capture_output=True, text=True
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
