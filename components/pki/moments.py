"""Times of certificates as the TLS provider writes them: RFC 3339, to the nanosecond."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta


def earliest(moments: Sequence[str]) -> str:
    """Return the first of `moments`, as it was written."""
    return min(moments, key=datetime.fromisoformat)


def hours_before(moment: str, hours: int) -> str:
    """Return the time `hours` before `moment`, in UTC and to the second."""
    earlier = datetime.fromisoformat(moment).astimezone(UTC) - timedelta(hours=hours)
    return earlier.strftime("%Y-%m-%dT%H:%M:%SZ")
