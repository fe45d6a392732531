"""Is a gain FreeU's, or guidance's? `python benchmarks/rival.py`, half an hour on two cores.

Whole studies (the sampler, racing, the tuned baseline, the confirmation in looks) of a made-up model, of which the
truth is known. In the worlds "guidance" FreeU's factors act exactly as another guidance scale does, which is better
than the study's: the baseline is beaten, its tuned rival can't be. In the worlds "adds" they add something beside that.
Printed: how often the verdict says that FreeU helps against the baseline, and how often that it adds to the best
guidance alone (false in the first worlds, true in the others), the median resolution in clip against the rival, the
share of the search's images that tuned baselines took, and, over all worlds, how often a finalist counts as better
than its rival in clip where its true difference is about as large as the resolution that was printed for it.
"""

from __future__ import annotations

import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import optuna
import pandas as pd
import typer

from benchmarks.search import InMemory
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
ABOUT = (0.8, 1.25)
"""A true difference between these shares of the resolution is about as large."""


@dataclass(frozen=True)
class World:
    """best: the guidance scale at which images are best. gain: what FreeU adds in clip, at its best b2."""

    best: float = 3.5
    gain: float = 0.0

    def means(self, candidate: Candidate) -> tuple[float, float]:
        """What clip and aesthetic are over all prompts and noise."""
        f, shift = candidate.factors, self._shift(candidate)
        added = self.gain * np.exp(-(((f.b2 - 1.2) / 0.2) ** 2)) if not candidate.off else 0.0
        harm = 2.0 * ((f.s1 - 1) ** 2 + (f.s2 - 1) ** 2)
        return float(30.0 - 1.5 * shift**2 + added - harm), float(5.0 - harm)

    def table(self, candidate: Candidate, rows: Sequence[tuple[str, int]]) -> dict[str, np.ndarray]:
        """(n,) of each objective: the mean, the prompt's and noise's own level and slope, and a little of chance."""
        f, shift, (clip, aesthetic) = candidate.factors, self._shift(candidate), self.means(candidate)
        named = f"{shift:.9f} {f.b2} {f.s1} {f.s2}"
        own = np.array([_draws(f"{prompt} {seed}", 4) for prompt, seed in rows])
        chance = np.array([_draws(f"{prompt} {seed} {named}", 2) for prompt, seed in rows])
        return {
            "clip": clip + 2.0 * own[:, 0] + 0.4 * own[:, 1] * shift + 0.15 * chance[:, 0],
            "aesthetic": aesthetic + own[:, 2] + 0.2 * own[:, 3] * shift + 0.1 * chance[:, 1],
        }

    def _shift(self, candidate: Candidate) -> float:
        """How far from the best guidance scale it is, as a logarithm; b1 acts as guidance does."""
        scale = candidate.sampling.over(OWN).guidance or 0.0
        return float(np.log(scale * candidate.factors.b1**2 / self.best))


def _draws(name: str, n: int) -> np.ndarray:
    """Standard normal numbers that a name always gives."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(n)


class Measured(Evaluator):
    """Scores of a world without images."""

    def __init__(self, world: World, texts: Sequence[str], seeds: Sequence[int]) -> None:
        kinds = {
            name: SimpleNamespace(name=name, per_image=True, min_n=1, direction=up) for name, up in DIRECTIONS.items()
        }
        super().__init__(SimpleNamespace(), kinds, texts, seeds)
        self.world = world

    def measure(
        self,
        candidate: Candidate,
        prompts: Sequence[str],
        seeds: Sequence[int],
        on_images: OnImages | None = None,
        anew: bool = False,
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
    """Of a study: whether FreeU is better than the baseline, and than its rival, in something and worse in nothing; of
    each finalist with a rival (true difference in clip, resolution, whether it counts as better in clip); the share of
    the search's images that tuned baselines took."""

    helps: bool
    adds: bool
    finalists: tuple[tuple[float, float, bool], ...]
    share: float


def studied(world: World, seed: int, trials: int) -> Answer:
    """A study from its first trial to its verdict."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
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
            InMemory(place), DIRECTIONS, prompts=PROMPTS, space=space, sampler="gp", seed=seed, fixed=fixed,
            watcher=Silent(), race=True,
        )  # fmt: skip
        study.run(crew, trials)
        done = [record for record in study.records() if record.complete]
        front = find(done, DIRECTIONS, space)
        picked = confirmation.finalists(front.picks, done, front, DIRECTIONS, 2, HELD_OUT)
        rivals = confirmation.rivals_of(picked, front, done)
        drawn, images = 1 + len({**picked, **dict(rivals.values())}), sum(made(record) for record in done)
        ends = looks.ends(looks.least(HELD_OUT, drawn, images), HELD_OUT, drawn, images)
        plan = looks.Looks(1, ends)
        rows = HeldOut(place, crew, rows_of(held_out, ends[-1], seed, 1))
        found = confirmation.confirm(rows, picked, tuple(DIRECTIONS), plan, seed, rivals)
    helped = {number for number, each in found.rows.items() if _better(each)}
    added = {number for number in helped if number in found.against and _better(found.against[number])}
    each = []
    for number, row in ((number, rows["clip"]) for number, rows in found.against.items()):
        true = world.means(picked[number])[0] - world.means(rivals[number][1])[0]
        each.append((true, row["detectable"] or np.inf, row["p_holm"] < looks.LEVEL and row["difference"] > 0))
    others = sum(made(record) for record in done if record.candidate.off and not record.candidate.baseline)
    return Answer(bool(helped), bool(added), tuple(each), others / images)


def _better(rows: Mapping[str, Mapping[str, Any]]) -> bool:
    sure = [row["difference"] > 0 for row in rows.values() if row["p_holm"] < looks.LEVEL]
    return bool(sure) and all(sure)


def main(
    studies: Annotated[int, typer.Option(min=1, help="Of each world.")] = 100,
    trials: Annotated[int, typer.Option(min=12, help="Of a study.")] = 64,
    gains: Annotated[str, typer.Option(help="What FreeU adds in the other worlds.")] = "0.4,0.1",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Run the studies and print."""
    worlds = {"guidance, best between": World(best=4.1), "guidance, best on the grid": World()}
    worlds |= {f"adds {gain}": World(gain=float(gain)) for gain in gains.split(",") if gain}
    finalists = []
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for name, world in worlds.items():
            found = [*pool.map(studied, [world] * studies, range(studies), [trials] * studies)]
            finalists += [each for one in found for each in one.finalists]
            helps, adds = (share([getattr(one, key) for one in found]) for key in ("helps", "adds"))
            seen = np.median([each[1] for one in found for each in one.finalists] or [np.inf])
            print(
                f"{name:<28} helps against the baseline {helps}, adds to the best guidance {adds}, resolution "
                f"{seen:.2g}; tuned baselines took {np.mean([one.share for one in found]):.3f} of the search's images",
                flush=True,
            )
    near = [counts for true, resolution, counts in finalists if ABOUT[0] <= true / resolution <= ABOUT[1]]
    print(f"finalists about as much better as was printed: {len(near)}; of these counted {share(near)}")


def share(found: Sequence[bool]) -> str:
    """With its standard error."""
    part = float(np.mean(found)) if found else np.nan
    return f"{part:.2f} ± {np.sqrt(part * (1 - part) / max(1, len(found))):.2f}"


if __name__ == "__main__":
    typer.run(main)
