"""The claims and the ranges, on numbers whose answers are known; no model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from freeu import IDENTITY, Controls, Factors
from freeu.figures import KINDS, Recording
from metrics.stats import Paired
from search.analysis import passes, ranges, words
from search.analysis.claims import Claim, amplitude_changes, claims, percent_per_tenth, shifts, structure
from search.analysis.passes import NONE, OTHER_SEEDS, B, Pass, Passes, S
from search.evaluation.guardrails import NAMES
from search.optimizer.space_file import load

N, STEPS, SIDE = 12, 4, 8
FACTORS = Factors(1.3, 1.4, 0.9, 0.2)
RNG = np.random.default_rng(0)
SPREAD = RNG.normal(size=N)
SPREAD /= np.sqrt(np.mean(SPREAD**2) / 2)
"""What another seed adds to each measure: a spread of 1."""


def recording(skip: float = 0.6, backbone: float = 0.4, fused: float = 0.5) -> Recording:
    """Two sites, whose shares scatter a little over prompts."""
    sites = tuple(SimpleNamespace(stage=lambda stages, own=stage: own, width=4) for stage in (1, None))
    noise = RNG.normal(scale=0.01, size=(N, STEPS, 2))
    shares = dict(zip(KINDS, (backbone, skip, fused), strict=True))
    changes = np.stack([0.1 + 0.01 * RNG.random((N, STEPS - 1)), 0.3 + 0.01 * RNG.random((N, STEPS - 1))], axis=-1)
    return Recording(
        names=("up_blocks.0.resnets.0", "up_blocks.1.resnets.0"),
        sites=sites,  # type: ignore[arg-type]
        timesteps=np.arange(STEPS)[::-1],
        shown=(0, STEPS - 1),
        spectra={kind: [np.ones((N, STEPS, SIDE // 2 + 1))] * 2 for kind in KINDS},
        shares={kind: share + noise for kind, share in shares.items()},
        sizes=((SIDE, SIDE),) * 2,
        latent_spectra=np.ones((N, STEPS, SIDE // 2 + 1)),
        latent_shares=np.full((N, STEPS), 0.5),
        changes=changes,
        maps={kind: [RNG.normal(size=(N, 2, SIDE, SIDE))] * 2 for kind in KINDS[:2]},
        latents=torch.randn(2, 4, SIDE, SIDE),
        features=[torch.randn(4, SIDE, SIDE)] * 2,
    )


def one(factors: Factors = FACTORS, **measures: Any) -> Pass:
    """A pass whose measures are 0, but for those that are given; high_share and distance are 1."""
    table = pd.DataFrame({name: np.zeros(N) for name in NAMES}).assign(high_share=1.0, distance=1.0)
    return Pass(factors, table.assign(**measures), np.ones((N, 5)), torch.zeros(3, 3, 8, 8, dtype=torch.uint8))


def found(**made: Pass) -> Passes:
    prompts = tuple(f"prompt {i}" for i in range(N))
    images = torch.randint(0, 255, (N, 3, 2 * SIDE, 2 * SIDE), dtype=torch.uint8)
    all_of = Passes(prompts, tuple(range(N)), tuple(range(N)), FACTORS, recording(), recording(fused=0.4), images)
    other = {name: SPREAD for name in NAMES}
    all_of.made = {NONE: one(IDENTITY), OTHER_SEEDS: one(IDENTITY, **other), **made}
    return all_of


def by_name(tested: list[Any]) -> dict[str, Any]:
    return {claim.name: claim for claim in tested}


def test_a_claim_holds_fails_or_is_open_by_its_interval() -> None:
    tested = by_name(claims(found(), 0))
    assert tested["skip"].verdict == "holds"
    assert tested["skip"].result.mean == pytest.approx(0.2)  # the scatter is the same in both
    assert tested["features"].result.mean == pytest.approx(0.1, abs=0.02)
    assert tested["latents"].result.mean == pytest.approx(0.2, abs=0.01)
    assert tested["structure"].verdict == "open"  # maps and pictures were drawn without a thought of each other
    turned = found()
    turned.plain = recording(skip=0.3)
    assert by_name(claims(turned, 0))["skip"].verdict == "fails"
    assert "the opposite" in words.diagnosis(turned, claims(turned, 0), "m")
    assert all(claim.p_holm >= claim.result.p for claim in tested.values())


@pytest.mark.parametrize(
    ("low", "high", "p_holm", "verdict"),
    [
        (0.1, 0.3, 0.049, "holds"),
        (-0.3, -0.1, 0.049, "fails"),
        (0.1, 0.3, 0.05, "open"),  # an interval that leaves 0 out is not enough
        (-0.3, -0.1, 0.25, "open"),
        (-0.1, 0.3, 0.01, "open"),
    ],
)
def test_a_verdict_takes_interval_and_p(low: float, high: float, p_holm: float, verdict: str) -> None:
    result = Paired(12, (low + high) / 2, low, high, p_holm / 12, 1.0)
    assert Claim(7, "skip", "", "", "", result, 1.0, p_holm).verdict == verdict


def test_the_slope_over_b_is_found() -> None:
    """A share of e^(-2 b): down by 1 - e^(-0.2) for each 0.1."""
    made = {f"b {b:g}": one(high_share=np.exp(-2 * (b - 1))) for b in B}
    assert percent_per_tenth(found(**made)) == pytest.approx(np.full(N, 100 * np.expm1(-0.2)))
    claim = by_name(claims(found(**made), 0))["suppression"]
    assert claim.verdict == "holds" and claim.result.mean == pytest.approx(-100 * np.expm1(-0.2))
    rising = {f"b {b:g}": one(high_share=np.exp(b - 1) + 0.01 * RNG.random(N)) for b in B}
    assert by_name(claims(found(**rising), 0))["suppression"].verdict == "fails"


def test_ablations_are_told_in_spreads_between_seeds() -> None:
    made = {
        passes.FREEU: one(high_band=-1.0 + 0.1 * RNG.random(N)),
        "version 1": one(high_band=-3.0 + 0.1 * RNG.random(N)),
        passes.BACKBONE: one(high_band=-2.0 + 0.1 * RNG.random(N)),
    }
    tested = by_name(claims(found(**made), 0))
    assert tested["version"].result.mean == pytest.approx(2, abs=0.1)
    assert tested["filter"].result.mean == pytest.approx(1, abs=0.1)
    assert tested["backbone"].result.mean == pytest.approx(2, abs=0.1)
    assert "half" not in tested  # all channels gave no images
    (moved,) = shifts(found(**made), ["version 1"], "high_band", 0)
    assert moved.mean == pytest.approx(-2.95, abs=0.05)


def test_structure_is_what_colours_explain() -> None:
    seen = found()
    pooled = torch.nn.functional.adaptive_avg_pool2d(seen.images.float(), (SIDE, SIDE))
    shown = (2 * pooled[:, 0] - pooled[:, 2] + 7).numpy()[:, None].repeat(2, axis=1)
    seen.plain.maps["backbone"] = [shown, shown]
    gained = structure(seen)
    assert gained.mean() > 0.9  # 1 for the backbone; for the skip's noise 0 but for chance, which the number is
    assert abs(gained.mean() - 1) < 0.1  # corrected for


def test_amplitudes_that_change_alike_are_no_evidence() -> None:
    both = recording()
    both.latent_spectra = np.ones((N, STEPS, 5))
    both.latent_spectra[:, -1] = 0.5
    assert amplitude_changes(both) == pytest.approx(np.zeros(N))
    both.latent_spectra[:, -1, 3:] = 0.25  # rings 3 and 4 of 8 pixels lie above a quarter
    assert amplitude_changes(both) == pytest.approx(np.full(N, np.log(2)))


def line(name: str, values: tuple[float, ...], **slopes: float) -> dict[str, Pass]:
    """A sweep whose measures grow in line with the distance from 1."""
    return {
        f"{name} {value:g}": one(**{measure: slope * (value - 1) for measure, slope in slopes.items()})
        for value in values
    }


def linear(all_of: Passes, **slopes: tuple[float, float]) -> Any:
    """Draws factors as the two lines together; slopes: of each measure by b and by s."""

    def draw(name: str, f: Factors) -> None:
        all_of.made[name] = one(f, **{key: b * (f.b1 - 1) + s * (f.s1 - 1) for key, (b, s) in slopes.items()})

    return draw


def test_ranges_end_where_the_first_guardrail_is_reached(tmp_path: Path) -> None:
    all_of = found(**line("b", B, luma=4, contrast=-2), **line("s", S, sharpness=2.5))
    draw = linear(all_of, luma=(4, 0), contrast=(-2, 0), sharpness=(0, 2.5))
    suggested = ranges.suggest(all_of, draw, 0)
    b, s = suggested.ranges
    assert b.ends == pytest.approx((0.8, 1.25))  # 1/4 above 1; below, the sweep ends first
    assert s.ends == pytest.approx((0.6, 1.2))
    assert b.stopped == ("", "luma") and s.stopped == ("sharpness", "")
    assert suggested.box == ((0.8, 1.25), (0.6, 1.2)) and suggested.within
    assert not suggested.widened and not suggested.drawn_in
    assert b.above[0] <= b.ends[1] <= b.above[1]
    file = tmp_path / "space.yaml"
    ranges.save(suggested, FACTORS, "m", file)
    first, second, *_ = file.read_text().splitlines()
    assert first == "# Where FreeU v2 by width keeps the guardrails of m, by search.figures."
    assert not second.startswith("#")
    space = load(file, "v1", "block")
    assert space.fixed == {"version": "v2", "stages": "width"}  # what was swept, whatever the flags
    assert {each.name: (each.low, each.high) for each in space.dimensions} == {
        "b1": (0.8, 1.25), "b2": (0.8, 1.25), "s1": (0.6, 1.2), "s2": (0.6, 1.2)
    }  # fmt: skip


def test_what_two_ranges_do_together_draws_them_in() -> None:
    """Each alone may go to 0.4 from 1, both together to half of that."""
    all_of = found(**line("b", B, luma=2.5), **line("s", S, luma=-2.5))
    suggested = ranges.suggest(all_of, linear(all_of, luma=(2.5, -2.5)), 0)
    assert suggested.ranges[0].ends == pytest.approx((0.8, 1.4))
    assert suggested.ranges[1].ends == pytest.approx((0.6, 1.2))
    assert suggested.within
    b, s = suggested.box
    assert 0.8 <= 2.5 * (b[1] - 1 + 1 - s[0]) <= 1  # as far as both may go, but for the margin
    assert "narrower" in words.where(suggested)


def test_factors_without_images_end_a_range() -> None:
    all_of = found(**line("b", tuple(b for b in B if b != 1.2), luma=0.1), **line("s", S, luma=0.1))
    all_of.failed["b 1.2"] = "black"
    suggested = ranges.suggest(all_of, linear(all_of, luma=(0.1, 0.1)), 0)
    assert suggested.ranges[0].ends == (0.8, 1.1)


def test_a_corner_without_images_is_told(tmp_path: Path) -> None:
    all_of = found(**line("b", B, luma=0.1), **line("s", S, luma=0.1))
    suggested = ranges.suggest(all_of, lambda name, factors: None, 0)
    assert not suggested.within
    assert "no images" in words.where(suggested)
    assert "that corner gave no images" in saved(suggested, tmp_path)


def saved(suggested: ranges.Suggested, folder: Path) -> str:
    ranges.save(suggested, FACTORS, "m", folder / "space.yaml")
    return (folder / "space.yaml").read_text()


def test_a_box_is_never_too_narrow_to_search_and_tells_where_it_breaks(tmp_path: Path) -> None:
    all_of = found(**line("b", B, luma=500), **line("s", S, luma=500))
    suggested = ranges.suggest(all_of, linear(all_of, luma=(500, 500)), 0)
    assert suggested.box == ((0.95, 1.05), (0.95, 1.05))
    assert not suggested.within and not suggested.drawn_in
    assert "out of bounds" in words.where(suggested)
    b, s = suggested.corner
    assert f"# Not at b {b:g} with s {s:g}: that corner moves luma by " in saved(suggested, tmp_path)


def test_a_widened_box_is_not_told_as_measured(tmp_path: Path) -> None:
    """Luma is reached by s at 0.991 and 1.012; b, and both at the corner, move nothing."""
    steep = {f"s {s:g}": one(luma=(s - 1) / (0.012 if s > 1 else 0.009)) for s in S}
    all_of = found(**line("b", B), **steep)
    suggested = ranges.suggest(all_of, linear(all_of), 0)
    s = suggested.ranges[1]
    assert s.ends == pytest.approx((0.991, 1.012))
    for end, (low, high) in zip(s.ends, (s.below, s.above), strict=True):
        assert low <= end <= high
    assert suggested.box == ((0.8, 1.6), (0.95, 1.05)) and suggested.within
    assert suggested.widened == ["s 0.95", "s 1.05"]
    said = words.where(suggested)
    assert "s keeps the guardrails from 0.99 [" in said and "to 1.01 [" in said
    assert "At s 0.95 and s 1.05 the ranges below reach beyond what was measured" in said
    heading = saved(suggested, tmp_path).splitlines()[:3]
    assert heading[0].endswith("by search.figures, but:")
    assert heading[1].startswith("# Not at s 0.95 and s 1.05: widened")
    assert not heading[2].startswith("#")  # the corner kept them


def test_passes_differ_from_freeu_in_one_thing() -> None:
    from search.analysis.passes import variants

    made = variants(replace(FACTORS, version="v1"))
    assert made["version 2"] == FACTORS
    whole = made[passes.ALL_CHANNELS]
    assert whole.controls.of(1, "width") == 1 and (whole.b1, whole.s2, whole.version) == (1.3, 0.2, "v1")
    assert made[passes.BACKBONE] == Factors(1.3, 1.4, 1, 1, version="v1")
    assert made[passes.SKIP] == Factors(1, 1, 0.9, 0.2, version="v1")
    assert made["b 1.4"] == Factors(1.4, 1.4, 1, 1, version="v1")
    assert made["s 0"] == Factors(1, 1, 0, 0, version="v1")


def test_backbone_and_skip_filter_are_alone_among_controls_too() -> None:
    from search.analysis.passes import variants

    own = Controls(start=0.1, b3=1.2, s3=0.5, high=(0.8, 0.9, 1.0), threshold=2)
    made = variants(replace(FACTORS, controls=own))
    assert made[passes.BACKBONE] == Factors(1.3, 1.4, 1, 1, controls=replace(own, s3=1.0, high=1.0))
    assert made[passes.SKIP] == Factors(1, 1, 0.9, 0.2, controls=replace(own, b3=1.0))
