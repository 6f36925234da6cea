"""The workflow engine."""

from typing import ClassVar

from pydantic import Field

from settings.base import Model
from settings.values import MemoryMib


class Workflow(Model):
    """Hatchet."""

    SERVICES: ClassVar = ("hatchet",)
    IMAGES: ClassVar = ("hatchet",)

    memory_mib: MemoryMib = Field(default=1024, description="Memory limit of Hatchet in MiB")
