"""The settings of worker processes."""

from enum import StrEnum

from pydantic import BaseModel, ByteSize, ConfigDict, PositiveInt


class Fencing(StrEnum):
    """How much of a fence around workers there has to be."""

    AUTO = "auto"
    REQUIRED = "required"
    OFF = "off"


class WorkerOptions(BaseModel):
    """Worker processes: what they may do, and when fresh ones take their place."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    confinement: Fencing = Fencing.AUTO
    """Limits, Landlock and seccomp around workers: `auto` takes what this system has and says so in
    `/status`, `required` does not start without all of them, `off` takes none."""
    max_memory: ByteSize | None = None
    """Most memory one worker may take; unset: what the largest original that is allowed needs."""
    max_jobs: PositiveInt = 10_000
    """Jobs after which a worker is replaced by a fresh one, between two of them."""
    max_resident: ByteSize = ByteSize(500_000_000)
    """Memory of its own that a worker may hold on to after a job before it is replaced likewise."""
