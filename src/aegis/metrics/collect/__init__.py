"""Where samples come from: Docker, control groups, Prometheus, or at least our own process.

A source reads; `Collector` makes samples of what was read and stores them. What cannot be measured
is None and never 0; what cannot be read is said once, and once more when it can be again. A
counter that falls means that its container was started anew.
"""

from aegis.metrics.collect.collector import Collected, Collector
from aegis.metrics.collect.sources import SOURCES, open_source

__all__ = ["SOURCES", "Collected", "Collector", "open_source"]
