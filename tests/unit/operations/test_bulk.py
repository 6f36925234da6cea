"""Many certificates at once: which are made ahead, by which runs, and that few are left alone."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from operations import __main__ as commands
from operations import bulk, inventory
from operations.healing import Resource
from operations.stack import Stack
from settings import Settings, parse
from testing.commands import calls
from tests.unit.operations.stand_ins import asked, with_engine, with_state
from tests.unit.operations.test_commands import with_checks

NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
ALL: Final = [f"s{number}" for number in range(bulk.MANY)]
BASE: Final = "urn:pulumi:test::reflector::"
OF: Final = f"{BASE}reflector:certificate:Certificate"
DECLARED: Final = f"{BASE}reflector:rollover:Rollover::authorities-declared"
ROOT: Final = f"{BASE}reflector:authority:Authority"


def settings_with(names: Sequence[str] = ALL, more: Mapping[str, Any] | None = None, **each: object) -> Settings:
    """Return the settings of a stack whose registry has these certificates."""
    certificates = {name: {"mode": "issued", "names": [f"DNS:{name}.test"], **each} for name in names}
    pki = {"certificates": certificates, **(more or {})}
    return parse({"edge": {"domain": "a.test"}, "pki": pki}, "test", "reflector")


def deployed(names: Sequence[str], *, renew_at: datetime = NOW + timedelta(days=1), **entry: object) -> list[Resource]:
    """Return what the state has of a stack with these certificates."""
    entries = [
        {
            "name": f"certificate-{name}", "certificate": name, "kind": "server", "source": "issued",
            "authority": "stack", "generation": "g1", "renew_at": renew_at.isoformat(),
            "expires": (renew_at + timedelta(days=30)).isoformat(), **entry,
        }
        for name in names
    ]  # fmt: skip
    return [
        {"urn": "stack", "type": "pulumi:pulumi:Stack", "outputs": {"pki_inventory": entries}},
        {"urn": f"{ROOT}::authority", "type": "reflector:authority:Authority"},
        *({"urn": f"{OF}::certificate-{name}", "type": "reflector:certificate:Certificate"} for name in names),
    ]


def wanted(settings: Settings, resources: Sequence[Resource] = ()) -> bulk.Wanted:
    return bulk.wanted(settings.pki, resources, project="reflector", stack="test", now=NOW)


def test_what_is_missing_is_wanted_with_all_it_is_made_of_and_made_by() -> None:
    found = wanted(settings_with(["a"]))
    assert found.certificates == [
        [
            f"{OF}::certificate-a",
            f"{OF}$tls:index/privateKey:PrivateKey::certificate-a-1-key",
            f"{OF}$tls:index/certRequest:CertRequest::certificate-a-1-request",
            f"{OF}$tls:index/locallySignedCert:LocallySignedCert::certificate-a-1-certificate",
        ]
    ]
    assert found.first == [
        DECLARED,
        f"{ROOT}::authority",
        f"{ROOT}$tls:index/privateKey:PrivateKey::authority-1-key",
        f"{ROOT}$tls:index/selfSignedCert:SelfSignedCert::authority-1-certificate",
    ]


def test_what_is_there_and_in_time_is_not_wanted() -> None:
    assert wanted(settings_with(["a", "b"]), deployed(["a", "b"])).certificates == []


def test_what_is_on_its_way_out_is_not_there() -> None:
    resources = [{**one, "delete": True} for one in deployed(["a"])]
    assert len(wanted(settings_with(["a"]), resources).certificates[0]) == 4


@pytest.mark.parametrize("entry", [{"renew_at": NOW}, {"generation": "g2"}, {"authority": "another"}])
def test_of_what_is_due_or_signed_by_another_the_leaf_alone_is_wanted(entry: dict[str, Any]) -> None:
    found = wanted(settings_with(["a"]), deployed(["a"], **entry))
    leaf = f"{OF}$tls:index/locallySignedCert:LocallySignedCert::certificate-a-1-certificate"
    assert found.certificates == [[leaf]]
    assert found.first == [DECLARED], "the root is there; what may not follow is refused here too"


def test_a_further_issue_is_wanted_whole_and_nothing_of_the_former_is_touched() -> None:
    ((component, *parts),) = wanted(settings_with(["a"], issue=2), deployed(["a"])).certificates
    assert component == f"{OF}::certificate-a-2"
    assert [urn.rpartition("::")[2] for urn in parts] == [
        "certificate-a-2-key",
        "certificate-a-2-request",
        "certificate-a-2-certificate",
    ]


def test_other_authorities_are_called_after_themselves() -> None:
    settings = settings_with(
        ["a"], {"authorities": {"agents": {"purpose": "client"}}}, kind="client", authority="agents"
    )
    assert f"{ROOT}::authority-agents" in wanted(settings).first


@pytest.mark.parametrize("outputs", [{}, {"pki_inventory": {"ciphertext": "x"}}])
def test_without_an_inventory_only_what_is_missing_is_known(outputs: Mapping[str, object]) -> None:
    _, *resources = deployed(["a"])
    resources.append({"urn": "stack", "type": "pulumi:pulumi:Stack", "outputs": outputs})
    assert len(wanted(settings_with(["a", "b"]), resources).certificates) == 1


def test_more_than_a_command_takes_are_made_in_several_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_AT_ONCE", 2)
    what = bulk.Wanted(certificates=[["a", "b"], ["c"], ["d"]], first=["root"])
    assert list(bulk.runs(what)) == [["root", "a", "b", "c"], ["root", "d"]]


def test_all_urns_of_a_run_fit_into_what_a_command_takes() -> None:
    name, stack = "n" * 63, "s" * 40
    registry = settings_with([name]).pki
    what = bulk.wanted(registry, (), project="reflector", stack=stack, now=NOW)
    flags = bulk.targets([urn for one in what.certificates for urn in one])
    # Linux counts each with its end and a pointer, and gives a command a quarter of the stack: 2 MiB.
    assert sum(len(flag) + 1 + 8 for flag in flags) * bulk._AT_ONCE < 2 * 1024 * 1024 - 128 * 1024


# --- Around the engine ------------------------------------------------------------------------------------------------


def test_many_are_made_by_a_run_that_saves_once_before_the_one_that_saves_always(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_checks(monkeypatch, settings=settings_with())
    with_state(stack)
    log = with_engine(stack, up="")
    assert commands.up(stack, refresh=False) == 0
    first, then = calls(log)
    assert first["arguments"][:4] == ["up", "--yes", "--skip-preview", "--suppress-outputs"]
    assert first["arguments"].count("--target") == 4 + 4 * bulk.MANY
    assert not any(one.startswith("--target-") for one in first["arguments"]), "nothing that follows from them"
    assert first["environment"]["PULUMI_SKIP_CHECKPOINTS"] == "true"
    assert then["arguments"] == ["up", "--yes", "--skip-preview", "--stack", "test"]
    assert "PULUMI_SKIP_CHECKPOINTS" not in then["environment"], "a container that is not in the state is lost"
    assert f"{bulk.MANY} certificates are made first" in capsys.readouterr().out


def test_nothing_follows_where_they_cannot_be_made(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with_checks(monkeypatch, settings=settings_with())
    with_state(stack)
    log = with_engine(stack, up={"status": 255})
    assert commands.up(stack, refresh=False) == 255
    assert len(calls(log)) == 1


def test_few_are_left_to_the_run_that_does_all(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with_checks(monkeypatch, settings=settings_with())
    with_state(stack, resources=deployed(ALL[:1], renew_at=datetime.now(UTC) + timedelta(days=1)))
    log = with_engine(stack, up="")
    assert commands.up(stack, refresh=False) == 0
    assert asked(log) == ["up --yes --skip-preview --stack test"]


def test_nobody_asks_for_the_state_where_the_registry_is_small(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "resources_of", lambda _: pytest.fail("the state was read"))
    assert bulk.issue(stack, settings_with(ALL[1:])) == 0
