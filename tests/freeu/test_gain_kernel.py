"""Version 2's gain in two CUDA kernels: by Triton's interpreter and compiler where there is no GPU, and on one."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from freeu import backbone
from freeu.backbone import amplify_, gain
from freeu.concat import channels_of

pytest.importorskip("triton")

INTERPRETED = """
import torch
from freeu.backbone import gain
from freeu.concat import channels_of
from freeu.gain_kernel import amplify_, fits

for n, c, height, width, window in [
    (2, 70, 8, 8, (0.0, 0.5)), (1, 3, 13, 11, (0.0, 1.0)), (3, 20, 1, 5, (0.75, 0.5)), (1, 2, 3, 100, (0.5, 0.25))
]:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        joined = torch.randn(n, c + 3, height, width, generator=torch.Generator().manual_seed(0)).to(dtype)
        joined[0, :, :, :] = 0.3  # a constant map: a gain of 1
        joined = torch.cat([joined, joined.flip(2)])
        kept, x, b = joined.clone(), joined[:, :c], torch.linspace(-0.5, 1.8, 2 * n)
        assert fits(x)
        parts = channels_of(c, *window)
        wanted = kept.double()
        for part in parts:
            wanted[:, part] *= gain(kept[:, :c].double(), b, "v2")
        amplify_(x, b, parts)
        # One rounding, and float32's in the mean of up to 70 channels.
        error = (joined.double() - wanted).abs().max()
        assert error <= 4 * torch.finfo(dtype).eps * max(1, wanted.abs().max()), (c, window, dtype, error)
        rest = [i for i in range(c + 3) if not any(part.start <= i < part.stop for part in parts)]
        assert torch.equal(joined[:, rest], kept[:, rest]) and torch.equal(joined[0], kept[0])
        if c > 3 and dtype == torch.float32:
            assert (joined - kept).abs().max() > 0.1
x = torch.ones(1, 4, 2, 2)
amplify_(x, torch.full((1,), 2.0), [slice(0, 0)])
assert torch.equal(x, torch.ones(1, 4, 2, 2))
print("agreed")
"""


def test_is_the_plain_gain_in_the_interpreter() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True)
    assert done.stdout == "agreed\n", done.stderr


class Counted(TorchDispatchMode):
    """Names the operations that would launch a kernel each: neither views nor fresh memory."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name != "empty" and not func.is_view:
            self.names.append(name)
        return found


class Launched:
    """In a kernel's place: counts its launches."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def __getitem__(self, grid: Any) -> Any:
        return lambda *args, **kwargs: self.names.append("launch")


@pytest.mark.parametrize("offset", [0.0, 0.75])
def test_launches_two_kernels(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    from freeu import gain_kernel

    x, b, parts = torch.ones(2, 8, 4, 4), torch.full((2,), 1.5), channels_of(8, offset, 0.5)
    with Counted() as counted:
        amplify_(x, b, "v2", parts)
    assert len(counted.names) >= 13  # the plain form's
    monkeypatch.setattr(backbone, "usable", lambda name, x: gain_kernel)
    monkeypatch.setattr(torch.cuda, "device", lambda device: torch.no_grad())
    with Counted() as counted:
        for kernel in ("_mean", "_amplify"):
            monkeypatch.setattr(gain_kernel, kernel, Launched(counted.names))
        amplify_(x, b, "v2", parts)
    assert counted.names == ["launch", "launch"]


@pytest.mark.parametrize(("places", "blocks"), [(64, 2), (256, 512)])
def test_compiles_for_a_gpu_that_is_not_there(places: int, blocks: int) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from freeu.gain_kernel import MEAN_TILE, TILE, _amplify, _mean

    tensors = {"x": "*fp16", "mean": "*fp32", "edges": "*fp32", "b": "*fp32", "rounding": "fp32"}
    mean = {"CHANNELS": MEAN_TILE[0], "PLACES": MEAN_TILE[1]}
    for kernel, sizes in ((_mean, mean), (_amplify, {"CHANNELS": TILE[0], "PLACES": places, "BLOCKS": blocks})):
        kinds = tensors | dict.fromkeys(sizes, "constexpr")
        signature = {name: kinds.get(name, "i32") for name in kernel.arg_names}
        source = ASTSource(fn=kernel, signature=signature, constexprs=sizes)
        built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
        assert built.asm["cubin"] and built.metadata.shared <= 16384


@pytest.mark.parametrize("made", ["channels last", "cut", "double", "video"])
def test_leaves_the_rest_to_the_plain_form(made: str) -> None:
    from freeu.gain_kernel import fits

    x = torch.ones(2, 4, 6, 6)
    assert fits(x) and fits(x[:, :2])
    others = {
        "channels last": x.to(memory_format=torch.channels_last),
        "cut": x[..., :5],
        "double": x.double(),
        "video": x[:, :, None],
    }
    assert not fits(others[made])


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("channels", "side"), [(1280, 8), (1280, 32), (640, 64), (320, 128)])
def test_on_a_gpu(dtype: torch.dtype, channels: int, side: int) -> None:
    joined = torch.randn(2, 2 * channels, side, side, device="cuda").to(dtype)
    wanted = joined[:, :channels].cpu().double()
    wanted[:, : channels // 2] *= gain(wanted, 1.5, "v2")
    with torch.no_grad():
        amplify_(joined[:, :channels], torch.full((1,), 1.5, device="cuda"), "v2", [slice(0, channels // 2)])
    error = (joined[:, :channels].cpu().double() - wanted).abs().max()
    assert error <= 4 * torch.finfo(dtype).eps * wanted.abs().max()
