"""The figures of numbers: latents through the steps, spectra at each site, sweeps, ablations, guardrails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from search.analysis import passes, style
from search.analysis.claims import shifts
from search.analysis.passes import Passes
from search.evaluation.guardrails import NAMES
from search.evaluation.guardrails import shifts as shifts_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from freeu.factors import Stages
    from freeu.figures import Recording
    from search.analysis.ranges import Suggested

ACROSS = 6
"""Sites that stand beside each other."""
CYCLES = "frequency (cycles / pixel)"
RELATIVE = "relative log amplitude (ln)"
TITLES = {
    "distance": "distance (of two seeds')",
    "saturation": "saturation (seed spreads)",
    "contrast": "contrast (seed spreads)",
    "high_band": "detail (seed spreads)",
}


def figure(width: float, height: float) -> Figure:
    """An empty one, inches, whose parts make room for one another."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def band(axes: Axes, x: np.ndarray, values: np.ndarray, colour: Any, dash: Any, label: str) -> None:
    """Mean over prompts of values (prompts, points), with the middle 95 % of prompts behind it."""
    low, high = np.nanquantile(values, [0.025, 0.975], axis=0)
    axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
    axes.plot(x, np.nanmean(values, axis=0), color=colour, linestyle=dash, label=label)


def latents(at: Any, recording: Recording) -> None:
    """Under figure 2: how far each part moves in a step, and the spectrum at some steps. at: two axes."""
    from freeu.spectra import frequencies

    left, right = at
    steps = np.arange(1, recording.changes.shape[1] + 1)
    for i, (name, colour, dash) in enumerate((("low frequencies", style.BLUE, "-"), ("high", style.RED, "--"))):
        band(left, steps, recording.changes[..., i], colour, dash, name)
    left.set(xlabel="step", ylabel="change (share of the part)", ylim=(0, None))
    left.legend()
    logs = relative(recording.latent_spectra).mean(0)
    size = recording.latents.shape[-2:]
    for step, colour in zip(recording.shown, shades(len(recording.shown)), strict=True):
        right.plot(frequencies(*size), logs[step], color=colour, label=f"step {step + 1}")
    right.set(xlabel=CYCLES, ylabel=RELATIVE)
    right.legend()


def relative(amplitudes: np.ndarray) -> np.ndarray:
    """`freeu.spectra.relative_log` of an array."""
    import torch

    from freeu.spectra import relative_log

    return np.asarray(relative_log(torch.from_numpy(amplitudes)))


def shades(count: int) -> list[Any]:
    """So many colours from dark to light, that stay apart in grey."""
    import matplotlib

    return [matplotlib.colormaps["viridis"](each) for each in np.linspace(0.25, 0.87, count)]


def features(recording: Recording, stages: Stages) -> Figure:
    """Figure 7: for each site the spectra of its three features, and under it their share of high frequencies."""
    from freeu.spectra import frequencies

    count = len(recording.names)
    across = min(ACROSS, count)
    blocks = math.ceil(count / across)
    made = figure(max(6.5, 1.9 * across + 0.8), 4.2 * blocks + 0.4)
    grid = np.asarray(made.subplots(2 * blocks, across, squeeze=False, sharey="row"))
    for at in grid.flat:
        at.set_visible(False)
    for i, (name, site) in enumerate(zip(recording.names, recording.sites, strict=True)):
        row, column = 2 * (i // across), i % across
        top, bottom = grid[row, column], grid[row + 1, column]
        size, steps = recording.sizes[i], np.arange(1, len(recording.timesteps) + 1)
        for kind, (colour, dash) in style.KINDS.items():
            logs = relative(recording.spectra[kind][i])
            for step in recording.shown:
                top.plot(frequencies(*size), logs[:, step].mean(0), color=colour, alpha=0.25, linewidth=0.7)
            top.plot(frequencies(*size), logs.mean((0, 1)), color=colour, linestyle=dash, label=kind)
            band(bottom, steps, recording.shares[kind][..., i], colour, dash, kind)
        top.set_visible(True)
        bottom.set_visible(True)
        stage = site.stage(stages)
        short = name.removeprefix("up_blocks.").replace(".resnets.", ".")
        acts = f"stage {stage}" if stage in (1, 2) else "untouched"
        top.set(title=f"{short}, {acts}\n{site.width} channels, {size[0]} × {size[1]}", xlabel=CYCLES)
        bottom.set_xlabel("step")
        bottom.xaxis.get_major_locator().set_params(integer=True)
        if column == 0:
            top.set_ylabel(RELATIVE)
            bottom.set_ylabel("high-frequency share\n(of the power)")
    for at in grid[1::2, 0]:
        at.set_ylim(bottom=0)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper center", ncols=3)
    return made


def sweeps(found: Passes) -> Figure:
    """Figure 6: the images' spectra through the two sweeps, what changes in them, and the share of high frequencies."""
    from freeu.spectra import frequencies

    made = figure(7.5, 7.6)
    grid = made.subplots(3, 2)
    plain = found.made[passes.NONE]
    for column, name in enumerate("bs"):
        sweep = found.swept(name)
        top, middle, bottom = grid[:, column]
        base = relative(plain.spectra).mean(0)
        x = frequencies(*found.images.shape[-2:])
        for (value, each), colour in zip(sweep, shades(len(sweep)), strict=True):
            logs = relative(each.spectra).mean(0)
            look: dict[str, Any] = dict(color=style.INK, linestyle="--") if value == 1 else dict(color=colour)
            top.plot(x, logs, **look, linewidth=1.3, label=f"{name} = {value:g}")
            middle.plot(x, logs - base, **look, linewidth=1.3)
        top.set(title=f"sweep of {name}, the other at 1", xlabel=CYCLES, ylabel=RELATIVE)
        top.legend(ncols=2)
        middle.set(xlabel=CYCLES, ylabel="less the baseline's (ln)")
        shares = plain.table["high_share"].to_numpy()
        logs = np.stack([np.log(each.table["high_share"].to_numpy() / shares) for _, each in sweep], axis=1)
        band(bottom, np.array([value for value, _ in sweep]), 100 * np.expm1(logs), style.BLUE, "-", "")
        bottom.axhline(0, color=style.FAINT, linewidth=0.8)
        bottom.set(xlabel=f"{name}1 = {name}2", ylabel="high-frequency share\n(% more than the baseline's)")
    return made


def ablations(found: Passes) -> Figure:
    """Figures 9 and 12: what each variant moves, beside what another seed moves."""
    names = found.ablations
    made = figure(10.5, 0.4 * len(names) + 0.8)
    grid = made.subplots(1, len(TITLES), sharey=True)
    rows = np.arange(len(names))[::-1]
    for at, (measure, title) in zip(grid, TITLES.items(), strict=True):
        results = shifts(found, names, measure, 0)
        at.axvspan(-1 if measure != "distance" else 0, 1, color=style.FAINT, alpha=0.18, linewidth=0)
        at.axvline(0, color=style.FAINT, linewidth=0.8)
        for row, result in zip(rows, results, strict=True):
            at.plot([result.low, result.high], [row, row], color=style.BLUE, linewidth=2, solid_capstyle="butt")
            at.plot(result.mean, row, "o", color=style.BLUE, markersize=5)
        at.set(xlabel=title)
        at.grid(axis="y", visible=False)
    grid[0].set_yticks(rows, names)
    return made


def bounds(found: Passes, suggested: Suggested) -> Figure:
    """The guardrails through the two sweeps, and the ranges that keep them."""
    made = figure(8.5, 3.6)
    grid = made.subplots(1, 2, sharey=True)
    base, again = (found.made[name].table for name in (passes.NONE, passes.OTHER_SEEDS))
    for at, name, ends in zip(grid, "bs", suggested.box, strict=True):
        sweep = found.swept(name)
        values = [value for value, _ in sweep]
        moved = [shifts_of(each.table, base, again) for _, each in sweep]
        at.axhspan(-1, 1, color=style.FAINT, alpha=0.18, linewidth=0)
        at.axvspan(*ends, color=style.GREEN, alpha=0.15, linewidth=0)
        for measure, colour, dash in zip(NAMES, style.HUES, style.DASHES, strict=True):
            at.plot(values, [each[measure] for each in moved], color=colour, linestyle=dash, label=measure)
        at.set(xlabel=f"{name}1 = {name}2", title=f"suggested: {ends[0]:g} to {ends[1]:g}", ylim=(-3, 3))
    grid[0].set_ylabel("shift (spreads between seeds)")
    made.legend(*grid[0].get_legend_handles_labels(), loc="outside right center")
    return made


def evenly(names: Sequence[Any], most: int) -> list[int]:
    """At most so many places of a list, spread over it, its ends among them."""
    return sorted({round(i) for i in np.linspace(0, len(names) - 1, min(most, len(names)))})
