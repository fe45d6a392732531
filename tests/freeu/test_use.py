"""FreeU together with what else people do to a U-Net: compile, export, train, offload, copy, run two at once."""

from __future__ import annotations

import copy
import io
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import freeu
from freeu import Controls, Factors, presets
from tests.literal import LiteralFreeU
from tests.unets import made, run

STRONG, OTHER = Factors(1.5, 1.6, 0.9, 0.2), Factors(0.9, 1.2, 1.0, 0.7)
NEAR = dict(atol=2e-5, rtol=0)


def ours(unet: nn.Module, factors, **more) -> torch.Tensor:
    with freeu.applied(unet, factors):
        return run(unet, "sdxl", **more)


@pytest.fixture
def unet():
    """A copy, so that what a test does to it stays with it."""
    return copy.deepcopy(made("sdxl"))


SMALL = "unconditional"  # compiling takes its time


def ours_small(unet: nn.Module, factors) -> torch.Tensor:
    with freeu.applied(unet, factors):
        return run(unet, SMALL)


@pytest.mark.filterwarnings("error:Dynamo detected")
def test_compiles_without_a_break_and_only_once() -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    unet = copy.deepcopy(made(SMALL))
    wanted = {factors: ours_small(unet, factors) for factors in (STRONG, OTHER, freeu.IDENTITY)}
    counter = CompileCounterWithBackend("aot_eager")
    freeu.enable(unet, freeu.IDENTITY)
    compiled = torch.compile(unet, fullgraph=True, backend=counter)
    for factors in (freeu.IDENTITY, STRONG):
        freeu.enable(compiled, factors)
        torch.testing.assert_close(run(compiled, SMALL), wanted[factors], **NEAR)
    torch.testing.assert_close(ours_small(compiled, OTHER), wanted[OTHER], **NEAR)
    torch.testing.assert_close(run(compiled, SMALL), wanted[STRONG], **NEAR)
    assert counter.frame_count == 1
    freeu.disable(compiled)
    torch.testing.assert_close(run(compiled, SMALL), wanted[freeu.IDENTITY], **NEAR)


def test_a_unet_compiled_before_is_compiled_again() -> None:
    """dynamo doesn't notice that hooks have come; without a reset FreeU would be off."""
    unet = copy.deepcopy(made(SMALL))
    wanted, plain = ours_small(unet, STRONG), run(unet, SMALL)
    compiled = torch.compile(unet, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(run(compiled, SMALL), plain, **NEAR)
    torch.testing.assert_close(ours_small(compiled, STRONG), wanted, **NEAR)
    torch.testing.assert_close(run(compiled, SMALL), plain, **NEAR)


def test_exports_to_onnx() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    unet = made("unconditional")
    sample, time = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor(500.0)

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unet = unet

        def forward(self, sample: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            return self.unet(sample, time, return_dict=False)[0]

    file = io.BytesIO()
    with freeu.applied(unet, STRONG), torch.no_grad():
        wanted = Plain()(sample, time)
        torch.onnx.export(Plain().eval(), (sample, time), dynamo=True, verbose=False).save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    names = [each.name for each in session.get_inputs()]
    (found,) = session.run(None, dict(zip(names, [sample.numpy(), time.numpy()], strict=True)))
    with torch.no_grad():
        assert (wanted - Plain()(sample, time)).abs().max() > 1e-2
    np.testing.assert_allclose(found, wanted.numpy(), atol=2e-5)


def test_sums_stay_in_float32_under_autocast() -> None:
    skip = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0)) + 8
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = freeu.skip_filter(skip, 0.2)
    torch.testing.assert_close(found, freeu.skip_filter(skip, 0.2))


def test_autocast_costs_no_more_than_its_precision(unet) -> None:
    wanted, plain = ours(unet, STRONG), run(unet, "sdxl")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        error, floor = (ours(unet, STRONG) - wanted).abs().max(), (run(unet, "sdxl") - plain).abs().max()
    assert error <= 3 * floor


def test_channels_last(unet) -> None:
    wanted = ours(unet, STRONG)
    torch.testing.assert_close(ours(unet.to(memory_format=torch.channels_last), STRONG), wanted, **NEAR)


def test_sliced_attention(unet) -> None:
    wanted = ours(unet, STRONG)
    unet.set_attention_slice("max")
    torch.testing.assert_close(ours(unet, STRONG), wanted, **NEAR)


def test_offloaded_weights(unet) -> None:
    accelerate = pytest.importorskip("accelerate")
    wanted = ours(unet, STRONG)
    accelerate.cpu_offload(unet, execution_device=torch.device("cpu"))
    assert next(unet.parameters()).is_meta
    torch.testing.assert_close(ours(unet, STRONG), wanted, **NEAR)


def gradients(unet: nn.Module) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(2)
    sample, words = torch.randn(1, 4, 16, 16, generator=random), torch.randn(1, 7, 16, generator=random)
    unet.zero_grad()
    with freeu.applied(unet, STRONG):
        unet(sample, 10, words).sample.square().sum().backward()
    return {name: weight.grad.clone() for name, weight in unet.named_parameters() if weight.grad is not None}


def test_gradients_are_those_of_the_forward(unet) -> None:
    """Along a random direction of the weights, the slope is that of a central difference, in float64."""
    unet.double()
    random = torch.Generator().manual_seed(3)
    sample = torch.randn(1, 4, 16, 16, generator=random, dtype=torch.float64)
    words = torch.randn(1, 7, 16, generator=random, dtype=torch.float64)
    weight = unet.up_blocks[0].resnets[0].conv1.weight
    direction = torch.randn(weight.shape, generator=random, dtype=torch.float64)
    direction /= direction.norm()

    def value(step: float) -> torch.Tensor:
        with torch.no_grad():
            weight.add_(direction, alpha=step)
            found = unet(sample, 10, words).sample.square().sum()
            weight.add_(direction, alpha=-step)
        return found

    with freeu.applied(unet, STRONG):
        unet(sample, 10, words).sample.square().sum().backward()
        slope = (value(1e-5) - value(-1e-5)) / 2e-5
    torch.testing.assert_close((weight.grad * direction).sum(), slope, rtol=1e-6, atol=0)


def test_gradient_checkpointing(unet) -> None:
    """The second forward of a checkpoint must find what the first one found."""
    wanted = gradients(unet)
    unet.train()
    unet.enable_gradient_checkpointing()
    found = gradients(unet)
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-3, atol=1e-3)


def test_two_pipelines_at_once() -> None:
    pairs = [(copy.deepcopy(made("sdxl")), factors) for factors in (STRONG, OTHER)]
    wanted = [ours(unet, factors) for unet, factors in pairs]
    found: list[list[bool]] = [[], []]

    def work(i: int) -> None:
        for _ in range(5):
            found[i].append(torch.equal(ours(*pairs[i]), wanted[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[True] * 5] * 2


def test_a_copy_has_its_own_switch(unet) -> None:
    plain, wanted = run(unet, "sdxl"), ours(unet, STRONG)
    freeu.enable(unet, STRONG)
    twin = copy.deepcopy(unet)
    freeu.enable(unet, OTHER)
    assert torch.equal(run(twin, "sdxl"), wanted)
    freeu.disable(twin)
    assert torch.equal(run(twin, "sdxl"), plain)
    assert torch.equal(run(unet, "sdxl"), ours(made("sdxl"), OTHER))


def test_enabled_for_a_pipeline_by_a_preset_file(unet, tmp_path: Path) -> None:
    presets.write(presets.Preset(STRONG, model="sdxl"), tmp_path / "best.yaml", "yaml")
    wanted, plain = ours(unet, STRONG), run(unet, "sdxl")
    pipeline = SimpleNamespace(unet=unet, scheduler=None)
    freeu.enable(pipeline, tmp_path / "best.yaml")
    assert torch.equal(run(unet, "sdxl"), wanted)
    assert torch.equal(ours(unet, freeu.IDENTITY), plain)
    assert torch.equal(run(unet, "sdxl"), wanted)
    freeu.disable(pipeline)
    freeu.disable(pipeline)
    assert torch.equal(run(unet, "sdxl"), plain)
    assert torch.equal(ours(unet, str(tmp_path / "best.yaml")), wanted)


def test_enabled_values_are_those_of_applied(unet) -> None:
    """Also where a factor is 1, whose arithmetic enabling keeps in place."""
    part = Factors(1.3, 1.0, 1.0, 0.4)
    freeu.enable(unet, part)
    assert torch.equal(run(unet, "sdxl"), ours(made("sdxl"), part))


@pytest.mark.parametrize("kind", ["sd15", "modelscope", "stable video diffusion"])
def test_a_schedule_runs_over_a_real_scheduler(kind: str) -> None:
    from diffusers import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler(use_karras_sigmas=True)
    scheduler.set_timesteps(10)
    times = scheduler.timesteps.tolist()
    unet, late = made(kind), Factors(1.5, 1.6, 0.9, 0.2, controls=Controls(start=0.3, stop=0.7))
    for i, time in enumerate(times):
        with freeu.applied(unet, late, scheduler):
            found = run(unet, kind, time=time)
        with freeu.applied(unet, STRONG if 3 <= i < 7 else freeu.IDENTITY):
            wanted = run(unet, kind, time=time)
        torch.testing.assert_close(found, wanted, **NEAR)


def test_a_schedule_needs_a_scheduler_where_timesteps_say_nothing() -> None:
    late = Factors(1.5, 1.6, 0.9, 0.2, controls=Controls(start=0.3))
    unet = made("stable video diffusion")
    with pytest.raises(freeu.FactorsError, match="give the pipeline's scheduler"), freeu.applied(unet, late):
        pass
    assert not any(module._forward_pre_hooks for module in unet.modules())


def test_with_a_controlnet() -> None:
    """Its residuals are part of the skips, which FreeU then filters, as the literal method does."""
    unet, random = made("sd15"), torch.Generator().manual_seed(4)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    sample, words, found = draw(2, 4, 16, 16), draw(2, 7, 16), {}
    shapes = [(8, 16)] * 3 + [(8, 8)] + [(16, 8)] * 2 + [(16, 4)] + [(32, 4)] * 2 + [(32, 2)] * 3
    control = dict(
        down_block_additional_residuals=[draw(2, channels, side, side) for channels, side in shapes],
        mid_block_additional_residual=draw(2, 32, 2, 2),
    )
    for name, context in (("ours", freeu.applied(unet, STRONG)), ("literal", LiteralFreeU(unet, STRONG))):
        with context, torch.inference_mode():
            found[name] = unet(sample, 500, words, **control).sample
    with torch.inference_mode():
        assert not torch.equal(found["ours"], unet(sample, 500, words, **control).sample)
    torch.testing.assert_close(found["ours"], found["literal"], **NEAR)


def test_bad_batches_are_refused_before_any_forward(unet) -> None:
    ran = []
    unet.conv_in.register_forward_hook(lambda *_: ran.append(1))
    with pytest.raises(freeu.FactorsError, match="3 factors for a batch of 4: their number has to divide it"):
        ours(unet, [STRONG, OTHER, STRONG], batch=4)
    wide = Factors(1, 1, 0.5, 0.5, controls=Controls(threshold=3))
    with pytest.raises(freeu.FactorsError, match="threshold is 3 for a map of 4 x 4"):
        ours(unet, wide)
    assert ran == []


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ([], "no factors given"),
        ([STRONG, Factors(1, 1, 1, 1, version="v1")], "factors of one batch differ in more than their numbers"),
        ((1.3, 1.4, 0.9, 0.2), "factors are 1.3: expected freeu.Factors"),
        ({"b1": 1.3}, r"factors are \{'b1': 1.3\}: expected freeu.Factors"),
        ("missing.yaml", "missing.yaml"),
    ],
)
def test_bad_factors_are_refused(unet, chosen, says: str) -> None:
    from configs import UserError

    with pytest.raises(UserError, match=says), freeu.applied(unet, chosen):
        pass
