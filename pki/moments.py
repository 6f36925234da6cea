"""Moments as text."""

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """Return a moment, with a time zone, as the TLS provider writes them: RFC 3339, in UTC and to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
