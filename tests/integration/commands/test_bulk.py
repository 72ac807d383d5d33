"""Bulk work: errors of clusters, and retries. No cluster runs here."""

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from iiif_server.cli import main
from iiif_server.commands.bulk import cluster, dask_worker, running
from iiif_server.commands.bulk import tasks as bulk_tasks
from iiif_server.commands.bulk.tasks import Outcome, Task
from iiif_server.commands.prepare import prepare_one
from iiif_server.errors import ConfigurationError, NotAnImageError, WorkerDiedError
from iiif_server.iiif.identifier import Identifier
from support.servers import free_port


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(
        f"source_path = '{tmp_path}/source'\ncache_path = '{tmp_path}/cache'\n"
        "types.pictures.source = 'disk'\n"
    )
    (tmp_path / "source" / "pictures").mkdir(parents=True)
    return path


def prepare(config: Path, scheduler: str) -> Result:
    arguments = ["prepare", "--config", str(config), "--scheduler", scheduler, "pictures:a.jpg"]
    return CliRunner().invoke(main, arguments)


def assert_fails(result: Result, reason: str) -> None:
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert reason in result.output


def test_without_dask_the_command_names_the_extra(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, cluster.__name__)
    assert_fails(prepare(config, "tcp://127.0.0.1:8786"), "pip install 'iiif-server[dask]'")


@pytest.mark.parametrize(
    "scheduler", ["127.0.0.1:8786", "http://127.0.0.1:8786", "", "tcp://", "tcp://host:port"]
)
def test_a_scheduler_that_is_no_url_of_dask_is_refused(config: Path, scheduler: str) -> None:
    assert_fails(prepare(config, scheduler), "tcp://HOST:PORT")


def test_a_scheduler_that_cannot_be_reached_is_an_error(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.5)
    scheduler = f"tcp://127.0.0.1:{free_port()}"
    assert_fails(prepare(config, scheduler), f"No Dask scheduler at {scheduler}: ")


def test_a_scheduler_that_does_not_answer_is_an_error(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(cluster, "_CLOSE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        scheduler = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        assert_fails(prepare(config, scheduler), scheduler)


def test_an_encrypted_scheduler_without_certificates_is_an_error(config: Path) -> None:
    assert_fails(prepare(config, "tls://127.0.0.1:9"), "No Dask scheduler at tls://127.0.0.1:9: ")


async def test_a_worker_whose_settings_are_wrong_is_not_set_up(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IIIF_CONFIG", str(config))
    monkeypatch.setenv("IIIF_HTTP_PORT", "none")
    worker: Any = None  # not needed before the settings are read
    with pytest.raises(ConfigurationError, match="HTTP_PORT"):
        await dask_worker.ServicesPlugin().setup(worker)


class NeverDone:
    """A task of Dask that gets no result."""

    async def result(self) -> Any:
        return await asyncio.Event().wait()


class Idle:
    """A client of a cluster that runs no task, unless one is in `tasks`."""

    status = "running"

    def __init__(self, workers: int) -> None:
        worker = {"nthreads": 1, "resources": {}}
        self.workers = {str(number): worker for number in range(workers)}
        self.tasks: dict[str, tuple[str, ...]] = {}
        self.silent = False

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        assert n_workers == -1  # all
        return {"workers": self.workers}

    def submit(self, *_: Any, **__: Any) -> NeverDone:
        return NeverDone()

    async def processing(self) -> dict[str, tuple[str, ...]]:
        if self.silent:
            raise TimeoutError
        return self.tasks


@pytest.mark.parametrize(
    ("workers", "text"), [(0, "The cluster has no workers: "), (2, "The cluster runs no task: ")]
)
async def test_a_cluster_that_runs_no_task_has_a_timeout(
    capsys: pytest.CaptureFixture[str], workers: int, text: str
) -> None:
    client: Any = Idle(workers)
    now = 0.0
    executor = cluster.ClusterExecutor(client, Failing.originals, 300, lambda: now)
    await executor.check_activity()
    assert not capsys.readouterr().err  # nothing is to be done yet
    task = Task(prepare_one, Identifier("pictures", "a.jpg"))
    run = asyncio.create_task(executor.run(task))
    await asyncio.sleep(0)
    for client.tasks in ({}, {"0": ("other",)}, {}):  # a task in between restarts the wait
        await executor.check_activity()
        now += 200
        await executor.check_activity()
    assert capsys.readouterr().err.count(f"{text}waiting for 5 minutes.") == 2
    client.silent = True
    now += 100
    await executor.check_activity()
    with pytest.raises(ConfigurationError, match=r"no task for 5 minutes\. Repeat the command"):
        await run


@pytest.mark.parametrize("given", ["0", "soon", "-1", "inf"])
def test_a_timeout_of_clusters_that_is_none_is_refused(config: Path, given: str) -> None:
    arguments = ["prepare", "--config", str(config), "--idle-timeout", given, "pictures:a.jpg"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "must be a duration" in result.output


class Failing:
    """An executor whose tasks fail in this way, until one succeeds."""

    originals: Any = None
    concurrency = 1

    def __init__(self, *errors: Exception) -> None:
        self.left = list(errors)

    async def run(self, task: Task) -> bulk_tasks.Result:
        if self.left:
            error = self.left.pop(0)
            assert isinstance(error, WorkerDiedError | NotAnImageError)
            return bulk_tasks.failure(task.subject, error)
        return bulk_tasks.Result(Outcome.MADE)


@pytest.mark.parametrize(
    ("errors", "outcome", "left"),
    [
        ([WorkerDiedError("died")] * 2, Outcome.MADE, 0),
        ([WorkerDiedError("died")] * 4, Outcome.FAILED, 1),
        ([NotAnImageError("none")] * 2, Outcome.FAILED, 1),
    ],
)
async def test_only_what_may_pass_is_repeated_and_only_so_often(
    monkeypatch: pytest.MonkeyPatch, errors: list[Exception], outcome: Outcome, left: int
) -> None:
    monkeypatch.setattr(running, "_RETRY_SECONDS", 0)
    executor = Failing(*errors)
    task = Task(prepare_one, Identifier("pictures", "a.jpg"))
    _, result = await running._run_with_retries(executor, task, retries=2)
    assert result.outcome is outcome
    assert len(executor.left) == left
