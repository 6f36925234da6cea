"""Renewal without a person: what is due, what would go along with it, and what the edge shows afterwards."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from operations import bulk, checks, renewal
from operations.checks import Checked
from operations.healing import CONTAINER_TYPE, Damage
from operations.resource_types import LEAF_TYPE, SELF_SIGNED_TYPE
from operations.served import NotServed, Place, edge_of, of_pem, served
from operations.stack import Stack
from settings import Problem, Settings
from testing.certificates import certificate
from testing.docker import free_port
from tests.unit.operations.stand_ins import asked, settings_of, with_engine, with_file, with_state

URN: Final = (
    "urn:pulumi:test::reflector::reflector:certificate:Certificate$tls:index/locallySignedCert:LocallySignedCert"
    "::edge-certificate-1-certificate"
)
STEP: Final = "urn:pulumi:test::reflector::reflector:caddy:Caddy$command:local:Command::caddy-release"
STACK: Final = "urn:pulumi:test::reflector::pulumi:pulumi:Stack::reflector-test"
Leaf = tuple[str, str]
"""A certificate and its key, both PEM."""


class Edge:
    """A TLS server that shows one leaf after the other."""

    def __init__(self, leaf: Leaf, folder: Path) -> None:
        self.leaf = leaf
        self.asked_for: list[str | None] = []
        self._folder = folder
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.place = Place(host="127.0.0.1", port=self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._socket.accept()
            except OSError:
                return
            for name, text in zip(("leaf.pem", "leaf.key"), self.leaf, strict=True):
                (self._folder / name).write_text(text, encoding="ascii")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._folder / "leaf.pem", self._folder / "leaf.key")
            context.sni_callback = lambda _, name, __: self.asked_for.append(name)
            try:
                context.wrap_socket(raw, server_side=True).close()
            except OSError:
                raw.close()

    def close(self) -> None:
        """Serve nobody any more."""
        # Closed first, its number is the next socket's, from which the thread may yet take somebody (seen once).
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    """An edge whose leaf ends in ten days."""
    found = Edge(certificate("a.test", to_days=10), tmp_path)
    yield found
    found.close()


def entry_of(leaf: Leaf, **more: object) -> dict[str, object]:
    """Return what the inventory says of a leaf with a window of thirty days."""
    end = of_pem(leaf[0]).expires
    return {
        "name": "edge-certificate", "kind": "server", "source": "private", "names": ["DNS:a.test"],
        "expires": end.isoformat(), "chain_expires": end.isoformat(),
        "renew_at": (end - timedelta(days=30)).isoformat(), **more,
    }  # fmt: skip


def in_state(leaf: Leaf) -> list[dict[str, object]]:
    """Return the resources of a stack with that leaf."""
    owner = URN.replace("$tls:index/locallySignedCert:LocallySignedCert", "").rpartition("::")[0] + "::edge-certificate"
    return [
        {"urn": owner, "type": "reflector:certificate:Certificate", "outputs": {"certificate_pem": leaf[0]}},
        # What is in here is shown to nobody.
        {"urn": URN, "parent": owner, "type": LEAF_TYPE, "outputs": {"certPem": "a template"}},
    ]


def event(urn: str, operation: str, *, kind: str = "resOutputsEvent", type_: str = "x", **more: object) -> str:
    """Return a line of the engine's."""
    return json.dumps({kind: {"metadata": {"urn": urn, "op": operation, "type": type_, **more}}}) + "\n"


RENEWS: Final = "".join(
    [
        json.dumps({"preludeEvent": {}}) + "\n",
        event(STACK, "same", type_="pulumi:pulumi:Stack"),
        event(URN, "create-replacement", diffs=["readyForRenewal"], detailedDiff=None),
        event(URN, "replace", diffs=["readyForRenewal"], detailedDiff=None),
        event(STEP, "update", diffs=["stdin"], detailedDiff={"stdin": {"diffKind": "update"}}),
        event(URN, "delete-replaced", diffs=None, detailedDiff=None),
    ]
)

Deployed = Callable[..., Path]


@pytest.fixture
def deployed(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    """Makes a stack with a leaf, and returns the log of its engine, which plans as it is told."""

    def deploy(
        leaf: Leaf,
        *,
        entries: Sequence[Mapping[str, object]] = (),
        preview: str = RENEWS,
        renews: Any = None,
        clocks: Sequence[Mapping[str, object]] = (),
    ) -> Path:
        with_file(stack, {"edge": {"domain": "a.test", "https_port": free_port(), "http_port": free_port()}})

        def state(current: Leaf) -> Path:
            with_state(stack, resources=[*in_state(current), *clocks])
            outputs = {"pki_inventory": [*(entries or [entry_of(current)])]}
            answers = {"stack_output": json.dumps(outputs), "stack_select": "", "preview": preview}
            return with_engine(stack, **answers)

        def pulumi(self: Stack, *arguments: str, saves_at_end: bool = False) -> int:
            runs.append(" ".join(arguments) + (" and save at the end" if saves_at_end else ""))
            if renews is None:
                return 1
            state(renews())
            return 0

        runs: list[str] = []
        monkeypatch.setattr(Stack, "pulumi", pulumi)
        monkeypatch.setattr(checks, "check", lambda _: Checked(settings=None, problems=[]))
        log = state(leaf)
        deploy_runs[log] = runs
        return log

    return deploy


deploy_runs: Final[dict[Path, list[str]]] = {}


# --- What is done -----------------------------------------------------------------------------------------------------


def test_what_is_due_is_renewed_delivered_looked_at_and_told(
    stack: Stack, deployed: Deployed, edge: Edge, capsys: pytest.CaptureFixture[str]
) -> None:
    new = certificate("a.test", to_days=90)

    def renews() -> Leaf:
        edge.leaf = new
        return new

    log = deployed(edge.leaf, renews=renews)
    assert renewal.renew(stack, place=edge.place) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("renewed edge-certificate: ended ")
    assert first.endswith(f", served at {edge.place}")
    assert last == "1 renewed, 0 delivered"
    targets = f"--target {URN} --target-dependents"
    assert deploy_runs[log] == [f"up --yes --skip-preview --suppress-outputs {targets}"]
    assert set(edge.asked_for) == {"a.test"}
    attempt = renewal.last_attempt(stack)
    assert attempt is not None
    assert (attempt.succeeded, attempt.message) == (True, last)
    text = (renewal.folder_of(stack) / "test.log").read_text(encoding="utf-8")
    assert [line.partition(" ")[2] for line in text.splitlines()] == [first, last]


def test_many_are_issued_ahead_of_what_follows_from_them(
    stack: Stack, deployed: Deployed, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MANY", 1)
    new = certificate("a.test", to_days=90)

    def renews() -> Leaf:
        edge.leaf = new
        return new

    log = deployed(edge.leaf, renews=renews)
    assert renewal.renew(stack, place=edge.place) == 0
    up = f"up --yes --skip-preview --suppress-outputs --target {URN}"
    assert deploy_runs[log] == [f"{up} and save at the end", f"{up} --target-dependents"]


def test_nothing_is_due_and_the_engine_is_not_run(
    stack: Stack, deployed: Deployed, edge: Edge, capsys: pytest.CaptureFixture[str]
) -> None:
    edge.leaf = certificate("a.test", to_days=60)
    log = deployed(edge.leaf)
    assert renewal.renew(stack, place=edge.place) == 0
    assert capsys.readouterr().out == "nothing is due\n"
    assert asked(log) == ["stack output --json --show-secrets --stack test"]
    assert deploy_runs[log] == []


def test_a_dry_run_says_what_is_due_and_keeps_no_record(
    stack: Stack, deployed: Deployed, edge: Edge, capsys: pytest.CaptureFixture[str]
) -> None:
    log = deployed(edge.leaf)
    assert renewal.renew(stack, place=edge.place, dry_run=True) == 0
    assert capsys.readouterr().out == "would be renewed: edge-certificate\n"
    assert deploy_runs[log] == []
    assert renewal.last_attempt(stack) is None


def test_what_was_renewed_and_never_delivered_is_delivered(stack: Stack, deployed: Deployed, edge: Edge) -> None:
    deployed_leaf = certificate("a.test", to_days=60)

    def renews() -> Leaf:
        edge.leaf = deployed_leaf
        return deployed_leaf

    log = deployed(deployed_leaf, renews=renews)
    assert renewal.renew(stack, place=edge.place) == 0
    assert len(deploy_runs[log]) == 1


LIST: Final = "authority-clients-1-revocations"
CLOCK: Final = f"urn:pulumi:test::reflector::tls:index/selfSignedCert:SelfSignedCert::{LIST}"
UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def list_entry(days: float, number: int) -> dict[str, object]:
    """Return what the inventory says of a list whose next update is in so many days."""
    end = datetime.now(UTC) + timedelta(days=days)
    return {
        "name": LIST, "kind": "crl", "authority": "clients", "generation": "g1", "expires": end.isoformat(),
        "renew_at": (end - timedelta(days=7)).isoformat(),
        "details": {"number": number, "this_update": end.isoformat(), "revoked": ["0A1B"]},
    }  # fmt: skip


def lists_planned(clients: str, others: str = "of others") -> str:
    """Return what the engine tells of the outputs with lists, of which only that of clients is planned anew."""
    old = {"outputs": {"revocation_lists": {"clients": "of clients", "others": "of others"}}}
    new = {"outputs": {"revocation_lists": {"clients": clients, "others": others}}}
    return event(STACK, "same", type_="pulumi:pulumi:Stack", old=old, new=new)


RENEWS_LIST: Final = "".join(
    [
        event(CLOCK, "create-replacement", diffs=["readyForRenewal"], detailedDiff=None),
        event(CLOCK, "replace", diffs=["readyForRenewal"], detailedDiff=None),
        lists_planned(UNKNOWN),
    ]
)


def test_a_revocation_list_inside_its_window_is_made_anew(
    stack: Stack, deployed: Deployed, edge: Edge, capsys: pytest.CaptureFixture[str]
) -> None:
    edge.leaf = certificate("a.test", to_days=60)
    entries = [entry_of(edge.leaf), list_entry(6, number=7)]

    def renews() -> Leaf:
        entries[1] = list_entry(14, number=8)
        return edge.leaf

    clock = {"urn": CLOCK, "type": SELF_SIGNED_TYPE}
    log = deployed(edge.leaf, entries=entries, preview=RENEWS_LIST, renews=renews, clocks=[clock])
    assert renewal.renew(stack, place=edge.place) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"renewed {LIST}: ended ")
    assert first.endswith(", number 8, 1 revoked")
    assert last == "1 renewed, 0 delivered"
    assert deploy_runs[log] == [f"up --yes --skip-preview --suppress-outputs --target {CLOCK} --target-dependents"]


@pytest.mark.parametrize(
    ("planned", "said"),
    [
        (event(CLOCK, "replace", diffs=["subject", "readyForRenewal"]), f"{LIST}: subject"),
        (lists_planned("with another serial"), "output revocation_lists"),
        (lists_planned(UNKNOWN, others="with another serial"), "output revocation_lists"),
    ],
)
def test_a_revocation_that_is_not_deployed_does_not_go_along(planned: str, said: str) -> None:
    events = [json.loads(line) for line in planned.splitlines()]
    assert renewal.unexpected(events, [CLOCK]) == [said]
    assert renewal.unexpected([json.loads(line) for line in RENEWS_LIST.splitlines()], [CLOCK]) == []


# --- What is refused, each in one line --------------------------------------------------------------------------------


def fails(stack: Stack, place: Place, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line a renewal that fails says."""
    assert renewal.renew(stack, place=place) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    attempt = renewal.last_attempt(stack)
    assert attempt is not None
    assert (attempt.succeeded, attempt.message) == (False, line)
    return line.removeprefix("error: ")


@pytest.mark.parametrize(
    ("planned", "said"),
    [
        (event(STEP, "update", detailedDiff={"stdin": {}, "environment.RELEASE": {}}), "environment.RELEASE"),
        (event(URN, "replace", diffs=["readyForRenewal", "earlyRenewalHours"]), ": earlyRenewalHours"),
        (event("urn::x::caddy-container", "replace", diffs=["memory"]), "caddy-container: replace"),
        (event("urn::x::new", "create"), "new: create"),
        (
            event(
                STACK, "same", type_="pulumi:pulumi:Stack",
                old={"outputs": {"url": "a", "pki_inventory": [{"name": "x", "expires": "1"}]}},
                new={"outputs": {"url": "b", "pki_inventory": [{"name": "x"}]}},
            ),
            "output url",
        ),
        (
            event(
                STACK, "same", type_="pulumi:pulumi:Stack",
                old={"outputs": {"pki_inventory": [{"names": ["a"], "expires": "1"}]}},
                new={"outputs": {"pki_inventory": [{"names": ["a", "b"]}]}},
            ),
            "output pki_inventory",
        ),
    ],
)  # fmt: skip
def test_a_change_that_is_not_deployed_does_not_go_along(
    stack: Stack, deployed: Deployed, edge: Edge, capsys: pytest.CaptureFixture[str], planned: str, said: str
) -> None:
    log = deployed(edge.leaf, preview=RENEWS + planned)
    line = fails(stack, edge.place, capsys)
    assert f"{said})" in line
    assert line.endswith("make up STACK=test")
    assert deploy_runs[log] == []


def test_a_change_of_times_alone_is_what_is_wanted() -> None:
    outputs = [{"outputs": {"pki_inventory": [{"names": ["a"], **times}]}} for times in ({"expires": "1"}, {})]
    line = event(STACK, "same", type_="pulumi:pulumi:Stack", old=outputs[0], new=outputs[1])
    events = [json.loads(one) for one in (RENEWS + line).splitlines()]
    assert renewal.unexpected(events, [URN]) == []


SECRET: Final = "docker:index/secret:Secret"
FOLLOWING: Final = [
    event("urn::x::manager", "update", type_="pulumi:providers:docker", diffs=["certMaterial", "keyMaterial"]),
    event("urn::x::version", "replace", type_="random:index/randomId:RandomId", diffs=["keepers"]),
    event("urn::x::key", "create-replacement", type_=SECRET, detailedDiff={"data": {}, "name": {}}),
]
"""What a renewed certificate means where a Swarm is commanded with it, or keeps it."""


def test_what_follows_for_a_container_provider_goes_along() -> None:
    parts: list[dict[str, Any]] = [
        {"key": "[secret]", "certificate": "old"},
        {"key": "[secret]", "certificate": "new", "secrets": {}},
    ]
    outputs = [{"outputs": {"container_providers": {"a": {"address": "tcp://a:1", **one}}}} for one in parts]
    line = event(STACK, "same", type_="pulumi:pulumi:Stack", old=outputs[0], new=outputs[1])
    events = [json.loads(one) for one in (RENEWS + "".join(FOLLOWING) + line).splitlines()]
    assert renewal.unexpected(events, [URN]) == []


@pytest.mark.parametrize(
    ("planned", "said"),
    [
        (event("urn::x::manager", "update", type_="pulumi:providers:docker", diffs=["host", "certMaterial"]),
         "manager: host"),
        (event("urn::x::manager", "create", type_="pulumi:providers:docker"), "manager: create"),
        (event("urn::x::key", "replace", type_=SECRET, diffs=["labels", "name"]), "key: labels"),
        (event("urn::x::key", "delete", type_=SECRET), "key: delete"),
        (
            event(
                STACK, "same", type_="pulumi:pulumi:Stack",
                old={"outputs": {"container_providers": {"a": {"address": "tcp://a:1", "key": "x"}}}},
                new={"outputs": {"container_providers": {"a": {"address": "tcp://b:1", "key": "y"}}}},
            ),
            "output container_providers",
        ),
    ],
)  # fmt: skip
def test_what_else_changes_of_a_container_provider_does_not(planned: str, said: str) -> None:
    assert renewal.unexpected([json.loads(one) for one in (RENEWS + planned).splitlines()], [URN]) == [said]


def test_a_problem_ends_it(
    stack: Stack, deployed: Deployed, edge: Edge, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = deployed(edge.leaf)
    problem = Problem(setting="hosts.main.address", given="no\ndaemon", allowed="one", remedy="Start it")
    monkeypatch.setattr(checks, "check", lambda _: Checked(settings=None, problems=[problem]))
    assert fails(stack, edge.place, capsys) == (
        "nothing was renewed: hosts.main.address: no daemon; allowed: one. Start it"
    )
    damage = Damage(urn="u", type=CONTAINER_TYPE, name="reflector-test-caddy", what="is gone")
    monkeypatch.setattr(checks, "check", lambda _: Checked(settings=None, problems=[], damage=[damage]))
    assert "reflector-test-caddy is gone; mend it: make up STACK=test" in fails(stack, edge.place, capsys)
    assert deploy_runs[log] == []


def test_an_engine_that_fails_is_told_of(
    stack: Stack, deployed: Deployed, edge: Edge, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed(edge.leaf)
    assert fails(stack, edge.place, capsys).startswith("the engine could not renew edge-certificate (due since 20")


def test_what_is_still_inside_its_window_is_told_of(
    stack: Stack, deployed: Deployed, edge: Edge, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed(edge.leaf, renews=lambda: edge.leaf)
    assert fails(stack, edge.place, capsys).startswith("still inside its window after the renewal: edge-certificate")


def test_a_leaf_that_is_not_what_the_edge_shows_is_told_of(
    stack: Stack, deployed: Deployed, edge: Edge, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "_SERVED_SECONDS", 0)
    new = certificate("a.test", to_days=90)
    deployed(edge.leaf, renews=lambda: new)
    assert f"{edge.place} shows another certificate than the one issued" in fails(stack, edge.place, capsys)


def test_an_edge_that_cannot_be_seen_is_told_of(
    stack: Stack, deployed: Deployed, edge: Edge, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "_SERVED_SECONDS", 0)
    nowhere = Place(host="127.0.0.1", port=free_port())
    deployed(edge.leaf, renews=lambda: certificate("a.test", to_days=90))
    assert f"it could not be seen whether it is served: {nowhere} shows no certificate" in fails(stack, nowhere, capsys)
    deployed(certificate("a.test", to_days=90))
    assert renewal.renew(stack, place=nowhere) == 0, (
        "nothing is due, and that the edge is away is not a renewal's business"
    )
    assert capsys.readouterr().out.startswith(f"nothing is due ({nowhere} shows no certificate")


def test_a_stack_that_is_not_deployed_is_told_of(stack: Stack, edge: Edge, capsys: pytest.CaptureFixture[str]) -> None:
    with_file(stack, {"edge": {"domain": "a.test"}})
    assert "the stack test is not deployed; make up STACK=test" in fails(stack, edge.place, capsys)


def test_a_wrong_setting_is_told_of(stack: Stack, edge: Edge, capsys: pytest.CaptureFixture[str]) -> None:
    with_file(stack, {"edge": {"domian": "a.test"}})
    assert "edge.domian" in fails(stack, edge.place, capsys)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"source": "own"},
            "edge-certificate is your own and ends on {end}: replace its files or secrets, then make up",
        ),
        (
            {"kind": "root", "source": "private"},
            "edge-certificate (root) ends on {end}, and no renewal makes a new one",
        ),
        ({"kind": "token", "source": "hatchet"}, "run make up STACK=test at a quiet hour"),
    ],
)
def test_what_no_renewal_makes_anew_is_told_of_with_its_end_and_the_remedy(
    stack: Stack, deployed: Deployed, edge: Edge, capsys: pytest.CaptureFixture[str], more: dict[str, object], said: str
) -> None:
    entry = entry_of(edge.leaf, **more)
    del entry["renew_at"]
    log = deployed(edge.leaf, entries=[entry])
    end = f"{of_pem(edge.leaf[0]).expires:%Y-%m-%d %H:%M UTC}"
    assert said.format(end=end) in fails(stack, edge.place, capsys)
    assert deploy_runs[log] == []


def test_a_certificate_by_acme_is_judged_by_what_the_edge_shows(
    stack: Stack, deployed: Deployed, edge: Edge, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"name": "edge-certificate", "kind": "server", "source": "acme", "names": ["DNS:a.test"]}
    deployed(edge.leaf, entries=[entry])
    assert renewal.renew(stack, place=edge.place) == 0, "Caddy has days left"
    edge.leaf = certificate("a.test", from_days=-89, to_days=1)
    assert "was not renewed by ACME: see what reflector-test-caddy logs" in fails(stack, edge.place, capsys)


def test_a_leaf_that_ends_with_its_authority_names_it(
    stack: Stack, deployed: Deployed, edge: Edge, capsys: pytest.CaptureFixture[str]
) -> None:
    edge.leaf = certificate("a.test", to_days=80)
    soon = (datetime.now(UTC) + timedelta(days=20)).isoformat()
    root = {"name": "foreign", "kind": "root", "source": "signed-by", "expires": soon}
    deployed(edge.leaf, entries=[root, entry_of(edge.leaf, chain_expires=soon)])
    assert "edge-certificate ends with foreign on " in fails(stack, edge.place, capsys)


def test_a_record_that_cannot_be_read_is_no_success(stack: Stack) -> None:
    assert renewal.last_attempt(stack) is None
    renewal.folder_of(stack).mkdir(parents=True)
    (renewal.folder_of(stack) / "test.json").write_text("{", encoding="utf-8")
    attempt = renewal.last_attempt(stack)
    assert attempt is not None
    assert not attempt.succeeded


# --- Where the edge is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "addresses", "place"),
    [
        ("", ["0.0.0.0"], "127.0.0.1:8443"),
        ("", ["::"], "[::1]:8443"),
        ("", ["192.0.2.7"], "192.0.2.7:8443"),
        ("ssh://me@docker.test:2222", ["0.0.0.0"], "docker.test:8443"),
        ("ssh://me@docker.test", ["127.0.0.1", "192.0.2.7"], "192.0.2.7:8443"),
        ("ssh://me@docker.test", ["127.0.0.1"], "a.test:443"),
    ],
)
def test_the_edge_is_looked_for_where_it_is_published(host: str, addresses: list[str], place: str) -> None:
    more: dict[str, object] = {"hosts": {"main": {"address": host}}} if host else {}
    edge = {"domain": "a.test", "bind_addresses": addresses, "public_port": 443}
    settings: Settings = settings_of(8443, 8080, edge, **more)
    assert str(edge_of(settings)) == place


def test_a_place_is_a_host_and_a_port() -> None:
    assert Place.of("[2001:db8::7]:443") == Place(host="2001:db8::7", port=443)
    assert str(Place.of("a.test:8443")) == "a.test:8443"
    for text in ("a.test", "https://a.test:1", "a.test:1/x", ":1", "a.test:x"):
        with pytest.raises(ValueError, match=r"host|Port|port"):
            Place.of(text)


def test_whoever_shows_no_certificate_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        place = Place(host="127.0.0.1", port=mute.getsockname()[1])
        mute.close()
        with pytest.raises(NotServed, match=f"^{place} shows no certificate: "):
            served(place, "a.test")
