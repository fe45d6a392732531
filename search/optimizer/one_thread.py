"""Products of small matrices, by one thread.

NumPy and SciPy have a pool of threads each. One that has worked waits busily for more, some 25 ms, in the way of all
else: on two cores a factorisation of 13 rows took 0.5 ms in place of 0.01.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from threading import RLock
from typing import Any

import numpy  # noqa: F401  pools that come later would not be known
import scipy.linalg  # noqa: F401
from threadpoolctl import ThreadpoolController


class _OneThread(ContextDecorator):
    """Both pools work with one thread for whoever is inside, one caller at a time: they are the whole process's."""

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
