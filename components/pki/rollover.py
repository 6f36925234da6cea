"""The guard of rollovers: what is deployed of authorities, and what may follow it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.base.handles import AuthorityHandle
from pki.rollover import Generations, problems, readable, relied_on


@dataclass(frozen=True, kw_only=True)
class RolloverArgs:
    """A record of authorities."""

    generations: Generations
    """As they are wanted."""

    def __post_init__(self) -> None:
        if not self.generations:
            raise ValueError("generations must name one authority or more")


class Rollover(pulumi.ComponentResource):
    """A record of which generations there are and in which states, and who signs for each. Creates nothing.

    The engine keeps it in the state, and asks a hook about every change of it, in a preview too. So a jump ends a bare
    `pulumi preview` as well, with nothing touched. There are two in a stack: one before anything of an authority is
    touched, and one that is only reached once everything has what it is about, so that a step that was interrupted does
    not count as taken.
    """

    def __init__(self, name: str, args: RolloverArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:rollover:Rollover", name, {"generations": args.generations}, opts)
        self._generations = args.generations

    def complete(self, authorities: Iterable[AuthorityHandle]) -> None:
        """Record who signs for each generation too, once it is made: by that the next run knows what it has signed.

        No input has it, for the first of the records comes before all authorities.
        """
        certificates = {one.name: one.certificates for one in authorities}
        self.register_outputs({"generations": self._generations, "certificates": certificates})


def guarded(name: str, chains: Mapping[str, str], depends_on: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
    """Return the options of a record, which come before the component itself is made.

    `chains` are certificates that nobody here issues anew, with those over them: PEM, by what people call them.
    """

    async def guard(asked: pulumi.ResourceHookArgs) -> None:
        before, after = [_generations(await _opened(inputs)) for inputs in (asked.old_inputs, asked.new_inputs)]
        certificates = readable((await _opened(asked.old_outputs)).get("certificates"))
        if found := problems(before, after) or relied_on(before, after, certificates, chains):
            raise pulumi.RunError("; ".join(map(str, found)))

    hook = pulumi.ResourceHook(f"{name}-guard", guard, pulumi.ResourceHookOptions(on_dry_run=True))
    return pulumi.ResourceOptions(
        depends_on=list(depends_on), hooks=pulumi.ResourceHookBinding(before_create=[hook], before_update=[hook])
    )


async def _opened(properties: Mapping[str, object] | None) -> Mapping[str, object]:
    """Return what the engine hands to a hook, with what is secret in it; nothing where there was nothing."""
    return {
        name: await value.future() if isinstance(value, pulumi.Output) else value
        for name, value in (properties or {}).items()
    }


def _generations(inputs: Mapping[str, object]) -> Generations:
    found = inputs.get("generations")
    return found if isinstance(found, Mapping) else {}
