"""Metrics, alerts, logs, traces and a topology of nginx and Prometheus, with the real programs.

The topology is that of docker-compose.yml, from Debian's packages.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from support.apps import picture
from support.servers import ADMIN_TOKEN, Server, free_port, running_server
from support.waiting import wait_until

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
def running_server_with_traffic(
    folder: Path,
    settings: str = SETTINGS,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> Iterator[Server]:
    """Server that has answered one request of each kind (PATHS)."""
    (folder / "source" / "closed").mkdir(parents=True)
    with running_server(folder, settings, environment, arguments=arguments) as server:
        (server.source / "large.jpg").write_bytes(picture(700, 500))
        for path in PATHS:
            httpx.get(f"{server.url}{path}")
        yield server


def fetch_metrics(server: Server) -> str:
    """Return the text of /metrics."""
    return httpx.get(f"{server.url}/metrics").raise_for_status().text


def run_promtool(*arguments: str | Path, stdin: str | None = None) -> str:
    """Run promtool; return its output. Its exit status must be 0."""
    completed = subprocess.run(
        ["promtool", *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout + completed.stderr


# --- numbers ----------------------------------------------------------------------------------


def test_metrics_pass_promtool_and_contain_no_secret(tmp_path: Path) -> None:
    with running_server_with_traffic(tmp_path) as server:
        text = fetch_metrics(server)
    assert run_promtool("check", "metrics", stdin=text) == ""
    for engine in ("memory", "tile", "level", ""):
        assert f'iiif_requests_total{{engine="{engine}"' in text, engine
    for secret in ("large.jpg", "nothing.jpg", "closed:", "5f2mT0hV1lq0", str(tmp_path)):
        assert secret not in text


def test_metrics_of_two_servers_with_multiproc_dir_are_summed(tmp_path: Path) -> None:
    together = tmp_path / "together"
    together.mkdir()
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(together)}
    with (
        running_server_with_traffic(tmp_path / "one", environment=environment) as one,
        running_server_with_traffic(tmp_path / "other", environment=environment) as other,
    ):
        before = fetch_metrics(one)
        assert run_promtool("check", "metrics", stdin=before) == ""
        assert "\niiif_serving_processes 2.0\n" in before
        httpx.get(f"{other.url}/status")
        count = re.compile(r'iiif_requests_total\{[^}]*route="/status"[^}]*\} 1\.0')
        assert wait_until(lambda: count.search(fetch_metrics(one))), (
            "one tells what the other has done"
        )


def test_metrics_of_all_server_processes_are_summed_and_survive_a_kill(tmp_path: Path) -> None:
    with running_server_with_traffic(tmp_path, arguments=["--workers", "2"]) as server:
        wait_until(lambda: "\niiif_serving_processes 2.0\n" in fetch_metrics(server))
        before = count_requests(server)
        for _ in range(20):
            httpx.get(f"{server.url}/health")
        wait_until(lambda: count_requests(server) >= before + 20)
        assert run_promtool("check", "metrics", stdin=fetch_metrics(server)) == ""
        (victim, *_) = server_processes(server)
        os.kill(victim, signal.SIGKILL)
        # Another one is there, and what the first has counted still is.
        wait_until(
            lambda: victim not in server_processes(server) and len(server_processes(server)) == 2
        )
        wait_until(lambda: "\niiif_serving_processes 2.0\n" in fetch_metrics(server))
        assert count_requests(server) >= before + 20


def test_counters_continue_after_settings_are_reloaded(tmp_path: Path) -> None:
    with running_server_with_traffic(tmp_path) as server:
        before = count_requests(server)
        assert before > 5
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: find_in_log(server, "SettingsReloaded"))
        httpx.get(f"{server.url}/pictures:large.jpg/full/92,/17/gray.png")
        wait_until(lambda: count_requests(server) > before)
        misses = re.search(r'iiif_cache_misses_total{tier="disk"} (\d+)', fetch_metrics(server))
        assert misses is not None
        assert int(misses[1]) > 2


def count_requests(server: Server) -> float:
    """Return the number of requests that the metrics report."""
    text = fetch_metrics(server)
    return sum(float(n) for n in re.findall(r"(?m)^iiif_requests_total\{.*\} (.*)$", text))


def server_processes(server: Server) -> list[int]:
    """Return the ids of the server processes under a supervisor."""
    return [
        pid
        for pid, parent in parents_of_processes().items()
        if parent == server.pid and b"serve-share" in read_command_line(pid)
    ]


def test_alert_rules_pass_promtool_and_their_unit_tests() -> None:
    folder = DEPLOY / "prometheus"
    assert "SUCCESS" in run_promtool("check", "rules", folder / "iiif-server.rules.yml")
    assert "SUCCESS" in run_promtool("check", "config", folder / "prometheus.yml")
    assert "SUCCESS" in run_promtool("test", "rules", folder / "iiif-server.rules.test.yml")


def test_killed_worker_is_counted_in_metrics(tmp_path: Path) -> None:
    with running_server_with_traffic(tmp_path) as server:
        status = f"{server.url}/admin/status"
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        assert httpx.get(status, headers=headers).json()["pools"]["image"]["workers"] == 2
        for pid in worker_processes(server):
            os.kill(pid, signal.SIGKILL)
        httpx.get(f"{server.url}/pictures:large.jpg/full/91,/17/gray.png", timeout=60)
        line = 'iiif_workers_replaced_total{pool="image",reason="died"}'
        assert wait_until(lambda: line in fetch_metrics(server))


def worker_processes(server: Server) -> list[int]:
    """Return the ids of the worker processes of a server."""
    return [
        pid
        for pid, parent in parents_of_processes().items()
        if parent == server.pid and b"iiif_server.workers.process" in read_command_line(pid)
    ]


def read_command_line(pid: int) -> bytes:
    """Return the command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def parents_of_processes() -> dict[int, int]:
    """Return the parent id by process id, of all processes but zombies."""
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
def running_program(*read_command_line: str | Path, log: Path) -> Iterator[None]:
    """Run a program until the context closes."""
    with log.open("w") as output:
        process = subprocess.Popen(read_command_line, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(LONG)


@contextlib.contextmanager
def nginx(folder: Path, server: Server) -> Iterator[str]:
    """Run nginx as a reverse proxy in front of a server; yield its URL."""
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
    with running_program("nginx", "-p", folder, "-c", config, log=folder / "nginx.log"):
        base = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(f"{base}/health"))
        yield base


@contextlib.contextmanager
def prometheus(folder: Path, server: Server) -> Iterator[str]:
    """Run Prometheus with deploy/prometheus/prometheus.yml, scraping each second; yield its URL."""
    port = free_port()
    text = (DEPLOY / "prometheus/prometheus.yml").read_text()
    text = text.replace("iiif-server:4040", server.url.removeprefix("http://"))
    text = text.replace("15s", "1s").replace("- iiif", f"- {DEPLOY}/prometheus/iiif")
    config = folder / "prometheus.yml"
    config.write_text(text)
    with running_program(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder}/prometheus",
        f"--web.listen-address=127.0.0.1:{port}",
        log=folder / "prometheus.log",
    ):
        base = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(f"{base}/-/ready"))
        yield base


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url).status_code == 200
    return False


def test_server_behind_nginx_is_scraped_by_prometheus(tmp_path: Path) -> None:
    with (
        running_server_with_traffic(
            tmp_path / "server", f'trusted_proxies = ["127.0.0.1"]\n{SETTINGS}'
        ) as server,
        nginx(tmp_path, server) as proxy_url,
        prometheus(tmp_path, server) as prometheus_url,
    ):
        answer = httpx.get(f"{proxy_url}/pictures:large.jpg/info.json")
        assert answer.json()["id"].startswith(proxy_url.replace("http:", "https:"))
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"]), "the one of nginx"
        assert answer.headers["x-request-id"] in wait_until(
            lambda: find_in_log(server, answer.headers["x-request-id"])
        )
        tile = "/pictures:large.jpg/256,128,128,128/128,128/0/default.jpg"
        assert httpx.get(f"{proxy_url}{tile}").headers["content-type"] == "image/jpeg"
        assert httpx.get(f"{proxy_url}/metrics").status_code == 401, (
            "not for those behind the proxy"
        )
        assert httpx.get(f"{proxy_url}/health/ready").json()["status"] == "ready"

        def query(query: str) -> list[Any]:
            found = httpx.get(f"{prometheus_url}/api/v1/query", params={"query": query}).json()
            results: list[Any] = found["data"]["result"]
            return [float(item["value"][1]) for item in results]

        wait_until(lambda: query('up{job="iiif-server"}') == [1.0])
        wait_until(lambda: query('sum(iiif_requests_total{engine="tile"})') >= [1.0])
        wait_until(lambda: query("iiif_ready") == [1.0])
        for panel in dashboard_queries():
            query(panel)  # raises if it is none that Prometheus understands
        rules = httpx.get(f"{prometheus_url}/api/v1/rules").json()["data"]["groups"][0]["rules"]
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
        assert len(rules) == 9


def dashboard_queries() -> list[str]:
    """Return the queries of the Grafana dashboard, with its variables filled in."""
    panels = json.loads((DEPLOY / "grafana/dashboards/iiif-server.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert len(queries) > 40
    return [q.replace("$__rate_interval", "1m").replace("$instance", ".*") for q in queries]


# --- logs -------------------------------------------------------------------------------------


def find_in_log(server: Server, text: str) -> str:
    """Return the first line of the log that contains a text, or an empty string."""
    lines = server.log.read_text().split("\n")
    return next((line for line in lines if text in line), "")


def test_json_log_lines_are_objects_for_hostile_paths(tmp_path: Path) -> None:
    with running_server_with_traffic(tmp_path, f'log_format = "json"\n{SETTINGS}') as server:
        for path in ("/a%0Aforged:x", "/%1b[2J", "/a%E2%80%A8b", '/"quoted"', "/%ff%fe", "/%00"):
            httpx.get(f"{server.url}{path}")
        httpx.get(f"{server.url}/admin/status", headers={"Authorization": "Bearer wrong"})
        httpx.get(f"{server.url}/pictures:last.jpg/info.json")
        wait_until(lambda: find_in_log(server, "pictures:last.jpg"))
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
    """OpenTelemetry collector over HTTP: stores the body of each request."""

    bodies: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        """Store one export request."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Log nothing."""


def test_traces_are_exported_without_signatures(tmp_path: Path) -> None:
    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_address[1]}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",  # what FastAPI would send besides has whole paths
    }
    try:
        with running_server_with_traffic(tmp_path, environment=environment):
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


def test_sample_option_serves_the_sample_beside_other_types(tmp_path: Path) -> None:
    with running_server(tmp_path, "", arguments=["--sample"], startup_seconds=180) as server:
        (server.source / "a.jpg").write_bytes(picture())
        sample = httpx.get(f"{server.url}/sample:atlas.jpg/info.json")
        assert sample.json()["width"] == 9000
        assert httpx.get(f"{server.url}/pictures:a.jpg/info.json").status_code == 200
        assert httpx.get(f"{server.url}/health/ready").json()["status"] == "ready"
