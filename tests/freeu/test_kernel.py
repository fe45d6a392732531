"""The CUDA kernel: by Triton's interpreter and compiler where there is no GPU, and on one where there is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from freeu.filter import skip_filter, skip_filter_

pytest.importorskip("triton")

INTERPRETED = """
import torch
from freeu.filter import skip_filter
from freeu.kernel import fits, skip_filter_

for shape in [(2, 3, 8, 8), (1, 2, 13, 11), (3, 2, 32, 24), (1, 1, 2, 2), (1, 2, 3, 64)]:
    for symmetric in (False, True):
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            n, d, height, width = shape
            joined = torch.randn(n, 2 * d, height, width, generator=torch.Generator().manual_seed(0)).to(dtype)
            kept, x = joined.clone(), joined[:, d:]
            assert fits(x, 1)
            scale, high = torch.linspace(-0.5, 1.2, n), torch.linspace(1.0, 0.7, n)
            wanted = skip_filter(x.double(), scale, high=high, symmetric=symmetric)
            skip_filter_(x, scale, high, symmetric)
            assert torch.equal(joined[:, :d], kept[:, :d])
            # One rounding of values below 4 in half precision; float32 sums elsewhere.
            error = (x.double() - wanted).abs().max()
            assert error <= 4 * torch.finfo(dtype).eps * max(1, wanted.abs().max()), (shape, symmetric, dtype, error)
print("agreed")
"""


def test_is_the_plain_filter_in_the_interpreter() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True)
    assert done.stdout == "agreed\n", done.stderr


@pytest.mark.parametrize(("rows", "columns", "warps"), [(8, 8, 1), (64, 64, 8), (128, 128, 16)])
def test_compiles_for_a_gpu_that_is_not_there(rows: int, columns: int, warps: int) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from freeu.kernel import _filter

    kinds = {name: "*fp32" for name in ("scale", "high", "row_waves", "column_waves")}
    kinds |= {"x": "*bf16", "diagonal": "fp32", "crossing": "fp32", "ROWS": "constexpr", "COLUMNS": "constexpr"}
    signature = {name: kinds.get(name, "i32") for name in _filter.arg_names}
    source = ASTSource(fn=_filter, signature=signature, constexprs={"ROWS": rows, "COLUMNS": columns})
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    # A map stays in registers: what shared memory there is, is for the sums.
    assert built.metadata.shared <= 4096
    assert built.asm["cubin"]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("side", [8, 24, 64, 128])
def test_on_a_gpu(dtype: torch.dtype, side: int) -> None:
    joined = torch.randn(2, 8, side, side, device="cuda").to(dtype)
    wanted = skip_filter(joined[:, 4:].cpu().double(), 0.2)
    with torch.no_grad():
        skip_filter_(joined[:, 4:], 0.2, 1, 1.0, False)
    error = (joined[:, 4:].cpu().double() - wanted).abs().max()
    assert error <= 4 * torch.finfo(dtype).eps * wanted.abs().max()
