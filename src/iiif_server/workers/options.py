"""The settings of worker processes."""

from enum import StrEnum
from pathlib import Path

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from iiif_server.options import OptionsModel
from iiif_server.units import PositiveSize, show_size


class ConfinementMode(StrEnum):
    """Whether workers run in a sandbox."""

    AUTO = "auto"
    REQUIRED = "required"
    OFF = "off"


LEAST_MEMORY = 300_000_000
"""Bytes, measured: with 250 MB some images of 6 megapixels fail, with 150 MB most do."""
LEAST_RESIDENT = 100_000_000
"""Bytes; with less, workers are replaced after each job."""


class WorkerOptions(OptionsModel):
    """Worker processes: what they may do, and when fresh ones take their place."""

    confinement: ConfinementMode = ConfinementMode.AUTO
    """Limits, Landlock and seccomp around workers: `auto` takes what this system has and says so in
    `/status`, `required` does not start without all of them, `off` takes none."""
    max_memory: PositiveSize | None = None
    """Most memory one worker may take; unset: what the largest original that is allowed needs."""
    threads: PositiveInt | None = Field(default=None, le=1024)
    """Threads of each image worker; unset: the CPUs (of the container) divided by
    `image_pool_size`, and at least 2 where there are as many."""
    max_jobs: PositiveInt = 10_000
    """Jobs after which a worker is replaced by a fresh one, between two of them."""
    max_resident: PositiveSize = 500_000_000
    """Memory of its own that a worker may hold on to after a job before it is replaced likewise."""
    turbojpeg: str = "auto"
    """The libturbojpeg that cuts and turns JPEGs without loss: `auto` takes the system's from
    version 3.0 on, else the one of jpegtran-cffi, else the system's 2.1; or the absolute path of a
    library file; `off` works without."""

    @field_validator("max_memory", "max_resident")
    @classmethod
    def _check_memory(cls, size: int | None, info: ValidationInfo) -> int | None:
        least = LEAST_MEMORY if info.field_name == "max_memory" else LEAST_RESIDENT
        if size is not None and size < least:
            raise ValueError(
                f"must be at least {show_size(least)}: a worker needs that for one image of 6 MP"
            )
        return size

    @field_validator("turbojpeg")
    @classmethod
    def _library(cls, value: str) -> str:
        if value not in {"auto", "off"} and not Path(value).is_absolute():
            raise ValueError('must be "auto", "off" or the absolute path of libturbojpeg')
        return value
