"""What an engine would tell of resources."""

from typing import Any, Final

from policy.rules import Resource

UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
KEY_LINE: Final = "MC4CAQAwBQYDK2VwBCIEIMhSnEt+WzrBfdntsTc/KptwmJKG5czHb0V/9aqWAZVP"
KEY: Final = f"-----BEGIN PRIVATE KEY-----\n{KEY_LINE}\n-----END PRIVATE KEY-----\n"
"""Of nobody."""


def secret(value: object) -> dict[str, Any]:
    """Return a value as the engine marks secrets."""
    return {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": value}


def resource(type_: str, /, *parents: str, named: str = "it", protect: bool = False, **properties: object) -> Resource:
    """Return a resource within others of these types."""
    return Resource(
        urn=f"urn:pulumi:test::reflector::{'$'.join([*parents, type_])}::{named}",
        type=type_,
        name=named,
        properties=properties,
        protect=protect,
    )
