"""What each run has changed of certificates: read from what a backend has kept, as it is there."""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from operations import __main__ as commands
from operations.stack import Stack, by_whom
from pki import facts
from pki.details import details
from pki.moments import rfc3339
from testing.certificates import Issued, issue
from testing.commands import calls
from tests.unit.operations.stand_ins import checkpoint, with_engine, with_file

NOW: Final = datetime.now(UTC).replace(microsecond=0)
ROOT: Final = issue("root", now=NOW, ca=True, to_days=3000)
FIRST: Final = issue("agent", ROOT, now=NOW, to_days=90)
SECOND: Final = issue("agent again", ROOT, now=NOW, to_days=120)
SERIALS: Final = tuple(facts.serial(one.certificate) for one in (FIRST, SECOND))
ENDS: Final = tuple(f"{one.certificate.not_valid_after_utc:%Y-%m-%d}" for one in (FIRST, SECOND))
Run = Callable[..., tuple[int, str]]


def state(
    *certificates: Mapping[str, Any], revoked: Sequence[int] = (), key: str = "one", generations: object = None
) -> list[dict[str, Any]]:
    """Return the resources of a state."""
    lists = {
        "name": "authority-clients-1-revocations", "kind": "crl", "authority": "clients", "generation": "g1",
        "details": {"number": 1, "revoked": [facts.hexadecimal(number) for number in revoked]},
    }  # fmt: skip
    outputs = {"pki_inventory": [*certificates, lists]}
    urn = "urn:pulumi:test::reflector::"
    return [
        {"urn": f"{urn}pulumi:pulumi:Stack::reflector-test", "type": "pulumi:pulumi:Stack", "outputs": outputs},
        {
            "urn": f"{urn}tls:index/privateKey:PrivateKey::certificate-agent-1-key",
            "type": "tls:index/privateKey:PrivateKey",
            "outputs": {"publicKeyPem": key},
        },
        {
            "urn": f"{urn}reflector:rollover:Rollover::authorities-declared",
            "type": "reflector:rollover:Rollover",
            "inputs": {"generations": generations or {}},
        },
    ]


def agent(of: Issued = FIRST, **more: Any) -> dict[str, Any]:
    return {
        "name": "certificate-agent", "certificate": "agent", "kind": "client", "source": "issued",
        "expires": rfc3339(of.certificate.not_valid_after_utc), "details": details(of.pem.decode()),
        "authority": "clients", "generation": "g1", "users": {}, **more,
    }  # fmt: skip


@pytest.fixture
def run(stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `pki history` on a stack whose backend has kept these states, each with what is noted of its run."""
    monkeypatch.setattr("operations.__main__.Layout", lambda: stack.layout)

    def run(*kept: tuple[Any, Mapping[str, Any]], arguments: Sequence[str] = ()) -> tuple[int, str]:
        with_file(stack, {"edge": {"domain": "a.test"}})
        with_engine(stack)
        folder = stack.layout.state / ".pulumi" / "history" / "reflector" / "test"
        folder.mkdir(parents=True, exist_ok=True)
        for number, (resources, noted) in enumerate(kept, 1):
            base = folder / f"test-{number * 10**9}"
            record = {
                "kind": "update",
                "startTime": 1_700_000_000 + number,
                "result": "succeeded",
                "message": "",
                **noted,
            }
            Path(f"{base}.history.json").write_text(json.dumps(record), encoding="utf-8")
            if resources is not None:
                text = resources if isinstance(resources, str) else checkpoint(resources=resources)
                data = text.encode()
                # As with PULUMI_DIY_BACKEND_GZIP, which is the caller's to set.
                path, data = (f"{base}.checkpoint.json.gz", gzip.compress(data)) if number == 2 else (
                    f"{base}.checkpoint.json", data,
                )  # fmt: skip
                Path(path).write_bytes(data)
        monkeypatch.setattr("sys.argv", ["operations", "pki", "--stack", "test", "history", *arguments])
        status = commands.main()
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


def changes(text: str) -> list[list[str]]:
    """Return the changes of each run."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("  "):
            found[-1].append(line.strip())
        else:
            found.append([])
    return found


def test_certificates_come_are_renewed_get_new_keys_and_users_and_go(run: Run) -> None:
    status, text = run(
        (state(), {}),
        (state(agent()), {}),
        (state(agent(users={"relays": ["people"]})), {}),
        (state(agent(SECOND, users={"relays": ["people"]})), {}),
        (state(agent(FIRST, users={"relays": ["people"]}, generation="g2"), key="two"), {}),
        (state(agent(FIRST, users={"relays": ["people"]}, generation="g2"), key="two"), {"kind": "refresh"}),
        (state(), {"kind": "destroy"}),
    )
    assert status == 0, text
    assert changes(text) == [
        [],
        [f"+ agent {SERIALS[0]}: issued by clients g1, ends {ENDS[0]}"],
        ["~ agent: used by relays people, before by nobody"],
        [f"~ agent {SERIALS[1]}: renewed, before {SERIALS[0]}, ends {ENDS[1]}, used by relays people"],
        [
            f"~ agent {SERIALS[0]}: with a new key, clients g1 → g2, before {SERIALS[1]}, ends {ENDS[0]}, "
            "used by relays people"
        ],
        [],
        [f"- agent {SERIALS[0]}: gone"],
    ]


def test_authorities_change_their_states_and_certificates_are_revoked(run: Run) -> None:
    root = {
        "name": "authority-clients", "kind": "root", "authority": "clients", "details": details(ROOT.pem.decode()),
        "expires": rfc3339(ROOT.certificate.not_valid_after_utc),
    }  # fmt: skip
    _, text = run(
        (state(root, generations={"clients": {"g1": {"state": "active"}}}), {}),
        (state(root, revoked=[10, 300], generations={"clients": {"g1": {"state": "trusted"}}}), {}),
        (state(root, revoked=[300], generations={}), {}),
    )
    assert changes(text) == [
        [
            f"+ authority-clients {facts.serial(ROOT.certificate)}: an authority, ends "
            f"{ROOT.certificate.not_valid_after_utc:%Y-%m-%d}",
            "~ authority clients g1: active, before not there",
        ],
        [
            "~ authority clients g1: trusted, before active",
            "+ revoked: 012C of clients",
            "+ revoked: 0A of clients",
        ],
        ["~ authority clients g1: not there, before trusted", "- revoked: 0A of clients"],
    ]


def test_who_ran_it_is_what_make_has_noted_or_what_git_knows(run: Run) -> None:
    git = {"git.head": "0123456789abcdef", "git.dirty": "true", "git.committer": "Somebody"}
    _, text = run(
        (state(), {"message": "by me@laptop", "environment": git}),
        (state(), {"message": "Mend by hand", "environment": git, "result": "failed"}),
        (state(), {"message": ""}),
    )
    assert text.splitlines() == [
        "2023-11-14 22:13:21 UTC  update succeeded  by me@laptop, at 0123456789ab*",
        "2023-11-14 22:13:22 UTC  update failed  plain pulumi, at a commit of Somebody, at 0123456789ab*",
        "2023-11-14 22:13:23 UTC  update succeeded  plain pulumi",
    ]
    user, _, host = by_whom().removeprefix("by ").partition("@")
    assert user
    assert host


def test_the_last_runs_are_shown_against_what_was_before_them(run: Run) -> None:
    kept: list[tuple[Any, Mapping[str, Any]]] = [(state(), {}), (state(agent()), {}), (state(), {})]
    _, text = run(*kept, arguments=("--last", "1"))
    assert changes(text) == [[f"- agent {SERIALS[0]}: gone"]]
    _, text = run(arguments=("--last", "2", "--json"))
    found = json.loads(text)
    assert [one["kind"] for one in found] == ["update", "update"]
    assert found[1] == {
        "started": "2023-11-14T22:13:23Z", "kind": "update", "result": "succeeded", "who": "plain pulumi",
        "commit": None, "changes": [f"- agent {SERIALS[0]}: gone"],
    }  # fmt: skip


def test_what_cannot_be_told_is_said_and_the_next_difference_spans_it(run: Run) -> None:
    sealed = state()
    sealed[0]["outputs"]["pki_inventory"] = {"4dabf18193072939515e22adb298388d": "x", "ciphertext": "v1:x"}
    _, text = run((state(), {}), (sealed, {}), (None, {}), ("{", {}), (state(agent()), {}))
    unknown = "what there was of certificates is encrypted, or cannot be read: the next difference spans this run"
    assert changes(text) == [
        [], [unknown], [unknown], [unknown], [f"+ agent {SERIALS[0]}: issued by clients g1, ends {ENDS[0]}"],
    ]  # fmt: skip


def test_a_hole_in_the_history_is_no_history(run: Run, stack: Stack) -> None:
    status, text = run((state(), {"startTime": "noon"}))
    assert status == 1
    assert text.rstrip().endswith("test-1000000000.history.json cannot be read: the history has a hole there")


def test_nothing_is_known_of_a_stack_that_was_never_deployed_or_is_kept_elsewhere(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run() == (0, "test was never deployed\n")
    assert "--last: 0; allowed: 1 or more" in run(arguments=("--last", "0"))[1]
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://bucket")
    status, text = run()
    assert (status, "not in files, and other backends hand out no earlier states" in text) == (1, True)


def test_a_run_of_the_engine_is_told_who_started_it(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    log = with_engine(stack, up="")
    assert stack.pulumi("up") == 0
    assert calls(log)[0]["environment"]["PULUMI_OPTION_MESSAGE"] == by_whom()
    monkeypatch.setattr("getpass.getuser", lambda: (_ for _ in ()).throw(KeyError("uid")))
    assert by_whom().startswith("by somebody@")
