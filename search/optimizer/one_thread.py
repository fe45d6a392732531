"""Runs products of small matrices on one thread.

NumPy and SciPy have a pool of threads each. After work a thread busy-waits for some 25 ms and blocks a core: on two
cores a factorisation of 13 rows took 0.5 ms in place of 0.01.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from threading import RLock
from typing import Any

import numpy  # noqa: F401  pools that come later would not be known
import scipy.linalg  # noqa: F401
from threadpoolctl import ThreadpoolController


class _OneThread(ContextDecorator):
    """Limits both pools to one thread. The pools are the whole process's, so there is one caller at a time."""

    def __init__(self) -> None:
        self._pools = ThreadpoolController().select(user_api="blas")
        self._lock, self._limits = RLock(), list[Any]()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._limits.append(self._pools.limit(limits=1).__enter__())

    def __exit__(self, *error: Any) -> None:
        try:
            self._limits.pop().__exit__(*error)
        finally:
            self._lock.release()


one_thread = _OneThread()
