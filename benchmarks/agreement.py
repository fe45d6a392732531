"""Which scorer should one believe on shapes? `python benchmarks/agreement.py`, seconds; with --record hours on 2 cores.

The candidates of benchmarks/record.py, drawn again on half of their prompts, as the attribute reader sees them: it was
trained apart from all scorers, on true renders, so it says whether the images show what was asked for. Printed, for
each scorer: the rank correlation (Spearman's) over candidates between its score and the reader's truth, with a 95 %
interval (bootstrap over candidates); of all candidates, and of those within the guardrails, where a search may choose.

benchmarks/data/shapes_read.npz holds read (c, p, heads) int8, the reader's answers in the order of
`freeu.shapes.attributes.CLASSES`, of the table's first c candidates on its first p prompts under its first seed. A
candidate is kept when it is done, so a run that was stopped goes on; the candidates are a Sobol sequence, so the first
ones lie as the others do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
import typer
from rich.progress import track
from scipy.stats import spearmanr

from configs import path
from freeu import Factors
from freeu.models import load_generator, load_spec
from freeu.shapes.attributes import CLASSES, labels, right
from freeu.shapes.reader import Reader
from freeu.shapes.wording import scene_of
from metrics import registry
from search.settings import prompts
from search.storage.files import replacing

TABLE, READ = (Path(__file__).parent / "data" / name for name in ("shapes.npz", "shapes_read.npz"))
PROMPTS = 24
DRAWS = 2000


def main(
    record: Annotated[bool, typer.Option("--record", help="Draw the candidates that are not read yet.")] = False,
    most: Annotated[int, typer.Option(min=2, help="Candidates.")] = 514,
) -> None:
    """Print the table."""
    if record:
        _record(most)
    with np.load(READ) as kept:
        truth = truths(kept["read"][:most])
    scores, within = scored(len(next(iter(truth.values()))))
    print(f"{len(within)} candidates, {int(within.sum())} of them within the guardrails, {PROMPTS} prompts each")
    print(f"{'scorer':<12}" + "".join(f"{name + ', ' + where:>28}" for where in ("all", "within") for name in truth))
    for name, values in scores.items():
        cells = [correlation(values[some], each[some])
                 for some in (np.ones(len(within), bool), within) for each in truth.values()]  # fmt: skip
        print(
            f"{name:<12}"
            + "".join(f"{found:>+10.2f} [{low:+.2f}, {high:+.2f}]".rjust(28) for found, low, high in cells)
        )


def truths(read: np.ndarray) -> dict[str, np.ndarray]:
    """By attribute, and their mean as `all`: (c,) the share that is right. read: (c, p, heads)."""
    with np.load(TABLE) as kept:
        scenes = [scene_of(str(text)) for text in kept["prompts"][: read.shape[1]]]
    wanted = labels([scene for scene in scenes if scene is not None])
    rows = []
    for answers in torch.from_numpy(read).long():
        found = right({name: answers[:, place] for place, name in enumerate(CLASSES)}, wanted)
        rows.append([float(found[name].double().mean()) for name in ("object", "colour", "relation")])
    table = np.array(rows)
    return {**dict(zip(("objects", "colours", "relations"), table.T, strict=True)), "all": table.mean(1)}


def scored(count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(scorer → (c,), more is better; which candidates are within the guardrails)."""
    with np.load(TABLE) as kept:
        found = {name: kept[name][:count, 0, :PROMPTS].astype(float).mean(1) for name in ("clip", "aesthetic")}
        features, rails = kept["features"][:count, 0].astype(float), kept["guardrails"].astype(float)
    spec = load_spec("shapes")
    for name in ("fid", "kid"):
        metric = registry.build(name, spec.scorers, "cpu", spec.base, spec.reference)
        found[name] = -np.array([metric.distance(each) for each in features])  # type: ignore[attr-defined]
    spread = np.sqrt(np.square(rails[0, 0] - rails[0, 1]).mean(0) / 2)
    return found, (np.abs((rails[:count, 0] - rails[0, 0]).mean(1) / spread) <= 1).all(1)


def correlation(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Spearman's, and its 95 % interval."""
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(a), size=len(a)) for _ in range(DRAWS)]
    found = [float(spearmanr(a[rows], b[rows]).statistic) for rows in draws]
    low, high = np.nanquantile(found, (0.025, 0.975))
    return float(spearmanr(a, b).statistic), float(low), float(high)


def _record(most: int) -> None:
    with np.load(TABLE) as kept:
        texts, factors = [str(text) for text in kept["prompts"][:PROMPTS]], kept["factors"][:most]
    read: list[np.ndarray] = []
    if READ.exists():
        with np.load(READ) as kept:
            read = [*kept["read"]]
    generator, reader = (
        load_generator(load_spec("shapes")),
        Reader.load(path("models", "shapes") / "scorers" / "reader"),
    )
    generator.prepare(texts)
    seeds = list(prompts.seeds(texts, 0, "search"))
    for each in track(factors[len(read) :], "candidates"):
        answers = reader.read(generator.generate(texts, seeds, Factors(*map(float, each))))
        read.append(np.stack([answers[name].numpy() for name in CLASSES], -1).astype(np.int8))
        with replacing(READ) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, read=np.stack(read))


if __name__ == "__main__":
    typer.run(main)
