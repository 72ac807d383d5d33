"""Settings of worker processes."""

from enum import StrEnum
from pathlib import Path

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from iiif_server.options import OptionsModel
from iiif_server.units import PositiveSize, show_size


class ConfinementMode(StrEnum):
    """Sandbox mode: with all available mechanisms, with all mechanisms, or without a sandbox."""

    AUTO = "auto"
    REQUIRED = "required"
    OFF = "off"


MIN_MEMORY = 300_000_000
"""Minimum of `max_memory` in bytes: with 250 MB some images of 6 megapixels fail, with 150 MB
most of them."""
MIN_RESIDENT = 100_000_000
"""Minimum of `max_resident` in bytes: with less, workers are replaced after each job."""


class WorkerOptions(OptionsModel):
    """Worker processes: their sandbox, resources and lifetime."""

    confinement: ConfinementMode = ConfinementMode.AUTO
    """Sandbox of workers (resource limits, Landlock, seccomp): `auto` applies the mechanisms that
    this system has and reports them in `/admin/status`, `required` does not start without all of
    them, `off` applies none."""
    max_memory: PositiveSize | None = None
    """Maximum memory of one worker; unset: as much as the largest allowed original needs."""
    threads: PositiveInt | None = Field(default=None, le=1024)
    """Threads of each image worker; unset: the CPUs (of the container) divided by
    `image_pool_size`, and at least 2 if there are as many."""
    max_jobs: PositiveInt = 10_000
    """Jobs after which a worker is replaced by a new one."""
    max_resident: PositiveSize = 500_000_000
    """Maximum private memory of a worker after a job; with more, it is replaced by a new one."""
    turbojpeg: str = "auto"
    """The libturbojpeg that crops and rotates JPEGs without loss: `auto` takes that of the system
    from version 3.0 on, else the one of jpegtran-cffi, else version 2.1 of the system. Or the
    absolute path of a library file, or `off`."""

    @field_validator("max_memory", "max_resident")
    @classmethod
    def _check_memory(cls, size: int | None, info: ValidationInfo) -> int | None:
        least = MIN_MEMORY if info.field_name == "max_memory" else MIN_RESIDENT
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
