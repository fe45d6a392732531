"""Finished studies without a model: every file that a study of such a size leaves, from random numbers.

The effects are known: in `clip` trial 1 is better than the baseline by prompt number less 2.5, in units of 0.1, so the
first three prompts lose; in `aesthetic` it is worse by 0.25 everywhere. Its images are the baseline's plus 20 grey
levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from freeu import IDENTITY, Factors, Sampling
from metrics import stats
from search.settings.first_candidates import TUNED
from search.storage import StudyFolder, TrialRecord, Value
from search.storage.files import write_json
from search.storage.image_grid import small
from search.study.held_out import BASE

DIRECTIONS = {"clip": "up", "aesthetic": "up", "fid": "down"}
CATEGORIES = ("animals", "people", "places")
LIGHTER = 20  # grey levels


def study(
    mlruns: Path,
    name: str = "sunday",
    *,
    prompts: int | Sequence[str] = 8,
    trials: int = 12,
    side: int = 32,
    seed: int = 0,
    noise: int = 8,
    model: str = "shapes",
    origin: str = "gp",
    scorers: str = "one",
    verdict: str = "FreeU trades here: knee (trial 1) is better in clip, but worse in aesthetic.",
) -> StudyFolder:
    """Write a study whose picks are the baseline (best-aesthetic), trial 1 (best-clip, knee) and trial 2 (best-fid).

    prompts: how many, or which. noise: grey levels of an image's pixels, which don't compress.
    """
    rng = np.random.default_rng(seed)
    texts = [f"a picture of thing {i}" for i in range(prompts)] if isinstance(prompts, int) else list(prompts)
    folder = StudyFolder(mlruns, name)
    base = _pictures(rng, len(texts), side, noise)
    for number in range(trials):
        _trial(folder, number, rng, texts, base, origin)
    tables = {BASE: _table(rng, texts, seed)}
    tables["0001"] = tables[BASE].assign(
        clip=tables[BASE]["clip"] + 0.1 * (np.arange(len(texts)) - 2.5), aesthetic=tables[BASE]["aesthetic"] - 0.25
    )
    tables["0002"] = tables[BASE].assign(clip=tables[BASE]["clip"] + rng.normal(0, 0.2, len(texts)))
    lighter = (base + LIGHTER).clamp(max=255)
    for key, images in ((BASE, base), ("0001", lighter), ("0002", base)):
        folder.write_held_out_images(key, 0, len(images), images.to(torch.uint8))
        folder.learn_held_out(key, tables[key])
    config = {"model": model, "trials": trials, "limit": len(texts), "seed": seed, "version": "v2", "stages": "width"}
    config |= {"fingerprint": {"prompts": len(texts), "scorers": scorers, "weights": "ab" * 32, "seed": seed}}
    folder.config.write_text(yaml.safe_dump(config))
    write_json(folder.result, _result(folder, model, trials, tables, origin, verdict))
    return folder


def with_rival(folder: StudyFolder, number: int = 5) -> dict[str, Any]:
    """Give trial 1 a rival: that trial, FreeU off at guidance 4, 0.1 below it in `clip` and 0.5 above in `aesthetic`,
    both significant. The study has guidance 3. Returns result.json's content.
    """
    record = replace(folder.read_trials()[number], factors=IDENTITY, sampling=Sampling(guidance=4.0), origin=TUNED)
    folder.write_trial(record)
    result = folder.read_result()
    assert result is not None
    own = {"guidance": 3.0, "steps": 12, "scheduler": "DPM++ 2M", "size": [64, 64]}
    rest = {"low": None, "high": None, "p": 1e-3, "p_holm": 2e-3, "win_rate": 0.9, "n": 8}
    scores = {
        "clip": {**rest, "value": 30.0, "base": 29.9, "difference": 0.1, "low": 0.05, "high": 0.15},
        "aesthetic": {**rest, "value": 6.0, "base": 6.5, "difference": -0.5},
    }
    for pick in result["picks"]:
        if pick["number"] == 1:
            rival = {"number": number, "sampling": own | {"guidance": 4.0}, "scores": scores}
            pick["against"] = {"baseline": {"sampling": own, "scores": pick["scores"]}, "tuned_baseline": rival}
    result["sampling"] = own
    write_json(folder.result, result)
    return result


def factors(number: int) -> Factors:
    """Of a trial: none of them twice."""
    if number == 0:
        return IDENTITY
    share = (number * 0.618) % 1
    return Factors(1 + share / 2, 1.4 - share / 3, 0.9 - share / 2, 0.2 + share / 2)


def _pictures(rng: np.random.Generator, n: int, side: int, noise: int) -> torch.Tensor:
    """(n, 3, side, side), 0 to 235: waves of random length and direction, and noise."""
    y, x = np.mgrid[0:side, 0:side] / side
    wave = rng.normal(0, 8, (3, n, 3, 1, 1))
    images = 110 + 100 * np.sin(wave[0] * x + wave[1] * y + wave[2]) + rng.integers(0, noise + 1, (n, 3, side, side))
    return torch.from_numpy(images.clip(0, 235).astype(np.int16))


def _trial(
    folder: StudyFolder, number: int, rng: np.random.Generator, texts: Sequence[str], base: torch.Tensor, origin: str
) -> None:
    said = {0: "baseline", 1: "published"}.get(number, origin)
    if number == 3:
        folder.write_trial(
            TrialRecord(number, factors(number), said, "FAIL", reason="out of memory", seconds={"total": 0.5})
        )
        return
    n = len(texts)
    paired = 0.1 if number else math.nan
    values = {
        name: Value(10 + number * (0.5 if way == "up" else -0.5), 3.0, n, way, paired)
        for name, way in DIRECTIONS.items()
    }
    shift = 0.0 if number == 0 else 2.5 if number == 4 else 0.3
    rails = {"saturation": shift, "sharpness": -shift / 2}
    seconds = {"generate": 2.0, "score": 0.5, "total": 2.5}
    record = TrialRecord(number, factors(number), said, "COMPLETE", values, seconds, n, 12 * n, guardrails=rails)
    images = (base + int(rng.integers(0, LIGHTER + 1))).clamp(max=255).to(torch.uint8)
    folder.write_trial(record, _table(rng, texts, 0), small(images))


def _table(rng: np.random.Generator, texts: Sequence[str], seed: int) -> pd.DataFrame:
    n = len(texts)
    columns = {"prompt": list(texts), "seed": [1000 * seed + i for i in range(n)]}
    scores = {"clip": rng.normal(30, 1, n), "aesthetic": rng.normal(6, 0.5, n)}
    return pd.DataFrame({**columns, **scores, "category": [CATEGORIES[i % len(CATEGORIES)] for i in range(n)]})


def _result(
    folder: StudyFolder, model: str, trials: int, tables: dict[str, pd.DataFrame], origin: str, verdict: str
) -> dict[str, Any]:
    picked = {"best-clip": 1, "best-aesthetic": 0, "best-fid": 2, "knee": 1}
    scores = {number: _scores(tables[f"{number:04d}"], tables[BASE]) for number in (1, 2)}
    rows = {number: {"number": number, "origin": origin, "factors": factors(number).as_dict()} for number in (0, 1, 2)}
    return {
        "study": folder.name,
        "model": model,
        "model_identity": "ab" * 32,
        "steps": 12,
        "guidance": 3.0,
        "trials": trials - (trials > 3),
        "objectives": DIRECTIONS,
        "front": [row | {"expected": dict.fromkeys(DIRECTIONS, 1.0), "clip": 1.0} for row in rows.values()],
        "picks": [
            {"pick": name, "number": number, "factors": factors(number).as_dict(), "scores": scores.get(number, {})}
            for name, number in picked.items()
        ],
        "versions": {"python": "3.11", "torch": "2.13"},
        "verdict": verdict,
    }


def _scores(table: pd.DataFrame, base: pd.DataFrame) -> dict[str, dict[str, Any]]:
    found = {}
    for name in ("clip", "aesthetic"):
        pair = stats.paired(
            table[name].to_numpy(), base[name].to_numpy(), list(base["prompt"]), np.random.default_rng(0)
        )
        found[name] = {
            "value": float(table[name].mean()),
            "base": float(base[name].mean()),
            "difference": pair.mean,
            "low": pair.low if np.isfinite(pair.low) else None,
            "high": pair.high if np.isfinite(pair.high) else None,
            "p": pair.p,
            "p_holm": pair.p,
            "win_rate": pair.win_rate,
            "n": len(base),
        }
    distance = {"value": 101.0, "base": 100.0, "difference": 1.0, "low": -3.0, "high": 5.0, "p": 0.6, "p_holm": 0.6}
    return {**found, "fid": distance | {"win_rate": None, "n": len(base)}}
