"""Sizing: numbers of workers and threads, and memory, of a server process."""

from iiif_server.settings import Settings
from iiif_server.workers.machine import this_machine, threads_for


def without_queue_timeout(settings: Settings) -> Settings:
    """Return the settings without `queue_timeout`, for commands, whose jobs no client waits for."""
    limits = settings.limits.model_copy(update={"queue_timeout": None})
    return settings.model_copy(update={"limits": limits})


def memory_for_images(settings: Settings) -> int:
    """Return the memory limit in bytes of all jobs together."""
    return int(settings.limits.memory or this_machine().memory // 2)


def threads_of(settings: Settings, cpus: int | None = None) -> int:
    """Return the number of threads per image worker; `cpus` defaults to those of this machine."""
    processes = settings.image_pool_size
    return settings.workers.threads or threads_for(cpus or this_machine().cpus, processes)


def share_of(settings: Settings, number: int, of: int, cpus: int | None = None) -> Settings:
    """Return the settings of server process `number` (from 0) of `of` processes.

    Common limits are divided among the processes; each process gets at least 1.
    """

    def part(total: int) -> int:
        return max(1, total // of + (number < total % of))

    images = settings.image_pool_size
    if "image_pool_size" not in settings.model_fields_set:
        images = max(images, 2 * of)  # so that each process can reserve one for tiles
    limits = {
        "memory": memory_for_images(settings) // of,
        "queue_length": part(settings.limits.queue_length),
    }
    threads = threads_of(settings.model_copy(update={"image_pool_size": images}), cpus)
    return settings.model_copy(
        update={
            "image_pool_size": part(images),
            "size_pool_size": part(settings.size_pool_size),
            "max_http_fetches": part(settings.max_http_fetches),
            "http_connections": part(settings.http_connections),
            "limits": settings.limits.model_copy(update=limits),
            "workers": settings.workers.model_copy(update={"threads": threads}),
        }
    )
