"""Makes a running Authentik know Reflector, and proves that it does. Runs as a step beside the engine.

Reads what is wanted as JSON on standard input: a blueprint, the secrets it refers to, and what has to be true after.
Everything goes into the worker's container by the standard input of `docker exec`, so no secret is ever an argument;
there it lies in memory, and only while the blueprint is applied. Its image need not have a shell.

What there is now is written down in Authentik's own volume, beside the data it is about, so that the next time it is
known what is no longer wanted, whatever became of the state. Run again it changes nothing. Standard library only; its
text is the script.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

WORKER: Final = os.environ.get("CONTAINER", "")
BUSY: Final = re.compile(
    r"deadlock detected|could not serialize|IntegrityError|duplicate key|OperationalError|connection (refused|reset)",
    re.IGNORECASE,
)
"""What is said when its own start and a blueprint want the same rows at a time."""
BUSY_SECONDS: Final = 180.0
APPLY_SECONDS: Final = 300.0
"""For one application of all blueprints, half a minute on a busy machine; it waits for its database for ever."""
PROOF_SECONDS: Final = 900.0
"""Above what all of its checks take that wait for something."""
OTHER_PASSWORD: Final = 3
"""What the proof ends with where all is well but the administrator's password."""
SHORTEST_MASKED: Final = 8

WRITE: Final = """
import json, os, sys
for path, content in json.load(sys.stdin).items():
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
    os.replace(path + ".new", path)
"""
READ: Final = """
import json, os, sys
path = json.load(sys.stdin)
if os.path.exists(path):
    sys.stdout.write(open(path).read())
"""
REMOVE: Final = """
import json, os, sys
for path in json.load(sys.stdin):
    for name in (path, path + ".new"):
        if os.path.exists(name):
            os.remove(name)
"""


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def masked(text: str, secrets: Mapping[str, str]) -> str:
    """Return what Authentik said without any secret: it prints the whole entry that fails, what its files hold too."""
    # As it quotes them, a key's lines stand in one.
    words = {line.strip() for secret in secrets.values() for line in secret.splitlines()}
    for word in sorted(words, key=len, reverse=True):
        if len(word) >= SHORTEST_MASKED:
            text = text.replace(word, "[secret]")
    return text


def inside(*command: str, stdin: object, seconds: float = 60.0) -> "subprocess.CompletedProcess[str]":
    """Run a command in the worker's container with `stdin` as JSON; a time-out is a failure like others."""
    arguments = ("docker", "exec", "--interactive", WORKER, *command)
    try:
        return subprocess.run(
            arguments, input=json.dumps(stdin), capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(arguments, 124, "", f"{command[0]} did not end within {seconds:.0f} s")


def must(done: "subprocess.CompletedProcess[str]", what: str, secrets: Mapping[str, str]) -> str:
    """Return what a command printed; end with its words if it failed."""
    if done.returncode != 0:
        sys.exit(f"{what}: {masked(done.stderr.strip() or done.stdout.strip(), secrets)}")
    return done.stdout


def former(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was written down the last time; nothing where that was never."""
    text = must(inside("python3", "-c", READ, stdin=wanted["record"]), "Authentik's worker", {})
    return dict(json.loads(text)) if text else {}


def write_down(wanted: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Write down what there is now."""
    must(inside("python3", "-c", WRITE, stdin={wanted["record"]: json.dumps(now)}), "Authentik's worker", {})


def together(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return what there may be while one becomes the other."""
    lists = {name for name, value in now.items() if isinstance(value, list)}
    return {**before, **{name: [*dict.fromkeys((*before.get(name, ()), *now[name]))] for name in sorted(lists)}}


def entry(model: str, state: str, key: str, name: str, *further: str) -> str:
    """Return an entry of a blueprint as text, on one line; JSON is YAML too, but for the tags in `further`."""
    parts = (f'"model": "{model}", "state": "{state}"', f'"identifiers": {{"{key}": {quoted(name)}}}', *further)
    return f"{{{', '.join(parts)}}}"


def quoted(text: str) -> str:
    """Return a text as YAML has it between quotes."""
    return json.dumps(text, ensure_ascii=False)


def farewells(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the entries that take away what was there before and is not wanted now.

    People are kept, without access, and so is what they own. Who may no longer enter is locked out for a moment, which
    ends every token; whoever is still wanted is let in again by the entries that follow.
    """
    gone = [name for name in before.get("users", ()) if name not in now["users"]]
    revoked = [name for name in before.get("allowed", ()) if name in now["users"] and name not in now["allowed"]]
    user, group, application = "authentik_core.user", "authentik_core.group", "authentik_core.application"
    entries = [
        # Somebody an administrator has deleted meanwhile is not made again for this, nor asked for a name.
        entry(
            user, "present", "username", name, '"attrs": {"is_active": false}',
            f'"conditions": [!Find [{user}, [username, {quoted(name)}]]]',
        )
        for name in (*gone, *revoked)
    ]  # fmt: skip
    entries += [entry(group, "absent", "name", name) for name in before.get("groups", ()) if name not in now["groups"]]
    # Of one provider there is one application.
    entries += [
        entry(application, "absent", "slug", slug) for slug in before.get("slugs", ()) if slug not in now["slugs"]
    ]
    return entries


def with_first(blueprint: str, entries: Sequence[str]) -> str:
    """Return the blueprint with `entries` before its own."""
    head, line, rest = blueprint.partition("\nentries:\n")
    if not line:
        sys.exit("the blueprint has no entries")
    return head + line + "".join(f"  - {one}\n" for one in entries) + rest


def apply(wanted: Mapping[str, Any], blueprint: str, packaged: Sequence[str], secrets: Mapping[str, str]) -> None:
    """Have Authentik apply those of its own blueprints that ours refers to, and then ours."""
    files = {f"{wanted['secrets_directory']}/{name}": secret for name, secret in secrets.items()}
    path = f"/blueprints/{wanted['file']}"
    deadline = time.monotonic() + BUSY_SECONDS
    try:
        must(inside("python3", "-c", WRITE, stdin={**files, path: blueprint}), "Authentik's worker", secrets)
        while True:
            done = inside("ak", "apply_blueprint", *packaged, wanted["file"], stdin=None, seconds=APPLY_SECONDS)
            said = f"{done.stdout}\n{done.stderr}"
            if done.returncode == 0 or time.monotonic() > deadline or not BUSY.search(said):
                break
            say("Authentik is busy starting; once more in 5 s")
            time.sleep(5)
        must(done, "Authentik refused the blueprint", secrets)
    finally:
        must(inside("python3", "-c", REMOVE, stdin=[*files, path]), "Authentik's worker", secrets)


def main() -> None:
    """Bring Authentik to the state on standard input, and prove it."""
    wanted = json.load(sys.stdin)
    secrets: dict[str, str] = wanted["secrets"]
    before, now = former(wanted), wanted["now"]
    # Of the very password that is in force or was once; people choose others then.
    administrator = hashlib.sha256(secrets[wanted["administrator"]].encode()).hexdigest()
    say("telling Authentik about Reflector")
    # Should this end anywhere from here on, the next run still knows whom it may have let in.
    write_down(wanted, together(before, now))
    apply(wanted, with_first(wanted["blueprint"], farewells(before, now)), wanted["packaged"], secrets)
    proven_before = before.get("administrator") == administrator

    def prove() -> "subprocess.CompletedProcess[str]":
        proof = {**wanted["proof"], "administrator_proven": proven_before}
        return inside("python3", "-c", wanted["proof_program"], stdin=proof, seconds=PROOF_SECONDS)

    proven = prove()
    if proven.returncode == OTHER_PASSWORD and not proven_before:
        say("its database is older than the administrators' passwords; putting those in force")
        apply(wanted, wanted["administrators_blueprint"], (), secrets)
        proven = prove()
    must(proven, "Authentik", secrets)
    write_down(wanted, {**now, "administrator": administrator})
    say("Authentik knows Reflector, and nobody else can claim to be it")


if __name__ == "__main__":
    main()
