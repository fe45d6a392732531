"""Is a gain FreeU's, or guidance's? `python benchmarks/rival.py`, ten minutes on an idle core.

Whole studies (the sampler, racing, the tuned baseline, the confirmation in looks) of a made-up model, of which the
truth is known. In the world "guidance" FreeU's factors act exactly as another guidance scale does, which is better than
the study's: the baseline is beaten, its tuned rival can't be. In the world "adds" they add something beside that.
Printed: how often the verdict says that FreeU helps against the baseline, and how often that it adds to the best
guidance alone (false in the first world, true in the second), and the resolution against the rival.
"""

from __future__ import annotations

import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import optuna
import pandas as pd
import typer

from benchmarks.search import _InMemory
from freeu import Candidate, Sampling
from search.evaluation import Evaluation, Evaluator, Evaluators, OnImages
from search.optimizer.pareto_front import find
from search.optimizer.space import off
from search.optimizer.space_file import default
from search.settings import prompts
from search.settings.first_candidates import SCALES, TUNED
from search.storage import StudyFolder
from search.study import confirmation, looks
from search.study.coordinator import Coordinator
from search.study.fewer_steps import made
from search.study.held_out import HeldOut, rows_of
from search.workers import SingleWorker

OWN = Sampling(guidance=7.0, steps=20)
DIRECTIONS = {"clip": "up", "aesthetic": "up"}
PROMPTS, HELD_OUT = 48, 135


@dataclass(frozen=True)
class World:
    """best: the guidance scale at which images are best. gain: what FreeU adds in clip, at its best b2."""

    best: float = 3.5
    gain: float = 0.0

    def table(self, candidate: Candidate, rows: Sequence[tuple[str, int]]) -> dict[str, np.ndarray]:
        """(n,) of each objective: the truth, the prompt's and noise's own level and slope, and a little of chance."""
        f = candidate.factors
        scale = candidate.sampling.over(OWN).guidance or 0.0
        shift = np.log(scale * f.b1**2 / self.best)
        added = self.gain * np.exp(-(((f.b2 - 1.2) / 0.2) ** 2)) if not candidate.off else 0.0
        harm = 2.0 * ((f.s1 - 1) ** 2 + (f.s2 - 1) ** 2)
        own = np.array([_draws(f"{prompt} {seed}", 4) for prompt, seed in rows])
        chance = np.array(
            [_draws(f"{prompt} {seed} {scale * f.b1**2:.9f} {f.b2} {f.s1} {f.s2}", 2) for prompt, seed in rows]
        )
        clip = 30.0 - 1.5 * shift**2 + added - harm + 2.0 * own[:, 0] + 0.4 * own[:, 1] * shift + 0.15 * chance[:, 0]
        aesthetic = 5.0 - harm + own[:, 2] + 0.2 * own[:, 3] * shift + 0.1 * chance[:, 1]
        return {"clip": clip, "aesthetic": aesthetic}


def _draws(name: str, n: int) -> np.ndarray:
    """Standard normal numbers that a name always gives."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(n)


class Measured(Evaluator):
    """Scores of a world without images."""

    def __init__(self, world: World, texts: Sequence[str], seeds: Sequence[int]) -> None:
        kinds = {
            name: SimpleNamespace(name=name, per_image=True, min_n=1, direction=up) for name, up in DIRECTIONS.items()
        }
        super().__init__(SimpleNamespace(), kinds, texts, seeds)  # type: ignore[arg-type]
        self.world = world

    def measure(
        self, candidate: Candidate, prompts: Sequence[str], seeds: Sequence[int], on_images: OnImages | None = None
    ) -> Evaluation:
        rows = list(zip(prompts, seeds, strict=True))
        table = pd.DataFrame({"prompt": list(prompts), "seed": list(seeds), **self.world.table(candidate, rows)})
        return Evaluation({}, len(rows), table, {}, None, {"generate": 0.0, "score": 0.0, "total": float(len(rows))})


class Silent:
    """Watches nothing."""

    def began(self, *told: Any) -> None: ...
    def ended(self, *told: Any) -> None: ...
    def elsewhere(self, *told: Any) -> None: ...
    def said(self, *told: Any) -> None: ...


@dataclass(frozen=True)
class Answer:
    """Of a study: whether FreeU is better than the baseline, and than its rival, in something and worse in nothing; the
    smallest difference in clip that would have been seen against the rival (nan without one)."""

    helps: bool
    adds: bool
    resolution: float


def studied(world: World, seed: int, trials: int) -> Answer:
    """A study from its first trial to its verdict."""
    space = default(own=OWN)
    texts, held_out = (
        [f"{kind} {seed} {n}" for n in range(count)] for kind, count in (("s", PROMPTS), ("h", HELD_OUT))
    )
    fixed = [("baseline", off(space))]
    fixed += [(f"{TUNED}:{share:g}", off(space, Sampling(guidance=7.0 * share))) for share in SCALES]
    crew = SingleWorker(
        Evaluators(
            {
                "search": Measured(world, texts, prompts.seeds(texts, seed, "search")),
                "confirm": Measured(world, held_out, prompts.seeds(held_out, seed, "confirm")),
            }
        )
    )
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        place = StudyFolder(Path(folder), "rival")
        study = Coordinator(
            _InMemory(place), DIRECTIONS, prompts=PROMPTS, space=space, sampler="gp", seed=seed, fixed=fixed,
            watcher=Silent(), race=True,
        )  # fmt: skip
        study.run(crew, trials)
        done = [record for record in study.records() if record.complete]
        front = find(done, DIRECTIONS, space)
        picked = confirmation.finalists(front.picks, done, front, DIRECTIONS, 2, HELD_OUT)
        rivals = confirmation.rivals_of(picked, front, done)
        ends = looks.ends(HELD_OUT, 1 + len({**picked, **dict(rivals.values())}), sum(made(record) for record in done))
        plan = looks.Looks(1, ends)
        rows = HeldOut(place, crew, rows_of(held_out, ends[-1], seed, 1))
        found = confirmation.confirm(rows, picked, tuple(DIRECTIONS), plan, seed, rivals)
    helped = {number for number, each in found.rows.items() if _better(each)}
    added = {number for number in helped if number in found.against and _better(found.against[number])}
    seen = [each["clip"]["detectable"] or np.nan for each in found.against.values()]
    return Answer(bool(helped), bool(added), float(np.median(seen)) if seen else np.nan)


def _better(rows: Mapping[str, Mapping[str, Any]]) -> bool:
    sure = [row["difference"] > 0 for row in rows.values() if row["p_holm"] < looks.LEVEL]
    return bool(sure) and all(sure)


def main(
    studies: Annotated[int, typer.Option(min=1, help="Of each world.")] = 100,
    trials: Annotated[int, typer.Option(min=12, help="Of a study.")] = 48,
    gain: Annotated[float, typer.Option(min=0, help="What FreeU adds in the second world.")] = 0.4,
) -> None:
    """Run the studies and print."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    worlds = {
        "guidance, best on the grid": World(),
        "guidance, best between": World(best=4.1),
        "adds": World(gain=gain),
    }
    for name, world in worlds.items():
        found = [studied(world, seed, trials) for seed in range(studies)]
        helps, adds = (np.mean([getattr(each, key) for each in found]) for key in ("helps", "adds"))
        seen = np.nanmedian([each.resolution for each in found] + [np.inf]) if found else np.nan
        print(
            f"{name:<28} helps against the baseline {helps:.2f}, adds to the best guidance {adds:.2f} ± "
            f"{np.sqrt(adds * (1 - adds) / studies):.2f}, resolution {seen:.2g}",
            flush=True,
        )


if __name__ == "__main__":
    typer.run(main)
