"""The Caddyfiles: front, router and sites, and no more than that; read by Caddy itself where there is one."""

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509

from components.sign_in.authentik import CLOSED_PATHS
from rendering import caddyfile
from rendering.caddyfile import NOTHING, PAGES, Policy, RouteText, SiteText
from testing.certificates import certificate

CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----\nLeaf\n-----END CERTIFICATE-----\n"
KEY: Final = "-----BEGIN EC PRIVATE KEY-----\nKey\n-----END EC PRIVATE KEY-----\n"


def site(*names: str, **given: Any) -> SiteText:
    """Return a site of pages at these names."""
    usual: dict[str, Any] = {
        "names": names or ("reflector.example.com",),
        "certificate_file": "edge.pem",
        "routes": [
            RouteText(paths=("/v1/*", "/health"), upstream="http://api:1"),
            RouteText(upstream="http://pages:2", canonical=True),
        ],
        "policy": PAGES,
    }
    return SiteText(**{**usual, **given})


STORE: Final = site(
    "s3.reflector.example.com",
    certificate_file="store.pem",
    routes=[RouteText(upstream="http://store:3")],
    policy=NOTHING,
)


FRONT: Final = caddyfile.front("a.test", https_port=8443, http_port=8080)
ROUTER: Final = caddyfile.router()


def release(*sites: SiteText, https_port: int = 443) -> caddyfile.Release:
    return caddyfile.release(sites or (site(), STORE), https_port=https_port)


# --- Front and router -------------------------------------------------------------------------------------------------


def test_the_router_imports_whatever_release_is_live() -> None:
    assert "import {$CADDY_RELEASE:/config/reflector/live}/*.router" in ROUTER


def test_the_front_is_never_reloaded_and_the_router_off_the_network() -> None:
    assert "\tadmin off\n" in FRONT
    assert "import" not in FRONT, "what changes while it runs would need a reload"
    assert "\tadmin unix//run/caddy/admin.sock\n" in ROUTER
    listeners = [*re.findall("(?m)^http.*$", ROUTER), *re.findall("(?m)^http.*$", release().sites)]
    assert listeners == ["http:// {"] * 3
    assert (ROUTER + release().sites).count("{\n\tbind unix/{$CADDY_SOCKETS}/") == 3


def test_the_front_leads_each_request_to_what_serves_at_that_moment() -> None:
    for listener, socket_name in (("https://:8443", "https"), ("http://:8080", "http"), ("http://127.0", "internal")):
        block = FRONT[FRONT.index(f"\n{listener}") :]
        assert f"\treverse_proxy unix//run/caddy/serving/{socket_name} {{" in block[: block.index("\n}")]
    assert FRONT.count("keepalive off") == FRONT.count("reverse_proxy") == 3
    assert "lb_retry_match" not in FRONT, "nothing but a GET may be asked twice"


def test_the_router_goes_on_for_a_while_after_a_reload() -> None:
    assert "\tshutdown_delay {$CADDY_DRAIN:5s}\n" in ROUTER


def test_clients_that_send_no_name_mean_the_default_one() -> None:
    assert "default_sni a.test" in FRONT
    assert "fallback_sni a.test" in FRONT


def test_health_and_certificates_are_on_loopback_alone() -> None:
    assert "http://127.0.0.1:2080 {\n\tbind 127.0.0.1\n" in FRONT
    listener = ROUTER[ROUTER.index("bind unix/{$CADDY_SOCKETS}/internal") :]
    assert "handle /healthy {" in listener
    assert "handle /certificate {\n\t\troot * /config/reflector/certificates\n" in listener
    assert "/internal" not in release().sites


def test_caddy_makes_no_certificate_of_its_own() -> None:
    for text in (FRONT, ROUTER):
        assert "\tauto_https off\n" in text
    # The option makes Caddy set up an authority of its own, to say of it that nobody is to trust it.
    assert "skip_install_trust" not in FRONT + ROUTER


def test_who_is_in_front_is_said_to_every_listener_and_nobody_is_by_default() -> None:
    def front(*proxies: str, proxy_protocol: bool = False) -> str:
        return caddyfile.front(
            "a.test", https_port=8443, http_port=8080, trusted_proxies=proxies, proxy_protocol=proxy_protocol
        )

    assert "trusted" not in front()
    assert "proxy_protocol" not in front("10.0.0.0/8")
    text = front("10.0.0.0/8", "::1", proxy_protocol=True)
    assert "\t\ttrusted_proxies static 10.0.0.0/8 ::1/128\n\t\ttrusted_proxies_strict\n" in text
    assert "allow 10.0.0.0/8 ::1/128\n\t\t\t\tfallback_policy reject\n\t\t\t}\n\t\t\ttls\n" in text


# --- Sites ------------------------------------------------------------------------------------------------------------


def test_every_name_of_a_site_is_served_and_no_other() -> None:
    text = release(site("a.test", "localhost", "127.0.0.1", "::1"), https_port=8443).sites
    assert "@site1 host a.test localhost 127.0.0.1 ::1\n\thandle @site1 {" in text
    assert 'handle {\n\t\trespond "No such name is served here." 421\n\t}' in text


def test_any_number_of_sites_are_served_each_by_its_own_routes() -> None:
    text = release(
        *(site(f"{name}.test", routes=[RouteText(upstream=f"http://{name}:1")]) for name in ("a", "b", "c"))
    ).sites
    for number, name in enumerate(("a", "b", "c"), start=1):
        block = text[text.index(f"@site{number} host {name}.test") :]
        assert block.index(f"reverse_proxy http://{name}:1 {{\n") < block.index("\n\t}\n")


def test_a_name_of_two_sites_is_refused() -> None:
    with pytest.raises(ValueError, match=r"names of more than one site: a\.test, b\.test"):
        release(site("a.test", "b.test"), site("b.test", "a.test", "c.test"))


@pytest.mark.parametrize(("port", "target"), [(443, "https://{host}{uri}"), (8443, "https://{host}:8443{uri}")])
def test_plain_http_redirects_to_the_port_of_the_urls(port: int, target: str) -> None:
    text = release(https_port=port).sites
    listener = text[text.index("}/http\n") : text.index("}/https\n")]
    assert f"\tredir {target} 308\n" in listener


def test_paths_go_where_their_route_leads_and_the_rest_to_the_last() -> None:
    text = release().sites
    assert "@route1_1 path /v1/* /health\n\t\thandle @route1_1 {\n\t\t\treverse_proxy http://api:1 {\n" in text
    assert "\t\t\treverse_proxy http://pages:2 {\n" in text
    assert text.index("reverse_proxy http://api:1") < text.index("reverse_proxy http://pages:2"), (
        "the first that matches"
    )


CLOSED: Final = site("auth.a.test", routes=[RouteText(upstream="http://auth:1")], closed=("/api/x/*", "/api/y*"))


def test_closed_paths_are_refused_before_any_route_takes_them() -> None:
    text = release(site(), CLOSED).sites
    block = text[text.index("@site2 host auth.a.test") :]
    closed = (
        '@closed2 path /api/x/* /api/y*\n\t\thandle @closed2 {\n\t\t\trespond "This is not served here." 403\n\t\t}\n'
    )
    assert closed in block
    assert block.index(closed) < block.index("reverse_proxy")
    assert "@closed1" not in text, "of the other site nothing is closed"
    assert "@closed" not in release(site(closed=())).sites


# --- The page about trust ---------------------------------------------------------------------------------------------


def test_without_a_page_about_trust_there_is_no_route_to_it() -> None:
    assert "/trust" not in release(site(), STORE).sites


def test_the_page_about_trust_comes_before_all_sites_at_the_names_of_its_own() -> None:
    text = release(site("a.test", "b.test", trust_page=True), STORE).sites
    protected = text[text.index("}/https\n") :]
    assert "@trust {\n\t\thost a.test b.test\n\t\tpath /trust /trust/*\n\t}" in protected
    assert protected.index("handle @trust") < protected.index("handle @site1")


def test_for_first_contact_the_page_about_trust_is_there_by_plain_http_at_any_name() -> None:
    text = release(site(trust_page=True)).sites
    plain = text[: text.index("}/https\n")]
    assert "@trust {\n\t\tpath /trust /trust/*\n\t}" in plain
    assert plain.index("handle @trust") < plain.index("redir ")


# --- Policies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["reflector.example.com", "localhost", "a.localhost", "127.0.0.1", "::1"], "reflector.example.com"),
        (["reflector.example.com", "192.0.2.7", "meet.example.com"], "reflector.example.com meet.example.com"),
    ],
)
def test_only_real_domains_are_pinned_to_https(names: list[str], told: str) -> None:
    text = release(site(*names)).sites
    assert f"@named1 host {told}\n\t\theader @named1 Strict-Transport-Security" in text, (
        "HSTS covers every port of a name: on localhost it would break other services"
    )


@pytest.mark.parametrize(
    ("names", "https_port"),
    [
        (["reflector.localhost", "localhost", "127.0.0.1"], 443),
        (["LOCALHOST"], 443),
        (["reflector.example.com"], 8443),
    ],
)
def test_nothing_is_pinned_to_https_where_the_name_has_neighbours(names: list[str], https_port: int) -> None:
    assert "Strict-Transport-Security" not in release(site(*names), https_port=https_port).sites


# --- Names ------------------------------------------------------------------------------------------------------------


def test_other_names_lead_to_the_canonical_one_where_a_route_is_served_there_only() -> None:
    text = release(site("a.test", "b.test", "::1"), https_port=8443).sites
    assert "@other1_2 not host a.test\n\t\t\tredir @other1_2 https://a.test:8443{uri} 307" in text
    assert "@other1_1" not in text, "the API answers at every name"
    assert "redir @other" not in release(site("a.test")).sites


# --- Requests ---------------------------------------------------------------------------------------------------------


def test_what_clients_claim_to_be_is_not_passed_on() -> None:
    for header in ("Forwarded", "X-Forwarded-*", "X-Real-Ip"):
        assert FRONT.count(f"\trequest_header -{header}\n") == 2, "by either protocol"
    assert "\ttrusted_proxies_unix\n" in ROUTER, "what the front says is true"


def test_every_stream_outlives_a_release() -> None:
    text = release().sites
    assert text.count("stream_close_delay 12h") == text.count("reverse_proxy") > 0


# --- Standby ----------------------------------------------------------------------------------------------------------


def test_while_there_is_no_release_whatever_is_asked_is_answered_in_words() -> None:
    made = caddyfile.standby("edge.pem")
    assert made.names == "rewrite * /edge.pem\n"
    for listener in ("http", "https"):
        block = made.sites[made.sites.index(f"bind unix/{{$CADDY_SOCKETS}}/{listener}\n") :]
        assert 'respond "This site is being set up. Try again in a moment." 503' in block[: block.index("\n}")]


def test_what_has_to_arrive_as_it_was_sent_is_not_touched() -> None:
    text = release(STORE).sites
    assert "reverse_proxy http://store:3 {\n" in text
    assert "encode" not in text
    assert "header {" not in text, "what S3 clients get must be what the store said"


def test_pages_are_compressed_and_closed_to_what_they_do_not_need() -> None:
    text = release(site()).sites
    assert "encode zstd gzip" in text
    for line in ("-Server", "X-Content-Type-Options nosniff", "X-Frame-Options SAMEORIGIN"):
        assert f"\t\t\t{line}\n" in text


def test_a_policy_of_ones_own_is_written_out() -> None:
    text = release(site(policy=Policy(headers={"X-Own": "1"}))).sites
    assert "header {\n\t\t\tX-Own 1\n\t\t}" in text
    assert "encode" not in text


# --- Certificates -----------------------------------------------------------------------------------------------------


def test_the_certificate_is_asked_for_at_each_handshake() -> None:
    assert "tls {\n\t\tget_certificate http http://127.0.0.1:2080/certificate\n\t}" in FRONT, (
        "a certificate in the configuration would take a new front, which drops requests"
    )


def test_each_name_has_the_certificate_of_its_site_and_any_other_the_first() -> None:
    names = release(site("a.test", "b.test"), STORE).names
    assert names.splitlines() == [
        "map {query.server_name} {certificate} {",
        "\t~(?i)^a\\.test$ edge.pem",
        "\t~(?i)^b\\.test$ edge.pem",
        "\t~(?i)^s3\\.reflector\\.example\\.com$ store.pem",
        "\tdefault edge.pem",
        "}",
        "rewrite * /{certificate}",
    ]


def test_the_certificate_file_holds_the_leaf_before_its_key() -> None:
    certificate = caddyfile.certificate(CERTIFICATE, KEY)
    assert certificate.index("CERTIFICATE") < certificate.index("PRIVATE KEY")
    assert certificate.endswith("\n")


# --- Releases ---------------------------------------------------------------------------------------------------------

CHANGED: Final[Mapping[str, caddyfile.Release]] = {
    "a name": release(site("other.example.com"), STORE),
    "a site less": release(site()),
    "a certificate": release(site(certificate_file="other.pem"), STORE),
    "a route": release(site(routes=[RouteText(upstream="http://other:1")]), STORE),
    "a policy": release(site(policy=NOTHING), STORE),
    "what is closed": release(site(closed=("/x",)), STORE),
    "a page about trust": release(site(trust_page=True), STORE),
    "the HTTPS port": release(https_port=1),
}


@pytest.mark.parametrize("change", CHANGED)
def test_anything_new_makes_a_new_release(change: str) -> None:
    assert CHANGED[change].identifier != release().identifier


def test_the_same_configuration_is_the_same_release() -> None:
    assert release() == release()
    assert len(release().identifier) == 16


# --- Caddy itself -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Placed:
    """The files as they are in the container, below a folder of a test's own."""

    folder: Path

    def place(self, made: caddyfile.Release, *, trusted: bool = False, **ports: int) -> tuple[Path, Path]:
        """Write front, router and release, and return the first two; `trusted` is behind proxies."""
        live = self.folder / "config" / "live"
        live.mkdir(parents=True)
        (self.folder / "run" / "serving").mkdir(parents=True)
        front = self.folder / "config" / "front.Caddyfile"
        router = self.folder / "config" / "router.Caddyfile"
        text = caddyfile.front(
            "a.test",
            https_port=ports.get("https", 8443),
            http_port=ports.get("http", 8080),
            trusted_proxies=["10.0.0.0/8", "2001:db8::1"] if trusted else [],
            proxy_protocol=trusted,
        )
        front.write_text(self._here(text, ports.get("loopback", caddyfile.LOOPBACK_PORT)))
        router.write_text(self._here(caddyfile.router()))
        (live / caddyfile.SITES_FILE).write_text(self._here(made.sites))
        (live / caddyfile.NAMES_FILE).write_text(made.names)
        return front, router

    def _here(self, text: str, loopback: int = 0) -> str:
        return (
            text.replace(caddyfile.CONFIG_DIRECTORY, str(self.folder / "config"))
            .replace(caddyfile.RUN_DIRECTORY, str(self.folder / "run"))
            .replace(f":{caddyfile.LOOPBACK_PORT}", f":{loopback}")
        )

    @property
    def environment(self) -> dict[str, str]:
        serving = str(self.folder / "run" / "serving")
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "CADDY_SOCKETS": serving}


@pytest.mark.parametrize(
    "sites",
    [
        [site()],
        [site("reflector.localhost", "localhost", "127.0.0.1", "::1"), STORE],
        [site("reflector.example.com", "2001:db8::1"), STORE, site("a.test", policy=Policy(headers={"-X": ""}))],
        [site(), CLOSED],
        [site("reflector.localhost", "::1", trust_page=True), STORE],
    ],
    ids=["one", "two", "three", "closed", "trust"],
)
@pytest.mark.parametrize("trusted", [False, True], ids=["alone", "behind proxies"])
def test_caddy_itself_takes_the_rendered_files(
    caddy: Path, tmp_path: Path, sites: list[SiteText], trusted: bool
) -> None:
    placed = Placed(tmp_path)
    both = placed.place(release(*sites, https_port=8443), trusted=trusted)
    for file in both:
        done = subprocess.run(
            [caddy, "validate", "--config", file, "--adapter", "caddyfile"],
            env=placed.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    for file in (*both, *(tmp_path / "config" / "live").iterdir()):
        formatted = subprocess.run([caddy, "fmt", file], capture_output=True, text=True, check=False)
        assert formatted.returncode == 0, f"Caddy would format {file.name} otherwise: {formatted.stderr}"


@dataclass(frozen=True)
class Running:
    """A real front and a real router that serve the rendered files."""

    https_port: int
    http_port: int
    certificates: Path

    def redirect(self, host: str) -> str:
        """Return where a request for `/x?y` of a host is sent."""
        with contextlib.closing(HTTPConnection("127.0.0.1", self.http_port, timeout=10)) as connection:
            connection.request("GET", "/x?y", headers={"Host": host})
            location = connection.getresponse().headers["Location"]
            return location.replace(f":{self.https_port}/", ":<https_port>/")

    def status(self, host: str, target: str) -> int:
        """Return how a request for `target`, as it is sent, is answered; nobody is behind any site."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with contextlib.closing(
            HTTPSConnection("127.0.0.1", self.https_port, timeout=10, context=context)
        ) as connection:
            connection.request("GET", target, headers={"Host": host})
            return connection.getresponse().status

    def answer(self, host: str, target: str, *, plain: bool, method: str = "GET") -> tuple[HTTPResponse, str]:
        """Return an answer with its body."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = (
            HTTPConnection("127.0.0.1", self.http_port, timeout=10)
            if plain
            else HTTPSConnection("127.0.0.1", self.https_port, timeout=10, context=context)
        )
        with contextlib.closing(connection):
            connection.request(method, target, headers={"Host": host})
            answer = connection.getresponse()
            return answer, answer.read().decode()

    def shown(self, name: str | None) -> str:
        """Return whose certificate a client that wants `name` is shown; None: it names nobody."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", self.https_port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
        assert der is not None
        return str(x509.load_der_x509_certificate(der).subject.rfc4514_string().removeprefix("CN="))


TRUST_ROUTES: Final = [
    RouteText(paths=["/trust/ca.pem"], upstream="http://127.0.0.1:1"),
    RouteText(upstream="http://127.0.0.1:1", canonical=True),
]
"""The application's own, which would take the paths of the page about trust."""
TRUST_FILES: Final = {
    "index.html": "protected", "first-contact.html": "plain", "ca.pem": "PEM", "ca.crt": "DER",
    "ca.mobileconfig": "profile", "fingerprint.txt": "fingerprint",
}  # fmt: skip


@pytest.fixture(scope="module")
def running(caddy: Path) -> Iterator[Running]:
    # Short: the path of a socket has an end.
    folder = Path(tempfile.mkdtemp(prefix="caddy-"))
    placed = Placed(folder)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        https_port, http_port, loopback = (int(one.getsockname()[1]) for one in sockets)
    made = release(
        site("a.test", "b.test", certificate_file="a.pem", routes=TRUST_ROUTES, trust_page=True),
        site("s3.a.test", certificate_file="s3.pem"),
        site(
            "auth.a.test",
            certificate_file="a.pem",
            routes=[RouteText(upstream="http://127.0.0.1:1")],
            closed=CLOSED_PATHS,
        ),
        https_port=https_port,
    )
    both = placed.place(made, https=https_port, http=http_port, loopback=loopback)
    certificates = placed.folder / "config" / caddyfile.CERTIFICATES_DIRECTORY
    certificates.mkdir()
    for name in ("a", "s3"):
        (certificates / f"{name}.pem").write_text(caddyfile.certificate(*certificate(f"the one of {name}")))
    pages = folder / "config" / caddyfile.TRUST_PAGE_DIRECTORY
    pages.mkdir()
    for name, text in TRUST_FILES.items():
        (pages / name).write_text(text)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        for file in reversed(both):
            log = file.with_suffix(".log")
            sink = stack.enter_context(log.open("wb"))
            process = stack.enter_context(
                subprocess.Popen(
                    [caddy, "run", "--config", file, "--adapter", "caddyfile"], env=placed.environment, stderr=sink
                )
            )
            stack.callback(process.kill)
            deadline = time.monotonic() + 30
            while "serving initial configuration" not in log.read_text():
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
        yield Running(https_port, http_port, certificates)


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("a.test", "a.test"),
        ("a.test:8080", "a.test"),
        ("127.0.0.1:8080", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[::1]:8080", "[::1]"),
        ("[2001:db8::1]:8080", "[2001:db8::1]"),
    ],
)
def test_caddy_itself_redirects_to_the_host_that_was_asked_for(running: Running, host: str, target: str) -> None:
    assert running.redirect(host) == f"https://{target}:<https_port>/x?y"


@pytest.mark.parametrize("plain", [False, True], ids=["https", "http"])
@pytest.mark.parametrize(
    ("target", "content", "kind"),
    [
        ("/trust", None, "text/html; charset=utf-8"),
        ("/trust/", None, "text/html; charset=utf-8"),
        ("/trust/ca.pem", "PEM", "application/x-pem-file"),
        ("/trust/ca.crt", "DER", "application/x-x509-ca-cert"),
        ("/trust/ca.mobileconfig", "profile", "application/x-apple-aspen-config"),
        ("/trust/fingerprint.txt", "fingerprint", "text/plain; charset=utf-8"),
    ],
)
def test_caddy_itself_serves_the_page_about_trust_before_any_route(
    running: Running, target: str, content: str | None, kind: str, plain: bool
) -> None:
    for host in ("a.test", "b.test"):
        answer, body = running.answer(host, target, plain=plain)
        assert (answer.status, body) == (200, content or ("plain" if plain else "protected")), host
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert "Server" not in answer.headers


def test_caddy_itself_serves_nothing_else_below_the_page_about_trust(running: Running) -> None:
    for plain in (False, True):
        for target in ("/trust/other", "/trust/../certificates/a.pem", "/trust/%2e%2e/certificates/a.pem"):
            answer, body = running.answer("a.test", target, plain=plain)
            assert answer.status in (404, 400, 308, NOBODY_THERE), target
            assert "PRIVATE" not in body
        assert running.answer("a.test", "/trust", plain=plain, method="POST")[0].status == 405
    assert running.answer("a.test", "/trusted", plain=True)[0].status == 308
    assert running.status("s3.a.test", "/trust") == NOBODY_THERE, "the paths of another site are its own"


REFUSED: Final = 403
NOBODY_THERE: Final = 502


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/api/v3/managed/blueprints/", REFUSED), ("/api/v3/managed/blueprints", REFUSED),
        ("/api/v3/managed/blueprints/00000000/apply/", REFUSED), ("/api/v3/policies/expression/?x=1", REFUSED),
        ("/api/v3/propertymappings/all/", REFUSED),
        # However it is written: what is behind may take it for the same.
        ("/api/v3/managed//blueprints/", REFUSED), ("//api/v3/managed/blueprints/", REFUSED),
        ("/api/v3/x/../managed/blueprints/", REFUSED), ("/api/v3/./managed/blueprints/", REFUSED),
        ("/api/v3/managed/%62lueprints/", REFUSED), ("/%61pi/v3/propertymappings/all/", REFUSED),
        ("/API/v3/Managed/Blueprints/", REFUSED),
        # What signing in takes is served.
        ("/api/v3/flows/executor/default-authentication-flow/?query=", NOBODY_THERE), ("/", NOBODY_THERE),
        ("/application/o/reflector/.well-known/openid-configuration", NOBODY_THERE),
        ("/api/v3/policies/all/", NOBODY_THERE), ("/x?next=/api/v3/managed/blueprints/", NOBODY_THERE),
    ],
)  # fmt: skip
def test_caddy_itself_refuses_closed_paths_however_they_are_written(running: Running, target: str, status: int) -> None:
    assert running.status("auth.a.test", target) == status


def test_caddy_itself_closes_nothing_of_another_site(running: Running) -> None:
    assert running.status("a.test", "/api/v3/managed/blueprints/") != REFUSED


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.test", "a"),
        ("b.test", "a"),
        ("A.TEST", "a"),
        ("s3.a.test", "s3"),
        ("S3.a.test", "s3"),
        ("elsewhere.test", "a"),
        (None, "a"),
    ],
)
def test_caddy_itself_shows_the_certificate_of_the_name_that_was_asked_for(
    running: Running, name: str | None, shown: str
) -> None:
    assert running.shown(name) == f"the one of {shown}"


def test_caddy_itself_shows_a_new_certificate_as_soon_as_its_file_is_replaced(running: Running) -> None:
    file = running.certificates / "s3.pem"
    before = file.read_text()
    renewed = file.with_suffix(".new")
    renewed.write_text(caddyfile.certificate(*certificate("the renewed one")))
    renewed.replace(file)
    try:
        assert running.shown("s3.a.test") == "the renewed one"
        assert running.shown("a.test") == "the one of a", "the others are not touched"
    finally:
        file.write_text(before)


# --- Sites with a port of their own -----------------------------------------------------------------------------------

ADDRESS: Final = "192.0.2.9"


def test_a_port_of_a_sites_own_has_a_listener_and_a_socket_to_itself() -> None:
    front = caddyfile.front(ADDRESS, https_port=443, http_port=80, own_ports=[8444])
    block = front[front.index("\nhttps://:8444 {") :]
    assert "reverse_proxy unix//run/caddy/serving/https-8444 {" in block
    assert block.count("\trequest_header -X-Forwarded-*\n") == 1
    assert "get_certificate http http://127.0.0.1:2080/certificate" in block
    standby = caddyfile.standby("a.pem", [8444])
    assert standby.sites.count("bind unix/{$CADDY_SOCKETS}/https-8444\n") == 1


def test_a_site_with_a_port_of_its_own_is_served_by_that_alone() -> None:
    made = release(site(ADDRESS), site(ADDRESS, own_port=8444, routes=[RouteText(upstream="http://store:3")]))
    shared, _, own = made.sites.partition("bind unix/{$CADDY_SOCKETS}/https-8444\n")
    assert "http://store:3" in own
    assert "http://store:3" not in shared
    assert "http://pages:2" not in own
    assert own.rstrip().endswith('respond "No such name is served here." 421\n\t}\n}')
    assert made.names.count(re.escape(ADDRESS)) == 1


def test_without_a_port_of_its_own_a_name_is_one_sites() -> None:
    for ports in ((None, None), (8444, 8444)):
        with pytest.raises(ValueError, match=r"more than one site: 192\.0\.2\.9"):
            release(*(site(ADDRESS, own_port=port) for port in ports))


def test_what_is_ordered_is_shown_at_each_port() -> None:
    ordering = caddyfile.Ordering(names=[ADDRESS, "2001:db8::7"], directory="https://acme.test/directory")
    front = caddyfile.front(ADDRESS, https_port=443, http_port=80, own_ports=[8444], ordering=ordering)
    for port in (443, 8444):
        block = front[front.index(f"\nhttps://{ADDRESS}:{port}, https://[2001:db8::7]:{port} {{") :]
        assert block[: block.index("\n}\n")].count("dir https://acme.test/directory") == 1
