"""A copy of the checkout, and stacks deployed from it the way `make` does."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import yaml

from settings import PROJECT
from tests.e2e.docker_host import DockerHost
from tests.e2e.edge import Edge
from tests.e2e.processes import Finished, Run
from toolchain import ROOT, Layout, prepare_state

DOMAIN: Final = "reflector.test"
"""RFC 6761 reserves the top-level domain: nobody answers for it."""
WIRED: Final = ("server", "worker", "beat", "hatchet-worker-llm", "web", "hatchet", "transcription")
"""Services the probe plays, which can say whether all they depend on works."""

_SALT: Final = "encryptionsalt:"
_UP_SECONDS: Final = 1500  # the first one builds the images
_QUICK_SECONDS: Final = 180  # a run of the engine that deploys nothing


class _Dumper(yaml.SafeDumper):
    """Writes as the engine does, which would otherwise indent a file of ours anew, and git would see that."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


class Checkout:
    """The checkout's files in another folder, with its toolchain, and with state and passphrase of its own."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        tracked = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split("\0")
        for name in filter(None, tracked):
            # What is deleted but not yet committed is gone all the same.
            if (ROOT / name).is_file():
                target = root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target, follow_symlinks=False)
        for file in root.glob("Pulumi.*.yaml"):
            # Where the checkout has been deployed, it holds the salt of another passphrase.
            lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
            file.write_text("".join(line for line in lines if not line.startswith(_SALT)), encoding="utf-8")
        source = Layout()
        # Of the engine's home the plugins alone: a login that is kept there would send these stacks to its backend.
        for part in (source.bin, source.plugins, source.venv, source.images):
            assert part.exists(), f"{part} is missing; run: make setup images"
            target = root / part.relative_to(source.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(part.resolve())
        prepare_state(self.layout)
        self._git("init", "--quiet")
        self._git("add", "--all")
        self._commit("Everything")

    @property
    def environment(self) -> dict[str, str]:
        """What commands of this checkout start from: nothing of the engine or the daemon this test run itself uses."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "DOCKER_"))}
        return kept | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def _git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=self.layout.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    def _commit(self, subject: str) -> None:
        identity = ("-c", "user.name=tests", "-c", "user.email=tests@reflector.test")
        self._git(*identity, "commit", "--quiet", "--message", subject)

    def git_status(self) -> str:
        """Return what git says has changed; empty if nothing has."""
        return self._git("status", "--porcelain")

    def add_stack(self, name: str, changes: Mapping[str, object], without: Iterable[str] = ()) -> None:
        """Commit the stack file of a stack that is the dev stack but for some settings; see `configure`."""
        file = self.stack_file(name)
        file.write_text(self.layout.root.joinpath("Pulumi.dev.yaml").read_text(encoding="utf-8"), encoding="utf-8")
        self.configure(name, changes, without)
        # Ignored like any stack file of a user's own, but one that is tracked as the shipped examples are shows whether
        # the engine dirties it.
        with self.layout.root.joinpath(".gitattributes").open("a", encoding="utf-8") as attributes:
            attributes.write(f"/{file.name} filter=pulumi-salt\n")
        self._git("add", "--force", file.name, ".gitattributes")
        self._commit(f"Configure {name}")

    def stack_file(self, name: str) -> Path:
        """Return the path of a stack's file."""
        return self.layout.root / f"Pulumi.{name}.yaml"

    def configure(self, name: str, changes: Mapping[str, object], without: Iterable[str] = ()) -> None:
        """Change settings in a stack's file by their paths, such as `edge.https_port`, and nothing else in it."""
        file = self.stack_file(name)
        text = file.read_text(encoding="utf-8")
        head = "".join(takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True)))
        content = yaml.safe_load(text)
        for path, value in changes.items():
            group, setting = _place(content["config"], path)
            group[setting] = value
        for path in without:
            group, setting = _place(content["config"], path)
            group.pop(setting, None)
        body = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
        file.write_text(head + body, encoding="utf-8")

    def start(self, *command: str, environment: Mapping[str, str] | None = None) -> Run:
        """Start a command the way the Makefile does."""
        return Run(
            [sys.executable, "-m", "toolchain", "run", "--", *command],
            cwd=self.layout.root,
            environment={**self.environment, **(environment or {})},
        )


def _place(config: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """Return what holds the setting at `path`, made if need be, and its name there."""
    *groups, setting = path.split(".")
    names = [f"{PROJECT}:{name}" if index == 0 else name for index, name in enumerate([*groups, setting])]
    for name in names[:-1]:
        config = config.setdefault(name, {})
    return config, names[-1]


@dataclass(kw_only=True)
class Stack:
    """A stack of a checkout."""

    checkout: Checkout
    name: str
    host: DockerHost = field(default_factory=DockerHost)
    address: str = "127.0.0.1"
    """Where this test reaches the edge."""
    environment: dict[str, str] = field(default_factory=dict)
    console: list[str] = field(default_factory=list)
    """What every run so far has printed."""
    git_after_first_up: str = ""
    """What git said had changed once it was up."""
    settled: bool = False
    """Whether the last `up` succeeded and nothing was changed or broken on purpose since."""

    _outputs: tuple[int, dict[str, Any]] | None = None
    _user: dict[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """What its names start with."""
        return f"{PROJECT}-{self.name}"

    def settings(self) -> dict[str, Any]:
        """Return what its file says, by concern."""
        content = yaml.safe_load(self.checkout.stack_file(self.name).read_text(encoding="utf-8"))
        return {name.removeprefix(f"{PROJECT}:"): value for name, value in content["config"].items()}

    def setting(self, path: str) -> Any:
        """Return one setting of its file."""
        found: Any = self.settings()
        for name in path.split("."):
            found = found[name]
        return found

    def configure(self, changes: Mapping[str, object], without: Iterable[str] = ()) -> None:
        """Change settings by their paths, and remove those `without`; the next `up` applies them."""
        self.settled = False
        self.checkout.configure(self.name, changes, without)

    def start(self, command: str, *flags: str) -> Run:
        """Start one of the commands behind `make`, such as up, preview, down or status."""
        python = str(self.checkout.layout.venv / "bin" / "python")
        if command not in {"preview", "status", "pki"}:
            self.settled = False
        return self.checkout.start(
            python, "-m", "operations", command, "--stack", self.name, *flags, environment=self.environment
        )

    def run(self, command: str, *flags: str, timeout_seconds: float = _UP_SECONDS) -> Finished:
        """Run one of the commands behind `make` to its end."""
        finished = self.start(command, *flags).finish(timeout_seconds)
        self.console.append(finished.output)
        return finished

    def up(self, *flags: str) -> str:
        """Bring it up and return what that printed."""
        output = self.run("up", *flags).succeeded().output
        self.settled = True
        return output

    def settle(self) -> None:
        """Bring it back to what its file says, if a test has left it otherwise."""
        if not self.settled:
            self.up("--refresh")
            self.wait_until_healthy()

    def pulumi(self, *arguments: str, timeout_seconds: float = _QUICK_SECONDS) -> Finished:
        """Run the engine itself on it."""
        run = self.checkout.start("pulumi", *arguments, "--stack", self.name, environment=self.environment)
        return run.finish(timeout_seconds)

    def answer(self, *arguments: str) -> Any:
        """Return what the engine says of it as JSON."""
        output = self.pulumi(*arguments).succeeded().output
        # Warnings, if any, come before.
        return json.loads(output[min(i for i in (output.find("{"), output.find("[")) if i >= 0) :])

    @property
    def checkpoint(self) -> Path:
        """The file the engine keeps its state in."""
        return self.checkout.layout.state / ".pulumi" / "stacks" / PROJECT / f"{self.name}.json"

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield every file the engine keeps about it, backups and history among them: name and text."""
        layout = self.checkout.layout
        for file in (self.checkout.stack_file(self.name), *layout.state.rglob("*")):
            if file.is_file():
                yield str(file.relative_to(layout.root)), file.read_text(encoding="utf-8", errors="replace")

    def outputs(self) -> dict[str, Any]:
        """Return its outputs, secrets in the clear; the engine is asked once for each state."""
        state = self.checkpoint.stat().st_mtime_ns
        if self._outputs is None or self._outputs[0] != state:
            self._outputs = (state, self.answer("stack", "output", "--json", "--show-secrets"))
        return self._outputs[1]

    def resources(self, *, show_secrets: bool = False) -> list[dict[str, Any]]:
        """Return the resources in its state."""
        flags = ("--show-secrets",) if show_secrets else ()
        found: list[dict[str, Any]] = self.export(*flags)["deployment"]["resources"]
        return found

    def export(self, *flags: str) -> dict[str, Any]:
        """Return its state."""
        exported: dict[str, Any] = self.answer("stack", "export", *flags)
        return exported

    def restore(self, state: Mapping[str, Any]) -> None:
        """Make `state`, of the shape of `export`, its state."""
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            self.pulumi("stack", "import", "--file", file.name).succeeded()

    def forget(self) -> None:
        """Lose the state, backups and history with it."""
        for file in self.checkout.layout.state.rglob(f"{self.name}*"):
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink(missing_ok=True)
        self._outputs = None
        self.__dict__.pop("edge", None)  # the next authority is another one

    def refusal_of_postgres(self, user: str, password: str) -> str:
        """Return why PostgreSQL does not let `user` in over the network; empty if it does."""
        script = f"PGPASSWORD=$(cat) psql --host=postgres --username={user} --dbname={user} --command='select 1' 2>&1"
        done = subprocess.run(
            [
                "docker",
                "--host",
                self.host.address,
                "exec",
                "--interactive",
                f"{self.prefix}-postgres",
                "sh",
                "-c",
                script,
            ],
            input=password,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return "" if done.returncode == 0 else done.stdout

    def urn(self, name: str) -> str:
        """Return the URN of the one resource called `name`."""
        (urn,) = (resource["urn"] for resource in self.resources() if resource["urn"].endswith(f"::{name}"))
        return str(urn)

    def last_changes(self) -> dict[str, int]:
        """Return how many resources the last update treated how."""
        changes: dict[str, int] = self.answer("stack", "history", "--json", "--page-size", "1")[0]["resourceChanges"]
        return changes

    def planned(self, *, refresh: bool = False) -> dict[str, str]:
        """Return what a preview would do, by resource name; empty if nothing."""
        steps = self.answer("preview", "--json", *(("--refresh",) if refresh else ()))["steps"]
        idle = {"same", "read", "refresh"}
        return {step["urn"].rpartition("::")[2]: step["op"] for step in steps if step["op"] not in idle}

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return what Docker knows of its containers, by service."""
        return self.host.containers(self.prefix)

    def ids(self) -> dict[str, str]:
        """Return the ids of its containers, by service."""
        return {service: container["Id"] for service, container in self.containers().items()}

    def inside(self, service: str, *command: str, stdin: str | None = None) -> str:
        """Run a command in the container of a service and return what it prints."""
        return self.host.docker("exec", "--interactive", f"{self.prefix}-{service}", *command, stdin=stdin)

    def wait_until_healthy(self, timeout_seconds: float = 180) -> None:
        """Wait until every container is healthy; those of others may suffer while one is away."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            health = {service: state["State"]["Health"]["Status"] for service, state in self.containers().items()}
            if health and set(health.values()) == {"healthy"}:
                return
            assert time.monotonic() < deadline, f"not healthy within {timeout_seconds:g} s: {health}"
            time.sleep(0.5)

    def wiring(self, service: str) -> dict[str, Any]:
        """Return what the probe in the container of a service says of each thing it depends on.

        It is asked again, a minute at the most, while something does not work: checks have short time-outs, and on a
        busy machine somebody may be reconnecting still.
        """
        name = f"{self.prefix}-{service}"
        deadline = time.monotonic() + 60
        while True:
            done = subprocess.run(
                ["docker", "--host", self.host.address, "exec", name, "probe", "wiring"],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.stdout.startswith("{"), f"{name} cannot tell its wiring: {done.stderr}"
            answer: dict[str, Any] = json.loads(done.stdout)
            assert (done.returncode == 0) is answer["ok"]
            if not self._broken(answer) or time.monotonic() > deadline:
                return answer
            time.sleep(2)

    def _broken(self, answer: Mapping[str, Any]) -> dict[str, str]:
        entries = {name: entry for name, entry in answer.items() if isinstance(entry, dict)}
        assert entries
        return {name: entry["error"] for name, entry in entries.items() if not entry["ok"]}

    def broken_wires(self) -> dict[str, dict[str, str]]:
        """Return what does not work and why, by service and dependency; empty if everything does."""
        broken = {service: self._broken(self.wiring(service)) for service in sorted(self.services.intersection(WIRED))}
        return {service: errors for service, errors in broken.items() if errors}

    @property
    def services(self) -> set[str]:
        """The services its settings ask for."""
        modes = {name: value.get("mode") for name, value in self.settings().items() if isinstance(value, dict)}
        services = {"postgres", "redis", "hatchet", "server", "worker", "beat", "hatchet-worker-llm", "web", "caddy"}
        if modes.get("speech") == "container":
            services.add("transcription")
        if modes.get("language_model", "ollama") == "ollama":
            services.add("ollama")
        if modes.get("storage", "garage") == "garage":
            services.add("garage")
        if modes.get("sign_in") == "authentik":
            services |= {"authentik", "authentik-worker"}
        return services

    @cached_property
    def edge(self) -> Edge:
        """A client of its edge that trusts what the outputs say must be trusted."""
        settings = self.settings()
        edge = settings["edge"]
        own = (settings.get(group, {}).get("https_port") for group in ("storage", "sign_in"))
        return Edge(
            address=self.address,
            domain=edge["domain"],
            https_port=edge["https_port"],
            http_port=edge["http_port"],
            public_port=edge.get("public_port", edge["https_port"]),
            ca_pem=self.outputs()["ca_certificate"],
            own_ports=tuple(port for port in own if port is not None),
        )

    def log_in(self) -> dict[str, str]:
        """Log in as the administrator and return the headers that prove it; none where nobody logs in.

        What an earlier call got is used as long as the server takes it: an address has ten attempts in five minutes.
        """
        outputs = self.outputs()
        if "admin_password" not in outputs:
            return {}
        if not self._user or self.edge.ask("GET", "/v1/me", headers=self._user).status == 401:
            answer = self.edge.log_in(outputs["admin_email"], outputs["admin_password"])
            assert answer.status == 200, answer
            self._user = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        return self._user

    def initial_password(self, user: str) -> str:
        """Return what somebody whom its Authentik was told of signs in with at first."""
        return str(self.outputs()["sign_in"]["initial_passwords"][user])

    def leave_traces(self) -> "Traces":
        """Write a row and an object through the application."""
        return Traces.leave(self)


@dataclass(frozen=True, kw_only=True)
class Traces:
    """A row and an object of somebody who uses the stack."""

    note: str
    key: str
    content: bytes

    @staticmethod
    def leave(stack: Stack) -> "Traces":
        """Write them."""
        identity = os.urandom(8).hex()
        traces = Traces(note=f"note {identity}", key=f"e2e/{identity}.bin", content=os.urandom(64 * 1024))
        user = stack.log_in()
        body = json.dumps({"body": traces.note}).encode()
        answer = stack.edge.ask("POST", "/v1/notes", body, {**user, "Content-Type": "application/json"})
        assert answer.status == 201, answer
        answer = stack.edge.ask("PUT", f"/v1/objects/{traces.key}", traces.content, user)
        assert answer.status == 201, answer
        return traces

    def are_found_in(self, stack: Stack) -> bool:
        """Return whether both are there, unchanged, for the same user."""
        user = stack.log_in()
        notes = stack.edge.ask("GET", "/v1/notes", headers=user).json()["items"]
        url = stack.edge.ask("GET", f"/v1/objects/{self.key}", headers=user).json()["url"]
        return self.note in {note["body"] for note in notes} and stack.edge.fetch(url).body == self.content
