"""Records the table that benchmarks/search.py replays searches on: `python benchmarks/record.py`. An hour on 2 cores.

Candidates of the default space, a scrambled Sobol sequence behind the baseline and the published factors, each on the
same prompts of the embedded model under two seeds: a search sees the first, the second says what is true. Kept: the
scores of each image, the features that Fréchet and kernel distances need, and the guardrails' measures. Each
candidate's part is written when it is done, so a run that was stopped goes on.

benchmarks/data/shapes.npz holds factors (c, 4), prompts (p,), clip and aesthetic (c, 2, p) float32, features
(c, 2, p, 128) float16, guardrails (c, 2, p, 8) float16 in the order of `search.evaluation.guardrails.NAMES`, and
identity, the SHA-256 of the model's files.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import typer
from rich.progress import track

from freeu import IDENTITY, Candidate, Factors
from metrics import registry
from search.evaluation import Evaluator, Task, guardrails
from search.evaluation.loading import load_parts
from search.optimizer.dimension import NUMBERS
from search.settings import prompts
from search.settings import reading as settings
from search.settings.job import prepare
from search.storage.files import replacing

SEEDS = ("search", "true")


def main(
    candidates: Annotated[int, typer.Option(min=0, help="Sobol points beside the baseline and the published.")] = 512,
    limit: Annotated[int, typer.Option(min=16, help="Prompts.")] = 48,
    out: Annotated[Path, typer.Option(help="The table.")] = Path(__file__).parent / "data" / "shapes.npz",
) -> None:
    """Generate, score and write the table."""
    config = settings.load(None, {"model": "shapes", "limit": limit, "guardrails": False})
    job = prepare(config)
    generator, metrics = load_parts(job.config, job.spec)
    rails = {name: registry.build(name, {}, "cpu", Path()) for name in guardrails.NAMES}
    texts = [*job.prompts] * len(SEEDS)
    seeds = [seed for purpose in SEEDS for seed in prompts.seeds(job.prompts, config.seed, purpose)]
    generator.prepare(job.prompts)
    evaluator = Evaluator(generator, {**metrics, **rails}, texts, seeds)
    points = [job.space.candidate(params).factors for params in job.space.sobol(candidates, seed=0)]
    tried = [IDENTITY, *(each.factors for _, each in job.fixed if not each.off), *points]
    parts = out.with_suffix(".parts")
    for number, factors in enumerate(track(tried, "candidates")):
        file = parts / f"{number:04d}.npz"
        if not file.exists():
            _write(file, measured(evaluator, factors, len(job.prompts)))
    found = [dict(np.load(parts / f"{number:04d}.npz")) for number in range(len(tried))]
    table = {name: np.stack([part[name] for part in found]) for name in found[0]}
    _write(out, {**table, "prompts": np.array(job.prompts), "identity": np.array(generator.identity)})
    print(f"{out}: {len(tried)} candidates, {out.stat().st_size / 1e6:.1f} MB; {parts} can be removed")


def measured(evaluator: Evaluator, factors: Factors, n: int) -> dict[str, np.ndarray]:
    """One candidate's part of the table. n: the prompts, of which the evaluator has two runs."""
    found = evaluator(Task(Candidate(factors), len(SEEDS) * n))
    assert found.per_image is not None
    scores = found.per_image

    def column(name: str) -> np.ndarray:
        return scores[name].to_numpy(np.float32).reshape(len(SEEDS), n)

    return {
        "factors": np.array([getattr(factors, name) for name in NUMBERS]),
        "clip": column("clip"),
        "aesthetic": column("aesthetic"),
        "features": found.features["fid"].reshape(len(SEEDS), n, -1).astype(np.float16),
        "guardrails": np.stack([column(name) for name in guardrails.NAMES], axis=-1).astype(np.float16),
    }


def _write(file: Path, arrays: dict[str, Any]) -> None:
    with replacing(file) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


if __name__ == "__main__":
    typer.run(main)
