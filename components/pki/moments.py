"""Times of certificates as the TLS provider writes them: RFC 3339, to the nanosecond."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pki.moments import rfc3339


def earliest(moments: Sequence[str]) -> str:
    """Return the first of `moments`, as it was written."""
    return min(moments, key=datetime.fromisoformat)


def read(moment: str) -> datetime:
    """Return a time as it was written."""
    return datetime.fromisoformat(moment)


def hours_before(moment: str, hours: int) -> str:
    """Return the time `hours` before `moment`, in UTC and to the second."""
    return rfc3339(datetime.fromisoformat(moment) - timedelta(hours=hours))
