"""Graceful shutdown of a server process: drains, then stops uvicorn."""

import signal
import time
from types import FrameType

import uvicorn

from iiif_server.server.protocol import State
from iiif_server.server.readiness import Draining
from iiif_server.telemetry.events import DrainingBegan, Observer


class DrainingServer(uvicorn.Server):
    """Uvicorn server that drains for some seconds after SIGTERM, so that load balancers notice.

    Meanwhile `/health/ready` is 503, and each response closes its connection. SIGINT ends the
    server without draining. A second SIGINT also cancels requests in progress, which otherwise have
    `timeout_graceful_shutdown` of uvicorn.
    """

    def __init__(
        self, config: uvicorn.Config, draining: Draining, seconds: float, observer: Observer
    ) -> None:
        """`draining` is the state that the application and its connections check."""
        super().__init__(config)
        self.server_state = State(draining)
        self._draining = draining
        self._seconds = seconds
        self._observe = observer
        self._interrupted = False
        self._over: float | None = None
        """End of draining, on the monotonic clock."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Handle a signal; runs between any two instructions of the main thread."""
        self._draining.begun = True
        if sig == signal.SIGINT:
            self.force_exit = self._interrupted
            self._interrupted = self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Check whether the server should stop; uvicorn calls this ten times per second."""
        if self._draining.begun and not self.should_exit:
            if self._over is None:
                self._over = time.monotonic() + self._seconds
                self._observe(DrainingBegan(self._seconds))
            self.should_exit = time.monotonic() >= self._over
        return await super().on_tick(counter)
