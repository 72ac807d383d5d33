"""Bulk work on a Dask cluster: a real scheduler and real workers on loopback."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from PIL import Image

from support import pictures
from support.moto_store import BUCKET, running_store
from support.relay import Relay
from support.servers import ServerProcess, free_port, server_environment
from support.upstream import Upstream, send

IMAGES = 200
_SECONDS = 300


@dataclass
class Cluster:
    """Scheduler, and the processes of its workers."""

    scheduler: "subprocess.Popen[str]"
    url: str
    config: Path
    source: Path
    workers: list["subprocess.Popen[str]"] = field(default_factory=list)


@contextmanager
def running_process(
    log: Path, environment: dict[str, str], *arguments: str
) -> Iterator["subprocess.Popen[str]"]:
    """Run a Dask process, without a nanny that would restart it."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdout=output,
            stderr=output,
            text=True,
            env=server_environment() | environment,
            cwd=log.parent,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)  # a test may have stopped it
        try:
            process.wait(60)
        finally:
            process.kill()


@contextmanager
def running_cluster(
    folder: Path,
    configs: Sequence[Path],
    environment: Mapping[str, str] | None = None,
    scheme: str = "tcp",
) -> Iterator[Cluster]:
    """Run a scheduler, and one worker for each settings file; commands use the first file."""
    port, shared = free_port(), dict(environment or {})
    url = f"{scheme}://127.0.0.1:{port}"
    with ExitStack() as stack:
        scheduler = stack.enter_context(
            running_process(
                folder / "scheduler.log",
                shared,
                "distributed.cli.dask_scheduler",
                *("--host", f"{scheme}://127.0.0.1", "--port", str(port), "--no-dashboard"),
            )
        )
        workers = [
            stack.enter_context(
                running_process(
                    folder / f"worker{number}.log",
                    shared | {"IIIF_CONFIG": str(config)},
                    "distributed.cli.dask_worker",
                    *(url, "--no-nanny", "--nthreads", "2", "--no-dashboard"),
                )
            )
            for number, config in enumerate(configs)
        ]
        yield Cluster(scheduler, url, configs[0], folder / "source" / "pictures", workers)


def write_settings(folder: Path, name: str = "settings", more: str = "") -> Path:
    """Write the settings of a worker; all workers share the originals."""
    (folder / "source" / "pictures").mkdir(parents=True, exist_ok=True)
    config = folder / f"{name}.toml"
    config.write_text(
        f'source_path = "{folder}/source"\ncache_path = "{folder}/cache"\n'
        f'image_pool_size = 1\nsize_pool_size = 1\n{more}\n[types.pictures]\nsource = "disk"\n'
        "[pyramids]\nmin_pixels = 10000\ntile_size = 128\n"
    )
    return config


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    config = write_settings(tmp_path)
    with running_cluster(tmp_path, [config, config]) as cluster:
        yield cluster


def start_command(
    cluster: Cluster, command: str, *options: str, environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    program = [sys.executable, "-m", "iiif_server", command, "--config", str(cluster.config)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*program, "--scheduler", cluster.url, *options],
        stdout=pipe,
        stderr=subprocess.STDOUT,
        text=True,
        env=server_environment() | dict(environment or {}),
    )


def start_prepare(cluster: Cluster, **options: Any) -> "subprocess.Popen[str]":
    return start_command(cluster, "prepare", "--type", "pictures", **options)


def write_images(folder: Path, number: int) -> None:
    first = folder / "0.jpg"
    Image.linear_gradient("L").resize((400, 300)).convert("RGB").save(first)
    for other in range(1, number):
        os.link(first, folder / f"{other}.jpg")


def count_parts(cluster: Cluster) -> int:
    return len(list(cluster.config.parent.glob("cache/derivatives/**/*.szi")))


@pytest.mark.e2e
def test_prepare_completes_after_a_worker_is_killed(cluster: Cluster) -> None:
    write_images(cluster.source, IMAGES)
    run = start_prepare(cluster)
    ended = threading.Event()
    # Not a time: some are done, and most are not.
    while count_parts(cluster) < 20:
        assert run.poll() is None, run.communicate()[0]
        ended.wait(0.02)
    assert count_parts(cluster) < 2 * IMAGES - 100
    cluster.workers[0].kill()
    output, _ = run.communicate(timeout=_SECONDS)
    assert run.returncode == 0, output
    assert "0 failed" in output
    assert count_parts(cluster) == 2 * IMAGES
    again = start_prepare(cluster)
    output, _ = again.communicate(timeout=_SECONDS)
    assert f"0 made, {IMAGES} there already" in output


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("lost", "sent", "text"),
    [
        ("worker", signal.SIGKILL, "The cluster has run no task for 2 seconds. Repeat the command"),
        ("scheduler", signal.SIGKILL, "The scheduler of the cluster or its tasks have ended"),
        ("scheduler", signal.SIGSTOP, "The cluster has run no task for 2 seconds."),
    ],
)
def test_prepare_ends_when_the_cluster_is_lost_and_can_be_repeated(
    tmp_path: Path, lost: str, sent: signal.Signals, text: str
) -> None:
    config = write_settings(tmp_path)
    write_images(tmp_path / "source" / "pictures", IMAGES)
    with running_cluster(tmp_path, [config]) as cluster:
        run = start_command(cluster, "prepare", "--type", "pictures", "--idle-timeout", "2 s")
        ended = threading.Event()
        while count_parts(cluster) < 20:  # not a time: some are done, and most are not
            assert run.poll() is None, run.communicate()[0]
            ended.wait(0.02)
        process = cluster.workers[0] if lost == "worker" else cluster.scheduler
        process.send_signal(sent)
        output, _ = run.communicate(timeout=_SECONDS)
    assert run.returncode == 1, output
    assert text in output
    with running_cluster(tmp_path, [config]) as cluster:
        run = start_prepare(cluster)
        output, _ = run.communicate(timeout=_SECONDS)
    assert run.returncode == 0, output
    assert count_parts(cluster) == 2 * IMAGES
    assert f"{IMAGES} made" not in output  # the first command has made some


@pytest.mark.e2e
def test_unreadable_image_is_listed_and_exit_status_is_1(cluster: Cluster) -> None:
    write_images(cluster.source, 3)
    (cluster.source / "broken.tif").write_text("no image")
    run = start_prepare(cluster)
    output, _ = run.communicate(timeout=_SECONDS)
    assert run.returncode == 1, output
    assert "failed  pictures:broken.tif: " in output
    assert "3 made, 0 there already, 0 too small to need one, 1 failed." in output


@pytest.mark.e2e
def test_workers_export_and_warm_images(cluster: Cluster, tmp_path: Path) -> None:
    write_images(cluster.source, 12)
    (cluster.source / "broken.tif").write_text("no image")
    options = ["--type", "pictures", "--to", str(tmp_path / "out"), "--version", "2.1"]
    run = start_command(cluster, "export", *options, "--base-url", "https://images.example.org")
    output, _ = run.communicate(timeout=_SECONDS)
    assert run.returncode == 1, output
    assert "failed  pictures:broken.tif: " in output
    assert "12 images: " in output
    assert len(list((tmp_path / "out" / "pictures").glob("*/info.json"))) == 12
    run = start_command(cluster, "warm", "--type", "pictures")
    output, _ = run.communicate(timeout=_SECONDS)
    assert "12 images warmed" in output
    assert "1 failed." in output


@pytest.mark.e2e
def test_invalid_settings_of_a_worker_are_reported(tmp_path: Path) -> None:
    config = write_settings(tmp_path)
    wrong = write_settings(tmp_path, "wrong", "http_port = 'none'")
    write_images(tmp_path / "source" / "pictures", 1)
    with running_cluster(tmp_path, [config, wrong]) as cluster:
        wait_for_workers(cluster, 2)
        run = start_prepare(cluster)
        output, _ = run.communicate(timeout=_SECONDS)
    assert run.returncode == 1, output
    assert "A Dask worker cannot be used: " in output
    assert "http_port" in output
    assert "Traceback" not in output


@pytest.mark.e2e
def test_worker_without_the_type_is_reported_with_iiif_config(tmp_path: Path) -> None:
    config = write_settings(tmp_path)
    write_images(tmp_path / "source" / "pictures", 1)
    other = tmp_path / "other.toml"
    other.write_text(config.read_text().replace("[types.pictures]", "[types.others]"))
    with running_cluster(tmp_path, [other]) as cluster:
        run = start_prepare(replace(cluster, config=config))
        output, _ = run.communicate(timeout=_SECONDS)
    assert run.returncode == 1, output
    assert "the Dask worker has no type pictures: it needs IIIF_CONFIG" in output


def wait_for_workers(cluster: Cluster, number: int) -> None:
    with Client(cluster.url, timeout=60) as client:  # type: ignore[no-untyped-call]
        client.wait_for_workers(number, timeout=60)


@pytest.mark.e2e
def test_prepare_works_on_a_cluster_with_tls(tmp_path: Path) -> None:
    options = "-x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=cluster -keyout key.pem -out all.pem"
    command = ["openssl", "req", *options.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    prefix = "DASK_DISTRIBUTED__COMM__"
    tls = {f"{prefix}REQUIRE_ENCRYPTION": "true", f"{prefix}TLS__CA_FILE": f"{tmp_path}/all.pem"}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        tls[f"{prefix}TLS__{role}__CERT"] = f"{tmp_path}/all.pem"
        tls[f"{prefix}TLS__{role}__KEY"] = f"{tmp_path}/key.pem"
    config = write_settings(tmp_path)
    write_images(tmp_path / "source" / "pictures", 3)
    with running_cluster(tmp_path, [config], tls, "tls") as cluster:
        run = start_prepare(cluster, environment=tls)
        output, _ = run.communicate(timeout=_SECONDS)
        assert run.returncode == 0, output
        assert "3 made" in output
        assert count_parts(cluster) == 6
        stranger = start_prepare(cluster)  # without certificates
        output, _ = stranger.communicate(timeout=_SECONDS)
        assert stranger.returncode == 1, output
        assert "No Dask scheduler at tls://" in output
        assert "Traceback" not in output


@pytest.mark.e2e
def test_parts_built_by_workers_are_in_the_shared_cache(tmp_path: Path) -> None:
    """A replica serves tiles without fetching the original; no worker has a local cache."""
    with ExitStack() as stack:
        store = stack.enter_context(running_store())
        relay = stack.enter_context(Relay(store.port).running())
        upstream = stack.enter_context(Upstream().running())
        names = [f"{number}.jpg" for number in range(6)]
        for number, name in enumerate(names):
            data = pictures.jpeg(pictures.photograph(900, 700, seed=number))
            upstream.replies[f"/{name}"] = send(data)

        def settings_of(name: str) -> str:
            folder = tmp_path / name
            return (
                f'source_path = "{folder}/source"\ncache_path = "{folder}/cache"\n'
                "image_pool_size = 1\nsize_pool_size = 1\n"
                "fetch.allow_networks = ['127.0.0.0/8']\n[pyramids]\nmin_pixels = 10000\n"
                f"[types.web]\nsource = 'web'\nurl = '{upstream.base}/{{name}}'\n"
                f"[cache]\nshared = 's3://{BUCKET}/p'\n"
                f"[cache_bucket]\nendpoint = 'http://127.0.0.1:{relay.port}'\n"
                "region = 'us-east-1'\naccess_key_id = 'admin'\nsecret_access_key = 'admin'\n"
            )

        configs = [tmp_path / "one.toml", tmp_path / "two.toml"]
        for config in configs:
            config.write_text(settings_of(config.stem))
        cluster = stack.enter_context(running_cluster(tmp_path, configs))
        wait_for_workers(cluster, 2)
        run = start_command(cluster, "prepare", *(f"web:{name}" for name in names))
        output, _ = run.communicate(timeout=_SECONDS)
        assert run.returncode == 0, output
        assert "6 made" in output
        for worker in cluster.workers:
            worker.kill()  # what is in the bucket is there
        fetched = len(upstream.targets())
        assert fetched >= len(names)
        replica = ServerProcess(tmp_path / "replica", settings_of("replica"))
        replica.start()
        stack.callback(replica.end)
        for name in names:
            for tile in ("0,0,512,512/512,512", "512,0,388,512/388,512", "full/450,350"):
                answer = replica.get(f"/web:{name}/{tile}/0/default.jpg")
                assert answer.status_code == 200, answer.text
        assert len(upstream.targets()) == fetched


@pytest.mark.e2e
def test_prepare_fails_while_the_bucket_fails_and_then_uploads(tmp_path: Path) -> None:
    with running_store() as store:
        more = (
            f"[cache]\nshared = 's3://{BUCKET}/p'\n[cache_bucket]\n"
            "endpoint = 'http://127.0.0.1:PORT'\nregion = 'us-east-1'\n"
            "access_key_id = 'admin'\nsecret_access_key = 'admin'\n"
        )
        config = write_settings(tmp_path, more=more.replace("PORT", "9"))
        write_images(tmp_path / "source" / "pictures", 2)
        command = [sys.executable, "-m", "iiif_server", "prepare", "--config", str(config)]
        command += ["--type", "pictures", "--retries", "0"]
        failed = subprocess.run(command, capture_output=True, text=True, check=False)
        assert failed.returncode == 1
        assert "failed  pictures:0.jpg: The shared cache fails." in failed.stderr
        write_settings(tmp_path, more=more.replace("PORT", str(store.port)))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "0 made, 2 there already" in done.stdout
        listed = store.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="p/entries/")
        assert listed["KeyCount"] == 4
