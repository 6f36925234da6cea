"""Counts the tests of all folders by tier."""

from collections import Counter

import pytest

TIERS = {
    "toolchain": "toolchain/tests",
    "unit": "tests/unit",
    "program": "tests/program",
    "e2e": "tests/e2e",
    "campaign": "tests/campaign",
}
"""Tier → folder of its tests."""


def tier_of(node_id: str) -> str:
    """Return the tier of a test by the folder it is in."""
    return next((tier for tier, folder in TIERS.items() if node_id.startswith(f"{folder}/")), "other")


def tier_summary(outcomes: dict[str, Counter[str]]) -> list[str]:
    """Return one line a tier that ran: how many tests, and how they ended."""
    lines = []
    for tier in (*TIERS, "other"):
        ended = outcomes.get(tier)
        if ended:
            details = ", ".join(f"{count} {outcome}" for outcome, count in sorted(ended.items()))
            lines.append(f"{tier}: {ended.total()} tests ({details})")
    return lines


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how the tests of each tier ended."""
    outcomes: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "skipped", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            outcomes.setdefault(tier_of(report.nodeid), Counter())[outcome] += 1
    lines = tier_summary(outcomes)
    if lines:
        terminalreporter.section("tests by tier")
        for line in lines:
            terminalreporter.write_line(line)
