"""Private roots: what the entrypoint does with them, and how a role proves that it trusts them."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from probe import __main__ as command
from probe import trust
from probe.wiring import WiringError


def root(name: str) -> str:
    """A self-signed root in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def private() -> str:
    return root("private one") + root("private two")


@pytest.fixture(scope="module")
def public() -> str:
    return root("public")


def variables(bundle: Path) -> dict[str, str]:
    return dict.fromkeys(trust.BUNDLE_VARIABLES, str(bundle))


def test_the_bundle_is_made_and_three_variables_point_at_it(tmp_path: Path, private: str, public: str) -> None:
    custom, bundle = tmp_path / "custom-ca.crt", tmp_path / "ca-certificates.crt"
    custom.write_text(private)

    def update() -> None:
        bundle.write_text(public + custom.read_text())

    exported = trust.install_custom_ca(custom, bundle, update)
    assert exported == {"SSL_CERT_FILE": str(bundle), "REQUESTS_CA_BUNDLE": str(bundle), "CURL_CA_BUNDLE": str(bundle)}
    assert trust.check_bundle(exported, custom) == {
        "private_roots": 2,
        "variables": list(trust.BUNDLE_VARIABLES),
        "certificates": 3,
    }


@pytest.mark.parametrize("content", [None, ""])
def test_without_private_roots_nothing_is_updated_or_exported(tmp_path: Path, content: str | None) -> None:
    custom = tmp_path / "custom-ca.crt"
    if content is not None:
        custom.write_text(content)

    def update() -> None:
        raise AssertionError("update-ca-certificates must not run")

    assert trust.install_custom_ca(custom, tmp_path / "bundle", update) == {}
    assert trust.check_bundle({}, custom) == {"private_roots": 0, "variables": []}


def test_a_failed_update_ends_the_start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def update() -> dict[str, str]:
        raise subprocess.CalledProcessError(1, "update-ca-certificates", stderr="Read-only file system\n")

    monkeypatch.setattr(trust, "install_custom_ca", update)
    assert command.start_role(None, {}) == 1
    assert capsys.readouterr().err == "probe: update-ca-certificates failed: Read-only file system\n"


def test_the_role_starts_as_a_new_process_with_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(trust, "install_custom_ca", lambda: {"SSL_CERT_FILE": "/bundle"})
    monkeypatch.setattr("os.execve", lambda path, arguments, env: started.append((arguments, env)))
    command.start_role(None, {"ENTRYPOINT": "worker"})
    command.start_role("transcription", {})
    assert started == [
        (["/app/runserver.sh"], {"ENTRYPOINT": "worker", "SSL_CERT_FILE": "/bundle"}),
        ([sys.executable, "-m", "probe", "run", "transcription"], {"SSL_CERT_FILE": "/bundle"}),
    ]


def test_without_a_start_script_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trust, "install_custom_ca", dict)
    assert command.start_role(None, {"ENTRYPOINT": "worker"}) == 1
    assert capsys.readouterr().err == "probe: /app/runserver.sh: No such file or directory\n"


def test_a_variable_missing_in_this_process_is_named(tmp_path: Path, private: str) -> None:
    custom = tmp_path / "custom-ca.crt"
    custom.write_text(private)
    with pytest.raises(WiringError, match="REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE not set in this process"):
        trust.check_bundle({"SSL_CERT_FILE": str(custom)}, custom)


def test_a_bundle_without_one_private_root_is_caught(tmp_path: Path, private: str, public: str) -> None:
    custom, bundle = tmp_path / "custom-ca.crt", tmp_path / "bundle.crt"
    custom.write_text(private)
    bundle.write_text(public + trust.PEM_CERTIFICATE.findall(private)[0])
    with pytest.raises(WiringError, match="lacks 1 of the 2 private roots"):
        trust.check_bundle(variables(bundle), custom)


def test_a_bundle_that_is_not_there_is_caught_even_without_private_roots(tmp_path: Path) -> None:
    with pytest.raises(WiringError, match="cannot be read"):
        trust.check_bundle(variables(tmp_path / "missing.crt"), tmp_path / "custom-ca.crt")


def test_an_empty_variable_would_switch_verification_off(tmp_path: Path) -> None:
    with pytest.raises(WiringError, match="REQUESTS_CA_BUNDLE set but empty"):
        trust.check_bundle({"REQUESTS_CA_BUNDLE": ""}, tmp_path / "custom-ca.crt")


def test_grpc_roots_must_stay_unset(tmp_path: Path) -> None:
    with pytest.raises(WiringError, match="GRPC_DEFAULT_SSL_ROOTS_FILE_PATH is set"):
        trust.check_bundle({"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": "/x"}, tmp_path / "custom-ca.crt")


def test_the_front_end_must_verify(tmp_path: Path, private: str) -> None:
    extra = tmp_path / "extra.crt"
    extra.write_text(private)
    assert trust.check_node({"NODE_EXTRA_CA_CERTS": str(extra)}) == {"private_roots": 2}
    with pytest.raises(WiringError, match="NODE_TLS_REJECT_UNAUTHORIZED=0"):
        trust.check_node({"NODE_EXTRA_CA_CERTS": str(extra), "NODE_TLS_REJECT_UNAUTHORIZED": "0"})


def test_node_adds_to_its_own_roots_and_requests_replaces_them(tmp_path: Path, private: str) -> None:
    extra = tmp_path / "extra.crt"
    extra.write_text(private)
    alone = len(trust.node_context({}).get_ca_certs())
    assert alone > 50
    assert len(trust.node_context({"NODE_EXTRA_CA_CERTS": str(extra)}).get_ca_certs()) == alone + 2
    assert len(trust.requests_context({"CURL_CA_BUNDLE": str(extra)}).get_ca_certs()) == 2
    assert len(trust.requests_context({}).get_ca_certs()) == alone


def test_an_exec_sees_its_own_environment(tmp_path: Path) -> None:
    entry = command.exec_trust("web", {"NODE_TLS_REJECT_UNAUTHORIZED": "0"})
    assert set(entry) == {"ok", "milliseconds", "error", "detail"}
    assert entry["ok"] is False
    assert command.exec_trust("server", {"SSL_CERT_FILE": str(tmp_path / "none")})["ok"] is False
