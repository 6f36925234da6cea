"""How what is wrong is told: one flat list, a line each, wherever the settings are read from."""

import json
import re
import shlex
from pathlib import Path
from typing import Any, Final

import pulumi
import pytest

from settings import PROJECT, Secret, SettingsError, flat, images, parse, program, usable_part
from settings.base import Path as Way
from settings.base import dotted
from settings.tree import Settings
from settings.walk import members, mode_of
from tests.unit.settings.examples import (
    CLEAR,
    CONCERNS,
    LEAVES,
    SEALED,
    SPOTS,
    STACK,
    UNIONS,
    Leaf,
    Spot,
    example,
    minimal,
    only,
    parsed,
    put,
    refused,
    refused_everywhere,
    stack_file,
    written,
)

# --- Names ------------------------------------------------------------------------------------------------------------

MISSPELT: Final[list[tuple[dict[str, Any], str, str]]] = [
    # the settings, path of what is unknown, the hint
    ({"langauge_model": {}}, "langauge_model", "did you mean language_model?"),
    ({"Edge": {}}, "Edge", "did you mean edge?"),
    ({"zzz": "x"}, "zzz", "the settings of docs/configuration.md"),
    ({"zzz": SEALED}, "zzz", "the settings of docs/configuration.md"),
    ({"zzz": None}, "zzz", "the settings of docs/configuration.md"),
    # A name of an earlier release that is not quite one.
    ({"domian": "x"}, "domian", "did you mean edge.domain?"),
    ({"htps_port": "x"}, "htps_port", "did you mean edge.https_port?"),
    ({"edge": {"htps_port": 1}}, "edge.htps_port", "did you mean edge.https_port?"),
    ({"edge": {"dot.ted": 1}}, 'edge["dot.ted"]', "the settings of docs/configuration.md"),
    ({"edge": {"1": 1}}, "edge.1", "the settings of docs/configuration.md"),
    ({"edge": {"https-port": 1}}, "edge.https-port", "did you mean edge.https_port?"),
    ({"edge": {"domain ": 1}}, 'edge["domain "]', "did you mean edge.domain?"),
    ({"storage": {"mode": "garage", "capacity": 1}}, "storage.capacity", "did you mean storage.capacity_gib?"),
    ({"hosts": {"main": {"adress": "x"}}}, "hosts.main.adress", "did you mean hosts.main.address?"),
    ({"images": {"mode": "upstream", "references": {"nginx": "nginx:1.2.3"}}}, "images.references.nginx",
     "the settings of docs/configuration.md"),
    ({"data": {"nginx": {"memory_mib": 512}}}, "data.nginx", "the settings of docs/configuration.md"),
    ({"data": {"postgress": {}}}, "data.postgress", "did you mean data.postgres?"),
    ({"application": {"hatchet-worker-llm": {}}}, "application.hatchet-worker-llm",
     "did you mean application.hatchet_worker_llm?"),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "path", "hint"), MISSPELT, ids=[row[1] for row in MISSPELT])
def test_a_misspelt_setting_is_an_error_with_a_suggestion(tree: dict[str, Any], path: str, hint: str) -> None:
    place = path if re.fullmatch(r"[\w.-]+", path) else f"'{path}'"
    assert str(only(tree)) == f"{path}: unknown setting; allowed: {hint}. Remove it: pulumi config rm --path {place}"


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_any_misspelt_setting_is_an_error_with_a_suggestion(leaf: Leaf) -> None:
    path = (*leaf.spot.path, leaf.name + leaf.name[-1])
    content = put(leaf.spot.tree, path, CLEAR)
    problem = only(content)
    assert (problem.setting, problem.given) == (dotted(path), "unknown setting")
    assert problem.allowed == f"did you mean {dotted(leaf.path)}?"
    assert only(put(leaf.spot.tree, path, SEALED)) == problem, "an encrypted one is no better"


@pytest.mark.parametrize("spot", SPOTS, ids=str)
@pytest.mark.parametrize("value", [None, 1, CLEAR, [], {"a": 1}], ids=lambda value: type(value).__name__)
def test_a_name_like_no_other_is_an_error_in_every_group(spot: Spot, value: object) -> None:
    path = (*spot.path, "qqqq")
    assert only(put(spot.tree, path, value)).setting == dotted(path)


def test_a_name_nobody_can_type_is_on_one_line_too() -> None:
    for name in ("a\nb", "a\u2028b", "a\x85b", "a\tb"):
        (problem,) = refused({"edge": {name: 1}})
        assert problem.remedy == "Remove it from the stack file"


# --- Memory -----------------------------------------------------------------------------------------------------------


def test_a_database_that_cannot_carry_its_connections_is_refused() -> None:
    """At 1024 MiB it is killed in the middle of a dozen uploads."""
    problem = only({"data": {"postgres": {"memory_mib": 1024}}})
    assert str(problem) == (
        "data.postgres.memory_mib: 1024; allowed: 2039 or more, for 92 connections of 18 MiB each "
        "(hatchet 45, hatchet-worker-llm 20, server 10, worker 4, spare 13). "
        "Set it: pulumi config set --path data.postgres.memory_mib <number>"
    )
    assert parsed({"data": {"postgres": {"memory_mib": 2039}}}).data.postgres.memory_mib == 2039


def test_a_worker_that_cannot_carry_its_processes_is_refused() -> None:
    problem = only({"application": {"worker": {"memory_mib": 2000, "processes": 3}}})
    assert str(problem) == (
        "application.worker.memory_mib: 2000; allowed: 2100 or more, 700 for each of application.worker.processes. "
        "Set it, or have fewer: pulumi config set --path application.worker.memory_mib <number>"
    )


def test_more_processes_need_more_connections_too() -> None:
    problems = refused_everywhere({"application": {"worker": {"processes": 30, "memory_mib": 21000}}})
    assert [problem.setting for problem in problems] == ["data.postgres.memory_mib"]
    assert "worker 60" in problems[0].allowed


def test_where_the_probe_plays_the_parts_small_limits_do() -> None:
    small = {"data": {"postgres": {"memory_mib": 512}}, "application": {"worker": {"memory_mib": 512}}}
    assert len(refused(small)) == 2
    assert parsed({"images": {"mode": "built"}, **small}).data.postgres.memory_mib == 512
    assert [problem.setting for problem in refused({"images": {"mode": "qqqq"}, **small})] == ["images.mode"]


def test_the_connections_are_those_of_all_consumers() -> None:
    two, five = parsed({}).connections, parsed({"application": {"worker": {"processes": 5}}}).connections
    assert {name for name in two if two[name] != five[name]} == {"worker"}
    assert sum(two.values()) < 100, "the default of PostgreSQL itself"


# --- Modes ------------------------------------------------------------------------------------------------------------

FOREIGN: Final = [
    pytest.param(spot, member, name, id=f"{spot}-{name}")
    for spot in UNIONS
    for member in spot.choice
    for name in member.model_fields
    if name not in spot.group.model_fields
]


@pytest.mark.parametrize(("spot", "member", "name"), FOREIGN)
def test_two_modes_at_once_are_refused(spot: Spot, member: Any, name: str) -> None:
    path = (*spot.path, name)
    field = member.model_fields[name]
    groups = members(field.annotation)
    problem = only(put(spot.tree, path, minimal(groups[0]) if groups else example(field)))
    choice = dotted((*spot.path, "mode"))
    modes = sorted(str(mode_of(one)) for one in spot.choice if name in one.model_fields)
    assert str(problem) == (
        f"{dotted(path)}: set while {choice} is {mode_of(spot.group)!r}: two modes at once; allowed: only with "
        f"{choice}: {' or '.join(modes)}. Choose one: pulumi config set --path {choice} {modes[0]}, or "
        f"pulumi config rm --path {dotted(path)}"
    )


@pytest.mark.parametrize(("spot", "member", "name"), FOREIGN)
@pytest.mark.parametrize("value", [None, CLEAR, 7, ["a"], {"a": 1}], ids=lambda value: type(value).__name__)
def test_another_modes_setting_is_told_once_whatever_it_says(spot: Spot, member: Any, name: str, value: object) -> None:
    assert "two modes at once" in only(put(spot.tree, (*spot.path, name), value)).given


@pytest.mark.parametrize("more", [{}, {"gpus": "all"}, {"model": "m", "url": "https://a.test"}], ids=str)
def test_a_stack_without_a_language_model_is_refused_for_what_it_would_do(more: dict[str, Any]) -> None:
    assert str(only({"language_model": {"mode": "none", **more}})) == (
        "language_model.mode: 'none'; allowed: ollama or external, as without a model Reflector sends every transcript "
        "to api.openai.com and then fails it. Set it, and a model that calls tools, such as a small one: "
        "pulumi config set --path language_model.mode ollama && "
        "pulumi config set --path language_model.model qwen2.5:3b"
    )


@pytest.mark.parametrize("more", [{}, {"everybody_reads_everything": False}], ids=str)
def test_a_stack_is_public_only_for_somebody_who_knows_what_that_means(more: dict[str, Any]) -> None:
    assert str(only({"sign_in": {"mode": "public", **more}})) == (
        "sign_in.everybody_reads_everything: false; allowed: true, as everybody who reaches it is shown every "
        "transcript, private ones of before among them, and what is made here is deleted after 7 days "
        "(sign_in.anonymous_retention_days). "
        "If that is meant: pulumi config set --path sign_in.everybody_reads_everything true"
    )


def test_the_table_of_foreign_settings_has_the_old_ones_in_it() -> None:
    """Once written by hand; the models say the same."""
    names = {str(param.id) for param in FOREIGN}
    assert names >= {
        "speech-container-url", "speech-in-process-url", "speech-container-api_key", "speech-in-process-api_key",
        "speech-hosted-gpus", "speech-in-process-gpus", "speech-hosted-whisper_model", "speech-container-whisper_model",
        "language_model-ollama-url", "language_model-ollama-api_key",
        "language_model-external-gpus",
        "storage-s3-capacity_gib", "storage-external-capacity_gib", "storage-s3-domain", "storage-external-domain",
        "storage-garage-region", "storage-garage-endpoint", "storage-s3-endpoint", "storage-garage-access_key_id",
        "storage-s3-access_key_id", "storage-garage-secret_access_key", "storage-s3-secret_access_key",
        "images-built-references",
    }  # fmt: skip


def choices(spot: Spot) -> str:
    *some, last = (str(mode_of(member)) for member in spot.choice)
    return f"{', '.join(some)} or {last}"


@pytest.mark.parametrize("spot", UNIONS, ids=str)
def test_a_missing_mode_is_told_once(spot: Spot) -> None:
    path = dotted((*spot.path, "mode"))
    others = minimal(spot.group)
    del others["mode"]
    optional = {name: example(field) for name, field in spot.group.model_fields.items() if name == "memory_mib"}
    for content in ({}, others, {**others, **optional}, {"qqqq": 1}):
        problem = only(put(spot.tree, spot.path, content))
        assert (problem.setting, problem.given, problem.allowed) == (path, "nothing", choices(spot))
        # What was meant where nothing was said.
        default = Settings.model_fields[str(spot.path[0])].default
        meant = default.mode if len(spot.path) == 1 else mode_of(spot.choice[0])
        assert problem.remedy == f"Set it: pulumi config set --path {path} {meant}"


NO_MODES: Final[list[tuple[object, str]]] = [
    ("nonsense", "'nonsense'"), ("", "''"), ("None", "'None'"), (3, "3"), (True, "true"), (None, "nothing"),
    ([], "a list"), (["ollama"], "a list"), ({"a": 1}, "a mapping"), (1.5, "1.5"),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "given"), NO_MODES)
@pytest.mark.parametrize("spot", UNIONS, ids=str)
def test_an_unknown_mode_is_told_once(spot: Spot, mode: object, given: str) -> None:
    path = (*spot.path, "mode")
    problem = only(put(spot.tree, path, mode))
    assert (problem.setting, problem.given, problem.allowed) == (dotted(path), given, choices(spot))


MISSING: Final = [
    pytest.param(leaf, id=str(leaf)) for leaf in LEAVES if leaf.field.is_required() and len(leaf.spot.choice) > 1
]


@pytest.mark.parametrize("leaf", MISSING)
def test_what_a_mode_needs_and_does_not_get_is_named(leaf: Leaf) -> None:
    content = minimal(leaf.spot.group)
    del content[leaf.name]
    problem = only(put(leaf.spot.tree, leaf.spot.path, content))
    setting, choice = dotted(leaf.path), dotted((*leaf.spot.path, "mode"))
    secret = leaf.kind is Secret
    assert str(problem) == (
        f"{setting}: nothing; allowed: a value: {choice} is {mode_of(leaf.spot.group)!r}. "
        f"Set it: pulumi config set {'--secret ' if secret else ''}--path {setting}{'' if secret else ' <value>'}"
    )


def test_all_a_mode_needs_is_named_at_once() -> None:
    found = refused_everywhere({"storage": {"mode": "external"}})
    assert [problem.setting for problem in found] == [
        "storage.region", "storage.access_key_id", "storage.secret_access_key",
    ]  # fmt: skip


# --- Groups -----------------------------------------------------------------------------------------------------------

NO_GROUPS: Final[list[tuple[object, str]]] = [
    (None, "nothing"), (3, "3"), (1.5, "1.5"), (True, "true"), ([], "a list"), (["a"], "a list"),
    ([{"mode": "ollama"}], "a list"), (SEALED, "an encrypted value"), ("", "''"), ("words", "'words'"),
    ("[", "'['"), ("{", "'{'"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "given"), NO_GROUPS)
@pytest.mark.parametrize("spot", [spot for spot in SPOTS if spot.path], ids=str)
def test_what_is_no_group_is_told_once(spot: Spot, value: object, given: str) -> None:
    if value is None and spot.path == ("proxy", "login"):  # the one group that may be nothing at all
        assert parsed(put(spot.tree, spot.path, None))
        return
    problem = only(put(spot.tree, spot.path, value))
    assert problem.setting == dotted(spot.path)
    if len(spot.path) == 1 and isinstance(value, str) and spot.path[0] in flat.MOVED:
        assert problem.given == "a setting of an earlier release"
        return
    assert problem.given == given
    assert problem.allowed.startswith("a mapping")
    option = "" if len(spot.choice) > 1 else "--path "
    assert f"pulumi config rm {option}{shlex.quote(dotted(spot.path))}" in problem.remedy


@pytest.mark.parametrize("value", [None, 3, [], "words", SEALED], ids=str)
def test_hosts_are_a_mapping_of_mappings(value: object) -> None:
    assert only({"hosts": value}).setting == "hosts"
    assert only({"hosts": {"main": {}, "other": value}}).setting == "hosts.other"


# --- Images -----------------------------------------------------------------------------------------------------------


def test_a_part_upstream_publishes_no_image_for_must_be_given_one() -> None:
    assert str(only({"speech": {"mode": "container"}})) == (
        "images.references.transcription: nothing; allowed: a pinned image reference: upstream publishes no image for "
        "this part. Build and push one, then: pulumi config set --path images.references.transcription <reference>"
    )


def test_built_images_must_have_been_staged(staged: Path) -> None:
    staged.unlink()
    assert str(only({"images": {"mode": "built"}})) == (
        "images.mode: 'built', but no build contexts are staged; allowed: built, after the contexts were staged. "
        "Run: make images"
    )


def test_a_part_no_built_image_plays_is_named(staged: Path) -> None:
    found, (problem,) = images.sources(images.Built(), "reflector", "test", frozenset({"caddy", "newcomer"}))
    assert found.parts == {"caddy": "caddy"}
    assert str(problem) == (
        "images.mode: 'built', and no image of this project plays newcomer; allowed: upstream, or built with an image "
        "for every part in images/parts.toml. Set it: pulumi config set --path images.mode upstream"
    )


def test_of_images_that_are_wrong_none_is_missed() -> None:
    """Whether the speech service has one depends on what was meant."""
    assert only({"images": {"mode": "bulit"}, "speech": {"mode": "container"}}).setting == "images.mode"


# --- Settings of an earlier release -----------------------------------------------------------------------------------

OLD_VALUES: Final = ["text", "", "8443", '["DNS:a.test"]', '{"redis": 512}', CLEAR]


@pytest.mark.parametrize(
    ("name", "value"),
    # Two names are those of concerns today: where a list or an object is written as text, it is meant for those.
    [
        (name, value)
        for name in flat.MOVED
        for value in OLD_VALUES
        if value[:1] not in "[{" or name not in Settings.model_fields or not value
    ],
)
def test_a_setting_of_an_earlier_release_says_where_it_is_now(name: str, value: str) -> None:
    assert str(only({name: value})) == (
        f"{name}: a setting of an earlier release; allowed: now it is {flat.MOVED[name]}. "
        f"Convert the stack file: make convert STACK={STACK}"
    )


@pytest.mark.parametrize("name", [name for name in flat.MOVED if name not in Settings.model_fields])
def test_a_setting_of_an_earlier_release_is_told_whatever_it_says(name: str) -> None:
    for value in (8443, ["a"], {"redis": 512}, None, True, SEALED):
        assert only({name: value}).given == "a setting of an earlier release"


@pytest.mark.parametrize("name", [name for name in flat.MOVED if name != "memory_mib"])
def test_where_a_setting_is_now_there_is_one(name: str) -> None:
    way: Way = tuple(flat.MOVED[name].split("."))
    assert way in {leaf.path for leaf in LEAVES} | {(*spot.path, "mode") for spot in UNIONS} | {
        ("images", "references")
    }


# --- YAML -------------------------------------------------------------------------------------------------------------

TRAPS: Final = (
    "no", "yes", "on", "off", "y", "n", "Y", "N", "No", "YES", "On", "OFF", "1e3", "1.0e3", "1.0e+3", "010", "08",
    "0x10", "0o10", "0b11", "1_000", "+5", "12:30", "2026-01-01", "2026-01-01 10:00:00", ".inf", "-.inf", ".nan", ".5",
    "5.",
)  # fmt: skip
"""Plain words that readers of YAML take for different things."""


def leaf_text(leaf: str, value: str) -> str:
    *groups, name = leaf.split(".")
    lines = [f"  {PROJECT}:{groups[0]}:"]
    lines += [f"{'  ' * (depth + 2)}{group}:" for depth, group in enumerate(groups[1:])]
    return "config:\n" + "\n".join(lines) + f"\n{'  ' * (len(groups) + 1)}{name}: {value}\n"


@pytest.mark.parametrize("word", TRAPS)
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("edge.https_port", "a whole number"),
        ("edge.domain", "a text"),
        ("data.redis.memory_mib", "a whole number"),
        ("hosts.main.address", "a text"),
        ("language_model.mode", "ollama or external"),
    ],
)
def test_a_trap_of_yaml_is_told_once_for_what_it_is(word: str, path: str, allowed: str) -> None:
    (problem,) = refused(stack_file(leaf_text(path, word)).settings)
    assert (problem.setting, problem.allowed) == (path, allowed)
    assert problem.given == f"{word}, which readers of YAML take for different things"


@pytest.mark.parametrize("word", TRAPS)
def test_a_trap_of_yaml_is_told_in_a_list_too(word: str) -> None:
    (problem,) = refused(stack_file(leaf_text("edge.extra_names", f'["DNS:a.test", {word}]')).settings)
    assert problem.setting == "edge.extra_names[1]"


@pytest.mark.parametrize("word", TRAPS)
def test_a_trap_of_yaml_is_none_in_quotes_or_for_a_name(word: str) -> None:
    file = stack_file(f"config:\n  {PROJECT}:edge:\n    domain: '{word}'\n    {word}: 1\n")
    assert file.settings == {"edge": {"domain": word, word: 1}}


@pytest.mark.parametrize("word", TRAPS)
def test_a_trap_of_yaml_is_no_group_and_no_secret(word: str) -> None:
    (problem,) = refused(stack_file(f"config:\n  {PROJECT}:speech: {word}\n").settings)
    assert problem.setting == "speech"
    (problem,) = refused(stack_file(f"config:\n  {PROJECT}:speech: {{mode: in-process, hf_token: {word}}}\n").settings)
    assert (problem.setting, problem.given) == ("speech.hf_token", "a value in clear text")


@pytest.mark.parametrize("word", ["~", "null", "Null", "NULL", ""])
def test_nothing_is_nothing_however_it_is_written(word: str) -> None:
    (problem,) = refused(stack_file(leaf_text("edge.https_port", word)).settings)
    assert (problem.setting, problem.given) == ("edge.https_port", "nothing")


NO_YAML: Final = {
    # what is in the file under the edge → a part of what is said
    "a key twice": ("    https_port: 1\n    https_port: 2\n", "https_port stands there twice"),
    "a tab": ("\thttps_port: 1\n", "cannot start any token"),
    "a tag": ("    domain: !!binary aGVsbG8=\n", "the tag tag:yaml.org,2002:binary is not understood here"),
    "a tag on a group": ("    domain: !!omap [a: b]\n", "is not understood here"),
    "a tag that lies": ("    domain: !!timestamp 'x'\n", "is not understood here"),
    "a set": ("    domain: !!set {a, b}\n", "is not understood here"),
    "a tag of python": ("    domain: !!python/object/apply:os.system [x]\n", "is not understood here"),
    "a list for a name": ("    ? [a]\n    : 1\n", "a key that is no text"),
    "a mapping for a name": ("    ? {a: b}\n    : 1\n", "a key that is no text"),
    "an alias of nothing": ("    domain: *nobody\n", "found undefined alias"),
    "a merge of nothing": ("    <<: 3\n", "expected a mapping"),
    "a list in itself": ("    extra_names: &self [*self]\n", "found unconstructable recursive node"),
    "a depth without end": (f"    domain: {'[' * 3000}\n", "recursion"),
}


@pytest.mark.parametrize(("text", "given"), NO_YAML.values(), ids=NO_YAML)
def test_what_cannot_be_read_is_told_once(text: str, given: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        stack_file(f"config:\n  {PROJECT}:edge:\n{text}")
    (problem,) = refusal.value.problems
    assert (problem.setting, given in problem.given) == (f"Pulumi.{STACK}.yaml", True)
    assert len(str(refusal.value).splitlines()) == 2


# --- All together -----------------------------------------------------------------------------------------------------

MANY: Final[dict[str, Any]] = {
    "domian": "x",
    "edge": {"https_port": "many", "extra_names": ["x", "z"], "bind_addresses": ["0.0.0.0", "127.0.0.1"]},
    "storage": {"mode": "external"},
    "language_model": {"mode": "ollama", "url": "https://a"},
    "data": {"nginx": {"memory_mib": 1}},
    "speech": {"mode": "in-process", "hf_token": CLEAR},
    "images": {"mode": "upstream", "references": {"redis": "redis"}},
    "llm": "ollama",
    "pki": {"certificate_validity_hours": 24},
}


def test_all_problems_come_in_one_flat_list() -> None:
    found = refused_everywhere(MANY)
    assert sorted(problem.setting for problem in found) == [
        "data.nginx", "domian", "edge.bind_addresses[1]", "edge.extra_names[0]", "edge.extra_names[1]",
        "edge.https_port", "images.references.redis", "language_model.url", "llm", "pki.renewal_hours",
        "speech.hf_token", "storage.access_key_id", "storage.region", "storage.secret_access_key",
    ]  # fmt: skip
    text = str(SettingsError(found))
    assert text.splitlines()[0] == f"{len(found)} problems in the configuration, nothing was created:"
    assert all(line.startswith("  - ") for line in text.splitlines()[1:])
    assert len(text.splitlines()) == 1 + len(found)


def test_one_problem_is_announced_as_one() -> None:
    with pytest.raises(SettingsError, match=r"^1 problem in the configuration, nothing was created:\n"):
        parsed({"domian": "x"})


def test_the_engine_shows_the_list_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK prints the message alone for one kind of error, and the stack of calls for every other."""
    monkeypatch.setattr(pulumi, "get_stack", lambda: STACK)
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps({f"{PROJECT}:domian": "x", f"{PROJECT}:edge": "{}"}))
    with pytest.raises(pulumi.RunError, match=r"^1 problem in the configuration, nothing was created:\n"):
        program.load()


@pytest.mark.parametrize("name", program.REDIRECTING)
def test_a_variable_that_leads_to_another_daemon_is_refused_by_the_program(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Plain `pulumi` in a shell that has not sourced env.sh: the provider would take it before the settings."""
    monkeypatch.setattr(pulumi, "get_stack", lambda: STACK)
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps({f"{PROJECT}:edge": "{}"}))
    monkeypatch.setenv(name, "elsewhere")
    with pytest.raises(pulumi.RunError, match=rf"^{name} of this shell .* unset {name}$") as refused:
        program.load()
    assert "\n" not in str(refused.value)
    monkeypatch.setenv(name, "")
    program.load()


def test_no_rule_speaks_of_what_is_wrong_itself() -> None:
    """The default that stands in for it is nobody's mistake."""
    assert only({"edge": {"https_port": "many", "http_port": 443}}).setting == "edge.https_port"
    # As the default domain this would be taken.
    found = only({"edge": {"domain": "bad_name"}, "storage": {"mode": "garage", "domain": "reflector.localhost"}})
    assert found.setting == "edge.domain"
    assert only({"hosts": {"main": {"address": "tpc://host:2376", "certificates": "/certs"}}}).setting == (
        "hosts.main.address"
    )
    assert only({"pki": {"certificate_validity_hours": 1, "renewal_hours": 24}}).setting == (
        "pki.certificate_validity_hours"
    )


@pytest.mark.parametrize("spot", CONCERNS, ids=str)
def test_what_is_wrong_in_one_concern_hides_nothing_in_another(spot: Spot) -> None:
    concern = spot.path[0]
    other = {"health": {"interval_seconds": 0}} if concern != "health" else {"pki": {"renewal_hours": 0}}
    tree = {**put(spot.tree, (*spot.path, "qqqq"), 1), **other}
    assert len(refused_everywhere(tree)) == 2
    # A rule between settings too.
    ports = {"edge": {"https_port": 80}} if concern != "edge" else {"pki": {"renewal_hours": 9999}}
    assert len(refused_everywhere({**put(spot.tree, (*spot.path, "qqqq"), 1), **ports})) == 2


def test_what_is_right_can_be_used_all_the_same() -> None:
    """The host is checked in the same run, by what is right of the settings."""
    trees: list[dict[str, Any]] = [
        MANY,
        {**MANY, "hosts": {"main": 3}, "health": 3, "qqqq": 1},
        {"storage": {"mode": "s3", "region": "r", "bucket": "own", "qqqq": 1}},
        {"edge": {"http_port": 443}},
        {"speech": {"mode": "container"}},
        {"hosts": {"main": {"address": "ssh://a@b"}, "other": {}}},
    ]
    usable = []
    for tree in trees:
        with pytest.raises(SettingsError):
            parsed(tree)
        usable.append(usable_part(tree, STACK, PROJECT))
    assert usable[0].edge.https_port == 443
    assert (usable[1].host.address, usable[1].health.interval_seconds) == ("unix:///var/run/docker.sock", 10)
    assert (usable[2].storage.mode, usable[2].stack) == ("s3", STACK)
    assert usable[3].edge.http_port == 80
    # What is missing elsewhere is no mistake of the settings': they decide what is made.
    assert "transcription" in usable[4].services
    assert usable[5].host.address == "ssh://a@b"
    assert usable_part({"edge": {"domain": "a.test"}}, STACK, PROJECT).edge.domain == "a.test"


def test_a_tree_is_not_changed_by_looking_at_it() -> None:
    tree = json.loads(json.dumps({name: value for name, value in MANY.items() if name != "speech"}))
    before = json.dumps(tree)
    refused(tree)
    assert json.dumps(tree) == before
    assert "domian" in written(tree)


def test_parse_says_the_stack_the_file_is_of() -> None:
    with pytest.raises(SettingsError, match="make convert STACK=production"):
        parse({"llm": "ollama"}, "production", PROJECT)
