"""What a trial costs, ours beside the loop that people write: `python benchmarks/trial.py`, minutes on two cores.

A trial: the prompts, all steps, FreeU, decoding, three metrics, the record with its grid. The naive loop calls
diffusers' own pipeline with `enable_freeu`, once for each prompt and in batches, and hands the images to one metric
after the other, each of which embeds them for itself. All take turns in one run; what counts are the ratios of medians.
CPU time stands beside wall time: on a machine with other work it is the steadier of the two.

Also printed: where the time of ours goes, by a run on one thread with a clock round each part; FreeU's share; and the
U-Net's and decoder's floating-point operations over what a product of matrices reaches here, for each way.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import typer

import freeu
from benchmarks import naive
from benchmarks.clock import Clock, shares
from freeu import Candidate
from search.evaluation import Evaluation, Evaluator, Task
from search.storage import StudyFolder, TrialRecord

FACTORS = freeu.Factors(1.3, 1.4, 0.9, 0.2, version="v1", stages="block")
"""What `enable_freeu` can do too."""


@dataclass(frozen=True)
class World:
    """What both ways work on. pipe: diffusers' own, with weights of its own; evaluator: ours, with generator, metrics,
    prompts and seeds."""

    pipe: Any
    evaluator: Evaluator
    spec: Any
    device: torch.device
    folder: StudyFolder

    @property
    def prompts(self) -> tuple[str, ...]:
        return self.evaluator.prompts


def shapes(images: int, device: str, dtype: str | None, steps: int | None, compiled: bool, folder: Path) -> World:
    """The embedded model, as a study has it."""
    from search.evaluation.loading import load_parts

    job = naive.prepared(images, device=device, dtype=dtype, steps=steps, compile=compiled)
    spec = job.spec if steps is None else job.spec.model_copy(update={"steps": steps})
    generator, metrics = load_parts(job.config, job.spec)
    evaluator = Evaluator(generator, metrics, job.prompts, [0] * len(job.prompts))
    pipe = naive.pipeline().to(device, generator._unet.dtype)  # type: ignore[attr-defined]
    return World(pipe, evaluator, spec, torch.device(device), StudyFolder(folder, "trial"))


def made(
    size: str,
    images: int,
    device: str,
    dtype: str | None,
    steps: int | None,
    compiled: bool,
    folder: Path,
    upcast: bool = False,
    guarded: bool = False,
) -> World:
    """A pipeline of the size with random weights. upcast: a half-precision decoder is in float32, as SDXL's own has to
    be. guarded: with guardrails."""
    import copy

    from benchmarks import sizes
    from freeu.models import load_spec
    from freeu.models.load import DTYPES
    from freeu.models.place import Place
    from freeu.models.text_to_image import TextToImage
    from metrics.guardrails import Guardrail
    from search.evaluation.guardrails import NAMES
    from search.settings import prompts

    pipe = naive.pipeline()
    pipe.tokenizer.model_max_length = 77
    pipe = sizes.pipeline(size, pipe.tokenizer, device)
    pipe.to(device, DTYPES[dtype or ("float32" if device == "cpu" else "bfloat16")])
    pipe.set_progress_bar_config(disable=True)
    pipe.vae.register_to_config(force_upcast=upcast)
    spec = load_spec("sdxl" if size == "sdxl" else "sd15")
    spec = spec.model_copy(update={"resolution": 8 * sizes.SIDES[size], "steps": steps or 30, "name": size})
    place = Place(torch.device(device), compiled=compiled)
    generator = TextToImage(copy.deepcopy(pipe), spec, "random weights", place)
    texts = [prompt.text for prompt in prompts.limited(prompts.load("general"), images)]
    rails = {name: Guardrail(name, device, NAMES) for name in NAMES} if guarded else {}
    evaluator = Evaluator(generator, {**sizes.metrics(size, device), **rails}, texts, [0] * len(texts))
    return World(pipe, evaluator, spec, torch.device(device), StudyFolder(folder, "trial"))


def ours(world: World) -> None:
    """As a study does it."""
    found = world.evaluator(Task(Candidate(FACTORS), len(world.prompts)))
    _logged(world, found)


def naively(world: World, batch: int) -> None:
    """`pipe(prompts)`, a metric after the other."""
    from metrics.base import Batch
    from search.storage import Value

    world.pipe.enable_freeu(b1=FACTORS.b1, b2=FACTORS.b2, s1=FACTORS.s1, s2=FACTORS.s2)
    images = naive.drawn(world.pipe, world.prompts, world.spec, batch)
    scores = [metric.score(Batch(images, world.prompts)) for metric in world.evaluator.metrics.values()]
    values = {each.metric: Value(each.value, each.spread, each.n, each.direction) for each in scores}
    _logged(world, Evaluation(values, len(images), images=images))


def _logged(world: World, found: Evaluation) -> None:
    record = TrialRecord(1, FACTORS, "timed", "COMPLETE", found.values, images=found.n)
    world.folder.write_trial(record, found.per_image, found.images)


def stages(world: World) -> dict[str, Callable[[], object]]:
    """A trial of ours, and what it is made of: drawing, scoring, writing down."""
    evaluator, prompts, seeds = world.evaluator, world.evaluator.prompts, world.evaluator.seeds
    images = evaluator.generator.generate(prompts, seeds, FACTORS)
    found = evaluator(Task(Candidate(FACTORS), len(prompts)))
    return {
        "all of it": lambda: ours(world),
        "drawing": lambda: evaluator.generator.generate(prompts, seeds, FACTORS),
        "scoring": lambda: evaluator._scored(Candidate(FACTORS), prompts, seeds, images),
        "writing": lambda: _logged(world, found),
    }


def timed(run: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """(wall, CPU) seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def operations(world: World) -> float:
    """Floating-point operations of a trial in the U-Net and the decoder, counted on the plain ones of one image."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    world.pipe.disable_freeu()
    with counter:
        naive.drawn(world.pipe, world.prompts[:1], world.spec, 1)
    return float(counter.get_total_flops()) * len(world.prompts)


def rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """Floating-point operations a second of square matrices' product: the most that one may hope for."""
    a = torch.randn(side, side, device=device).to(dtype)
    with torch.inference_mode():
        a @ a
        found = [timed(lambda: [a @ a for _ in range(10)] and None, device)[0] for _ in range(5)]
    return 10 * 2 * side**3 / min(found)


def parts(world: World) -> dict[str, float]:
    """Seconds of one trial of ours by part, on one thread; what is in none is "rest"."""
    from freeu import hooks
    from freeu.models.text_to_image import TextToImage
    from metrics.encoders import Encoder

    def now() -> float:
        if world.device.type == "cuda":
            torch.cuda.synchronize(world.device)
            return time.perf_counter()
        return time.thread_time()  # other work of the machine doesn't count

    clock, kind = Clock(now), type(world.evaluator.generator)
    assert isinstance(world.evaluator.generator, TextToImage)
    named = [
        (kind, "_embed", "text"),
        (kind, "_predict", "U-Net"),
        (hooks.BeforeResnet, "changed", "FreeU"),
        (kind, "_decode", "decode"),
        (Encoder, "embed_images", "encoders"),
        (StudyFolder, "write_trial", "logging"),
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with clock.reading(named):
            ours(world)
    finally:
        torch.set_num_threads(threads)
    return clock.seconds


def main(
    size: Annotated[str, typer.Option(help="shapes; sd15, sdxl (for a GPU) or toy, with random weights.")] = "shapes",
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cuda" if torch.cuda.is_available() else "cpu",
    dtype: Annotated[str | None, typer.Option(help="float32, float16, bfloat16.")] = None,
    images: Annotated[int, typer.Option(min=16, help="Prompts of the trial.")] = 48,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps [the model's].")] = None,
    batches: Annotated[str, typer.Option(metavar="A,B", help="Of the naive loop.")] = "1,16",
    rounds: Annotated[int, typer.Option(min=1, help="Times that each is run, in turn.")] = 3,
    compiled: Annotated[bool, typer.Option("--compile", help="Ours through torch.compile.")] = False,
) -> None:
    """Run the ways in turn, and print."""
    with tempfile.TemporaryDirectory() as folder:
        if size == "shapes":
            world = shapes(images, device, dtype, steps, compiled, Path(folder))
        else:
            world = made(size, images, device, dtype, steps, compiled, Path(folder))
        ways: dict[str, Callable[[], None]] = {"ours": lambda: ours(world)}
        for batch in map(int, batches.split(",")):
            ways[f"naive, {batch} at a time"] = partial(naively, world, batch)
        report(world, ways, rounds)


def report(world: World, ways: dict[str, Callable[[], None]], rounds: int) -> None:
    """Time the ways in turn, a first round uncounted, and print."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(-1, rounds):
        for name, run in ways.items():
            took = timed(run, world.device)
            if turn >= 0:
                found[name].append(took)
    work = operations(world)
    limit = rate(world.device, world.pipe.unet.dtype, 8192 if world.device.type == "cuda" else 1024)
    n, threads = len(world.prompts), torch.get_num_threads()
    print(
        f"{world.spec.name}, {n} images of {world.spec.resolution} pixels, {world.spec.steps} steps, {world.device}, "
        f"{str(world.pipe.unet.dtype).removeprefix('torch.')}, {threads} threads, torch {torch.__version__}"
    )
    print(f"{'':22}{'wall, s':>9}{'CPU, s':>9}{'ours is':>22}{'of the matrix rate':>20}")
    medians = {name: [median(column) for column in zip(*each, strict=True)] for name, each in found.items()}
    for name, (wall, cpu) in medians.items():
        times = "" if name == "ours" else f"{wall / medians['ours'][0]:.2f}× ({cpu / medians['ours'][1]:.2f}× CPU)"
        print(f"{name:22}{wall:9.2f}{cpu:9.2f}{times:>22}{100 * work / wall / limit:18.0f} %")
    print(f"{work / 1e9:.0f} GFLOP in the U-Net and the decoder; a product of matrices: {limit / 1e9:.0f} GFLOP/s")
    seconds = parts(world)
    print(f"a trial of ours, {sum(seconds.values()):.2f} s on one thread: {shares(seconds)}")
    if world.device.type == "cpu":
        wall, cpu = medians["ours"]
        print(f"idle: {100 * max(0.0, 1 - cpu / wall / threads):.0f} % of {threads} threads' time")


if __name__ == "__main__":
    typer.run(main)
