"""What /wiring answers: its shape, its bounds, and that it gives no secret away."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
import pytest
from probe.serving import Role, wiring_app
from probe.wiring import AT_ONCE, Check, Scrubber, WiringError, run_checks

SECRETS = {
    "TRANSCRIPT_STORAGE_AWS_SECRET_ACCESS_KEY": "s3cr3t/key+",
    "DATABASE_URL": "postgresql+asyncpg://reflector:Pg-Pass-1@postgres:5432/reflector",
    "HATCHET_CLIENT_TOKEN": "eyJhbGciOi.payload.signature",
    "SERVER_GRPC_INSECURE": "t",
    "LLM_MODEL": "tiny",
}


def answers(detail: Mapping[str, Any]) -> Callable[[], Awaitable[Mapping[str, Any]]]:
    async def run() -> Mapping[str, Any]:
        return detail

    return run


def raises(problem: Exception) -> Callable[[], Awaitable[Mapping[str, Any]]]:
    async def run() -> Mapping[str, Any]:
        raise problem

    return run


def test_every_entry_has_the_same_four_fields() -> None:
    checks = [
        Check(name="redis", run=answers({"version": "7"})),
        Check(name="llm", run=raises(WiringError("no model"))),
    ]
    report = asyncio.run(run_checks("server", checks, {}))
    assert list(report) == ["role", "ok", "redis", "llm"]
    assert (report["role"], report["ok"]) == ("server", False)
    for name in ("redis", "llm"):
        assert set(report[name]) == {"ok", "milliseconds", "error", "detail"}
        assert isinstance(report[name]["milliseconds"], float)
    assert report["redis"]["ok"] is True
    assert report["redis"]["error"] is None
    assert report["llm"] | {"milliseconds": 0.0} == {
        "ok": False,
        "milliseconds": 0.0,
        "error": "no model",
        "detail": None,
    }


def test_some_checks_run_side_by_side_and_none_hangs() -> None:
    running: list[int] = []

    async def hang() -> Mapping[str, Any]:
        running.append(1)
        most.append(len(running))
        try:
            await asyncio.sleep(60)
        finally:
            running.pop()
        return {}

    most: list[int] = []
    checks = [Check(name=f"slow{n}", run=hang, seconds=0.2) for n in range(2 * AT_ONCE)]
    started = time.perf_counter()
    report = asyncio.run(run_checks("beat", checks, {}))
    assert time.perf_counter() - started < 0.2 * 4
    assert max(most) == AT_ONCE
    # The wait for a place is not counted as a dependency's slowness.
    assert {entry["error"] for name, entry in report.items() if name.startswith("slow")} == {"no answer within 0.2 s"}
    assert report["slow7"]["milliseconds"] < 400


def test_a_role_without_checks_is_not_ok() -> None:
    assert asyncio.run(run_checks("server", [], {}))["ok"] is False


@pytest.mark.parametrize("names", [("a", "a"), ("role",), ("ok",)])
def test_names_that_would_overwrite_each_other_are_refused(names: tuple[str, ...]) -> None:
    checks = [Check(name=name, run=answers({})) for name in names]
    with pytest.raises(ValueError, match="unique"):
        asyncio.run(run_checks("server", checks, {}))


def test_an_error_names_its_cause_on_one_line() -> None:
    problem = RuntimeError("outer\nline")
    problem.__cause__ = ConnectionRefusedError("port closed")
    report = asyncio.run(run_checks("server", [Check(name="x", run=raises(problem))], {}))
    assert report["x"]["error"] == "RuntimeError: outer line (from ConnectionRefusedError: port closed)"


def test_no_secret_leaves_in_errors_or_details() -> None:
    text = "login Pg-Pass-1 at s3cr3t/key+ or s3cr3t%2Fkey%2B with eyJhbGciOi.payload.signature on tiny, t"
    checks = [
        Check(name="error", run=raises(WiringError(text))),
        Check(name="detail", run=answers({"nested": [{"text": text}], "count": 3, "flag": True})),
    ]
    report = asyncio.run(run_checks("server", checks, SECRETS))
    hidden = "login *** at *** or *** with *** on tiny, t"
    assert report["error"]["error"] == hidden
    assert report["detail"]["detail"] == {"nested": [{"text": hidden}], "count": 3, "flag": True}


def test_a_quoted_password_in_a_url_is_hidden_in_both_forms() -> None:
    scrubber = Scrubber({"DATABASE_URL": "postgresql://u:p%40ssword@h/d"})
    assert scrubber.clean("p%40ssword p@ssword") == "*** ***"


def test_the_endpoint_answers_503_until_all_is_well_and_can_run_one_check() -> None:
    role = Role(
        name="beat",
        checks=[Check(name="broker", run=answers({})), Check(name="database", run=raises(WiringError("down")))],
    )

    async def ask(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=wiring_app(role))
        async with httpx.AsyncClient(transport=transport, base_url="http://probe") as client:
            return await client.get(path)

    assert asyncio.run(ask("/wiring")).status_code == 503
    one = asyncio.run(ask("/wiring?only=broker"))
    assert (one.status_code, one.json()["ok"], list(one.json())) == (200, True, ["role", "ok", "broker"])
    unknown = asyncio.run(ask("/wiring?only=nope"))
    assert unknown.status_code == 404
    assert "broker, database" in unknown.json()["detail"]


def test_shared_work_is_not_counted_as_a_dependency_s() -> None:
    order: list[str] = []

    async def warm() -> None:
        await asyncio.sleep(0.3)
        order.append("warm")

    async def check() -> Mapping[str, Any]:
        order.append("check")
        return {}

    role = Role(name="server", checks=[Check(name="x", run=check, seconds=0.2)], warm=warm)

    async def ask() -> dict[str, Any]:
        transport = httpx.ASGITransport(app=wiring_app(role))
        async with httpx.AsyncClient(transport=transport, base_url="http://probe") as client:
            return dict((await client.get("/wiring")).json())

    assert asyncio.run(ask())["ok"] is True
    assert order == ["warm", "check"]
