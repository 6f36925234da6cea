"""The stack files in examples/ are what docs/certificates.md says they are: each is valid, and makes what it is for."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from settings import PROJECT
from settings.schema import SCHEMA_FILE
from testing.certificates import issue
from testing.sources import ROOT
from tests.program.shapes import run

EXAMPLES: Final = sorted((ROOT / "examples").glob("*.yaml"))
_NOW: Final = datetime.now(UTC)
_DOMAIN: Final = "reflector.internal.example.com"
_COMPANY: Final = issue("company", now=_NOW, ca=True, to_days=3000)
_OTHER: Final = issue("other", now=_NOW, ca=True, to_days=3000)
_SERVER: Final = issue(_DOMAIN, _COMPANY, now=_NOW, sans=[_DOMAIN, f"*.{_DOMAIN}"])
MATERIAL: Final = {
    "certs/corporate-ca.crt": _COMPANY.pem,
    "certs/gpu-ca.crt": _OTHER.pem,
    "certs/llm/llm-ca.pem": _OTHER.der,
    "certs/server.pem": _SERVER.pem,
    "certs/server-key.pem": _SERVER.key_pem,
    "certs/reflector-ca.crt": _OTHER.pem,
    "certs/reflector-ca.key": _OTHER.key_pem,
}
"""What the examples name, as a company would have it."""


@pytest.fixture
def material(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, content in MATERIAL.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    monkeypatch.chdir(tmp_path)
    yield


def tree_of(example: Path) -> dict[str, Any]:
    config = yaml.safe_load(example.read_text(encoding="utf-8"))["config"]
    return {name.removeprefix(f"{PROJECT}:"): value for name, value in config.items()}


@pytest.mark.usefixtures("material")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_makes_a_stack(example: Path) -> None:
    engine, settings = run(tree_of(example))
    (entry,) = (one for one in engine.exports["pki_inventory"] if one["name"] == "edge-certificate")
    assert entry["source"] == settings.certificate.mode
    named = tree_of(example).get("trusted_authorities", {})
    assert len(settings.trusted_certificates) == len({MATERIAL_OF[one["path"]] for one in named.values()})


def test_without_a_name_all_is_at_the_address_and_each_site_has_a_port() -> None:
    engine, _ = run(tree_of(ROOT / "examples" / "address.yaml"))
    exports, address = engine.exports, "192.0.2.10"
    assert (exports["url"], exports["storage"]["endpoint"]) == (f"https://{address}", f"https://{address}:8444")
    assert exports["sign_in"]["url"] == f"https://{address}:8445"
    (entry,) = (one for one in exports["pki_inventory"] if one["name"] == "edge-certificate")
    assert entry["subject"] == address
    assert f"IP:{address}" in entry["names"]
    caddy = engine.named("caddy-container")
    ports = sorted((one["internal"], one["external"], one["protocol"]) for one in caddy.plain("ports"))
    assert ports == [
        (80, 80, "tcp"), *((port, port, protocol) for port in (443, 8444, 8445) for protocol in ("tcp", "udp"))
    ]  # fmt: skip
    # An address is no name that Docker could resolve.
    aliases = [alias for one in caddy.plain("networksAdvanced") for alias in one.get("aliases", ())]
    assert not [alias for alias in aliases if address in alias]


MATERIAL_OF: Final = {
    "certs/corporate-ca.crt": "company", "certs/gpu-ca.crt": "other", "certs/llm": "other",
}  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_what_it_is_for_and_is_in_the_table(example: Path) -> None:
    first, second, *_ = example.read_text(encoding="utf-8").splitlines()
    assert first == f"# yaml-language-server: $schema=../{SCHEMA_FILE}"
    assert second.startswith("# ")
    assert f"examples/{example.name}" in (ROOT / "docs" / "certificates.md").read_text(encoding="utf-8")
