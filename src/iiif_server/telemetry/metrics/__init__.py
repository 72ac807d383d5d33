"""Metrics for Prometheus, of one server process or of several.

Several processes store their metrics in files of one folder, which `PROMETHEUS_MULTIPROC_DIR` names
when they start (multiprocess mode of prometheus-client). Any of them can then report the metrics of
all. The counters of a process stay in the folder after its end, so that sums never decrease.
"""

from iiif_server.telemetry.metrics.counts import Metrics
from iiif_server.telemetry.metrics.gauges import CounterDeltas
from iiif_server.telemetry.metrics.sharing import folder, forget

__all__ = ["CounterDeltas", "Metrics", "folder", "forget"]
