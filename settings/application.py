"""Reflector's own processes."""

from typing import ClassVar, Final

from pydantic import Field

from settings.base import Model
from settings.values import MemoryMib, Processes


class Server(Model):
    """The API."""

    SERVICES: ClassVar = ("server",)
    memory_mib: MemoryMib = Field(default=2048, description="Memory limit of the API server in MiB")


WORKER_PROCESS_MIB: Final = 700
"""Peak of each process of the worker, measured with the libraries of speech models loaded."""


class Worker(Model):
    """Celery's worker."""

    SERVICES: ClassVar = ("worker",)
    memory_mib: MemoryMib = Field(default=4096, description="Memory limit of the worker in MiB")
    processes: Processes = Field(
        default=2, description="Tasks the worker does at a time, each in a process of its own that needs up to 700 MiB"
    )


class Beat(Model):
    """Celery's scheduler."""

    SERVICES: ClassVar = ("beat",)
    memory_mib: MemoryMib = Field(default=1024, description="Memory limit of the scheduler in MiB")


class HatchetWorkerLlm(Model):
    """Hatchet's worker for what the language model does."""

    SERVICES: ClassVar = ("hatchet-worker-llm",)
    memory_mib: MemoryMib = Field(default=4096, description="Memory limit of Hatchet's worker in MiB")


class Web(Model):
    """The web frontend."""

    SERVICES: ClassVar = ("web",)
    memory_mib: MemoryMib = Field(default=1024, description="Memory limit of the web frontend in MiB")


class Application(Model):
    """Reflector."""

    IMAGES: ClassVar = ("backend", "frontend")
    NETWORKS: ClassVar = ("application",)

    server: Server = Field(default=Server(), description="The API server")
    worker: Worker = Field(default=Worker(), description="Celery's worker")
    beat: Beat = Field(default=Beat(), description="Celery's scheduler")
    hatchet_worker_llm: HatchetWorkerLlm = Field(default=HatchetWorkerLlm(), description="Hatchet's worker")
    web: Web = Field(default=Web(), description="The web frontend")
