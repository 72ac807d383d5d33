"""`iiif-server replay`: requests of a log, sent to a server on loopback."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from iiif_server.cli import main
from support.upstream import Handler, Upstream, running_upstream, status

ODD = "/a%2Fb/../images:{x}|y.jpg/0,0,9,9/max/0/default.jpg?download"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        running.otherwise = answer
        yield running


def answer(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Server-Timing", 'engine;desc="cache", cache;dur=0.1')
    handler.send_header("Content-Length", "5")
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(b"image")


def logged(*targets: str, method: str = "GET", second: int = 0) -> str:
    time = f"02/Jan/2026:13:00:{second:02} +0100"
    return "".join(
        f'192.0.2.1 - - [{time}] "{method} {target} HTTP/1.1" 200 5\n' for target in targets
    )


def replay(url: str, log: Path | str, *options: str) -> Result:
    arguments = ["replay", str(log) if isinstance(log, Path) else "-", "--against", url, *options]
    input_ = None if isinstance(log, Path) else log
    return CliRunner().invoke(main, arguments, input=input_)


def document(result: Result) -> Any:
    return json.loads(result.stdout)


def test_paths_go_out_as_they_were_logged(upstream: Upstream, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(logged(ODD, "/b") + "noise\n" + logged("/c", method="POST"))
    result = replay(upstream.base, log, "--rate", "inf", "--json")
    assert result.exit_code == 0, result.output
    assert sorted(upstream.targets()) == sorted([ODD, "/b"])
    found = document(result)
    assert found["requests"] == 2
    assert found["statuses"] == {"200": 2}
    assert found["bytes"] == 10
    assert found["hit_rate"] == 1.0
    assert found["engines"]["cache"]["requests"] == 2
    assert found["skipped"] == {"no request": 1, "not GET or HEAD": 1}
    assert found["latency_ms"]["p50"] > 0


def test_the_log_of_the_server_itself_has_an_end(upstream: Upstream, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(logged("/a", "/b"))

    def logging(handler: Handler) -> None:
        assert len(upstream.requests) < 100
        with log.open("a") as file:
            file.write(logged(handler.path))
        answer(handler)

    upstream.otherwise = logging
    result = replay(upstream.base, log, "--rate", "inf", "--parallel", "1", "--json")
    assert document(result)["statuses"] == {"200": 2}


def test_a_prefix_stands_in_front_and_heads_have_no_content(upstream: Upstream) -> None:
    result = replay(f"{upstream.base}/iiif/?x=y", logged("/a", method="HEAD"), "--json")
    assert upstream.targets() == ["/iiif/a"]
    assert document(result)["bytes"] == 0


def test_the_report_is_text_by_default(upstream: Upstream) -> None:
    result = replay(upstream.base, logged("/a", "/b", "/c"))
    assert "statuses    200: 3" in result.output
    assert "hit rate    100.0 %" in result.output
    assert "skipped     none" in result.output


def test_no_redirect_is_followed(upstream: Upstream) -> None:
    def elsewhere(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", f"{upstream.base}/b")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    upstream.replies["/a"] = elsewhere
    result = replay(upstream.base, logged("/a"), "--json")
    assert upstream.targets() == ["/a"]
    assert document(result)["statuses"] == {"302": 1}


def test_concurrency_is_bounded(upstream: Upstream) -> None:
    both = threading.Barrier(2, timeout=30)

    def together(handler: Handler) -> None:
        both.wait()  # only if two are under way at the same time
        answer(handler)

    upstream.otherwise = together
    result = replay(
        upstream.base, logged(*map("/{}".format, range(20))), "--rate", "inf", "--parallel", "2"
    )
    assert result.exit_code == 0, result.output
    assert upstream.peak == 2


def test_the_timing_of_the_log_is_kept(upstream: Upstream) -> None:
    log = logged("/a") + logged("/b", second=1)
    found = document(replay(upstream.base, log, "--json"))
    assert found["seconds"] >= 1
    assert document(replay(upstream.base, log, "--json", "--rate", "4"))["seconds"] >= 0.25


def test_failures_are_counted_and_are_the_exit_status(upstream: Upstream) -> None:
    upstream.replies["/a"] = status(503)
    upstream.replies["/b"] = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    result = replay(upstream.base, logged("/a", "/b", "/c"), "--json", "--rate", "inf")
    found = document(result)
    assert found["statuses"] == {"200": 1, "503": 1}
    assert sum(found["failures"].values()) == 1
    assert result.exit_code == 1


@pytest.mark.parametrize("log", ["", "noise\n"])
def test_a_log_without_requests_is_a_failure(upstream: Upstream, log: str) -> None:
    assert replay(upstream.base, log).exit_code == 1


@pytest.mark.parametrize("url", ["ftp://example.org", "localhost:4040", "http://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    assert replay(url, logged("/a")).exit_code == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_a_replay_that_waits_for_its_log(
    upstream: Upstream, number: signal.Signals
) -> None:
    sent = threading.Event()

    def noted(handler: Handler) -> None:
        answer(handler)
        sent.set()

    upstream.otherwise = noted
    command = [sys.executable, "-m", "iiif_server", "replay", "-", "--against", upstream.base]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(logged("/a"))
        process.stdin.flush()
        assert sent.wait(60)
        process.send_signal(number)
        try:
            assert process.wait(60) == 130
        finally:
            process.kill()
        assert process.stdout is not None
        assert "requests " in process.stdout.read()
