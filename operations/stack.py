"""A stack's life around the engine: made on first use, freed from what an interrupted run left, taken up and down."""

import contextlib
import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from operations.state import StateError, StateFiles, unknown_creations
from settings import PROJECT, EngineConfig, path_of
from toolchain import PASSED_OVER, Layout, pulumi_environment

# The engine writes the salt of the stack's secrets into the stack file. In a shipped example (.gitattributes) it is one
# machine's own, so git is told to leave that line out of what it compares and commits; but not once there is something
# encrypted in the file, which nothing else opens.
_FILTER: Final = "pulumi-salt"
_WITHOUT_SALT: Final = (
    "awk '{line[NR] = $0} /secure *:/ {kept = 1} "
    "END {for (i = 1; i <= NR; i++) if (kept || line[i] !~ /^encryptionsalt:/) print line[i]}'"
)

_WRONG_PASSPHRASE: Final = "incorrect passphrase"
"""What the engine calls it (ErrIncorrectPassphrase of its secrets/passphrase); its exit status is that of any error."""
_ANY_ERROR: Final = 1
_MESSAGE: Final = "PULUMI_OPTION_MESSAGE"
"""Stands for --message of commands that have it; what it is goes into the history of the stack."""
SAVES_AT_END: Final[Mapping[str, str]] = {"PULUMI_SKIP_CHECKPOINTS": "true"}
"""What makes a run of the engine write the state at its end alone."""
_MARKUP: Final = re.compile(r"<\{%.*?%\}>")
"""Colours in the messages of events."""


def by_whom() -> str:
    """Return who runs this, and where, as it is noted in the history of a stack."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        user = "somebody"
    return f"by {user}@{socket.gethostname()}"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One stack of this checkout, run with the checkout's own engine, plugins and state."""

    name: str
    layout: Layout

    @property
    def environment(self) -> dict[str, str]:
        """What the engine runs in."""
        return pulumi_environment(self.layout, os.environ)

    def pulumi(self, *arguments: str, saves_at_end: bool = False) -> int:
        """Run the engine on this stack, its output passed through, and return its exit status.

        What the engine cannot know of a failure, the passphrase or the disk behind it, is said after its own words.
        One that `saves_at_end` writes the state once, not before and after each step: if it is killed, it has done
        nothing, so it must not do anything outside the state.
        """
        with subprocess.Popen(
            [str(self.layout.bin / "pulumi"), *arguments, "--stack", self.name],
            cwd=self.layout.root,
            # The history has no other place for who it was.
            env={**self.environment, _MESSAGE: by_whom(), **(SAVES_AT_END if saves_at_end else {})},
        ) as engine:
            while engine.returncode is None:
                # Ctrl-C reaches the engine as well. It then brings what it is at to an end, or with a second one
                # gives up; killed from here, it would leave a half-done state.
                with contextlib.suppress(KeyboardInterrupt):
                    engine.wait()
        if engine.returncode != 0:
            try:
                self._explain(engine.returncode)
            except StateError as error:
                print(f"error: {error}", file=sys.stderr)
        return engine.returncode

    def _explain(self, status: int) -> None:
        """Raise StateError if a run of the engine failed for a reason outside it."""
        files = self._files()
        if files is not None:
            files.see_that_there_is_room()
        if status == _ANY_ERROR:
            self.see_that_the_passphrase_is_right()

    def see_that_the_passphrase_is_right(self) -> None:
        """Raise StateError if it does not open this stack; the engine is asked, which takes a while."""
        environment = self.environment
        # What is encrypted in the stack file, then in the state: each question is answered where there is nothing.
        questions = (("config", "--json", "--show-secrets"), ("stack", "export", "--show-secrets"))
        if not any(self._is_passphrase_wrong(question, environment) for question in questions):
            return
        source = "PULUMI_CONFIG_PASSPHRASE"
        if not environment.get(source):
            source = environment["PULUMI_CONFIG_PASSPHRASE_FILE"]
        raise StateError(
            f"The passphrase in {source} is not the one the stack {self.name} was encrypted with. Nothing was changed."
            " Bring that one back from a copy; if it is lost, so is every secret of the stack."
        )

    def _is_passphrase_wrong(self, question: Sequence[str], environment: Mapping[str, str]) -> bool:
        asked = subprocess.run(
            [str(self.layout.bin / "pulumi"), *question, "--stack", self.name],
            cwd=self.layout.root,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        return asked.returncode != 0 and _WRONG_PASSPHRASE in asked.stderr

    def ask(self, *arguments: str, stdin: str | None = None) -> str:
        """Run the engine on this stack and return what it prints; its complaints are passed through.

        Raises: subprocess.CalledProcessError if it fails.
        """
        return subprocess.run(
            [str(self.layout.bin / "pulumi"), *arguments, "--stack", self.name],
            cwd=self.layout.root,
            env=self.environment,
            input=stdin,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    def foreseen(self, *arguments: str) -> list[Mapping[str, Any]]:
        """Return the events of a preview, as the engine tells them to whoever wants the stack's outputs among them.

        Raises: subprocess.CalledProcessError if it fails; why is printed.
        """
        command = [str(self.layout.bin / "pulumi"), "preview", "--json", *arguments, "--stack", self.name]
        told = {"PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true"}
        done = subprocess.run(
            command, cwd=self.layout.root, env=self.environment | told, stdout=subprocess.PIPE, text=True, check=False
        )
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode != 0:
            # With --json it says why in the events only.
            for event in events:
                told_of = event.get("diagnosticEvent") or {}
                if told_of.get("severity") == "error":
                    print(_MARKUP.sub("", told_of["message"]).strip(), file=sys.stderr)
            raise subprocess.CalledProcessError(done.returncode, command)
        return events

    def _files(self) -> StateFiles | None:
        """Where the state is if it is kept in files, None for any other backend."""
        url = self.environment.get("PULUMI_BACKEND_URL", "")
        if not url.startswith("file://"):
            return None
        # As the engine reads it: a home, or a folder relative to where it runs, may stand there too.
        folder = self.layout.root / Path(unquote(url.removeprefix("file://").partition("?")[0])).expanduser()
        return StateFiles(folder=folder, project=PROJECT, stack=self.name, root=self.layout.root)

    @property
    def files(self) -> StateFiles:
        """Where the state is.

        Raises: StateError if it is not kept in files.
        """
        files = self._files()
        if files is None:
            backend = self.environment.get("PULUMI_BACKEND_URL") or "the backend of your login"
            raise StateError(f"The state of the stack {self.name} is in {backend}, not in files. Recover it there.")
        return files

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other run off this stack, where its state is in files; other backends do so by themselves.

        Raises: StateError if somebody is at work on it, or a run could not write what it does.
        """
        files = self._files()
        if files is None:
            yield
            return
        with files.held():
            files.see_that_there_is_room()
            yield

    def mention_who_is_at_work(self) -> None:
        """Say so if a run is under way, whose half-done work a look at the stack would show."""
        files = self._files()
        live = files.live_locks() if files is not None else []
        if live:
            print(f"Hint: the stack {self.name} is in use by {live[0]}; what is shown is half done.", file=sys.stderr)

    def resources(self) -> Sequence[Mapping[str, Any]] | None:
        """Return the resources in the state, secrets still encrypted; None where it is not in files."""
        files = self._files()
        return None if files is None else files.resources()

    def exported_resources(self) -> Sequence[Mapping[str, Any]]:
        """Return them wherever the state is: the engine is asked, which takes it as long as all checks together."""
        deployment = json.loads(self.ask("stack", "export"))["deployment"] or {}
        resources: Sequence[Mapping[str, Any]] = deployment.get("resources") or ()
        return resources

    @property
    def copies_of_the_state(self) -> list[str]:
        """Where earlier states of it are kept; empty where the state is not in files."""
        files = self._files()
        return [] if files is None else files.copies()

    @property
    def past_states(self) -> Sequence[Path]:
        """Files with the states of earlier runs, the newest first; none where they are not in files."""
        files = self._files()
        return () if files is None else files.past()

    def ensure(self) -> None:
        """Make sure the stack exists and can be read, and that git sees nothing of its salt whoever made it.

        Raises: StateError for a state, or secrets in the stack file, that cannot be read.
        """
        files = self._files()
        if files is not None:
            if not files.live_locks():
                files.remove_torn_attributes()
            self._see_to_the_salt(files)
        if files is None or files.checkpoint is None:
            chosen = self.environment.get(PASSED_OVER)
            if chosen:
                print(
                    f"The state of the new stack {self.name} is kept in files, {self.layout.state}: {chosen} does not"
                    " choose a backend here. To have another: . ./env.sh && pulumi login <url>, or PULUMI_BACKEND_URL.",
                    file=sys.stderr,
                )
            status = self.pulumi("stack", "select", "--create")
            if status != 0:
                sys.exit(status)
        self._keep_salt_out_of_git()

    def _see_to_the_salt(self, files: StateFiles) -> None:
        """Say that a stack file without its salt gets that of the state, or that nobody has it any more.

        The engine puts it back (PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER), but would make a new one where there is
        none, with which nothing that is encrypted in the file opens.
        """
        file = path_of(self.name, self.layout.root)
        salt = files.salt()
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):  # whoever reads the settings says so
            return
        if re.search(r"^(encryptionsalt|encryptedkey|secretsprovider):", text, re.MULTILINE):
            return
        if salt:
            print(f"{file.name} has no encryptionsalt; it gets that of the state back.")
        elif re.search(r"\bsecure *:", text):
            raise StateError(
                f"{file.name} holds encrypted values without the encryptionsalt they open with, and the state of the"
                f" stack {self.name} has none either. Bring that line or the state back from a copy, or set the values"
                " anew: pulumi config set --secret --path <setting>"
            )

    def _keep_salt_out_of_git(self) -> None:
        """Define the filter for a file that has it, and bring git's note of that file's size up to date.

        A file of another size counts as modified for `git status`, whatever the filter makes of it.
        """
        if not (self.layout.root / ".git").exists() or shutil.which("git") is None:
            return
        file = f"Pulumi.{self.name}.yaml"
        try:
            if not self._git("check-attr", "filter", "--", file).rstrip().endswith(f": filter: {_FILTER}"):
                return
            modified = self._git("status", "--porcelain", "--", file)
            setting = f"filter.{_FILTER}.clean"
            if self._git("config", "--default", "", "--get", setting).strip() != _WITHOUT_SALT:
                self._git("config", "--local", setting, _WITHOUT_SALT)
            if modified and not self._git("diff", "--name-only", "--", file):
                self._git("add", "--update", "--", file)
        except subprocess.CalledProcessError as error:
            # Somebody else's checkout, for one, git calls dubious and leaves alone. The stack can do without.
            reason, *_ = error.stderr.splitlines() or [str(error)]
            print(f"git may show {file} as modified: {reason}", file=sys.stderr)

    def _git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.layout.root, capture_output=True, text=True, check=True
        ).stdout

    def recover(self) -> None:
        """Clear away what a killed run left: its lock, and its note of operations under way.

        What those operations may have made on the Docker host is found by name and label when it is made again. Only
        for whoever is `alone` on the stack.
        Raises: StateError for what would not be found again; nothing is forgotten then.
        """
        files = self._files()
        if files is None or files.checkpoint is None:
            return
        removed = files.remove_stale_locks()
        if removed:
            print(f"Removed the lock of a run that did not end ({removed}).")
        pending = files.pending_operations()
        if not pending:
            return
        unknown = unknown_creations(pending)
        if unknown:
            lines = [
                "the last run was interrupted while it made these. They may exist, and the state does not know them:",
                *(f"  - {line}" for line in unknown),
                "Nothing was changed. Look for each where it would be. For one that is there, after . ./env.sh:",
                f"  pulumi refresh --yes --stack {self.name} --import-pending-creates <urn> \\",
                "    --import-pending-creates <id>",
                "Once none of the others is there:",
                f"  pulumi refresh --yes --stack {self.name} --clear-pending-creates",
            ]
            raise StateError("\n".join(lines))
        try:
            deployment = json.loads(self.ask("stack", "export"))
            deployment["deployment"].pop("pending_operations", None)
            self.ask("stack", "import", stdin=json.dumps(deployment))
        except subprocess.CalledProcessError as error:
            self._explain(error.returncode)
            raise StateError(
                f"The engine cannot forget what the last run of the stack {self.name} was at; above is why."
            ) from None
        for operation in pending:
            print(f"The last run was interrupted while {operation['type']} {operation['resource']['urn']}")

    @property
    def keeps_state_in_files(self) -> bool:
        """Whether the backend is a folder."""
        return self._files() is not None

    def configuration(self) -> EngineConfig:
        """Return the stack's configuration as the engine has it: decrypted, with imported environments.

        Raises: subprocess.CalledProcessError if the engine cannot tell.
        """
        entries: dict[str, dict[str, Any]] = json.loads(self.ask("config", "--json", "--show-secrets"))
        return EngineConfig.of(
            {key: str(entry.get("value", "")) for key, entry in entries.items()},
            frozenset(key for key, entry in entries.items() if entry.get("secret")),
        )
