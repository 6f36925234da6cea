"""Who may import whom, and who may look outside: the rules that keep the rooms of this house apart."""

import ast
import inspect
from dataclasses import is_dataclass
from pathlib import Path
from typing import Final

import pulumi
import pulumi_docker as docker
import pytest

import components
import settings
from settings.schema import ROOT
from tests.unit.engine import Engine

PROVIDERS: Final = ("pulumi_docker", "pulumi_tls", "pulumi_command", "pulumi_random", "pulumi_aws")
SHARED: Final = {"handover", "service", "step", "secret", "trust", "daemon"}
"""Modules of components/ that are not components: what any component may use."""
OUTSIDE: Final = {"time", "datetime", "socket", "requests", "httpx", "urllib.request", "http.client", "subprocess"}


def imports(path: Path) -> set[str]:
    """Return every module a file imports, at the top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(path: Path, *packages: str) -> set[str]:
    """Return what `path` imports from `packages`."""
    return {name for name in imports(path) if name.split(".")[0] in packages}


def attributes(path: Path) -> set[str]:
    """Return every dotted access of a file, such as `os.environ`."""
    return {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


def files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).glob("*.py"))]


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", files("settings"), ids=ids)
def test_settings_import_no_provider_and_no_component(path: Path) -> None:
    assert within(path, *PROVIDERS, "components", "operations", "toolchain") == set()


@pytest.mark.parametrize("path", files("rendering"), ids=ids)
def test_rendering_imports_no_pulumi_and_nothing_of_ours(path: Path) -> None:
    assert within(path, "pulumi", *PROVIDERS, "components", "settings", "operations", "toolchain") == set()


@pytest.mark.parametrize("path", files("components"), ids=ids)
def test_components_import_neither_settings_nor_operations(path: Path) -> None:
    assert within(path, "settings", "operations", "toolchain") == set()


@pytest.mark.parametrize("path", [path for path in files("components") if path.name != "__init__.py"], ids=ids)
def test_components_do_not_import_each_other(path: Path) -> None:
    used = {name.split(".")[1] for name in within(path, "components") if "." in name}
    assert used <= SHARED, "components meet in __main__.py, by the values of handover.py"


@pytest.mark.parametrize("path", files("components", "settings", "rendering"), ids=ids)
def test_only_the_bucket_of_aws_imports_the_sdk_of_aws(path: Path) -> None:
    assert bool(within(path, "pulumi_aws")) is (path.name == "s3.py"), "it is large, and few need it"


def test_the_program_imports_the_sdk_of_aws_on_one_branch_only() -> None:
    program = ast.parse((ROOT / "__main__.py").read_text(encoding="utf-8"))
    always = [node for node in program.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [line for line in map(ast.unparse, always) if "aws" in line or "s3" in line], "it is large, few need it"


@pytest.mark.parametrize("path", [*files("components", "rendering"), ROOT / "__main__.py"], ids=ids)
def test_nothing_but_settings_reads_configuration(path: Path) -> None:
    assert attributes(path).isdisjoint({"pulumi.Config", "pulumi.get_stack", "pulumi.get_project"})
    assert "pulumi.Config" not in imports(path)


@pytest.mark.parametrize("path", [*files("components", "rendering", "settings"), ROOT / "__main__.py"], ids=ids)
def test_nothing_reads_the_environment_while_the_program_runs(path: Path) -> None:
    # daemon.py hands the caller's PATH and HOME on to the docker command, from hooks and the preflight only;
    # garage_setup.py is not part of the program: it runs as a step of its own.
    allowed = path.name in {"daemon.py", "garage_setup.py"}
    assert ("os" in imports(path)) is allowed, "the program is a pure function of configuration and repository"


@pytest.mark.parametrize("path", [*files("components", "rendering", "settings"), ROOT / "__main__.py"], ids=ids)
def test_nothing_asks_the_clock_the_network_or_another_program(path: Path) -> None:
    allowed = {"subprocess"} if path.name in {"daemon.py", "garage_setup.py"} else set()
    assert imports(path) & OUTSIDE <= allowed


@pytest.mark.parametrize("path", files("components", "rendering", "settings"), ids=ids)
def test_nothing_is_made_inside_an_apply(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "apply":
            called = {
                ast.unparse(inner.func)
                for argument in node.args
                for inner in ast.walk(argument)
                if isinstance(inner, ast.Call)
            }
            made = {name for name in called if name.split(".")[0] in {"docker", "tls", "random", "command", "aws"}}
            assert made == set(), "a resource made in an apply is missing from previews"


@pytest.mark.parametrize("path", files("components"), ids=ids)
def test_a_container_or_volume_is_made_in_one_place_only(path: Path) -> None:
    made = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    } & {"docker.Container", "docker.Volume"}
    assert made == ({"docker.Container", "docker.Volume"} if path.name == "service.py" else set())


def test_no_provider_is_made_inside_a_component() -> None:
    for path in files("components"):
        assert "Provider(" not in path.read_text(encoding="utf-8"), path.name


def test_the_public_names_of_components_are_these() -> None:
    assert components.__all__ == [
        "Authority", "AuthorityArgs", "Caddy", "CaddyArgs", "Certificate", "CertificateArgs", "Daemon", "Garage",
        "GarageArgs", "Hatchet", "HatchetArgs", "Host", "HostArgs", "ImageArgs", "Images", "ImagesArgs", "Ollama",
        "OllamaArgs", "Postgres", "PostgresArgs", "Redis", "RedisArgs", "Reflector", "ReflectorArgs", "Transcription",
        "TranscriptionArgs",
    ]  # fmt: skip


@pytest.mark.parametrize("package", [components, settings], ids=lambda package: package.__name__)
def test_every_public_name_exists_and_is_described(package: object) -> None:
    for name in package.__all__:  # type: ignore[attr-defined]  # both packages have it
        thing = getattr(package, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, f"{name} promises nothing"
            assert not thing.__doc__.startswith(f"{name}("), f"{name} has a generated docstring only"


@pytest.mark.parametrize("name", [name for name in components.__all__ if isinstance(getattr(components, name), type)])
def test_a_component_takes_a_name_arguments_and_options(name: str) -> None:
    thing = getattr(components, name)
    if issubclass(thing, pulumi.ComponentResource):
        parameters = inspect.signature(thing.__init__).parameters
        assert list(parameters) == ["self", "name", "args", "opts"]
        assert parameters["args"].annotation is getattr(components, f"{name}Args")
    else:
        assert is_dataclass(thing)
        assert vars(thing)["__dataclass_params__"].frozen, "arguments do not change after they were checked"


def test_component_types_are_literal_and_unique() -> None:
    tokens: list[str] = []
    for path in files("components"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "super().__init__" and node.args:
                assert isinstance(node.args[0], ast.Constant), f"{path.name}: a computed type would move URNs"
                tokens.append(str(node.args[0].value))
    assert len(tokens) == len(set(tokens)) > 10
    assert all(token.startswith("reflector:") and token.count(":") == 2 for token in tokens)


def test_a_preview_that_asks_anybody_anything_fails_here(engine: Engine) -> None:
    with pytest.raises(Exception, match="a preview must not ask anybody anything"):
        engine.run(lambda: docker.get_network(name="bridge"))
