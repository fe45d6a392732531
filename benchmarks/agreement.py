"""Which scorer should one believe on shapes? `python benchmarks/agreement.py`, seconds; with --record hours on 2 cores.

The candidates of benchmarks/record.py, drawn again on half of their prompts, as the attribute reader sees them: it was
trained apart from all scorers, on true renders, so it says whether the images show what was asked for. Printed, for
each scorer: the rank correlation (Spearman's) over candidates between its score and the reader's truth, with a 95 %
interval (bootstrap over candidates); of all candidates, and of those within the guardrails, where a search may choose.

benchmarks/data/shapes_read.npz holds read (c, p, heads) int8, the reader's answers in the order of
`freeu.shapes.attributes.CLASSES`, of the table's `candidates` (c,) on its first p prompts under its first seed. Those
within the guardrails come first, then the others in their order (a Sobol sequence, so the first ones lie as all do).
A candidate is kept when it is done, so a run that was stopped goes on.
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
DRAWS = 1000


def main(
    record: Annotated[bool, typer.Option("--record", help="Draw the candidates that are not read yet.")] = False,
    most: Annotated[int, typer.Option(min=2, help="Candidates to draw.")] = 514,
) -> None:
    """Print the table."""
    within = inside()
    if record:
        _record(np.argsort(~within, kind="stable")[:most])
    with np.load(READ) as kept:
        candidates, truth = kept["candidates"], truths(kept["read"])
    scores = scored(candidates)
    known = {name: each for name, each in truth.items() if np.ptp(each) > 0}
    still = [f"{name} {each[0]:.0%}" for name, each in truth.items() if name not in known]
    print(f"the reader's truth on {PROMPTS} prompts; the same for all candidates: {', '.join(still) or 'nothing'}")
    for where, some in (("all", np.ones(len(candidates), bool)), ("within the guardrails", within[candidates])):
        print(f"{f'{where} ({some.sum()})':<32}" + "".join(f"{name:>24}" for name in known))
        for scorer, values in scores.items():
            cells = (correlation(values[some], each[some]) for each in known.values())
            shown = (f"{found:+.2f} [{low:+.2f}, {high:+.2f}]" for found, low, high in cells)
            print(f"{scorer:<32}" + "".join(f"{cell:>24}" for cell in shown))


def card() -> str:
    """Markdown for the model's card: each scorer's rank correlation with the truth, of what is recorded."""
    with np.load(READ) as kept:
        candidates, truth = kept["candidates"], truths(kept["read"])["all"]
    within, scores = inside(), scored(candidates)
    here, n = within[candidates], len(within)
    rows = "\n".join(
        f"| `{name}` | {_cell(values[here], truth[here])} | {_cell(values, truth)} |" for name, values in scores.items()
    )
    return f"""| scorer | {_of(here.sum(), within.sum())} within the guardrails | {_of(len(here), n)} |
|---|---|---|
{rows}"""


def _of(some: int, whole: int) -> str:
    return f"all {whole}" if some == whole else f"{some} of {whole}"


def _cell(a: np.ndarray, b: np.ndarray) -> str:
    found, low, high = correlation(a, b)
    return f"{found:.2f} [{low:.2f}, {high:.2f}]"


def inside() -> np.ndarray:
    """(514,) which of the table's candidates are within the guardrails."""
    with np.load(TABLE) as kept:
        rails = kept["guardrails"].astype(float)
    spread = np.sqrt(np.square(rails[0, 0] - rails[0, 1]).mean(0) / 2)
    return np.asarray((np.abs((rails[:, 0] - rails[0, 0]).mean(1) / spread) <= 1).all(1))


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


def scored(candidates: np.ndarray) -> dict[str, np.ndarray]:
    """Scorer → (c,), more is better."""
    with np.load(TABLE) as kept:
        found = {name: kept[name][candidates, 0, :PROMPTS].astype(float).mean(1) for name in ("clip", "aesthetic")}
        features = kept["features"][candidates, 0].astype(float)
    spec = load_spec("shapes")
    for name in ("fid", "kid"):
        metric = registry.build(name, spec.scorers, "cpu", spec.base, spec.reference)
        found[name] = -np.array([metric.distance(each) for each in features])  # type: ignore[attr-defined]
    return found


def correlation(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Spearman's, and its 95 % interval."""
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(a), size=len(a)) for _ in range(DRAWS)]
    found = [float(spearmanr(a[rows], b[rows]).statistic) for rows in draws]
    low, high = np.nanquantile(found, (0.025, 0.975))
    return float(spearmanr(a, b).statistic), float(low), float(high)


def _record(order: np.ndarray) -> None:
    with np.load(TABLE) as kept:
        texts, factors = [str(text) for text in kept["prompts"][:PROMPTS]], kept["factors"]
    read: dict[int, np.ndarray] = {}
    if READ.exists():
        with np.load(READ) as kept:
            read = dict(zip(kept["candidates"].tolist(), kept["read"], strict=True))
    generator, reader = (
        load_generator(load_spec("shapes")),
        Reader.load(path("models", "shapes") / "scorers" / "reader"),
    )
    generator.prepare(texts)
    seeds = list(prompts.seeds(texts, 0, "search"))
    for number in track([int(each) for each in order if int(each) not in read], "candidates"):
        b1, b2, s1, s2 = map(float, factors[number])
        answers = reader.read(generator.generate(texts, seeds, Factors(b1, b2, s1, s2)))
        read[number] = np.stack([answers[name].numpy() for name in CLASSES], -1).astype(np.int8)
        with replacing(READ) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, candidates=np.array([*read]), read=np.stack([*read.values()]))


if __name__ == "__main__":
    typer.run(main)
