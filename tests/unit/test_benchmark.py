"""The benchmark's tables and where they are put; the figures themselves are whatever was measured."""

import pytest

from operations import benchmark


def test_a_cold_run_is_told_step_by_step() -> None:
    log = [
        "engine 3.259.0: building from the registries, 3 min 50 s: engine: compiling",
        "engine 3.259.0: building from the registries: done in 4 min 05 s",
        "images: staging the build contexts: done in 1.5 s",
        "Resources:",
    ]
    table = benchmark.cold_table(log, 905.4)
    assert table[-3:] == [
        "| engine 3.259.0: building from the registries | 4 min 05 s |",
        "| images: staging the build contexts | 1.5 s |",
        "| **all of `make up`** | **15 min 05 s** |",
    ]


def test_a_table_replaces_the_one_before() -> None:
    page = "before\n<!-- benchmark warm -->\nold\n<!-- end warm -->\nafter\n"
    once = benchmark.replaced(page, "warm", "| new |")
    assert once == "before\n<!-- benchmark warm -->\n\n| new |\n\n<!-- end warm -->\nafter\n"
    assert benchmark.replaced(once, "warm", "| new |") == once


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the cold measurement"):
        benchmark.replaced("text", "cold", "| new |")
