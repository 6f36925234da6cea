"""Settings for the running program: what the engine hands over, held against the stack file. The one module here that
imports pulumi."""

import pulumi
from pulumi.runtime import config as runtime_config

from settings.images import ROOT
from settings.parse import parse
from settings.problems import SettingsError
from settings.stack_file import PROJECT, EngineConfig, StackFile, path_of, read, resolved
from settings.tree import Settings


def load() -> Settings:
    """Return the settings of the stack the engine is running.

    Raises: pulumi.RunError, the one kind whose message the engine shows without a traceback, listing every problem.
    """
    # The SDK has no public way to list keys: the first is what tests set, the second what the engine hands over.
    values = runtime_config.get_config_env() | runtime_config.CONFIG.get()
    secret = runtime_config.get_config_secret_keys_env() or runtime_config._SECRET_KEYS.get()
    stack = pulumi.get_stack()
    try:
        try:
            file = read(path_of(stack, ROOT))
        except FileNotFoundError:
            file = StackFile(settings={})
        return parse(resolved(file, EngineConfig.of(values, frozenset(secret))), stack, PROJECT)
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None
