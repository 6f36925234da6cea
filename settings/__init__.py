"""The only reader of configuration: one typed tree, or one flat list of problems.

One module a concern holds its models, its rules and what to do about a mistake. Nothing here but `program.py` imports
pulumi, and nothing looks at the machine, the network or the clock (but for files a setting names), so that the same
checks serve the program, the checks of `make up`, the toolchain and the tests.
"""

from rendering.reference import digest_of
from settings import flat
from settings.base import Secret
from settings.image_lock import lock_of, lock_path, lock_text
from settings.images import ImageSource, ImageSources
from settings.parse import is_whole, parse, usable_part
from settings.problems import Problem, SettingsError, masked
from settings.stack_file import PROJECT, EngineConfig, StackFile, path_of, read, resolved
from settings.tree import ALL_SERVICES, Settings

__all__ = [
    "ALL_SERVICES",
    "PROJECT",
    "EngineConfig",
    "ImageSource",
    "ImageSources",
    "Problem",
    "Secret",
    "Settings",
    "SettingsError",
    "StackFile",
    "digest_of",
    "flat",
    "is_whole",
    "lock_of",
    "lock_path",
    "lock_text",
    "masked",
    "parse",
    "path_of",
    "read",
    "resolved",
    "usable_part",
]
