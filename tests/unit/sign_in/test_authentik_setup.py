"""The script that makes Authentik know Reflector, run as the step runs it: its text, a `docker` on PATH, JSON in."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from components.sign_in.authentik_setup import masked
from testing import building
from testing.blueprints import Find, entries
from testing.commands import path_with

STEP: Final = building.built("Authentik").named("it-application")
SCRIPT: Final[str] = building.script_of(STEP)
WANTED: Final[Mapping[str, Any]] = json.loads(STEP.plain("stdin"))
WORKER: Final = "reflector-test-authentik-worker"
CONSTANTS: Final[Mapping[str, str]] = {
    "BUSY_SECONDS: Final = 180.0": "BUSY_SECONDS: Final = 3.0",
    "APPLY_SECONDS: Final = 300.0": "APPLY_SECONDS: Final = 1.0",
    "time.sleep(5)": "time.sleep(0.05)",
}
"""What takes minutes, shortened."""
OTHER_PASSWORD: Final = {"status": 3, "stderr": "akadmin cannot sign in with the generated password\n"}
FINE: Final = {"status": 0}

# Runs the small programs on a folder in place of the container's root, and lets the rest answer as it is told, one
# answer after the other and the last one for ever.
DOCKER: Final = """#!{python} -IS
import json, os, sys, subprocess, time
root, log, told = {root!r}, {log!r}, {told!r}
arguments, stdin = sys.argv[1:], sys.stdin.read()
command = arguments[3:]
files = {{}}
for folder, _, names in os.walk(root):
    for name in names:
        path = os.path.join(folder, name)
        files[path[len(root):]] = open(path).read()
with open(log, "a") as file:
    file.write(json.dumps({{"arguments": arguments, "stdin": stdin, "files": files}}) + "\\n")
given = json.loads(stdin)
kind = "ak" if command[0] == "ak" else "proof" if "the proof program" in command[-1] else ""
if not kind and os.path.exists(told + ".gone"):
    sys.exit("Error response from daemon: container is not running")
if not kind:
    place = lambda path: root + path
    moved = (
        place(given) if isinstance(given, str)
        else [place(path) for path in given] if isinstance(given, list)
        else {{place(path): content for path, content in given.items()}}
    )
    done = subprocess.run([sys.executable, *command[1:]], input=json.dumps(moved), text=True)
    sys.exit(done.returncode)
answers = json.load(open(told))
answer = answers[kind][0]
if len(answers[kind]) > 1:
    answers[kind].pop(0)
    json.dump(answers, open(told, "w"))
time.sleep(answer.get("seconds", 0))
sys.stdout.write(answer.get("stdout", ""))
sys.stderr.write(answer.get("stderr", ""))
sys.exit(answer.get("status", 0))
"""


@dataclass(frozen=True, kw_only=True)
class Ran:
    status: int
    stdout: str
    stderr: str
    calls: Sequence[Mapping[str, Any]]
    root: Path

    def applied(self) -> list[Mapping[str, Any]]:
        """Return the calls of Authentik's own command."""
        return [call for call in self.calls if call["arguments"][3] == "ak"]

    def blueprints(self) -> list[str]:
        """Return the text of the blueprint of each application."""
        return [call["files"]["/blueprints/custom/reflector.yaml"] for call in self.applied()]

    def proofs(self) -> list[dict[str, Any]]:
        """Return what each proof was asked to prove."""
        return [json.loads(call["stdin"]) for call in self.calls if "the proof program" in call["arguments"][-1]]

    @property
    def left(self) -> set[str]:
        """Files that are there in the end."""
        return {f"/{file.relative_to(self.root)}" for file in self.root.rglob("*") if file.is_file()}

    @property
    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.root / "data" / ".reflector.json").read_text()))


def run(
    folder: Path,
    *,
    ak: Sequence[Mapping[str, Any]] = (FINE,),
    proof: Sequence[Mapping[str, Any]] = (FINE,),
    gone: bool = False,
    **wanted: Any,
) -> Ran:
    """Run the script against an Authentik that answers so; what was written down before is still there."""
    root, log, told = folder / "root", folder / "log", folder / "told"
    root.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    told.write_text(json.dumps({"ak": list(ak), "proof": list(proof)}))
    if gone:
        (folder / "told.gone").touch()
    program = folder / "docker"
    program.write_text(DOCKER.format(python=sys.executable, root=str(root), log=str(log), told=str(told)))
    program.chmod(0o755)
    script = SCRIPT
    for old, new in CONSTANTS.items():
        assert script.count(old) == 1
        script = script.replace(old, new)
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps({**WANTED, "proof_program": "# the proof program", **wanted}),
        env={**os.environ, "PATH": path_with(folder), "CONTAINER": WORKER},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(
        status=done.returncode,
        stdout=done.stdout,
        stderr=done.stderr,
        calls=[json.loads(line) for line in log.read_text().splitlines()],
        root=root,
    )


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The script run on an Authentik that has just started."""
    return run(tmp_path_factory.mktemp("fresh"))


def now(**changed: Any) -> dict[str, Any]:
    return {**WANTED["now"], **changed}


# --- Secrets ----------------------------------------------------------------------------------------------------------


def test_the_blueprint_and_every_secret_are_there_while_it_is_applied(fresh: Ran) -> None:
    assert fresh.status == 0, fresh.stderr
    (call,) = fresh.applied()
    secrets = {f"/run/reflector/{name}": secret for name, secret in WANTED["secrets"].items()}
    assert call["files"].items() >= secrets.items()
    assert call["files"]["/blueprints/custom/reflector.yaml"] == WANTED["blueprint"]
    assert set(call["files"]) - set(secrets) == {"/blueprints/custom/reflector.yaml", "/data/.reflector.json"}


def test_its_own_blueprints_come_first_in_their_order(fresh: Ran) -> None:
    (call,) = fresh.applied()
    assert call["arguments"] == [
        "exec", "--interactive", WORKER, "ak", "apply_blueprint",
        "default/flow-default-provider-authorization-implicit-consent.yaml",
        "default/flow-default-provider-invalidation.yaml",
        "system/providers-oauth2.yaml",
        "default/default-brand.yaml",
        "custom/reflector.yaml",
    ]  # fmt: skip


def test_no_secret_is_an_argument_nor_printed(fresh: Ran) -> None:
    said = fresh.stdout + fresh.stderr + json.dumps([call["arguments"] for call in fresh.calls])
    assert not [name for name, secret in WANTED["secrets"].items() if building.searchable(secret) in said]
    assert not [name for name, secret in WANTED["secrets"].items() if secret in json.dumps(fresh.record)]


def test_only_authentik_can_read_what_lies_there(fresh: Ran) -> None:
    assert (fresh.root / "data" / ".reflector.json").stat().st_mode & 0o777 == 0o600
    assert (fresh.root / "run" / "reflector").stat().st_mode & 0o777 == 0o700


def test_what_was_written_is_removed_before_it_is_proven(fresh: Ran) -> None:
    assert fresh.left == {"/data/.reflector.json"}
    (proof,) = (call for call in fresh.calls if "the proof program" in call["arguments"][-1])
    assert set(proof["files"]) == {"/data/.reflector.json"}


@pytest.mark.parametrize(
    "answers",
    [
        {"ak": [{"status": 1, "stderr": "Blueprint invalid\n"}]},
        {"ak": [{"seconds": 30}]},
        {"proof": [{"status": 1, "stderr": "it was told, and the issuer is wrong"}]},
    ],
    ids=["refused", "too slow", "not proven"],
)
def test_it_is_removed_also_when_it_fails(tmp_path: Path, answers: dict[str, Any]) -> None:
    ran = run(tmp_path, **answers)
    assert ran.status == 1
    assert ran.left == {"/data/.reflector.json"}


def test_it_is_removed_also_when_it_could_not_all_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "root" / "blueprints"
    blocked.parent.mkdir()
    blocked.write_text("not a folder")
    ran = run(tmp_path)
    assert ran.status == 1
    assert not [path for path in ran.left if path.startswith("/run")]


# --- Refusals ---------------------------------------------------------------------------------------------------------

KEY: Final = "-----BEGIN PRIVATE KEY-----\nMIIFirstLineOfTheKey0\nMIISecondLineOfTheKey\n-----END PRIVATE KEY-----\n"
SECRETS: Final = {
    **dict.fromkeys(WANTED["secrets"], "someSecretOfNobody"),
    "signing-key": KEY,
    "client-secret": "abcdefgh12345678",
    "administrator": "abcdefgh12345678-and-more",
    "password-admin": "0abcdefgh12345678",
}


def refusal(folder: Path, stderr: str) -> str:
    ran = run(folder, ak=[{"status": 1, "stderr": stderr}], secrets=SECRETS)
    assert ran.status == 1
    assert ran.proofs() == [], "nothing is proven of what was refused"
    return ran.stderr


def test_a_refusal_ends_it_with_authentiks_own_words(tmp_path: Path) -> None:
    said = refusal(
        tmp_path, "Blueprint invalid\n\tblueprints.importer: Entry invalid: Serializer errors {'name': 'no'}\n"
    )
    assert said.splitlines()[-2:] == [
        "Authentik refused the blueprint: Blueprint invalid",
        "\tblueprints.importer: Entry invalid: Serializer errors {'name': 'no'}",
    ]


@pytest.mark.parametrize(
    "quoted",
    [
        "{secret}", "'{secret}'", "'key_data': {secret!r}", "{json}", "BlueprintEntry(attrs={{'a': {secret!r}}})",
        "x{secret}y",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["signing-key", "client-secret", "administrator", "password-admin"])
def test_every_secret_in_it_is_masked_however_it_is_quoted(name: str, quoted: str) -> None:
    secret = SECRETS[name]
    said = masked(quoted.format(secret=secret, json=json.dumps({"a": secret})), SECRETS)
    assert "[secret]" in said
    for part in ("MIIFirst", "MIISecond", "abcdefgh", "12345678", "and-more"):
        assert part not in said, "nor the rest of one that holds another"


def test_a_refusal_is_masked(tmp_path: Path) -> None:
    said = refusal(tmp_path, f"Entry invalid: {{'key_data': {KEY!r}, 'client_secret': '{SECRETS['client-secret']}'}}")
    assert said.splitlines()[-1] == (
        "Authentik refused the blueprint: Entry invalid: {'key_data': '[secret]\\n[secret]\\n[secret]\\n[secret]\\n', "
        "'client_secret': '[secret]'}"
    )


def test_what_it_says_on_standard_output_is_masked_too(tmp_path: Path) -> None:
    ran = run(tmp_path, ak=[{"status": 1, "stdout": f"failed: {SECRETS['client-secret']}"}], secrets=SECRETS)
    assert ran.stderr.endswith("Authentik refused the blueprint: failed: [secret]\n")


def test_the_proofs_words_are_masked_too(tmp_path: Path) -> None:
    ran = run(tmp_path, proof=[{"status": 1, "stderr": f"answered {SECRETS['client-secret']}"}], secrets=SECRETS)
    assert (ran.status, ran.stderr.splitlines()[-1]) == (1, "Authentik: answered [secret]")


def test_a_worker_that_is_not_there_is_named(tmp_path: Path) -> None:
    ran = run(tmp_path, gone=True)
    assert ran.status == 1
    assert ran.stderr == "Authentik's worker: Error response from daemon: container is not running\n"


# --- Patience ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "psycopg.errors.DeadlockDetected: deadlock detected", "could not serialize access", "django.db.IntegrityError",
        "duplicate key value violates", "OperationalError: the connection is closed", "connection refused",
    ],
)  # fmt: skip
def test_it_tries_again_while_authentik_is_busy_starting(tmp_path: Path, words: str) -> None:
    ran = run(tmp_path, ak=[{"status": 1, "stderr": words}, {"status": 1, "stderr": words}, FINE])
    assert ran.status == 0, ran.stderr
    assert len(ran.applied()) == 3
    assert ran.stderr.count("busy starting") == 2


@pytest.mark.parametrize("words", ["Blueprint invalid", "could not determine a constructor for the tag '!X'", ""])
def test_it_does_not_try_again_what_is_refused(tmp_path: Path, words: str) -> None:
    assert len(run(tmp_path, ak=[{"status": 1, "stderr": words}, FINE]).applied()) == 1


def test_it_does_not_try_for_ever(tmp_path: Path) -> None:
    ran = run(tmp_path, ak=[{"status": 1, "stderr": "deadlock detected"}])
    assert ran.status == 1
    assert len(ran.applied()) > 2
    assert ran.stderr.splitlines()[-1] == "Authentik refused the blueprint: deadlock detected"


def test_a_command_that_waits_for_its_database_for_ever_is_given_up(tmp_path: Path) -> None:
    ran = run(tmp_path, ak=[{"seconds": 30}])
    assert ran.status == 1
    assert "ak did not end within 1 s" in ran.stderr


# --- What was there before --------------------------------------------------------------------------------------------


def again(folder: Path, before: Mapping[str, Any], **answers: Any) -> Ran:
    """Run the script twice: with `before` wanted, and then with what is wanted now."""
    assert run(folder, now=now(**before)).status == 0
    ran = run(folder, **answers)
    assert ran.status == 0, ran.stderr
    return ran


def first(ran: Ran) -> list[tuple[str, str, str]]:
    """Return what stands before the blueprint's own entries: model, name and state of each."""
    (text,) = ran.blueprints()
    own = len(entries(WANTED["blueprint"]))
    return [
        (entry["model"], next(iter(entry["identifiers"].values())), entry["state"]) for entry in entries(text)[:-own]
    ]


def test_run_again_it_takes_nothing_away(tmp_path: Path) -> None:
    ran = again(tmp_path, {})
    assert ran.blueprints() == [WANTED["blueprint"]]
    assert ran.stdout == "", "nothing of it goes into the state"


def test_what_there_is_is_written_down(fresh: Ran) -> None:
    administrator = hashlib.sha256(WANTED["secrets"]["administrator"].encode()).hexdigest()
    assert fresh.record == {**WANTED["now"], "administrator": administrator}


def test_somebody_who_is_gone_is_locked_out_and_kept(tmp_path: Path) -> None:
    ran = again(tmp_path, {"users": ["admin", "jane", "joe", "left"]})
    assert first(ran) == [("authentik_core.user", "left", "present")]
    entry = entries(ran.blueprints()[0])[0]
    assert entry["attrs"] == {"is_active": False}
    assert entry["conditions"] == [Find("authentik_core.user", (("username", "left"),))]


def test_a_group_that_is_gone_is_deleted(tmp_path: Path) -> None:
    assert first(again(tmp_path, {"groups": ["staff", "former"]})) == [("authentik_core.group", "former", "absent")]


def test_an_application_that_is_called_otherwise_now_makes_room_for_it(tmp_path: Path) -> None:
    ran = again(tmp_path, {"slugs": ["former"]})
    assert first(ran) == [("authentik_core.application", "former", "absent")]
    assert ran.record["slugs"] == ["reflector"]


def test_who_may_no_longer_enter_is_locked_out_first_and_then_let_in_again_as_somebody_without_access(
    tmp_path: Path,
) -> None:
    ran = again(tmp_path, {"allowed": ["admin", "jane", "joe"]})
    assert first(ran) == [("authentik_core.user", "joe", "present")]
    of_joe = [
        entry["attrs"]["is_active"]
        for entry in entries(ran.blueprints()[0], "authentik_core.user")
        if entry["identifiers"] == {"username": "joe"} and entry["state"] == "present"
    ]
    assert of_joe == [False, True], "the first ends every token"


def test_all_of_it_at_once_comes_in_an_order_that_works(tmp_path: Path) -> None:
    before = {"users": ["left", "joe"], "groups": ["former"], "slugs": ["other"], "allowed": ["left", "joe"]}
    assert first(again(tmp_path, before)) == [
        ("authentik_core.user", "left", "present"),
        ("authentik_core.user", "joe", "present"),
        ("authentik_core.group", "former", "absent"),
        ("authentik_core.application", "other", "absent"),
    ]


@pytest.mark.parametrize("answers", [{"ak": [{"status": 1, "stderr": "killed"}]}, {"proof": [{"status": 1}]}])
def test_who_was_let_in_by_a_run_that_failed_is_locked_out_by_the_next(tmp_path: Path, answers: dict[str, Any]) -> None:
    """Nobody knows how far it came; what it may have made is not forgotten."""
    assert run(tmp_path, now=now(slugs=["first"])).status == 0
    more = now(
        users=[*WANTED["now"]["users"], "new"], allowed=["admin", "new"], groups=["staff", "g"], slugs=["second"]
    )
    assert run(tmp_path, now=more, **answers).status == 1
    ran = run(tmp_path)
    assert ran.status == 0, ran.stderr
    assert first(ran) == [
        ("authentik_core.user", "new", "present"),
        ("authentik_core.group", "g", "absent"),
        ("authentik_core.application", "first", "absent"),
        ("authentik_core.application", "second", "absent"),
    ]
    assert {name: ran.record[name] for name in WANTED["now"]} == WANTED["now"]


# --- The administrator's password -------------------------------------------------------------------------------------


def test_the_administrators_sign_in_is_proven_once_for_each_password(tmp_path: Path) -> None:
    secrets = {**WANTED["secrets"], "administrator": "another one"}
    told = [run(tmp_path).proofs(), run(tmp_path).proofs(), run(tmp_path, secrets=secrets).proofs()]
    assert [[proof["administrator_proven"] for proof in proofs] for proofs in told] == [[False], [True], [False]]


def test_a_database_that_is_older_than_the_passwords_is_given_them(tmp_path: Path) -> None:
    ran = run(tmp_path, proof=[OTHER_PASSWORD, FINE])
    assert ran.status == 0, ran.stderr
    assert ran.blueprints() == [WANTED["blueprint"], WANTED["administrators_blueprint"]]
    assert ran.applied()[1]["arguments"][4:] == ["apply_blueprint", "custom/reflector.yaml"]
    assert len(ran.proofs()) == 2, "and that they are in force is proven"
    assert ran.left == {"/data/.reflector.json"}


def test_passwords_that_do_not_come_into_force_end_it(tmp_path: Path) -> None:
    ran = run(tmp_path, proof=[OTHER_PASSWORD])
    assert ran.status == 1
    assert len(ran.proofs()) == 2
    assert ran.stderr.splitlines()[-1] == "Authentik: akadmin cannot sign in with the generated password"
    assert "administrator" not in ran.record, "it is not proven, and the next run tries again"
    assert run(tmp_path).proofs()[0]["administrator_proven"] is False


def test_a_password_that_was_theirs_already_is_never_set_again(tmp_path: Path) -> None:
    assert run(tmp_path).status == 0
    ran = run(tmp_path, proof=[OTHER_PASSWORD])
    assert ran.status == 1
    assert ran.blueprints() == [WANTED["blueprint"]]


def test_any_other_failure_of_the_proof_sets_no_password(tmp_path: Path) -> None:
    ran = run(tmp_path, proof=[{"status": 1, "stderr": "it was told, and the issuer is 'x'"}])
    assert (ran.status, len(ran.applied()), len(ran.proofs())) == (1, 1, 1)
    assert ran.stderr.splitlines()[-1] == "Authentik: it was told, and the issuer is 'x'"
