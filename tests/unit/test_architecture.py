"""Who may import whom, who may look outside, and what no room may know: the rules that keep this house in order.

Every rule is a function from sources to what breaks it, and is itself shown something that breaks it.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import pytest

import settings
from settings import Settings
from settings.walk import classes
from testing.sources import ROOT, Source, dotted, source, sources

PROVIDERS: Final = ("pulumi_aws", "pulumi_command", "pulumi_docker", "pulumi_random", "pulumi_tls")
PROGRAM: Final = [source("__main__.py"), *sources("components", "pki", "rendering", "settings")]
"""What runs while the engine plans."""
COMPONENTS: Final = sources("components")
MAIN: Final = source("__main__.py")

Rule = Callable[[Source], Sequence[str]]


def broken(rule: Rule, files: Sequence[Source]) -> dict[str, Sequence[str]]:
    """Return what breaks a rule, by file."""
    assert files, "a rule over nothing holds"
    return {file.path: found for file in files if (found := rule(file))}


# --- Floors -----------------------------------------------------------------------------------------------------------

OURS: Final = {
    "components", "conftest", "developer", "images", "operations", "pki", "policy", "rendering", "settings", "testing",
    "tests", "toolchain",
}  # fmt: skip
FLOORS: Final[Mapping[str, tuple[str, ...]]] = {
    # Floor → what of ours it may import, besides itself. Components are below.
    "rendering": (),
    "pki": (),
    "settings": ("pki", "rendering.authentik", "rendering.caddyfile", "rendering.connections", "rendering.reference"),
    "toolchain": (),
    "policy": ("pki.naming", "pki.rollover", "rendering.reference"),
    "operations": (
        "pki",
        "policy.properties",
        "settings",
        "toolchain",
        "components.base.daemon",
        "components.base.ownership",
        "rendering.authentik",
        "rendering.host_trust",
        "rendering.trust_page",
    ),
    "testing": ("components", "operations", "pki", "rendering", "settings", "toolchain"),
    "developer": ("components", "operations", "rendering", "settings", "testing", "toolchain"),
}
LIBRARIES: Final[Mapping[str, tuple[str, ...]]] = {
    # Floor → what besides the standard library it may import.
    "rendering": (),
    "pki": ("cryptography",),
    "settings": ("certifi", "idna", "pydantic", "pydantic_core", "yaml"),
    "toolchain": (),
    "policy": (),
    "components": ("pulumi", *PROVIDERS),
}
EXCEPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    # Looking for garbage is switched off for the whole program, so at its top.
    "__main__.py": ("gc",),
    # The one place that asks the engine.
    "settings/program.py": ("pulumi",),
    # What is brought along, as it was read.
    "components/pki/__init__.py": (
        "pki.details",
        "pki.server",
        "pki.signer",
        "settings.certificate",
        "settings.identity",
        "settings.registry",
    ),
    "components/pki/registry.py": ("pki.names", "pki.server", "settings.pki", "settings.registry"),
    "components/pki/authority.py": ("pki.crl", "pki.issue", "pki.naming", "pki.signer"),
    # The authorities are a registry of their own in the settings, which several rooms name theirs from.
    "components/pki/authorities.py": ("pki.crl", "pki.naming", "pki.signer", "settings.authorities", "settings.pki"),
    "components/pki/certificate.py": ("pki.naming",),
    "components/pki/rollover.py": ("pki.rollover",),
    "components/pki/moments.py": ("pki.moments",),
    # What a list of revoked certificates is made of.
    "components/base/handles.py": ("pki.crl",),
    # Front doors whose concern touches another one's settings.
    "components/application/__init__.py": ("settings.edge",),
    "components/hosts/__init__.py": ("settings.health", "settings.images", "settings.proxy"),
    "components/sign_in/__init__.py": ("settings.edge",),
    "components/storage/__init__.py": ("settings.edge",),
    # What a client's certificate is compared with is known once it is made.
    "components/relays/relay.py": ("pki.admission",),
    # What is told of a root is in its certificate, which is known once it is made.
    "components/edge/trust_page.py": ("pki.facts", "pki.pem"),
    # Runs in Reflector's container, with its libraries.
    "rendering/rename_administrator.py": ("asyncpg",),
    # The one place that speaks with the engine.
    "policy/analyzer.py": ("google.protobuf", "grpc", "pulumi.runtime.proto"),
    # Makes QR codes.
    "rendering/trust_page.py": ("segno",),
    # A tool of its tests in Go, which hold what they make against the installed SDKs.
    "toolchain/go/bridged/sdk_shapes.py": ("pulumi",),
    # The type of a secret setting, which is unwrapped there and nowhere else.
    "components/base/secrecy.py": ("settings.base",),
}
WITHOUT_PULUMI: Final = (
    "components/base/daemon.py",
    "components/base/ownership.py",
    "components/sign_in/authentik_proof.py",
    "components/sign_in/authentik_setup.py",
    "components/storage/garage_setup.py",
)
"""What the checks before the program use too, and the steps that run beside it."""


def within(module: str, packages: Sequence[str]) -> bool:
    """Return whether `module` is one of `packages`, or in one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def wrong_imports(file: Source) -> list[str]:
    """Return what a file imports that its floor or its room may not."""
    if file.path == "__main__.py":
        known = EXCEPTIONS[file.path]
        return sorted(module for module in file.imports() if module not in known and not _for_the_root(module))
    allowed = [file.floor, *FLOORS.get(file.floor, ()), *EXCEPTIONS.get(file.path, ())]
    libraries = [*LIBRARIES.get(file.floor, ()), *EXCEPTIONS.get(file.path, ())]
    if file.floor == "components":
        allowed = ["components.base", "rendering", *EXCEPTIONS.get(file.path, ())]
        if file.room != "base":
            allowed.append(f"components.{file.room}")
        if file.is_front_door and file.room != "base":
            allowed.append(f"settings.{file.room}")
        if file.path in WITHOUT_PULUMI:
            libraries = []
    return sorted(
        module
        for module in file.imports()
        if module.startswith(".")
        or not (
            within(module, allowed)
            if module.split(".")[0] in OURS
            else module.split(".")[0] in sys.stdlib_module_names
            or file.floor not in LIBRARIES
            or within(module, libraries)
        )
    )


def _for_the_root(module: str) -> bool:
    """Return whether the composition root may import `module`: front doors, and what makes ends meet."""
    rooms = {file.room for file in COMPONENTS if file.is_front_door} - {"base"}
    return module in {"pulumi", "settings.program", "components.base.sdk", "components.base.secrecy"} | {
        f"components.{room}" for room in rooms
    }


def test_every_floor_imports_what_is_below_it_and_no_room_another() -> None:
    assert (
        broken(wrong_imports, [*PROGRAM, *sources("operations", "policy", "toolchain", "testing", "developer")]) == {}
    )


@pytest.mark.parametrize(
    ("path", "text", "module"),
    [
        ("settings/storage.py", "import pulumi", "pulumi"),
        ("settings/storage.py", "from components.base import daemon", "components.base.daemon"),
        ("settings/storage.py", "def f():\n    import operations.checks", "operations.checks"),
        ("rendering/x.py", "import pulumi", "pulumi"),
        ("rendering/x.py", "import yaml", "yaml"),
        ("rendering/x.py", "from settings import Settings", "settings"),
        ("components/storage/garage.py", "from components.edge.caddy import Caddy", "components.edge.caddy"),
        ("components/storage/garage.py", "from components import edge", "components.edge"),
        ("components/storage/garage.py", "from settings.storage import Garage", "settings.storage"),
        ("components/storage/__init__.py", "from settings import speech", "settings.speech"),
        ("components/storage/__init__.py", "from settings import Settings", "settings"),
        ("components/edge/caddy.py", "from ..storage import garage", "..storage"),
        ("components/base/service.py", "from components.storage import garage", "components.storage.garage"),
        ("components/base/service.py", "from settings.health import Health", "settings.health"),
        ("components/base/__init__.py", "import settings.base", "settings.base"),
        ("components/base/daemon.py", "import pulumi", "pulumi"),
        ("components/edge/caddy.py", "import requests", "requests"),
        ("operations/checks.py", "from testing.commands import calls", "testing.commands"),
        ("operations/checks.py", "from developer import review", "developer.review"),
        ("operations/checks.py", "from components.base import service", "components.base.service"),
        ("policy/rules.py", "import pulumi", "pulumi"),
        ("policy/rules.py", "from settings import Settings", "settings"),
        ("toolchain/setup.py", "import settings", "settings"),
        ("toolchain/setup.py", "import yaml", "yaml"),
        ("testing/engine.py", "from tests.program import shapes", "tests.program.shapes"),
        ("developer/review.py", "from tests.program import shapes", "tests.program.shapes"),
        ("__main__.py", "from components.storage.garage import Garage", "components.storage.garage"),
        ("__main__.py", "import pulumi_docker", "pulumi_docker"),
    ],
)
def test_an_import_across_floors_or_rooms_is_found(path: str, text: str, module: str) -> None:
    assert wrong_imports(Source(path, text)) == [module]


def test_what_ships_never_imports_what_does_not() -> None:
    for file in [*PROGRAM, *sources("operations", "policy", "toolchain")]:
        assert not [one for one in file.imports() if within(one, ["testing", "tests", "developer", "conftest"])], (
            file.path
        )


def test_every_exception_is_still_needed() -> None:
    for path, modules in EXCEPTIONS.items():
        assert set(modules) <= source(path).imports(), f"{path} no longer needs {modules}"


def large_imports(file: Source) -> list[str]:
    """Return what a file imports of AWS whether or not a stack has anything there."""
    always = [one for one in file.imports(always=True) if within(one, ["pulumi_aws", "components.storage.s3"])]
    return [] if file.path == "components/storage/s3.py" else always


def test_the_sdk_of_aws_is_imported_where_it_is_used_only() -> None:
    assert broken(large_imports, PROGRAM) == {}, "it is large, and few need it"
    assert "pulumi_aws" in source("components/storage/s3.py").imports(always=True)


@pytest.mark.parametrize("text", ["import pulumi_aws as aws", "if True:\n    from components.storage.s3 import S3"])
def test_an_import_of_aws_for_everybody_is_found(text: str) -> None:
    assert large_imports(Source("components/storage/__init__.py", text))
    assert not large_imports(Source("components/storage/__init__.py", "def f():\n    import pulumi_aws"))


# --- The program is a function of configuration and checkout ----------------------------------------------------------

OUTSIDE: Final = {
    "asyncio.subprocess", "datetime", "http.client", "os", "platform", "socket", "subprocess", "time", "urllib.request",
}  # fmt: skip
MAY_LOOK: Final[Mapping[str, set[str]]] = {
    # Hands the caller's PATH and HOME on to the docker command, from hooks and from the checks before the program.
    "components/base/daemon.py": {"os", "subprocess"},
    # For its type: whoever asks for what is out of date brings the time.
    "pki/facts.py": {"datetime"},
    "pki/issue.py": {"datetime"},
    "pki/offline.py": {"datetime"},
    "settings/base.py": {"datetime"},
    # To reckon with times it is given.
    "components/pki/moments.py": {"datetime"},
    # Days in the calendar, as they are written.
    "settings/authorities.py": {"datetime"},
    "settings/values.py": {"datetime"},
    "pki/moments.py": {"datetime"},
    "rendering/trust_page.py": {"datetime"},
    # No part of the program: it runs as a step of its own.
    "components/storage/garage_setup.py": {"os", "subprocess"},
    "components/sign_in/authentik_setup.py": {"os", "subprocess", "time"},
    "components/sign_in/authentik_proof.py": {"http.client", "time"},
    # Its environment is the providers': what would lead them to another daemon is refused. And certificates have dates:
    # what is out of date is refused or left out, and the clock decides over nothing else.
    "settings/program.py": {"datetime", "os"},
    # Nor this: it runs in a container, which tells it by variables.
    "rendering/rename_administrator.py": {"os"},
}
CONFIGURATION: Final = {"pulumi.Config", "pulumi.get_stack", "pulumi.get_project", "pulumi.get_organization"}


def looks_outside(file: Source) -> list[str]:
    """Return what of the machine, the clock or the network a file looks at."""
    return sorted(file.imports() & OUTSIDE - MAY_LOOK.get(file.path, set()))


def reads_configuration(file: Source) -> list[str]:
    """Return how a file reads configuration."""
    if file.path == "settings/program.py":
        return []
    used = {dotted(node) for node in file.walk() if isinstance(node, ast.Attribute)}
    named = {
        f"{node.module}.{alias.name}"
        for node in file.walk()
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return sorted((used | named) & CONFIGURATION | {one for one in file.imports() if one.startswith("pulumi.runtime")})


def test_nothing_asks_the_machine_the_clock_the_network_or_another_program() -> None:
    assert broken(looks_outside, PROGRAM) == {}


def test_nothing_but_one_module_of_settings_reads_configuration() -> None:
    assert broken(reads_configuration, PROGRAM) == {}
    assert reads_configuration(Source("settings/other.py", source("settings/program.py").text))


@pytest.mark.parametrize("text", ["import os", "from os import environ", "def f():\n    import time", "import socket"])
def test_a_look_outside_is_found(text: str) -> None:
    assert looks_outside(Source("components/edge/caddy.py", text))


@pytest.mark.parametrize(
    "text", ["import pulumi\npulumi.Config()", "from pulumi import get_stack", "pulumi.Config('x').get"]
)
def test_a_reader_of_configuration_is_found(text: str) -> None:
    assert reads_configuration(Source("components/edge/caddy.py", text))


# --- Nothing is made inside an apply ----------------------------------------------------------------------------------


class Makers:
    """What makes resources: functions, methods and classes, by their names alone, rather one too many than too few."""

    def __init__(self, files: Sequence[Source]) -> None:
        self.bodies: dict[str, list[ast.AST]] = {}
        self.providers: set[str] = set()
        for file in files:
            self.providers |= _provider_names(file)
            for node in file.walk():
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    self.bodies.setdefault(node.name, []).append(node)
                elif isinstance(node, ast.ClassDef):
                    constructors = [
                        one for one in node.body if getattr(one, "name", "") in {"__init__", "__post_init__"}
                    ]
                    self.bodies.setdefault(node.name, []).extend(constructors)
        self.names: set[str] = set()
        while more := {name for name in self.bodies.keys() - self.names if any(map(self._makes, self.bodies[name]))}:
            self.names |= more
        # Every constructor is called by the name of its class.
        self.names -= {"__init__", "__post_init__"}

    def _makes(self, body: ast.AST) -> bool:
        return bool(self.made_in(body))

    def made_in(self, body: ast.AST) -> list[str]:
        """Return what is made when `body` is run."""
        called = [dotted(node.func) for node in ast.walk(body) if isinstance(node, ast.Call)]
        return [name for name in called if self.is_one(name)]

    def is_one(self, name: str) -> bool:
        """Return whether a call of `name` makes a resource."""
        first, _, last = name.rpartition(".")
        if name == "super.__init__" or name.endswith("register_outputs"):
            return True
        return first.split(".")[0] in self.providers or (not first and name in self.providers) or last in self.names


def _provider_names(file: Source) -> set[str]:
    """Return what the SDKs of providers, and what is taken from them, are called in a file."""
    found: set[str] = set()
    for node in file.walk():
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name for alias in node.names if within(alias.name, PROVIDERS)}
        elif isinstance(node, ast.ImportFrom) and within(node.module or "", PROVIDERS):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def made_in_apply(makers: Makers) -> Rule:
    """Return the rule that nothing is made inside an apply, whatever is applied: a lambda, a function or a method."""

    def rule(file: Source) -> list[str]:
        found = []
        for call in (node for node in file.walk() if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Attribute) and call.func.attr == "apply":
                for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
                    found += applied(file, argument)
        return found

    def applied(file: Source, function: ast.AST) -> list[str]:
        if isinstance(function, ast.Lambda):
            return makers.made_in(function.body)
        if isinstance(function, ast.Call) and dotted(function.func).split(".")[-1] == "partial":
            return applied(file, function.args[0])
        name = dotted(function)
        last = name.split(".")[-1]
        if makers.is_one(name):
            return [name]
        # A parameter, or the attribute of some object: nobody can say what that does.
        return [] if last in makers.bodies else [f"{name}, whatever that is"]

    return rule


def test_nothing_is_made_inside_an_apply() -> None:
    files = [MAIN, *sources("components", "rendering")]
    makers = Makers(files)
    assert {"service", "step", "volume", "password", "token", "sign", "Garage", "object_store"} <= makers.names
    assert {"databases", "_delivery", "archive", "password_hash"}.isdisjoint(makers.names)
    assert broken(made_in_apply(makers), files) == {}, "what is made in an apply is missing from previews"


APPLIES: Final = """
import pulumi_docker as docker
from functools import partial
from pulumi_random import RandomPassword

def plain(x): return docker.Volume("v", name=x)
def by_way_of_another(x): return plain(x)
def harmless(x): return x.upper()

class Box:
    def __init__(self, x): docker.Network("n", name=x)

class Maker:
    def make(self, x): return plain(x)

    def run(self, output, given):
        {statement}
"""


@pytest.mark.parametrize(
    "statement",
    [
        "output.apply(lambda x: docker.Volume('v', name=x))",
        "output.apply(lambda x: RandomPassword('p', length=x))",
        "output.apply(plain)",
        "output.apply(func=plain)",
        "output.apply(by_way_of_another)",
        "output.apply(partial(by_way_of_another))",
        "output.apply(lambda x: by_way_of_another(x))",
        "output.apply(self.make)",
        "output.apply(lambda x: self.make(x))",
        "output.apply(lambda x: given.make(x))",
        "output.apply(Box)",
        "output.apply(docker.Volume)",
        "Output.all(a=output).apply(lambda all: [plain(one) for one in all])",
        "output.apply(given)",
        "output.apply(given.compute)",
        "output.apply(lambda x: harmless(x)).apply(plain)",
    ],
)
def test_something_made_inside_an_apply_is_found(statement: str) -> None:
    file = Source("components/x.py", APPLIES.replace("{statement}", statement))
    assert made_in_apply(Makers([file]))(file), statement


@pytest.mark.parametrize(
    "statement",
    [
        "output.apply(harmless)",
        "output.apply(partial(harmless))",
        "output.apply(lambda x: harmless(x))",
        "output.apply(lambda x: x.lower())",
        "plain(output.apply(harmless))",
    ],
)
def test_a_value_computed_inside_an_apply_is_no_harm(statement: str) -> None:
    file = Source("components/x.py", APPLIES.replace("{statement}", statement))
    assert made_in_apply(Makers([file]))(file) == []


# --- One place for each thing -----------------------------------------------------------------------------------------

MADE_IN: Final[Mapping[str, str]] = {
    "docker.Container": "components/base/service.py",
    "docker.Volume": "components/base/volume.py",
    "docker.Network": "components/hosts/host.py",
    "docker.RemoteImage": "components/images/image.py",
    "docker.Provider": "components/base/provider.py",
    "docker.Secret": "components/providers/swarm.py",
    "command.local.Command": "components/base/step.py",
    "random.RandomPassword": "components/base/secret.py",
    "aws.Provider": "components/storage/__init__.py",
}


def calls(file: Source) -> set[str]:
    """Return what a file calls."""
    return {dotted(node.func) for node in file.walk() if isinstance(node, ast.Call)}


@pytest.mark.parametrize("what", MADE_IN)
def test_each_kind_of_thing_is_made_in_one_place(what: str) -> None:
    assert [file.path for file in [MAIN, *COMPONENTS] if what in calls(file)] == [MADE_IN[what]]


def test_what_tells_its_value_by_its_id_is_made_where_that_is_no_secret() -> None:
    """A label of what is this deployment's own, and a version in names of what a Swarm keeps."""
    made = [file.path for file in [MAIN, *COMPONENTS] if "random.RandomId" in calls(file)]
    assert made == ["components/hosts/host.py", "components/providers/swarm.py"]


@pytest.mark.parametrize("what", ["random.RandomBytes", "random.RandomString", "random.RandomUuid"])
def test_nothing_is_made_whose_id_would_tell_a_secret(what: str) -> None:
    assert [file.path for file in [MAIN, *COMPONENTS] if what in calls(file)] == []


def providers_by_options(file: Source) -> list[str]:
    """Return where a provider is handed on by options: a host carries its own, and nobody takes it a second time."""
    found = []
    for node in file.walk():
        if isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] == "ResourceOptions":
            for keyword in node.keywords:
                # What is made on a host directly, by the provider that host carries.
                carried = dotted(keyword.value) in {"host.provider", "args.host.provider", "args.provider"}
                if keyword.arg == "provider" and not carried:
                    found.append(ast.unparse(keyword))
                if keyword.arg == "providers" and file.path != MADE_IN["aws.Provider"]:
                    found.append(ast.unparse(keyword))
        if isinstance(node, ast.ClassDef) and node.name not in {"DockerHost", "HostArgs", "SwarmSecretsArgs"}:
            fields = [field for field in node.body if isinstance(field, ast.AnnAssign)]
            found += [
                f"{node.name}.{dotted(field.target)}"
                for field in fields
                if ast.unparse(field.annotation).split(".")[-1] in {"Provider", "ProviderResource"}
            ]
    return found


def test_no_provider_is_handed_on_by_options_or_taken_a_second_time() -> None:
    assert broken(providers_by_options, [MAIN, *COMPONENTS]) == {}
    assert 'providers={"aws": provider}' in source("components/storage/__init__.py").text, "the one exception"


@pytest.mark.parametrize(
    "text",
    [
        "Postgres('p', args, opts=pulumi.ResourceOptions(provider=provider))",
        "Postgres('p', args, opts=pulumi.ResourceOptions(providers=[host.provider]))",
        "Postgres('p', args, opts=pulumi.ResourceOptions(provider=docker.Provider('x')))",
        "class PostgresArgs:\n    provider: docker.Provider",
    ],
)
def test_a_provider_by_options_is_found(text: str) -> None:
    assert providers_by_options(Source("components/data/__init__.py", text))


def test_every_room_of_settings_with_services_has_a_room_of_components_and_of_tests() -> None:
    concerns = {model.__module__.split(".")[-1] for model in classes(Settings) if model.SERVICES or model.IMAGES}
    rooms = {file.room for file in COMPONENTS if file.is_front_door}
    assert concerns <= rooms, "the same concern has the same name on every floor"
    for room in rooms:
        assert list((ROOT / "tests" / "unit" / room).glob("test_*.py")), f"{room} has no tests of its own"


# --- Nobody knows another's name --------------------------------------------------------------------------------------

OWNERS: Final[Mapping[str, str]] = {
    service: model.__module__.split(".")[-1] for model in classes(Settings) for service in model.SERVICES
}
"""Service → concern whose room it is of."""
OTHER_MEANINGS: Final = {
    # Texts that are the name of a service by chance.
    ("__main__.py", "hatchet"): "the name of a database, in which rows are already",
    ("components/relays/__init__.py", "caddy"): "an image's part",
    ("components/base/handles.py", "server"): "a kind of certificate",
    ("components/pki/__init__.py", "server"): "a kind of certificate",
    ("components/pki/certificate.py", "server"): "a kind of certificate",
    ("components/sign_in/authentik.py", "server"): "a command of Authentik's",
    ("components/sign_in/authentik.py", "worker"): "a command of Authentik's",
    ("rendering/kubeconfig.py", "server"): "what a kubeconfig calls an address",
    ("rendering/environment.py", "authentik"): "what the web frontend calls every provider",
}


def foreign_names(file: Source) -> list[str]:
    """Return the texts by which a file would find a service of another room."""
    found = []
    for text in file.strings():
        for service, owner in OWNERS.items():
            if file.room == owner or file.path == f"rendering/{service}.py":
                continue
            address = rf"//{re.escape(service)}(?![\w.-])|(?<![\w./-]){re.escape(service)}:(\d|\{{\}})"
            if (text == service and (file.path, text) not in OTHER_MEANINGS) or re.search(address, text):
                found.append(text)
    return found


def test_no_room_knows_the_service_of_another() -> None:
    assert len(OWNERS) >= 12
    assert broken(foreign_names, [MAIN, *sources("components", "rendering")]) == {}, "it gets the handle"


def test_no_start_script_knows_the_service_of_another() -> None:
    scripts = sorted((ROOT / "rendering").glob("*.sh"))
    assert scripts
    for script in scripts:
        file = Source(f"rendering/{script.stem}.py", repr(script.read_text(encoding="utf-8")).join(["x = ", "\n"]))
        assert foreign_names(file) == [], script.name


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("components/edge/caddy.py", "upstream = 'server:1250'"),
        ("components/edge/caddy.py", "upstream = 'http://web:3000'"),
        ("components/edge/caddy.py", "upstream = f'http://web:{PORT}'"),
        ("components/edge/caddy.py", "upstream = f'hatchet:{PORT}'"),
        ("components/edge/caddy.py", "upstream = 'http://garage'"),
        ("components/edge/caddy.py", "host = 'postgres'"),
        ("components/application/reflector.py", "url = f'redis://redis:{port}/1'"),
        ("components/application/reflector.py", "url = f'postgresql://{user}:{password}@postgres:5432/x'"),
        ("components/application/reflector.py", "cache.get('redis')"),
        ("rendering/environment.py", "URL = 'http://server:1250'"),
        ("rendering/caddyfile.py", "text = 'reverse_proxy web:3000'"),
        ("__main__.py", "service.named('postgres')"),
        ("__main__.py", "f(url='http://hatchet:8888')"),
    ],
)
def test_a_name_of_another_room_is_found(path: str, text: str) -> None:
    assert foreign_names(Source(path, text))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("components/data/postgres.py", "service = 'postgres'"),
        ("components/edge/caddy.py", "'''The server:1250 and redis.'''"),
        ("components/edge/caddy.py", "scheme = 'redis://'"),
        ("components/edge/caddy.py", "key = 'server_auth'"),
        ("components/edge/caddy.py", "url = 'https://web.example.com'"),
    ],
)
def test_a_name_of_ones_own_or_of_something_else_is_no_harm(path: str, text: str) -> None:
    assert foreign_names(Source(path, text)) == []


def test_every_other_meaning_is_still_there() -> None:
    for path, text in OTHER_MEANINGS:
        assert text in source(path).strings(), f"{path} no longer has {text!r}"


# --- Keys stay where they are made ------------------------------------------------------------------------------------

LEAF: Final = ("components/base/handles.py", "CertificateHandle", "private_key_pem")
"""The one key that is handed over: whoever serves a certificate needs it."""
USERS: Final = {
    "components/pki/authority.py", "components/pki/certificate.py",
    # It delivers the leaf's.
    "components/edge/caddy.py",
    # And they the relay's.
    "components/relays/relay.py",
    # They hand over a client's, and what a Swarm is to have.
    "components/providers/__init__.py",
    "components/providers/swarm.py",
    # Of what tokens are signed with.
    "components/sign_in/authentik.py",
    # Of a certificate that only measures time.
    "components/workflow/hatchet.py",
}  # fmt: skip


def wandering_keys(file: Source) -> list[str]:
    """Return where a private key is handed on, or used by who has no business with it."""
    found = []
    for owner in (node for node in file.walk() if isinstance(node, ast.ClassDef)):
        for field in owner.body:
            if isinstance(field, ast.AnnAssign | ast.FunctionDef):
                name = field.name if isinstance(field, ast.FunctionDef) else dotted(field.target)
                hidden = name.startswith("_") and owner.name.startswith("_") and file.room == "pki"
                if _is_key(name) and not hidden and (file.path, owner.name, name) != LEAF:
                    found.append(f"{owner.name}.{name}")
    for node in file.walk():
        if isinstance(node, ast.Attribute) and _is_key(node.attr):
            hidden = node.attr.startswith("_")
            found += [dotted(node)] if file.path not in USERS or (hidden and file.room != "pki") else []
        if isinstance(node, ast.arg) and _is_key(node.arg):
            found.append(node.arg)
    return found


def _is_key(name: str) -> bool:
    return "private_key" in name or "key_material" in name


def test_no_key_crosses_rooms_but_a_leafs() -> None:
    assert broken(wandering_keys, [MAIN, *COMPONENTS]) == {}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("components/base/handles.py", "class Issuer:\n    private_key_pem: str"),
        ("components/base/handles.py", "class Issuer:\n    def private_key_pem(self): ..."),
        ("components/pki/authority.py", "class Authority:\n    private_key_pem: str"),
        ("components/pki/certificate.py", "class CertificateArgs:\n    authority_private_key_pem: str"),
        ("components/pki/__init__.py", "def certificate(name, *, ca_private_key_pem): ..."),
        ("components/storage/garage.py", "x = args.certificate.private_key_pem"),
        ("components/edge/caddy.py", "x = issuer._private_key_pem"),
        ("__main__.py", "x = authority.private_key_pem"),
    ],
)
def test_a_key_that_crosses_rooms_is_found(path: str, text: str) -> None:
    assert wandering_keys(Source(path, text))


# --- The composition root ---------------------------------------------------------------------------------------------

MAIN_LINES: Final = 197
TEXT_METHODS: Final = {
    "format",
    "join",
    "lower",
    "lstrip",
    "removeprefix",
    "removesuffix",
    "replace",
    "rstrip",
    "split",
    "strip",
    "upper",
}


def logic(file: Source) -> list[str]:
    """Return what in the composition root is more than handing values on."""
    found = list(_statements(file.tree.body))
    for node in file.walk():
        match node:
            case ast.JoinedStr() | ast.BinOp() | ast.Slice() | ast.Compare() | ast.Lambda() | ast.NamedExpr():
                found.append(ast.unparse(node))
            case ast.BoolOp(op=ast.And()) | ast.UnaryOp(op=ast.Not()):
                found.append(ast.unparse(node))
            case ast.comprehension(ifs=[_, *_]):
                found.append(ast.unparse(node))
            case ast.Attribute(attr=name) if name in TEXT_METHODS:
                found.append(ast.unparse(node))
    return found


def _statements(body: Sequence[ast.stmt]) -> Iterator[str]:
    for statement in body:
        match statement:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant() | ast.Call()):
                pass
            case ast.Assign(targets=[ast.Name()]):
                pass
            case ast.For(body=[ast.Expr(value=ast.Call())], orelse=[]) if statement is body[-1]:
                pass
            case _:
                yield ast.unparse(statement)


def test_the_composition_root_hands_values_on_and_does_nothing_else() -> None:
    assert logic(MAIN) == []
    assert len(MAIN.text.splitlines()) <= MAIN_LINES, "it reads like the picture in the README"


@pytest.mark.parametrize(
    "text",
    [
        "if settings.storage:\n    f()",
        "match settings.mode:\n    case 1: f()",
        "for x in y:\n    f(x)\ng()",
        "for x in y:\n    if x:\n        f(x)",
        "def f(): ...",
        "class A: ...",
        "try:\n    f()\nexcept E: ...",
        "while True: f()",
        "x = f'{a}/v1'",
        "x = a + '/v1'",
        "x = name[:64]",
        "x = a == b",
        "x = a and b",
        "x = not a",
        "x = lambda: 1",
        "x = [y for y in z if y]",
        "x = url.removesuffix('/')",
        "a, b = f()",
        "a.b = c",
        "a += 1",
    ],
)
def test_logic_in_the_composition_root_is_found(text: str) -> None:
    assert logic(Source("__main__.py", text))


@pytest.mark.parametrize(
    "text",
    [
        "x = f(a, b=c.d)",
        "x = f(a if b else c)",
        "x = f(a or '')",
        "x = {y.name: y for y in z}",
        "for a, b in c: f(a, b)",
    ],
)
def test_handing_values_on_is_no_logic(text: str) -> None:
    assert logic(Source("__main__.py", text)) == []


# --- What is promised -------------------------------------------------------------------------------------------------


def test_every_front_door_says_what_it_is_for() -> None:
    for file in COMPONENTS:
        if file.is_front_door and file.room != "base":
            functions = [node for node in file.tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
            assert functions, f"{file.path} has no front door"
            for function in functions:
                assert ast.get_docstring(function), f"{function.name} promises nothing"


def test_every_public_name_of_settings_exists_and_is_described() -> None:
    for name in settings.__all__:
        thing = getattr(settings, name)
        if callable(thing):
            assert thing.__doc__, f"{name} promises nothing"
            assert not thing.__doc__.startswith(f"{name}("), f"{name} has a generated docstring only"


def test_verification_is_never_switched_off() -> None:
    texts = [*PROGRAM, *sources("operations", "toolchain"), *_scripts()]
    assert not [file.path for file in texts if "NODE_TLS_REJECT_UNAUTHORIZED" in file.text]


def _scripts() -> list[Source]:
    return [Source(str(path), path.read_text(encoding="utf-8")) for path in (ROOT / "rendering").glob("*.sh")]
