"""`python -m bench.hits`: cached tiles, compared with a bare ASGI function and with nginx.

Each server runs on core 0 and wrk on core 1, in turns. The access log (into a file), metrics and
Server-Timing are on. The bare function returns the same bytes under the same uvicorn.
"""

import os
import re
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from bench import servers
from bench.images import make_image
from bench.load import fetch_bodies
from bench.servers import Server

_BARE = """
import sys, uvicorn
port, size = map(int, sys.argv[1:])
body, ok = bytes(size), {"type": "http.response.start", "status": 200, "headers": [
    (b"content-type", b"image/jpeg"), (b"content-length", str(size).encode())]}
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send(ok)
        await send({"type": "http.response.body", "body": body})
uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_level="error", access_log=False)
"""
_Peer = tuple[str, Callable[[], AbstractContextManager[Server]], str]
_SECONDS = 6
_TURNS = 5
_CONNECTIONS = (16, 64)
_TILE = "/0,0,512,512/512,/0/default.jpg"


def measure_rate(server: Server, path: str, connections: int) -> float:
    """Return the requests per second on one path; raise if one was refused."""
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{_SECONDS}s"]
    command.append(f"http://127.0.0.1:{server.port}{path}")
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise ValueError(output)
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if found is None:
        raise ValueError(output)
    return float(found[1])


def main() -> None:
    """Measure, and print the medians and their ratios."""
    with tempfile.TemporaryDirectory(prefix="bench-hits-") as name:
        work = Path(name)
        (work / "source" / "bench").mkdir(parents=True)
        make_image(work, 24).jpeg.rename(work / "source" / "bench" / "a.jpg")
        (work / "static").mkdir()
        path = f"/bench:a.jpg{_TILE}"
        os.sched_setaffinity(0, {0})  # all servers inherit it
        with servers.running_iiif_server(work / "source", work, log_level="info") as own:
            body = fetch_bodies(own, [path, path])[-1]
            (work / "static" / "tile").write_bytes(body)
            peers: list[_Peer] = [
                ("bare", lambda: servers.running_program(_BARE, str(len(body)), work=work), "/"),
                ("nginx", lambda: servers.running_nginx(work / "static", work), "/tile"),
            ]
            _compare(own, path, peers, len(body))


def _compare(own: Server, path: str, peers: list[_Peer], size: int) -> None:
    rates: dict[tuple[str, int], list[float]] = {}
    for _ in range(_TURNS):
        for peer, start, peer_path in peers:
            with start() as server:
                for connections in _CONNECTIONS:
                    rates.setdefault((peer, connections), []).append(
                        measure_rate(server, peer_path, connections)
                    )
        for connections in _CONNECTIONS:
            rates.setdefault(("own", connections), []).append(measure_rate(own, path, connections))
    print(f"{size} bytes a tile; medians of {_TURNS} turns, requests/s")
    for connections in _CONNECTIONS:
        middle = {
            peer: statistics.median(rates[peer, connections]) for peer in ("own", "bare", "nginx")
        }
        spread = {peer: rates[peer, connections] for peer in middle}
        print(
            f"{connections} connections: iiif-server {middle['own']:,.0f}, "
            f"bare {middle['bare']:,.0f}, nginx {middle['nginx']:,.0f}; "
            f"iiif-server / bare {middle['own'] / middle['bare']:.2f}"
        )
        print(
            "   " + "; ".join(f"{peer} {min(v):,.0f}-{max(v):,.0f}" for peer, v in spread.items())
        )


if __name__ == "__main__":
    main()
