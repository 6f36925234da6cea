"""The one reader of stack files, and what it makes of the engine's word beside the file's."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from settings import PROJECT, EngineConfig, SettingsError, StackFile, is_whole, path_of, read, resolved
from settings.base import Ambiguous, Sealed
from settings.schema import config_block
from settings.sign_in import Authentik
from tests.unit.settings.examples import CLEAR, SEALED, SPOTS, Spot, handed_over, parsed, stack_file, written

ROOT: Final = Path(__file__).resolve().parents[3]
COMMITTED: Final = ["authentik", "dev", "selfhosted"]

# --- The file ---------------------------------------------------------------------------------------------------------

READ: Final[dict[str, tuple[str, dict[str, object]]]] = {
    # what is special → the text of the file, and its settings
    "plain": ("config:\n  reflector:edge:\n    domain: a.test\n    https_port: 8443\n",
              {"edge": {"domain": "a.test", "https_port": 8443}}),
    "quoted": ("'config':\n  \"reflector:edge\":\n    'domain': \"a.test\"\n    https_port: '8443'\n",
               {"edge": {"domain": "a.test", "https_port": "8443"}}),
    "flow": ('config: {"reflector:edge": {domain: a.test, extra_names: ["DNS:b.test"]}, reflector:speech: {}}\n',
             {"edge": {"domain": "a.test", "extra_names": ["DNS:b.test"]}, "speech": {}}),
    "json": (json.dumps({"config": {"reflector:edge": {"https_port": 1}}}), {"edge": {"https_port": 1}}),
    "comments": ("# a\nconfig: # b\n  # c\n  reflector:edge: # d\n    domain: a.test # e\n",
                 {"edge": {"domain": "a.test"}}),
    "alias": ("config:\n  reflector:data:\n    postgres: &small {memory_mib: 512}\n    redis: *small\n",
              {"data": {"postgres": {"memory_mib": 512}, "redis": {"memory_mib": 512}}}),
    "alias of a text": ("config:\n  reflector:edge: {domain: &d a.test}\n  reflector:storage: {domain: *d}\n",
                        {"edge": {"domain": "a.test"}, "storage": {"domain": "a.test"}}),
    "merge": ("config:\n  reflector:data:\n    postgres: &x {memory_mib: 512}\n    redis: {<<: *x, memory_mib: 64}\n",
              {"data": {"postgres": {"memory_mib": 512}, "redis": {"memory_mib": 64}}}),
    "merges": ("config:\n  reflector:data:\n    a: &a {x: 1}\n    b: &b {x: 2, y: 3}\n    c: {<<: [*a, *b]}\n",
               {"data": {"a": {"x": 1}, "b": {"x": 2, "y": 3}, "c": {"x": 1, "y": 3}}}),
    "folded": ("config:\n  reflector:edge:\n    domain: >-\n      a.test\n", {"edge": {"domain": "a.test"}}),
    "encrypted": ("config:\n  reflector:speech:\n    hf_token:\n      secure: v1:x\n",
                  {"speech": {"hf_token": SEALED}}),
    "encrypted, flow": ('config: {"reflector:speech": {hf_token: {"secure": "v1:x"}}}\n',
                        {"speech": {"hf_token": SEALED}}),
    "encrypted in a list": ("config:\n  reflector:edge:\n    extra_names: [DNS:a.test, {secure: v1:x}]\n",
                            {"edge": {"extra_names": ["DNS:a.test", SEALED]}}),
    "encrypted and aliased": ("config:\n  reflector:speech: {a: &k {secure: v1:x}, b: *k}\n",
                              {"speech": {"a": SEALED, "b": SEALED}}),
    "called secure": ("config:\n  reflector:speech: {a: {secure: v1:x, more: 1}, b: {secure: 1}}\n",
                      {"speech": {"a": {"secure": "v1:x", "more": 1}, "b": {"secure": 1}}}),
    "without a namespace": ("config:\n  edge: {domain: a.test}\n", {"edge": {"domain": "a.test"}}),
    "others' keys": ("config:\n  1: x\n  docker:host: y\n  pulumi:tags: [z]\n  reflector:edge: {}\n",
                     {"1": "x", "edge": {}}),
    "numbers": ("config:\n  reflector:x: {a: 0, b: -7, c: 1.5, d: -0.25, e: true, f: False}\n",
                {"x": {"a": 0, "b": -7, "c": 1.5, "d": -0.25, "e": True, "f": False}}),
    "a trap": ("config:\n  reflector:x: {a: no, b: 'no'}\n", {"x": {"a": Ambiguous("no"), "b": "no"}}),
    "nothing": ("config:\n  reflector:edge:\n", {"edge": None}),
    "what the engine adds": ("config:\n  reflector:edge: {}\nencryptionsalt: v1:x\nsecretsprovider: passphrase\n",
                             {"edge": {}}),
    "Windows' line ends": ("config:\r\n  reflector:edge:\r\n    domain: a.test\r\n", {"edge": {"domain": "a.test"}}),
    "a byte order mark": ("\ufeffconfig:\n  reflector:edge: {}\n", {"edge": {}}),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), READ.values(), ids=READ)
def test_however_it_is_in_filea_stack_file_says_the_same(text: str, expected: dict[str, object]) -> None:
    assert stack_file(text) == StackFile(settings=expected)


@pytest.mark.parametrize("text", ["", "# later\n", "config:\n", "config: {}\n", "encryptionsalt: v1:x\n", "---\n"])
def test_a_stack_file_without_settings_means_the_defaults(text: str) -> None:
    assert stack_file(text).settings == {}
    assert parsed(stack_file(text).settings) == parsed({})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("environment: [a]\n", True), ("environment:\n  - a\n", True), ("environment:\n  imports: [a]\n", True),
        ("environment: []\n", False), ("environment:\n", False), ("config: {}\n", False),
        ("config:\n  reflector:environment: [a]\n", False),
    ],
)  # fmt: skip
def test_an_import_of_environments_is_seen(text: str, expected: bool) -> None:
    assert stack_file(text).imports is expected


NO_STACK_FILES: Final = [
    (b"config:\n  reflector:domain: [a.test\n", "line 3, column 1"),
    (b"config:\n\treflector:domain: a.test\n", "line 2, column 1"),
    (b"config:\n  reflector:domain: a\n   reflector:hf_token: HandedSecret\n", "line 3, column"),
    (b"config: {}\n---\nconfig: {}\n", "line 2, column 1"),
    (b"config: \xff\n", "0xff"),
    (b"- reflector:domain: a.test\n", "the file is no mapping"),
    (b"reflector", "the file is no mapping"),
    (b"config:\n  - reflector:domain: a.test\n", "config is no mapping"),
    (b"config: false\n", "config is no mapping"),
    (b"config: HandedSecret\n", "config is no mapping"),
    (b"config:\n  reflector:edge: {}\n  reflector:edge: {}\n", "reflector:edge stands there twice"),
    (b"config:\n  reflector:edge: {}\n  edge: {}\n", "edge stands there twice, with and without reflector:"),
    (b"config: {}\nconfig: {}\n", "config stands there twice"),
    (b"config:\n  reflector:speech: {hf_token: !!int HandedSecret}\n", "is not understood here"),
    (b"config:\n  reflector:speech: {hf_token: !!float 'HandedSecret'}\n", "is not understood here"),
]


@pytest.mark.parametrize(("content", "given"), NO_STACK_FILES)
def test_what_is_no_stack_file_is_one_problem_on_one_line(tmp_path: Path, content: bytes, given: str) -> None:
    file = tmp_path / "Pulumi.test.yaml"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as refusal:
        read(file)
    (problem,) = refusal.value.problems
    assert (problem.setting, problem.allowed) == ("Pulumi.test.yaml", "YAML with the settings in a mapping `config`")
    assert given in problem.given
    assert len(str(refusal.value).splitlines()) == 2
    assert CLEAR not in str(problem)


def test_a_date_that_is_none_is_told_where_it_is_set() -> None:
    """Other readers fail over the whole file."""
    assert stack_file("config:\n  reflector:edge: {domain: 2026-99-99}\n").settings == {
        "edge": {"domain": Ambiguous("2026-99-99")}
    }


def test_a_stack_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Is a directory"):
        read(tmp_path)


def test_that_there_is_no_stack_file_is_for_the_reader_to_judge(tmp_path: Path) -> None:
    """To the program it means the defaults, to `make up` a name nobody knows."""
    with pytest.raises(FileNotFoundError):
        read(path_of("nowhere", tmp_path))


# --- The engine's word beside it --------------------------------------------------------------------------------------


def engine_config(values: dict[str, object], *secret: str) -> EngineConfig:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return EngineConfig(values=texts, secret=frozenset(secret))


def test_only_what_is_the_projects_own_is_taken_of_the_engine() -> None:
    found = EngineConfig.of({f"{PROJECT}:edge": "{}", "docker:host": "x"}, frozenset({f"{PROJECT}:edge", "aws:token"}))
    assert (found.values, found.secret) == ({"edge": "{}"}, frozenset({"edge"}))


@pytest.mark.parametrize("spot", SPOTS, ids=str)
def test_what_both_say_is_what_the_file_says(spot: Spot) -> None:
    file = stack_file(written(spot.tree))
    opened = {name: opened_by_the_engine(content) for name, content in spot.tree.items()}
    assert resolved(file, engine_config(opened, *spot.tree)) == with_values(file.settings)


def opened_by_the_engine(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: opened_by_the_engine(item) for name, item in content.items()}
    return CLEAR if content == SEALED else content


def with_values(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: with_values(item) for name, item in content.items()}
    return Sealed(CLEAR) if content == SEALED else content


@pytest.mark.parametrize(
    ("in_file", "handed", "secret", "expected"),
    [
        # The same, in the engine's words.
        ({"a": 1, "b": "x", "c": [1, "y"], "d": None, "e": True},
         {"a": 1, "b": "x", "c": [1, "y"], "d": None, "e": True},
         False, {"a": 1, "b": "x", "c": [1, "y"], "d": None, "e": True}),
        # What was encrypted, opened.
        ({"a": SEALED, "b": "x"}, {"a": "open", "b": "x"}, True, {"a": Sealed("open"), "b": "x"}),
        ({"a": ["x", SEALED]}, {"a": ["x", "open"]}, True, {"a": ["x", Sealed("open")]}),
        ({"a": {"b": SEALED}, "c": 1}, {"a": {"b": "1"}, "c": 1}, True, {"a": {"b": Sealed("1")}, "c": 1}),
        # A word of YAML's that is unclear stays so, whatever the engine takes it for.
        ({"a": Ambiguous("010")}, {"a": 8}, False, {"a": Ambiguous("010")}),
        ({"a": Ambiguous("no")}, {"a": "no"}, False, {"a": Ambiguous("no")}),
        # Something else: an environment says so. Where one part is secret, every one may be.
        ({"a": 1}, {"a": 2}, False, {"a": 2}),
        ({"a": 1}, {"a": "1"}, False, {"a": 1}),
        ({"a": 1}, {"a": 2, "b": ["x", {"c": None}]}, True,
         {"a": Sealed(2), "b": [Sealed("x"), {"c": None}]}),
        ({"a": 1}, {"a": 1, "b": 2}, False, {"a": 1, "b": 2}),
        ({"a": SEALED}, {"a": "open", "b": 2}, True, {"a": Sealed("open"), "b": Sealed(2)}),
        ({"a": ["x"]}, {"a": ["x", "y"]}, False, {"a": ["x", "y"]}),
        ({"a": [SEALED]}, {"a": ["x", "y"]}, True, {"a": [Sealed("x"), Sealed("y")]}),
        ({"a": {"b": 1}}, {"a": [1]}, False, {"a": [1]}),
        ({"a": 1}, {"a": {"b": 1}}, False, {"a": {"b": 1}}),
        # A whole key that is encrypted is a text.
        (SEALED, "open", True, Sealed("open")),
        # At the top the engine has texts.
        (8443, "8443", False, 8443), (True, "true", False, True), (1.5, "1.5", False, 1.5), ("x", "x", False, "x"),
        (None, "", False, None), ("8443", "8443", False, "8443"), (8443, "8444", False, "8444"),
        ("[x", "[x", False, "[x"), ("{", "{", False, "{"), ("x", "y", True, Sealed("y")),
        (Ambiguous("010"), "8", False, Ambiguous("010")),
    ],
)  # fmt: skip
def test_the_file_is_held_against_the_engine(in_file: object, handed: Any, secret: bool, expected: object) -> None:
    engine = engine_config({"key": handed}, *(["key"] if secret else []))
    assert resolved(StackFile(settings={"key": in_file}), engine) == {"key": expected}


def test_what_only_the_engine_has_is_taken() -> None:
    file = StackFile(settings={"edge": {"domain": "a.test"}}, imports=True)
    speech = {"mode": "hosted", "url": "https://a", "api_key": CLEAR}
    engine = engine_config(
        {"edge": {"domain": "a.test"}, "health": {"interval_seconds": 1}, "speech": speech}, "speech"
    )
    found = resolved(file, engine)
    assert found["health"] == {"interval_seconds": 1}
    stack = parsed(found)
    assert stack.encrypted == {"https://a"}, "of a key with a secret in it, the rest may be one"
    assert CLEAR not in repr(found)
    assert is_whole(found)


def test_what_only_the_file_has_stays() -> None:
    assert resolved(StackFile(settings={"qqqq": None}), engine_config({})) == {"qqqq": None}


def test_a_default_of_the_project_is_not_taken_for_a_choice() -> None:
    defaults = {name: key["default"] for name, key in config_block().items()}
    assert parsed(resolved(StackFile(settings={}), engine_config(defaults))) == parsed({})


# --- The files of the project -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stack", COMMITTED)
def test_a_committed_stack_is_right_and_read_the_same_from_the_engine(stack: str) -> None:
    file = read(path_of(stack, ROOT))
    assert not file.imports
    assert is_whole(file.settings)
    assert parsed(file.settings).model_dump() == parsed(resolved(file, handed_over(file.settings))).model_dump()


def test_the_stack_for_one_machine_is_nobody_elses_business() -> None:
    stack = parsed(read(path_of("dev", ROOT)).settings)
    assert stack.url == "https://reflector.localhost:8443"
    assert stack.edge.bind_addresses == ("127.0.0.1",)
    assert (stack.speech.mode, stack.language_model.mode, stack.storage.mode) == ("container", "ollama", "garage")


def test_the_stack_for_production_takes_every_image_from_upstream() -> None:
    stack = parsed(read(path_of("selfhosted", ROOT)).settings)
    assert stack.url == "https://reflector.example.com"
    assert {source.context for source in stack.sources.images.values()} == {None}


def test_the_stack_with_authentik_is_the_one_for_one_machine_and_runs_beside_it() -> None:
    dev, authentik = (read(path_of(name, ROOT)).settings for name in ("dev", "authentik"))
    assert isinstance(parsed(authentik).sign_in, Authentik)
    assert {name for name in dev.keys() | authentik.keys() if dev.get(name) != authentik.get(name)} == {
        "edge",
        "sign_in",
    }
    first, second = parsed(dev), parsed(authentik)
    assert {first.edge.https_port, first.edge.http_port}.isdisjoint({second.edge.https_port, second.edge.http_port})
    # Cookies know no port.
    assert set(first.dns_names) & set(second.dns_names) == {"localhost"}
    assert second.url == "https://reflector-authentik.localhost:9443"
    assert second.edge.bind_addresses == ("127.0.0.1",)


@pytest.mark.parametrize("stack", COMMITTED)
def test_a_committed_stack_never_falls_back_to_a_default_docker_provider(stack: str) -> None:
    text = path_of(stack, ROOT).read_text(encoding="utf-8")
    assert "  pulumi:disable-default-providers:\n    - docker\n    - aws\n" in text
