"""What each of several server processes gets of what there is."""

from pathlib import Path

import pytest

from iiif_server.commands.serve.reload import changes
from iiif_server.composition.sizing import memory_for_images, share_of, threads_of
from iiif_server.settings import Settings
from iiif_server.workers.machine import threads_for

DIVIDED = ("image_pool_size", "size_pool_size", "max_http_fetches", "http_connections")


@pytest.mark.parametrize("of", [1, 2, 3, 4])
def test_shares_come_to_the_whole(of: int) -> None:
    settings = Settings(
        image_pool_size=11, size_pool_size=5, max_http_fetches=10, http_connections=1001
    )
    shares = [share_of(settings, number, of) for number in range(of)]
    for name in DIVIDED:
        parts = [getattr(share, name) for share in shares]
        assert sum(parts) == getattr(settings, name)
        assert max(parts) - min(parts) <= 1
    memory = [memory_for_images(share) for share in shares]
    assert sum(memory) <= memory_for_images(settings) < sum(memory) + of


def test_each_process_has_one_of_everything_though_there_is_less() -> None:
    settings = Settings(image_pool_size=1, size_pool_size=1, max_http_fetches=1)
    for number in range(3):
        share = share_of(settings, number, 3)
        assert (share.image_pool_size, share.size_pool_size, share.max_http_fetches) == (1, 1, 1)


def test_unless_said_otherwise_each_process_can_keep_one_for_tiles() -> None:
    assert all(share_of(Settings(), number, 64).image_pool_size == 2 for number in range(64))


def test_a_bound_on_memory_is_divided() -> None:
    settings = Settings.model_validate({"limits": {"memory": "8GB"}})
    assert share_of(settings, 1, 4).limits.memory == 2_000_000_000


def test_the_length_of_the_queue_is_divided() -> None:
    settings = Settings.model_validate({"limits": {"queue_length": 9}})
    assert [share_of(settings, number, 4).limits.queue_length for number in range(4)] == [
        3,
        2,
        2,
        2,
    ]


def test_what_has_changed_is_named_and_what_needs_a_restart_apart() -> None:
    old = Settings(http_port=1, cache_path=Path("a"), info_cache_size=7)
    new = Settings(http_port=2, cache_path=Path("b"), info_cache_size=7, http_processes=3)
    assert changes(old, new) == (["cache_path"], ["http_port", "http_processes"])
    assert changes(old, old) == ([], [])


@pytest.mark.parametrize(
    ("cores", "processes", "threads"),
    [(1, 2, 1), (2, 1, 2), (2, 3, 2), (8, 9, 2), (8, 1, 8), (64, 4, 16)],
)
def test_an_image_process_has_two_threads_or_its_share_of_the_cores(
    cores: int, processes: int, threads: int
) -> None:
    assert threads_for(cores, processes) == threads


@pytest.mark.parametrize("of", [2, 3, 5, 16])
@pytest.mark.parametrize("processes", [1, 2, 5, 33, 65])
def test_server_processes_have_no_more_threads_for_each_worker_than_one_has(
    of: int, processes: int
) -> None:
    """Threads follow from the workers of all server processes together (fault 10)."""
    whole = Settings(image_pool_size=processes)
    for number in range(of):
        share = share_of(whole, number, of, cpus=64)
        assert threads_of(share, cpus=64) == threads_of(whole, cpus=64)


def test_threads_that_are_set_are_not_divided() -> None:
    settings = Settings.model_validate({"workers": {"threads": 3}})
    assert threads_of(settings) == 3
    assert threads_of(share_of(settings, 1, 2)) == 3
