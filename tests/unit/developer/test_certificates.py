"""The table of what many certificates cost, and what is measured for it."""

import gc
from pathlib import Path

import pulumi
import pytest

from developer import certificates
from developer.certificates import ALONE, STEPS, Taken
from settings.registry import Issued
from testing.engine import Engine


def taken(*processor: float) -> dict[str, Taken]:
    """Return what the first steps took, in twice as many seconds as of the processor's."""
    return {step: Taken(seconds=2 * each, processor_seconds=each) for step, each in zip(STEPS, processor, strict=False)}


def test_the_table_tells_what_each_further_one_costs_between_sizes() -> None:
    largest = taken(11.0, 22.0, 0.0, 6.0, 17.0)
    del largest[ALONE]
    found = {10: taken(1.0, 2.0, 2.0, 3.0, 4.0), 100: taken(2.0, 4.0, 11.0, 6.0, 8.0), 1000: largest}
    lines = certificates.table(found, loads=[1.2, 4.4])
    assert "load of 1 to 4" in lines[0]
    assert lines[2:9] == [
        "| step | 10 | 100 | 1000 | ms for each more, 10 to 100 | ms for each more, 100 to 1000 |",
        "| --- | --- | --- | --- | --- | --- |",
        "| preview, before anything is there | 2.0 s (1.0) | 4.0 s (2.0) | 22.0 s (11.0) | 11 | 10 |",
        "| first `up` | 4.0 s (2.0) | 8.0 s (4.0) | 44.0 s (22.0) | 22 | 20 |",
        "| first `up`, by the engine alone | 4.0 s (2.0) | 22.0 s (11.0) |  | 100 |  |",
        "| `up`, nothing to change | 6.0 s (3.0) | 12.0 s (6.0) | 12.0 s (6.0) | 33 | 0 |",
        "| `up` that renews one | 8.0 s (4.0) | 16.0 s (8.0) | 34.0 s (17.0) | 44 | 10 |",
    ]
    assert lines[9:] == [f"| {step} |  |  |  |  |  |" for step in STEPS[5:]], (
        "nothing stands where nothing was measured"
    )


@pytest.mark.parametrize(("issue", "first", "issues"), [(1, None, [1, 1, 1]), (1, 2, [2, 1, 1]), (2, 3, [3, 2, 2])])
def test_one_of_the_certificates_or_all_are_others(issue: int, first: int | None, issues: list[int]) -> None:
    made = certificates.registry(3, issue=issue, first=first).certificates.values()
    assert [one.issue for one in made if isinstance(one, Issued)] == issues


def test_the_program_that_is_measured_makes_what_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "disable", lambda: None)
    monkeypatch.setattr("pulumi.log.debug", pulumi.log.debug)  # both are the program's to take away, for itself alone
    file = tmp_path / "registry.json"
    file.write_text(certificates.registry(3).model_dump_json(), encoding="utf-8")
    engine = Engine()
    engine.run(lambda: exec(certificates._PROGRAM.format(root="/a", registry=str(file)), {}))
    assert [one["name"] for one in engine.exports["pki_inventory"]] == [
        "authority", *(f"certificate-service-{number}" for number in range(3)),
    ]  # fmt: skip
