"""Sizing: how many workers, threads and bytes of memory a process gets."""

from iiif_server.settings import Settings
from iiif_server.workers.machine import this_machine, threads_for


def without_queue_timeout(settings: Settings) -> Settings:
    """The settings without a deadline for what waits: for commands, where nobody does."""
    limits = settings.limits.model_copy(update={"queue_timeout": None})
    return settings.model_copy(update={"limits": limits})


def memory_for_images(settings: Settings) -> int:
    """Bytes that making images may take, over all processes."""
    return int(settings.limits.memory or this_machine().memory // 2)


def threads_of(settings: Settings, cpus: int | None = None) -> int:
    """Threads of each image worker, on this machine or one with so many CPUs."""
    processes = settings.image_pool_size
    return settings.workers.threads or threads_for(cpus or this_machine().cpus, processes)


def share_of(settings: Settings, number: int, of: int, cpus: int | None = None) -> Settings:
    """The settings for one of several server processes, the first of which is number 0.

    What bounds all of them together is divided among them, each getting one at least.
    """

    def part(total: int) -> int:
        return max(1, total // of + (number < total % of))

    images = settings.image_pool_size
    if "image_pool_size" not in settings.model_fields_set:
        images = max(images, 2 * of)  # so that each keeps one free for tiles
    memory = memory_for_images(settings) // of
    threads = threads_of(settings.model_copy(update={"image_pool_size": images}), cpus)
    return settings.model_copy(
        update={
            "image_pool_size": part(images),
            "size_pool_size": part(settings.size_pool_size),
            "max_http_fetches": part(settings.max_http_fetches),
            "http_connections": part(settings.http_connections),
            "limits": settings.limits.model_copy(update={"memory": memory}),
            "workers": settings.workers.model_copy(update={"threads": threads}),
        }
    )
