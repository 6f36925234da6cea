"""What is encrypted stays so: secrets, and ordinary settings somebody encrypted all the same."""

import dataclasses
import json
import shlex
from collections.abc import Callable
from typing import Any, Final

import pulumi
import pulumi_docker as docker
import pytest

from components.base.secrecy import keep_secret, mentions, revealed, sealed
from settings import (
    PROJECT,
    EngineConfig,
    Problem,
    Secret,
    Settings,
    SettingsError,
    StackFile,
    is_whole,
    parse,
    resolved,
)
from settings.base import Sealed, Unknown, dotted
from testing.engine import Engine, engines, is_secret, value_of
from tests.unit.settings.examples import (
    CLEAR,
    ORDINARY,
    SEALED,
    SECRETS,
    STACK,
    UNIONS,
    Leaf,
    Spot,
    example,
    only,
    parsed,
    put,
    refused,
)
from tests.unit.settings.test_values import BAD, row_name
from tests.unit.settings.wrong import GROUP_NAME, USER_NAME

# --- Secrets ----------------------------------------------------------------------------------------------------------


def found_in(stack: Settings, leaf: Leaf) -> Any:
    found: Any = stack
    for step in leaf.path:
        found = found[step] if isinstance(found, dict) else getattr(found, str(step))
    return found


def as_the_engine_has_it(leaf: Leaf, value: str) -> EngineConfig:
    tree = leaf.with_value(value)
    concern = str(leaf.path[0])
    return EngineConfig(
        values={name: json.dumps(content) for name, content in tree.items()}, secret=frozenset({concern})
    )


@pytest.mark.parametrize("value", [CLEAR, "", 7, True, ["a"], [CLEAR], {"a": CLEAR}], ids=str)
@pytest.mark.parametrize("leaf", SECRETS, ids=str)
def test_a_secret_in_clear_text_is_refused_and_not_repeated(leaf: Leaf, value: object) -> None:
    setting = dotted(leaf.path)
    assert str(only(leaf.with_value(value))) == (
        f"{setting}: a value in clear text; allowed: an encrypted value. Set it: pulumi config set --secret --path "
        f"{shlex.quote(setting)}"
    )


@pytest.mark.parametrize("leaf", SECRETS, ids=str)
def test_an_encrypted_secret_is_taken_in_the_stack_files_form(leaf: Leaf) -> None:
    tree = leaf.with_value(SEALED)
    assert found_in(parsed(tree), leaf) == Secret(None)
    assert is_whole(tree), "nothing has to be decrypted to check the rest"


@pytest.mark.parametrize("leaf", SECRETS, ids=str)
def test_an_encrypted_secret_is_taken_in_the_engines_form_and_never_shows(leaf: Leaf) -> None:
    file = StackFile(settings=leaf.with_value(SEALED))
    stack = parsed(resolved(file, as_the_engine_has_it(leaf, CLEAR)))
    assert found_in(stack, leaf).value == CLEAR
    assert CLEAR not in repr(stack)
    assert CLEAR not in f"{stack} {stack.model_dump()}"
    assert stack.encrypted == frozenset(), "a type of its own keeps it"


@pytest.mark.parametrize("leaf", SECRETS, ids=str)
def test_a_secret_that_only_the_engine_knows_is_taken(leaf: Leaf) -> None:
    """It comes of an imported environment: which part of the key is the secret, the engine does not say."""
    stack = parsed(resolved(StackFile(settings={}), as_the_engine_has_it(leaf, CLEAR)))
    assert found_in(stack, leaf).value == CLEAR


@pytest.mark.parametrize("value", ["", " ", "\n"])
@pytest.mark.parametrize("leaf", SECRETS, ids=str)
def test_an_encrypted_secret_without_a_text_is_refused(leaf: Leaf, value: str) -> None:
    (problem,) = refused(leaf.with_value(Sealed(value)))
    assert (problem.setting, problem.given) == (dotted(leaf.path), "an encrypted value without a text in it")
    assert problem.remedy == f"Set it: pulumi config set --secret --path {shlex.quote(dotted(leaf.path))}"


def test_neither_form_of_a_secret_shows_what_it_is() -> None:
    assert CLEAR not in f"{Secret(CLEAR)!r} {Secret(CLEAR)} {Sealed(CLEAR)!r} {Sealed(CLEAR)}"
    assert CLEAR not in repr(EngineConfig(values={"speech": CLEAR}, secret=frozenset()))


def test_a_secret_travels_as_one(engine: Engine) -> None:
    def found() -> pulumi.Output[str] | None:
        return revealed(Secret(CLEAR))

    output = engine.run(found)
    assert output is not None
    assert (value_of(output), is_secret(output)) == (CLEAR, True)
    assert revealed(None) is None


# --- Ordinary settings, encrypted -------------------------------------------------------------------------------------

ALONE: Final = [leaf for leaf in ORDINARY if leaf.name != "certificates"]
"""Settings whose example is right by itself."""
OF_TEXTS: Final = [leaf for leaf in ALONE if leaf.kind is not tuple]


def encrypted(leaf: Leaf, value: str | None = None) -> Any:
    """Return the setting's value as it is encrypted: of a list an item."""
    return [Sealed(value)] if leaf.kind is tuple else Sealed(value)


def example_text(leaf: Leaf) -> str:
    value = example(leaf.field)
    # The engine decrypts a number or a truth to a text.
    return str(value).lower() if isinstance(value, bool) else str(value[0] if isinstance(value, list) else value)


@pytest.mark.parametrize("leaf", ALONE, ids=str)
def test_any_setting_may_be_encrypted_before_anybody_has_decrypted_it(leaf: Leaf) -> None:
    tree = leaf.with_value(encrypted(leaf))
    assert not is_whole(tree)
    stack = parsed(tree)
    value = found_in(stack, leaf)
    assert value == (Unknown() if leaf.field.is_required() else leaf.field.default)
    # What it is in stays what it is: `python -m settings needs` looks at that.
    assert type(stack.storage) is type(parsed(leaf.spot.tree).storage)
    assert stack.services == parsed(leaf.spot.tree).services
    # The rest is checked.
    concern = "health" if leaf.path[0] != "health" else "workflow"
    assert only({**tree, concern: {"qqqq": 1}}).setting == f"{concern}.qqqq"
    assert only(put(tree, (*leaf.spot.path, "qqqq"), 1)).setting == dotted((*leaf.spot.path, "qqqq"))


@pytest.mark.parametrize("leaf", ALONE, ids=str)
def test_an_encrypted_setting_is_what_it_would_be_in_the_clear(leaf: Leaf) -> None:
    stack = parsed(leaf.with_value(encrypted(leaf, example_text(leaf))))
    assert stack.model_dump() == parsed(leaf.with_value(example(leaf.field))).model_dump()
    assert example_text(leaf) in stack.encrypted or leaf.kind is bool
    value = found_in(stack, leaf)
    normal = value[0] if isinstance(value, tuple) else value
    assert stack.encrypted <= {example_text(leaf), example_text(leaf).removeprefix("DNS:"), str(normal)}


@pytest.mark.parametrize("text", ["two words", "-x", "", "ſ", "[", "1.5", "true", "9" * 400, "٣"])
@pytest.mark.parametrize("leaf", ORDINARY, ids=str)
def test_what_was_encrypted_is_never_shown(leaf: Leaf, text: str) -> None:
    marked = f"{text}{CLEAR}" if text and not text.isnumeric() else text
    try:
        parsed(leaf.with_value(encrypted(leaf, marked)))
    except SettingsError as error:
        (problem,) = error.problems
        assert (problem.given, CLEAR in str(problem)) == ("an encrypted value", False)
        assert problem.setting.startswith(dotted(leaf.path))
        assert text not in problem.given or len(text) < 2 or text == "[" or text not in str(problem)


def sealed_all(content: Any) -> Any:
    """Return a tree with every ordinary setting encrypted, as the engine has it once it has decrypted them."""
    if isinstance(content, dict):
        return {name: item if name == "mode" or item == SEALED else sealed_all(item) for name, item in content.items()}
    if isinstance(content, list):
        return [sealed_all(item) for item in content] if content else content
    if content is None or isinstance(content, float):
        return content
    return Sealed(str(content).lower() if isinstance(content, bool) else str(content))


OF_VALUES: Final = [
    row
    for row in BAD
    # Names and modes are not encrypted, nor is what is no single value.
    if (row[2].startswith(("'", '"')) or row[2].partition(",")[0].lstrip("-").isdigit())
    and not row[1].endswith(".mode")
    and (row[1].count(".") == 2 or not row[1].startswith("hosts"))
    and not row[1].startswith("images.registries")
    and row[3] not in (USER_NAME, GROUP_NAME)
]


@pytest.mark.parametrize(("tree", "path", "given", "allowed"), OF_VALUES, ids=map(row_name, OF_VALUES))
def test_no_mistake_shows_what_was_encrypted(tree: dict[str, Any], path: str, given: str, allowed: str) -> None:
    """Every row of the table again, the rules between settings among them."""
    (problem,) = refused(sealed_all(tree))
    assert (problem.setting, problem.given) == (path, "an encrypted value")
    assert "--secret" not in problem.remedy or "<" not in problem.remedy, "on the command line others could read it"
    # A number that was meant as a text is one.
    assert problem.allowed == allowed or allowed == "a text"


@pytest.mark.parametrize("spot", UNIONS, ids=str)
def test_a_mode_may_be_encrypted_as_well(spot: Spot) -> None:
    path = (*spot.path, "mode")
    mode = spot.group.model_fields["mode"].default
    # Before it is decrypted nothing in the group can be told from a mistake.
    tree = put(spot.tree, path, SEALED)
    assert not is_whole(tree)
    assert parsed(put(tree, (*spot.path, "qqqq"), 1)) is not None
    stack = parsed(put(spot.tree, path, Sealed(mode)))
    assert stack.model_dump() == parsed(spot.tree).model_dump()
    # One of a few words everybody knows: as a secret it would make half of the stack one.
    assert stack.encrypted == frozenset()
    (problem,) = refused(put(spot.tree, path, Sealed(CLEAR)))
    assert (problem.setting, problem.given) == (dotted(path), "an encrypted value")


def test_what_was_encrypted_is_known_in_its_normal_form_too() -> None:
    """What becomes of it is searched for by its value."""
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"edge": {"domain": Sealed("Reflector.Example")}}, {"Reflector.Example", "reflector.example"}),
        (
            {"edge": {"extra_names": ["DNS:a.test", Sealed("DNS:B.test"), Sealed("IP:0::2")]}},
            {"DNS:B.test", "B.test", "DNS:b.test", "b.test", "IP:0::2", "0::2", "IP:::2", "::2"},
        ),
        (
            {"speech": {"mode": "hosted", "url": Sealed("https://a.test/")}},
            {"https://a.test/", "https://a.test"},
        ),
        ({"data": {"redis": {"memory_mib": Sealed("0512")}}}, {"0512", "512"}),
        ({"hosts": {"main": {"address": Sealed("ssh://a@b")}}}, {"ssh://a@b"}),
    ]
    for tree, texts in cases:
        assert parsed(tree).encrypted >= texts


def test_what_is_told_of_the_host_shows_nothing_that_was_encrypted() -> None:
    problem = Problem(
        setting="hosts.main.address",
        given="ssh://me@host.test: no route to host.test",
        allowed="a Docker daemon that answers",
        remedy="Start it on host.test",
    )
    hidden = problem.without({"host.test", "ssh://me@host.test"})
    assert str(hidden) == (
        "hosts.main.address: [secret]: no route to [secret]; allowed: a Docker daemon that answers. "
        "Start it on [secret]"
    )
    assert problem.without(()) == problem


def test_where_nothing_is_encrypted_nothing_counts_as_such() -> None:
    assert parsed({}).encrypted == frozenset()
    assert parse({"edge": {"domain": "a.test"}}, STACK, PROJECT).encrypted == frozenset()


@pytest.mark.parametrize("value", [SEALED, Sealed("x"), Sealed('{"memory_mib": 512}')], ids=["file", "text", "object"])
@pytest.mark.parametrize(
    "path",
    [("data",), ("data", "redis"), ("speech",), ("hosts",), ("hosts", "main"), ("edge", "extra_names")],
    ids=dotted,
)
def test_what_is_no_single_value_cannot_be_encrypted_as_one(path: tuple[str, ...], value: Sealed) -> None:
    """The engine decrypts it to a text, and refuses a text where others write an object."""
    tree = put({}, path, value)
    assert is_whole(tree)
    (problem,) = refused(tree)
    assert (problem.setting, problem.given) == (dotted(path), "an encrypted value")


# --- To the end -------------------------------------------------------------------------------------------------------

VALUE: Final = "HandedValue"
LIMIT: Final = 17179869184
"""As many bytes as Ollama is given: long enough for a float to be written with an exponent."""


def everything() -> None:
    docker.Container(
        "container",
        image="sha256:1",
        name=f"name-{VALUE}",
        memory=LIMIT,
        envs=pulumi.Output.from_input([f"A={VALUE}", "B=c"]),
        labels=[docker.ContainerLabelArgs(label="plain", value="x"), docker.ContainerLabelArgs(label="l", value=VALUE)],
        uploads=[docker.ContainerUploadArgs(file="/x", content_base64=pulumi.Output.from_input(f"a {VALUE} b"))],
        capabilities=docker.ContainerCapabilitiesArgs(drops=[VALUE]),
        healthcheck=docker.ContainerHealthcheckArgs(tests=["CMD", "true"]),
        networks_advanced=[docker.ContainerNetworksAdvancedArgs(name="n", aliases=[VALUE])],
        log_opts={VALUE: "as a key"},
        network_mode="none",
        must_run=True,
    )
    for name, value in outputs().items():
        pulumi.export(name, sealed(value, ENCRYPTED))


ENCRYPTED: Final = frozenset({VALUE, str(LIMIT)})


def outputs() -> dict[str, Any]:
    return {
        "url": f"https://{VALUE}/",
        "nested": {"list": [{"a": VALUE}]},
        "later": pulumi.Output.from_input({"a": [VALUE]}),
        "number": LIMIT,
        "as_a_float": float(LIMIT),
        "plain": "x",
        "flag": True,
        "one": 1,
        "nothing": None,
    }


SECRET: Final = {"name", "memory", "envs", "labels", "uploads", "capabilities", "networksAdvanced", "logOpts"}


def inputs(engine: Engine, build: Callable[[], None]) -> tuple[dict[str, Any], set[str]]:
    engine.run(build)
    container = engine.named("container")
    return {key: container.plain(key) for key in container.inputs}, {
        key for key in container.inputs if container.is_secret(key)
    }


def test_every_input_that_holds_what_was_encrypted_becomes_secret(engine: Engine) -> None:
    def build() -> None:
        keep_secret(ENCRYPTED)
        everything()

    plain, secret = inputs(engine, build)
    assert secret == SECRET
    assert VALUE not in engine.named("container").open_text()
    assert {key for key in plain if key not in secret} >= {"image", "healthcheck", "networkMode", "mustRun"}


def test_becoming_secret_changes_no_input(engine: Engine) -> None:
    def build() -> None:
        keep_secret(ENCRYPTED)
        everything()

    kept, _ = inputs(engine, build)
    for other in engines():
        plain, secret = inputs(other, everything)
        assert (kept, secret) == (plain, set())


def test_every_output_that_holds_what_was_encrypted_becomes_secret(engine: Engine) -> None:
    engine.run(everything)
    assert engine.secret_exports == {"url", "nested", "later", "number", "as_a_float"}
    assert engine.exports["nested"] == {"list": [{"a": VALUE}]}


def test_where_nothing_is_encrypted_nothing_is_looked_at(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("registered")

    monkeypatch.setattr(pulumi.runtime, "register_stack_transformation", never)
    keep_secret(frozenset())
    value = object()
    assert sealed(value, frozenset()) is value
    assert sealed(None, ENCRYPTED) is None


@dataclasses.dataclass
class Handle:
    inner: Any


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (VALUE, True), (f"-{VALUE}-", True), ("x", False), ("", False), (None, False), (True, False), (LIMIT, True),
        (float(LIMIT), True), (LIMIT + 1, False), (0.5, False), (float("inf"), False), (float("nan"), False),
        ([["x", VALUE]], True), ((VALUE,), True), ({"a": {"b": VALUE}}, True), ({VALUE: 1}, True), ({"a": 1}, False),
        (docker.ContainerUploadArgs(file="/x", content=VALUE), True),
        ([docker.ContainerUploadArgs(file="/x", content="x")], False),
        (pulumi.StringAsset(VALUE), True), (pulumi.FileAsset("x"), False), (Handle(Handle([VALUE])), True),
        (object(), False),
    ],
    ids=lambda one: type(one).__name__ if " object at " in str(one) else str(one),
)  # fmt: skip
def test_a_value_is_found_at_any_depth(value: object, expected: bool) -> None:
    assert mentions(value, ENCRYPTED) is expected
