"""A hundred days later: a preview finds what has run out, and nothing else.

The clock of the machine is left alone. Providers hold the times in the state against it, so those are moved instead.
"""

import json
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from tests.campaign.survival import Account, Victim

pytestmark = pytest.mark.docker

DAYS: Final = 100
"""More than a leaf lives, and less than the token's lease does before its renewal."""


def aged(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state, of the shape of an export, in which every certificate is older, and so is what was told of it."""
    moments = {
        moment
        for resource in state["deployment"]["resources"]
        for name in ("validityStartTime", "validityEndTime")
        if (moment := resource.get("outputs", {}).get(name))
    }
    text = json.dumps(state)
    for moment in moments:
        earlier = datetime.fromisoformat(moment) - timedelta(days=DAYS)
        text = text.replace(moment, earlier.isoformat().replace("+00:00", "Z"))
    return dict(json.loads(text))


def test_a_preview_a_hundred_days_later_renews_the_leaf_and_nothing_else(victim: Victim, account: Account) -> None:
    kept = victim.stack.export()
    victim.stack.restore(aged(kept))
    try:
        planned = victim.stack.planned()
    finally:
        victim.stack.restore(kept)
    assert planned == {"edge-certificate-1-certificate": "replace", "caddy-release": "update"}
    account.add("a clock", f"{DAYS} days later, for a preview", victim.recovers())
