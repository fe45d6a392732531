"""A study as one interactive page for MLflow, which has no chart of a front. One file of 5 MB, offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from search.reporting import factor_plots, front_plots, history_plots, label_placement

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from search.storage import TrialRecord

CONFIG = {"displaylogo": False, "responsive": True}
EXPLAINED = history_plots.EXPLAINED | {
    "Hypervolume by images": "The same over the number of images, which is the cost.",
    "Parallel coordinates": "Each line is a trial; better scores are higher up. Drag along an axis to select trials.",
}
SLICES = "What the model expects over two factors; the others are fixed as in {through}. Points are trials."
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 76rem; padding: 0 1rem }}
h2 {{ margin: 2rem 0 0 }}
p {{ max-width: 60rem }}
</style>
</head><body>
<h1>{title}</h1>
<p>{verdict}</p>
<p>Each point is a trial, with one standard error of its difference to the baseline.
Pick names stand beside their points; hover for the factors. The plots begin near the front: double-click one to see all
trials.</p>
{front}
<h1>How the search went</h1>
{course}
</body></html>
"""


def study_page(study: str, records: Sequence[TrialRecord], result: Mapping[str, Any]) -> str:
    """A self-contained HTML page: the front, how the search went, what the factors do.

    result: as result.json holds it; of a study that still runs, "objectives" and what is known of the rest.
    """
    first = front_plots.front_figures(records, result)
    shown, through = _through(records, result)
    how = history_plots.figures(records, result["objectives"])
    if through is not None:
        how |= factor_plots.figures(records, result["objectives"], history_plots.numbers(through))
    drawn: list[str] = []
    for title, figure in how.items():
        figure.update_layout(title=None, height=420, margin={"t": 40})
        said = EXPLAINED.get(title, SLICES.format(through=shown))
        drawn += [f"<h2>{escape(title)}</h2>", f"<p>{escape(said)}</p>", _html(figure, f"course-{len(drawn) // 3}")]
    several = len(result["objectives"]) > 1  # else the plot is over trials
    plotted = [_html(_near(figure) if several else figure, f"front-{number}") for number, figure in enumerate(first)]
    return PAGE.format(
        title=escape(f"The front of {study}"),
        verdict=escape(str(result.get("verdict", ""))),
        front="\n".join(plotted),
        course="\n".join(drawn),
    )


def _html(figure: go.Figure, name: str) -> str:
    """plotly itself stands once in the page, before the first figure."""
    import plotly.io

    drawn = figure.to_plotly_json()
    drawn["layout"]["template"] = _look()
    first = name == "front-0"
    html = plotly.io.to_html(drawn, full_html=False, include_plotlyjs=first, config=CONFIG, div_id=name, validate=False)
    return str(html)


def _near(figure: go.Figure) -> go.Figure:
    """Begin near the front, as the report does: a few poor trials would take all the room, and labels would collide."""
    solid = any(trace.type == "scatter3d" for trace in figure.data)
    ranges = {}
    for axis in ("x", "y", "z") if solid else ("x", "y"):
        kept = [
            value
            for trace in figure.data
            for value, text in zip(trace[axis], trace.text, strict=True)
            if trace.name in ("front", "baseline") or text
        ]
        low, high = min(kept, default=0.0), max(kept, default=0.0)
        if high > low:
            room = label_placement.ROOM * (high - low)
            ranges[f"{axis}axis"] = {"range": [low - room, high + room]}
    return figure.update_layout(scene=ranges) if solid else figure.update_layout(ranges)


@cache
def _look() -> dict[str, Any]:
    """As plain data: a figure that is given a template by its name spends 20 ms on checking it."""
    import plotly.io

    return dict(plotly.io.templates["plotly_white"].to_plotly_json())


def _through(records: Sequence[TrialRecord], result: Mapping[str, Any]) -> tuple[str, TrialRecord | None]:
    """The candidate that slices go through: the last pick (the knee), or before there is one the baseline."""
    done = {record.number: record for record in records if record.complete}
    for pick in reversed(result.get("picks", [])):
        if pick["number"] in done:
            return f"{pick['pick']} (trial {pick['number']})", done[pick["number"]]
    base = next((record for record in done.values() if record.candidate.baseline), None)
    return "baseline", base
