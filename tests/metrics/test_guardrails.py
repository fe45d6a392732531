"""Guardrails: known values, and the right way on images spoilt on purpose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from freeu.shapes.draw import draw
from freeu.shapes.scene import sample
from metrics import guardrails
from metrics.base import Batch
from metrics.guardrails import GUARDRAILS, Guardrail
from metrics.pixels import Pixels, ring_means, rings


def of(measure: Callable[[Pixels], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Of images in 0..1."""
    return measure(Pixels(images))


def flat(red: float, green: float, blue: float) -> torch.Tensor:
    return torch.tensor([red, green, blue], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 8, 8)


@pytest.mark.parametrize(("colour", "chroma"), [
    # CIELAB of the sRGB primaries, D65: a, b as in tables (Lindbloom's calculator)
    ((1, 0, 0), np.hypot(80.0925, 67.2032)),
    ((0, 1, 0), np.hypot(-86.1827, 83.1793)),
    ((0, 0, 1), np.hypot(79.1875, -107.8602)),
    ((0.5, 0.5, 0.5), 0.0),
    ((0, 0, 0), 0.0),
])  # fmt: skip
def test_chroma_of_known_colours(colour: tuple[float, float, float], chroma: float) -> None:
    assert float(of(guardrails.saturation, flat(*colour))) == pytest.approx(chroma, abs=0.05)
    assert float(of(guardrails.saturation_peak, flat(*colour))) == pytest.approx(chroma, abs=0.05)


def test_closed_forms() -> None:
    half = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    half[..., 4:] = 1  # half black, half white
    assert float(of(guardrails.luma, half)) == pytest.approx(0.5)
    assert float(of(guardrails.contrast, half)) == pytest.approx(0.5)
    assert float(of(guardrails.clipping, half)) == 1
    assert float(of(guardrails.colourfulness, half)) == 0
    # Hasler and Süsstrunk of a flat red: no spread, mean opponents 255 and 127.5
    assert float(of(guardrails.colourfulness, flat(1, 0, 0))) == pytest.approx(0.3 * np.hypot(255, 127.5))
    assert float(of(guardrails.clipping, flat(0.5, 0.2, 1))) == pytest.approx(1 / 3)
    # The Laplacian of a checkerboard of 0 and 1 is 4 and -4
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    assert float(of(guardrails.sharpness, board.double().expand(1, 3, 8, 8))) == pytest.approx(16)


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (33, 65)])
def test_grey_has_no_colour_to_the_last_bit(size: tuple[int, int]) -> None:
    """Else rounding errors were all that differs between grey images, and a guardrail would measure them."""
    grey = torch.randint(0, 256, (4, 1, *size), generator=torch.Generator().manual_seed(0)).double() / 255
    for name in ("saturation", "saturation_peak", "colourfulness"):
        assert (of(GUARDRAILS[name], grey.expand(-1, 3, -1, -1)) == 0).all()
    nearly = grey.expand(-1, 3, -1, -1).clone()
    nearly[:, 0, 0, 0] = (nearly[:, 0, 0, 0] * 255 - 1).abs() / 255  # one level in one pixel counts
    assert (Pixels(nearly).chroma[:, 0, 0] > 0.1).all()


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (33, 65)])
def test_one_colour_has_no_contrast_nor_detail_to_the_last_bit(size: tuple[int, int]) -> None:
    colours = torch.randint(0, 256, (16, 3, 1, 1), generator=torch.Generator().manual_seed(0)).double() / 255
    for name in ("contrast", "high_band", "sharpness"):
        assert (of(GUARDRAILS[name], colours.expand(-1, -1, *size)) == 0).all()
    assert len(of(guardrails.spectral_slope, colours.expand(-1, -1, *size)).unique()) == 1


@pytest.mark.parametrize("slope", [0.0, -1.0, -2.0, -3.0])
def test_the_slope_of_noise_made_with_one(slope: float) -> None:
    side = 256
    y, x = (torch.fft.fftfreq(side, dtype=torch.float64) for _ in range(2))
    radius = (y[:, None] ** 2 + x**2).sqrt()
    radius[0, 0] = 1
    white = torch.randn(4, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plane = torch.fft.ifft2(torch.fft.fft2(white) * radius ** (slope / 2)).real
    plane = 0.5 + 0.1 * plane / plane.std()
    found = of(guardrails.spectral_slope, plane[:, None].expand(-1, 3, -1, -1))
    assert (found - slope).abs().max() < 0.2  # the window smears a little
    if slope == 0:  # white noise: the area outside of the circle of a quarter, 1 - π/16
        share = of(guardrails.high_band, plane[:, None].expand(-1, 3, -1, -1))
        assert share.mean().item() == pytest.approx(1 - np.pi / 16, abs=0.01)


@pytest.fixture(scope="module")
def scenes() -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.stack([draw(sample(rng, False)).transpose(2, 0, 1) for _ in range(16)]))


SPOILT = {
    "saturated": (lambda x: functional.adjust_saturation(x, 1.8), {
        "colourfulness": 1, "saturation": 1, "saturation_peak": 1, "clipping": 1}),
    "grey": (lambda x: functional.adjust_saturation(x, 0.3), {
        "colourfulness": -1, "saturation": -1, "saturation_peak": -1}),
    "blurred": (lambda x: functional.gaussian_blur(x, 7, 1.5), {
        "sharpness": -1, "high_band": -1, "spectral_slope": -1, "contrast": -1}),
    "sharpened": (lambda x: functional.adjust_sharpness(x, 5), {"sharpness": 1, "high_band": 1}),
    "noised": (lambda x: (x.float() + 20 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))
               .clamp(0, 255).byte(), {"sharpness": 1, "high_band": 1, "spectral_slope": 1}),
    "brighter": (lambda x: functional.adjust_brightness(x, 1.4), {"luma": 1, "clipping": 1}),
    "flatter": (lambda x: functional.adjust_contrast(x, 0.5), {"contrast": -1, "sharpness": -1, "saturation": -1}),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILT)
def test_spoilt_images_move_the_right_way(scenes: torch.Tensor, how: str) -> None:
    spoil, moves = SPOILT[how]
    prompts = ("a scene",) * len(scenes)
    for name, way in moves.items():
        before, after = (Guardrail(name).score(Batch(each, prompts)).per_image for each in (scenes, spoil(scenes)))
        assert way * (after - before).mean() > 0, name
        assert (way * (after - before) >= -1e-9).mean() > 0.9, name


def test_a_flat_image_has_numbers() -> None:
    images = torch.full((2, 3, 16, 16), 90, dtype=torch.uint8)
    for name in GUARDRAILS:
        assert np.isfinite(Guardrail(name).score(Batch(images, ("a", "b"))).per_image).all()


def test_sizes_that_are_odd_or_oblong() -> None:
    images = torch.randint(0, 256, (2, 3, 17, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for name in GUARDRAILS:
        assert np.isfinite(Guardrail(name).score(Batch(images, ("a", "b"))).per_image).all()


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    """Noise with a photograph's spectrum, in colours from nearly grey to clipped: uint8 (6, 3, 200, 264)."""
    made = torch.Generator().manual_seed(0)
    y, x = torch.fft.fftfreq(200), torch.fft.rfftfreq(264)
    amplitude = 1 / (y[:, None] ** 2 + x**2).sqrt().clamp(min=1 / 264)
    white = torch.randn(6, 3, 200, 264, generator=made)
    found = torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, s=(200, 264))
    found = found / found.std((-2, -1), keepdim=True)
    grey = found.mean(1, keepdim=True)
    colour = torch.tensor([0.02, 0.1, 0.3, 0.5, 1.0, 2.0]).view(-1, 1, 1, 1)
    return ((0.5 + 0.2 * (grey + colour * (found - grey))).clamp(0, 1) * 255).round().to(torch.uint8)


@pytest.mark.parametrize("name", GUARDRAILS)
def test_single_precision_is_enough(photographs: torch.Tensor, name: str) -> None:
    """A part in a million, alone or beside the others, whatever the part that is measured at a time."""
    exact = of(GUARDRAILS[name], photographs.double() / 255).numpy()
    batch = Batch(photographs, ("",) * 6)
    alone, together = (Guardrail(name, beside=each).score(batch).per_image for each in ((), tuple(GUARDRAILS)))
    # A single pixel's chroma is a difference times 500, of values near 1 with an error of 6e-8 each: no mean evens it.
    near = 2e-5 if name == "saturation_peak" else 1e-6
    np.testing.assert_allclose(alone, exact, rtol=near)
    np.testing.assert_allclose(together, exact, rtol=near)


def test_the_half_plane_counts_as_the_whole(photographs: torch.Tensor) -> None:
    """The rings' means are those of all frequencies; also where a side is odd."""
    for plane in (photographs, photographs[..., :199, :263]):
        pixels = Pixels(plane.double() / 255)
        height, width = plane.shape[-2:]
        found = rings(height, width, torch.device("cpu"), torch.float64)
        assert float(found.weights.sum()) == height * width - 1
        y, x = torch.fft.fftfreq(height).double(), torch.fft.fftfreq(width).double()
        radius = (y[:, None] ** 2 + x**2).sqrt()
        window = torch.outer(*(torch.hann_window(side, dtype=torch.float64) for side in (height, width)))
        luma = pixels.variation
        power = torch.fft.fft2((luma - luma.mean((1, 2), keepdim=True)) * window).abs().square() / (height * width)
        share = (power * (radius > 0.25)).sum((1, 2)) / (power * (radius > 0)).sum((1, 2))
        np.testing.assert_allclose(of(guardrails.high_band, pixels.images).numpy(), share.numpy(), rtol=1e-9)
        ring = ((radius * min(height, width)).round() == 5) & (radius <= 0.5)
        wanted = power[:, ring].mean(1)
        np.testing.assert_allclose(ring_means(pixels.power, found)[:, 5].numpy(), wanted.numpy(), rtol=1e-9)


def test_what_several_read_is_made_once(photographs: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    rfft2 = torch.fft.rfft2
    monkeypatch.setattr(torch.fft, "rfft2", lambda plane: made.append(len(plane)) or rfft2(plane))
    monkeypatch.setattr(guardrails, "PART", 2 * 200 * 264)
    batch = Batch(photographs, ("",) * 6)
    for name in GUARDRAILS:
        Guardrail(name, beside=tuple(GUARDRAILS)).score(batch)
    assert made == [2, 2, 2]
