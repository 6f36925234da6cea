"""The machine set-up runs on: its platform, its packages, its compilers, and commands run on it."""

import os
import platform
import re
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolchain.layout import ToolchainError
from toolchain.progress import Progress, Step

_APT = threading.Lock()

_APT_INSTALL = ("apt-get", "install", "-y", "--no-install-recommends", "--no-remove")

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def host_platform() -> tuple[str, str]:
    """Return this machine's operating system and architecture in Go's names, for example ("linux", "amd64")."""
    system, machine = platform.system().lower(), platform.machine().lower()
    if system not in ("linux", "darwin") or machine not in _ARCHITECTURES:
        raise ToolchainError(
            f"This machine is {system}/{machine}; supported are Linux and macOS, amd64 and arm64. On Windows use WSL 2."
        )
    return system, _ARCHITECTURES[machine]


def linux_machine() -> str:
    """Return this machine's architecture by its name on Linux, x86_64 or aarch64; macOS has another for the second."""
    return {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine(), platform.machine())


def version_tuple(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, for comparison: "20.10.24+dfsg1" is (20, 10, 24)."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text.strip())
    return tuple(int(number) for number in found.group(1).split(".")) if found else ()


def is_root_on_debian() -> bool:
    """Tell whether packages can be installed here: root on Debian or a system made from it."""
    return os.geteuid() == 0 and Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None


def apt_install(packages: Sequence[str], why: str, progress: Progress) -> None:
    """Install Debian packages; the caller has checked `is_root_on_debian`."""
    title = f"apt-get install {' '.join(packages)} ({why})"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # dpkg takes one caller at a time; the lock's time-out is for those outside this process.
    install = [*_APT_INSTALL, "-o", "DPkg::Lock::Timeout=300", *packages]
    with _APT, progress.step(title) as step:
        done = run(install, step=step, env=environment, check=False)
        if done != 0:
            # The package lists may never have been fetched, or name versions that are gone from the mirror.
            run(["apt-get", "update"], step=step, env=environment)
            run(install, step=step, env=environment)


def apt_update(progress: Progress) -> None:
    """Fetch the lists of Debian packages anew; the caller has checked `is_root_on_debian`."""
    with _APT, progress.step("apt-get update") as step:
        run(["apt-get", "update"], step=step)


def apt_names(pattern: str) -> list[str]:
    """Return the names of all Debian packages that match a POSIX extended regular expression."""
    return re.findall(r"^\S+", output(["apt-cache", "search", "--names-only", pattern]), re.MULTILINE)


def apt_candidate(package: str) -> str:
    """Return the version in which apt would install a Debian package, or "" when it knows of none."""
    # Not from `apt-cache policy`, which says "Candidate" in the user's language.
    shown = output(["apt-cache", "show", "--no-all-versions", package])
    found = re.search(r"^Version: (\S+)", shown, re.MULTILINE)
    return found.group(1) if found else ""


def apt_accepts(package: str) -> bool:
    """Tell whether a Debian package can be installed as `apt_install` does it: without removing any other."""
    return run([*_APT_INSTALL, "--simulate", package], check=False) == 0


def run(
    command: Sequence[str],
    *,
    step: Step | None = None,
    log: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    check: bool = True,
    echo: bool = False,
) -> int:
    """Run a command, showing its latest line as the step's detail, and return its exit status.

    The whole output goes to `log` if given, and to this process's own with `echo`.
    Raises ToolchainError with the last lines when it fails and `check` is set.
    """
    tail: list[str] = []
    sink = log.open("w", encoding="utf-8") if log is not None else None
    try:
        with subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=tuple(pass_fds),
        ) as process:
            assert process.stdout is not None  # PIPE was asked for
            try:
                for line in process.stdout:
                    if sink is not None:
                        sink.write(line)
                        sink.flush()
                    line = line.rstrip()
                    if echo:
                        print(line, flush=True)
                    if line:
                        tail = [*tail[-39:], line]
                        if step is not None:
                            step.detail = line.strip()
            except BaseException:
                process.terminate()
                raise
            status = process.wait()
    except FileNotFoundError as error:
        raise ToolchainError(f"{command[0]} is not installed, or not on PATH ({error}).") from error
    finally:
        if sink is not None:
            sink.close()
    if status != 0 and check:
        where = f" The whole output is in {log}." if log is not None else ""
        raise ToolchainError(f"`{' '.join(command)}` ended with status {status}.{where}\n" + "\n".join(tail[-30:]))
    return status


def output(command: Sequence[str], timeout: float = 20) -> str:
    """Return what a command prints on its standard output, or "" when it cannot be run or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def find_program(name: str, *, outside: Sequence[Path] = ()) -> Path | None:
    """Return the first program called `name` on PATH that does not lie in one of the folders `outside`.

    What set-up itself installed must not count as the user's own, so links are followed before the comparison.
    """
    hidden = [folder.resolve() for folder in outside]
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        candidate = Path(entry or ".") / name
        if candidate.is_file() and os.access(candidate, os.X_OK):
            real = candidate.resolve()
            if not any(real.is_relative_to(folder) for folder in hidden):
                return real
    return None
