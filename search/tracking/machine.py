"""Measures the machine during a study: processor, memory, disk, network, each NVIDIA GPU.

MLflow's own gauges, under the names that its pages know; its own loop would give up at the first lost connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any


class Machine:
    """Read now and then by one thread."""

    def __init__(self) -> None:
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

        self._gauges: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
        with suppress(Exception):  # there is none, or no driver for it
            self._gauges.append(GPUMonitor())

    def read(self) -> Mapping[str, float]:
        """Name → value now, as "system/cpu_utilization_percentage"."""
        found: dict[str, float] = {}
        for gauge in self._gauges:
            gauge.collect_metrics()
            found |= {f"system/{name}": float(value) for name, value in gauge.aggregate_metrics().items()}
            gauge.clear_metrics()
        return found
