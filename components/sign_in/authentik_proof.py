"""Finds out by asking whether Authentik does what it was told. Runs inside the worker's container.

It asks the server as the edge does, with the headers the edge sends, before the edge leads anybody there. What is asked
for comes as JSON on standard input. Standard library only; its text is an argument, and nothing secret stands in it.
"""

import base64
import http.client
import json
import sys
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

PATIENCE_SECONDS: Final = 120.0
"""For a server that has just started, or has just been told."""
AUTHENTICATION_FLOW: Final = "default-authentication-flow"
INVALIDATION_FLOW: Final = "default-invalidation-flow"
SETUP_FLOW: Final = "initial-setup"
DENIED: Final = "ak-stage-access-denied"
REDIRECT: Final = "xak-flow-redirect"
ADMINISTRATOR: Final = "akadmin"
FOREIGN: Final = "https://foreign.invalid/callback"
OTHER_PASSWORD: Final = 3
"""Exit status where all is well but the administrator's password."""
STEPS: Final = 8
"""Of a sign-in at the most."""


class Wrong(Exception):
    """What is not as it has to be, in words for people."""


class OtherPassword(Exception):
    """The administrator cannot sign in; said once, since a wrong password more than once would count as an attack."""


class Answer(NamedTuple):
    """An answer of the server."""

    status: int
    location: str
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return what it says."""
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Wrong(f"it answers {self.status} with what is no JSON object")
        return found


class Server:
    """Authentik's server, asked as the edge asks it; keeps cookies as a browser does."""

    def __init__(self, address: str, url: str) -> None:
        """Ask `address`, <host>:<port>, for what people reach at `url`."""
        self.address = address
        self.host = urllib.parse.urlsplit(url).netloc
        self.cookies: dict[str, str] = {}

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Return the answer to a GET, or with a body to a POST."""
        sent = {
            "Host": self.host,
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": self.host,
            "Accept": "application/json",
            **(
                {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
            ),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request("GET" if body is None else "POST", path, body, sent)
            response = connection.getresponse()
            for name, value in response.getheaders():
                if name.lower() == "set-cookie":
                    key, _, rest = value.partition("=")
                    self.cookies[key] = rest.partition(";")[0]
            return Answer(response.status, response.getheader("Location") or "", response.read())
        except (OSError, http.client.HTTPException) as error:
            raise Wrong(f"the server does not answer: {error}") from None
        finally:
            connection.close()

    def flow(self, slug: str, said: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the challenge a flow is at, after it was told what it asked for."""
        path = f"/api/v3/flows/executor/{slug}/?query="
        body = None if said is None else json.dumps(said).encode()
        answer = self.ask(path, body, Content_Type="application/json")
        for _ in range(STEPS):
            # It leads back to itself after each stage, also after those that ask nobody anything.
            if answer.status != 302:
                break
            answer = self.ask(path)
        return answer.json()


def expect(what: str, found: object, wanted: object) -> None:
    """Raise Wrong unless `found` is what is wanted."""
    if found != wanted:
        raise Wrong(f"{what} is {found!r}, and has to be {wanted!r}")


def discovery(server: Server, wanted: Mapping[str, Any]) -> None:
    """The issuer and the addresses are those that browsers, Reflector's pages and tokens have."""
    path = urllib.parse.urlsplit(wanted["issuer"]).path
    answer = server.ask(f"{path}.well-known/openid-configuration")
    expect("the status of the discovery document", answer.status, 200)
    document = answer.json()
    expect("the issuer", document.get("issuer"), wanted["issuer"])
    expect("the token endpoint", document.get("token_endpoint"), wanted["token_url"])
    expect("the algorithm of tokens", document.get("id_token_signing_alg_values_supported"), ["RS256"])
    if "offline_access" not in document.get("scopes_supported", ()):
        raise Wrong("the scope offline_access is missing, without which nobody stays signed in")


def signing_key(server: Server, wanted: Mapping[str, Any]) -> None:
    """Tokens are signed with the key whose public half Reflector has."""
    keys = server.ask(f"{urllib.parse.urlsplit(wanted['issuer']).path}jwks/").json().get("keys", [])
    expect("the number of signing keys", len(keys), 1)
    if keys[0].get("x5c", [""])[0] != wanted["certificate"]:
        raise Wrong("it signs with another key than ours")


def redirects(server: Server, wanted: Mapping[str, Any]) -> None:
    """A code is sent to Reflector and to nobody else."""

    def authorize(redirect_uri: str) -> Answer:
        query = {
            "client_id": wanted["client_id"],
            "response_type": "code",
            "scope": "openid email profile offline_access",
            "state": "proof",
            "redirect_uri": redirect_uri,
        }
        return Server(server.address, f"https://{server.host}").ask(
            f"/application/o/authorize/?{urllib.parse.urlencode(query)}", Accept="text/html"
        )

    ours = authorize(wanted["redirect_uri"])
    if ours.status != 302 or not urllib.parse.urlsplit(ours.location).path.startswith("/if/flow/"):
        reason = urllib.parse.parse_qs(urllib.parse.urlsplit(ours.location).query).get("error", [""])[0]
        raise Wrong(f"Reflector's own address is answered {ours.status} {reason}, and not led to the sign-in")
    expect("the status for a foreign address", authorize(FOREIGN).status, 400)


def client_secret(server: Server, wanted: Mapping[str, Any]) -> None:
    """The client secret is the one Reflector's pages have, and no other is taken."""

    def error(secret: str) -> str:
        login = base64.b64encode(f"{wanted['client_id']}:{secret}".encode()).decode()
        body = urllib.parse.urlencode({"grant_type": "authorization_code", "redirect_uri": wanted["redirect_uri"]})
        answer = server.ask(
            urllib.parse.urlsplit(wanted["token_url"]).path,
            body.encode(),
            Authorization=f"Basic {login}",
            Content_Type="application/x-www-form-urlencoded",
        )
        return str(answer.json().get("error"))

    # There is no code with it, so that is all that is wrong.
    expect("the answer to the right client secret", error(wanted["client_secret"]), "invalid_grant")
    expect("the answer to a wrong client secret", error("wrong"), "invalid_client")


def setup_is_over(server: Server, wanted: Mapping[str, Any]) -> None:
    """Nobody who comes first may choose the administrator's password."""
    fresh = Server(server.address, f"https://{server.host}")
    expect("what the initial set-up answers", fresh.flow(SETUP_FLOW).get("component"), DENIED)


def administrator(server: Server, wanted: Mapping[str, Any]) -> None:
    """Authentik's administrator signs in with the generated password, as long as it is the one in force.

    Once that was so the password is theirs, and may be another one.
    """
    if wanted["administrator_proven"]:
        return
    session = Server(server.address, f"https://{server.host}")
    password, sent = wanted["administrator_password"], False
    challenge = session.flow(AUTHENTICATION_FLOW)
    for _ in range(STEPS):
        component = challenge.get("component")
        if challenge.get("response_errors") or component == DENIED:
            raise OtherPassword(f"{ADMINISTRATOR} cannot sign in with the generated password")
        if component == "ak-stage-identification":
            said = {"component": component, "uid_field": ADMINISTRATOR}
            sent = bool(challenge.get("password_fields"))
            challenge = session.flow(AUTHENTICATION_FLOW, {**said, "password": password} if sent else said)
        elif component == "ak-stage-password" and not sent:
            sent = True
            challenge = session.flow(AUTHENTICATION_FLOW, {"component": component, "password": password})
        else:
            break
    if not sent or challenge.get("component") != REDIRECT:
        raise Wrong(f"the sign-in of {ADMINISTRATOR} ended at {challenge.get('component')}")
    me = session.ask("/api/v3/core/users/me/").json()
    expect("who signed in", me.get("user", {}).get("username"), ADMINISTRATOR)
    session.flow(INVALIDATION_FLOW)


CHECKS: Final[tuple[Callable[[Server, Mapping[str, Any]], None], ...]] = (
    discovery, signing_key, redirects, client_secret, setup_is_over, administrator,
)  # fmt: skip


def main() -> None:
    """Check all; a server that is not there yet gets some time."""
    wanted = json.load(sys.stdin)
    server = Server(wanted["address"], wanted["url"])
    deadline = time.monotonic() + PATIENCE_SECONDS
    for check in CHECKS:
        while True:
            try:
                check(server, wanted)
                break
            except OtherPassword as error:
                print(error, file=sys.stderr)
                sys.exit(OTHER_PASSWORD)
            except Wrong as error:
                if time.monotonic() > deadline:
                    sys.exit(f"it was told, and {error}")
            time.sleep(2)


if __name__ == "__main__":
    main()
