"""Stack files in the hands of the real engine, which needs no Docker for it."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from settings import PROJECT, EngineConfig, Problem, SettingsError, is_whole, parse, read, resolved
from toolchain import ROOT, Layout

STACK: Final = "test"
COMMITTED: Final = ("authentik", "dev", "selfhosted")
SECRET: Final = "HandedSecret"

# What is read with the settings, and no more: the program is one that only says what it was handed.
_PARTS: Final = ("settings", "rendering", "toolchain/versions.toml", "images/parts.toml")
_PROGRAM: Final = """\
import json, os, pathlib
from settings.program import load
settings = load()
pathlib.Path("handed.json").write_text(json.dumps({
    "values": json.loads(os.environ["PULUMI_CONFIG"]),
    "secret": json.loads(os.environ.get("PULUMI_CONFIG_SECRET_KEYS", "[]")),
    "settings": settings.model_dump(mode="json"),
    "encrypted": sorted(settings.encrypted),
}))
"""


@dataclass(frozen=True)
class Project:
    """A copy of the project with state of its own, and the stack `test` selected."""

    root: Path

    @property
    def file(self) -> Path:
        return self.root / f"Pulumi.{STACK}.yaml"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{Layout().bin}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.root / "home"),
            "PULUMI_HOME": str(self.root / "home"),
            "PULUMI_BACKEND_URL": (self.root / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "x",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def try_(self, command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command], cwd=self.root, env=self.environment, input=stdin, capture_output=True, text=True,
            timeout=180, check=False,
        )  # fmt: skip

    def run(self, command: str, stdin: str = "") -> str:
        """Run a command as somebody types it, and return what it prints."""
        done = self.try_(command, stdin)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def write(self, text: str) -> None:
        """Write the stack file, with the salt the engine has made."""
        kept = [
            line for line in self.file.read_text(encoding="utf-8").splitlines() if line.startswith("encryptionsalt:")
        ]
        body = [line for line in text.splitlines() if not line.startswith("encryptionsalt:")]
        self.file.write_text("\n".join([*body, *kept]) + "\n", encoding="utf-8")

    def handed_over(self) -> dict[str, Any]:
        """Return what the program is handed, and what it makes of that."""
        handed = self.root / "handed.json"
        handed.unlink(missing_ok=True)
        self.run("pulumi preview --non-interactive")
        found: dict[str, Any] = json.loads(handed.read_text(encoding="utf-8"))
        return found


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("project")
    assert (Layout().bin / "pulumi").exists(), "the engine is missing; run: make setup"
    for name in ("home", "state"):
        (root / name).mkdir()
    for name in (*_PARTS, "Pulumi.yaml"):
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    venv = Layout(root).venv
    venv.parent.mkdir(parents=True)
    venv.symlink_to(Layout().venv.resolve())
    (root / "__main__.py").write_text(_PROGRAM, encoding="utf-8")
    project = Project(root)
    project.run(f"pulumi stack init {STACK}")
    return project


@pytest.fixture
def project(_made: Project) -> Iterator[Project]:
    """The project with a stack file that says nothing."""
    _made.write("config: {}\n")
    yield _made


# --- The README -------------------------------------------------------------------------------------------------------

SHORT: Final = """\
| `pulumi config set --path edge.domain reflector.example.com` | Host name people use | `reflector.localhost` |
| `pulumi config set --path 'edge.extra_names[0]' IP:192.0.2.10` | Further names | empty |
| `pulumi config set --path 'edge.bind_addresses[0]' 192.0.2.10` | Addresses | `["0.0.0.0"]` |
| `pulumi config set --path edge.https_port 8443` | Published HTTPS port | `443` |
| `pulumi config set --path hosts.main.address ssh://deploy@reflector.example.com` | Its daemon | `unix:///x` |
| `pulumi config set --path sign_in.mode password` | Who may use it | `password` |
| `pulumi config set --path sign_in.admin_email me@example.com` | Login name | empty |
| `pulumi config set --path speech.mode hosted` | Where speech becomes text | `in-process` |
| `pulumi config set --path speech.url https://speech.example.com` | URL of the speech service | empty |
| `pulumi config set --secret --path speech.api_key` | Its API key | empty |
| `pulumi config set --path language_model.mode external` | Where summaries come from | `ollama` |
| `pulumi config set --path language_model.url https://llm.example.com/v1` | Base URL | empty |
| `pulumi config set --secret --path language_model.api_key` | API key of the endpoint | empty |
| `pulumi config set --path language_model.model llama-3.3-70b` | Model name | empty |
| `pulumi config set --path storage.mode external` | Where files are kept | `garage` |
| `pulumi config set --path storage.endpoint https://s3.example.com` | URL of the store | empty |
| `pulumi config set --path storage.region eu-central-1` | Region of the bucket | empty |
| `pulumi config set --path storage.access_key_id AKIAEXAMPLE` | Access key id | empty |
| `pulumi config set --secret --path storage.secret_access_key` | Secret access key | empty |
"""
_GENERATED: Final = re.compile(r"<!-- generated: settings-in-short -->\n(.*?)<!-- /generated -->", re.DOTALL)


def readme() -> str:
    """Return the README's table of the settings that are set most."""
    found = _GENERATED.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


TABLES: Final = {"example": SHORT, "README": readme()}


@pytest.mark.parametrize(
    "table", [pytest.param(text, id=name) for name, text in TABLES.items() if "edge.domain" in text]
)
def test_every_command_of_the_readme_works_as_printed(project: Project, table: str) -> None:
    commands = re.findall(r"^\| `(pulumi config set [^`]+)` \|", table, re.MULTILINE)
    assert len(commands) == len([line for line in table.splitlines() if "`pulumi" in line]) > 10
    for command in commands:
        project.run(command, SECRET if "--secret" in command else "")
    file = read(project.file)
    assert SECRET not in project.file.read_text(encoding="utf-8")
    stack = parse(file.settings, STACK, PROJECT)
    for command in commands:
        words = shlex.split(command)
        path, value = words[words.index("--path") + 1], words[-1]
        found: Any = stack
        for step in re.findall(r"\w+|\[\d+\]", path):
            if step.startswith("["):
                found = found[int(step[1:-1])]
            else:
                found = found[step] if isinstance(found, dict) else getattr(found, step)
        assert repr(found) == "Secret()" if "--secret" in words else str(found) == value, command


# --- What the engine does to a stack file -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMITTED)
def test_the_engine_keeps_every_line_nobody_touched(project: Project, name: str) -> None:
    """The first names the schema for editors; and git shows what was changed, not what was written anew."""
    text = (ROOT / f"Pulumi.{name}.yaml").read_text(encoding="utf-8")
    project.write(text)
    lines = [line for line in text.splitlines() if not line.startswith("encryptionsalt:")]
    project.run("pulumi config set --path edge.domain kept.example.com")
    project.run("pulumi config set --secret --path speech.hf_token", SECRET)
    project.run("pulumi config set --path health.interval_seconds 7")
    project.run("pulumi config rm --path speech.hf_token")
    after = project.file.read_text(encoding="utf-8").splitlines()
    changed = ("    domain:", "    interval_seconds:", "  reflector:health:")
    assert [line for line in lines if not line.startswith(changed)] == [
        line for line in after if not line.startswith((*changed, "encryptionsalt:"))
    ]
    assert after[0] == lines[0] == "# yaml-language-server: $schema=stack.schema.json"


@pytest.mark.parametrize("word", ["no", "y", "010", "08", "1e3", "12:30", "1_000", "0o10", "2026-01-01", "~", "true"])
def test_the_engine_writes_a_text_so_that_it_is_read_as_one(project: Project, word: str) -> None:
    project.run(f"pulumi config set --path storage.bucket --type string '{word}'")
    assert read(project.file).settings == {"storage": {"bucket": word}}


def test_what_the_engine_takes_for_a_number_is_read_as_that_or_refused(project: Project) -> None:
    for word in ("8443", "-1", "0"):
        project.run(f"pulumi config set --path edge.https_port -- {word}")
        assert read(project.file).settings == {"edge": {"https_port": int(word)}}


def test_aliases_merges_and_keys_without_a_namespace_mean_the_same_to_the_engine(project: Project) -> None:
    project.write(
        "config:\n  data:\n    postgres: &small {memory_mib: 512}\n    redis: {<<: *small, memory_mib: 64}\n"
        "  reflector:workflow: *small\n"
    )
    entries = json.loads(project.run("pulumi config --json --show-secrets"))
    file = read(project.file).settings
    assert {name: entries[f"{PROJECT}:{name}"]["objectValue"] for name in file} == file


# --- What the engine hands over ---------------------------------------------------------------------------------------


def configuration(project: Project) -> EngineConfig:
    entries = json.loads(project.run("pulumi config --json --show-secrets"))
    return EngineConfig.of(
        {key: str(entry["value"]) for key, entry in entries.items()},
        frozenset(key for key, entry in entries.items() if entry["secret"]),
    )


@pytest.mark.parametrize("name", COMMITTED)
def test_what_the_engine_hands_over_is_what_the_file_says(project: Project, name: str) -> None:
    project.write((ROOT / f"Pulumi.{name}.yaml").read_text(encoding="utf-8"))
    file = read(project.file)
    found = resolved(file, configuration(project))
    assert {key: found[key] for key in file.settings} == file.settings
    # Defaults of the project for the rest, which mean what leaving them out means.
    assert parse(with_upstream(found), STACK, PROJECT) == parse(with_upstream(file.settings), STACK, PROJECT)


def with_upstream(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with upstream's images: nothing is built here, and limits for what plays them are too small."""
    sign_in = {name: value for name, value in tree.get("sign_in", {}).items() if name not in {"server", "worker"}}
    return {
        **tree,
        "images": {"mode": "upstream", "references": {"transcription": "a:1.2.3"}},
        "application": {},
        "data": {},
        **({"sign_in": sign_in} if sign_in else {}),
    }


def test_a_stack_file_that_says_nothing_means_the_defaults_to_the_program(project: Project) -> None:
    handed = project.handed_over()
    assert handed["settings"] == parse({}, STACK, PROJECT).model_dump(mode="json")
    assert handed["values"][f"{PROJECT}:storage"] == '{"mode":"garage"}'
    assert handed["encrypted"] == handed["secret"] == []


def test_what_was_encrypted_reaches_the_program_as_that(project: Project) -> None:
    project.run("pulumi config set --path language_model.mode external")
    project.run("pulumi config set --path language_model.url https://llm.example.com/v1")
    project.run("pulumi config set --secret --path language_model.model", "hidden-model")
    project.run("pulumi config set --secret --path language_model.context_tokens", "4096")
    project.run("pulumi config set --secret --path language_model.api_key", SECRET)
    project.run("pulumi config set --secret --path 'edge.extra_names[0]'", "DNS:Hidden.example.com")
    project.run("pulumi config set --secret --path storage.mode", "garage")
    assert not is_whole(read(project.file).settings)
    handed = project.handed_over()
    model = handed["settings"]["language_model"]
    # To the engine a number that was encrypted is a text.
    assert '"context_tokens":"4096"' in handed["values"][f"{PROJECT}:language_model"]
    assert (model["model"], model["context_tokens"], model["api_key"]) == ("hidden-model", 4096, "Secret()")
    assert set(handed["encrypted"]) == {
        "hidden-model", "4096", "DNS:Hidden.example.com", "Hidden.example.com", "DNS:hidden.example.com",
        "hidden.example.com",
    }  # fmt: skip
    assert set(handed["secret"]) == {f"{PROJECT}:{name}" for name in ("language_model", "edge", "storage")}


def test_what_was_encrypted_and_is_wrong_is_told_and_not_shown(project: Project) -> None:
    project.run("pulumi config set --secret --path edge.https_port", SECRET)
    project.run("pulumi config set --secret --path edge.domain", "hidden_name")
    done = project.try_("pulumi preview --non-interactive")
    assert done.returncode != 0
    for setting, allowed in (("edge.https_port", "a whole number"), ("edge.domain", "a host name of")):
        assert f"  - {setting}: an encrypted value; allowed: {allowed}" in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "hidden_name" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "text", ["reflector:storage: garage", "reflector:domain: a.test", "storage: garage", "reflector:llm_api_key: x"]
)
def test_a_stack_file_of_an_earlier_release_is_told_by_the_program_itself(project: Project, text: str) -> None:
    """The engine would say in its own words what it takes for no object, and nothing of what to do."""
    project.write(f"config:\n  {text}\n")
    done = project.try_("pulumi preview --non-interactive")
    assert f"make convert STACK={STACK}" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_variable_that_leads_to_another_daemon_is_refused_in_one_line(project: Project) -> None:
    """Plain `pulumi` in a shell that has not sourced env.sh."""
    done = project.try_("DOCKER_CONTEXT=prod pulumi preview --non-interactive")
    assert done.returncode != 0
    assert "DOCKER_CONTEXT of this shell would lead Docker past hosts.main.address" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


# --- Remedies ---------------------------------------------------------------------------------------------------------

REMEDIES: Final[dict[str, tuple[str, dict[str, str]]]] = {
    # what is wrong → the settings, and what stands in a remedy for what the user has to know
    "a bad value": ("edge: {domain: bad_name}", {"value": "a.test"}),
    "a text for a number": ("edge: {https_port: many}", {"number": "8443"}),
    "a number for a text": ("storage: {mode: garage, bucket: 2026}", {"value": "2026"}),
    "a trap": ("storage: {mode: garage, bucket: 010}", {"value": "010"}),
    "a list for a number": ("edge: {https_port: [1]}", {"number": "8443"}),
    "a mapping for a text": ("edge: {domain: {a: b}}", {"value": "a.test"}),
    "nothing": ("edge: {domain: }", {"value": "a.test"}),
    "a text for a list": ("edge: {extra_names: x}", {}),
    "an item": ("edge: {extra_names: ['DNS:a.test', b.test]}", {"value": "DNS:b.test"}),
    "an address too many": ("edge: {bind_addresses: [0.0.0.0, 127.0.0.1]}", {}),
    "no address": ("edge: {bind_addresses: []}", {"value": "127.0.0.1"}),
    "two ports": ("edge: {https_port: 80}", {"port": "81"}),
    "a misspelt name": ("edge: {htps_port: 1}", {}),
    "an odd name": ("edge: {'dot.ted \"it''s\"': 1}", {}),
    "a number for a name": ("edge: {1: 1}", {}),
    "an unknown concern": ("qqqq: {}", {}),
    "an unknown odd concern": ("'dot.ted': {}", {}),
    "another mode's": ("language_model: {mode: ollama, url: https://a}", {}),
    "no mode": ("storage: {bucket: abc}", {}),
    "an unknown mode": ("storage: {mode: minio}", {}),
    "a text for a concern": ("speech: words", {}),
    "a number for a concern": ("storage: 3", {}),
    "a list for a concern": ("edge: [1]", {}),
    "no concern": ("storage:", {}),
    "a missing value": ("storage: {mode: s3, bucket: own}", {"value": "eu-central-1"}),
    "a missing secret": ("storage: {mode: external, region: r, access_key_id: k}", {}),
    "a secret in the clear": ("speech: {mode: in-process, hf_token: x}", {}),
    "no hosts": ("hosts: {}", {}),
    "another host": ("hosts: {main: {}, other: {}}", {}),
    "no host": ("hosts: {main: 3}", {}),
    "a group": ("data: {redis: 3}", {}),
    "certificates": ("hosts: {main: {certificates: /x}}", {}),
    "renewal": ("pki: {renewal_hours: 9999}", {"hours": "100"}),
    "an image": ("speech: {mode: container}", {"reference": "speech:1.2.3"}),
}


@pytest.mark.parametrize(("text", "known"), REMEDIES.values(), ids=REMEDIES)
def test_a_remedy_works_as_printed(project: Project, text: str, known: dict[str, str]) -> None:
    name, _, rest = text.partition(":")
    quote = name[0] if name[0] == "'" else ""
    project.write(f"config:\n  {quote}{PROJECT}:{name.strip(quote)}{quote}:{rest}\n")
    problem = the_problem(project)
    assert problem is not None
    follow(project, problem, known)
    # What was missing in a group that was not there may lead to what else that has to say.
    following = the_problem(project)
    if following is not None:
        assert following.setting.partition(".")[0] == problem.setting.partition(".")[0]
        follow(project, following, known)
        assert the_problem(project) is None


def the_problem(project: Project) -> Problem | None:
    try:
        parse(read(project.file).settings, STACK, PROJECT)
    except SettingsError as error:
        (problem,) = error.problems
        return problem
    return None


def follow(project: Project, problem: Problem, known: dict[str, str]) -> None:
    """Do what a problem says; of two ways the second, which removes what is in the way."""
    _, _, command = problem.remedy.rpartition(", or " if ", or pulumi" in problem.remedy else ": ")
    command = command[command.index("pulumi config") :]
    for word, value in known.items():
        command = command.replace(f"<{word}>", value)
    assert "<" not in command
    project.run(command, SECRET)
