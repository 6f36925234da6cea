"""Many certificates at once: which are made ahead, by which runs, and that few are left alone."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from operations import __main__ as commands
from operations import bulk, inventory
from operations.healing import Resource
from operations.rekeying import Aged
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


def in_parts(names: Sequence[str], *, signed_by: str = "authority") -> list[Resource]:
    """Return what the state has of these certificates, and all that they are made of."""
    root = f"{ROOT}$tls:index/privateKey:PrivateKey::{signed_by}-1-key"
    found: list[Resource] = []
    for name in names:
        whole, key, request, leaf = urns_of(name)
        found += [
            {"urn": whole, "type": "reflector:certificate:Certificate"},
            {"urn": key, "type": "tls:index/privateKey:PrivateKey", "parent": whole},
            {"urn": request, "type": "tls:index/certRequest:CertRequest", "parent": whole, "dependencies": [key]},
            {"urn": leaf, "type": "tls:index/locallySignedCert:LocallySignedCert", "parent": whole,
             "dependencies": [request, root]},
        ]  # fmt: skip
    return found


def urns_of(name: str) -> list[str]:
    """Return the URNs of a certificate, its key, its request and its leaf."""
    return [
        f"{OF}::certificate-{name}",
        f"{OF}$tls:index/privateKey:PrivateKey::certificate-{name}-1-key",
        f"{OF}$tls:index/certRequest:CertRequest::certificate-{name}-1-request",
        f"{OF}$tls:index/locallySignedCert:LocallySignedCert::certificate-{name}-1-certificate",
    ]


def aged(name: str) -> Aged:
    return Aged(name=f"certificate-{name}", days=400, leaf=urns_of(name)[-1])


def leaving(settings: Settings, resources: Sequence[Resource]) -> list[str]:
    return bulk.leaving(settings.pki, resources, project="reflector", stack="test")


def wanted(settings: Settings, resources: Sequence[Resource] = ()) -> bulk.Wanted:
    return bulk.wanted(settings.pki, resources, project="reflector", stack="test", now=NOW)


def test_what_is_missing_is_wanted_with_all_it_is_made_of_and_made_by() -> None:
    found = wanted(settings_with(["a"]))
    assert found.certificates == [urns_of("a")]
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
    assert found.certificates == [urns_of("a")[-1:]]
    assert found.first == [DECLARED], "the root is there; what may not follow is refused here too"


@pytest.mark.parametrize(("hours", "is_wanted"), [((2160, 720), False), ((2160, 700), True), ((2000, 720), True)])
def test_what_is_to_live_for_another_time_is_wanted(hours: tuple[int, int], is_wanted: bool) -> None:
    leaf = urns_of("a")[-1]
    inputs = {"validityPeriodHours": hours[0], "earlyRenewalHours": hours[1]}
    resources = [
        *deployed(["a"]),
        {"urn": leaf, "type": "tls:index/locallySignedCert:LocallySignedCert", "inputs": inputs},
    ]
    assert wanted(settings_with(["a"]), resources).certificates == ([[leaf]] if is_wanted else [])


def test_what_has_an_old_key_is_wanted_with_another() -> None:
    settings = settings_with(["a", "b"])
    found = bulk.wanted(
        settings.pki, deployed(["a", "b"], renew_at=NOW), project="reflector", stack="test", now=NOW, aged=[aged("a")]
    )
    (_, key, request, leaf), (*_, other) = urns_of("a"), urns_of("b")
    assert found.certificates == [[key, request, leaf], [other]]
    assert bulk.targets([key, leaf], found.replaced) == ["--target-replace", key, "--target", leaf]


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


# --- What leaves ------------------------------------------------------------------------------------------------------


def test_what_is_in_the_registry_no_more_leaves_with_all_it_is_made_of() -> None:
    edge = {"urn": f"{OF}::edge-certificate-2", "type": "reflector:certificate:Certificate"}
    resources = [edge, *in_parts(["kept", *ALL])]
    assert leaving(settings_with(["kept"]), resources) == [urn for name in ALL for urn in urns_of(name)]


def test_what_another_has_taken_the_place_of_leaves_as_well() -> None:
    assert len(leaving(settings_with(issue=2), in_parts(ALL))) == 4 * bulk.MANY


def test_few_that_leave_are_left_to_the_run_that_does_all() -> None:
    assert leaving(settings_with(["kept"]), in_parts(["kept", *ALL[1:]])) == []


def test_what_is_on_its_way_out_already_is_not_told_to_leave() -> None:
    resources = [{**one, "delete": True} for one in in_parts(ALL)]
    assert leaving(settings_with(["kept"]), resources) == []


def test_what_was_signed_by_an_authority_that_leaves_goes_in_the_order_the_engine_has_for_it() -> None:
    resources = in_parts(ALL, signed_by="authority-agents")
    assert leaving(settings_with(["kept"]), resources) == []
    agents = {"authorities": {"agents": {"purpose": "client"}}}
    assert len(leaving(settings_with(["kept"], agents), resources)) == 4 * bulk.MANY


def test_no_more_leave_at_once_than_a_command_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_AT_ONCE", 2)
    assert leaving(settings_with(["kept"]), in_parts(ALL)) == [*urns_of(ALL[0]), *urns_of(ALL[1])]


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
    assert bulk.ahead(stack, settings_with(ALL[1:])) == bulk.Wanted()


def test_many_that_leave_are_spared_by_the_run_that_saves_always_and_forgotten_by_one_that_saves_once(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_checks(monkeypatch, settings=settings_with(["kept"]))
    with_state(stack, resources=in_parts(["kept", *ALL]))
    log = with_engine(stack, up="")
    assert commands.up(stack, refresh=False) == 0
    first, then = calls(log)
    urns = [urn for name in ALL for urn in urns_of(name)]
    spared = [part for urn in urns for part in ("--exclude", urn)]
    assert first["arguments"] == ["up", "--yes", "--skip-preview", *spared, "--stack", "test"]
    assert "PULUMI_SKIP_CHECKPOINTS" not in first["environment"]
    assert then["arguments"] == [
        "up", "--yes", "--skip-preview", "--suppress-outputs", *bulk.spared(bulk.OUTSIDE), "--stack", "test",
    ]  # fmt: skip
    assert then["environment"]["PULUMI_SKIP_CHECKPOINTS"] == "true"
    assert f"{bulk.MANY} certificates are taken away last" in capsys.readouterr().out


def test_nothing_is_forgotten_that_the_run_before_may_have_left_in_use(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_checks(monkeypatch, settings=settings_with(["kept"]))
    with_state(stack, resources=in_parts(ALL))
    log = with_engine(stack, up={"status": 255})
    assert commands.up(stack, refresh=False) == 255
    assert len(calls(log)) == 1


def test_many_old_keys_are_made_anew_ahead_and_once(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    leaf = {"validityEndTime": (now + timedelta(days=1)).isoformat(), "earlyRenewalHours": 720}
    created = (now - timedelta(days=4000)).isoformat()
    resources = [
        *deployed([], renew_at=now),
        *({**one, "created": created, "outputs": leaf} for one in in_parts(ALL)),
    ]
    with_checks(monkeypatch, settings=settings_with())
    with_state(stack, resources=resources)
    log = with_engine(stack, up="")
    assert commands.up(stack, refresh=False) == 0
    first, then = calls(log)
    assert first["arguments"].count("--target-replace") == bulk.MANY
    assert "--replace" not in then["arguments"], "they would be made twice"


def test_the_engine_is_not_asked_for_a_state_in_which_few_can_leave(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stack, "resources", lambda _: None)
    monkeypatch.setattr(inventory, "resources_of", lambda _: pytest.fail("the state was read"))
    assert bulk.left_over(stack, settings_with(ALL[1:])) == []
    monkeypatch.setattr(inventory, "resources_of", lambda _: in_parts([f"x{one}" for one in ALL]))
    assert len(bulk.left_over(stack, settings_with())) == 4 * bulk.MANY
