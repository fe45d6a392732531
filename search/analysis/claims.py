"""The paper's claims about U-Nets and FreeU, each as a number that may confirm or contradict it.

Each claim has one number per prompt; their mean has a 95 % interval and a p, both by sign flips
(`metrics.stats.paired`). A claim holds if the whole interval is on its side of 0 and p, corrected for all claims
(Holm), is below 0.05; it fails if the same is true on the other side; otherwise it is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from freeu.spectra import HIGH
from metrics.stats import LEVEL, Paired, holm, paired
from search.analysis import passes
from search.evaluation.guardrails import spread_of

if TYPE_CHECKING:
    from freeu.factors import Stages
    from freeu.figures import Recording
    from search.analysis.passes import Passes

EQUAL = 0.4
"""The departure from 1 at which b and s are compared: b 1.4 and s 0.6."""


@dataclass(frozen=True)
class Claim:
    """One of them.

    Attributes:
        figure: the paper's number. name: short, for a file. says: what is claimed. measured: what the number is.
        unit: of the number. result: its mean, interval and p. effect: the mean in standard deviations between prompts.
        p_holm: corrected for all claims.
    """

    figure: int
    name: str
    says: str
    measured: str
    unit: str
    result: Paired
    effect: float
    p_holm: float = float("nan")

    @property
    def verdict(self) -> str:
        """ "holds", "fails" or "open"."""
        if not self.p_holm < LEVEL:
            return "open"
        return "holds" if self.result.low > 0 else "fails" if self.result.high < 0 else "open"


def claims(found: Passes, seed: int) -> list[Claim]:
    """All that the passes can tell; every number is counted so that above 0 is what the paper says."""
    rows = [*_recorded(found), *_swept(found), *_ablated(found)]
    rng = np.random.default_rng(seed)
    tested: list[Claim] = []
    for figure, name, says, measured, unit, values in rows:
        known = np.isfinite(values)
        if known.sum() < 2:
            continue
        values = values[known]
        prompts = [prompt for prompt, there in zip(found.prompts, known, strict=True) if there]
        result = paired(values, np.zeros_like(values), prompts, rng)
        deviation = float(values.std(ddof=1))
        effect = result.mean / deviation if deviation > 0 else float("nan")
        tested.append(Claim(figure, name, says, measured, unit, result, effect))
    ps = holm([claim.result.p for claim in tested])
    return [replace(claim, p_holm=float(p)) for claim, p in zip(tested, ps, strict=True)]


Row = tuple[int, str, str, str, str, np.ndarray]


def _recorded(found: Passes) -> list[Row]:
    plain, treated = found.plain, found.treated
    shares = {kind: _mean(plain.shares[kind]) for kind in plain.shares}
    touched = touched_sites(plain, found.factors.stages)
    rows: list[Row] = []
    if plain.changes.size:
        low, high = plain.changes.mean(1).T
        rows += [
            (
                2, "latents", "Each step moves the latents' high frequencies more than the low ones.",
                "change in a step, high less low", "of the part's size", high - low,
            ),
            (
                2, "amplitude", "From noise to image the high frequencies' amplitude changes more than the low ones'.",
                "change of log amplitude, high less low", "ln", amplitude_changes(plain),
            ),
        ]  # fmt: skip
    rows += [
        (
            7, "skip", "Skip features hold more high frequencies than the backbone's.",
            "high-frequency share, skip less backbone", "of the power", shares["skip"] - shares["backbone"],
        ),
        (
            7, "fused", "What the decoder makes of both holds more of them than the backbone alone.",
            "high-frequency share, fused less backbone", "of the power", shares["fused"] - shares["backbone"],
        ),
        (
            8, "structure", "The backbone's mean map shows the picture's structure, more than the skip's does.",
            "share of the map that the picture's colours explain, backbone less skip", "R²", structure(found),
        ),
        (
            15, "features", "Under FreeU the decoder's features hold fewer high frequencies.",
            "high-frequency share of fused features, without less with FreeU", "of the power",
            _mean(plain.shares["fused"][..., touched] - treated.shares["fused"][..., touched]),
        ),
    ]  # fmt: skip
    return rows


def _swept(found: Passes) -> list[Row]:
    b = found.swept("b")
    rows: list[Row] = []
    if len(b) > 2:
        rows.append((
            6, "suppression", "The larger b, the fewer high frequencies are in the images.",
            "loss of high-frequency share for 0.1 of b", "%", -percent_per_tenth(found),
        ))  # fmt: skip
    strong, weak = (found.made.get(f"{name} {value:g}") for name, value in (("b", 1 + EQUAL), ("s", 1 - EQUAL)))
    if strong and weak:
        rows.append((
            5, "influence", "b changes images more than s does.",
            f"distance to the baseline, b {1 + EQUAL:g} less s {1 - EQUAL:g}", "of white",
            (strong.table["distance"] - weak.table["distance"]).to_numpy(),
        ))  # fmt: skip
    return rows


def _ablated(found: Passes) -> list[Row]:
    made, none = found.made, found.made[passes.NONE].table["high_band"].to_numpy()
    spread = spread_of(none, made[passes.OTHER_SEEDS].table["high_band"].to_numpy())
    unit = "spreads between seeds"
    first, second = (passes.FREEU, found.other) if found.factors.version == "v2" else (found.other, passes.FREEU)
    compared = [
        (9, "version", "Version 2 keeps more detail than version 1 with the same b.", "version 2 less version 1",
         first, second),
        (9, "half", "Half of the channels keep more detail than all of them.", "half less all channels",
         passes.FREEU, passes.ALL_CHANNELS),
        (12, "backbone", "The backbone's factor alone takes detail away.", "the baseline less backbone alone",
         passes.NONE, passes.BACKBONE),
        (12, "filter", "The skip filter gives detail back.", "FreeU less backbone alone",
         passes.FREEU, passes.BACKBONE),
    ]  # fmt: skip
    return [
        (
            figure, name, says, f"high_band, {measured}", unit,
            (made[a].table["high_band"] - made[b].table["high_band"]).to_numpy() / spread,
        )
        for figure, name, says, measured, a, b in compared
        if a in made and b in made
    ]  # fmt: skip


def amplitude_changes(recording: Recording) -> np.ndarray:
    """Of each prompt: |change of the log amplitude from the first step to the last|, of high less that of low rings."""
    spectra = recording.latent_spectra[:, [0, -1]]
    ring = np.arange(spectra.shape[2]) / min(recording.latents.shape[-2:])
    low, high = (np.log(spectra[..., rings].mean(2)) for rings in (ring <= HIGH, ring > HIGH))
    return np.asarray(np.abs(high[:, 1] - high[:, 0]) - np.abs(low[:, 1] - low[:, 0]))


def percent_per_tenth(found: Passes) -> np.ndarray:
    """Of each prompt: by how many per cent the images' high-frequency share changes for 0.1 of b, by least squares."""
    b = found.swept("b")
    values = np.array([value for value, _ in b])
    logs = np.log(np.stack([each.table["high_share"].to_numpy() for _, each in b]).clip(min=1e-12))
    values = values - values.mean()
    slopes = values @ logs / (values @ values)
    return np.asarray(100 * np.expm1(0.1 * slopes))


def touched_sites(recording: Recording, stages: Stages) -> list[int]:
    """Where FreeU acts, by place in the recording; all sites where it acts at none that was recorded."""
    found = [i for i, site in enumerate(recording.sites) if (site.stage(stages) or 3) < 3]
    return found or list(range(len(recording.sites)))


def structure(found: Passes) -> np.ndarray:
    """Of each prompt: R² of the backbone's mean map less that of the skip's, by the finished picture's colours.

    Mean over the sites where FreeU acts, and over the later half of the steps that are kept.
    """
    import torch
    from torch.nn import functional as F

    recording, total = found.plain, []
    late = len(recording.shown) // 2
    for site in touched_sites(recording, found.factors.stages):
        maps = {kind: recording.maps[kind][site][:, late:] for kind in recording.maps}
        size = maps["backbone"].shape[-2:]
        pixels = F.adaptive_avg_pool2d(found.images.float() / 255, size)
        colours = torch.cat([pixels.flatten(2), torch.ones(len(pixels), 1, size[0] * size[1])], dim=1)
        explained = {kind: _explained(each, colours.transpose(1, 2).double().numpy()) for kind, each in maps.items()}
        total.append(explained["backbone"] - explained["skip"])
    return np.mean(total, axis=0)


def _explained(maps: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """R² of maps (n, steps, h, w) by colours (n, h w, 4), adjusted for their number; mean over steps: (n,)."""
    n, steps = maps.shape[:2]
    y = maps.reshape(n, steps, -1).astype(np.float64)
    y = y - y.mean(2, keepdims=True)
    positions, known = colours.shape[1:]
    found = np.empty((n, steps))
    for i in range(n):
        weights, *_ = np.linalg.lstsq(colours[i], y[i].T, rcond=None)
        left = np.square(y[i].T - colours[i] @ weights).sum(0)
        whole = np.square(y[i]).sum(1)
        unexplained = np.divide(left, whole, out=np.ones(steps), where=whole > 0)
        found[i] = 1 - unexplained * (positions - 1) / max(1, positions - known)
    return found.mean(1)


def shifts(found: Passes, names: Sequence[str], measure: str, seed: int) -> list[Paired]:
    """How far passes move a measure from the baseline, in spreads between seeds; `distance`, in two seeds' one."""
    base, other = (found.made[name].table[measure].to_numpy() for name in (passes.NONE, passes.OTHER_SEEDS))
    spread = float(other.mean()) if measure == "distance" else spread_of(base, other)
    rng = np.random.default_rng(seed)
    return [
        paired(found.made[name].table[measure].to_numpy() / spread, base / spread, found.prompts, rng) for name in names
    ]


def _mean(shares: np.ndarray) -> np.ndarray:
    """Over steps and sites, of (prompts, steps, sites): (prompts,)."""
    return np.asarray(shares.mean((1, 2)))
