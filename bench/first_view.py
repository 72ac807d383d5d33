"""`python -m bench.first_view`: first views alone, and beside builds of other pyramids.

A first view is info.json, then the tiles that OpenSeadragon shows of an image in a window of
1200x800, then those that it adds at twice the zoom. Needs `djpeg` (Debian: libjpeg-turbo-progs).
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import load, requests, servers
from bench.images import BenchImage, link_copies, make_image
from bench.report import Check, format_checks
from bench.servers import Server

_ROOT = Path(__file__).parents[1]
_AT_ONCE = 6
"""Connections that a browser opens to one server."""
_BUILDS = 2
_SMALL, _LARGE = 24, 108
"""Megapixels."""
_SETTLE_SECONDS = 30.0


def measure_first_view(server: Server, image: BenchImage, name: str) -> float:
    """Return the seconds that the first view of an image takes."""
    taken = sum(load.request_one_by_one(server, [server.path(name, "/info.json")]))
    for tiles in requests.first_view(image):
        taken += load.request_concurrently(
            server, [server.path(name, tile) for tile in tiles], _AT_ONCE
        )
    return taken


def djpeg_command(image: BenchImage) -> list[str]:
    """Return the command that decodes an image."""
    return ["djpeg", "-outfile", "/dev/null", str(image.jpeg)]


def measure(
    source: Path, work: Path, small: BenchImage, large: BenchImage, repeats: int
) -> Sequence[Check]:
    """Return the ratios of the medians of repeats, measured in turns."""
    folder = small.jpeg.parent
    kinds = ("small decode", "small view", "decode", "alone", "beside")
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    with servers.running_iiif_server(source, work) as server:
        names = link_copies(small, folder, [f"warm{number}" for number in range(4)])
        load.request_concurrently(
            server, [server.path(n, "/full/300,/0/default.jpg") for n in names], 4
        )
        for turn in range(repeats):
            for image, decode, view in (
                (small, "small decode", "small view"),
                (large, "decode", "alone"),
            ):
                taken[decode].append(load.time_command(djpeg_command(image), 1))
                (name,) = link_copies(image, folder, [f"view{turn}"])
                taken[view].append(measure_first_view(server, image, name))
                servers.wait_until_idle(server)
            (name,) = link_copies(large, folder, [f"beside{turn}"])
            _start_builds(server, large, [f"build{turn}-{n}" for n in range(_BUILDS)])
            taken["beside"].append(measure_first_view(server, large, name))
            servers.wait_until_idle(server)
    found = {kind: statistics.median(seconds) for kind, seconds in taken.items()}

    def check(what: str, view: str, other: str, most: float) -> Check:
        detail = f"{found[view] * 1000:,.0f} ms / {found[other] * 1000:,.0f} ms"
        return Check(what, found[view] / found[other], most, detail)

    name = f"first view of a never-seen {large.megapixels}-megapixel JPEG"
    return [
        check(f"{name} / one `djpeg` of it", "alone", "decode", 1.5),
        check(f"{name}, beside {_BUILDS} builds / alone", "beside", "alone", 1.3),
        check(
            f"first view of a never-seen {small.megapixels}-megapixel JPEG / one `djpeg` of it",
            "small view",
            "small decode",
            2.0,
        ),
    ]


def _start_builds(server: Server, image: BenchImage, names: Sequence[str]) -> None:
    """Return when full-resolution parts of some images are being built, or wait in the queue."""
    for name in link_copies(image, image.jpeg.parent, names):
        first = requests.first_view(image)[0][0]
        load.request_one_by_one(server, [server.path(name, first)])
    deadline = time.monotonic() + _SETTLE_SECONDS
    while not servers.fetch_status(server)["pyramids"]["building"]:
        if time.monotonic() > deadline:
            raise TimeoutError("no build has begun")
        time.sleep(0.01)


def main() -> int:
    """Measure and print the ratios; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.first_view", description=__doc__)
    parser.add_argument("--build", type=Path, default=_ROOT / "build" / "bench")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    source = arguments.build.resolve() / "source"
    small, large = (make_image(source / "bench", size) for size in (_SMALL, _LARGE))
    with tempfile.TemporaryDirectory(prefix="first-view-") as work:
        checks = measure(source, Path(work), small, large, arguments.repeats)
    print("\n".join(format_checks(checks)))
    return int(not all(check.passed for check in checks))


if __name__ == "__main__":
    if shutil.which("djpeg") is None:
        sys.exit("djpeg is missing: install libjpeg-turbo-progs")
    sys.exit(main())
