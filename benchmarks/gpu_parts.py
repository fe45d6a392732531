"""What `benchmarks/gpu.py` asks a card, part by part: each gives rows, a label and what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import torch

import freeu
from benchmarks import filter as filters
from benchmarks import trial, unet
from benchmarks.clock import shares
from benchmarks.timing import interleaved, timed
from configs import devices
from freeu.filter import skip_filter_
from freeu.models.place import replayed

Row = tuple[str, str]
VERSIONS = {
    "off": None,
    "ours, v1 by block": freeu.Factors(1.3, 1.4, 0.9, 0.2, version="v1", stages="block"),
    "ours, v2 by width": freeu.Factors(1.3, 1.4, 0.9, 0.2),
}


class Unmeasured(Exception):
    """What this machine can't tell."""


@dataclass
class Bench:
    """What all parts know. quick: toy sizes, for a machine without a card and for tests."""

    device: torch.device
    quick: bool
    dtype: torch.dtype
    folder: Path
    deadline: float
    rate: float = 0.0
    rows: list[Row] = field(default_factory=list)

    @property
    def size(self) -> str:
        """Of the trial's pipeline."""
        return "toy" if self.quick else "sdxl"

    def need_cuda(self, what: str) -> None:
        """Raises Unmeasured where there is no card."""
        if self.device.type != "cuda":
            raise Unmeasured(f"{what} needs a CUDA device")


def installed(bench: Bench) -> Iterator[Row]:
    """Versions, the card, and the rate of matrix products."""
    from search.study.reproduce import versions

    names = ("torch", "diffusers", "transformers")
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions().items() if name in names)
    yield "device", devices.described(str(bench.device)).in_words()
    if bench.device.type == "cuda":
        import triton

        yield "CUDA, cuDNN, Triton", f"{torch.version.cuda}, {torch.backends.cudnn.version()}, {triton.__version__}"
    side = 512 if bench.quick else 8192
    for dtype in (bench.dtype, torch.float32):
        rate = trial.rate(bench.device, dtype, side)
        bench.rate = rate if dtype == bench.dtype else bench.rate
        yield f"matrix product, {_name(dtype)}", f"{rate / 1e12:.3g} TFLOP/s"


def filtered(bench: Bench) -> Iterator[Row]:
    """The skip filter against diffusers' and against a copy; on a card as a graph's replay too."""
    shrink, faster, over = 64 if bench.quick else 1, [], []
    with torch.inference_mode():
        for model, shapes in filters.SHAPES.items():
            for samples, channels, side in shapes[: 1 if bench.quick else None]:
                x = torch.randn(samples, channels // shrink, side, side, device=bench.device).to(bench.dtype)
                ours, theirs, copy = filters.measured(x, 2 if bench.quick else 9)
                faster.append(theirs / ours)
                over.append(ours / copy)
                shape = "×".join(map(str, x.shape))
                yield f"filter, {model}, {shape}", f"{faster[-1]:.1f} times diffusers', {over[-1]:.2f} times a copy"
        mean = f"{geometric_mean(faster):.1f} times diffusers', {geometric_mean(over):.2f} times a copy"
        yield "filter, geometric mean", mean
        bench.need_cuda("a graph's replay")
        yield from _replayed(bench)


def _replayed(bench: Bench) -> Iterator[Row]:
    """Factors as tensors, so that a captured graph takes other ones; without the launches' own time."""
    for samples, channels, side in filters.SHAPES["SDXL at 1024"]:
        x = torch.randn(samples, channels, side, side, device=bench.device).to(bench.dtype)
        work, scale = x.clone(), torch.full((1,), 0.999, device=bench.device)
        runs = {"filter": lambda: skip_filter_(work, scale, 1, 1.0, False), "copy": lambda: work.copy_(x)}  # noqa: B023
        graphs = {name: _captured(run) for name, run in runs.items()}
        ours, copy = interleaved([graph.replay for graph in graphs.values()], 9, bench.device)
        yield f"filter replayed, {samples}×{channels}×{side}×{side}", f"{ours / copy:.2f} times a copy"


def _captured(run: Callable[[], object]) -> Any:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph


def unets(bench: Bench) -> Iterator[Row]:
    """A forward pass: off, ours, diffusers'; memory."""
    for size in ["toy"] if bench.quick else ["sd15", "sdxl"]:
        net = unet.made(size, str(bench.device), bench.dtype)[0]
        for batch in (1,) if bench.quick else (1, 4, 16):
            forward = unet.forwards(net, size, 2 * batch)
            yield from _ways(bench, f"U-Net {size}, {batch} under guidance", net, forward)
        del net, forward
        _emptied(bench)


def _ways(bench: Bench, label: str, net: Any, forward: Callable[[], None]) -> Iterator[Row]:
    rounds, seconds, memory = 1 if bench.quick else 5, dict[str, list[float]](), dict[str, float]()
    ways: dict[str, Callable[[], None]] = {name: partial(_ours, net, factors) for name, factors in VERSIONS.items()}
    ways["diffusers'"] = lambda: unet.theirs(net)
    for turn in range(-1, rounds):
        for name, way in ways.items():
            way()
            if bench.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(bench.device)
            took = timed(forward, 1, bench.device)
            if turn >= 0:
                seconds.setdefault(name, []).append(took)
                memory[name] = torch.cuda.max_memory_allocated(bench.device) / 1e9 if bench.device.type == "cuda" else 0
    unet.off(net)
    plain = seconds["off"]
    for name, found in seconds.items():
        over = median(one / other for one, other in zip(found, plain, strict=True)) - 1
        yield f"{label}, {name}", f"{1e3 * median(found):.1f} ms ({100 * over:+.2f} %), {memory[name]:.2f} GB"


def _ours(net: Any, factors: freeu.Factors | None) -> None:
    unet.off(net)
    if factors is not None:
        freeu.enable(net, factors)


def compiled(bench: Bench) -> Iterator[Row]:
    """Compiled forward passes, and how often other factors compile them again. Last, as it takes minutes."""
    bench.need_cuda("compiled U-Nets")
    for size in ("toy",) if bench.quick else ("sdxl", "sd15"):
        yield from compiled_ways(bench, size, "inductor")
        _emptied(bench)


def compiled_ways(bench: Bench, size: str, backend: str) -> Iterator[Row]:
    """Off and ours by torch.compile, one after the other: hooks that stay for "off" would be FreeU at factors of 1.
    Then ours with CUDA graphs, on a card, and with its transformer blocks alone compiled: sooner there, slower then."""
    net, forward = unet.made(size, str(bench.device), bench.dtype, 2 if bench.quick else 8)
    plain, off = net.forward, 0.0
    graphs = [("ours, v2 by width", ", CUDA graphs")] if bench.device.type == "cuda" else []
    for name, how in (("off", ""), ("ours, v2 by width", ""), *graphs, ("ours, v2 by width", ", blocks alone")):
        torch.compiler.reset()
        factors = VERSIONS[name]
        _ours(net, factors)
        if how == ", blocks alone":
            net.forward = plain
            net.compile_repeated_blocks(backend=backend)
        else:
            net.forward = replayed(plain) if how else torch.compile(plain, backend=backend)
        with _graphs() as made:
            began = timed(forward, 1, bench.device)
            seconds = interleaved([forward], 1 if bench.quick else 5, bench.device)[0]
            if factors is not None:
                for other in (freeu.Factors(1.1, 1.2, 0.8, 0.5), freeu.IDENTITY):
                    freeu.enable(net, other)
                    forward()
        off = off or seconds
        took = f"{1e3 * seconds:.1f} ms ({100 * (seconds / off - 1):+.2f} %)"
        over = f"{took}, graphs compiled: {made[0]}, first {began:.0f} s"
        yield f"U-Net {size}, {1 if bench.quick else 4} under guidance, compiled, {name}{how}", over


@contextmanager
def _graphs() -> Iterator[list[int]]:
    """Counts what is compiled inside."""
    from torch._dynamo.utils import counters

    before, found = counters["stats"]["unique_graphs"], [0]
    yield found
    found[0] = counters["stats"]["unique_graphs"] - before


def trials(bench: Bench) -> Iterator[Row]:
    """A trial with guardrails, by the types of U-Net and decoder, beside the naive loop in its best batch."""
    kinds = [("float32", False)]
    if bench.device.type == "cuda":
        kinds = [("float16", True), ("float16", False), ("bfloat16", False)]
    for number, (dtype, upcast) in enumerate(kinds):
        label = f"trial {bench.size}, {dtype}{' with a float32 decoder' if upcast else ''}"
        try:
            yield from _trial(bench, label, dtype, upcast, whole=number == 0)
        except Exception as error:  # as random weights that overflow: the other types can still be told
            yield f"{label}: failed", said(error)
        _emptied(bench)
    bench.need_cuda("the share of idle time")


def _trial(bench: Bench, label: str, dtype: str, upcast: bool, whole: bool) -> Iterator[Row]:
    """whole: beside the naive loop, with where the time goes."""
    images, steps = 16, 2 if bench.quick else 20
    world = trial.made(bench.size, images, str(bench.device), dtype, steps, False, bench.folder, upcast, True)

    def seconds(run: Callable[[], None]) -> float:
        return trial.timed(run, world.device)[0]

    trial.ours(world)  # finds its batch sizes
    wall = seconds(lambda: trial.ours(world))
    share = trial.operations(world) / wall / (bench.rate or math.nan)
    yield f"{label}, {images} images, {steps} steps", f"{wall:.2f} s, {100 * share:.0f} % of the matrix rate"
    generator: Any = world.evaluator.generator
    yield f"{label}, chosen batches", f"U-Net {generator._batches.size}, decoder {generator._decodes.size}"
    if not whole:
        return
    loops = {batch: seconds(partial(trial.naively, world, batch)) for batch in ((16,) if bench.quick else (1, 4, 8))}
    best = min(loops, key=lambda batch: loops[batch])
    yield f"{label}, naive loop by {best}", f"{loops[best]:.2f} s, {loops[best] / wall:.2f} times ours"
    yield f"{label}, where it goes", shares(trial.parts(world))
    if bench.device.type == "cuda":
        for part, run in trial.stages(world).items():
            yield f"{label}, {part}, idle", f"{100 * _idle(run, world.device):.0f} %"


def _idle(run: Callable[[], object], device: torch.device) -> float:
    """The share of a run in which no kernel is at work."""
    from torch.profiler import ProfilerActivity, profile

    wall = trial.timed(run, device)[0]
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        run()
        torch.cuda.synchronize(device)
    busy = sum(each.self_device_time_total for each in seen.key_averages()) / 1e6
    return max(0.0, 1 - busy / wall)


def agreement(bench: Bench) -> Iterator[Row]:
    """The embedded model's images: the device's beside the CPU's, and batches of 1 beside others."""
    from freeu.models import load_generator, load_spec

    spec, factors = load_spec("shapes"), freeu.Factors(1.3, 1.4, 0.9, 0.2)
    count = 4 if bench.quick else 32
    prompts, seeds = [f"a red circle and {i} squares" for i in range(count)], [0] * count

    def made(device: str, batch: int) -> torch.Tensor:
        one = load_generator(spec, device=device, dtype="float32", batch_size=batch, steps=2 if bench.quick else None)
        return one.generate(prompts, seeds, factors).int()

    def apart(one: torch.Tensor, other: torch.Tensor) -> str:
        levels = (one - other).abs()
        return f"{int(levels.max())} levels at the most, {float(levels.float().mean()):.4f} on average"

    of_one = made(str(bench.device), 1)
    for batch in (2,) if bench.quick else (12, 32):
        yield f"batch of {batch} from batch of 1", apart(made(str(bench.device), batch), of_one)
    bench.need_cuda("agreement with the CPU")
    yield "CUDA from the CPU", apart(made("cpu", 1), of_one)


def batch_sizes(bench: Bench) -> Iterator[Row]:
    """Seconds an image of a U-Net's forward by the batch."""
    net = unet.made(bench.size, str(bench.device), bench.dtype)[0]
    unet.ours(net)
    for batch in (1, 2) if bench.quick else (1, 2, 4, 6, 8, 12, 16, 24, 32):
        forward = unet.forwards(net, bench.size, 2 * batch)
        seconds = interleaved([forward], 1 if bench.quick else 3, bench.device)[0]
        yield f"U-Net {bench.size}, {batch} images under guidance", f"{1e3 * seconds / batch:.2f} ms an image"


def _emptied(bench: Bench) -> None:
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def said(error: Exception) -> str:
    """An error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
