"""What do judges cost, and VQAScore? `python benchmarks/judging.py`, a minute on one core.

Of a default study on the embedded model: CPU seconds of drawing, of the objectives and guardrails, and of the judges,
measured on some held-out images and multiplied by as many as the plan has; and how often each encoder saw each image.
Then VQAScore with Qwen3-VL-2B: its operations for an image, counted from its sizes, beside those of drawing that image
(`freeu.models.work`).
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import typer

from freeu import IDENTITY
from freeu.models import load_spec, work
from metrics.base import Batch
from metrics.encoders import Encoder
from metrics.vision_language import PIXELS
from search.evaluation.loading import assemble, load_parts
from search.settings import reading
from search.settings.job import prepare
from search.study.plan import Plan, plan

TEXT = {
    **{"vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28},
    **{"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128},
}
SEEN = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "out_hidden_size": 2048, "deepstack": 3}
"""Qwen3-VL-2B's sizes; deepstack: how many layers of its eye are merged into the words beside the last."""
PATCH, MERGE = 16, 2
LEAST = 256 * 256
"""Pixels to which its processor enlarges smaller images."""
WORDS = 40
"""Tokens of a question with a prompt of the usual length, in the chat template."""


def main(images: Annotated[int, typer.Option(min=16, help="Held-out images that are drawn and scored.")] = 48) -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    planned = plan(prepare(reading.load(None, {"model": "shapes"})))
    took, seen = measured(planned, images)
    counts = {name: planned.confirmed if name == "judges" else _drawn(planned) for name in took}
    whole = {name: counts[name] * seconds / images for name, seconds in took.items()}
    print(f"{'shapes, a default study at most':<34}{'images':>8}{'ms each':>10}{'CPU s':>8}{'share':>8}")
    for name, seconds in whole.items():
        each = 1000 * took[name] / images
        print(f"{name:<34}{counts[name]:>8,}{each:>10.1f}{seconds:>8.0f}{seconds / sum(whole.values()):>8.1%}")
    print(f"times that each encoder saw each image: {', '.join(f'{name} {n / images:g}' for name, n in seen.items())}")
    print()
    print(f"{'VQAScore by Qwen3-VL-2B, TFLOP':<34}{'tokens':>8}{'asking':>10}{'drawing':>10}{'share':>8}")
    for name in ("shapes", "sd15", "sdxl"):
        print(asked(name))


def measured(planned: Plan, n: int) -> tuple[dict[str, float], Mapping[str, int]]:
    """(CPU seconds of each part on n images; encoder → images that it was given while they were scored)."""
    job = planned.job
    held = assemble(load_parts, job).by_purpose["confirm"]
    texts, seeds = held.prompts[:n], held.seeds[:n]
    seen = _counted(held.metrics.values())
    groups = {
        "objectives": [held.metrics[name] for name in job.directions],
        "guardrails": [metric for name, metric in held.metrics.items() if name not in {*job.directions, *job.judges}],
        "judges": [held.metrics[name] for name in job.judges],
    }
    for _ in range(2):  # the first time the prompts are embedded, which happens once a study
        seen.clear()
        began, took = time.process_time(), dict[str, float]()
        batch = Batch(held.generator.generate(texts, seeds, IDENTITY), tuple(texts))
        took["drawing"] = time.process_time() - began
        for name, metrics in groups.items():
            began = time.process_time()
            for metric in metrics:
                metric.score(batch) if metric.per_image else metric.features(batch)  # type: ignore[attr-defined]
            took[name] = time.process_time() - began
    return took, seen


def asked(name: str) -> str:
    """A row of the second table."""
    spec = load_spec(name)
    height, width = spec.image_size
    tokens, flop = question(height * width)
    steps = spec.steps * (2 if spec.guidance > 1 else 1)
    drawing = work.of_image(spec, steps) / 1000
    return (
        f"{f'{name}, {width} pixels':<34}{tokens:>8}{flop / 1e12:>10.2f}{drawing:>10.2f}{flop / 1e12 / drawing:>8.1%}"
    )


def question(pixels: int) -> tuple[int, float]:
    """(tokens, floating-point operations) of one question on an image of so many pixels."""
    side = round(min(PIXELS, max(LEAST, pixels)) ** 0.5 / PATCH / MERGE) * MERGE
    merged = side * side // MERGE**2
    return merged + WORDS, eye(side * side, SEEN) + words(merged + WORDS, TEXT)


def eye(n: int, sizes: Mapping[str, int]) -> float:
    """Of a Qwen3-VL's vision tower on n patches: two for each multiply-add of linear layers and attention."""
    d, wide = sizes["hidden_size"], MERGE**2 * sizes["hidden_size"]
    layer = 2.0 * n * (4 * d * d + 2 * d * sizes["intermediate_size"]) + 4.0 * n * n * d
    merger = 2.0 * n / MERGE**2 * (wide * wide + wide * sizes["out_hidden_size"])
    return 2.0 * n * 3 * 2 * PATCH**2 * d + sizes["depth"] * layer + (1 + sizes["deepstack"]) * merger


def words(n: int, sizes: Mapping[str, int]) -> float:
    """Of its language model on n tokens, and its answer's first word."""
    d, heads = sizes["hidden_size"], sizes["num_attention_heads"] * sizes["head_dim"]
    kept = sizes["num_key_value_heads"] * sizes["head_dim"]
    layer = 2.0 * n * (2 * d * heads + 2 * d * kept + 3 * d * sizes["intermediate_size"]) + 4.0 * n * n * heads
    return sizes["num_hidden_layers"] * layer + 2.0 * d * sizes["vocab_size"]


def _drawn(planned: Plan) -> int:
    """Images of the search, the guardrails' pass and the confirmation."""
    return planned.searched + planned.images + planned.confirmed


def _counted(metrics: Iterable[Any]) -> Counter[str]:
    """Counts what the metrics' encoders are given from here on."""
    seen: Counter[str] = Counter()

    def counting(encoder: Encoder) -> Encoder:
        def images(part: torch.Tensor) -> torch.Tensor:
            seen[encoder.name] += len(part)
            return encoder.images(part)

        return replace(encoder, images=images)

    for metric in metrics:
        if hasattr(metric, "encoder"):
            metric.encoder = counting(metric.encoder)
    return seen


if __name__ == "__main__":
    typer.run(main)
