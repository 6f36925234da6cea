"""What a change does to a deployment, told from two previews."""

import json
from pathlib import Path
from typing import Any

import pytest

from developer import review


def step(type_: str, name: str, parents: str = "", **state: Any) -> dict[str, Any]:
    urn = f"urn:pulumi:selfhosted::reflector::{parents}{type_}::{name}"
    return {"op": "create", "urn": urn, "newState": {"urn": urn, "type": type_, **state}}


def preview(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"config": {}, "steps": list(steps)}


NETWORK = step("docker:index/network:Network", "host-cache", "reflector:host:Host$", inputs={"name": "cache"})
VOLUME = step("docker:index/volume:Volume", "redis-data", inputs={"name": "redis"}, protect=True)


def test_equal_previews_change_nothing_whatever_their_order() -> None:
    text = review.report(preview(NETWORK, VOLUME), preview(VOLUME, NETWORK))
    assert "Nothing: a first deployment makes the same 2 resources" in text


def test_new_gone_and_changed_resources_are_named() -> None:
    base = review.resources(preview(NETWORK, step("t:i:T", "same", inputs={"port": 80, "name": "x"})))
    head = review.resources(preview(VOLUME, step("t:i:T", "same", inputs={"port": 8080, "name": "x"})))
    assert review.difference(base, head) == [
        "- docker:index/network:Network host-cache",
        "-     name: cache",
        "+ docker:index/volume:Volume redis-data",
        "+     (protect): true",
        "+     name: redis",
        "! t:i:T same",
        "      name: x",
        "-     port: 80",
        "+     port: 8080",
    ]


def test_a_lost_protection_shows() -> None:
    bare = step("docker:index/volume:Volume", "redis-data", inputs={"name": "redis"})
    assert "-     (protect): true" in review.difference(
        review.resources(preview(VOLUME)), review.resources(preview(bare))
    )


def test_a_changed_dependency_shows() -> None:
    def container(*needs: str) -> dict[str, Any]:
        return step("t:i:T", "c", dependencies=[f"urn:pulumi:selfhosted::reflector::a:b:C$d:e:F::{n}" for n in needs])

    lines = review.difference(review.resources(preview(container("x"))), review.resources(preview(container("x", "y"))))
    assert "+     - d:e:F y" in lines


def test_a_changed_line_of_a_script_is_a_line() -> None:
    old, new = (preview(step("t:i:T", "s", inputs={"create": f"set -eu\n{line}\nexit\n"})) for line in ("one", "two"))
    lines = review.difference(review.resources(old), review.resources(new))
    assert [line.split() for line in lines if line[0] in "+-"] == [["-", "one"], ["+", "two"]]


def test_values_unknown_before_the_update_are_equal_and_said_to_be_so() -> None:
    made = review.resources(preview(step("t:i:T", "s", inputs={"stdin": review.UNKNOWN, "__defaults": []})))
    assert list(made.values()) == [["stdin: (known after up)"]]


def test_without_a_base_there_is_no_comparison() -> None:
    assert "A first deployment makes 2 resources" in review.report(preview(NETWORK, VOLUME), None)


def test_a_long_review_fits_into_a_comment_and_says_what_it_leaves_out() -> None:
    crowd = [step("t:i:T", f"resource-{number}", inputs={"value": "x" * 100}) for number in range(2000)]
    text = review.report(preview(*crowd), preview())
    assert len(text) < 65_536
    assert "more lines: see the log of the job" in text


def test_the_command_reads_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("head", preview(NETWORK)), ("base", preview())):
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    assert review.main([str(tmp_path / "head"), str(tmp_path / "base")]) == 0
    assert "+ docker:index/network:Network host-cache" in capsys.readouterr().out
