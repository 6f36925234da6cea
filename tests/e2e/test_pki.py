"""Certificates by name on the real engine: issued, listed, handed over, verified and made anew by commands."""

import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from operations.stack import by_whom
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
UNDER_A_ROOT: Final = {
    "pki.certificates.guest.mode": "issued",
    "pki.certificates.guest.kind": "client",
    "pki.certificates.guest.authority": "guests",
    "pki.certificates.guest.names": [f"DNS:guest.{DOMAIN}"],
}
"""Once there is the authority."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where a root in a file is; its password is in the file `word` beside it."""
    (tmp_path / "word").write_text(f"{PASSWORD}\n", encoding="utf-8")
    return tmp_path / "root.p12"


@pytest.fixture
def stack(deployment: Stack, root: Path) -> Iterator[Stack]:
    """The shared stack with a registry, a part of it under a root in a file; as it was at the end."""
    file = deployment.checkout.stack_file(deployment.name)
    content = file.read_text(encoding="utf-8")
    deployment.configure(REGISTRY)
    try:
        word = ("--password-file", str(root.with_name("word")))
        pki(deployment, "root", "new", str(root), "--name", "Root in a drawer", *word)
        pki(deployment, "root", "sign", str(root), "guests", "--purpose", "client", "--permitted-name", DOMAIN, *word)
        deployment.configure(UNDER_A_ROOT)
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("\nconfig:\n", f"\n{COMMENT}config:\n"), encoding="utf-8")
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


def test_certificates_are_issued_handed_over_verified_and_made_anew(stack: Stack, tmp_path: Path, root: Path) -> None:
    before = listed(stack)
    assert (before["api"]["key"], before["agent"]["key"]) == ("RSA-2048", "Ed25519")
    assert (before["agent"]["authority"], before["agent"]["generation"]) == ("clients", "g1")
    assert before["edge-certificate"]["users"] == {"edge": [DOMAIN]}
    table = pki(stack, "list")
    assert f"{stack.name}: OK" in table
    assert f'reflector_certificate_info{{stack="{stack.name}",name="certificate-api"' in pki(stack, "list", "--metrics")
    assert "spiffe://stack.internal/agent" in pki(stack, "show", "agent")

    a_client_is_handed_over(stack, tmp_path)
    a_client_is_under_a_root_in_a_file(stack, root)
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
    *_, first, last = json.loads((text := pki(stack, "history", "--json"))[text.index("[") :])
    assert last["who"] == first["who"] == by_whom()
    assert {line.partition(" ")[2].split(" ")[0] for line in first["changes"] if line.startswith("+")} == {
        "agent", "api", "authority-clients", "authority-guests", "guest",
    }  # fmt: skip
    assert [
        line for line in last["changes"] if line.startswith(f"~ agent {after['agent']['serial']}: with a new key, ")
    ]


def a_client_is_under_a_root_in_a_file(stack: Stack, root: Path) -> None:
    file, anchor = root.with_name("guest.pem"), root.with_name("anchor.pem")
    pki(stack, "export", "guest", "--pem", str(file))
    word = root.with_name("word")
    anchor.write_text(openssl("pkcs12", "-in", str(root), "-passin", f"file:{word}", "-nokeys"), encoding="ascii")
    assert file.read_text(encoding="ascii").count("BEGIN CERTIFICATE") == 2, "the leaf, and who has signed it"
    openssl(
        *("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", str(anchor), "-untrusted", str(file)), str(file)
    )


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
