"""Measures the peak memory of a piece of work: on the GPU if there is one, else of this process."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """Begins when it is made. On CUDA what torch took of all devices; elsewhere the process with all that it holds, on
    Linux its peak since the beginning, on other systems since the process began."""

    def __init__(self) -> None:
        import torch

        self._devices = range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)
        for device in self._devices:
            torch.cuda.reset_peak_memory_stats(device)
        with suppress(OSError):
            RESET.write_text("5")  # proc(5): resets VmHWM

    def bytes(self) -> int:
        """The most until now."""
        if self._devices:
            import torch

            return sum(int(torch.cuda.max_memory_allocated(device)) for device in self._devices)
        with suppress(OSError):
            for line in STATUS.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return 1024 * int(line.split()[1])
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
