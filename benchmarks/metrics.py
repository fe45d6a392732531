"""How long scoring takes: `python benchmarks/metrics.py [--device cuda]`.

Fréchet distance of n images to a reference's mean and covariance, ours beside torchmetrics' formula on the same
numbers, with the covariance of the images in both; and metrics of images that share an encoder's embeddings beside each
embedding them for itself, with the embedded model's CLIP.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
import typer
from torchmetrics.image.fid import _compute_fid

import configs
from benchmarks.timing import interleaved
from metrics import build
from metrics.base import Batch
from metrics.encoders import Encoder
from metrics.fid import Fid
from metrics.reference import Reference

SIZES = ((2048, 256), (2048, 1000))
SHARED = ("clip", "aesthetic", "cmmd")


def main(
    device: Annotated[str, typer.Option(help="Of the encoder: cpu or cuda.")] = "cpu",
    rounds: Annotated[int, typer.Option(min=1, help="Times that each is run, in turn.")] = 3,
    shrink: Annotated[int, typer.Option(min=1, help="Divides the features and images; for a quick look.")] = 1,
) -> None:
    """Print the two tables."""
    print(f"{'d':>6}{'n':>6}{'ours, s':>10}{'torchmetrics, s':>17}{'ratio':>8}{'difference':>13}")
    for d, n in SIZES:
        print(distances(d // shrink, max(20, n // shrink), rounds))
    print()
    print(shared(max(16, 256 // shrink), device, rounds))


def distances(d: int, n: int, rounds: int) -> str:
    """One row: features with the falling spectrum that networks' have."""
    rng = np.random.default_rng(0)
    scale = 1 / np.sqrt(1 + np.arange(d))
    real, made = rng.normal(size=(2 * d, d)) * scale, rng.normal(0.05, 1, (n, d)) * scale
    reference = Reference.of(real)
    fid = Fid(Encoder("none", "none", lambda part: part), reference)
    mu, sigma = torch.from_numpy(reference.mu), torch.from_numpy(reference.sigma)
    found = torch.from_numpy(made)

    def ours() -> float:
        return fid.distance(made)

    def theirs() -> float:
        return float(_compute_fid(mu, sigma, found.mean(0), torch.cov(found.T)))

    one, other = interleaved([ours, theirs], rounds, torch.device("cpu"))
    apart = abs(ours() - theirs()) / abs(theirs())
    return f"{d:6}{n:6}{one:10.3f}{other:17.3f}{other / one:8.1f}{apart:13.1e}"


def shared(n: int, device: str, rounds: int) -> str:
    """Metrics over one batch, and over a batch each."""
    spec = configs.read_yaml(configs.path("models", "shapes.yaml"))
    models = configs.path("models")
    metrics = [build(name, spec["scorers"], device, models, spec["reference"]) for name in SHARED]
    images = torch.randint(0, 256, (n, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    prompts = tuple(f"a red ball and {number} boxes" for number in range(n))
    for metric in metrics:
        metric.score(Batch(images, prompts))  # the prompts are embedded once a study

    def together() -> None:
        batch = Batch(images, prompts)
        for metric in metrics:
            metric.score(batch)

    def apart() -> None:
        for metric in metrics:
            metric.score(Batch(images, prompts))

    one, other = interleaved([together, apart], rounds, torch.device(device))
    names = ", ".join(SHARED)
    return (
        f"{names} of {n} images: {n / one:.0f} images a second with one embedding, {n / other:.0f} with one each, "
        f"{other / one:.1f} times as fast"
    )


if __name__ == "__main__":
    typer.run(main)
