"""The environment every Pulumi command of this checkout runs in: one source for env.sh, the Makefile and the tests."""

import contextlib
import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from toolchain.layout import Layout, ToolchainError

PASSED = (
    (
        "where things are",
        ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "XDG_*", "LD_LIBRARY_PATH", "WSL*"),
    ),
    ("programs behind a shim on PATH", ("PYENV_*", "ASDF_*", "MISE_*")),
    ("language and time", ("LANG", "LANGUAGE", "LC_*", "TZ")),
    ("what the terminal can do", ("TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "CI")),
    (
        "where the state is, and what opens it",
        ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"),
    ),
    (
        "the token for Pulumi Cloud; only where the state is not in files, which it never decides",
        ("PULUMI_ACCESS_TOKEN",),
    ),
    (
        "how the engine works, not what it does",
        (
            "PULUMI_PARALLEL",
            "PULUMI_DEFAULT_ORGANIZATION",
            "PULUMI_DIY_BACKEND_GZIP",
            "PULUMI_SELF_MANAGED_STATE_GZIP",
            "PULUMI_DIY_BACKEND_PARALLEL",
            "PULUMI_DIY_BACKEND_RETAIN_CHECKPOINTS",
        ),
    ),
    (
        "credentials for AWS, the account and region they are for",
        (
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_PROFILE",
            "AWS_DEFAULT_PROFILE",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_CONFIG_FILE",
            "AWS_SHARED_CREDENTIALS_FILE",
            "AWS_SDK_LOAD_CONFIG",
            "AWS_ROLE_ARN",
            "AWS_ROLE_SESSION_NAME",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_*",
            "AWS_EC2_METADATA_*",
            "AWS_CA_BUNDLE",
            "AWS_USE_FIPS_ENDPOINT",
            "AWS_USE_DUALSTACK_ENDPOINT",
            "AWS_MAX_ATTEMPTS",
            "AWS_RETRY_MODE",
        ),
    ),
    (
        "credentials for a state or a key in another cloud",
        ("GOOGLE_*", "CLOUDSDK_CONFIG", "AZURE_*", "VAULT_*"),
    ),
    (
        "the way out; loopback is added to both spellings of `no_proxy`",
        (
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "no_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "NO_PROXY",
        ),
    ),
    ("authorities to trust", ("SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE")),
    (
        "keys for `ssh://`, and what the helpers of `docker login` need",
        (
            "SSH_AUTH_SOCK",
            "SSH_AGENT_PID",
            "SSH_ASKPASS",
            "SSH_ASKPASS_REQUIRE",
            "SSH_SK_PROVIDER",
            "KRB5*",
            "DBUS_SESSION_BUS_ADDRESS",
            "GNUPGHOME",
            "GPG_TTY",
            "PASSWORD_STORE_DIR",
        ),
    ),
    ("where Docker's command keeps its logins; it redirects nothing", ("DOCKER_CONFIG",)),
    ("git's settings, where a stack file's salt is kept out of it", ("GIT_CONFIG_*",)),
    ("this project's own", ("TOOLCHAIN_*", "REFLECTOR_*", "DOCKER_COMPOSE")),
)
"""What of the caller's environment reaches the engine, its providers and their commands: what for → names.

A name that ends in * stands for all that begin so. Nothing else gets there: what a stack uses is what its settings say.
"""

UNWANTED = (
    "DOCKER_*",  # another daemon, other certificates, another builder than the settings name
    "PYTHONPATH",  # other modules than those of the program's own environment
    "PYTHONHOME",
    "PYTHONOPTIMIZE",
    "PYTHONDONTWRITEBYTECODE",  # only costs time: every run would compile the whole program anew
    "PULUMI_CREDENTIALS_PATH",  # a login elsewhere than in this checkout
    "PULUMI_SKIP_CHECKPOINTS",  # a run that is killed would lose everything
    "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS",  # what `make recover` goes back to
    "PULUMI_DIY_BACKEND_ZSTD",  # a state that Python's standard library does not read
    "grpc_proxy",  # the program would ask it for the engine
    "no_grpc_proxy",  # wins over no_proxy
)
"""What is taken out of a shell that sources env.sh too: not merely unneeded, but in the way."""

PASSED_OVER = "REFLECTOR_PASSED_OVER"
"""Variable that tells a command what of the caller's own, which it does not see, chooses no backend here."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def _is_among(name: str, patterns: Iterable[str]) -> bool:
    return any(name.startswith(entry[:-1]) if entry.endswith("*") else name == entry for entry in patterns)


def is_passed(name: str) -> bool:
    """Tell whether a variable of the caller's reaches the engine."""
    return any(_is_among(name, names) for _, names in PASSED)


def values(layout: Layout, environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables to set, and with None those to unset, given the caller's own environment.

    A backend, a passphrase or a login of the caller's own is left alone.
    Raises: ToolchainError for a passphrase that is none.
    """
    path = [entry for entry in environ.get("PATH", os.defpath).split(os.pathsep) if entry != str(layout.bin)]
    result: dict[str, str | None] = {
        "PATH": os.pathsep.join([str(layout.bin), *path]),
        "PULUMI_HOME": str(layout.pulumi_home),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # A stack file without its salt, as after a clone: that of the state, not a new one no secret opens with.
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
    }
    own = local_backend(layout.state)
    if _logged_in(layout.pulumi_home) not in ("", own):
        if environ.get("PULUMI_BACKEND_URL") == own:  # left from before the login, and it would win over it
            result["PULUMI_BACKEND_URL"] = None
    elif not environ.get("PULUMI_BACKEND_URL"):
        result["PULUMI_BACKEND_URL"] = own
    result |= _passphrase(layout, environ)
    result |= _past_proxies(environ)
    for name in environ:
        if name not in result and _is_among(name, UNWANTED) and not is_passed(name):
            result[name] = None
    return result


def _passphrase(layout: Layout, environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return the passphrase file to set, if the caller has chosen none; see that there is something in what is used.

    To the engine an empty passphrase is one, and wins over a file: the authority's key would be encrypted with nothing.
    """
    chosen = environ.get("PULUMI_CONFIG_PASSPHRASE")
    if chosen is not None:
        if not chosen.strip():
            raise ToolchainError(
                "PULUMI_CONFIG_PASSPHRASE is empty, and would encrypt every secret with nothing. Unset it to use this"
                f" checkout's own ({layout.passphrase.relative_to(layout.root)}), or set one."
            )
        return {}
    file = environ.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    path = layout.root / file if file else layout.passphrase
    own = path == layout.passphrase  # which set-up has perhaps not made yet
    try:
        empty = not path.read_bytes().strip()
    except FileNotFoundError:
        empty = False
        if not own:
            raise ToolchainError(
                f"PULUMI_CONFIG_PASSPHRASE_FILE names {file}, which is not there. Unset it to use this checkout's own"
                f" ({layout.passphrase.relative_to(layout.root)}), or bring the file back."
            ) from None
    except OSError as error:
        raise ToolchainError(f"The passphrase in {path} cannot be read: {error.strerror}.") from error
    if empty:
        raise ToolchainError(
            f"{path} is empty, and would encrypt every secret with nothing. Bring the passphrase back from a copy; if"
            " nothing was ever deployed with it, write one into it."
        )
    return {} if file else {"PULUMI_CONFIG_PASSPHRASE_FILE": str(layout.passphrase)}


def _past_proxies(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return no_proxy in both spellings: the engine, the program and the plugins talk to each other on 127.0.0.1."""
    if not any(environ.get(name) or environ.get(name.upper()) for name in _PROXIES):
        return {}
    given = f"{environ.get('no_proxy', '')},{environ.get('NO_PROXY', '')}".split(",")
    entries = dict.fromkeys([entry.strip() for entry in given if entry.strip()] + list(_LOOPBACK))
    # Understood by all when it stands alone, and in a list by some only.
    text = "*" if "*" in entries else ",".join(entries)
    return {"no_proxy": text, "NO_PROXY": text}


def local_backend(state: Path) -> str:
    """Return the backend URL of a state folder; a URL gives three characters a path may hold a meaning of their own."""
    return "file://" + re.sub("[%#?]", lambda found: f"%{ord(found[0]):02X}", str(state))


def _logged_in(pulumi_home: Path) -> str:
    """Return the backend a home of the engine is logged in to, empty if it is to none."""
    try:
        content = json.loads((pulumi_home / "credentials.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    if not isinstance(content, dict):
        return ""
    if content and not {"current", "accounts", "accessTokens"} & content.keys():
        return "a backend that only the engine can read"  # PULUMI_CREDENTIAL_STORE: the file is encrypted as a whole
    return str(content.get("current") or "")


def _passed_over(layout: Layout, environ: Mapping[str, str]) -> str:
    """Return what of the caller's might be meant to choose a backend and does not, as a line's subject; empty if none.

    This checkout keeps its state in files unless PULUMI_BACKEND_URL or a login in its own home says otherwise.
    """
    own = local_backend(layout.state)
    if _logged_in(layout.pulumi_home) not in ("", own) or environ.get("PULUMI_BACKEND_URL") not in (None, "", own):
        return ""
    home = Path(environ.get("PULUMI_HOME") or layout.pulumi_home)
    if home == layout.pulumi_home:
        home = Path(environ.get("HOME") or Path.home()) / ".pulumi"
    login = _logged_in(home)
    if login:
        return f"the login in {home} ({login})"
    return "PULUMI_ACCESS_TOKEN" if environ.get("PULUMI_ACCESS_TOKEN") else ""


def script(layout: Layout, settings: Mapping[str, str | None]) -> str:
    """Return `settings` as lines a POSIX shell can evaluate, whatever the values hold.

    PATH is extended, not replaced: what this process sees may have been changed on the way to it (pyenv does so).
    """
    lines = [
        f"_toolchain_bin={shlex.quote(str(layout.bin))}",
        'case ":$PATH:" in ":$_toolchain_bin:"*) ;; *) PATH="$_toolchain_bin:$PATH" ;; esac',
        "export PATH",
        "unset _toolchain_bin",
    ]
    for name, value in settings.items():
        if name != "PATH":
            lines.append(f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}")
    return "\n".join(lines) + "\n"


def pulumi_environment(layout: Layout, environ: Mapping[str, str], *, whole: bool = False) -> dict[str, str]:
    """Return a whole environment for a command: what of the caller's own is passed on, with `values` laid over it.

    With `whole` everything of the caller's is, but what is unwanted: for tests, which start what has needs of its own.
    Raises: ToolchainError for a passphrase that is none.
    """
    result = {name: value for name, value in environ.items() if whole or is_passed(name)}
    for name, value in values(layout, environ).items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    if not whole and result.get("PULUMI_BACKEND_URL", "").startswith("file://"):
        result.pop("PULUMI_ACCESS_TOKEN", None)
    subject = environ.get(PASSED_OVER) or _passed_over(layout, environ)
    if subject:
        result[PASSED_OVER] = subject
    return result


def _keep_no_engine_logs(layout: Layout) -> None:
    """Put a file where the engine would make a folder for the log of each run.

    It has no switch for them. They hold every value a provider is given, take a seventh of a run without changes, and
    grow to 500 MB; what somebody wants to see, `pulumi --logtostderr -v=9` shows. To the engine a folder that cannot be
    made is no mistake.
    """
    if layout.engine_logs.is_dir():
        import shutil  # once at the most

        shutil.rmtree(layout.engine_logs)
    layout.pulumi_home.mkdir(parents=True, exist_ok=True)
    layout.engine_logs.touch()


def prepare_state(layout: Layout) -> None:
    """Make the state folder and, once, the passphrase: 32 random bytes that only this user can read.

    Without the passphrase the secrets in the state are lost, so it is never written again once it is there.
    Raises: ToolchainError if it is gone, and what it opens is not.
    """
    layout.state.mkdir(parents=True, exist_ok=True)
    _keep_no_engine_logs(layout)
    if layout.passphrase.exists():
        return
    chosen = os.environ.get("PULUMI_CONFIG_PASSPHRASE") or os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if chosen in (None, "", str(layout.passphrase)) and any(layout.state.glob(".pulumi/stacks/*/*.json*")):
        raise ToolchainError(
            f"{layout.passphrase} is gone, and only it opens the state in {layout.state}. Bring it back from a copy. If"
            " there is none, every secret in that state is lost: move the state away to begin anew."
        )
    import secrets  # needed once, and as slow to import as all the others here together

    draft = layout.passphrase.with_name(f"passphrase.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as sink:
            sink.write(secrets.token_urlsafe(32) + "\n")
            sink.flush()
            os.fsync(sink.fileno())
        # A link appears whole or not at all, and never takes the place of a passphrase another run has made.
        with contextlib.suppress(FileExistsError):
            os.link(draft, layout.passphrase)
    finally:
        draft.unlink()
