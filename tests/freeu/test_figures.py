"""What the hooks record: the right features, of the right prompts, and nothing changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import freeu
import freeu.sites
from configs import UserError
from freeu.figures import LEAST, SHOWN, recorded
from freeu.spectra import spectrum
from tests import unets
from tests.kinds import KINDS, generator

FACTORS = freeu.Factors(1.4, 1.6, 0.9, 0.2)


@pytest.mark.parametrize(("kind", "factors"), [*((kind, FACTORS) for kind in unets.KINDS), ("sd15", freeu.IDENTITY)])
def test_the_model_is_the_same_to_the_bit(kind: str, factors: freeu.Factors) -> None:
    unet, frames = unets.made(kind), unets.KINDS[kind].frames
    state = {name: each.clone() for name, each in unet.state_dict().items()}
    with freeu.applied(unet, factors):
        before = unets.run(unet, kind)
    with recorded(unet, [500], copies=2, frames=frames) as recording, freeu.applied(unet, factors):
        during = unets.run(unet, kind)
    with freeu.applied(unet, factors):
        after = unets.run(unet, kind)
    assert torch.equal(before, during) and torch.equal(before, after)
    assert all(torch.equal(each, state[name]) for name, each in unet.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in unet.modules())
    assert len(recording.names) == len(recording.sites) > 1
    for kind_, shares in recording.shares.items():
        assert shares.shape == (1, 1, len(recording.names))
        assert np.isfinite(shares).all() and (shares >= 0).all() and (shares <= 1).all(), kind_


def test_features_are_those_that_are_joined_before_freeu_acts() -> None:
    """Caught by hand at one site, for each of two prompts under guidance, and looked at by the definition."""
    unet = unets.made("sd15")
    site = freeu.sites.find_sites(unet)[4]
    caught: list[torch.Tensor] = []
    given: list[torch.Tensor] = []
    hooks = [
        site.resnet.register_forward_pre_hook(lambda _, args: caught.append(args[0].clone())),
        site.resnet.register_forward_hook(lambda _, args, output: given.append(output.clone())),
    ]
    with recorded(unet, [500, 500], copies=2) as recording, freeu.applied(unet, FACTORS):
        for _ in range(2):
            unets.run(unet, "sd15", batch=4)
    for hook in hooks:
        hook.remove()
    name = next(name for name, module in unet.named_modules() if module is site.resnet)
    place = recording.names.index(name)
    assert recording.sizes[place] == tuple(caught[0].shape[-2:])
    for step in range(2):
        joined = caught[step][2:]  # the words' half
        backbone, skip = joined[:, : site.width], joined[:, site.width :]
        for kind, features in (("backbone", backbone), ("skip", skip), ("fused", given[step][2:])):
            amplitude, share = spectrum(features)
            np.testing.assert_allclose(recording.spectra[kind][place][:, step], amplitude, rtol=1e-6)
            np.testing.assert_allclose(recording.shares[kind][:, step, place], share, rtol=1e-6)
        maps = recording.maps["backbone"][place][:, step]
        np.testing.assert_allclose(maps, backbone.mean(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(recording.features[place], given[1][2])


def test_changes_are_of_the_latents_parts() -> None:
    """A latent that keeps its low frequencies and doubles its high ones."""
    unet = unets.made("unconditional")
    x, y = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    low = torch.cos(2 * torch.pi * 2 * x / 16).expand(1, 3, 16, 16)
    high = torch.cos(2 * torch.pi * 6 * y / 16).expand(1, 3, 16, 16)
    with torch.inference_mode(), recorded(unet, [9, 5, 1]) as recording:
        for t, factor in zip((9, 5, 1), (1, 2, 3), strict=True):
            unet(low + factor * high, t)
    assert recording.changes[0, :, 0] == pytest.approx([0, 0], abs=1e-5)
    assert recording.changes[0, :, 1] == pytest.approx([1, 0.5], rel=1e-4)
    assert recording.latent_shares[0] == pytest.approx([1 / 2, 4 / 5, 9 / 10], rel=1e-4)
    assert recording.shown == (0, 1, 2) and recording.latents.shape == (3, 3, 16, 16)


def test_a_batch_that_began_anew_counts_once() -> None:
    """As where a batch didn't fit the memory, and was tried again at half its size."""
    unet = unets.made("unconditional")
    noise = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), recorded(unet, [9, 5, 1]) as recording:
        for t in (9, 5):
            unet(noise, t)
        for half in noise.split(2):
            for t in (9, 5, 1):
                unet(half, t)
    assert recording.latent_spectra.shape[:2] == (4, 3)
    expected, _ = spectrum(noise)
    np.testing.assert_allclose(recording.latent_spectra[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["sd", "sdxl with refiner", "modelscope", "animatediff", "rerender", "svd"])
def test_every_kind_of_pipeline(kind: str, tmp_path: Path) -> None:
    made = generator(KINDS[kind](tmp_path), batch_size=2)
    prompts, seeds = ["a ball", "a red ball", "a cat"], [1, 2, 3]
    made.prepare(prompts)
    plain = made.generate(prompts, seeds, FACTORS)
    frames = made.frames
    with recorded(made.unet, made.timesteps, copies=made.copies, frames=frames) as recording:
        images = made.generate(prompts, seeds, FACTORS)
    assert torch.equal(plain, images)
    steps = len(made.timesteps)
    assert recording.latent_spectra.shape[:2] == (3, steps)
    assert recording.changes.shape == (3, steps - 1, 2)
    assert all(min(size) >= LEAST for size in recording.sizes)
    assert recording.latents.shape[:2] == (min(SHOWN, steps), 4)
    for name, site in zip(recording.names, recording.sites, strict=True):
        place = recording.names.index(name)
        assert recording.spectra["skip"][place].shape[:2] == (3, steps)
        assert recording.features[place].ndim == 3
        assert recording.features[place].shape[0] == _given(site)
    # Prompts are told apart: under noise of their own none is like another.
    first = recording.latent_spectra[:, 0]
    assert len(np.unique(first[:, 1])) == 3


def test_a_unet_without_skips_is_refused() -> None:
    with pytest.raises(UserError, match="no skip concatenations"), recorded(nn.Linear(2, 2), [1]):
        pass


def test_maps_too_small_to_have_high_frequencies_are_refused() -> None:
    unet = unets.made("sd15")
    with pytest.raises(UserError, match="take a larger resolution"), recorded(unet, [1], copies=2):
        unets.run(unet, "sd15", size=(3, 3))


def test_an_error_inside_leaves_no_hooks() -> None:
    unet = unets.made("unconditional")
    with pytest.raises(RuntimeError, match="mine"), recorded(unet, [1]):
        raise RuntimeError("mine")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in unet.modules())


def _given(site: freeu.sites.Site) -> int:
    """Channels that a site's resnet gives."""
    inner = getattr(site.resnet, "spatial_res_block", site.resnet)
    return int(inner.out_channels)  # type: ignore[arg-type]
