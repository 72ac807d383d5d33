"""Bulk work on a Dask cluster: a real scheduler and real workers on loopback."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from support.servers import free_port, inherited

IMAGES = 200
_SECONDS = 300


@dataclass
class Cluster:
    """A scheduler, and the processes of its workers."""

    url: str
    config: Path
    source: Path
    workers: list["subprocess.Popen[str]"] = field(default_factory=list)


@contextmanager
def running(log: Path, config: Path | None, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A process of Dask, without a nanny that would start it again."""
    environment = inherited() | ({"IIIF_CONFIG": str(config)} if config else {})
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdout=output,
            stderr=output,
            text=True,
            env=environment,
            cwd=log.parent,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "source" / "pictures"
    folder.mkdir(parents=True)
    config = tmp_path / "settings.toml"
    config.write_text(
        f'source_path = "{tmp_path}/source"\ncache_path = "{tmp_path}/cache"\n'
        'image_pool_size = 1\nsize_pool_size = 1\n[types.pictures]\nsource = "disk"\n'
        "[pyramids]\nmin_pixels = 10000\ntile_size = 128\n"
    )
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:
        stack.enter_context(
            running(
                tmp_path / "scheduler.log",
                None,
                "distributed.cli.dask_scheduler",
                *("--host", "127.0.0.1", "--port", str(port), "--no-dashboard"),
            )
        )
        workers = [
            stack.enter_context(
                running(
                    tmp_path / f"worker{number}.log",
                    config,
                    "distributed.cli.dask_worker",
                    *(url, "--no-nanny", "--nthreads", "2", "--no-dashboard"),
                )
            )
            for number in (1, 2)
        ]
        yield Cluster(url, config, folder, workers)


def prepare(cluster: Cluster) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "iiif_server", "prepare", "--config", str(cluster.config)]
    options = ["--type", "pictures", "--scheduler", cluster.url]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*command, *options], stdout=pipe, stderr=subprocess.STDOUT, text=True, env=inherited()
    )


def fill(folder: Path, number: int) -> None:
    first = folder / "0.jpg"
    Image.linear_gradient("L").resize((400, 300)).convert("RGB").save(first)
    for other in range(1, number):
        os.link(first, folder / f"{other}.jpg")


def pyramids(cluster: Cluster) -> int:
    return len(list(cluster.config.parent.glob("cache/derivatives/**/*.szi")))


@pytest.mark.e2e
def test_all_images_are_prepared_though_a_worker_is_killed(cluster: Cluster) -> None:
    fill(cluster.source, IMAGES)
    run = prepare(cluster)
    ended = threading.Event()
    # Not a time: some are done, and most are not.
    while pyramids(cluster) < 20:
        assert run.poll() is None, run.communicate()[0]
        ended.wait(0.02)
    assert pyramids(cluster) < 2 * IMAGES - 100
    cluster.workers[0].kill()
    output, _ = run.communicate(timeout=_SECONDS)
    assert run.returncode == 0, output
    assert "0 failed" in output
    assert pyramids(cluster) == 2 * IMAGES
    again = prepare(cluster)
    output, _ = again.communicate(timeout=_SECONDS)
    assert f"0 made, {IMAGES} there already" in output


@pytest.mark.e2e
def test_an_unreadable_image_is_listed_and_is_the_exit_status(cluster: Cluster) -> None:
    fill(cluster.source, 3)
    (cluster.source / "broken.tif").write_text("no image")
    run = prepare(cluster)
    output, _ = run.communicate(timeout=_SECONDS)
    assert run.returncode == 1, output
    assert "failed  pictures:broken.tif: " in output
    assert "3 made, 0 there already, 0 too small to need one, 1 failed." in output
