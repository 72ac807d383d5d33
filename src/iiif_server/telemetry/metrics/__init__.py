"""Numbers for Prometheus, of one serving process or of several that serve together.

Several processes keep their numbers in files in one folder, which `PROMETHEUS_MULTIPROC_DIR` names
when they start (prometheus-client's multiprocess mode); any of them can then answer for all. What
a process has counted stays there when it has ended, so that no sum ever falls.
"""

from iiif_server.telemetry.metrics.counts import Metrics
from iiif_server.telemetry.metrics.gauges import CounterDeltas
from iiif_server.telemetry.metrics.sharing import folder, forget

__all__ = ["CounterDeltas", "Metrics", "folder", "forget"]
