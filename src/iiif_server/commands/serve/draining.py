"""The end of a server process in order: uvicorn, which first drains."""

import signal
import time
from types import FrameType

import uvicorn

from iiif_server.server.protocol import State
from iiif_server.server.readiness import Draining
from iiif_server.telemetry.events import DrainingBegan, Observer


class DrainingServer(uvicorn.Server):
    """A uvicorn server that goes on for some seconds after SIGTERM, so that others notice.

    Meanwhile `/health/ready` fails, and each answer ends its connection. SIGINT ends the server
    without that time, and a second one without waiting for requests under way, which otherwise have
    `timeout_graceful_shutdown` of uvicorn.
    """

    def __init__(
        self, config: uvicorn.Config, draining: Draining, seconds: float, observer: Observer
    ) -> None:
        """`draining` is what the application and its connections look at."""
        super().__init__(config)
        self.server_state = State(draining)
        self._draining = draining
        self._seconds = seconds
        self._observe = observer
        self._interrupted = False
        self._over: float | None = None
        """When the time is over, on the monotonic clock."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Take a signal, at any point of the program."""
        self._draining.begun = True
        if sig == signal.SIGINT:
            self.force_exit = self._interrupted
            self._interrupted = self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Look ten times a second whether to end."""
        if self._draining.begun and not self.should_exit:
            if self._over is None:
                self._over = time.monotonic() + self._seconds
                self._observe(DrainingBegan(self._seconds))
            self.should_exit = time.monotonic() >= self._over
        return await super().on_tick(counter)
