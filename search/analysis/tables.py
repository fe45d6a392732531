"""The data behind the figures, as rows: what each Parquet file holds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from freeu.spectra import frequencies
from search.analysis import passes
from search.analysis.draw import TITLES, relative
from search.storage.files import replacing

if TYPE_CHECKING:
    from freeu.figures import Recording
    from search.analysis.claims import Claim
    from search.analysis.passes import Pass, Passes
    from search.analysis.ranges import Suggested


def tables(found: Passes, claims: Sequence[Claim], suggested: Suggested) -> dict[str, pd.DataFrame]:
    """By the file's name."""
    both = {passes.NONE: found.plain, passes.FREEU: found.treated}
    return {
        "figure-2-steps": pd.concat([_steps(each, name, found.prompts) for name, each in both.items()]),
        "figure-2-spectra": _latent_spectra(found.plain),
        "figure-7-spectra": pd.concat([_spectra(each, name) for name, each in both.items()]),
        "figure-7-shares": pd.concat([_shares(each, name, found.prompts) for name, each in both.items()]),
        "figure-5-images": _images(found),
        "figure-6-spectra": _image_spectra(found),
        "passes": pd.concat([_measures(found, name, each) for name, each in found.made.items()]),
        "figure-9": _moved(found),
        "claims": claims_table(claims),
        "ranges": _ranges(suggested),
    }


def save(table: pd.DataFrame, file: Path) -> None:
    """As Parquet."""
    with replacing(file) as temporary:
        table.to_parquet(temporary, index=False)


def claims_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """A row for each claim."""
    rows = []
    for claim in claims:
        row = {key: value for key, value in asdict(claim).items() if key != "result"}
        result = {key: getattr(claim.result, key) for key in ("n", "mean", "low", "high", "p")}
        rows.append({**row, **result, "verdict": claim.verdict})
    return pd.DataFrame(rows)


def _steps(recording: Recording, name: str, prompts: Sequence[str]) -> pd.DataFrame:
    """A row for each prompt and step; a step's changes are those that it makes, so the last has none."""
    n, steps = recording.latent_shares.shape
    changes = np.full((n, steps, 2), np.nan)
    changes[:, : recording.changes.shape[1]] = recording.changes
    return pd.DataFrame(
        {
            "pass": name,
            "prompt": np.repeat(prompts, steps),
            "step": np.tile(np.arange(1, steps + 1), n),
            "timestep": np.tile(recording.timesteps, n),
            "low_change": changes[..., 0].ravel(),
            "high_change": changes[..., 1].ravel(),
            "high_share": recording.latent_shares.ravel(),
        }
    )


def _latent_spectra(recording: Recording) -> pd.DataFrame:
    logs = relative(recording.latent_spectra).mean(0)
    return _curves(logs, recording.latents.shape[-2:], {"feature": "latent"})


def _spectra(recording: Recording, name: str) -> pd.DataFrame:
    """Relative log amplitude by site, kind, step and frequency, mean over prompts."""
    rows = [
        _curves(relative(each[i]).mean(0), recording.sizes[i], {"pass": name, "site": site, "kind": kind})
        for kind, each in recording.spectra.items()
        for i, site in enumerate(recording.names)
    ]
    return pd.concat(rows, ignore_index=True)


def _curves(logs: np.ndarray, size: Sequence[int], named: dict[str, str]) -> pd.DataFrame:
    """Rows of curves (steps, rings), of maps of this size."""
    steps, rings = logs.shape
    return pd.DataFrame(
        {
            **named,
            "step": np.repeat(np.arange(1, steps + 1), rings),
            "frequency": np.tile(frequencies(*size), steps),
            "relative_log_amplitude": logs.ravel(),
        }
    )


def _shares(recording: Recording, name: str, prompts: Sequence[str]) -> pd.DataFrame:
    """High-frequency share by prompt, site, step, and a column for each kind."""
    n, steps, sites = recording.shares["skip"].shape
    return pd.DataFrame(
        {
            "pass": name,
            "prompt": np.repeat(prompts, steps * sites),
            "step": np.tile(np.repeat(np.arange(1, steps + 1), sites), n),
            "site": np.tile(recording.names, n * steps),
            **{kind: shares.ravel() for kind, shares in recording.shares.items()},
        }
    )


def _images(found: Passes) -> pd.DataFrame:
    """The images that are shown, of every pass, as WebP without loss."""
    rows = []
    for name, each in found.made.items():
        for prompt, image in zip(found.prompts, each.examples, strict=False):
            rows.append({"pass": name, **_factors(each), "prompt": prompt, "image": _webp(image.permute(1, 2, 0))})
    return pd.DataFrame(rows)


def _webp(pixels: object) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(stream, "WEBP", lossless=True)
    return stream.getvalue()


def _image_spectra(found: Passes) -> pd.DataFrame:
    """Relative log amplitude of the images' luma by pass and frequency, mean over prompts."""
    rows = []
    for name, each in found.made.items():
        logs = relative(each.spectra).mean(0)
        frequency = frequencies(*found.images.shape[-2:]).numpy()
        one = {"pass": name, **_factors(each), "frequency": frequency, "relative_log_amplitude": logs}
        rows.append(pd.DataFrame(one))
    return pd.concat(rows, ignore_index=True)


def _measures(found: Passes, name: str, each: Pass) -> pd.DataFrame:
    seeds = found.others if name == passes.OTHER_SEEDS else found.seeds
    named: dict[str, object] = {"pass": name, **_factors(each), "prompt": found.prompts, "seed": seeds}
    return pd.DataFrame(named).join(each.table)


def _factors(each: Pass) -> dict[str, object]:
    f = each.factors
    width = f.controls.of(1, "width")
    return {"b1": f.b1, "b2": f.b2, "s1": f.s1, "s2": f.s2, "version": f.version, "stages": f.stages, "width": width}


def _moved(found: Passes) -> pd.DataFrame:
    """What figure 9 shows."""
    from search.analysis.claims import shifts

    names = found.ablations
    rows = [
        {"pass": name, "measure": measure, "shift": result.mean, "low": result.low, "high": result.high}
        for measure in TITLES
        for name, result in zip(names, shifts(found, names, measure, 0), strict=True)
    ]
    return pd.DataFrame(rows)


def _ranges(suggested: Suggested) -> pd.DataFrame:
    """For b and s: the ends as the sweep measured them, their intervals, what stops them, and the ends suggested."""
    rows = []
    for each, box in zip(suggested.ranges, suggested.box, strict=True):
        for i, side in enumerate(("low", "high")):
            interval = (each.below, each.above)[i]
            rows.append(
                {
                    "factor": each.name,
                    "end": side,
                    "suggested": box[i],
                    "by_sweep": each.ends[i],
                    "interval_low": interval[0],
                    "interval_high": interval[1],
                    "stopped_by": each.stopped[i],
                }
            )
    return pd.DataFrame(rows)
