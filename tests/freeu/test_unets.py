"""What holds for every kind of U-Net: FreeU as the literal method has it, and nothing of it left behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import freeu
from freeu import Controls, Factors
from freeu.sites import find_sites
from tests.literal import LiteralFreeU
from tests.unets import KINDS, made, run

STRONG = Factors(1.5, 1.6, 0.9, 0.2)
# Twelve sites of float32 sums in another order: a few hundred roundings of values round 1.
NEAR = dict(atol=2e-5, rtol=0)

pytestmark = pytest.mark.parametrize("kind", KINDS)


def ours(kind: str, factors, **more) -> torch.Tensor:
    with freeu.applied(made(kind), factors):
        return run(made(kind), kind, **more)


def literal(kind: str, factors: Factors, **more) -> torch.Tensor:
    with LiteralFreeU(made(kind), factors):
        return run(made(kind), kind, **more)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("stages", ["width", "block"])
@pytest.mark.parametrize("size", [(16, 16), (24, 16)])
def test_is_the_literal_method(kind: str, version: str, stages: str, size: tuple[int, int]) -> None:
    factors = replace(STRONG, version=version, stages=stages)
    wanted = literal(kind, factors, size=size)
    torch.testing.assert_close(ours(kind, factors, size=size), wanted, **NEAR)
    assert (wanted - run(made(kind), kind, size=size)).abs().max() > 1e-3


def test_is_the_literal_method_on_odd_sizes(kind: str) -> None:
    """13 x 11 halves to maps of 7 x 6, 4 x 3 and 2 x 2; where diffusers can't, 12 x 20 to 6 x 10 and 3 x 5, and at one
    level more 24 x 40.
    """
    size = KINDS[kind].odd
    torch.testing.assert_close(ours(kind, STRONG, size=size), literal(kind, STRONG, size=size), **NEAR)


def test_is_the_literal_method_with_every_control(kind: str) -> None:
    controls = Controls(offset=(0.25, 0.7, 0), width=(0.5, 0.6, 1), high=(1.2, 0.8, 1.1), b3=1.2, s3=0.7)
    factors = replace(STRONG, controls=controls)
    torch.testing.assert_close(ours(kind, factors), literal(kind, factors), **NEAR)
    wider = replace(STRONG, controls=Controls(threshold=2))
    torch.testing.assert_close(ours(kind, wider, size=(32, 32)), literal(kind, wider, size=(32, 32)), **NEAR)


def test_v1_by_block_is_diffusers_enable_freeu(kind: str) -> None:
    if KINDS[kind].ours_alone:
        pytest.skip("diffusers has the baseline for it")
    unet, factors = made(kind), replace(STRONG, version="v1", stages="block")
    unet.enable_freeu(s1=factors.s1, s2=factors.s2, b1=factors.b1, b2=factors.b2)
    try:
        wanted = run(unet, kind)
    finally:
        unet.disable_freeu()
    torch.testing.assert_close(ours(kind, factors), wanted, **NEAR)


def test_factors_of_one_are_bit_identical(kind: str) -> None:
    wanted = run(made(kind), kind)
    assert torch.equal(ours(kind, freeu.IDENTITY), wanted)
    freeu.enable(made(kind), freeu.IDENTITY)  # where the arithmetic stays in place
    try:
        assert torch.equal(run(made(kind), kind), wanted)
    finally:
        freeu.disable(made(kind))


def test_nothing_stays_behind(kind: str) -> None:
    unet, before = made(kind), run(made(kind), kind)
    hooks = [len(module._forward_pre_hooks) for module in unet.modules()]
    assert not torch.equal(ours(kind, STRONG), before)
    with pytest.raises(RuntimeError, match="stop"), freeu.applied(unet, STRONG):
        raise RuntimeError("stop")
    freeu.enable(unet, STRONG)
    freeu.disable(unet)
    assert hooks == [len(module._forward_pre_hooks) for module in unet.modules()]
    assert torch.equal(run(unet, kind), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_float32(kind: str, dtype: torch.dtype) -> None:
    unet = KINDS[kind].make().eval()
    unet.load_state_dict(made(kind).state_dict())
    wanted, plain = ours(kind, STRONG), run(unet, kind)
    unet.to(dtype)
    with freeu.applied(unet, STRONG):
        error = (run(unet, kind, dtype=dtype).float() - wanted).abs().max()
    floor = (run(unet, kind, dtype=dtype).float() - plain).abs().max()
    # The patch may cost no more than the precision itself does.
    assert error <= 3 * floor


def test_each_sample_gets_its_own_factors(kind: str) -> None:
    """As in separate runs of the same batch; three candidates, doubled as under guidance."""
    several = [STRONG, freeu.IDENTITY, Factors(0.8, 1.2, 1.3, 0.0)]
    together = ours(kind, several, batch=6)
    for i, factors in enumerate(several):
        alone = ours(kind, factors, batch=6)
        torch.testing.assert_close(together[i::3], alone[i::3], **NEAR)


def test_levels_are_those_of_the_maps(kind: str) -> None:
    unet, seen = made(kind), []
    sites = find_sites(unet)
    handles = [
        site.resnet.register_forward_pre_hook(
            lambda _, args, kwargs: seen.append(tuple((args[0] if args else kwargs["input_tensor"]).shape[-2:])),
            with_kwargs=True,
        )
        for site in sites
    ]
    run(unet, kind, size=KINDS[kind].odd)
    for handle in handles:
        handle.remove()
    assert seen == [site.size(*KINDS[kind].odd) for site in sites]
