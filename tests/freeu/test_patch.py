"""FreeU on whole U-Nets against the literal reference; and that nothing of it stays behind."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler

import freeu
from configs import UserError
from freeu import concat, hooks
from freeu.backbone import gain
from freeu.factors import Factors
from freeu.sites import Site, find_sites
from tests.literal import LiteralFreeU, scaled_backbone
from tests.unets import made, run

STRONG = Factors(1.5, 1.6, 0.9, 0.2)


@pytest.fixture(scope="module")
def unet():
    return made("sd15")


def forward(unet, **more) -> torch.Tensor:
    return run(unet, "sd15", **more)


def literal(unet, factors: Factors, **more) -> torch.Tensor:
    with LiteralFreeU(unet, factors):
        return forward(unet, **more)


def ours(unet, factors, **more) -> torch.Tensor:
    with freeu.applied(unet, factors):
        return forward(unet, **more)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("stages", ["width", "block"])
def test_at_the_true_size_of_sd15(version: str, stages: str) -> None:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(320, 640, 1280, 1280),
        layers_per_block=2,
        cross_attention_dim=16,
        attention_head_dim=8,
    ).eval()
    assert len(find_sites(unet)) == 12
    factors = replace(STRONG, version=version, stages=stages)
    torch.testing.assert_close(ours(unet, factors), literal(unet, factors), atol=2e-5, rtol=0)


def test_the_conventions_differ_where_the_facts_say() -> None:
    """By width and by block: 7 of 12 concatenations of SD 1.x differ, 2 of 9 of SDXL; the third stage is ours."""
    for family, sites, differ in (("sd15", 12, 7), ("sdxl", 9, 2)):
        found = [tuple(site.stage(by) for by in ("width", "block")) for site in find_sites(made(family))]
        assert len(found) == sites
        papers = [tuple(None if stage == 3 else stage for stage in pair) for pair in found]
        assert sum(width != block for width, block in papers) == differ


def test_nothing_stays_behind(unet) -> None:
    before, weights = forward(unet), {name: value.clone() for name, value in unet.state_dict().items()}
    hooks = [len(module._forward_pre_hooks) for module in unet.modules()]
    changed = ours(unet, STRONG)
    assert not torch.equal(changed, before)
    with pytest.raises(RuntimeError, match="stop"), freeu.applied(unet, STRONG):
        raise RuntimeError("stop")
    assert torch.equal(forward(unet), before)
    assert hooks == [len(module._forward_pre_hooks) for module in unet.modules()]
    assert all(torch.equal(weights[name], value) for name, value in unet.state_dict().items())


def test_the_innermost_block_counts(unet) -> None:
    outer, inner = Factors(1.2, 1.3, 0.8, 0.7, version="v1"), STRONG
    with freeu.applied(unet, outer):
        first = forward(unet)
        with freeu.applied(unet, inner):
            second = forward(unet)
            with freeu.applied(unet, freeu.IDENTITY):
                third = forward(unet)
        assert torch.equal(forward(unet), first)
    assert torch.equal(first, ours(unet, outer))
    assert torch.equal(second, ours(unet, inner))
    assert torch.equal(third, forward(unet))


def test_gradients_flow_and_agree_with_the_plain_order(unet) -> None:
    x = torch.randn(1, 4, 16, 16, requires_grad=True)
    words = torch.randn(1, 7, 16)
    with freeu.applied(unet, STRONG):
        unet(x, 10, words).sample.sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [(4, 4), (9, 11), (31, 33)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_constant_map_has_a_gain_of_one(dtype: torch.dtype, size: tuple[int, int], layout) -> None:
    """Each channel its own constant: the positions' means then differ by rounding, which must not be amplified."""
    colours = torch.randn(2, 640, 1, 1, generator=torch.Generator().manual_seed(0)) + 8
    hidden = colours.to(dtype).expand(2, 640, *size).contiguous(memory_format=layout)
    found, _ = freeu.modulate(hidden, hidden, 1.5, 1.0)
    assert torch.equal(found, hidden)


def test_only_the_constant_sample_of_a_batch_has_a_gain_of_one() -> None:
    hidden = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    hidden[1] = 0
    found, _ = freeu.modulate(hidden, hidden, 1.5, 1.0)
    assert torch.equal(found[1], hidden[1])
    torch.testing.assert_close(found[:1], scaled_backbone(hidden[:1], 1.5, "v2"))


def test_a_small_variation_on_a_large_mean_still_counts() -> None:
    hidden = torch.full((1, 4, 2, 2), 100.0)
    hidden[..., 1, 1] += 0.01
    found, _ = freeu.modulate(hidden, hidden, 1.5, 1.0)
    torch.testing.assert_close(found[0, 0, 1, 1], torch.tensor(100.01 * 1.5))
    assert torch.equal(found[0, 0, 0], hidden[0, 0, 0])


def test_modulate_by_hand() -> None:
    # Two channels; their mean runs 0, 1, 2, 3, so m is 0, 1/3, 2/3, 1 and b = 1.6 gives 1, 1.2, 1.4, 1.6.
    hidden = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]], [[0.0, 1.0], [2.0, 3.0]]]])
    found, skip = freeu.modulate(hidden, torch.ones(1, 1, 2, 2), 1.6, 0.5)
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.0, 1.2], [2.8, 4.8]]))
    assert torch.equal(found[0, 1], hidden[0, 1])
    torch.testing.assert_close(skip, torch.full((1, 1, 2, 2), 0.5))


def test_diffusers_own_freeu_in_use_is_refused(unet) -> None:
    unet.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    try:
        with pytest.raises(UserError, match="disable_freeu"), freeu.applied(unet, STRONG):
            pass
    finally:
        unet.disable_freeu()


def test_a_model_without_concatenations_is_refused() -> None:
    with (
        pytest.raises(UserError, match=r"Linear has no skip concatenations.*looked for"),
        freeu.applied(torch.nn.Linear(1, 1), STRONG),
    ):
        pass


@pytest.mark.parametrize("use", [freeu.enable, lambda target, factors: freeu.applied(target, factors).__enter__()])
@pytest.mark.parametrize(
    ("target", "says"),
    [
        (
            SimpleNamespace(transformer=torch.nn.Linear(1, 1)),
            "SimpleNamespace has a transformer and no U-Net: it has no",
        ),
        (torch.nn.TransformerEncoder, "has no U-Net for FreeU to act on: give a pipeline that has one, or the U-Net"),
        (SimpleNamespace(unet=None), "has no U-Net for FreeU to act on"),
        (None, "NoneType has no U-Net"),
    ],
)
def test_what_has_no_unet_is_told(use, target, says: str) -> None:
    """A pipeline of Flux or SD 3 has a transformer."""
    with pytest.raises(UserError, match=says):
        use(target, STRONG)
    with pytest.raises(UserError, match=says):
        freeu.disable(target)


def test_a_pipeline_does_for_a_block_too(unet) -> None:
    """It gives its U-Net, and its scheduler where the controls have a schedule."""
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(4)
    pipe = SimpleNamespace(unet=unet, scheduler=scheduler)
    scheduled = replace(STRONG, controls=freeu.Controls(stop=0.5))
    for factors in (STRONG, scheduled):
        with freeu.applied(unet, factors, scheduler):
            wanted = forward(unet)
        with freeu.applied(pipe, factors) as given:
            assert given is pipe
            assert torch.equal(forward(unet), wanted)


def test_a_controlnet_parts_what_is_one_tensor_without_a_mid_block() -> None:
    """diffusers adds to the skip then, which is no longer the tensor that it amplifies in place."""
    unet, factors = made("without a mid block"), replace(STRONG, version="v1", stages="block")
    random = torch.Generator().manual_seed(1)
    sample, words = torch.randn(1, 4, 16, 16, generator=random), torch.randn(1, 7, 16, generator=random)
    shapes: list[torch.Size] = []
    hooks = [
        site.resnet.register_forward_pre_hook(lambda _, args, width=site.width: shapes.append(args[0][:, width:].shape))
        for site in find_sites(unet)
    ]
    with torch.inference_mode():
        unet(sample, 10, words)
    for hook in hooks:
        hook.remove()
    added = {
        "down_block_additional_residuals": [torch.randn(shape, generator=random) for shape in reversed(shapes)],
        "mid_block_additional_residual": torch.randn(shapes[0], generator=random),
    }
    with torch.inference_mode():
        with freeu.applied(unet, factors):
            found = unet(sample, 10, words, **added).sample
        unet.enable_freeu(s1=factors.s1, s2=factors.s2, b1=factors.b1, b2=factors.b2)
        wanted = unet(sample, 10, words, **added).sample
        unet.disable_freeu()
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=0)


def low_frequencies(x: torch.Tensor, threshold: int) -> torch.Tensor:
    return x - freeu.skip_filter(x, 0.0, threshold)


PLANTED = {
    "none": (None, lambda joined, width, b, s, v: None),
    "the wrong half of the channels": (
        "hidden",
        lambda joined, width, b, s, v: joined[:, width // 2 : width].mul_(gain(joined[:, :width], b, v)),
    ),
    "no min-max": (
        "hidden",
        lambda joined, width, b, s, v: joined[:, : width // 2].mul_(
            (b - 1) * joined[:, :width].mean(1, keepdim=True) + 1
        ),
    ),
    "the wrong sign": (
        "skip",
        lambda joined, width, b, s, v: joined[:, width:].sub_(low_frequencies(joined[:, width:], 1) * (s - 1)),
    ),
    "a symmetric box": (
        "skip",
        lambda joined, width, b, s, v: joined[:, width:].add_(
            (low_frequencies(joined[:, width:], 1) + low_frequencies(joined[:, width:].flip(-1), 1).flip(-1))
            / 2
            * (s - 1)
        ),
    ),
}


@pytest.mark.parametrize("error", PLANTED)
def test_planted_errors_are_caught(error: str, unet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above fails for each of them, and passes through the same detour without an error."""
    part, spoil = PLANTED[error]

    def broken(joined, channels, b, s, version, **more):
        spoil(joined, channels, b, s, version)
        left = (1.0 if part == "hidden" else b, 1.0 if part == "skip" else s)
        concat.modulate_(joined, channels, *left, version, **more)

    monkeypatch.setattr(hooks, "modulate_", broken)
    difference = (ours(unet, STRONG) - literal(unet, STRONG)).abs().max()
    assert difference <= 2e-5 if error == "none" else difference > 1e-3


def test_swapped_stages_are_caught(unet, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Site.stage
    monkeypatch.setattr(Site, "stage", lambda self, stages: {1: 2, 2: 1}.get(right(self, stages)))
    assert (ours(unet, STRONG) - literal(unet, STRONG)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("use", "absent"),
    [
        ("freeu.Factors(1, 1, 1, 1)", {"torch", "numpy", "diffusers"}),
        ("freeu.applied, freeu.modulate, freeu.skip_filter", {"diffusers", "transformers", "torchvision"}),
    ],
)
def test_importing_freeu_loads_nothing_heavy(use: str, absent: set[str]) -> None:
    code = f"import sys, freeu; {use}; print(sorted({absent} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
