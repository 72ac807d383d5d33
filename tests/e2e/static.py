"""Static web server for a folder, without any code of this project."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Log nothing."""

    def end_headers(self) -> None:
        # What docs/exporting.md tells people to set.
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()


@contextmanager
def running_web_server(folder: Path) -> Iterator[str]:
    """Serve the files of a folder; yield the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
