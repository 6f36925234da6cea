"""The tree as a whole: what a stack needs by its modes, and what looks at it without an engine."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from settings import ALL_SERVICES, PROJECT, Settings
from settings.images import References
from settings.tree import finished
from settings.walk import active, classes, kind_of, member_for, members, mode_of, place
from tests.unit.settings.examples import LEAVES, SPOTS, STACK, Leaf, Spot, parsed

ROOT: Final = Path(__file__).resolve().parents[3]
ALWAYS: Final = {"postgres", "redis", "hatchet", "server", "worker", "beat", "hatchet-worker-llm", "web", "caddy"}
SPEECH: Final[dict[str, Any]] = {
    "speech": {"mode": "container"},
    "images": {"mode": "upstream", "references": {"transcription": "speech:1.2.3"}},
}
MODEL: Final[dict[str, Any]] = {"language_model": {"mode": "external", "url": "https://a.test/v1", "model": "m"}}
LEAN: Final[dict[str, Any]] = {**MODEL, "storage": {"mode": "s3", "region": "r", "bucket": "own"}}


def test_without_any_setting_the_defaults_stand() -> None:
    stack = parsed({})
    assert (stack.prefix, stack.stack) == ("reflector-test", "test")
    assert (stack.host.address, stack.host.is_local) == ("unix:///var/run/docker.sock", True)
    assert (stack.edge.domain, stack.storage_domain) == ("reflector.localhost", "s3.reflector.localhost")
    assert stack.dns_names == ("reflector.localhost", "s3.reflector.localhost", "localhost")
    assert stack.addresses == ("127.0.0.1", "::1")
    assert (stack.edge.https_port, stack.edge.http_port) == (443, 80)
    assert (stack.url, stack.admin_email) == ("https://reflector.localhost", "admin@reflector.localhost")
    assert (stack.sign_in.mode, stack.speech.mode) == ("password", "in-process")
    assert (stack.language_model.mode, stack.storage.mode, stack.images.mode) == ("ollama", "garage", "upstream")


@pytest.mark.parametrize(
    ("tree", "more", "networks"),
    [
        ({}, {"ollama", "garage"}, {"storage"}),
        (SPEECH, {"ollama", "garage", "transcription"}, {"storage"}),
        (LEAN, set(), set()),
        ({**LEAN, **SPEECH}, {"transcription"}, set()),
        (MODEL, {"garage"}, {"storage"}),
    ],
)
def test_a_stack_has_the_services_and_networks_of_its_modes(
    tree: dict[str, Any], more: set[str], networks: set[str]
) -> None:
    stack = parsed(tree)
    assert stack.services == ALWAYS | more
    assert stack.networks == {"application", "database", "cache"} | networks


def test_what_is_off_asks_for_no_image() -> None:
    assert parsed(LEAN).sources.images.keys().isdisjoint({"ollama", "garage", "transcription"})


def test_what_is_off_leaves_no_name_and_no_login() -> None:
    stack = parsed({**LEAN, "sign_in": {"mode": "public", "everybody_reads_everything": True}})
    assert (stack.storage_domain, stack.admin_email) == (None, None)
    assert stack.dns_names == ("reflector.localhost", "localhost")


def test_every_service_has_a_name_of_its_own() -> None:
    named = Counter(service for model in classes(Settings) for service in model.SERVICES)
    assert set(named.values()) == {1}
    assert set(ALL_SERVICES) == set(named) == ALWAYS | {
        "ollama", "garage", "transcription", "authentik", "authentik-worker",
    }  # fmt: skip


def test_every_part_an_image_plays_can_be_given_one() -> None:
    assert {part for model in classes(Settings) for part in model.IMAGES} == set(References.model_fields)


def test_upstream_images_are_pinned_and_overridden_one_by_one() -> None:
    sources = parsed({"images": {"mode": "upstream", "references": {"redis": "mirror.test/redis:7.2.1"}}}).sources
    assert sources.images["redis"].reference == "mirror.test/redis:7.2.1"
    assert sources.images["postgres"].reference.startswith("postgres:17")
    assert sources.commands == {}
    assert {source.context for source in sources.images.values()} == {None}


def test_built_images_come_after_their_base_and_are_tagged_by_content() -> None:
    sources = parsed({"images": {"mode": "built"}, "speech": {"mode": "container"}}).sources
    assert next(iter(sources.images)) == "base"
    assert sources.images["probe"].reference == "reflector-probe:abababababab"
    assert sources.images["probe"].context == ".toolchain/images/of-probe", "state must not hold a machine's path"
    assert sources.parts["frontend"] == sources.parts["transcription"] == "probe"
    assert sources.commands["frontend"] == ("probe", "run", "web")


def test_what_does_not_stand_in_a_file_is_put_beside_it() -> None:
    bare = Settings()
    sources = parsed({}).sources
    assert (bare.prefix, bare.encrypted) == ("-", frozenset())
    stack = finished(bare, project=PROJECT, stack=STACK, sources=sources, encrypted=frozenset({"x"}))
    assert (stack.prefix, stack.sources, stack.encrypted) == ("reflector-test", sources, frozenset({"x"}))


def test_settings_cannot_be_changed() -> None:
    stack = parsed({})
    for model in (stack, stack.edge, stack.language_model):
        with pytest.raises(ValueError, match="frozen"):
            setattr(model, next(iter(type(model).model_fields)), 1)


# --- Ways through it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spot", SPOTS, ids=str)
def test_every_group_is_found_where_it_is(spot: Spot) -> None:
    found = dict(active(parsed(spot.tree)))
    assert type(found[spot.path]) is spot.group
    assert spot.group in classes(Settings)


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_a_path_of_pydantics_leads_to_the_setting(leaf: Leaf) -> None:
    loc: list[str | int] = []
    for depth, step in enumerate(leaf.path, 1):
        loc.append(step)
        spot = next((spot for spot in SPOTS if spot.path == leaf.path[:depth]), None)
        if spot is not None and len(spot.choice) > 1:
            loc.append(str(mode_of(leaf.spot.group if spot.path == leaf.spot.path else spot.group)))
    found = place(Settings, leaf.spot.tree, tuple(loc))
    assert (found.path, found.annotation, found.group) == (leaf.path, leaf.field.annotation, leaf.spot.group)
    assert leaf.spot.group in found.choice


def test_a_bad_name_in_a_mapping_is_told_from_what_it_names() -> None:
    found = place(Settings, {"hosts": {"A b": {}}}, ("hosts", "A b", "[key]"))
    assert found.path == ("hosts", "A b")
    assert place(Settings, {"hosts": {"A b": {"c": 1}}}, ("hosts", "A b", "c")).path == ("hosts", "A b", "c")


def test_what_a_group_is_meant_to_be_is_told_by_its_mode() -> None:
    annotation = Settings.model_fields["storage"].annotation
    assert {mode_of(member) for member in members(annotation)} == {"garage", "s3", "external"}
    found = member_for(annotation, {"mode": "s3"})
    assert found is not None
    assert mode_of(found) == "s3"
    for content in ({}, {"mode": None}, {"mode": "x"}, {"mode": ["s3"]}, "s3", None):
        assert member_for(annotation, content) is None
    assert kind_of(annotation) is None


# --- What the toolchain asks ------------------------------------------------------------------------------------------

DEFAULTS: Final = {
    "docker_host": "unix:///var/run/docker.sock", "minimum_free_disk_gib": 5, "images": False, "aws": False,
}  # fmt: skip
NEEDS: Final[dict[str, tuple[str | bytes | None, dict[str, object]]]] = {
    # what is special → the stack file, and what differs from the defaults
    "missing": (None, {}),
    "empty": ("", {}),
    "unreadable": ("config: [", {}),
    "no text": (b"\xff", {}),
    "good": (
        "config:\n  reflector:hosts: {main: {address: 'ssh://a@b', minimum_free_disk_gib: 7}}\n"
        "  reflector:storage: {mode: s3, region: r, bucket: own}\n",
        {"docker_host": "ssh://a@b", "minimum_free_disk_gib": 7, "aws": True},
    ),
    "built": ("config:\n  reflector:images: {mode: built}\n", {"images": True}),
    "quoted": ('config: {"reflector:images": {"mode": "built"}}\n', {"images": True}),
    "partly wrong": (
        "config:\n  reflector:hosts: {main: {adress: x, minimum_free_disk_gib: 7}}\n  reflector:qqqq: 1\n"
        "  reflector:images: {mode: built, qqqq: 1}\n  reflector:edge: 3\n",
        {"minimum_free_disk_gib": 7, "images": True},
    ),
    "encrypted": (
        "config:\n  reflector:hosts: {main: {address: {secure: v1:x}, minimum_free_disk_gib: 7}}\n"
        "  reflector:storage: {mode: s3, region: {secure: v1:x}, bucket: own}\n",
        {"minimum_free_disk_gib": 7, "aws": True},
    ),
    "earlier": ("config:\n  reflector:storage: s3\n  reflector:docker_host: ssh://a@b\n", {}),
}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A copy of what settings are read with: in the checkout there are stack files of somebody's own."""
    for name in ("settings", "rendering", "toolchain/versions.toml", "images/parts.toml"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("content", "expected"), NEEDS.values(), ids=NEEDS)
def test_what_a_stack_needs_is_told_whatever_its_file_says(
    elsewhere: Path, content: str | bytes | None, expected: dict[str, object]
) -> None:
    if content is not None:
        (elsewhere / "Pulumi.test.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    done = run(elsewhere, "-m", "settings", "needs", "--stack", "test")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {**DEFAULTS, **expected}


@pytest.mark.parametrize("module", ["settings", "settings.__main__", "settings.schema"])
def test_settings_need_no_engine(elsewhere: Path, module: str) -> None:
    """The toolchain asks before there is one, and every command would wait for its import."""
    done = run(
        elsewhere,
        "-c",
        f"import sys, {module}; settings.parse({{}}, 'test', 'reflector')\n"
        # The last two are for few stacks, and a run without changes is not to wait for them.
        "print(sorted(n for n in sys.modules if n.split('.')[0].split('_')[0] in ('pulumi', 'cryptography', 'idna')))",
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
