"""Stack files from before the settings became a tree, taken to today's form."""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from operations.convert import convert
from operations.stack import Stack
from settings import PROJECT, Secret, Settings, flat
from settings.images import Upstream
from settings.language_model import External as ModelElsewhere
from settings.language_model import Ollama
from settings.sign_in import Public
from settings.speech import Container, Hosted, InProcess
from settings.storage import S3, Garage
from settings.storage import External as StoreElsewhere
from tests.unit.settings.examples import parsed, refused, stack_file
from toolchain import Layout

SCHEMA: Final = "# yaml-language-server: $schema=stack.schema.json"

DEV: Final = """\
# The local stack: one machine, no domain to own; as root on Debian or Ubuntu no image registry either.
config:
  pulumi:disable-default-providers:
    - docker
    - aws
  reflector:images: built
  reflector:https_port: "8443"
  reflector:http_port: "8080"
  reflector:bind_addresses:
    - 127.0.0.1
  reflector:transcription: container
  reflector:llm_model: tiny
  reflector:llm_context_tokens: "4096"
  reflector:garage_capacity_gib: "1"
  reflector:health_interval_seconds: "3"
  reflector:startup_limit_seconds: "60"
  reflector:memory_mib:
    transcription: 512
    ollama: 1024
    server: 512
    worker: 512
    hatchet-worker-llm: 512
    beat: 256
    web: 256
    hatchet: 256
    postgres: 512
    garage: 512
encryptionsalt: v1:salt=:v1:x:y
"""

SELFHOSTED: Final = """\
# The documented production shape: upstream's images on a host of its own, behind a domain of its own.
config:
  pulumi:disable-default-providers:
    - docker
    - aws
  reflector:images: upstream
  reflector:domain: reflector.example.com
  reflector:bind_addresses:
    - 0.0.0.0
  reflector:https_port: "443"
  reflector:http_port: "80"
  reflector:storage: garage
  reflector:llm: ollama
  reflector:llm_model: qwen2.5:14b
  reflector:transcription: in-process
"""

EVERYTHING: Final = """\
# Ours.
#
# Since 2025.
config:
  aws:region: eu-central-1
  reflector:docker_host: ssh://deploy@host.test
  reflector:docker_certificates: ""
  reflector:minimum_free_disk_gib: "20"
  reflector:images: upstream
  reflector:image_references:
    transcription: speech:1.2.3
    redis: mirror.test/redis:7.2.1
  reflector:domain: reflector.test # the name
  reflector:s3_domain: objects.reflector.test
  reflector:extra_names: ["DNS:meet.test", "IP:192.0.2.1"]
  reflector:bind_addresses: '["192.0.2.1"]'
  reflector:https_port: "8443"
  reflector:http_port: 8080
  reflector:authentication: password
  reflector:admin_email: me@a.test
  reflector:transcription: hosted
  reflector:transcription_url: https://speech.test
  reflector:transcription_api_key:
    secure: v1:speech
  reflector:transcription_gpus: ""
  reflector:whisper_model: small
  reflector:hf_token:
    secure: v1:token
  reflector:llm: external
  reflector:llm_url: https://llm.test/v1
  reflector:llm_api_key:
    secure: v1:model
  reflector:llm_context_tokens: "32768"
  reflector:ollama_gpus: ""
  reflector:storage: garage
  reflector:storage_bucket: "20250101"
  reflector:garage_capacity_gib: "7"
  reflector:s3_region: ""
  reflector:health_interval_seconds: "5"
  reflector:startup_limit_seconds: "120"
  reflector:memory_mib:
    postgres: 2048
    redis: "128"
    garage: 512
    hatchet: 512
    server: 1024
    worker: 2048
    beat: 128
    hatchet-worker-llm: 1024
    web: 512
    transcription: 4096
    ollama: 4096
    caddy: 128
encryptionsalt: v1:salt=:v1:x:y
"""


def converted(text: str) -> tuple[Settings, str, list[str]]:
    """Return what the file means now, its text, and what was left out."""
    new, left, undecided = flat.stack_file(text)
    assert undecided == []
    assert new.splitlines()[0] == SCHEMA
    again = yaml.safe_load(new)["config"]
    assert not flat.is_flat(again)
    assert flat.converted(again) == (again, []), "what is converted stays as it is"
    return parsed(stack_file(new).settings), new, left


def of(**old: object) -> tuple[dict[str, Any], list[str]]:
    """Return the tree that old settings become, and what was left out."""
    config, left = flat.converted({f"{PROJECT}:{name}": value for name, value in old.items()})
    return {str(name).removeprefix(f"{PROJECT}:"): value for name, value in config.items()}, left


def test_the_local_stack_of_the_first_release_is_todays() -> None:
    stack, text, left = converted(DEV)
    root = Path(__file__).resolve().parents[3]
    today = stack_file((root / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    assert stack.model_dump() == parsed(today.settings).model_dump()
    assert left == []
    assert text.splitlines()[1] == DEV.splitlines()[0]
    assert text.endswith("encryptionsalt: v1:salt=:v1:x:y\n")


def test_the_production_stack_of_the_first_release_is_todays() -> None:
    stack, _, left = converted(SELFHOSTED)
    root = Path(__file__).resolve().parents[3]
    today = stack_file((root / "Pulumi.selfhosted.yaml").read_text(encoding="utf-8"))
    assert stack.model_dump() == parsed(today.settings).model_dump()
    assert left == []


def test_every_setting_of_the_first_release_finds_its_place() -> None:
    stack, text, left = converted(EVERYTHING)
    assert (stack.host.address, stack.host.certificates, stack.host.minimum_free_disk_gib) == (
        "ssh://deploy@host.test", None, 20,
    )  # fmt: skip
    assert isinstance(stack.images, Upstream)
    assert stack.images.references.redis == "mirror.test/redis:7.2.1"
    assert (stack.edge.domain, stack.storage_domain) == ("reflector.test", "objects.reflector.test")
    assert stack.edge.extra_names == ("DNS:meet.test", "IP:192.0.2.1")
    # Lists and objects may have been written as a text.
    assert stack.edge.bind_addresses == ("192.0.2.1",)
    assert (stack.edge.https_port, stack.edge.http_port, stack.admin_email) == (8443, 8080, "me@a.test")
    assert stack.speech == Hosted(url="https://speech.test", api_key=Secret(None), hf_token=Secret(None))
    # The name that was meant where none was set.
    assert stack.language_model == ModelElsewhere(
        url="https://llm.test/v1", model="qwen2.5:14b", api_key=Secret(None), context_tokens=32768
    )
    assert stack.storage == Garage(
        bucket="20250101", domain="objects.reflector.test", capacity_gib=7, memory_mib=512
    )  # fmt: skip
    assert (stack.health.interval_seconds, stack.health.startup_limit_seconds) == (5, 120)
    assert (stack.data.postgres.memory_mib, stack.data.redis.memory_mib, stack.workflow.memory_mib) == (2048, 128, 512)
    limits = (stack.application.hatchet_worker_llm.memory_mib, stack.application.worker.memory_mib)
    assert limits == (1024, 2048)
    assert stack.edge.memory_mib == 128
    # Ciphertexts are moved as they are.
    config = yaml.safe_load(text)["config"]
    assert config[f"{PROJECT}:speech"]["api_key"] == {"secure": "v1:speech"}
    assert config[f"{PROJECT}:language_model"]["api_key"] == {"secure": "v1:model"}
    assert config["aws:region"] == "eu-central-1"
    assert yaml.safe_load(text)["encryptionsalt"] == "v1:salt=:v1:x:y"
    assert text.splitlines()[:4] == [SCHEMA, "# Ours.", "#", "# Since 2025."]
    # The default was suffered in another mode, and memory of what does not run.
    assert left == ["memory_mib.transcription", "memory_mib.ollama", "speech.whisper_model"]


@pytest.mark.parametrize(
    ("old", "concern", "expected"),
    [
        ({"authentication": "none", "sign_in": {"everybody_reads_everything": True}}, "sign_in",
         Public(everybody_reads_everything=True)),
        ({"llm_model": "tiny"}, "language_model", Ollama(model="tiny")),
        ({"llm": "ollama", "ollama_gpus": "all"}, "language_model", Ollama(gpus="all")),
        ({"whisper_model": "large"}, "speech", InProcess(whisper_model="large")),
        ({"hf_token": {"secure": "v1:x"}}, "speech", InProcess(hf_token=Secret(None))),
        ({"transcription": "container", "transcription_gpus": "all", "image_references": {"transcription": "a:1.2.3"}},
         "speech", Container(gpus="all")),
        ({"storage": "s3", "s3_region": "r", "storage_bucket": "bucket"}, "storage", S3(region="r", bucket="bucket")),
        # The default of then, which is nobody's own today.
        ({"storage": "s3", "s3_region": "r"}, "storage", S3(region="r", bucket="reflector-media")),
        ({"garage_capacity_gib": "5"}, "storage", Garage(capacity_gib=5)),
        ({"memory_mib": {"garage": 512}}, "storage", Garage(memory_mib=512)),
        ({"memory_mib": '{"ollama": 2048}'}, "language_model", Ollama(memory_mib=2048)),
        ({"storage": "external", "s3_region": "r", "s3_endpoint": "https://a", "s3_access_key_id": "k",
          "s3_secret_access_key": {"secure": "v1:x"}}, "storage",
         StoreElsewhere(region="r", endpoint="https://a", access_key_id="k", secret_access_key=Secret(None))),
        ({"image_references": {"redis": "a:1.2.3"}}, "images", None),
    ],
    ids=str,
)  # fmt: skip
def test_the_mode_that_was_meant_is_filled_in(old: dict[str, Any], concern: str, expected: object) -> None:
    tree, _ = of(**old)
    # Read as a file is, in which a secret is a ciphertext.
    file = stack_file(yaml.safe_dump({"config": {f"{PROJECT}:{name}": value for name, value in tree.items()}}))
    found = getattr(parsed(file.settings), concern)
    assert "mode" in tree[concern]
    assert expected is None or found == expected


def test_a_stack_without_a_model_is_told_to_choose_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without one Reflector asks api.openai.com: nothing of ours can be put in its place unasked."""
    stack = stack_of(tmp_path, f"config:\n  {PROJECT}:llm: none\n  {PROJECT}:llm_model: x\n")
    assert convert(stack) == 0
    said = capsys.readouterr().out.splitlines()
    (problem,) = refused(stack_file((tmp_path / "Pulumi.test.yaml").read_text(encoding="utf-8")).settings)
    assert said[1:] == [f"to decide before the next run: {problem}"]
    assert problem.setting == "language_model.mode"
    assert "api.openai.com" in problem.allowed


def test_what_has_no_effect_is_left_out_and_named() -> None:
    tree, left = of(llm="external", ollama_gpus="all", llm_model="x", whisper_model="small", transcription="hosted", memory_mib={"web": 256, "ollama": 1, "nginx": 1})  # fmt: skip # noqa: E501
    assert left == ["memory_mib.ollama", "memory_mib.nginx", "speech.whisper_model", "language_model.gpus"]
    assert tree == {
        "language_model": {"mode": "external", "model": "x"},
        "speech": {"mode": "hosted"},
        "application": {"web": {"memory_mib": 256}},
    }


def test_a_mistake_is_moved_and_told_by_the_checks() -> None:
    """Converting judges nothing, and fails over nothing."""
    tree, left = of(
        https_port="many", extra_names="[", domian="x", memory_mib={"redis": "1g", "web": {"secure": "v1:x"}}
    )
    assert tree == {
        "domian": "x",
        "edge": {"https_port": "many", "extra_names": "["},
        "data": {"redis": {"memory_mib": "1g"}},
        "application": {"web": {"memory_mib": {"secure": "v1:x"}}},
    }
    assert left == []
    assert of(memory_mib="many") == ({}, [])
    assert of(memory_mib=["a"]) == ({}, [])


def test_a_text_that_looks_like_a_number_stays_one_where_texts_are() -> None:
    tree, _ = of(storage_bucket="2025", https_port="8443", admin_email="7")
    assert (tree["storage"]["bucket"], tree["edge"]["https_port"], tree["sign_in"]["admin_email"]) == (
        "2025",
        8443,
        "7",
    )


def test_what_is_in_todays_form_already_is_stronger() -> None:
    tree, left = of(edge={"domain": "new.test"}, domain="old.test", https_port="8443",
                    storage={"mode": "s3", "region": "r"}, s3_region="old", llm="ollama", language_model=3)  # fmt: skip
    assert tree["edge"] == {"domain": "new.test", "https_port": 8443}
    assert tree["storage"] == {"mode": "s3", "region": "r"}
    assert tree["language_model"] == 3
    assert left == ["domain", "s3_region", "llm"]


def test_keys_without_a_namespace_are_the_projects_too() -> None:
    config, _ = flat.converted({"domain": "a.test", "docker:host": "x"})
    assert config == {"docker:host": "x", f"{PROJECT}:edge": {"domain": "a.test"}}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"reflector:domain": "x"}, True), ({"domain": "x"}, True), ({"reflector:storage": "garage"}, True),
        ({"reflector:storage": {"mode": "garage"}}, False), ({"reflector:images": {}}, False), ({}, False),
        ({"docker:domain": "x"}, False), ({"reflector:edge": {"domain": "x"}}, False),
        ({"reflector:domian": "x"}, False),
    ],
)  # fmt: skip
def test_a_file_of_an_earlier_release_is_known_by_its_names(config: dict[str, Any], expected: bool) -> None:
    assert flat.is_flat(config) is expected


# --- The command ------------------------------------------------------------------------------------------------------


def stack_of(tmp_path: Path, content: str | bytes | None) -> Stack:
    stack = Stack(name="test", layout=Layout(tmp_path))
    if content is not None:
        (tmp_path / "Pulumi.test.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    return stack


def test_the_file_is_rewritten_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = stack_of(tmp_path, EVERYTHING)
    assert convert(stack) == 0
    file = tmp_path / "Pulumi.test.yaml"
    assert file.read_text(encoding="utf-8") == flat.stack_file(EVERYTHING)[0]
    said = capsys.readouterr().out.splitlines()
    kept = tmp_path / said[0].partition("as it was: ")[2]
    assert kept.read_text(encoding="utf-8") == EVERYTHING
    assert kept.is_relative_to(stack.layout.home), "git is not told of it"
    assert said[1:] == [
        "left out, because it had no effect: memory_mib.transcription",
        "left out, because it had no effect: memory_mib.ollama",
        "left out, because it had no effect: speech.whisper_model",
    ]
    assert sorted(path.name for path in tmp_path.glob("Pulumi*")) == [file.name], "no draft is left"


def test_a_second_time_there_is_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = stack_of(tmp_path, DEV)
    assert convert(stack) == 0
    file = tmp_path / "Pulumi.test.yaml"
    before = file.read_bytes()
    capsys.readouterr()
    assert convert(stack) == 0
    assert capsys.readouterr().out == "Pulumi.test.yaml has no settings of an earlier release\n"
    assert file.read_bytes() == before
    kept = stack.layout.home / "converted" / file.name
    assert kept.read_text(encoding="utf-8") == DEV, "what was kept is not written over"


@pytest.mark.parametrize("content", ["", "config: {}\n", "config:\n", "a text\n", "- a\n", "config: [a]\n"])
def test_where_there_is_nothing_to_do_nothing_is_done(tmp_path: Path, content: str) -> None:
    assert convert(stack_of(tmp_path, content)) == 0
    assert (tmp_path / "Pulumi.test.yaml").read_text(encoding="utf-8") == content
    assert not (tmp_path / ".toolchain").exists()


@pytest.mark.parametrize("content", [None, "config: [\n", "\tx", b"\xff", "config: {reflector:domain: 2026-99-99}\n"])
def test_what_cannot_be_read_is_told_on_one_line(
    tmp_path: Path, content: str | bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(stack_of(tmp_path, content)) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Pulumi.test.yaml cannot be read: ")
    assert len(said.err.splitlines()) == 1
