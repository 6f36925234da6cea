"""Whether Authentik's database can be given to the image the settings name, found out before anything is replaced.

Authentik is released in lines of a year and a month, and takes a database only from the line before its own or from its
own: with any other it ends at its start, "Major version skips are not allowed" (lifecycle/migrate.py). By then the
former one is gone. What went through a line's migrations is not taken back by an older one, which it only warns of.
"""

import re
from collections.abc import Iterator
from typing import Final

from operations.image_in_use import Change, change, name_and_tag
from settings import Problem, Settings

PART: Final = "authentik"
Line = tuple[int, int]
"""Year and month."""
LINES: Final[tuple[Line, ...]] = (
    (2024, 2), (2024, 4), (2024, 6), (2024, 8), (2024, 10), (2024, 12),
    (2025, 2), (2025, 4), (2025, 6), (2025, 8), (2025, 10), (2025, 12),
    (2026, 2), (2026, 5), (2026, 8), (2026, 11),
)  # fmt: skip
"""Every line in order, up to the newest this program knows of (https://docs.goauthentik.io/releases)."""
_VERSION: Final = re.compile(r"(?P<year>20\d\d)\.(?P<month>[1-9]\d?)(\.(?P<patch>0|[1-9]\d*))?(?:[+-].*)?")


def version_of_reference(reference: str) -> tuple[Line, int | None] | None:
    """Return line and patch by the name of an image, None where it is not told: a digest, or numbers of its own."""
    name, tag = name_and_tag(reference)
    found = _VERSION.fullmatch(tag)
    if PART not in name or not found or int(found["month"]) > 12:
        return None
    return (int(found["year"]), int(found["month"])), int(found["patch"]) if found["patch"] else None


def problems(settings: Settings, image_in_use: tuple[str, str] | None) -> Iterator[Problem]:
    """Yield what keeps the image of the settings from the database that is there.

    `image_in_use` is the reference and the id in the state, None where there is none or it is not known. Nobody is
    asked: names tell it, or it is not told.
    """
    found = _versions(change(settings, PART, image_in_use))
    if found is None:
        return
    asked, (before, _), (after, _) = found
    if after < before:
        yield Problem(
            setting=asked.setting,
            given=f"{asked.wanted}, while the database is one of Authentik {_text(before)}",
            allowed=f"Authentik {_text(before)}" + _or_next(before) + ": none goes back",
            remedy=_remedy(asked.former),
        )
    skipped = [line for line in LINES if before < line < after]
    # Only between two that are known is it known what lies there.
    if before in LINES and skipped:
        yield Problem(
            setting=asked.setting,
            given=f"{asked.wanted}, while the database is one of Authentik {_text(before)}",
            allowed=f"Authentik {_text(before)}" + _or_next(before) + ": none skips a line",
            remedy=f"Go by {', then '.join(map(_text, skipped))}, the newest of each, with a `make up` for each: "
            f"pulumi config set --path images.references.{PART} <reference>",
        )


def hints(settings: Settings, image_in_use: tuple[str, str] | None) -> Iterator[str]:
    """Yield what is not wrong for sure."""
    found = _versions(change(settings, PART, image_in_use))
    if found is None:
        return
    asked, (before, patch), (after, new_patch) = found
    if before == after and patch is not None and new_patch is not None and new_patch < patch:
        yield (
            f"{asked.wanted} is older than {asked.former}, which Authentik does not support, even within "
            f"{_text(after)}: dump its database before (docs/sign-in.md)"
        )
    if after > before and not {before, after}.issubset(LINES):
        yield (
            f"From Authentik {_text(before)} to {_text(after)} no line may be skipped, and this release knows those "
            f"up to {_text(LINES[-1])} only: see https://docs.goauthentik.io/releases"
        )


def _versions(asked: Change | None) -> tuple[Change, tuple[Line, int | None], tuple[Line, int | None]] | None:
    if asked is None:
        return None
    before, after = version_of_reference(asked.former), version_of_reference(asked.wanted)
    return None if before is None or after is None else (asked, before, after)


def _text(line: Line) -> str:
    year, month = line
    return f"{year}.{month}"


def _or_next(line: Line) -> str:
    following = next((one for one in LINES if one > line), None)
    return f" or {_text(following)}" if following and line in LINES else " or the line after it"


def _remedy(reference: str) -> str:
    return f"Keep that image: pulumi config set --path images.references.{PART} {reference}"
