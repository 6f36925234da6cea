"""How the engine, its plugins, the Python environments and the development images are obtained.

The names in `__all__` are what other rooms may use; every module is private. People and `make` call
`python3 -m toolchain`. Standard library only: this package runs on a fresh machine, before anything is installed.
"""

# The name type checkers know; importing typing for it would take longer than a look at a stamp.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolchain.browser import browser_programs
    from toolchain.checks import obtain_caddy
    from toolchain.daemon import EngineFacts, engine_problems
    from toolchain.environment import PASSED, PASSED_OVER, local_backend, prepare_state, pulumi_environment
    from toolchain.layout import ROOT, Layout, ToolchainError
    from toolchain.parts import INSTALLED, REGISTRY, Obtained
    from toolchain.pins import Pins
    from toolchain.progress import Progress
    from toolchain.setup import REQUIRED_PLUGINS, recorded
else:
    _HOMES = {
        "browser": ("browser_programs",),
        "checks": ("obtain_caddy",),
        "daemon": ("EngineFacts", "engine_problems"),
        "environment": ("PASSED", "PASSED_OVER", "local_backend", "prepare_state", "pulumi_environment"),
        "layout": ("ROOT", "Layout", "ToolchainError"),
        "parts": ("INSTALLED", "REGISTRY", "Obtained"),
        "pins": ("Pins",),
        "progress": ("Progress",),
        "setup": ("REQUIRED_PLUGINS", "recorded"),
    }

    def __getattr__(name):
        # Only when it is asked for: `python3 -m toolchain` begins here too, and mostly needs none of them.
        import importlib

        for module, names in _HOMES.items():
            if name in names:
                return getattr(importlib.import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "INSTALLED",
    "PASSED",
    "PASSED_OVER",
    "REGISTRY",
    "REQUIRED_PLUGINS",
    "ROOT",
    "EngineFacts",
    "Layout",
    "Obtained",
    "Pins",
    "Progress",
    "ToolchainError",
    "browser_programs",
    "engine_problems",
    "local_backend",
    "obtain_caddy",
    "prepare_state",
    "pulumi_environment",
    "recorded",
]
