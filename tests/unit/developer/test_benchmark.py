"""The benchmark's tables and where they are put, and what keeps a cold run apart; the figures are what was measured."""

from pathlib import Path

import pytest
import yaml

from developer import benchmark
from toolchain import INSTALLED, REGISTRY, REQUIRED_PLUGINS, ROOT, Layout, Obtained


def test_a_warm_run_is_compared_round_by_round() -> None:
    table = benchmark.warm_table("71", [(3.0, 1.0, 2.0), (4.0, 0.5, 1.0), (2.5, 0.5, 2.5)])
    assert table[0].startswith("Stack with 71 resources, 3 rounds after a warm-up, ")
    assert table[-5:] == [
        "| `pulumi up`, nothing to change | 3.00 s | 2.50 | 4.00 |",
        "| `pulumi up`, empty program | 0.50 s | 0.50 | 1.00 |",
        "| `pulumi up`, empty program that starts the same plugins | 2.00 s | 1.00 | 2.50 |",
        "| ratio to the empty program | 5.00 | 3.00 | 8.00 |",
        "| ratio to the one that starts the same plugins | 1.50 | 1.00 | 4.00 |",
    ]


def test_what_starts_the_same_plugins_makes_every_provider_and_nothing_else() -> None:
    program = benchmark.BASELINES["plugins"].split("\n\n")
    packages = sorted(REQUIRED_PLUGINS)
    assert program[0].splitlines() == [f"import pulumi_{package} as {package}" for package in packages]
    assert program[1].splitlines() == [f'{package}.Provider("{package}")' for package in packages]


def obtained(name: str, origin: str) -> Obtained:
    return Obtained(name=name, version="", origin=origin, files={}, sha256="", key="")


def test_a_cold_run_is_told_step_by_step() -> None:
    log = [
        "engine 3.259.0: building from the registries, 3 min 50 s: engine: compiling",
        "engine 3.259.0: building from the registries: done in 4 min 05 s",
        "images: staging the build contexts: done in 1.5 s",
        "Resources:",
    ]
    parts = [obtained("garage", REGISTRY), obtained("caddy", INSTALLED), obtained("engine", REGISTRY)]
    table = benchmark.cold_table(log, 905.4, parts)
    assert table[0].endswith(
        " cores; empty home, caches and toolchain folder; Docker's images as found. "
        "Built from the registries: engine, garage. Installed: caddy."
    )
    assert table[-3:] == [
        "| engine 3.259.0: building from the registries | 4 min 05 s |",
        "| images: staging the build contexts | 1.5 s |",
        "| **all of `make up`** | **15 min 05 s** |",
    ]


def test_a_cold_run_has_nothing_of_the_make_around_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    environment = {
        "PATH": f"{layout.bin}:/usr/bin", "HOME": "/home/somebody", "LANG": "C.UTF-8", "XDG_CACHE_HOME": "/cache",
        "PULUMI_HOME": str(layout.pulumi_home), "TOOLCHAIN_CACHE": "/cache", "MAKEFLAGS": " -- ARGS=--cold",
        "MFLAGS": "", "MAKELEVEL": "1", "ARGS": "--cold", "STACK": "dev",
    }  # fmt: skip
    left = benchmark.cold_environment(environment, layout, tmp_path / "home")
    assert {name: left[name] for name in left if not name.startswith("GO")} == {
        "PATH": "/usr/bin", "HOME": str(tmp_path / "home"), "LANG": "C.UTF-8",
    }  # fmt: skip


def test_a_cold_run_is_the_local_stack_on_ports_of_its_own() -> None:
    committed = (ROOT / "Pulumi.dev.yaml").read_text(encoding="utf-8")
    dev = yaml.safe_load(committed)["config"]
    cold = yaml.safe_load(benchmark.cold_stack(committed, https_port=20001, http_port=20002))["config"]
    assert cold == {**dev, "reflector:edge": {**dev["reflector:edge"], "https_port": 20001, "http_port": 20002}}
    assert dev["reflector:edge"].keys() > {"https_port", "http_port"}, "the rest of the concern has to stay"


def test_a_table_replaces_the_one_before() -> None:
    page = "before\n<!-- benchmark warm -->\nold\n<!-- end warm -->\nafter\n"
    once = benchmark.replaced(page, "warm", "| new |")
    assert once == "before\n<!-- benchmark warm -->\n\n| new |\n\n<!-- end warm -->\nafter\n"
    assert benchmark.replaced(once, "warm", "| new |") == once


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the cold measurement"):
        benchmark.replaced("text", "cold", "| new |")
