"""Certificates by name on the real engine: issued, listed, handed over, verified and made anew by commands."""

import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.processes import Finished
from tests.e2e.stack import DOMAIN, Stack

pytestmark = pytest.mark.docker

PASSWORD: Final = "a word for a file of a test"
COMMENT: Final = "# a remark that somebody wants to keep\n"
REGISTRY: Final = {
    "pki.authorities.clients.purpose": "client",
    "pki.certificates.api.mode": "issued",
    "pki.certificates.api.names": ["DNS:api.internal", "IP:192.0.2.7"],
    "pki.certificates.api.key_type": "RSA-2048",
    "pki.certificates.agent.mode": "issued",
    "pki.certificates.agent.kind": "client",
    "pki.certificates.agent.authority": "clients",
    "pki.certificates.agent.names": ["URI:spiffe://stack.internal/agent"],
    "pki.certificates.agent.key_type": "Ed25519",
}


@pytest.fixture
def stack(deployment: Stack) -> Iterator[Stack]:
    """The shared stack with a registry; as it was at the end."""
    file = deployment.checkout.stack_file(deployment.name)
    content = file.read_text(encoding="utf-8")
    deployment.configure(REGISTRY)
    file.write_text(file.read_text(encoding="utf-8").replace("\nconfig:\n", f"\n{COMMENT}config:\n"), encoding="utf-8")
    try:
        deployment.up()
        yield deployment
    finally:
        file.write_text(content, encoding="utf-8")
        # Who has made an authority keeps it: its root is protected, and only tests take one away.
        for part in ("key", "certificate"):
            urn = deployment.urn(f"authority-clients-1-{part}")
            deployment.pulumi("state", "unprotect", urn, "--yes").succeeded()
        deployment.up()
    assert deployment.planned() == {}


def pki(stack: Stack, *arguments: str, status: int = 0) -> str:
    finished: Finished = stack.run("pki", *arguments)
    assert finished.status == status, finished.output
    return finished.output


def listed(stack: Stack) -> dict[str, dict[str, Any]]:
    text = pki(stack, "list", "--json")
    return {one["certificate"] or one["name"]: one for one in json.loads(text[text.index("[") :])}


def openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=True).stdout


def test_certificates_are_issued_handed_over_verified_and_made_anew(stack: Stack, tmp_path: Path) -> None:
    before = listed(stack)
    assert (before["api"]["key"], before["agent"]["key"]) == ("RSA-2048", "Ed25519")
    assert (before["agent"]["authority"], before["agent"]["generation"]) == ("clients", "g1")
    assert before["edge-certificate"]["users"] == {"edge": [DOMAIN]}
    table = pki(stack, "list")
    assert f"{stack.name}: OK" in table
    assert f'reflector_certificate_info{{stack="{stack.name}",name="certificate-api"' in pki(stack, "list", "--metrics")
    assert "spiffe://stack.internal/agent" in pki(stack, "show", "agent")

    a_client_is_handed_over(stack, tmp_path)
    assert "answers with it" in pki(stack, "verify")

    for name in ("edge-certificate", "agent"):
        assert "Nothing is issued yet" in pki(stack, "rotate", name)
    assert COMMENT in stack.checkout.stack_file(stack.name).read_text(encoding="utf-8")
    caddy = stack.ids()["caddy"]
    stack.up()
    after = listed(stack)
    for name in ("edge-certificate", "agent"):
        assert after[name]["sha256"] != before[name]["sha256"]
    assert after["api"]["sha256"] == before["api"]["sha256"], "nobody asked for that"
    connection = stack.edge.connect()
    served = openssl_fingerprint(connection.certificate_pem, tmp_path)
    connection.close()
    assert served == after["edge-certificate"]["sha256"], "the new one is served"
    assert stack.ids()["caddy"] == caddy, "a certificate is delivered into the running container"
    assert "answers with it" in pki(stack, "verify")


def openssl_fingerprint(pem: str, folder: Path) -> str:
    (folder / "served.pem").write_text(pem, encoding="ascii")
    told = openssl("x509", "-in", str(folder / "served.pem"), "-noout", "-fingerprint", "-sha256")
    return told.strip().partition("=")[2]


def a_client_is_handed_over(stack: Stack, folder: Path) -> None:
    word = folder / "word"
    word.write_text(f"{PASSWORD}\n", encoding="utf-8")
    p12, pem = folder / "agent.p12", folder / "agent.pem"
    said = pki(stack, "export", "agent", "--p12", str(p12), "--password-file", str(word))
    assert PASSWORD not in said
    told = openssl("pkcs12", "-in", str(p12), "-passin", f"file:{word}", "-nodes")
    assert "PRIVATE KEY" in told
    assert told.count("BEGIN CERTIFICATE") == 2, "the leaf and its root"
    said = pki(stack, "export", "agent", "--pem", str(pem))
    assert "PRIVATE KEY" not in said
    for file in (p12, pem):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    root = next(one for one in stack.resources() if one["urn"].endswith("::authority-clients"))
    (folder / "root.pem").write_text(root["outputs"]["certificate_pem"], encoding="ascii")
    openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", str(folder / "root.pem"), str(pem))
    assert "is there already; nothing was written" in pki(stack, "export", "agent", "--pem", str(pem), status=1)
    assert "its key is not handed out" in pki(stack, "export", "authority", "--pem", str(folder / "x"), status=1)
