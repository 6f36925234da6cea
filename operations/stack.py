"""A stack's life around the engine: made on first use, freed from what an interrupted run left, taken up and down."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from operations.state import StateFiles, pulled_images
from settings import PROJECT, EngineConfig
from toolchain import Layout, pulumi_environment

# The engine writes the salt of the stack's secrets into the stack file. It belongs to this machine's passphrase, so git
# is told to leave that line out of what it compares and commits.
_SALT_FILTER: Final = "filter.pulumi-salt.clean"
_WITHOUT_SALT: Final = "sed -e /^encryptionsalt:/d"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One stack of this checkout, run with the checkout's own engine, plugins and state."""

    name: str
    layout: Layout

    @property
    def environment(self) -> dict[str, str]:
        """What the engine runs in."""
        return pulumi_environment(self.layout, os.environ)

    def pulumi(self, *arguments: str) -> int:
        """Run the engine on this stack, its output passed through, and return its exit status."""
        return subprocess.run(
            [str(self.layout.bin / "pulumi"), *arguments, "--stack", self.name],
            cwd=self.layout.root,
            env=self.environment,
            check=False,
        ).returncode

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

    def _files(self) -> StateFiles | None:
        """Where the state is if it is kept in files, None for any other backend."""
        url = self.environment.get("PULUMI_BACKEND_URL", "")
        if not url.startswith("file://"):
            return None
        # As the engine reads it: a home, or a folder relative to where it runs, may stand there too.
        folder = (
            self.layout.root / Path(unquote(url.removeprefix("file://").partition("?")[0])).expanduser() / ".pulumi"
        )
        return StateFiles(
            checkpoints=folder / "stacks" / PROJECT,
            locks=folder / "locks" / "organization" / PROJECT / self.name,
            stack=self.name,
        )

    @property
    def deployment(self) -> str | None:
        """What marks containers and networks on the host as this state's own (components/base/ownership.py).

        Empty before the first `up`; None where the state is not in files, and asking would take the engine.
        """
        files = self._files()
        return None if files is None else files.deployment()

    def ensure(self) -> None:
        """Make sure the stack exists and can be read, and that git sees nothing of its salt whoever made it."""
        files = self._files()
        if files is not None:
            files.remove_torn_attributes()
        if files is None or files.checkpoint is None:
            status = self.pulumi("stack", "select", "--create")
            if status != 0:
                sys.exit(status)
        self._keep_salt_out_of_git()

    def _keep_salt_out_of_git(self) -> None:
        """Define the filter that leaves it out, and bring git's note of the stack file's size up to date.

        A file of another size counts as modified for `git status`, whatever the filter makes of it.
        """
        if not (self.layout.root / ".git").exists() or shutil.which("git") is None:
            return
        file = f"Pulumi.{self.name}.yaml"
        try:
            modified = self._git("status", "--porcelain", "--", file)
            if self._git("config", "--default", "", "--get", _SALT_FILTER).strip() != _WITHOUT_SALT:
                self._git("config", "--local", _SALT_FILTER, _WITHOUT_SALT)
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

        What those operations may have made on the Docker host is found by name and label when it is made again.
        """
        files = self._files()
        if files is None or files.checkpoint is None:
            return
        removed = files.remove_stale_locks()
        if removed:
            print(f"Removed the lock of a run that did not end ({removed}).")
        if not files.has_pending_operations():
            return
        deployment = json.loads(self.ask("stack", "export"))
        pending: list[dict[str, Any]] = deployment["deployment"].pop("pending_operations", [])
        for operation in pending:
            print(f"The last run was interrupted while {operation['type']} {operation['resource']['urn']}")
        self.ask("stack", "import", stdin=json.dumps(deployment))

    @property
    def keeps_state_in_files(self) -> bool:
        """Whether the backend is a folder."""
        return self._files() is not None

    @property
    def kept_images(self) -> list[str]:
        """The images `down` has left to the next `up`; none where the stack is up, or its state is not in files."""
        files = self._files()
        return [] if files is None else files.kept_images()

    def pulled(self) -> dict[str, str]:
        """Return the images of the state that were pulled by a tag, see `pulled_images`."""
        files = self._files()
        if files is not None:
            return files.pulled()
        return pulled_images(json.loads(self.ask("stack", "export"))["deployment"])

    def configuration(self) -> EngineConfig:
        """Return the stack's configuration as the engine has it: decrypted, with imported environments.

        Raises: subprocess.CalledProcessError if the engine cannot tell.
        """
        entries: dict[str, dict[str, Any]] = json.loads(self.ask("config", "--json", "--show-secrets"))
        return EngineConfig.of(
            {key: str(entry.get("value", "")) for key, entry in entries.items()},
            frozenset(key for key, entry in entries.items() if entry.get("secret")),
        )
