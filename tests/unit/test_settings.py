"""What a stack can be told, and what it is told back when that cannot be."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pulumi
import pytest
import yaml

import settings
from settings import LanguageModelMode, Problem, SettingsError, SpeechMode, StorageMode
from settings.load import MEMORY_MIB
from settings.schema import ROOT, SECRETS, schema
from tests.unit.engine import Engine, is_secret, value_of

HOST_NAME: Final = "a host name of letters, digits and hyphens, such as reflector.example.com"
DOCKER_HOST: Final = "unix:///<path>, ssh://<user>@<host>[:<port>] or tcp://<host>:<port>"
ADDRESS: Final = "an IPv4 address, or an IPv6 address without a zone"
BUCKET: Final = "3 to 63 lower-case letters, digits, dots and hyphens"
EMAIL: Final = "an e-mail address as browsers take it, such as admin@reflector.example.com"
MODEL: Final = "a model name: one word that does not start with a hyphen"
URL: Final = "a URL starting with http:// or https://"
IMAGE: Final = "an image reference with a digest (@sha256:…) or an exact version tag, never latest"
SERVICES: Final = ", ".join(MEMORY_MIB)
TAKEN: Final = f"a host name other than {SERVICES}: inside the stack those have a meaning of their own"
STORE_TAKEN: Final = TAKEN.replace("than ", "than localhost, ")
ROLES: Final = "backend, frontend, postgres, redis, garage, hatchet, ollama, caddy, transcription"
SECURE: Final = {"secure": "v1:ciphertext"}


def problems(raw: Mapping[str, object]) -> list[Problem]:
    """Return the problems of a stack's raw values; none is an error here."""
    with pytest.raises(SettingsError) as refusal:
        settings.parse(raw, "test")
    return list(refusal.value.problems)


def lines(raw: Mapping[str, object]) -> list[str]:
    return [str(problem) for problem in problems(raw)]


# --- One setting at a time --------------------------------------------------------------------------------------------

UNKNOWN: Final = [
    ("domian", "did you mean domain?", "reflector:domian"),
    ("htps_port", "did you mean https_port?", "reflector:htps_port"),
    ("zzz", "the settings of docs/configuration.md", "reflector:zzz"),
]


@pytest.mark.parametrize(("name", "hint", "key"), UNKNOWN)
def test_a_misspelt_setting_is_an_error_with_a_suggestion(name: str, hint: str, key: str) -> None:
    assert lines({name: "x"}) == [f"{name}: unknown setting; allowed: {hint}. Remove it: pulumi config rm {key}"]


WRONG_TYPES: Final[list[tuple[str, object, str]]] = [
    # Text is the engine's form, everything else a stack file's.
    *((key.name, "many", f"{key.article}") for key in schema().keys.values() if key.type == "integer"),
    *((key.name, True, f"{key.article}") for key in schema().keys.values() if key.type == "integer"),
    *((key.name, ["a", "b"], f"{key.article}") for key in schema().keys.values() if key.type == "integer"),
    *((key.name, 7, f"{key.article}") for key in schema().keys.values() if key.type == "string" and not key.secret),
    *((key.name, ["a"], f"{key.article}") for key in schema().keys.values() if key.type == "string" and not key.secret),
    *((key.name, "{", f"{key.article}") for key in schema().keys.values() if key.type in {"array", "object"}),
    *((key.name, 7, f"{key.article}") for key in schema().keys.values() if key.type in {"array", "object"}),
    *((key.name, '{"a": 1}', f"{key.article}") for key in schema().keys.values() if key.type == "array"),
    *((key.name, '["a"]', f"{key.article}") for key in schema().keys.values() if key.type == "object"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG_TYPES)
def test_a_value_of_the_wrong_type_is_refused_in_either_form(name: str, value: object, allowed: str) -> None:
    kind = allowed.split()[1]
    assert lines({name: value}) == [f"{name}: {value!r}; allowed: {allowed}. Set it: pulumi config set {name} <{kind}>"]


BAD_VALUES: Final[list[tuple[str, object, str, str, str]]] = [
    # setting, its value, path of the problem, what was given, what is allowed
    *(
        ("docker_host", text, "docker_host", repr(text), DOCKER_HOST)
        for text in (
            "", "localhost", "/var/run/docker.sock", "unix://var/run/docker.sock", "http://host", "ssh://",
            "ssh://user:word@host", "ssh://host:notaport", "ssh://[::1",
        )
    ),
    ("minimum_free_disk_gib", 0, "minimum_free_disk_gib", "0", "1 GiB or more"),
    ("images", "mirrored", "images", "'mirrored'", "upstream or built"),
    *(
        ("image_references", {"postgres": text}, "image_references.postgres", repr(text), IMAGE)
        for text in ("postgres", "postgres:latest", "postgres:17", "postgres:alpine", "UPPER/a:1.2", "a@sha256:1")
    ),
    ("image_references", {"nginx": "nginx:1.2.3"}, "image_references.nginx", "unknown image", ROLES),
    *(
        ("domain", text, "domain", repr(text), HOST_NAME)
        for text in (
            "", "bad_name.example", "-x.example", "a..b", "10.0.0.1", "x" * 64, "a." * 130 + "b", "*.a.b", "ſ3.test",
        )
    ),
    *(("domain", text, "domain", repr(text), TAKEN) for text in (*MEMORY_MIB, "Server")),
    *(("s3_domain", text, "s3_domain", repr(text), STORE_TAKEN) for text in ("localhost", "LocalHost", *MEMORY_MIB)),
    ("s3_domain", "bad_name", "s3_domain", "'bad_name'", HOST_NAME),
    (
        "s3_domain", "reflector.localhost", "s3_domain", "'reflector.localhost'",
        "a host name other than the domain: a signed URL fixes its whole path",
    ),
    ("extra_names", ["DNS:bad_name"], "extra_names[0]", "'DNS:bad_name'", f"DNS:<value> with {HOST_NAME}"),
    ("extra_names", ["DNS:a.b", "IP:300.1.1.1"], "extra_names[1]", "'IP:300.1.1.1'", f"IP:<value> with {ADDRESS}"),
    ("extra_names", ["a.example.com"], "extra_names[0]", "'a.example.com'", "DNS:<host name> or IP:<address>"),
    ("extra_names", ["URI:https://a"], "extra_names[0]", "'URI:https://a'", "DNS:<host name> or IP:<address>"),
    ("extra_names", ["IP:fe80::1%eth0"], "extra_names[0]", "'IP:fe80::1%eth0'", f"IP:<value> with {ADDRESS}"),
    ("bind_addresses", ["fe80::1%eth0"], "bind_addresses[0]", "'fe80::1%eth0'", ADDRESS),
    ("bind_addresses", ["localhost"], "bind_addresses[0]", "'localhost'", ADDRESS),
    *(
        ("bind_addresses", addresses, path, given, f"{wildcard} without others of its kind: it is all of them")
        for addresses, path, given, wildcard in (
            (["0.0.0.0", "127.0.0.1"], "bind_addresses[1]", "'127.0.0.1', besides 0.0.0.0", "0.0.0.0"),
            (["192.0.2.1", "::1", "0.0.0.0"], "bind_addresses[0]", "'192.0.2.1', besides 0.0.0.0", "0.0.0.0"),
            (["0:0:0:0:0:0:0:0", "0.0.0.0", "0::1"], "bind_addresses[2]", "'0::1', besides ::", "::"),
        )
    ),
    ("bind_addresses", ["0.0.0.0", "nowhere"], "bind_addresses[1]", "'nowhere'", ADDRESS),
    ("bind_addresses", [], "bind_addresses", "an empty list", "one address or more"),
    *(
        (name, value, name, str(value), "a port from 1 to 65535")
        for name in ("https_port", "http_port")
        for value in (0, -1, 65536)
    ),
    ("authentication", "oidc", "authentication", "'oidc'", "password or none"),
    *(
        ("admin_email", text, "admin_email", repr(text), EMAIL)
        for text in (
            "nobody", "@a.test", "me@", "me@@a.test", "me@a@b.test", "m e@a.test", " me@a.test", "me@a.test\n",
            "me <me@a.test>", '"me"@a.test', "jürgen@a.test", "me@ä.test", "me@a..test", "me@-a.test", "me@a_b.test",
            f"me@{'x' * 64}.test",
        )
    ),
    ("transcription", "cloud", "transcription", "'cloud'", "container, in-process or hosted"),
    ("llm", "openai", "llm", "'openai'", "ollama, external or none"),
    ("storage", "minio", "storage", "'minio'", "garage, s3 or external"),
    *(
        (name, text, name, repr(text), MODEL)
        for name in ("llm_model", "whisper_model")
        for text in ("", " ", "-x", "--insecure", "qwen2.5 14b", "small\n")
    ),
    ("llm_context_tokens", 512, "llm_context_tokens", "512", "1024 tokens or more"),
    ("ollama_gpus", "2", "ollama_gpus", "'2'", "all, or device=<index or UUID>[,…]"),
    ("storage_bucket", "Bad_Bucket", "storage_bucket", "'Bad_Bucket'", BUCKET),
    ("storage_bucket", "a..b", "storage_bucket", "'a..b'", BUCKET),
    ("garage_capacity_gib", 0, "garage_capacity_gib", "0", "1 GiB or more"),
    ("startup_limit_seconds", 9, "startup_limit_seconds", "9", "10 seconds or more"),
    ("health_interval_seconds", 0, "health_interval_seconds", "0", "1 seconds or more"),
    ("memory_mib", {"nginx": 512}, "memory_mib.nginx", "unknown service", SERVICES),
    ("memory_mib", {"redis": 8}, "memory_mib.redis", "8", "a whole number of MiB, 64 or more"),
    ("memory_mib", {"redis": "1g"}, "memory_mib.redis", "'1g'", "a whole number of MiB, 64 or more"),
    ("memory_mib", {"redis": 1.5}, "memory_mib.redis", "1.5", "a whole number of MiB, 64 or more"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "path", "given", "allowed"), BAD_VALUES)
def test_a_bad_value_is_named_with_what_is_allowed(
    name: str, value: object, path: str, given: str, allowed: str
) -> None:
    (problem,) = problems({name: value})
    assert (problem.setting, problem.given, problem.allowed) == (path, given, allowed)


@pytest.mark.parametrize(("name", "value", "path", "given", "allowed"), BAD_VALUES)
def test_every_problem_says_what_to_do_about_it(name: str, value: object, path: str, given: str, allowed: str) -> None:
    (problem,) = problems({name: value})
    assert re.search(r"(Set|Remove|Pin) it: pulumi config (set|rm) ", problem.remedy)
    assert path.partition("[")[0] in problem.remedy


@pytest.mark.parametrize("name", ["transcription_url", "llm_url", "s3_endpoint"])
@pytest.mark.parametrize("text", ["ftp://a", "example.com", "https://", "https://a:notaport", "https://["])
def test_what_is_no_url_is_refused(name: str, text: str) -> None:
    modes: dict[str, dict[str, object]] = {
        "transcription_url": {"transcription": "hosted"},
        "llm_url": {"llm": "external"},
        "s3_endpoint": {
            "storage": "external", "s3_region": "r", "s3_access_key_id": "k", "s3_secret_access_key": SECURE,
        },
    }  # fmt: skip
    (problem,) = problems({**modes[name], name: text})
    assert (problem.setting, problem.given, problem.allowed) == (name, repr(text), URL)


def test_gpus_of_the_speech_service_are_checked() -> None:
    (problem,) = [
        problem
        for problem in problems({"transcription": "container", "transcription_gpus": "many"})
        if problem.setting == "transcription_gpus"
    ]
    assert problem.allowed == "all, or device=<index or UUID>[,…]"


def test_one_port_cannot_serve_both() -> None:
    assert lines({"https_port": 8443, "http_port": 8443}) == [
        "http_port: 8443, as https_port; allowed: two different ports. Set it: pulumi config set http_port <port>"
    ]


# --- Modes ------------------------------------------------------------------------------------------------------------

ONLY_WITH: Final[list[tuple[str, object, str, str, str]]] = [
    # setting, a value, selector, a mode it does not go with, the modes it goes with
    *(("transcription_url", "https://a", "transcription", mode, "hosted") for mode in ("container", "in-process")),
    *(("transcription_api_key", SECURE, "transcription", mode, "hosted") for mode in ("container", "in-process")),
    *(("transcription_gpus", "all", "transcription", mode, "container") for mode in ("hosted", "in-process")),
    *(("whisper_model", "large", "transcription", mode, "in-process") for mode in ("hosted", "container")),
    *(("llm_url", "https://a/v1", "llm", mode, "external") for mode in ("ollama", "none")),
    *(("llm_api_key", SECURE, "llm", mode, "external") for mode in ("ollama", "none")),
    *(("ollama_gpus", "all", "llm", mode, "ollama") for mode in ("external", "none")),
    *(("garage_capacity_gib", 7, "storage", mode, "garage") for mode in ("s3", "external")),
    *(("s3_domain", "s3.example.com", "storage", mode, "garage") for mode in ("s3", "external")),
    ("s3_region", "eu-central-1", "storage", "garage", "external or s3"),
    *(("s3_endpoint", "https://a", "storage", mode, "external") for mode in ("garage", "s3")),
    *(("s3_access_key_id", "k", "storage", mode, "external") for mode in ("garage", "s3")),
    *(("s3_secret_access_key", SECURE, "storage", mode, "external") for mode in ("garage", "s3")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "selector", "mode", "modes"), ONLY_WITH)
def test_two_modes_at_once_are_refused(name: str, value: object, selector: str, mode: str, modes: str) -> None:
    found = [problem for problem in problems({selector: mode, name: value}) if problem.setting == name]
    first = modes.split(" or ")[0]
    assert [str(problem) for problem in found] == [
        f"{name}: set while {selector} is {mode!r}: two modes at once; allowed: only with {selector}: {modes}. "
        f"Choose one: pulumi config set {selector} {first}, or pulumi config rm {name}"
    ]


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"transcription": "hosted"}, ["transcription_url"]),
        ({"llm": "external"}, ["llm_url"]),
        ({"storage": "s3"}, ["s3_region"]),
        ({"storage": "external"}, ["s3_region", "s3_access_key_id", "s3_secret_access_key"]),
        ({"storage": "external", "s3_region": "r", "s3_access_key_id": "k"}, ["s3_secret_access_key"]),
    ],
)
def test_what_a_mode_needs_and_does_not_get_is_named(given: dict[str, object], missing: list[str]) -> None:
    selector, mode = next(iter(given.items()))
    assert lines(given) == [
        f"{name}: nothing; allowed: a value: {selector} is {mode!r}. "
        f"Set it: pulumi config set{' --secret' if name in SECRETS else ''} {name} <value>"
        for name in missing
    ]


def test_a_part_upstream_publishes_no_image_for_must_be_given_one() -> None:
    assert lines({"transcription": "container"}) == [
        "image_references.transcription: nothing; allowed: a pinned image reference: upstream publishes no image for "
        "this part. Build and push one, then: pulumi config set --path image_references.transcription <reference>"
    ]


def test_references_and_built_images_exclude_each_other() -> None:
    found = problems({"images": "built", "image_references": {"postgres": "postgres:17.2"}})
    assert "two modes at once" in found[0].given
    assert found[0].allowed == "only with images: upstream"


def test_built_images_must_have_been_staged(tmp_path: Path) -> None:
    _, (problem,) = settings.built_images("reflector", frozenset({"caddy"}), tmp_path / "manifest.json")
    assert str(problem) == (
        "images: 'built', but no build contexts are staged; allowed: built, after the contexts were staged. "
        "Run: make images"
    )


# --- Secrets ----------------------------------------------------------------------------------------------------------

IN_MODE: Final[Mapping[str, Mapping[str, object]]] = {
    "transcription_api_key": {"transcription": "hosted", "transcription_url": "https://a"},
    "hf_token": {},
    "llm_api_key": {"llm": "external", "llm_url": "https://a/v1"},
    "s3_secret_access_key": {"storage": "external", "s3_region": "r", "s3_access_key_id": "k"},
}


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_in_clear_text_is_refused_and_not_repeated(name: str) -> None:
    (line,) = lines({**IN_MODE[name], name: "HandedSecret"})
    assert line == (
        f"{name}: a value in clear text; allowed: an encrypted value. Set it: pulumi config set --secret {name}"
    )


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_an_encrypted_secret_is_taken_in_the_stack_files_form(name: str) -> None:
    assert settings.parse({**IN_MODE[name], name: SECURE}, "test").project == "reflector"


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_an_encrypted_secret_is_taken_in_the_engines_form_and_stays_secret(engine: Engine, name: str) -> None:
    raw = {**IN_MODE[name], name: "HandedSecret"}

    def parsed() -> settings.Settings:
        return settings.parse(raw, "test", secret=lambda _: pulumi.Output.secret("it"), encrypted=frozenset({name}))

    stack = engine.run(parsed)
    (found,) = [
        output
        for output in (
            stack.speech.api_key, stack.speech.hf_token, stack.language_model.api_key, stack.storage.secret_access_key,
        )
        if output is not None
    ]  # fmt: skip
    assert is_secret(found)
    assert value_of(found) == "it"
    assert "HandedSecret" not in repr(stack)


def test_an_empty_secret_counts_as_none() -> None:
    assert settings.parse({"hf_token": ""}, "test").speech.hf_token is None, "the engine fills in the default"


# --- The Docker host --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["unix:///run/docker.sock", "ssh://user@host", "ssh://host:2222", "ssh://user@host:22"]
)
def test_a_docker_host_the_client_and_the_provider_understand_is_taken(address: str) -> None:
    assert settings.parse({"docker_host": address}, "test").host.address == address


def test_tcp_without_certificates_is_refused() -> None:
    assert lines({"docker_host": "tcp://host:2376"}) == [
        "docker_certificates: nothing; allowed: a folder with ca.pem, cert.pem, key.pem: docker_host is tcp://. "
        "Set it: pulumi config set docker_certificates <folder>"
    ]


@pytest.mark.parametrize("address", ["tcp://host", "tcp://:2376", "tcp://[::1"])
def test_tcp_needs_a_host_and_a_port(address: str) -> None:
    problem = problems({"docker_host": address})[0]
    assert (problem.setting, problem.given, problem.allowed) == ("docker_host", repr(address), DOCKER_HOST)


def test_certificates_without_tcp_are_refused() -> None:
    (line,) = lines({"docker_certificates": "/certs"})
    assert line == (
        "docker_certificates: '/certs' while docker_host is 'unix:///var/run/docker.sock': two modes at once; "
        "allowed: only with a tcp:// docker_host. Remove it: pulumi config rm docker_certificates"
    )


def test_each_missing_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("CA")
    found = problems({"docker_host": "tcp://host:2376", "docker_certificates": str(tmp_path)})
    assert [problem.given.partition(":")[0] for problem in found] == [
        str(tmp_path / "cert.pem"),
        str(tmp_path / "key.pem"),
    ]


def test_certificates_are_read_and_the_key_never_shows(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").write_text(f"Handed {name}")
    host = settings.parse({"docker_host": "tcp://host:2376", "docker_certificates": str(tmp_path)}, "test").host
    assert (host.ca_pem, host.cert_pem, host.key_pem) == ("Handed ca", "Handed cert", "Handed key")
    assert "Handed key" not in repr(host)


# --- All together -----------------------------------------------------------------------------------------------------


def test_all_problems_come_in_one_flat_list() -> None:
    raw: dict[str, object] = {
        "domian": "x", "https_port": "many", "storage": "external", "llm_url": "https://a", "memory_mib": {"nginx": 1},
        "extra_names": ["x", "y"], "hf_token": "clear", "image_references": {"redis": "redis"},
    }  # fmt: skip
    with pytest.raises(SettingsError) as refusal:
        settings.parse(raw, "test")
    text = str(refusal.value)
    expected = {
        "domian", "https_port", "s3_region", "s3_access_key_id", "s3_secret_access_key", "llm_url", "memory_mib.nginx",
        "extra_names[0]", "extra_names[1]", "hf_token", "image_references.redis",
    }  # fmt: skip
    assert {problem.setting for problem in refusal.value.problems} == expected
    assert text.splitlines()[0] == f"{len(expected)} problems in the configuration, nothing was created:"
    assert all(line.startswith("  - ") for line in text.splitlines()[1:])
    assert len(text.splitlines()) == 1 + len(expected)


def test_one_problem_is_announced_as_one() -> None:
    with pytest.raises(SettingsError, match=r"^1 problem in the configuration, nothing was created:\n"):
        settings.parse({"domian": "x"}, "test")


def test_the_engine_shows_the_list_and_no_traceback() -> None:
    """The SDK prints the message alone for one kind of error, and the stack of calls for every other."""
    with pytest.raises(pulumi.RunError, match=r"^1 problem in the configuration, nothing was created:\n"):
        settings.parse({"domian": "x"}, "test")


# --- What is right ----------------------------------------------------------------------------------------------------


def test_without_any_setting_the_defaults_stand() -> None:
    stack = settings.parse({}, "test")
    assert stack.prefix == "reflector-test"
    assert (stack.host.address, stack.host.is_local) == ("unix:///var/run/docker.sock", True)
    assert (stack.edge.domain, stack.edge.s3_domain) == ("reflector.localhost", "s3.reflector.localhost")
    assert stack.edge.dns_names == ("reflector.localhost", "s3.reflector.localhost", "localhost")
    assert stack.edge.ip_addresses == ("127.0.0.1", "::1")
    assert (stack.edge.https_port, stack.edge.http_port) == (443, 80)
    assert stack.authentication.password is True
    assert stack.authentication.admin_email == "admin@reflector.localhost"
    assert stack.speech.mode is SpeechMode.IN_PROCESS
    assert stack.language_model.mode is LanguageModelMode.OLLAMA
    assert stack.storage.mode is StorageMode.GARAGE
    assert stack.memory_mib == MEMORY_MIB


def test_the_engines_text_and_a_stack_files_values_mean_the_same() -> None:
    typed = {
        "https_port": 8443, "extra_names": ["DNS:a.b", "IP:10.0.0.1"], "memory_mib": {"redis": 128}, "domain": "a.test",
    }  # fmt: skip
    text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in typed.items()}
    assert settings.parse(typed, "test") == settings.parse(text, "test")


def test_a_default_the_engine_fills_in_is_not_taken_for_a_choice() -> None:
    filled = {
        key.name: key.default if isinstance(key.default, str) else json.dumps(key.default)
        for key in schema().keys.values()
    }
    assert settings.parse(filled, "test") == settings.parse({}, "test")


@pytest.mark.parametrize(
    ("raw", "mode"),
    [
        ({"transcription": "hosted", "transcription_url": "https://a/"}, SpeechMode.HOSTED),
        ({"transcription": "in-process", "whisper_model": "large-v3"}, SpeechMode.IN_PROCESS),
        (
            {
                "transcription": "container",
                "transcription_gpus": "device=0,1",
                "image_references": {"transcription": "speech:1.2.3"},
            },
            SpeechMode.CONTAINER,
        ),
    ],
)
def test_every_mode_of_speech_has_a_valid_form(raw: dict[str, object], mode: SpeechMode) -> None:
    assert settings.parse(raw, "test").speech.mode is mode


@pytest.mark.parametrize(
    ("raw", "mode"),
    [
        ({"llm": "ollama", "ollama_gpus": "all", "llm_model": "m"}, LanguageModelMode.OLLAMA),
        ({"llm": "external", "llm_url": "https://a/v1", "llm_api_key": SECURE}, LanguageModelMode.EXTERNAL),
        ({"llm": "external", "llm_url": "http://a:8000/v1"}, LanguageModelMode.EXTERNAL),
        ({"llm": "none"}, LanguageModelMode.NONE),
    ],
)
def test_every_mode_of_the_language_model_has_a_valid_form(raw: dict[str, object], mode: LanguageModelMode) -> None:
    assert settings.parse(raw, "test").language_model.mode is mode


def test_an_external_language_model_needs_a_name_too() -> None:
    (problem,) = problems({"llm": "external", "llm_url": "https://a/v1", "llm_model": ""})
    assert (problem.setting, problem.allowed) == ("llm_model", MODEL)


@pytest.mark.parametrize("name", ["qwen2.5:14b", "hf.co/bartowski/Llama-3.2-3B-GGUF:Q8_0", "gpt-4o", "/models/a.gguf"])
def test_a_model_is_called_what_its_makers_call_it(name: str) -> None:
    stack = settings.parse({"llm_model": name, "whisper_model": name}, "test")
    assert (stack.language_model.model, stack.speech.whisper_model) == (name, name)


@pytest.mark.parametrize(
    ("raw", "mode"),
    [
        ({"storage": "garage", "s3_domain": "objects.test", "garage_capacity_gib": 5}, StorageMode.GARAGE),
        ({"storage": "s3", "s3_region": "eu-central-1"}, StorageMode.S3),
        (
            {
                "storage": "external", "s3_region": "r", "s3_endpoint": "https://a/", "s3_access_key_id": "k",
                "s3_secret_access_key": SECURE,
            },
            StorageMode.EXTERNAL,
        ),
    ],
)  # fmt: skip
def test_every_mode_of_storage_has_a_valid_form(raw: dict[str, object], mode: StorageMode) -> None:
    assert settings.parse(raw, "test").storage.mode is mode


def test_a_store_elsewhere_leaves_no_name_for_it() -> None:
    edge = settings.parse({"storage": "s3", "s3_region": "r"}, "test").edge
    assert edge.s3_domain == ""
    assert edge.dns_names == ("reflector.localhost", "localhost")


def test_the_application_may_be_called_localhost() -> None:
    """Reflector never calls itself by its public name, but fetches from the object store by that one's."""
    edge = settings.parse({"domain": "localhost"}, "test").edge
    assert (edge.domain, edge.s3_domain) == ("localhost", "s3.localhost")


def test_an_extra_name_is_no_name_inside_the_stack_and_may_be_a_services() -> None:
    assert "web" in settings.parse({"extra_names": ["DNS:web"]}, "test").edge.dns_names


def test_extra_names_enter_the_edge_in_normal_form_and_once() -> None:
    edge = settings.parse(
        {"extra_names": ["DNS:LOCALHOST", "DNS:Other.Example", "IP:0:0::1", "IP:2001:DB8::1"]}, "test"
    ).edge
    assert edge.dns_names[-1] == "other.example"
    assert edge.dns_names.count("localhost") == 1
    assert edge.ip_addresses == ("127.0.0.1", "::1", "2001:db8::1")


def test_addresses_to_publish_on_are_taken_in_normal_form_and_once() -> None:
    """No port can be published twice on one address, however that is written."""
    edge = settings.parse({"bind_addresses": ["::1", "0:0:0:0:0:0:0:1", "2001:DB8::1", "127.0.0.1", "::1"]}, "t").edge
    assert edge.bind_addresses == ("::1", "2001:db8::1", "127.0.0.1")


def test_every_address_of_one_kind_goes_with_any_of_the_other() -> None:
    for addresses in (["0.0.0.0", "::"], ["0.0.0.0", "::1"], ["127.0.0.1", "::"]):
        assert settings.parse({"bind_addresses": addresses}, "test").edge.bind_addresses == tuple(addresses)


@pytest.mark.parametrize("text", ["admin@localhost", "Ada.L+reflector@Mail.Example.com", "o'neil@a.test", "a@10.0.0.1"])
def test_an_address_the_login_page_takes_is_left_as_it_is(text: str) -> None:
    assert settings.parse({"admin_email": text}, "test").authentication.admin_email == text


def test_a_url_shows_its_port_only_where_it_must() -> None:
    assert settings.parse({}, "test").edge.url("a.test") == "https://a.test"
    assert settings.parse({"https_port": 8443}, "test").edge.url("a.test") == "https://a.test:8443"


def test_urls_lose_their_trailing_slash() -> None:
    raw = {"transcription": "hosted", "transcription_url": "https://a/b/"}
    assert settings.parse(raw, "test").speech.url == "https://a/b"


def test_a_feature_that_is_off_asks_for_no_image() -> None:
    lean = settings.parse({"llm": "none", "storage": "s3", "s3_region": "r"}, "test").images
    assert lean.images.keys().isdisjoint({"ollama", "garage", "transcription"})


def test_upstream_images_are_pinned_and_overridden_one_by_one() -> None:
    sources = settings.parse({"image_references": {"redis": "mirror.test/redis:7.2.1"}}, "test").images
    assert sources.images["redis"].reference == "mirror.test/redis:7.2.1"
    assert sources.images["postgres"].reference.startswith("postgres:17")
    assert sources.command("backend") == ()


def test_built_images_come_after_their_base_and_are_tagged_by_content(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    entry = {"context": "x", "sha256": "ab" * 32}
    manifest.write_text(
        json.dumps({"base": {**entry, "base": None}, **{n: {**entry, "base": "base"} for n in ("probe", "caddy")}})
    )
    sources, problems_ = settings.built_images("reflector", frozenset({"backend", "frontend", "caddy"}), manifest)
    assert problems_ == []
    assert next(iter(sources.images)) == "base"
    assert sources.images["probe"].reference == "reflector-probe:abababababab"
    assert sources.images["probe"].context == ".toolchain/images/x", "state must not hold a machine's path"
    assert (sources.roles["frontend"], sources.command("frontend")) == ("probe", ("probe", "run", "web"))


# --- The files of the project -----------------------------------------------------------------------------------------

PROJECT: Final[dict[str, Any]] = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
TYPES: Final = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}


@pytest.mark.parametrize("name", sorted(PROJECT["config"]))
def test_every_key_has_a_description_and_a_default_of_its_type(name: str) -> None:
    key = PROJECT["config"][name]
    assert len(key["description"]) > 10, "docs/configuration.md is made from it"
    assert type(key["default"]) is TYPES[key["type"]], "a key without a default would be required of everybody"


def test_no_secret_key_is_declared_secret_in_the_project_file() -> None:
    assert PROJECT["config"].keys() >= SECRETS
    assert not any("secret" in key for key in PROJECT["config"].values()), "the engine takes no default for such a key"


@pytest.mark.parametrize("stack", ["dev", "selfhosted"])
def test_a_committed_stack_only_uses_declared_keys(stack: str) -> None:
    assert settings.read_stack_file(ROOT / f"Pulumi.{stack}.yaml").keys() <= PROJECT["config"].keys()


@pytest.mark.parametrize("stack", ["dev", "selfhosted"])
def test_a_committed_stack_never_falls_back_to_a_default_docker_provider(stack: str) -> None:
    content = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))
    assert content["config"]["pulumi:disable-default-providers"] == ["docker", "aws"]


@pytest.mark.parametrize("stack", ["dev", "selfhosted"])
def test_a_committed_stack_is_written_as_the_engine_writes_it(stack: str) -> None:
    """Numbers are text at the top, or the first `pulumi config set` would change lines nobody touched."""
    content = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))["config"]
    assert [key for key, value in content.items() if isinstance(value, int)] == []


def test_the_stack_for_one_machine_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tmp_path / "manifest.json"
    names = ("base", "postgres", "redis", "garage", "caddy", "ollama", "probe")
    manifest.write_text(json.dumps({name: {"context": name, "base": None, "sha256": "0" * 64} for name in names}))
    monkeypatch.setattr("settings.images.built_images.__defaults__", (manifest,))
    stack = settings.parse(settings.read_stack_file(ROOT / "Pulumi.dev.yaml"), "dev")
    assert stack.edge.url(stack.edge.domain) == "https://reflector.localhost:8443"
    assert stack.edge.bind_addresses == ("127.0.0.1",), "a development stack is nobody else's business"
    assert stack.speech.mode is SpeechMode.CONTAINER


def test_the_stack_for_production_is_valid() -> None:
    stack = settings.parse(settings.read_stack_file(ROOT / "Pulumi.selfhosted.yaml"), "selfhosted")
    assert stack.edge.url(stack.edge.domain) == "https://reflector.example.com"
    assert stack.language_model.model == "qwen2.5:14b"
    assert {source.context for source in stack.images.images.values()} == {None}, "every image is upstream's"


@pytest.mark.parametrize("text", ["", "# later\n", "config:\n", "config: {}\n", "encryptionsalt: v1:x\n"])
def test_a_stack_file_without_settings_means_the_defaults(tmp_path: Path, text: str) -> None:
    empty = tmp_path / "Pulumi.empty.yaml"
    empty.write_text(text)
    assert settings.read_stack_file(empty) == {}


def test_of_a_stack_file_only_the_keys_of_the_project_are_read(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.test.yaml"
    file.write_text("config:\n  1: x\n  docker:host: y\n  reflector:domain: a.test\n")
    assert settings.read_stack_file(file) == {"domain": "a.test"}


NO_STACK_FILES: Final = [
    (b"config:\n  reflector:domain: [a.test\n", "line 3, column 1"),
    (b"config:\n\treflector:domain: a.test\n", "line 2, column 1"),
    (b"config:\n  reflector:domain: a\n   reflector:hf_token: HandedSecret\n", "line 3, column"),
    (b"config: {}\n---\nconfig: {}\n", "line 2, column 1"),
    (b"config:\n  reflector:domain: 2026-99-99\n", "month"),
    (b"config: \xff\n", "0xff"),
    (b"- reflector:domain: a.test\n", "the file is no mapping"),
    (b"reflector", "the file is no mapping"),
    (b"config:\n  - reflector:domain: a.test\n", "config is no mapping"),
    (b"config: false\n", "config is no mapping"),
]


@pytest.mark.parametrize(("content", "given"), NO_STACK_FILES)
def test_what_is_no_stack_file_is_one_problem_on_one_line(tmp_path: Path, content: bytes, given: str) -> None:
    file = tmp_path / "Pulumi.test.yaml"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as refusal:
        settings.read_stack_file(file)
    (problem,) = refusal.value.problems
    assert (problem.setting, problem.allowed) == ("Pulumi.test.yaml", "YAML with the settings in a mapping `config`")
    assert given in problem.given
    assert len(str(refusal.value).splitlines()) == 2
    assert "HandedSecret" not in str(problem)


def test_a_stack_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Is a directory"):
        settings.read_stack_file(tmp_path)
