"""What the SDK says to the engine that nobody hears."""

import pulumi


def drop_debug_messages() -> None:
    """Keep the SDK's debug messages from the engine.

    It tells of each step of each registration, in calls that the program waits for: some 340 in a run of this stack, a
    twelfth of its time. The engine shows none of them unless it was started with `--debug`; what it says then of the
    same steps by itself is not touched.
    """
    pulumi.log.debug = _unheard


def _unheard(
    msg: str, resource: pulumi.Resource | None = None, stream_id: int | None = None, ephemeral: bool | None = None
) -> None:
    pass
