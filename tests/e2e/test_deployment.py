"""What `make up` leaves behind: everything healthy, really wired together, and reachable in one way only."""

import json
import secrets
import ssl
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509

from testing.certificates import issue
from tests.e2e.browser import Browser
from tests.e2e.stack import DOMAIN, WIRED, Stack

pytestmark = pytest.mark.docker

PROCESS = """
import asyncio, os, sys, time
from probe import language_model, pipeline
from probe.environment import Environment

env = Environment(os.environ)
deadline = time.monotonic() + 30
while True:
    try:
        asyncio.run(language_model.ask(env, "Are you there?", language_model.TITLE, seconds=5))
        break
    except Exception:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.2)
sys.exit(not asyncio.run(pipeline.run(env, sys.argv[1])))
"""
"""What processes the recording of a transcript again; it first waits for the model."""
READ_ONLY = {"postgres", "redis", "ollama", "caddy"}
"""Services that need no file put in, and so get no root file system to write to."""
DATA = {"postgres": "database", "redis": "cache", "garage": "storage"}
"""Data service → the one network it is on."""


def test_every_service_is_there_and_healthy(deployment: Stack) -> None:
    health = {service: container["State"]["Health"]["Status"] for service, container in deployment.containers().items()}
    assert health == dict.fromkeys(deployment.services, "healthy")


@pytest.mark.parametrize("service", WIRED)
def test_a_service_reaches_all_it_depends_on(deployment: Stack, service: str) -> None:
    answer = deployment.wiring(service)
    checks = {name: entry for name, entry in answer.items() if isinstance(entry, dict)}
    assert checks
    assert {name: entry["error"] for name, entry in checks.items() if not entry["ok"]} == {}
    assert answer["ok"] is True
    assert answer["role"] == service


def test_the_outputs_are_complete(deployment: Stack) -> None:
    outputs = deployment.outputs()
    https_port = deployment.setting("edge.https_port")
    assert outputs["url"] == f"https://{DOMAIN}:{https_port}"
    assert outputs["api_url"] == f"https://{DOMAIN}:{https_port}/v1"
    assert outputs["ca_certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert outputs["ca_certificate"] in outputs["trust_bundle"]
    assert {entry["kind"] for entry in outputs["pki_inventory"]} == {"root", "server"}
    assert outputs["admin_email"] == f"admin@{DOMAIN}"
    assert len(outputs["admin_password"]) >= 32
    assert outputs["storage"]["endpoint"] == f"https://s3.{DOMAIN}:{https_port}"
    assert outputs["llm"]["model"] == deployment.setting("language_model.model")
    containers = deployment.containers()
    for service, entry in outputs["services"].items():
        assert entry["container"] == f"{deployment.prefix}-{service}"
        assert entry["image"] == containers[service]["Image"]
        assert entry["health"]
    assert outputs["services"].keys() == deployment.services


def test_secrets_are_not_shown_unless_asked_for(deployment: Stack) -> None:
    shown = deployment.pulumi("stack", "output", "--json").succeeded().output
    assert deployment.outputs()["admin_password"] not in shown
    assert "PRIVATE KEY" not in shown


def test_up_says_where_it_is_and_how_to_trust_it(deployment: Stack) -> None:
    first = deployment.console[0]
    assert f"Reflector is up: {deployment.outputs()['url']}" in first
    assert "pulumi stack output ca_certificate" in first
    assert deployment.outputs()["admin_email"] in first


def test_the_chain_passes_the_strictest_verifier(deployment: Stack, tmp_path: Path) -> None:
    root, leaf = tmp_path / "root.crt", tmp_path / "leaf.crt"
    root.write_text(deployment.outputs()["ca_certificate"], encoding="ascii")
    connection = deployment.edge.connect()
    leaf.write_text(connection.certificate_pem, encoding="ascii")
    connection.close()
    # a12 of the table of cases: another root of the same name must not be taken for it, where it stands first.
    subject = x509.load_pem_x509_certificate(root.read_bytes()).subject
    identifier = x509.SubjectKeyIdentifier(b"of another key")
    foreign = issue("foreign", now=datetime.now(UTC), ca=True, subject=subject, extensions=[(identifier, False)])
    both = tmp_path / "both.crt"
    both.write_bytes(foreign.pem + root.read_bytes())
    command = ("openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", DOMAIN)
    for trusted in (root, both):
        words = (*command, "-CAfile", trusted, leaf)
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr


def test_the_certificate_names_what_it_is_for(deployment: Stack) -> None:
    connection = deployment.edge.connect()
    names = set(connection.certificate["subjectAltName"])
    connection.close()
    kinds = {"DNS": "DNS", "IP": "IP Address"}
    extra = [name.split(":", 1) for name in deployment.setting("edge.extra_names")]
    assert extra
    assert names == {
        *(("DNS", name) for name in (DOMAIN, f"s3.{DOMAIN}", "localhost")),
        ("IP Address", "127.0.0.1"),
        ("IP Address", "0:0:0:0:0:0:0:1"),
        *((kinds[kind], value) for kind, value in extra),
    }


@pytest.mark.parametrize("name", [DOMAIN, "localhost", "127.0.0.1", "meet.reflector.test"])
def test_every_name_answers_whoever_trusts_our_authority(deployment: Stack, name: str) -> None:
    assert deployment.edge.ask("GET", "/health", name=name).json() == {"status": "healthy"}


def test_nobody_is_trusted_who_does_not_trust_our_authority(deployment: Stack) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        deployment.edge.connect(context=ssl.create_default_context())


def test_a_name_nobody_configured_is_not_served(deployment: Stack) -> None:
    with pytest.raises(ssl.SSLError):
        deployment.edge.connect(name="other.reflector.test")
    assert deployment.edge.ask("GET", "/health", headers={"Host": "other.reflector.test"}).status == 421


def test_the_edge_knows_no_authority_but_ours(deployment: Stack) -> None:
    # Left to itself, Caddy makes one of its own for localhost.
    assert deployment.inside("caddy", "find", "/data", "/config", "-name", "*.key") == ""


def test_the_edge_keeps_what_it_serves_and_nothing_else(deployment: Stack) -> None:
    live = deployment.inside("caddy", "readlink", "/config/reflector/live").strip()
    files = deployment.inside("caddy", "find", "/config/reflector", "-type", "f").split()
    assert {file.removeprefix("/config/reflector/") for file in files} == {
        "front.Caddyfile",
        "router.Caddyfile",
        "certificates/edge-certificate.pem",
        "standby/sites.router",
        "standby/names.certificates",
        *(f"trust/{name}" for name in ("index.html", "first-contact.html", "fingerprint.txt")),
        *(f"trust/ca.{suffix}" for suffix in ("pem", "crt", "mobileconfig")),
        *(f"{live}/{name}" for name in ("identifier", "kept", "sites.router", "names.certificates")),
    }
    key = deployment.inside("caddy", "stat", "-c", "%a", "/config/reflector/certificates/edge-certificate.pem")
    assert key.strip() == "600", "a private key is in it"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_outdated_tls_is_refused(deployment: Stack, version: ssl.TLSVersion) -> None:
    context = deployment.edge.trust()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    # The versions to refuse have to be offered first.
    with pytest.warns(DeprecationWarning):
        context.minimum_version = version
        context.maximum_version = version
    with pytest.raises(ssl.SSLError, match=r"(?i)alert|version"):
        deployment.edge.connect(context=context)


def test_plain_http_leads_to_https(deployment: Stack) -> None:
    answer = deployment.edge.ask_plainly("/v1/config?a=1")
    assert answer.status == 308
    assert answer.headers["location"] == f"{deployment.outputs()['url']}/v1/config?a=1"


def test_http2_is_offered(deployment: Stack) -> None:
    context = deployment.edge.trust()
    context.set_alpn_protocols(["h2", "http/1.1"])
    connection = deployment.edge.connect(context=context)
    assert isinstance(connection.sock, ssl.SSLSocket)
    assert connection.sock.selected_alpn_protocol() == "h2"
    connection.close()


def test_http3_is_offered_and_answers_over_udp(deployment: Stack) -> None:
    offered = deployment.edge.ask("GET", "/health").headers["alt-svc"]
    assert f'h3=":{deployment.setting("edge.https_port")}"' in offered
    assert 1 in deployment.edge.quic_versions()


def test_pages_carry_security_headers(deployment: Stack) -> None:
    for target in ("/", "/health"):
        headers = deployment.edge.ask("GET", target).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
        # It would hold for every port of the name, and here HTTPS is not at its own.
        assert "strict-transport-security" not in headers
        assert "caddy" not in headers.get("server", "").lower()


def test_the_frontend_and_the_api_share_the_domain(deployment: Stack) -> None:
    assert deployment.edge.ask("GET", "/api/health").status == 200
    assert deployment.edge.ask("GET", "/v1/config").json() == {"zulip_enabled": False, "email_enabled": False}


def test_the_administrator_can_log_in_and_nobody_else(deployment: Stack) -> None:
    outputs = deployment.outputs()
    assert deployment.edge.ask("GET", "/v1/me").status == 401
    assert deployment.edge.log_in(outputs["admin_email"], "wrong").status == 401
    me = deployment.edge.ask("GET", "/v1/me", headers=deployment.log_in())
    assert me.json()["email"] == outputs["admin_email"]


def test_the_administrator_signs_in_with_a_browser(deployment: Stack, tmp_path: Path) -> None:
    # On a port that is not 443, and with cookies only an HTTPS the browser believes in can set.
    outputs = deployment.outputs()
    names = (DOMAIN, f"*.{DOMAIN}")
    with Browser(outputs["url"], outputs["ca_certificate"], names, deployment.address) as browser:
        assert browser.whoami() is None
        assert browser.sign_in(outputs["admin_email"], outputs["admin_password"]) == outputs["admin_email"]
        browser.screenshot(tmp_path / "signed-in.png")
        session = browser.session()
        me = {"Authorization": f"Bearer {session['accessToken']}"}
        assert deployment.edge.ask("GET", "/v1/me", headers=me).json()["sub"] == session["user"]["id"]
        browser.sign_out()
        assert browser.session() == {}


def test_web_sockets_pass_the_edge(deployment: Stack) -> None:
    connection = deployment.edge.ask_for_events(deployment.log_in())
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Sec-WebSocket-Protocol")) == (101, "bearer")
    connection.close()


def test_a_presigned_url_works_outside_and_inside(deployment: Stack) -> None:
    traces = deployment.leave_traces()
    url = deployment.edge.ask("GET", f"/v1/objects/{traces.key}", headers=deployment.log_in()).json()["url"]
    assert urlsplit(url).hostname == f"s3.{DOMAIN}"
    answer = deployment.edge.fetch(url)
    assert (answer.status, answer.body) == (200, traces.content)
    # Range requests are how browsers play audio.
    parts = urlsplit(url)
    part = deployment.edge.ask(
        "GET",
        f"{parts.path}?{parts.query}",
        headers={"Range": "bytes=10-19", "Origin": deployment.outputs()["url"]},
        name=f"s3.{DOMAIN}",
    )
    assert (part.status, part.body) == (206, traces.content[10:20])
    exposed = {name.strip().lower() for name in part.headers["access-control-expose-headers"].split(",")}
    assert {"content-range", "accept-ranges", "content-length"} <= exposed, "a player's script could not seek"
    # A command of its own, not the server's main process: trust has to reach every process.
    script = "import sys, urllib.request; print(len(urllib.request.urlopen(sys.stdin.read(), timeout=20).read()))"
    assert int(deployment.inside("worker", "python3", "-c", script, stdin=url)) == len(traces.content)


def test_a_recording_goes_through_everything_and_ends_as_the_model_lets_it(deployment: Stack) -> None:
    # Server, volume, Hatchet, its worker, object store, speech service and model; the stand-in model calls no tools.
    user = deployment.log_in()
    named = json.dumps({"name": "A meeting"}).encode()
    headers = {**user, "Content-Type": "application/json"}
    path = f"/v1/transcripts/{deployment.edge.ask('POST', '/v1/transcripts', named, headers).json()['id']}"
    part = b'--b\r\nContent-Disposition: form-data; name="chunk"; filename="a.wav"\r\n\r\n%s\r\n--b--\r\n'
    headers = {**user, "Content-Type": "multipart/form-data; boundary=b"}
    target = f"{path}/record/upload?chunk_number=0&total_chunks=1"
    assert deployment.edge.ask("POST", target, part % secrets.token_bytes(4096), headers).status == 200
    deadline = time.monotonic() + 60
    while (status := deployment.edge.ask("GET", path, headers=user).json()["status"]) not in ("ended", "error"):
        assert time.monotonic() < deadline, status
        time.sleep(0.5)
    assert status == "error"
    log = deployment.host.logs(f"{deployment.prefix}-hatchet-worker-llm")
    assert "NoToolCallError: Failed to parse TopicResponse after 4 attempts" in log

    # Beside the worker, with all that it has but the model: one that does call tools.
    network = f"{deployment.prefix}-application"
    image = deployment.containers()["hatchet-worker-llm"]["Image"]
    model = deployment.host.docker(
        "run", "--detach", "--network", network, image, "probe", "run", "language-model"
    ).strip()
    try:
        (facts,) = json.loads(deployment.host.docker("inspect", model))
        url = f"http://{facts['NetworkSettings']['Networks'][network]['IPAddress']}:11434/v1"
        worker = f"{deployment.prefix}-hatchet-worker-llm"
        deployment.host.docker(
            "exec",
            "--env",
            f"LLM_URL={url}",
            # The stand-in is none of the stack's own services, which are reached without the proxy.
            "--env",
            "NO_PROXY=*",
            "--env",
            "no_proxy=*",
            worker,
            "python3",
            "-c",
            PROCESS,
            path.rpartition("/")[2],
        )
    finally:
        deployment.host.docker("rm", "--force", model)
    ended = deployment.edge.ask("GET", path, headers=user).json()
    assert ended["status"] == "ended"
    assert ended["title"] and ended["long_summary"]


def test_an_object_is_not_served_without_a_signature(deployment: Stack) -> None:
    traces = deployment.leave_traces()
    url = deployment.edge.ask("GET", f"/v1/objects/{traces.key}", headers=deployment.log_in()).json()["url"]
    assert deployment.edge.ask("GET", urlsplit(url).path, name=f"s3.{DOMAIN}").status == 403
    assert deployment.edge.fetch(url[:-4] + ("0000" if url[-4:] != "0000" else "1111")).status == 403


def test_browsers_may_use_presigned_urls_from_our_pages_only(deployment: Stack) -> None:
    def preflight(origin: str) -> int:
        headers = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
        bucket = deployment.outputs()["storage"]["bucket"]
        return deployment.edge.ask("OPTIONS", f"/{bucket}/any", headers=headers, name=f"s3.{DOMAIN}").status

    assert preflight(deployment.outputs()["url"]) == 200
    assert preflight("https://elsewhere.test") == 403


def test_only_the_edge_publishes_ports(deployment: Stack) -> None:
    published = {
        service: sorted(container["HostConfig"]["PortBindings"] or {})
        for service, container in deployment.containers().items()
    }
    edge = deployment.settings()["edge"]
    https_port, http_port = edge["https_port"], edge["http_port"]
    ports = sorted([f"{https_port}/tcp", f"{https_port}/udp", f"{http_port}/tcp"])
    assert published == {service: ports if service == "caddy" else [] for service in deployment.services}
    bindings = deployment.containers()["caddy"]["HostConfig"]["PortBindings"]
    addresses = {binding["HostIp"] for bound in bindings.values() for binding in bound}
    assert addresses == set(edge["bind_addresses"])


def test_data_services_are_on_internal_networks_only(deployment: Stack) -> None:
    # That there is indeed no way out of them is tried in test_remote_host.py, where there is somewhere to go.
    containers = deployment.containers()
    for service, network in DATA.items():
        assert set(containers[service]["NetworkSettings"]["Networks"]) == {f"{deployment.prefix}-{network}"}
        facts = json.loads(deployment.host.docker("network", "inspect", f"{deployment.prefix}-{network}"))
        assert facts[0]["Internal"] is True


def test_who_has_no_business_with_a_data_service_shares_no_network_with_it(deployment: Stack) -> None:
    users = {
        "database": {"postgres", "hatchet", "server", "worker", "beat", "hatchet-worker-llm"},
        "cache": {"redis", "server", "worker", "beat", "hatchet-worker-llm", "web"},
        "storage": {"garage", "caddy"},
    }
    members: dict[str, set[str]] = {network: set() for network in users}
    for service, container in deployment.containers().items():
        for network in container["NetworkSettings"]["Networks"]:
            role = network.removeprefix(f"{deployment.prefix}-")
            if role in members:
                members[role].add(service)
    assert members == users


@pytest.mark.parametrize("service", [*WIRED, "postgres", "redis", "garage", "ollama", "caddy"])
def test_a_container_is_confined(deployment: Stack, service: str) -> None:
    container = deployment.containers()[service]
    limits = container["HostConfig"]
    assert limits["CapDrop"] == ["ALL"]
    assert set(limits["CapAdd"] or ()) == ({"CAP_NET_BIND_SERVICE"} if service == "caddy" else set())
    assert "no-new-privileges:true" in limits["SecurityOpt"]
    assert limits["Privileged"] is False
    assert limits["ReadonlyRootfs"] is (service in READ_ONLY)
    assert limits["Memory"] > 0
    assert limits["MemorySwap"] == limits["Memory"]
    assert limits["RestartPolicy"]["Name"] == "unless-stopped"
    assert limits["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}
    # Nothing of the host's file system: the host may be another machine.
    assert {mount["Type"] for mount in container["Mounts"]} <= {"volume"}
    assert all(mount["Name"].startswith(f"{deployment.prefix}-") for mount in container["Mounts"])
    assert container["Config"]["StopTimeout"] >= 30


@pytest.mark.parametrize("service", ["server", "worker", "beat", "hatchet-worker-llm", "transcription"])
def test_every_process_is_told_whom_to_trust(deployment: Stack, service: str) -> None:
    environment = dict(line.split("=", 1) for line in deployment.inside(service, "env").splitlines() if "=" in line)
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        assert environment[variable] == "/etc/ssl/certs/ca-certificates.crt"
    root = deployment.outputs()["ca_certificate"].strip()
    assert root in deployment.inside(service, "cat", environment["SSL_CERT_FILE"])


def test_node_trusts_in_addition_and_never_less(deployment: Stack) -> None:
    environment = deployment.inside("web", "env").splitlines()
    assert "NODE_EXTRA_CA_CERTS=/usr/local/share/ca-certificates/custom-ca.crt" in environment
    for service in deployment.services:
        envs = deployment.containers()[service]["Config"]["Env"]
        assert not [variable for variable in envs if variable.startswith("NODE_TLS_REJECT_UNAUTHORIZED")]
