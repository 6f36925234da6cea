"""A stack that is ill-treated, and what has to be true of it afterwards."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.e2e.stack import Stack, Traces


@dataclass(kw_only=True)
class Account:
    """What was done to stacks, and how long they took to go on."""

    tell: Callable[[str], None]
    rows: list[tuple[str, str, float]] = field(default_factory=list)

    def add(self, kind: str, case: str, seconds: float) -> None:
        """Write down that `case` was survived, and in how many seconds the next `up` was through."""
        self.rows.append((kind, case, seconds))
        self.tell(f"\n{kind}: {case}: went on in {seconds:.0f} s")

    def lines(self) -> Iterator[str]:
        """Yield one line for each kind."""
        for kind in dict.fromkeys(kind for kind, _, _ in self.rows):
            took = sorted(seconds for other, _, seconds in self.rows if other == kind)
            yield f"{kind}: {len(took)} survived; next up in {took[0]:.0f} to {took[-1]:.0f} s"


@dataclass(kw_only=True)
class Victim:
    """A stack, and what must still be there whatever happens to it."""

    stack: Stack
    traces: list[Traces] = field(default_factory=list)
    networks: int = 4

    def leave_traces(self) -> None:
        """Write a row and an object that must outlive everything."""
        self.traces.append(self.stack.leave_traces())

    def change(self) -> None:
        """Change settings so that the next `up` replaces half of the containers and issues a certificate."""
        turn = self.stack.setting("application.web.memory_mib") % 2
        step = -1 if turn else 1
        names = [f"DNS:turn{turn}.reflector.test"]
        changes = {
            f"{path}.memory_mib": self.stack.setting(f"{path}.memory_mib") + step
            for path in ("application.web", "application.server", "data.postgres", "storage", "workflow")
        }
        self.stack.configure({**changes, "edge.extra_names": names})

    def recovers(self) -> float:
        """Bring it up, fail unless all is as if nothing had happened, and return how long the `up` took, in seconds."""
        stack = self.stack
        started = time.monotonic()
        stack.up()
        took = time.monotonic() - started
        stack.wait_until_healthy()
        assert stack.containers().keys() == stack.services, "nothing is missing, nothing is left over"
        assert len(stack.host.ids("container", stack.prefix)) == len(stack.services), "nothing is doubled"
        assert len(stack.host.ids("network", stack.prefix)) == self.networks
        assert stack.broken_wires() == {}
        for traces in self.traces:
            assert traces.are_found_in(stack), "data are lost"
        stack.up()
        assert stack.last_changes().keys() == {"same"}, "the next one finds something to do"
        assert stack.planned(refresh=True) == {}
        return took
