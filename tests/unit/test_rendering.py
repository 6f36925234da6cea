"""Text in, text out: the files and environments other programs read."""

import base64
import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
import tomllib
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

import pytest

from rendering import caddyfile, environment, garage, postgres
from rendering.archive import archive
from rendering.password import password_hash
from rendering.reference import is_pinned
from settings.schema import ROOT
from toolchain import Layout, Progress, obtain_caddy

CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----\nLeaf\n-----END CERTIFICATE-----\n"
KEY: Final = "-----BEGIN EC PRIVATE KEY-----\nKey\n-----END EC PRIVATE KEY-----\n"


def release(**overrides: Any) -> caddyfile.Release:
    given: dict[str, Any] = {
        "app_names": ["reflector.example.com"],
        "s3_name": "s3.reflector.example.com",
        "s3_upstream": "http://store:1",
        "https_port": 443,
        "http_port": 80,
    }
    return caddyfile.release(**{**given, **overrides})


# --- The Caddyfile ----------------------------------------------------------------------------------------------------


def test_the_base_imports_whatever_release_is_live() -> None:
    assert "import {$CADDY_RELEASE:/config/reflector/live}/*.caddy" in caddyfile.base("a.test")


def test_the_base_keeps_the_admin_interface_off_the_network() -> None:
    assert "admin unix//run/caddy/admin.sock" in caddyfile.base("a.test")


def test_clients_that_send_no_name_get_the_canonical_ones_certificate() -> None:
    base = caddyfile.base("a.test")
    assert "default_sni a.test" in base
    assert "fallback_sni a.test" in base


def test_health_and_certificate_are_on_loopback_alone() -> None:
    base = caddyfile.base("a.test")
    listener = base[base.index("http://127.0.0.1:2080 {\n\tbind 127.0.0.1\n") :]
    assert "handle /healthy {" in listener
    assert "handle /certificate {\n\t\troot * /config/reflector\n\t\trewrite * /edge.pem\n" in listener


def test_caddy_makes_no_certificate_of_its_own() -> None:
    base = caddyfile.base("a.test")
    assert "\tauto_https off\n" in base
    assert "\tskip_install_trust\n" in base


def test_every_name_of_the_application_is_served_and_no_other() -> None:
    site = release(app_names=["a.test", "localhost", "127.0.0.1", "::1"], https_port=8443).site
    assert "https://:8443 {" in site
    assert "@application host a.test localhost 127.0.0.1 ::1\n\thandle @application {" in site
    assert 'handle {\n\t\trespond "No such name is served here." 421\n\t}' in site


@pytest.mark.parametrize(("port", "target"), [(443, "https://{host}{uri}"), (8443, "https://{host}:8443{uri}")])
def test_plain_http_redirects_to_the_published_port(port: int, target: str) -> None:
    site = release(https_port=port, http_port=8080).site
    listener = site[site.index("http://:8080 {") : site.index("https://:")]
    assert f"\tredir {target} 308\n" in listener


@pytest.mark.parametrize(
    ("name", "expected"), [("reflector.example.com", True), ("reflector.localhost", False), ("localhost", False)]
)
def test_only_a_real_domain_is_pinned_to_https(name: str, expected: bool) -> None:
    assert ("Strict-Transport-Security" in release(app_names=[name]).site) is expected, (
        "HSTS covers every port of a name: on localhost it would break other services"
    )


def test_the_api_goes_to_the_server_and_the_rest_to_the_web() -> None:
    site = release().site
    assert "@backend path /v1/* /health\n\t\thandle @backend {\n\t\t\treverse_proxy server:1250" in site
    assert "handle {\n\t\t\treverse_proxy web:3000" in site


def test_the_object_store_is_served_untouched() -> None:
    site = release().site
    store = site[site.index("@store host s3.reflector.example.com") : site.index("@application")]
    assert "reverse_proxy http://store:1\n" in store
    assert "encode" not in store
    assert "header" not in store, "what S3 clients get must be what the store said"


def test_without_a_store_there_is_no_route_to_one() -> None:
    site = release(s3_name="", s3_upstream="").site
    assert "@store" not in site


def test_the_certificate_is_asked_for_at_each_handshake() -> None:
    site = release().site
    assert "tls {\n\t\tget_certificate http http://127.0.0.1:2080/certificate\n\t}" in site, (
        "a certificate in the configuration would take a reload, which drops requests"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"app_names": ["b.test"]},
        {"s3_name": ""},
        {"s3_upstream": "http://store:2"},
        {"https_port": 1},
        {"http_port": 1},
    ],
)
def test_anything_new_makes_a_new_release(change: dict[str, Any]) -> None:
    assert release(**change).identifier != release().identifier


def test_the_same_configuration_is_the_same_release() -> None:
    assert release() == release()
    assert len(release().identifier) == 16


def test_the_certificate_file_holds_the_leaf_before_its_key() -> None:
    certificate = caddyfile.certificate(CERTIFICATE, KEY)
    assert certificate.index("CERTIFICATE") < certificate.index("PRIVATE KEY")
    assert certificate.endswith("\n")


def find_caddy() -> Path | None:
    candidates = [ROOT / ".toolchain" / "bin" / "caddy"]
    on_path = shutil.which("caddy")
    candidates += [Path(on_path)] if on_path else []
    return next((path for path in candidates if path.is_file() and os.access(path, os.X_OK)), None)


@pytest.fixture(scope="module")
def caddy() -> Path:
    """The real Caddy: in CI and for `make check` the pinned one, else what is there."""
    if os.environ.get("CI"):
        return obtain_caddy(Layout(), Progress())
    found = find_caddy()
    if found is None:
        # Elsewhere getting it may mean minutes of compiling, which is not what somebody asks for with `make unit`.
        pytest.skip("Caddy itself could not be asked about the rendered files: there is none in .toolchain/ or on PATH")
    return found


@pytest.mark.parametrize(
    "shape",
    [
        {"app_names": ["reflector.example.com"]},
        {"app_names": ["reflector.localhost", "localhost", "127.0.0.1", "::1"], "https_port": 8443, "http_port": 8080},
        {"app_names": ["reflector.example.com", "2001:db8::1"], "s3_name": "", "s3_upstream": ""},
    ],
)
def test_caddy_itself_takes_the_rendered_files(caddy: Path, tmp_path: Path, shape: dict[str, Any]) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    site = folder / caddyfile.SITE_FILE
    site.write_text(release(**shape).site)
    base = tmp_path / "Caddyfile"
    base.write_text(caddyfile.base(shape["app_names"][0]))
    done = subprocess.run(
        [caddy, "validate", "--config", base, "--adapter", "caddyfile"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CADDY_RELEASE": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for file in (base, site):
        formatted = subprocess.run([caddy, "fmt", file], capture_output=True, text=True, check=False)
        assert formatted.returncode == 0, f"Caddy would format {file.name} otherwise: {formatted.stderr}"


@pytest.fixture(scope="module")
def redirect(caddy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The real Caddy with the rendered site: where it sends a request for `/x?y` of a host."""
    folder = tmp_path_factory.mktemp("caddy")
    with socket.socket() as https, socket.socket() as http:
        https.bind(("127.0.0.1", 0))
        http.bind(("127.0.0.1", 0))
        https_port, http_port = https.getsockname()[1], http.getsockname()[1]
    site = release(https_port=https_port, http_port=http_port).site
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}}\n\n{site}")
    log = folder / "log"

    def ask(host: str) -> str:
        with contextlib.closing(HTTPConnection("127.0.0.1", http_port, timeout=10)) as connection:
            connection.request("GET", "/x?y", headers={"Host": host})
            return connection.getresponse().headers["Location"].replace(f":{https_port}/", ":<https_port>/")

    with (
        log.open("wb") as sink,
        subprocess.Popen(
            [caddy, "run", "--config", folder / "Caddyfile"],
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            stderr=sink,
        ) as running,
    ):
        try:
            deadline = time.monotonic() + 30
            while "serving initial configuration" not in log.read_text():
                assert running.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            yield ask
        finally:
            running.kill()


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
def test_caddy_itself_redirects_to_the_host_that_was_asked_for(
    redirect: Callable[[str], str], host: str, target: str
) -> None:
    assert redirect(host) == f"https://{target}:<https_port>/x?y"


# --- Garage -----------------------------------------------------------------------------------------------------------


def test_garages_configuration_is_toml_with_its_secrets_elsewhere() -> None:
    config = tomllib.loads(garage.config())
    assert config["rpc_secret_file"] == "/etc/garage/rpc_secret"
    assert config["admin"]["admin_token_file"] == "/etc/garage/admin_token"
    assert {"rpc_secret", "admin_token"}.isdisjoint({*config, *config["admin"]})


def test_garage_keeps_its_single_copy_safe() -> None:
    config = tomllib.loads(garage.config())
    assert config["replication_factor"] == 1
    assert config["metadata_fsync"] is True
    assert config["data_fsync"] is True


def test_garages_metrics_are_not_open_to_every_container() -> None:
    assert tomllib.loads(garage.config())["admin"]["metrics_require_token"] is True


def test_garage_listens_where_the_edge_and_the_backend_look() -> None:
    config = tomllib.loads(garage.config())
    assert config["s3_api"]["api_bind_addr"] == "[::]:3900"
    assert config["s3_api"]["s3_region"] == garage.REGION


def test_garages_desired_state_counts_bytes() -> None:
    state = json.loads(
        garage.desired_state(capacity_gib=3, bucket="b", origins=["o"], access_key_id="i", secret_access_key="s")
    )
    assert state == {
        "capacity_bytes": 3221225472, "bucket": "b", "origins": ["o"], "access_key_id": "i", "secret_access_key": "s",
    }  # fmt: skip


# --- Environments -----------------------------------------------------------------------------------------------------


def test_speech_inside_the_backend_names_models_and_no_url() -> None:
    made = environment.speech("", None, "small", None)
    assert (made["TRANSCRIPT_BACKEND"], made["DIARIZATION_BACKEND"]) == ("whisper", "pyannote")
    assert made["WHISPER_FILE_MODEL"] == made["WHISPER_CHUNK_MODEL"] == "small"
    assert [name for name in made if name.endswith(("_URL", "_KEY"))] == []


def test_a_speech_service_without_a_key_does_everything() -> None:
    made = environment.speech("http://speech", None, "", None)
    for part in ("TRANSCRIPT", "DIARIZATION", "PADDING", "MIXDOWN"):
        assert (made[f"{part}_BACKEND"], made[f"{part}_URL"]) == ("modal", "http://speech"), part
    assert (made["TRANSLATION_BACKEND"], made["TRANSLATE_URL"]) == ("modal", "http://speech")
    keys = {name: value for name, value in made.items() if name.endswith("_KEY")}
    assert keys == {"TRANSCRIPT_MODAL_API_KEY": "not-needed"}, "the live path's client refuses to start without one"


def test_a_speech_service_with_a_key_does_no_translation() -> None:
    made = environment.speech("http://speech", "key", "", None)
    keys = {name for name, value in made.items() if value == "key"}
    assert keys == {f"{part}_MODAL_API_KEY" for part in ("TRANSCRIPT", "DIARIZATION", "PADDING", "MIXDOWN")}
    assert made["TRANSLATION_BACKEND"] == "passthrough", "its client never sends a key"
    assert "TRANSLATE_URL" not in made


@pytest.mark.parametrize("url", ["", "http://speech"])
def test_a_hugging_face_token_is_passed_on_only_if_there_is_one(url: str) -> None:
    assert environment.speech(url, None, "small", "token")["HF_TOKEN"] == "token"
    assert "HF_TOKEN" not in environment.speech(url, None, "small", None)


def test_a_language_model_is_four_variables() -> None:
    assert environment.language_model("http://m/v1", "m", "k", 4096) == {
        "LLM_URL": "http://m/v1", "LLM_MODEL": "m", "LLM_API_KEY": "k", "LLM_CONTEXT_WINDOW": "4096",
    }  # fmt: skip


@pytest.mark.parametrize(("endpoint", "expected"), [("https://s3.a", True), ("", False)])
def test_an_endpoint_is_named_only_where_it_is_not_aws(endpoint: str, expected: bool) -> None:
    made = environment.storage(endpoint=endpoint, region="r", bucket="b", access_key_id="i", secret_access_key="s")
    assert ("TRANSCRIPT_STORAGE_AWS_ENDPOINT_URL" in made) is expected
    assert made["TRANSCRIPT_STORAGE_AWS_BUCKET_NAME"] == "b"


def test_hatchets_workers_answer_about_themselves_on_loopback() -> None:
    made = environment.workflow("http://h:8888", "h:7077", "t")
    assert made["HATCHET_CLIENT_WORKER_HEALTHCHECK_ENABLED"] == "true"
    assert made["HATCHET_CLIENT_WORKER_HEALTHCHECK_BIND_ADDRESS"] == "127.0.0.1"
    assert (made["HATCHET_CLIENT_TLS_STRATEGY"], made["HATCHET_CLIENT_TOKEN"]) == ("none", "t")


def _backend(password_login: bool) -> dict[str, str]:
    return environment.backend(
        url="https://a", password_login=password_login, database_url="d", redis_host="redis", redis_port=6379,
        broker_url="redis://redis:6379/1", secret_key="s",
    )  # fmt: skip


@pytest.mark.parametrize(("login", "backend", "public"), [(True, "password", "false"), (False, "none", "true")])
def test_the_backend_is_public_exactly_where_nobody_logs_in(login: bool, backend: str, public: str) -> None:
    made = _backend(login)
    assert (made["AUTH_BACKEND"], made["PUBLIC_MODE"]) == (backend, public)


def test_every_public_url_of_the_backend_is_the_same() -> None:
    made = _backend(True)
    assert {made[name] for name in ("BASE_URL", "UI_BASE_URL", "CORS_ORIGIN")} == {"https://a"}


@pytest.mark.parametrize(("login", "required"), [(True, "true"), (False, "false")])
def test_the_web_frontend_asks_for_a_login_exactly_where_there_is_one(login: bool, required: str) -> None:
    made = environment.web(url="https://a", password_login=login, kv_url="redis://redis:6379", nextauth_secret="s")
    assert made["FEATURE_REQUIRE_LOGIN"] == required
    assert ("AUTH_PROVIDER" in made) is login


def test_verification_is_never_switched_off() -> None:
    text = "".join(path.read_text() for folder in ("rendering", "components") for path in (ROOT / folder).glob("*.py"))
    assert "NODE_TLS_REJECT_UNAUTHORIZED" not in text + (ROOT / "__main__.py").read_text()


def test_a_variable_set_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="variables set twice: A, B"):
        environment.merged({"A": "1", "B": "1", "C": "1"}, {"B": "2", "A": "2"})


# --- Archives ---------------------------------------------------------------------------------------------------------


def test_the_same_files_always_give_the_same_archive() -> None:
    assert archive({"a": "1", "b": "2"}) == archive({"b": "2", "a": "1"})


def test_an_archive_holds_its_files_for_their_owner_alone() -> None:
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(archive({"b": "zwei", "a": "größer"})))) as tar:
        entries = tar.getmembers()
        contents = [stream.read().decode() for entry in entries if (stream := tar.extractfile(entry)) is not None]
    assert [(entry.name, entry.mode, entry.mtime, entry.uid, entry.gid) for entry in entries] == [
        ("a", 0o600, 0, 0, 0),
        ("b", 0o600, 0, 0, 0),
    ]
    assert contents == ["größer", "zwei"]


# --- SQL --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "Upper", "1st", "with-hyphen", "a b", 'a"; DROP', "x" * 64, "ü"])
def test_a_name_sql_would_have_to_quote_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be a lower-case letter and up to 62 letters, digits or underscores"):
        postgres.databases({name: "Password1"})


@pytest.mark.parametrize("name", ["a", "reflector", "a_1", "x" * 63])
def test_a_plain_name_is_taken(name: str) -> None:
    assert postgres.check_identifier(name) == name


@pytest.mark.parametrize("password", ["", "it's", "a b", "x;--", "a\\b"])
def test_a_password_that_could_leave_its_quotes_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="the password of reflector must be letters and digits only") as refusal:
        postgres.databases({"reflector": password})
    assert not password or password not in str(refusal.value), "an error is no place for a password"


def test_passwords_are_kept_out_of_the_servers_log() -> None:
    script = postgres.databases({"reflector": "Password1"}).splitlines()
    first = next(index for index, line in enumerate(script) if "Password1" in line)
    assert "SET log_statement = 'none';" in script[:first]
    assert "SET log_min_error_statement = panic;" in script[:first]


def test_setting_up_a_database_twice_is_harmless_and_order_does_not_matter() -> None:
    script = postgres.databases({"b": "P2", "a": "P1"})
    assert script == postgres.databases({"a": "P1", "b": "P2"})
    assert script.count("WHERE NOT EXISTS") == 4


def test_a_role_reaches_its_own_database_only() -> None:
    script = postgres.databases({"reflector": "P1"})
    assert "REVOKE ALL ON DATABASE reflector FROM PUBLIC;" in script
    assert "REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;" in script, "everybody may by default"
    assert "NOSUPERUSER NOCREATEDB NOCREATEROLE" in script


def test_the_superuser_has_no_password_once_all_is_set_up() -> None:
    assert "ALTER ROLE postgres PASSWORD NULL;" in postgres.databases({"reflector": "P1"})


# --- Passwords and references -----------------------------------------------------------------------------------------


def test_a_password_hash_is_what_reflectors_login_verifies() -> None:
    assert password_hash("correct horse", "0" * 32) == (
        f"pbkdf2:sha256:100000${'0' * 32}$d1d00e0c7f090fa5d647a83a9183353fdb9596f37f0d40589e4d362222dd4432"
    )


@pytest.mark.parametrize(
    "reference",
    [
        f"sha256:{'0' * 64}", f"a@sha256:{'0' * 64}", f"a:latest@sha256:{'0' * 64}", "a:17.2", "a:17.2-alpine",
        "ghcr.io/a/b/c:v0.86.12", "localhost:5000/a:1.2.3", f"a:{'0' * 12}", f"a:{'a' * 64}", "a:2025.1.0",
    ],
)  # fmt: skip
def test_a_reference_that_always_means_one_image_is_pinned(reference: str) -> None:
    assert is_pinned(reference)


@pytest.mark.parametrize(
    "reference",
    [
        "", "postgres", "postgres:latest", "postgres:17", "postgres:v1", "postgres:alpine", "postgres:stable-1",
        "postgres@sha256:00", f"sha256:{'0' * 63}", f"sha256:{'G' * 64}", "a:1.2 ", "A:1.2.3", "localhost:5000/a",
        ":1.2.3", f"a:{'0' * 11}",
    ],
)  # fmt: skip
def test_a_reference_that_can_come_to_mean_another_image_is_not_pinned(reference: str) -> None:
    assert not is_pinned(reference)
