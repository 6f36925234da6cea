"""Sign-in by the stack's own Authentik, from password to it and back, by a browser and as the same person.

All on the shared deployment: it is switched once, everything is done to it, and it is switched back.
"""

import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e import test_secrets as searching
from tests.e2e.address import address_of, move_to, works_as_a_whole_at
from tests.e2e.browser import Browser, BrowserError
from tests.e2e.edge import Edge
from tests.e2e.stack import DOMAIN, Stack

pytestmark = pytest.mark.docker

SIGN_IN: Final = {
    "mode": "authentik",
    "title": "Company meetings",
    "users": {
        "jane": {"name": "Jane", "email": "jane@reflector.test"},
        "joe": {"name": "Joe", "email": "joe@reflector.test"},
    },
    "groups": {"staff": {"members": ["admin", "jane"]}},
    "access": {"group": "staff"},
    # The shortest there is: renewed once less than four minutes are left.
    "access_token_minutes": 5,
    "server": {"memory_mib": 256},
    "worker": {"memory_mib": 256},
}
PAUSE_SECONDS: Final = 65
"""After which a token of five minutes is renewed."""
ARTEFACTS: Final = Path(".toolchain") / "screenshots"


@dataclass(kw_only=True)
class Visitor:
    """Somebody who asks for transcripts without signing in, over and over."""

    edges: Sequence[Edge]
    """By which they ask, all of them."""
    statuses: set[int] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Visitor":
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(60)

    def _ask(self) -> None:
        while not self._stop.is_set():
            for edge in self.edges:
                # While the server is replaced the edge has nobody to ask, and while the edge is, nobody is there.
                with suppress(OSError, http.client.HTTPException):
                    self.statuses.add(edge.ask("GET", "/v1/transcripts").status)
            time.sleep(0.1)


@dataclass(frozen=True, kw_only=True)
class Possessions:
    """What somebody has made with a password, and a key to it that knows no sign-in."""

    transcript: str
    api_key: str

    @staticmethod
    def make(stack: Stack) -> "Possessions":
        """Make them as the administrator."""
        user = {**stack.log_in(), "Content-Type": "application/json"}
        transcript = stack.edge.ask("POST", "/v1/transcripts", json.dumps({"name": "Before"}).encode(), user).json()
        key = stack.edge.ask("POST", "/v1/user/api-keys", json.dumps({"name": "e2e"}).encode(), user).json()
        return Possessions(transcript=transcript["id"], api_key=key["key"])

    def seen_by(self, stack: Stack, headers: dict[str, str]) -> bool:
        """Return whether whoever sends `headers` finds the transcript among their own."""
        items = stack.edge.ask("GET", "/v1/transcripts", headers=headers).json()["items"]
        return self.transcript in {item["id"] for item in items}


@pytest.fixture(scope="module")
def possessions(_deployment: Stack) -> Possessions:
    """What the administrator had before."""
    _deployment.settle()
    return Possessions.make(_deployment)


@pytest.fixture(scope="module")
def switched(_deployment: Stack, possessions: Possessions) -> Iterator[Stack]:
    """The shared deployment with an Authentik; as it was, in the end."""
    file, address = _deployment.checkout.stack_file(_deployment.name), _deployment.address
    content = file.read_text(encoding="utf-8")
    traces = _deployment.leave_traces()
    _deployment.configure({"sign_in": SIGN_IN})
    with Visitor(edges=[_deployment.edge]) as visitor:
        _deployment.up()
    _deployment.wait_until_healthy()
    assert 200 not in visitor.statuses, "it was public for a moment"
    assert 401 in visitor.statuses
    yield _deployment
    # A test may have moved it to another address: it is asked there as long as it is there.
    former = _deployment.edge
    file.write_text(content, encoding="utf-8")
    del _deployment.__dict__["edge"]
    _deployment.address = address
    with Visitor(edges=[former, _deployment.edge]) as visitor:
        _deployment.up()
    _deployment.wait_until_healthy()
    assert 200 not in visitor.statuses, "it was public for a moment"
    assert 401 in visitor.statuses
    assert possessions.seen_by(_deployment, _deployment.log_in()), "the administrator is the same person as before"
    assert possessions.seen_by(_deployment, {"X-API-Key": possessions.api_key})
    assert traces.are_found_in(_deployment), "neither another sign-in nor another address of the edge is another store"
    assert _deployment.broken_wires() == {}
    assert _deployment.planned(refresh=True) == {}


@pytest.fixture
def authentik(switched: Stack) -> Stack:
    """The same, as its file says."""
    switched.settle()
    return switched


def browser_of(stack: Stack) -> Browser:
    """Return a browser for the stack, yet to be opened."""
    edge = stack.edge
    names = [edge.domain, f"auth.{edge.domain}", f"login.{edge.domain}"]
    return Browser(url=f"https://{edge.domain}:{edge.https_port}", ca_pem=edge.ca_pem, names=names)


@pytest.fixture
def browse(authentik: Stack) -> Iterator[Callable[[], Browser]]:
    """Opens browsers, each somebody else's."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(browser_of(authentik))


@dataclass(frozen=True, kw_only=True)
class Session:
    """Somebody who is signed in, and has done nothing since."""

    browser: Browser
    token: str = field(repr=False)
    since: float
    """When, by the monotonic clock."""


@pytest.fixture(scope="module")
def jane(switched: Stack) -> Iterator[Session]:
    """Jane, whose token grows old while other tests go on: that takes a minute."""
    with browser_of(switched) as browser:
        token = signed_in(browser, switched, "jane").session()["accessToken"]
        yield Session(browser=browser, token=token, since=time.monotonic())


def wait_until_old(since: float) -> None:
    """Wait until a token that somebody got then is one to renew."""
    time.sleep(max(0.0, since + PAUSE_SECONDS - time.monotonic()))


def signed_in(browser: Browser, stack: Stack, user: str) -> Browser:
    """Return the browser, in which somebody has signed in."""
    browser.sign_in(user, stack.initial_password(user))
    return browser


@pytest.mark.usefixtures("jane")
def test_a_stack_with_authentik_works_as_a_whole(authentik: Stack) -> None:
    assert authentik.containers().keys() == authentik.services
    assert authentik.broken_wires() == {}
    assert authentik.planned(refresh=True) == {}
    authentik.up()
    assert authentik.last_changes().keys() == {"same"}


def test_the_administrator_signs_in_by_browser_and_is_who_it_was(
    authentik: Stack, browse: Callable[[], Browser], possessions: Possessions
) -> None:
    browser = signed_in(browse(), authentik, "admin")
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    browser.screenshot(ARTEFACTS / "signed-in.png")
    assert browser.whoami() == authentik.outputs()["admin_email"]
    token = {"Authorization": f"Bearer {browser.session()['accessToken']}"}
    assert possessions.seen_by(authentik, token), "it is the same person as with a password"
    assert possessions.seen_by(authentik, {"X-API-Key": possessions.api_key})
    browser.sign_out()
    assert browser.whoami() is None


def test_somebody_else_signs_in_and_sees_nothing_of_that(
    authentik: Stack, browse: Callable[[], Browser], possessions: Possessions
) -> None:
    browser = signed_in(browse(), authentik, "jane")
    token = {"Authorization": f"Bearer {browser.session()['accessToken']}"}
    assert not possessions.seen_by(authentik, token)


def test_who_is_not_in_the_group_is_refused(authentik: Stack, browse: Callable[[], Browser]) -> None:
    with pytest.raises(BrowserError, match="Permission denied"):
        signed_in(browse(), authentik, "joe")


def test_authentiks_api_is_closed_where_code_comes_in(authentik: Stack) -> None:
    for path in ("/api/v3/managed/blueprints/", "/api/v3/policies/expression/", "/api/v3/propertymappings/all/"):
        answer = authentik.edge.ask("GET", path, name=f"auth.{DOMAIN}")
        assert (answer.status, answer.body) == (403, b"This is not served here."), path
    answer = authentik.edge.ask(
        "GET", "/application/o/reflector/.well-known/openid-configuration", name=f"auth.{DOMAIN}"
    )
    assert answer.json()["issuer"] == authentik.outputs()["sign_in"]["issuer"]


def test_nobody_but_the_edge_reaches_authentik(authentik: Stack) -> None:
    members = {
        service
        for service, container in authentik.containers().items()
        if f"{authentik.prefix}-identity" in container["NetworkSettings"]["Networks"]
    }
    assert members == {"authentik", "authentik-worker", "caddy"}


def test_tokens_are_renewed_and_who_left_the_group_is_out_when_they_end(
    authentik: Stack, browse: Callable[[], Browser], jane: Session
) -> None:
    wait_until_old(jane.since)
    assert jane.browser.session()["accessToken"] != jane.token, "it was renewed"
    renewed = time.monotonic()
    authentik.configure({"sign_in.groups.staff.members": ["admin"]})
    try:
        authentik.up()
        wait_until_old(renewed)
        assert jane.browser.session().get("error") == "RefreshAccessTokenError", "no further token"
        with pytest.raises(BrowserError, match="Permission denied"):
            signed_in(browse(), authentik, "jane")
    finally:
        authentik.configure({"sign_in.groups.staff.members": ["admin", "jane"]})
        authentik.up()
    signed_in(browse(), authentik, "jane")


def test_key_secret_domain_and_address_are_changed_in_one_run(
    authentik: Stack, browse: Callable[[], Browser], possessions: Possessions
) -> None:
    stale = {"Authorization": f"Bearer {signed_in(browse(), authentik, 'admin').session()['accessToken']}"}
    assert authentik.edge.ask("GET", "/v1/me", headers=stale).status == 200
    before = authentik.containers()["web"]["Config"]["Env"]
    authentik.configure(
        {
            "sign_in.signing_key_generation": 2,
            "sign_in.client_secret_generation": 2,
            "sign_in.domain": f"login.{DOMAIN}",
            "sign_in.admin_email": f"boss@{DOMAIN}",
        }
    )
    authentik.up()
    authentik.wait_until_healthy()
    assert authentik.containers()["web"]["Config"]["Env"] != before
    assert authentik.edge.ask("GET", "/v1/me", headers=stale).status == 401, "signed with the former key"
    assert authentik.inside("redis", "redis-cli", "--scan", "--pattern", "token:*").strip() == ""
    browser = signed_in(browse(), authentik, "admin")
    assert f"//login.{DOMAIN}:" in authentik.outputs()["sign_in"]["issuer"]
    fresh = {"Authorization": f"Bearer {browser.session()['accessToken']}"}
    assert authentik.edge.ask("GET", "/v1/me", headers=fresh).status == 200
    assert browser.whoami() == f"boss@{DOMAIN}"
    assert possessions.seen_by(authentik, fresh), "another address is no other person"
    assert authentik.broken_wires() == {}


def test_a_blueprint_that_authentik_refuses_fails_the_run_in_its_words(authentik: Stack) -> None:
    file = authentik.checkout.layout.root / "rendering" / "authentik.py"
    content = file.read_text(encoding="utf-8")
    file.write_text(content.replace('"client_type": "confidential"', '"client_type": "secretive"'), encoding="utf-8")
    authentik.settled = False
    try:
        output = authentik.run("up").failed().output
    finally:
        file.write_text(content, encoding="utf-8")
    assert "Authentik refused the blueprint" in output
    assert "secretive" in output, "its own reason"
    assert searching.leaks(searching.secrets_of(authentik), output) == []
    authentik.up()
    assert authentik.planned(refresh=True) == {}


def test_a_run_that_is_killed_while_a_blueprint_is_applied_goes_on(authentik: Stack) -> None:
    authentik.configure({"sign_in.title": "Another title"})
    run = authentik.start("up")
    worker = f"{authentik.prefix}-authentik-worker"
    deadline = time.monotonic() + 120
    try:
        while "apply_blueprint" not in authentik.host.docker("top", worker, "-o", "pid,args"):
            assert not run.is_over and time.monotonic() < deadline, run.output()
            time.sleep(0.05)
    finally:
        run.kill()
    authentik.up()
    assert authentik.inside("authentik-worker", "find", "/run/reflector", "/blueprints/custom", "-type", "f") == ""
    page = authentik.edge.ask("GET", "/if/flow/default-authentication-flow/", name=f"login.{DOMAIN}")
    assert b"Another title" in page.body
    assert authentik.planned(refresh=True) == {}


def test_no_token_of_anybody_is_in_a_log(authentik: Stack, browse: Callable[[], Browser]) -> None:
    session: dict[str, Any] = signed_in(browse(), authentik, "admin").session()
    log = authentik.host.logs(authentik.ids()["web"])
    assert "extendedToken" in log, "it does print them"
    assert session["accessToken"] not in log
    assert not re.search(r"eyJ[\w-]+\.[\w-]+", log)


def test_it_works_as_a_whole_at_an_address_without_any_name(authentik: Stack) -> None:
    """The last that needs its names: it stays there until it is switched back, which moves it back as well."""
    address = address_of(authentik.host)
    move_to(authentik, address)
    works_as_a_whole_at(authentik, address)


def test_no_secret_of_authentik_is_where_it_does_not_belong(authentik: Stack, history: list[str]) -> None:
    secrets = searching.secrets_of(authentik)
    kinds = {"authentik-akadmin result", "authentik-client-secret-2 result", "authentik-signing-key-2 privateKeyPem"}
    assert kinds <= secrets.keys(), "the search itself has lost sight of them"
    assert searching.leaks(secrets, authentik.pulumi("stack", "export").succeeded().output) == []
    assert {name for name, text in authentik.files() if searching.leaks(secrets, text)} == set()
    assert [leaked for text in authentik.console if (leaked := searching.leaks(secrets, text))] == []
    logs = {service: authentik.host.logs(container) for service, container in authentik.ids().items()}
    assert {service for service, text in logs.items() if searching.leaks(secrets, text)} == set()
    executed = "\n".join(action for action in history if action.startswith("exec_create"))
    assert "ak apply_blueprint" in executed
    assert searching.leaks(secrets, executed) == []
