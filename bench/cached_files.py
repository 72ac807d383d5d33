"""Cost of a cache of a million small files for a server process: `make cached-files`.

Memory of the process, time of a scan, and the longest pause of the event loop meanwhile.
"""

import argparse
import asyncio
import hashlib
import resource
import tempfile
import time
from pathlib import Path

from iiif_server.cache.entries import EntryKey
from iiif_server.cache.eviction import Bounds
from iiif_server.cache.store import Store

_TICK = 0.001


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _fill(entries: Path, groups: int, each: int) -> None:
    for group in map(_digest, map(str, range(groups))):
        folder = entries / group[:2] / group
        folder.mkdir(parents=True)
        for number in range(each):
            (folder / f"{_digest(str(number))}.0.00000000.jpg").touch()


async def _measure_pauses(stop: asyncio.Event) -> float:
    """Return the longest delay of a short sleep, in seconds."""
    longest = 0.0
    while not stop.is_set():
        before = time.perf_counter()
        await asyncio.sleep(_TICK)
        longest = max(longest, time.perf_counter() - before - _TICK)
    return longest


async def _measure(store: Store, name: str, work: object) -> None:
    stop = asyncio.Event()
    pauses = asyncio.create_task(_measure_pauses(stop))
    begin = time.perf_counter()
    await store.threads.run(work, timeout=3600)  # type: ignore[arg-type]
    seconds = time.perf_counter() - begin
    stop.set()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name}: {seconds:.1f} s, longest pause {await pauses * 1000:.1f} ms, peak {peak:.0f} MB"
    )


async def _run(root: Path, groups: int, each: int) -> None:
    store = Store(root, Bounds(max_files=groups * each - 1), lambda _: None)
    files = groups * each
    print(f"before: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    await _measure(store, "start", store.open)

    def find_all() -> None:
        for group in map(_digest, map(str, range(groups))):
            for number in (0, each // 2):
                assert store.find(EntryKey(group, _digest(str(number)))) is not None

    await _measure(store, f"index of {files:,} files", find_all)
    await _measure(store, f"scan and eviction of a tenth of {files:,} files", store.evict)
    scan = Store(root, Bounds(), lambda _: None)
    await _measure(scan, "scan that evicts nothing", scan.evict)


def main() -> None:
    """Fill a folder, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=5000)
    parser.add_argument("--each", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _fill(Path(folder) / "entries", options.groups, options.each)
        asyncio.run(_run(Path(folder), options.groups, options.each))


if __name__ == "__main__":
    main()
