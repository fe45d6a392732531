"""Batches: one shape for all, what fits, and every way in which memory can be short."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import freeu
from configs.shortages import is_shortage
from freeu import batches
from freeu.batches import Batches, Room, fitting, shape
from freeu.generate import GenerationError
from freeu.models import load_generator, load_spec

SHORT = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
    RuntimeError("HIP out of memory. Tried to allocate 64 MiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    MemoryError(),
]
OTHERS = [
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"),
    ValueError("no such layer"),
]


def rows_of(done: Iterable[tuple[slice, torch.Tensor]]) -> list[int]:
    return [row for _, rows in done for row in rows.tolist()]


def triton_resources() -> Exception:
    errors = pytest.importorskip("triton.runtime.errors")
    found: Exception = errors.OutOfResources(300_000, 232_448, "shared memory")
    return found


@pytest.mark.parametrize("error", [*SHORT, triton_resources], ids=lambda each: getattr(each, "__name__", str(each)))
def test_every_shortage_halves_the_batch(error: Any) -> None:
    error, sizes = error if isinstance(error, Exception) else error(), []

    def work(rows: Any) -> torch.Tensor:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise error
        return torch.tensor(list(rows))

    found = rows_of(Batches(8).run(8, work))
    assert found == list(range(8)) and sizes == [8, 4, 2, 2, 2, 2]


def test_a_shortage_that_a_compiler_wraps() -> None:
    wrapped = RuntimeError("backend='inductor' raised:")
    wrapped.__cause__ = SHORT[2]
    named = RuntimeError("backend failed")
    named.inner_exception = SHORT[0]  # type: ignore[attr-defined]
    assert is_shortage(wrapped) and is_shortage(named)


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_errors_come_out(error: Exception) -> None:
    def work(rows: Any) -> torch.Tensor:
        raise error

    assert not is_shortage(error)
    with pytest.raises(type(error)):
        list(Batches(8).run(8, work))


def test_what_a_decoder_says_is_not_tried_again() -> None:
    """It has halved its own batch down to one."""
    tries: list[int] = []

    def work(rows: Any) -> torch.Tensor:
        tries.append(len(rows))
        raise GenerationError("not enough memory for a single image")

    with pytest.raises(GenerationError):
        list(Batches(4).run(4, work))
    assert tries == [4]


@pytest.mark.parametrize(("counts", "most", "size"), [
    ((12, 12, 24), 32, 12),  # the rungs of 48
    ((12, 12, 24), 8, 6),
    ((12, 12, 24), 7, 6),
    ((25, 25, 50), 32, 25),
    ((12, 12, 23), 32, 12),
    ((128, 128, 256), 32, 32),
    ((13,), 8, 7),
    ((5,), 1, 1),
])  # fmt: skip
def test_the_shape_leaves_little_to_fill_up(counts: tuple[int, ...], most: int, size: int) -> None:
    assert shape(counts, most) == size


def test_all_batches_have_one_shape_and_each_row_its_own_result() -> None:
    of, sizes = Batches(32), []

    def work(rows: Any) -> torch.Tensor:
        sizes.append(len(rows))
        return torch.tensor(list(rows))

    of.expect([12, 12, 24])
    for n in (12, 24, 48, 5):
        found = rows_of(of.run(n, work))
        assert found == list(range(n))
    assert set(sizes) == {12}


def test_the_decoder_has_a_probe_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The U-Net's size is set by what the U-Net takes: its probe has ended before the decoder begins."""
    peak, held = 0, 0
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: held)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: held)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (24 * 10**9, 24 * 10**9))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peak)
    unet, decoder = (Batches(None, Room(torch.device("cuda"), most)) for most in (32, 8))
    sizes: dict[str, list[int]] = {"unet": [], "decoder": []}

    def takes(name: str, each: int) -> Any:
        def work(rows: Any) -> torch.Tensor:
            nonlocal peak
            sizes[name].append(len(rows))
            peak = each * len(rows)
            return torch.tensor(list(rows))

        return work

    def decode(part: slice, latents: torch.Tensor) -> torch.Tensor:
        decoder.expect([unet.size])
        return torch.cat([done for _, done in decoder.run(len(latents), takes("decoder", 3 * 10**9))])

    unet.expect([12, 12, 24])
    found = rows_of(unet.run(24, takes("unet", 3 * 10**8), then=decode))
    assert found == 2 * list(range(12))  # the decoder's own rows
    assert sizes["unet"] == [1, 12, 12]  # of a decoder's 3 GB only 6 fit
    assert sizes["decoder"] == [1, 6, 6, 6, 6]
    assert fitting(10**12, 1, 8) == 8


def test_a_generator_of_one_shape_makes_the_same_images(sd_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factors = freeu.Factors(1.5, 1.6, 0.9, 0.2)
    one = load_generator(load_spec(sd_folder), device="cpu", steps=2, guidance=3.0, batch_size=8)
    one._batches = Batches(8)
    prompts, seeds = [f"picture {i}" for i in range(12)], list(range(12))
    wanted = one.generate(prompts, seeds, factors)
    seen: list[int] = []
    real = one._unet.forward
    monkeypatch.setattr(one._unet, "forward", lambda x, *args, **how: seen.append(len(x)) or real(x, *args, **how))
    one.expect([4, 8])
    told: list[float] = []
    found = torch.cat([one.generate(prompts[:4], seeds[:4], factors), one.generate(prompts[4:], seeds[4:], factors)])
    assert (found.int() - wanted.int()).abs().max() <= 1
    one.generate(prompts[:3], seeds[:3], factors, told.append)
    assert set(seen) == {8} and told[-1] == 3


def test_a_probe_takes_one_step(sd_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = load_generator(load_spec(sd_folder), device="cpu", steps=3, guidance=1.0)
    room = SimpleNamespace(before=lambda: None, size=lambda: 2)
    one._batches = Batches(None, room)  # type: ignore[arg-type]
    seen: list[int] = []
    real = one._unet.forward
    monkeypatch.setattr(one._unet, "forward", lambda x, *args, **how: seen.append(len(x)) or real(x, *args, **how))
    one.generate(["a", "b", "c"], [0, 1, 2], freeu.IDENTITY)
    assert seen == [1] + [2] * 3 + [1] * 3
    assert batches.LARGEST == 32
