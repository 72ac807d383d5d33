"""`python -m bench.objects`: originals in object storage, and the same originals on disk.

The store is moto's server (S3 over HTTP) on this machine: the results include the time of moto,
and exclude that of a network. A JPEG is fetched whole; a tiled TIFF is read in parts.
"""

import argparse
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3

from bench import load, requests, servers
from bench.images import BenchImage, make_image, tiffsave_command
from bench.memory import process_tree, proportional_bytes
from bench.servers import Server

_ROOT = Path(__file__).parents[1]
_MEGAPIXELS = 24
_BUCKET = "bench"
_AT_ONCE = 6
_KEYS = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}
_TILE = "/0,0,512,512/512,/0/default.jpg"
_SECONDS = 5


STORE = """
import logging, sys, flask
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
logging.getLogger("werkzeug").setLevel(logging.ERROR)
app = DomainDispatcherApplication(create_backend_app)
run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
"""
"""A program that is moto's server; `/` answers with its buckets."""


def _fetched_bytes(server: Server) -> int:
    return sum(proportional_bytes(pid) for pid in process_tree(server.pid))


def bucket_client(url: str) -> Any:
    """Return a client of the store at a URL."""
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", **_KEYS)


def measure_first_view(server: Server, prefix: str, image: BenchImage, name: str) -> float:
    """Return the seconds that info.json and the tiles of the first view take."""
    taken = sum(load.request_one_by_one(server, [f"/{prefix}:{name}/info.json"]))
    for tiles in requests.first_view(image):
        taken += load.request_concurrently(
            server, [f"/{prefix}:{name}{tile}" for tile in tiles], _AT_ONCE
        )
    return taken


def _types(url: str) -> str:
    return (
        f'[types.bucket]\nsource = "objects"\nurl = "s3://{_BUCKET}/{{name}}"\n'
        f'endpoint = "{url}"\nregion = "us-east-1"\naccess_key_id = "bench"\n'
        'secret_access_key = "bench"\n'
    )


def measure(work: Path, image: BenchImage, repeats: int) -> Iterator[str]:
    """Return a line for each comparison."""
    source = work / "source"
    (source / "bench").mkdir(parents=True)
    tiled = work / "tiled.tif"
    subprocess.run(tiffsave_command(image.jpeg, tiled, 256), check=True)
    kinds: dict[str, tuple[Path, str]] = {"JPEG": (image.jpeg, "jpg"), "tiled TIFF": (tiled, "tif")}
    with ExitStack() as stack:
        store = stack.enter_context(servers.running_program(STORE, work=work))
        url = f"http://127.0.0.1:{store.port}"
        server = stack.enter_context(servers.running_iiif_server(source, work, types=_types(url)))
        client = bucket_client(url)
        client.create_bucket(Bucket=_BUCKET)

        def put(file: Path, name: str) -> None:
            shutil.copy(file, source / "bench" / name)
            client.upload_file(str(file), _BUCKET, name)

        for kind, (file, suffix) in kinds.items():
            taken: dict[str, list[float]] = {"bench": [], "bucket": []}
            for turn in range(repeats + 1):
                name = f"{turn}.{suffix}"
                put(file, name)
                for prefix, seconds in taken.items():
                    one = measure_first_view(server, prefix, image, name)
                    servers.wait_until_idle(server)
                    if turn:  # the first one warms up
                        seconds.append(one)
            yield _line(f"first view, {kind} of {image.megapixels} MP", taken, "ms", 1000)
            ready: dict[str, list[float]] = {"bench": [], "bucket": []}
            for _ in range(3):
                for prefix, rates in ready.items():
                    path = f"/{prefix}:1.{suffix}{_TILE}"
                    rates.append(load.run_wrk(server, [path], 16, _SECONDS).rate)
            yield _line(f"ready tile, {kind}", ready, "requests/s", 1)
        memory = _fetched_bytes(server)
        yield f"memory of all processes at the end: {memory / 1e6:,.0f} MB"
    for types, what in (("", "disk alone"), (_types("http://127.0.0.1:9"), "and objects")):
        with servers.running_iiif_server(source, work, types=types) as server:
            load.request_one_by_one(server, ["/bench:1.jpg/info.json"])
            yield f"memory at rest, {what}: {_fetched_bytes(server) / 1e6:,.0f} MB"


def _line(what: str, taken: dict[str, list[float]], unit: str, factor: float) -> str:
    disk, bucket = (statistics.median(taken[key]) * factor for key in ("bench", "bucket"))
    return f"{what}: disk {disk:,.0f} {unit}, objects {bucket:,.0f} {unit}, {bucket / disk:.2f}"


def main() -> None:
    """Measure, and print a line for each comparison."""
    parser = argparse.ArgumentParser(prog="python -m bench.objects", description=__doc__)
    parser.add_argument("--build", type=Path, default=_ROOT / "build" / "bench")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    image = make_image(arguments.build.resolve() / "source" / "bench", _MEGAPIXELS)
    with tempfile.TemporaryDirectory(prefix="bench-objects-") as work:
        for line in measure(Path(work), image, arguments.repeats):
            print(line, flush=True)


if __name__ == "__main__":
    main()
