"""Tells whether an error is a lack of memory, by whatever library it was raised.

torch has a class for its own allocator's alone. cuDNN, cuBLAS and the like allocate for themselves and report a status
inside a RuntimeError; Triton has a class of its own, and a compiler wraps all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

SAID = re.compile(
    r"out of memory|out of resource|can't allocate memory|not enough memory|OutOfMemory"
    r"|(CUDNN|CUBLAS|CUSOLVER|CUSPARSE|CUFFT|HIPBLAS|ROCBLAS|MIOPEN)\w*ALLOC\w*FAILED|CUFFT_ALLOC_FAILED"
    r"|CUBLAS_STATUS_NOT_INITIALIZED|unable to find an engine to execute",  # its handle, its workspace: no room for it
    re.IGNORECASE,
)


def is_shortage(error: BaseException) -> bool:
    """Whether it, or what it was raised from, says that memory is short."""
    return any(isinstance(each, MemoryError) or SAID.search(f"{type(each).__name__}: {each}") for each in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = getattr(error, "inner_exception", None) or error.__cause__
