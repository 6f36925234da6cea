"""The guard of rollovers: what is deployed of authorities, and what may follow it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from pki.rollover import Generations, problems


@dataclass(frozen=True, kw_only=True)
class RolloverArgs:
    """A record of authorities."""

    generations: Generations
    """As they are wanted."""

    def __post_init__(self) -> None:
        if not self.generations:
            raise ValueError("generations must name one authority or more")


class Rollover(pulumi.ComponentResource):
    """A record of which generations there are and in which states. Creates nothing.

    The engine keeps it in the state, and asks a hook about every change of it, in a preview too. So a jump ends a bare
    `pulumi preview` as well, with nothing touched. There are two in a stack: one before anything of an authority is
    touched, and one that is only reached once everything has what it is about, so that a step that was interrupted does
    not count as taken.
    """

    def __init__(self, name: str, args: RolloverArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:rollover:Rollover", name, {"generations": args.generations}, opts)
        self.register_outputs({"generations": args.generations})


def guarded(name: str, depends_on: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
    """Return the options of a record, which come before the component itself is made."""
    hook = pulumi.ResourceHook(f"{name}-guard", _guard, pulumi.ResourceHookOptions(on_dry_run=True))
    return pulumi.ResourceOptions(
        depends_on=list(depends_on), hooks=pulumi.ResourceHookBinding(before_create=[hook], before_update=[hook])
    )


def _guard(asked: pulumi.ResourceHookArgs) -> None:
    """Refuse a jump.

    Raises: pulumi.RunError, with a line for each.
    """
    before: Mapping[str, object] = asked.old_inputs or {}
    after: Mapping[str, object] = asked.new_inputs or {}
    if found := problems(_generations(before), _generations(after)):
        raise pulumi.RunError("; ".join(map(str, found)))


def _generations(inputs: Mapping[str, object]) -> Generations:
    found = inputs.get("generations")
    return found if isinstance(found, Mapping) else {}
