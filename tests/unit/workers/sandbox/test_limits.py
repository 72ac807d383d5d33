"""Resource limits of a worker, computed from the needs of its jobs."""

from iiif_server.workers.sandbox.limits import limits_for

GB = 10**9


def test_memory_follows_the_largest_original_that_is_allowed() -> None:
    small = limits_for(
        source_pixels=10**8, result_pixels=10**6, threads=1, originals=5, deadline=60
    )
    large = limits_for(
        source_pixels=10**9, result_pixels=10**6, threads=1, originals=5, deadline=60
    )
    assert 0.8 * GB < small.memory < 2.5 * GB
    # Eight bytes a pixel: what the most expensive job takes.
    assert large.memory - small.memory == 8 * (10**9 - 10**8)
    assert large.file_size == 4 * GB


def test_memory_follows_the_largest_image_that_is_made() -> None:
    """It may be larger than any original."""
    small = limits_for(
        source_pixels=10**6, result_pixels=10**8, threads=1, originals=5, deadline=60
    )
    large = limits_for(
        source_pixels=10**6, result_pixels=10**9, threads=1, originals=5, deadline=60
    )
    assert large.memory - small.memory == 18 * (10**9 - 10**8)
    assert large.file_size == 4 * GB


def test_memory_that_is_set_is_taken() -> None:
    limits = limits_for(
        source_pixels=10**9, result_pixels=10**6, threads=4, originals=5, deadline=60, memory=GB
    )
    assert limits.memory == GB
    assert limits.address_space > GB


def test_address_space_has_room_for_the_originals_that_are_mapped() -> None:
    none = limits_for(source_pixels=10**9, result_pixels=10**6, threads=1, originals=0, deadline=60)
    five = limits_for(source_pixels=10**9, result_pixels=10**6, threads=1, originals=5, deadline=60)
    assert five.memory == none.memory
    assert five.address_space - none.address_space == 5 * 4 * GB


def test_processor_time_is_only_up_when_the_deadline_has_passed() -> None:
    """Threads use the time of several processors at once."""
    for threads in (1, 4):
        limits = limits_for(
            source_pixels=1, result_pixels=1, threads=threads, originals=1, deadline=60
        )
        assert limits.cpu_seconds > 60 * threads
