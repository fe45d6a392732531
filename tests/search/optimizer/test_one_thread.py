"""One thread for small matrices, whoever else works with them."""

from __future__ import annotations

from threading import Event, Thread

import pytest
import scipy.linalg  # noqa: F401 - its pool has to be there
from threadpoolctl import ThreadpoolController

from search.optimizer.one_thread import _OneThread


def threads() -> set[int]:
    """Of the pools that can have several: an older OpenCV brings one that can't."""
    pools = ThreadpoolController().select(user_api="blas").info()
    return {pool["num_threads"] for pool in pools if pool["threading_layer"] != "disabled"}


@pytest.fixture
def two():
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        yield


def test_one_inside_and_as_before_after(two: None) -> None:
    one = _OneThread()
    assert threads() == {2}
    with one:
        assert threads() == {1}
        with one:
            pass
        assert threads() == {1}
    assert threads() == {2}
    with pytest.raises(ValueError, match="broken"), one:
        raise ValueError("broken")
    assert threads() == {2}


def test_one_caller_at_a_time(two: None) -> None:
    """Else who leaves last would set what it found, which is what another one had set."""
    one, inside = _OneThread(), Event()
    other = Thread(target=one(inside.set))
    with one:
        other.start()
        assert not inside.wait(0.2)
    other.join()
    assert inside.is_set()
    assert threads() == {2}
