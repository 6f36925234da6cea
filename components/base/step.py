"""A command inside a running container, as a resource: what a service needs done that no provider can do.

A step must be idempotent. It runs again when its script, its input or its container changes, as an update in place, so
that nothing which uses its result is replaced before the result is known to differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
import pulumi_command as command

from components.base.daemon import Daemon
from components.base.handles import Environment, Service
from rendering.host_trust import ON_HOST

_SCRIPT: Final = "STEP"
"""The variable a step's script is in."""


@dataclass(frozen=True, kw_only=True)
class StepArgs:
    """One step."""

    service: Service
    """Runs in its container, through `docker exec`."""
    script: str
    """Secrets never stand in it: they come through `stdin` or `environment`."""
    inside: bool = True
    """True: a shell script, run by the container's own sh. False: a Python program, run beside the engine, that calls
    `docker exec -i $CONTAINER …` itself; for images without a shell."""
    stdin: pulumi.Input[str] | None = field(default=None, repr=False)
    environment: Environment = field(default_factory=dict, repr=False)
    """For a script inside the container too: passed on by name, so no value shows in a process list."""
    show_progress: bool = False
    """Whether its output is shown while it runs; never for a step that prints a secret."""
    secret_output: bool = False
    """Its script writes the secret last of all, once nothing can fail any more: the official plugin puts what a failed
    command has written into its error, whatever is logged."""
    triggers: Sequence[pulumi.Input[str]] = ()
    """A change replaces the step, as if it had never run."""
    depends_on: Sequence[pulumi.Resource] = ()

    def __post_init__(self) -> None:
        if self.show_progress and self.secret_output:
            raise ValueError("a step whose output is secret must not show it")


def removal(name: str, script: str, environment: Environment, parent: pulumi.Resource) -> pulumi.Resource:
    """Return what runs `script` beside the engine when it is deleted itself, after all that depends on it."""
    return command.local.Command(
        name,
        command.local.CommandArgs(delete=script, environment=environment),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def on_host(
    name: str,
    daemon: Daemon,
    call: Environment,
    *,
    stdin: pulumi.Input[str],
    given: Environment,
    parent: pulumi.Resource,
) -> command.local.Command:
    """Have a Docker host do something by its own tools; `call` says what, and how (rendering/host_trust.py).

    It is done for what is `given` in variables and in `stdin`. Deleted, it is done for nothing at all, and must then
    take back what it did before.
    """
    run = f'eval "${_SCRIPT}"'
    nothing = "; ".join(f"{variable}=" for variable in sorted(given))
    return command.local.Command(
        name,
        command.local.CommandArgs(
            create=f"{run} # {name}",
            update=f"{run} # {name}",
            delete=f"{nothing}; {run} < /dev/null # {name}",
            stdin=stdin,
            environment={**daemon.environment, **call, **given, _SCRIPT: ON_HOST},
            logging=command.local.Logging.STDERR,
        ),
        # Made anew it does what is already done, and the old one would take that back.
        opts=pulumi.ResourceOptions(parent=parent, delete_before_replace=True),
    )


def step(name: str, args: StepArgs, parent: pulumi.Resource) -> command.local.Command:
    """Run a step."""
    host = args.service.host
    container = host.container_name(args.service.name)
    interpreter = ["python3", "-c"]
    # What the provider prints of a command that failed: the script itself would hide the reason below it.
    run = f'import os; exec(os.environ["{_SCRIPT}"])  # {name}'
    if args.inside:
        run = f'eval "${_SCRIPT}" # {name}'
        passed_on = [f"--env={variable}" for variable in (*sorted(args.environment), "PULUMI_COMMAND_STDOUT", _SCRIPT)]
        interpreter = ["docker", "exec", "--interactive", *passed_on, container, "sh", "-c"]
    logging = command.local.Logging.STDERR
    if args.show_progress:
        logging = command.local.Logging.STDOUT_AND_STDERR
    if args.secret_output:
        logging = command.local.Logging.NONE
    return command.local.Command(
        name,
        command.local.CommandArgs(
            create=run,
            update=run,
            interpreter=interpreter,
            stdin=args.stdin,
            environment={
                **host.daemon.environment,
                **args.environment,
                _SCRIPT: args.script,
                "CONTAINER": container,
                # Not read by any script: a new container makes the step run again.
                "CONTAINER_ID": args.service.container.id,
            },
            logging=logging,
            triggers=list(args.triggers) or None,
        ),
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=list(args.depends_on),
            additional_secret_outputs=["stdout", "stderr"] if args.secret_output else None,
        ),
    )
