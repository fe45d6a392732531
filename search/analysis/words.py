"""The diagnosis in words: which observations of the paper hold on this model, and where to look for factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from configs.cli import visible
from search.analysis.ranges import NARROWEST

if TYPE_CHECKING:
    from search.analysis.claims import Claim
    from search.analysis.passes import Passes
    from search.analysis.ranges import Range, Suggested

OBSERVED = {
    "holds": "The paper's observation holds on {model}: ",
    "fails": "On {model} it is the opposite of what the paper observed: ",
    "open": "These prompts don't show whether the paper's observation holds on {model}: ",
}
SUPPRESSED = {
    "holds": "As b grows, the images' high frequencies are suppressed: ",
    "fails": "As b grows, the images' high frequencies grow in place of being suppressed: ",
    "open": "As b grows, the images' high frequencies are neither clearly suppressed nor clearly raised: ",
}


def diagnosis(found: Passes, claims: Sequence[Claim], model: str) -> str:
    """A sentence on each of the two observations that FreeU stands on, and a count of all claims."""
    said = []
    by_name = {claim.name: claim for claim in claims}
    if "skip" in by_name:
        claim, shares = by_name["skip"], found.plain.shares
        skip, backbone = (float(shares[kind].mean()) for kind in ("skip", "backbone"))
        said.append(
            OBSERVED[claim.verdict].format(model=visible(model))
            + f"high frequencies hold {100 * skip:.3g} % of the skips' power and {100 * backbone:.3g} % of the "
            f"backbone's, a difference of {_points(claim)} points (effect size {claim.effect:+.2g})."
        )
    if "suppression" in by_name:
        claim = by_name["suppression"]
        r = claim.result
        said.append(
            SUPPRESSED[claim.verdict]
            + f"for 0.1 of b their share changes by {-r.mean:+.2g} % [{-r.high:+.2g}, {-r.low:+.2g}] "
            f"(effect size {-claim.effect:+.2g})."
        )
    counts = [sum(claim.verdict == verdict for claim in claims) for verdict in ("holds", "fails", "open")]
    said.append(
        f"Of {len(claims)} claims of the paper {counts[0]} hold here, {counts[1]} fail and {counts[2]} are open."
    )
    return " ".join(said)


def _points(claim: Claim) -> str:
    r = claim.result
    return f"{100 * r.mean:+.3g} [{100 * r.low:+.3g}, {100 * r.high:+.3g}]"


def where(suggested: Suggested) -> str:
    """The suggested ranges in words: their ends, what limits them, and what the test of the corner showed."""
    said = [_range(each) for each in suggested.ranges]
    b, s = suggested.corner
    guardrail, shift = suggested.worst
    tried = f"The corner expected to be worst, b {b:g} with s {s:g}, was tested: "
    if not guardrail:
        tried += "it gave no images, so treat the ranges with care."
    else:
        tried += f"{guardrail} moves most, by {shift:+.2f} spreads between seeds, "
        tried += (
            "which is within the guardrails."
            if suggested.within
            else "which is out of bounds: in that corner the ranges below break the guardrails."
        )
    if suggested.drawn_in:
        said.append("Together they went too far, so the ranges below are narrower.")
    if suggested.widened:
        said.append(
            f"At {' and '.join(suggested.widened)} the ranges below reach beyond what was measured: they are widened "
            f"to {NARROWEST:g} from 1, so that there is something to search."
        )
    return " ".join([*said, tried])


def _range(each: Range) -> str:
    other = "s" if each.name == "b" else "b"
    ends = [
        f"{end:.2f} [{interval[0]:.2f}, {interval[1]:.2f}] ({why or 'the end of the sweep'})"
        for end, interval, why in zip(each.ends, (each.below, each.above), each.stopped, strict=True)
    ]
    return f"With {other} at 1, {each.name} keeps the guardrails from {ends[0]} to {ends[1]}."
