"""Talking to a Docker daemon outside the provider: what the provider cannot say or do.

Used by the hooks of `service.py` and `host.py` and by the preflight, always through the `docker` command, which reaches
a daemon over the same unix, ssh and TLS transports as the provider does. Nothing here imports pulumi.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_TIMEOUT_SECONDS: Final = 60
"""For a single question; a daemon that needs longer is not going to answer."""


class DaemonError(RuntimeError):
    """The daemon could not be asked, or refused."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy
        """What to do about it, where that is known."""


_COMMAND_NOT_FOUND: Final = re.compile(r"exit(?:ed with)? status 127\b")
"""How Docker's client ends when ssh has found no `docker` to run: 127 is what POSIX shells say to that."""


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A Docker daemon by its address."""

    address: str
    """unix:///path, ssh://user@host[:port] or tcp://host:port."""
    certificates: str = ""
    """Folder with ca.pem, cert.pem and key.pem for tcp://."""

    @property
    def environment(self) -> dict[str, str]:
        """What makes a `docker` command talk to this daemon."""
        environment = {"DOCKER_HOST": self.address}
        if self.certificates:
            environment |= {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": self.certificates}
        return environment

    def run(self, *arguments: str, timeout_seconds: int = _TIMEOUT_SECONDS, both_streams: bool = False) -> str:
        """Run `docker` with `arguments` and return its standard output, or what it writes on both its streams.

        Raises: DaemonError with the command's own last words if it fails, hangs or is not installed.
        """
        return self._run(("docker", *arguments), {}, None, timeout_seconds, both_streams=both_streams)

    def run_script(
        self, script: str, environment: Mapping[str, str], stdin: str, *, timeout_seconds: int = _TIMEOUT_SECONDS
    ) -> str:
        """Run a shell script beside us whose `docker` commands ask this daemon, and return its standard output.

        Raises: DaemonError as `run` does.
        """
        return self._run(("sh", "-c", script), environment, stdin, timeout_seconds)

    def _run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        stdin: str | None,
        timeout_seconds: int,
        *,
        both_streams: bool = False,
    ) -> str:
        # Where its logins are kept is the user's own; which daemon is asked never is.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("DOCKER_") or k == "DOCKER_CONFIG"}
        try:
            done = subprocess.run(
                command,
                env={**inherited, **environment, **self.environment},
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if both_streams else subprocess.PIPE,
                text=True,
                # A log may hold anything.
                errors="replace",
                timeout=timeout_seconds,
                check=False,
            )
        except FileNotFoundError:
            raise DaemonError("the docker command is not installed; install the Docker client") from None
        except subprocess.TimeoutExpired:
            raise DaemonError(f"{self.address} did not answer within {timeout_seconds} s") from None
        if done.returncode != 0:
            said = done.stdout if both_streams else done.stderr
            if self.address.startswith("ssh://") and _COMMAND_NOT_FOUND.search(said):
                raise DaemonError(
                    "the docker command is not on the PATH of a non-interactive ssh session there",
                    remedy="Install it there, or link it to where such sessions look (ssh <host> 'echo $PATH'), often "
                    "/usr/bin or /usr/local/bin",
                )
            shown = " ".join(command) if command[0] == "docker" else "it"
            raise DaemonError(said.strip() or f"{shown} ended with status {done.returncode}")
        return done.stdout

    def _inspect(self, kind: str, name: str) -> Mapping[str, Any] | None:
        try:
            found: Sequence[Mapping[str, Any]] = json.loads(self.run(kind, "inspect", name))
        except DaemonError as error:
            if _is_absence(str(error), name):
                return None
            raise
        return found[0]

    def volume(self, name: str) -> Mapping[str, Any] | None:
        """Return what the daemon knows of the volume called `name`, None if there is none."""
        return self._inspect("volume", name)

    def container(self, name: str) -> Mapping[str, Any] | None:
        """Return what the daemon knows of the container called `name`, None if there is none."""
        return self._inspect("container", name)

    def networks(self, name: str) -> list[Mapping[str, Any]]:
        """Return every network called exactly `name`: Docker allows several."""
        ids = self.run("network", "ls", "--no-trunc", "--quiet", "--filter", f"name=^{name}$").split()
        return [network for id_ in ids if (network := self._inspect("network", id_)) is not None]

    def last_words(self, name: str, lines: int) -> str:
        """Return the last log lines of the container called `name`, if any are wanted, and what its health check said.

        Whoever keeps the engine's messages keeps this too: what is secret of its variables is masked.
        """
        done = self.container(name)
        if done is None:
            return f"there is no container {name} any more"
        state = done["State"]
        words = [f"state: {state['Status']}, exit code {state['ExitCode']}, restarted {done['RestartCount']} times"]
        if state.get("OOMKilled"):
            limit = done["HostConfig"]["Memory"] // 1024**2
            words.append(
                f"a process of it was killed for memory: the limit is {limit} MiB; raise the memory_mib of the service"
            )
        secrets = _secrets(done["Config"].get("Env") or ())
        checks = state.get("Health", {}).get("Log") or []
        if checks:
            words.append(f"last health check: exit code {checks[-1]['ExitCode']}: {checks[-1]['Output'].strip()}")
        if lines:
            try:
                # docker logs repeats the container's two streams on its own two.
                logs = self.run("logs", "--tail", str(lines), name, both_streams=True)
            except DaemonError as error:
                logs = f"cannot be had: {error}"
            words.append(f"last {lines} log lines:\n{logs.rstrip()}")
        return _masked("\n".join(words), secrets)


def _is_absence(error: str, name: str) -> bool:
    """Return whether the daemon said that there is nothing called `name`; never for "no such host"."""
    found = re.fullmatch(
        r"(?i)(?:Error(?: response from daemon)?: )?(?:"
        r"No such \w+: (?P<first>.*)|get (?P<second>\S+): no such volume|network (?P<third>\S+) not found)",
        error.strip(),
    )
    return found is not None and name in found.groups()


_SECRET_NAME: Final = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|HASH|CREDENTIAL", re.IGNORECASE)
_URL_PASSWORD: Final = re.compile(r"://[^/@\s]*:([^/@\s]+)@")
_SHORTEST_SECRET: Final = 8
"""Anything shorter is no secret of ours, and would tear words apart."""


def _secrets(environment: Iterable[str]) -> list[str]:
    """Return what of a container's variables is secret: by their names, and the passwords in URLs."""
    found = set()
    for variable in environment:
        name, _, value = variable.partition("=")
        if _SECRET_NAME.search(name):
            found.add(value)
        found.update(_URL_PASSWORD.findall(value))
    return sorted((secret for secret in found if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True)


def _masked(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[secret]")
    return text
