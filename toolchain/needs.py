"""What a stack needs of set-up, asked of the project's one reader of stack files.

That reader runs in the Python environment of the program, which is made first where it is missing. Its answer is kept
until something it comes from changes: where nothing is to be done, starting another Python would take longer than all
else. Only modules that start fast are imported here, and dataclasses is not one of them.
"""

import json

from toolchain import stamps
from toolchain.layout import Layout, ToolchainError

COMMAND = ("-m", "settings", "needs", "--stack")
"""Arguments of the Python that is asked, in the checkout's root; the stack's name is the last one.

It prints one JSON object, {"docker_host": str, "minimum_free_disk_gib": number, "images": bool, "aws": bool}, and ends
with 0, even where the stack has no file or a wrong one: the defaults will do until the settings are checked as a whole.
"""

INPUTS = ("Pulumi.yaml", "settings", "toolchain/versions.toml")
"""What the answer comes from besides the stack's own file, as files and folders below the checkout."""


class Needs:
    """What a stack needs of the machine and of set-up."""

    def __init__(self, docker_host: str, minimum_free_disk_gib: float, images: bool, aws: bool) -> None:
        self.docker_host = docker_host
        """URL of the daemon the stack runs on, for example unix:///var/run/docker.sock."""
        self.minimum_free_disk_gib = minimum_free_disk_gib
        """Disk that must be free where a local daemon keeps its images and volumes, in GiB."""
        self.images = images
        """Whether its images are built from what set-up stages."""
        self.aws = aws
        """Whether it makes resources in AWS, which takes a plugin of its own."""


def of(layout: Layout, stack: str) -> Needs:
    """Return what `stack` needs, as kept or asked anew.

    Raises: ToolchainError if the reader fails, or does not answer as COMMAND says.
    """
    inputs = (f"Pulumi.{stack}.yaml", *INPUTS)
    name, fingerprint = f"needs-{stack.replace('/', '-')}", stamps.fingerprint(layout.root, inputs, stack)
    kept = _read(stamps.kept(layout, name, fingerprint))
    if kept is not None:
        return kept
    answer = _ask(layout, stack)
    needs = _read(answer)
    if needs is None:
        raise ToolchainError(
            f"`python {' '.join(COMMAND)} {stack}` does not say what the stack needs, but {answer!r:.200}."
        )
    stamps.keep(layout, name, fingerprint, answer)
    return needs


def _read(answer: object) -> Needs | None:
    kinds = {"docker_host": (str,), "minimum_free_disk_gib": (int, float), "images": (bool,), "aws": (bool,)}
    if not isinstance(answer, dict) or answer.keys() != kinds.keys():
        return None
    # By type and not by isinstance: a bool is an int as well.
    return Needs(**answer) if all(type(answer[name]) in wanted for name, wanted in kinds.items()) else None


def _ask(layout: Layout, stack: str) -> object:
    import subprocess

    from toolchain import venvs
    from toolchain.progress import Progress

    python = venvs.ensure(layout, Progress()) / "bin" / "python"
    done = subprocess.run(
        [str(python), *COMMAND, stack],
        cwd=layout.root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ToolchainError(
            f"`python {' '.join(COMMAND)} {stack}` ended with status {done.returncode}, so what the stack needs is"
            f" unknown.\n{done.stderr.strip()}"
        )
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        return done.stdout
