"""The workflow engine."""

from collections.abc import Mapping

from components.base.handles import Database, DockerHost, Image, TrustBundle, WorkflowEngine
from components.workflow.hatchet import Hatchet, HatchetArgs
from settings.workflow import Workflow


def workflow_engine(
    settings: Workflow, host: DockerHost, images: Mapping[str, Image], *, database: Database, trust: TrustBundle
) -> WorkflowEngine:
    """Return the workflow engine, with a token for its workers."""
    return Hatchet(
        "hatchet",
        HatchetArgs(host=host, image=images["hatchet"], database=database, memory_mib=settings.memory_mib, trust=trust),
    ).engine
