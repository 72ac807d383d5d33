"""What operators hold in their hands, with the programs that they hold it with.

The topology of docker-compose.yml, from Debian's packages: nginx in front, Prometheus beside.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from support.apps import picture
from support.servers import ADMIN_TOKEN, Server, free_port, running_server

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
LONG = 60.0
KEY = "a-key-of-these-tests-with-enough-letters"
SETTINGS = f"""
image_pool_size = 2
[admin]
token = "{ADMIN_TOKEN}"
[metrics]
allow_networks = ["127.0.0.0/8"]
[signing]
keys = ["{KEY}"]
[pyramids]
min_pixels = 100000
tile_size = 128
[types.closed]
source = "disk"
access = "signed"
"""
SIGNED = "/iiif/3/signed/1767225600.5f2mT0hV1lq0xZkQv1nYj3mC8yWb4d9e/closed:a/info.json"
PATHS = (
    "/pictures:large.jpg/info.json",
    "/pictures:large.jpg/info.json",
    "/pictures:large.jpg/256,128,128,128/128,128/0/default.jpg",
    "/pictures:large.jpg/128,128,128,128/128,128/0/default.jpg",
    "/iiif/2/pictures:large.jpg/full/90,/0/default.jpg",
    "/pictures:large.jpg/full/90,/17/gray.png",
    "/pictures:nothing.jpg/info.json",
    "/pictures:large.jpg/wrong/max/0/default.jpg",
    "/health",
    "/health/ready",
    "/a/b/c",
    SIGNED,
)


@contextlib.contextmanager
def serving(
    folder: Path,
    settings: str = SETTINGS,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> Iterator[Server]:
    """A server that has been asked for something of each kind."""
    (folder / "source" / "closed").mkdir(parents=True)
    with running_server(folder, settings, environment, arguments=arguments) as server:
        (server.source / "large.jpg").write_bytes(picture(700, 500))
        for path in PATHS:
            httpx.get(f"{server.url}{path}")
        yield server


def until(condition: Callable[[], Any], seconds: float = LONG) -> Any:
    """What the condition says as soon as it is something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, condition
        time.sleep(0.1)
    return found


def numbers(server: Server) -> str:
    """All numbers, as they are written, once the last request is among them."""
    return httpx.get(f"{server.url}/metrics").raise_for_status().text


def promtool(*arguments: str | Path, given: str | None = None) -> str:
    """What promtool has to say, if it has nothing against it."""
    ran = subprocess.run(
        ["promtool", *arguments], input=given, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


# --- numbers ----------------------------------------------------------------------------------


def test_promtool_has_nothing_against_the_numbers(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        text = numbers(server)
    assert promtool("check", "metrics", given=text) == ""
    for engine in ("memory", "tile", "level", ""):
        assert f'iiif_requests_total{{engine="{engine}"' in text, engine
    for secret in ("large.jpg", "nothing.jpg", "closed:", "5f2mT0hV1lq0", str(tmp_path)):
        assert secret not in text


def test_promtool_has_nothing_against_the_numbers_of_several_processes(tmp_path: Path) -> None:
    together = tmp_path / "together"
    together.mkdir()
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(together)}
    with (
        serving(tmp_path / "one", environment=environment) as one,
        serving(tmp_path / "other", environment=environment) as other,
    ):
        before = numbers(one)
        assert promtool("check", "metrics", given=before) == ""
        assert "\niiif_serving_processes 2.0\n" in before
        httpx.get(f"{other.url}/status")
        count = re.compile(r'iiif_requests_total\{[^}]*route="/status"[^}]*\} 1\.0')
        assert until(lambda: count.search(numbers(one))), "one tells what the other has done"


def test_the_numbers_of_all_server_processes_are_together_and_outlive_each(tmp_path: Path) -> None:
    with serving(tmp_path, arguments=["--workers", "2"]) as server:
        until(lambda: "\niiif_serving_processes 2.0\n" in numbers(server))
        before = counted(server)
        for _ in range(20):
            httpx.get(f"{server.url}/health")
        until(lambda: counted(server) >= before + 20)
        assert promtool("check", "metrics", given=numbers(server)) == ""
        (victim, *_) = processes_of(server)
        os.kill(victim, signal.SIGKILL)
        # Another one is there, and what the first has counted still is.
        until(lambda: victim not in processes_of(server) and len(processes_of(server)) == 2)
        until(lambda: "\niiif_serving_processes 2.0\n" in numbers(server))
        assert counted(server) >= before + 20


def test_the_numbers_go_on_when_settings_are_read_again(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        before = counted(server)
        assert before > 5
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: logged(server, "SettingsReloaded"))
        httpx.get(f"{server.url}/pictures:large.jpg/full/92,/17/gray.png")
        until(lambda: counted(server) > before)
        misses = re.search(r'iiif_cache_misses_total{tier="disk"} (\d+)', numbers(server))
        assert misses is not None
        assert int(misses[1]) > 2


def counted(server: Server) -> float:
    """How many requests have been counted."""
    text = numbers(server)
    return sum(float(n) for n in re.findall(r"(?m)^iiif_requests_total\{.*\} (.*)$", text))


def processes_of(server: Server) -> list[int]:
    """The server processes under a supervisor."""
    return [
        pid
        for pid, parent in parents().items()
        if parent == server.pid and b"serve-share" in command(pid)
    ]


def test_promtool_has_nothing_against_the_alerts_and_they_come_when_they_should() -> None:
    folder = DEPLOY / "prometheus"
    assert "SUCCESS" in promtool("check", "rules", folder / "iiif-server.rules.yml")
    assert "SUCCESS" in promtool("check", "config", folder / "prometheus.yml")
    assert "SUCCESS" in promtool("test", "rules", folder / "iiif-server.rules.test.yml")


def test_a_worker_that_is_killed_is_counted(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        status = f"{server.url}/admin/status"
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        assert httpx.get(status, headers=headers).json()["pools"]["image"]["workers"] == 2
        for pid in workers_of(server):
            os.kill(pid, signal.SIGKILL)
        httpx.get(f"{server.url}/pictures:large.jpg/full/91,/17/gray.png", timeout=60)
        line = 'iiif_workers_replaced_total{pool="image",reason="died"}'
        assert until(lambda: line in numbers(server))


def workers_of(server: Server) -> list[int]:
    """The processes that read headers and make images."""
    return [
        pid
        for pid, parent in parents().items()
        if parent == server.pid and b"iiif_server.workers.process" in command(pid)
    ]


def command(pid: int) -> bytes:
    """How a process was started; nothing if it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def parents() -> dict[int, int]:
    """The parent of each process that there is."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    found[int(entry.name)] = int(fields[1])
    return found


# --- the topology of docker-compose.yml ----------------------------------------------------------


@contextlib.contextmanager
def running(*command: str | Path, log: Path) -> Iterator[None]:
    """A program, until the context closes."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(LONG)


@contextlib.contextmanager
def nginx(folder: Path, server: Server) -> Iterator[str]:
    """nginx in front of a server, which tells it what it passes on."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(
        f"""
        daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx-errors.log;
        worker_processes 1;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {folder}/nginx-1; proxy_temp_path {folder}/nginx-2;
            fastcgi_temp_path {folder}/nginx-3; uwsgi_temp_path {folder}/nginx-4;
            scgi_temp_path {folder}/nginx-5;
            server {{
                listen 127.0.0.1:{port};
                location / {{
                    proxy_pass {server.url};
                    proxy_set_header Host $http_host;
                    proxy_set_header X-Forwarded-Proto https;
                    proxy_set_header X-Forwarded-Host $http_host;
                    proxy_set_header X-Request-Id $request_id;
                }}
            }}
        }}
        """
    )
    with running("nginx", "-p", folder, "-c", config, log=folder / "nginx.log"):
        base = f"http://127.0.0.1:{port}"
        until(lambda: _answers(f"{base}/health"))
        yield base


@contextlib.contextmanager
def prometheus(folder: Path, server: Server) -> Iterator[str]:
    """Prometheus, which scrapes a server as deploy/prometheus/prometheus.yml says, but sooner."""
    port = free_port()
    text = (DEPLOY / "prometheus/prometheus.yml").read_text()
    text = text.replace("iiif-server:4040", server.url.removeprefix("http://"))
    text = text.replace("15s", "1s").replace("- iiif", f"- {DEPLOY}/prometheus/iiif")
    config = folder / "prometheus.yml"
    config.write_text(text)
    with running(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder}/prometheus",
        f"--web.listen-address=127.0.0.1:{port}",
        log=folder / "prometheus.log",
    ):
        base = f"http://127.0.0.1:{port}"
        until(lambda: _answers(f"{base}/-/ready"))
        yield base


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url).status_code == 200
    return False


def test_server_proxy_and_prometheus_work_together(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "server", f'trusted_proxies = ["127.0.0.1"]\n{SETTINGS}') as server,
        nginx(tmp_path, server) as front,
        prometheus(tmp_path, server) as watcher,
    ):
        answer = httpx.get(f"{front}/pictures:large.jpg/info.json")
        assert answer.json()["id"].startswith(front.replace("http:", "https:"))
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"]), "the one of nginx"
        assert answer.headers["x-request-id"] in until(
            lambda: logged(server, answer.headers["x-request-id"])
        )
        tile = "/pictures:large.jpg/256,128,128,128/128,128/0/default.jpg"
        assert httpx.get(f"{front}{tile}").headers["content-type"] == "image/jpeg"
        assert httpx.get(f"{front}/metrics").status_code == 401, "not for those behind the proxy"
        assert httpx.get(f"{front}/health/ready").json()["status"] == "ready"

        def ask(query: str) -> list[Any]:
            found = httpx.get(f"{watcher}/api/v1/query", params={"query": query}).json()
            results: list[Any] = found["data"]["result"]
            return [float(item["value"][1]) for item in results]

        until(lambda: ask('up{job="iiif-server"}') == [1.0])
        until(lambda: ask('sum(iiif_requests_total{engine="tile"})') >= [1.0])
        until(lambda: ask("iiif_ready") == [1.0])
        for panel in dashboard_queries():
            ask(panel)  # raises if it is none that Prometheus understands
        rules = httpx.get(f"{watcher}/api/v1/rules").json()["data"]["groups"][0]["rules"]
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
        assert len(rules) == 9


def dashboard_queries() -> list[str]:
    """What the dashboard asks, with its variables filled in."""
    panels = json.loads((DEPLOY / "grafana/dashboards/iiif-server.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert len(queries) > 40
    return [q.replace("$__rate_interval", "1m").replace("$instance", ".*") for q in queries]


# --- logs -------------------------------------------------------------------------------------


def logged(server: Server, mark: str) -> str:
    """The line of the log with this word, if there is one already."""
    lines = server.log.read_text().split("\n")
    return next((line for line in lines if mark in line), "")


def test_every_line_of_the_log_is_an_object_whatever_is_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path, f'log_format = "json"\n{SETTINGS}') as server:
        for path in ("/a%0Aforged:x", "/%1b[2J", "/a%E2%80%A8b", '/"quoted"', "/%ff%fe", "/%00"):
            httpx.get(f"{server.url}{path}")
        httpx.get(f"{server.url}/admin/status", headers={"Authorization": "Bearer wrong"})
        httpx.get(f"{server.url}/pictures:last.jpg/info.json")
        until(lambda: logged(server, "pictures:last.jpg"))
        text = server.log.read_text()
    objects = []
    for line in text.split("\n"):
        if line and not line.startswith("  http"):  # the addresses that are printed at the start
            assert line.isascii()
            assert line.isprintable()
            objects.append(json.loads(line))
    assert {"time", "level", "logger", "event"} <= set.intersection(*map(set, objects))
    answers = [item for item in objects if item["event"] == "Answered"]
    assert len({item["request"] for item in answers}) == len(answers) > len(PATHS)
    (tile,) = [item for item in answers if "/256,128" in item["path"]]
    assert (tile["engine"], tile["status"], tile["version"]) == ("tile", 200, "3.0")
    assert "tile" in tile["stages"]
    assert any({"fetch", "header"} <= item["stages"].keys() for item in answers if item["stages"])
    rendered = [item for item in objects if item["event"] == "Rendered"]
    requests = {item["request"] for item in answers}
    assert rendered
    assert all(item["request"] in requests for item in rendered)
    (refused,) = [item for item in objects if item["event"] == "AccessRefused"]
    assert refused["request"] in requests
    assert refused["level"] == "warning"
    assert "5f2mT0hV1lq0" not in text


# --- traces -----------------------------------------------------------------------------------


class Collector(BaseHTTPRequestHandler):
    """Takes what is sent to it, as a collector of OpenTelemetry would."""

    bodies: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        """Take one delivery."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Say nothing."""


def test_traces_go_where_the_environment_says_and_hold_no_signature(tmp_path: Path) -> None:
    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_address[1]}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",  # what FastAPI would send besides has whole paths
    }
    try:
        with serving(tmp_path, environment=environment):
            pass  # what has not been sent is sent at the end
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()
    assert {path for path, _ in Collector.bodies} == {"/v1/traces"}
    sent = b"".join(body for _, body in Collector.bodies)
    for word in (b"iiif-server", b"GET /{identifier}/info.json", b"iiif.engine", b"decode"):
        assert word in sent, word
    assert b"5f2mT0hV1lq0" not in sent
    assert b"fastapi" not in sent


# --- the sample -------------------------------------------------------------------------------


def test_the_sample_is_served_beside_other_types_when_asked_for(tmp_path: Path) -> None:
    with running_server(tmp_path, "", arguments=["--sample"], startup_seconds=180) as server:
        (server.source / "a.jpg").write_bytes(picture())
        sample = httpx.get(f"{server.url}/sample:atlas.jpg/info.json")
        assert sample.json()["width"] == 9000
        assert httpx.get(f"{server.url}/pictures:a.jpg/info.json").status_code == 200
        assert httpx.get(f"{server.url}/health/ready").json()["status"] == "ready"
