"""How services are found to work."""

from pydantic import Field

from settings.base import Model
from settings.values import Seconds, StartupLimit


class Health(Model):
    """Health checks, and how long a start may take."""

    interval_seconds: Seconds = Field(
        default=10, description="Seconds between two health checks of a service; heavier checks run at a multiple of it"
    )
    start_interval_seconds: Seconds | None = Field(
        default=None,
        description="Seconds between two checks while a service starts, so that it is found ready sooner; needs "
        "Docker 25 (API 1.44), by default interval_seconds",
    )
    startup_limit_seconds: StartupLimit = Field(
        default=900,
        description="The longest, in seconds, any service may take to start before its failed health checks count; "
        "less finds a broken one sooner",
    )
    show_logs: bool = Field(
        default=True,
        description="Whether the error about a service that does not become healthy ends with its last log lines, "
        "which whoever keeps the engine's messages keeps too; variables that are secret are masked",
    )
