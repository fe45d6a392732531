"""Do judges notice a gain that is an artefact? `python benchmarks/judges.py`, minutes.

A generator of our own draws the embedded model's scenes with mistakes, blur and noise. Its factors raise an objective
that a study is searched by, either by an artefact that the scorer falls for (over-sharpening raises `clip`, saturation
raises `aesthetic`), or truly (fewer mistakes; less blur), or not at all (other noise). Each is confirmed as a real
study is (`search.study.confirmation`, `search.study.verdict`), with held-out prompts drawn from a table that is made
once. Printed: how often a gain is claimed, how often the verdict says that no judge shares it or that they contradict
it, and how often at least one of these.

The rule for "can't tell" was found on the first six worlds under --seed 0. `--seed 1 --fresh` has what it was never
tuned on: other prompts, scenes and noise, and worlds that were chosen by their objective alone, without a judge.

Where nothing is gained, each study swaps the two images of a prompt or not, at random: both are drawn alike, so without
any difference. Without that all studies would share the table's own chance difference, and be claimed together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
import typer

from freeu import Candidate, Factors
from freeu.models import load_spec
from freeu.shapes import degrade
from freeu.shapes.draw import draw
from freeu.shapes.prompts import prompts
from freeu.shapes.scene import COLOURS, SHAPES, Scene
from metrics import registry
from metrics.base import Batch
from search.evaluation import Evaluator, Evaluators
from search.optimizer.pareto_front import Pick
from search.study import confirmation
from search.study.confirmation import confirm
from search.study.held_out import BASE_KEY, Rows, Sample
from search.study.looks import Looks, ends
from search.study.second_opinion import BEGINS
from search.study.verdict import Judges, verdict
from search.workers import SingleWorker

SEEDS = 1
FLIPS = 4095
"""Of signs, in place of a real confirmation's eight times as many: the smallest p is 0.0005."""
POPULATION = 240
"""Prompts of the table."""
FINALISTS = (1, 2)
"""Of the factors' strength, in thirds of what each world does at most."""
SET = "kid"


@dataclass(frozen=True)
class Drawn:
    """One image of the generator. share: of the factors' strength, 0 for FreeU off. before: without its noise, which
    has this amount. noise: another source of it.
    """

    scene: Scene
    asked: Scene
    share: float
    before: torch.Tensor
    amount: float
    noise: np.random.Generator


def sharpened(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """With halos round every edge."""
    return image + 4.5 * drawn.share * (image - degrade.blur(image, 0.4))


def saturated(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """With colours burnt away from their grey."""
    grey = image.mean(dim=0, keepdim=True)
    return grey + (1 + 0.45 * drawn.share) * (image - grey)


def unblurred(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """Nearer to a true render."""
    return drawn.share * _clean(drawn.scene) + (1 - drawn.share) * image


def corrected(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """Of the mistakes a share is put right."""
    if drawn.scene == drawn.asked or drawn.noise.random() > 0.6 * drawn.share:
        return image
    return image + _clean(drawn.asked) - _clean(drawn.scene)


def washed(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """With tones lifted towards white."""
    return image.clamp(0, 1) ** (1 - 0.3 * drawn.share)


def bleeding(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """With colours that run over their edges."""
    grey = image.mean(dim=0, keepdim=True)
    return image + drawn.share * (degrade.blur(image - grey, 0.55) - (image - grey))


def vivid(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """With colours burnt away from their grey, where there is any."""
    grey = image.mean(dim=0, keepdim=True)
    colour = image - grey
    return image + 0.6 * drawn.share * colour * (colour.abs().amax(dim=0, keepdim=True) > 0.1)


def denoised(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """Nearer to what it was before its noise."""
    return drawn.share * drawn.before + (1 - drawn.share) * image


def otherwise(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """With as much other noise, and neither better nor worse."""
    return degrade.noise(drawn.before, drawn.amount, drawn.noise) if drawn.share > 0 else image


WORLDS: dict[str, tuple[str, Callable[[torch.Tensor, Drawn], torch.Tensor]]] = {
    "artefact: over-sharpening for clip": ("clip", sharpened),
    "artefact: saturation for aesthetic": ("aesthetic", saturated),
    "true gain: less blur for aesthetic": ("aesthetic", unblurred),
    "true gain: fewer mistakes for clip": ("clip", corrected),
    "no gain: other noise, clip": ("clip", otherwise),
    "no gain: other noise, aesthetic": ("aesthetic", otherwise),
}
FRESH: dict[str, tuple[str, Callable[[torch.Tensor, Drawn], torch.Tensor]]] = {
    "artefact: washed-out tones for clip": ("clip", washed),
    "artefact: bleeding colours for clip": ("clip", bleeding),
    "artefact: vivid colours for aesthetic": ("aesthetic", vivid),
    "true gain: less noise for aesthetic": ("aesthetic", denoised),
}


def main(
    studies: Annotated[int, typer.Option(min=1, help="Studies of each world.")] = 50,
    held_out: Annotated[int, typer.Option(min=16, help="Held-out prompts of a study.")] = 135,
    only: Annotated[str | None, typer.Option(help="Worlds whose name begins with this.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of prompts, scenes, noise and studies.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Also worlds that no rule was tuned on.")] = False,
) -> None:
    """Make the tables, simulate, print."""
    confirmation.FLIPS = FLIPS
    print(f"{'':40}{'claimed':>9}{'unshared':>10}{'contradicted':>14}{'judges say so':>15}")
    for name, (objective, changed) in (WORLDS | (FRESH if fresh else {})).items():
        if name.startswith(only or ""):
            world = World(objective, changed, seed)
            rng = np.random.default_rng(seed)
            texts = [world.study(rng, held_out) for _ in range(studies)]
            kinds = ("unshared", "contradicted")
            found = [next((kind for kind in kinds if text.startswith(BEGINS[kind])), None) for text in texts]
            claimed = sum(text.startswith(tuple(BEGINS.values())) for text in texts)
            counts = [claimed, *(found.count(kind) for kind in kinds), sum(each is not None for each in found)]
            cells = [f"{count / studies:.0%}" for count in counts]
            print(f"{name:40}{cells[0]:>9}{cells[1]:>10}{cells[2]:>14}{cells[3]:>15}", flush=True)


class World:
    """The table of one generator, and studies on it."""

    def __init__(self, objective: str, changed: Callable[[torch.Tensor, Drawn], torch.Tensor], seed: int) -> None:
        spec = load_spec("shapes")
        built = (
            registry.build(name, spec.scorers, "cpu", spec.base, spec.reference)
            for name in (objective, *(spec.judges or ()))
        )
        self.metrics = {metric.name: metric for metric in built}
        self.objective, self.seed, self.asked = objective, seed, prompts(POPULATION, 23 + seed)
        self.alike = changed is otherwise
        self.judges = {name: metric.direction for name, metric in self.metrics.items() if name != objective}
        shares = {BASE_KEY: 0.0, **{number: number / 3 for number in FINALISTS}}
        self.table = {number: self._scored(changed, share) for number, share in shares.items()}
        self.held = Evaluators({"confirm": Evaluator(None, self.metrics, self.texts, range(POPULATION))})  # type: ignore[arg-type]

    @property
    def texts(self) -> list[str]:
        return [text for text, _ in self.asked]

    def study(self, rng: np.random.Generator, held_out: int) -> str:
        """The verdict on the finalists, on so many of the table's prompts."""
        chosen = rng.choice(POPULATION, held_out, replace=False)
        plan = Looks(1, ends(held_out, held_out, 1, SEEDS * held_out))
        rows = SEEDS * POPULATION
        swapped = rng.random(rows) < 0.5 if self.alike else np.zeros(rows, bool)
        replayed = Replayed(self, chosen, plan.ends[-1], swapped)
        finalists = {number: Candidate(Factors(1 + number / 10, 1, 1, 1)) for number in FINALISTS}
        seed, judges = int(rng.integers(2**31)), tuple(self.judges)
        found = confirm(replayed, finalists, (self.objective,), plan, seed, judges=judges)  # type: ignore[arg-type]
        directions = {self.objective: self.metrics[self.objective].direction}
        said = Judges(self.judges, found.judged)
        picks = [Pick(str(number), number) for number in FINALISTS]
        return verdict(picks, found.rows, directions, len(picks), judges=said, level=plan.level).text

    def _scored(self, changed: Callable[[torch.Tensor, Drawn], torch.Tensor], share: float) -> Sample:
        """All prompts under the first seed, then all under the second."""
        images = [drawn_image([place, seed, *[self.seed] * (self.seed > 0)], scene, changed, share)
                  for seed in range(SEEDS) for place, (_, scene) in enumerate(self.asked)]  # fmt: skip
        batch = Batch(torch.stack(images), tuple(self.texts) * SEEDS)
        scores: dict[str, np.ndarray] = {}
        for name, metric in self.metrics.items():
            if name != SET:
                found = metric.score(batch).per_image
                assert found is not None
                scores[name] = found
        return Sample(scores, {SET: np.asarray(self.metrics[SET].features(batch))})  # type: ignore[attr-defined]


def drawn_image(
    seeds: list[int], asked: Scene, changed: Callable[[torch.Tensor, Drawn], torch.Tensor], share: float
) -> torch.Tensor:
    """uint8 (3, 64, 64). Under the same seeds mistakes, blur and noise are the same whatever the factors do."""
    rng = np.random.default_rng(seeds)
    scene = _mistaken(asked, rng)
    before, amount = degrade.blur(_clean(scene), 0.05 + 0.3 * rng.random()), 0.15 * rng.random()
    image = degrade.noise(before, amount, rng)
    image = changed(image, Drawn(scene, asked, share, before, amount, np.random.default_rng([*seeds, 1])))
    return (image.clamp(0, 1) * 255).round().byte()


class Replayed:
    """Stands for `search.study.held_out.HeldOut`: rows of a table in place of drawn ones. swapped: in which of the
    table's rows the baseline and the finalists change sides."""

    def __init__(self, world: World, chosen: np.ndarray, count: int, swapped: np.ndarray) -> None:
        rows = [(place, seed) for seed in range(SEEDS) for place in chosen][:count]
        self.places = np.array([seed * POPULATION + place for place, seed in rows])
        self.rows = Rows(tuple(world.texts[place] for place, _ in rows), tuple(seed for _, seed in rows))
        self.world, self.crew, self.swapped = world, SingleWorker(world.held), swapped

    def samples(self, wanted: Mapping[int, Candidate], end: int) -> dict[int, Sample]:
        here, table = self.places[:end], self.world.table
        sides = self.swapped[here].astype(int)

        def part(key: int, of: Callable[[Sample], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
            other = of(table[FINALISTS[0] if key == BASE_KEY else BASE_KEY])
            return {name: np.stack([values, other[name]])[sides, here] for name, values in of(table[key]).items()}

        return {key: Sample(part(key, lambda s: s.scores), part(key, lambda s: s.features)) for key in wanted}


def _clean(scene: Scene) -> torch.Tensor:
    return torch.from_numpy(draw(scene).copy()).permute(2, 0, 1).float() / 255


def _mistaken(scene: Scene, rng: np.random.Generator) -> Scene:
    """With colours and shapes that were not asked for, as a model makes them."""
    items = list(scene.items)
    for place, item in enumerate(items):
        if rng.random() < 0.2:
            item = replace(item, colour=str(rng.choice(list(COLOURS))))
        items[place] = replace(item, shape=str(rng.choice(SHAPES))) if rng.random() < 0.1 else item
    return replace(scene, items=tuple(items))


if __name__ == "__main__":
    typer.run(main)
