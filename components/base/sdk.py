"""Where the SDK takes longer than it has to."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi


def drop_debug_messages() -> None:
    """Keep the SDK's debug messages from the engine.

    It tells of each step of each registration, in calls that the program waits for: some 340 in a run of this stack, a
    twelfth of its time. The engine shows none of them unless it was started with `--debug`; what it says then of the
    same steps by itself is not touched.
    """
    pulumi.log.debug = _unheard


def export(outputs: Mapping[str, pulumi.Input[object]]) -> None:
    """Make these the outputs of the stack, once all is known that is in them.

    The SDK waits for all that is open when a program has come to its end, and goes over the whole of it each time some
    is known: with five hundred certificates a fifth of a run. So most of it is waited for here, each by itself. What of
    it fails is left for the SDK to tell.
    """
    for name, value in outputs.items():
        # As it is: what of it is not known yet is that alone in a preview, and not the whole.
        pulumi.export(name, value)

    async def known() -> None:
        every = [one for value in outputs.values() for one in _within(value)]
        await asyncio.gather(*(one.is_known() for one in every), return_exceptions=True)

    pulumi.run(known)


def _within(value: object) -> Iterator[pulumi.Output[Any]]:
    match value:
        case pulumi.Output():
            yield value
        case Mapping():
            for one in value.values():
                yield from _within(one)
        case list() | tuple():
            for one in value:
                yield from _within(one)


def _unheard(
    msg: str, resource: pulumi.Resource | None = None, stream_id: int | None = None, ephemeral: bool | None = None
) -> None:
    pass
