"""Settings for the running program: what the engine hands over, held against the stack file. The one module here that
imports pulumi."""

import os
from datetime import UTC, datetime
from typing import Final

import pulumi
from pulumi.runtime import config as runtime_config

from settings.images import ROOT
from settings.parse import parse
from settings.problems import SettingsError
from settings.stack_file import PROJECT, EngineConfig, StackFile, path_of, read, resolved
from settings.tree import Settings

REDIRECTING: Final = (
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_CERT_PATH",
    "DOCKER_CA_MATERIAL",
    "DOCKER_CERT_MATERIAL",
    "DOCKER_KEY_MATERIAL",
    "DOCKER_SSH_OPTS",
    "DOCKER_TLS_VERIFY",
    "DOCKER_API_VERSION",
)
"""Variables by which a Docker provider, or a step's `docker`, would reach another daemon than the settings name."""


def _refuse_redirection() -> None:
    found = [name for name in REDIRECTING if os.environ.get(name)]
    if found:
        raise pulumi.RunError(
            f"{', '.join(found)} of this shell would lead Docker past hosts.main.address; allowed: none of it beside a "
            f"stack. Use make, source ./env.sh again, or: unset {' '.join(found)}"
        )


def load() -> Settings:
    """Return the settings of the stack the engine is running.

    Raises: pulumi.RunError, the one kind whose message the engine shows without a traceback, listing every problem.
    """
    # The engine hands its environment on to the providers, which is why the program's tells of theirs.
    _refuse_redirection()
    # The SDK has no public way to list keys: the first is what tests set, the second what the engine hands over.
    values = runtime_config.get_config_env() | runtime_config.CONFIG.get()
    secret = runtime_config.get_config_secret_keys_env() or runtime_config._SECRET_KEYS.get()
    stack = pulumi.get_stack()
    try:
        try:
            file = read(path_of(stack, ROOT))
        except FileNotFoundError:
            file = StackFile(settings={})
        tree = resolved(file, EngineConfig.of(values, frozenset(secret)))
        return parse(tree, stack, PROJECT, datetime.now(UTC))
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None
