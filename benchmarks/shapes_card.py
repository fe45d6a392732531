"""Measures the embedded model and writes its card: `python benchmarks/shapes_card.py`, some minutes on two cores.

On prompts that training never saw an attribute reader, trained apart from everything else, says whether the images show
what was asked for. The scorers are measured on true renders, where the answer is known.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
import typer
from scipy.stats import spearmanr

import freeu
import metrics
from benchmarks import agreement
from configs import path
from freeu.models import load_generator, load_spec
from freeu.shapes.attributes import ABSENT, CLASSES, SLOTS, labels
from freeu.shapes.data import Scenes, scenes
from freeu.shapes.degrade import KINDS, degrade, score
from freeu.shapes.prompts import CARD_SEED, prompts
from freeu.shapes.reader import Reader
from freeu.shapes.scene import HELD_OUT, Scene
from freeu.shapes.scorers import embed_images, load_clip, pooled_features

FOLDER = path("models", "shapes")
WORK = Path("mlruns/shapes-card")
PROMPTS, UNSEEN_PROMPTS, RENDERS, RENDER_SEED = 512, 128, 2048, 17
CANDIDATES = 32


@dataclass(frozen=True)
class Line:
    """One row of the card's table."""

    what: str
    found: str
    asked: str


def main() -> None:
    """Measure, write the card and its picture, print."""
    WORK.mkdir(parents=True, exist_ok=True)
    reader = Reader.load(FOLDER / "scorers" / "reader")
    renders = scenes(RENDERS, RENDER_SEED, WORK)
    generator = load_generator(load_spec("shapes"))
    asked = prompts(PROMPTS, CARD_SEED)
    images = generator.generate([text for text, _ in asked], range(PROMPTS), freeu.IDENTITY)
    unseen = prompts(UNSEEN_PROMPTS, CARD_SEED, held_out=True)
    unseen_images = generator.generate([text for text, _ in unseen], range(UNSEEN_PROMPTS), freeu.IDENTITY)
    lines = [
        *_reading("true renders (the reader itself)", reader, renders.images, renders.scenes, 0.99, None),
        *_reading("512 held-out prompts", reader, images, [scene for _, scene in asked], 0.90, 0.80),
        *_reading("128 prompts with a held-out pair", reader, unseen_images, [s for _, s in unseen], None, None),
        *_clip_and_head(renders),
        *_fid(images),
    ]
    _picture([text for text, _ in asked], images, Path("docs/images/shapes.png"))
    (FOLDER / "README.md").write_text(_card(lines), "utf-8")
    for line in lines:
        print(f"{line.what:60} {line.found:>24}   {line.asked}")


def _reading(
    where: str,
    reader: Reader,
    images: torch.Tensor,
    shown: Sequence[Scene],
    objects: float | None,
    relations: float | None,
) -> list[Line]:
    found = accuracy(reader.read(images), labels(shown))
    asked = {"object": objects, "relation": relations}
    names = {
        "object": "objects, colour and shape both right",
        "relation": "relation",
        "fill": "fill",
        "size": "size",
    }
    return [
        Line(
            f"{where}: {names[name]}",
            f"{found[name]:.1%}",
            f"at least {asked[name]:.0%}" if asked.get(name) else "",
        )
        for name in names
    ]


def accuracy(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> dict[str, float]:
    """Share of right answers by kind of attribute, over all that are asked for; `object` is colour and shape both."""
    hits: dict[str, list[np.ndarray]] = {}
    for name in CLASSES:
        present = wanted[name] != ABSENT
        hits.setdefault(name.rstrip("012"), []).append((found[name] == wanted[name])[present].numpy())
    for slot in range(SLOTS):
        present = wanted[f"shape{slot}"] != ABSENT
        both = torch.stack([found[f"{name}{slot}"] == wanted[f"{name}{slot}"] for name in ("shape", "colour")])
        hits.setdefault("object", []).append(both.all(dim=0)[present].numpy())
    return {name: float(np.concatenate(parts).mean()) for name, parts in hits.items()}


def _clip_and_head(renders: Scenes) -> list[Line]:
    model: Any  # open_clip's
    model, tokenizer = load_clip(FOLDER / "scorers" / "clip")
    embed = embed_images(model)
    rng = np.random.default_rng(RENDER_SEED)
    captions = renders.captions(np.arange(len(renders)), rng)
    seen = torch.from_numpy(embed(renders.images))
    with torch.inference_mode():
        said = model.encode_text(tokenizer(captions), normalize=True)
    groups = zip(seen.split(CANDIDATES), said.split(CANDIDATES), strict=True)
    right = torch.cat([(a @ b.T).argmax(dim=1) == torch.arange(len(a)) for a, b in groups])
    head = metrics.aesthetic_head(FOLDER / "scorers" / "aesthetic.safetensors")
    lines = [
        Line(
            f"CLIP: the right caption among {CANDIDATES}, true renders",
            f"{right.float().mean():.1%}",
            "at least 90%",
        )
    ]
    amounts = rng.random(len(renders))
    found = head(embed(degrade(renders.images, amounts, rng)))
    rank = spearmanr(found, score(amounts)).statistic
    lines.append(Line("aesthetic head: rank correlation with the degradation", f"{rank:.3f}", "at least 0.9"))
    part = renders.images[:512].float() / 255
    for kind, spoil in KINDS.items():
        spoilt = torch.stack([spoil(image, a, rng) for image, a in zip(part, amounts, strict=False)])
        found = head(embed((spoilt.clamp(0, 1) * 255).round().byte()))
        lines.append(Line(f"  {kind} alone", f"{spearmanr(found, score(amounts[:512])).statistic:.3f}", ""))
    return lines


def _fid(images: torch.Tensor) -> list[Line]:
    reference = np.load(FOLDER / "scorers" / "reference.npz")
    features = pooled_features(FOLDER / "scorers" / "features")

    def distance(of: torch.Tensor) -> float:
        found = features(of).astype(np.float64)
        return metrics.frechet_distance(found.mean(0), np.cov(found, rowvar=False), reference["mu"], reference["sigma"])

    floor = [distance(scenes(PROMPTS, seed, WORK).images) for seed in (19, 23, 29)]
    return [
        Line(f"FID of {PROMPTS} images, the baseline", f"{distance(images):.2f}", ""),
        Line(
            f"FID of {PROMPTS} true renders (the floor), three draws",
            ", ".join(f"{f:.2f}" for f in floor),
            "",
        ),
    ]


def _picture(texts: list[str], images: torch.Tensor, file: Path) -> None:
    """The first 24 held-out prompts and what the model made of them, none left out."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(4, 6, figsize=(12, 10), layout="constrained")
    for axis, text, image in zip(axes.flat, texts, images, strict=False):
        axis.imshow(image.permute(1, 2, 0).numpy(), interpolation="lanczos")
        axis.set_axis_off()
        axis.set_title("\n".join(textwrap.wrap(text, 30)), fontsize=7.5)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80)
    pyplot.close(figure)


def _card(lines: list[Line]) -> str:
    rows = "\n".join(f"| {line.what.strip()} | {line.found} | {line.asked} |" for line in lines)
    pairs = ", ".join(sorted(f"{colour} {shape}" for colour, shape in HELD_OUT))
    size = sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) / 1e6
    return f"""# shapes: the embedded model

A small Stable Diffusion of coloured shapes, so that the whole tool runs on a laptop with no download. Scenes are drawn
by `freeu/shapes`, and `python -m freeu.shapes.train` makes every weight here from a seed (MIT, like the code).

- Images of 64x64 pixels; latents 4x16x16 (AutoencoderKL, factor 4); a CLIP text tower of two layers; a U-Net of widths
  32, 64, 128 with cross-attention in the two lower levels. {size:.1f} MB in half precision, all scorers included.
- Scenes: one to three objects (3 shapes, 8 colours, 2 sizes, 3 fills), left of, above or inside each other, on 9
  backgrounds. Trained on 24,000 scenes.
- Held out from training, and from nothing else: {pairs}.
- Scorers, in `scorers/`: an open_clip model, an aesthetic head on its embeddings (how little an image is degraded by
  blur, noise, ringing, banding, saturation or gamma; 1 to 10), a feature network for FID with its reference, and the
  attribute reader, which this card and the judges use; one of them, `render_error`, draws what it reads again.

![The first 24 held-out prompts](../../../docs/images/shapes.png)

## Measured

The baseline, 12 steps of DPM-Solver++, guidance 3. `python benchmarks/shapes_card.py` measures it again.

| what | found | asked for |
|---|---|---|
{rows}

## Which scorer to believe

Rank correlation over candidates with the share of objects, colours and relations that the attribute reader finds right
(24 prompts under one seed; 95 % intervals by bootstrap). A search chooses among those within the guardrails.
`python benchmarks/agreement.py` computes it again.

{agreement.card()}

## What it is not

A toy of photographs: what FreeU does to these 64-pixel scenes says little about what it does to your checkpoint.
Nothing here was tuned so that FreeU looks good; what a study on it finds is printed as it is.
"""


if __name__ == "__main__":
    typer.run(main)
