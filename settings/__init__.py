"""The only reader of configuration: raw stack values in, frozen dataclasses out, or one flat list of problems.

Nothing here imports a provider or looks at the machine, the network or the clock, so the same checks serve the Pulumi
program, the preflight of `make up` and the tests.
"""

from settings.images import ImageSource, ImageSources, built_images, upstream_images
from settings.load import load, parse, read_stack_file
from settings.model import (
    Authentication,
    Edge,
    Host,
    LanguageModelMode,
    LanguageModelSettings,
    Settings,
    Speech,
    SpeechMode,
    Storage,
    StorageMode,
)
from settings.problems import Problem, SettingsError

__all__ = [
    "Authentication",
    "Edge",
    "Host",
    "ImageSource",
    "ImageSources",
    "LanguageModelMode",
    "LanguageModelSettings",
    "Problem",
    "Settings",
    "SettingsError",
    "Speech",
    "SpeechMode",
    "Storage",
    "StorageMode",
    "built_images",
    "load",
    "parse",
    "read_stack_file",
    "upstream_images",
]
