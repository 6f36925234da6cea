"""Run the checks of a role side by side and render what ``/wiring`` answers."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

CHECK_SECONDS = 15.0
"""Longest a check may take unless it says otherwise. A connection that hangs ends after seven seconds by itself, and a
check makes several."""

AT_ONCE = 4
"""Checks that run at the same time. All fifteen of a backend role together kept each other from the processor until
connections timed out, on two cores with other work to do."""

SECRET_WORDS = ("PASSWORD", "SECRET", "TOKEN", "API_KEY", "APIKEY", "ACCESS_KEY")
"""A variable with one of these in its name holds a secret (names of Reflector, NextAuth and Hatchet)."""

HIDDEN = "***"


class WiringError(Exception):
    """A dependency does not work; the message names the variable, what was found and what was expected."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One dependency: ``run`` uses it and returns details worth showing, or raises. ``seconds`` bounds it."""

    name: str
    run: Callable[[], Awaitable[Mapping[str, Any]]]
    seconds: float = CHECK_SECONDS


class Scrubber:
    """Replaces every secret of an environment in a text, in plain and in URL-quoted form."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """Collect the secrets: variables named for one, and passwords inside URLs."""
        found: set[str] = set()
        for name, value in env.items():
            if any(word in name for word in SECRET_WORDS):
                found.add(value)
            if "://" in value:
                found.update(_url_passwords(value))
        # Shorter values ("t", "none") are no secrets and would blank ordinary words.
        strong = {value for value in found if len(value) >= 6}
        self._secrets = sorted(strong | {quote(value, safe="") for value in strong}, key=len, reverse=True)

    def clean(self, value: Any) -> Any:
        """The value with secrets hidden; walks through mappings and lists, leaves numbers and booleans alone."""
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, HIDDEN)
            return value
        if isinstance(value, Mapping):
            return {key: self.clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.clean(item) for item in value]
        return value


async def run_checks(role: str, checks: Iterable[Check], env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run the checks, AT_ONCE side by side.

    Returns ``{"role", "ok", <name>: {"ok", "milliseconds", "error", "detail"}, ...}``.
    """
    scrubber = Scrubber(os.environ if env is None else env)
    listed = list(checks)
    names = [check.name for check in listed]
    clash = {name for name in names if names.count(name) > 1 or name in ("role", "ok")}
    if clash:
        raise ValueError(f"check names must be unique and neither 'role' nor 'ok', got {sorted(clash)}")
    slots = asyncio.Semaphore(AT_ONCE)
    entries = await asyncio.gather(*(_run(check, scrubber, slots) for check in listed))
    result: dict[str, Any] = {"role": role, "ok": bool(entries) and all(entry["ok"] for entry in entries)}
    result.update(zip(names, entries, strict=True))
    return result


async def _run(check: Check, scrubber: Scrubber, slots: asyncio.Semaphore) -> dict[str, Any]:
    async with slots:
        return await _timed(check, scrubber)


async def _timed(check: Check, scrubber: Scrubber) -> dict[str, Any]:
    started = time.perf_counter()
    detail: Mapping[str, Any] | None = None
    error: str | None = None
    try:
        async with asyncio.timeout(check.seconds):
            detail = await check.run()
    except TimeoutError as problem:
        # A library's own time-out lands here too; it says what it waited for, ours has no text.
        error = f"no answer within {check.seconds:g} s" + (f": {problem}" if str(problem) else "")
    # One broken dependency must not hide the state of the others, and each library fails in its own way.
    except Exception as problem:  # noqa: BLE001  # see above
        error = describe(problem)
    return {
        "ok": error is None,
        "milliseconds": round((time.perf_counter() - started) * 1000, 1),
        "error": scrubber.clean(error),
        "detail": scrubber.clean(detail),
    }


def describe(problem: BaseException) -> str:
    """The error in one line: its type, its text and, where that adds something, the cause below it."""
    if isinstance(problem, WiringError):
        return str(problem)
    text = f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
    cause = problem.__cause__ or problem.__context__
    if cause is not None and str(cause) and str(cause) not in text:
        text += f" (from {type(cause).__name__}: {cause})"
    return " ".join(text.split())


def _url_passwords(text: str) -> set[str]:
    found: set[str] = set()
    for word in text.split():
        try:
            password = urlsplit(word).password
        except ValueError:
            continue
        if password:
            found.update((password, unquote(password)))
    return found
