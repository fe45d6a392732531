"""The page of the figures: one HTML file that works offline, light or dark as the reader's screen is; no scripts."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search.reporting.templating import environment, source

if TYPE_CHECKING:
    from search.analysis.claims import Claim
    from search.analysis.style import Drawn


def page(figures: Sequence[Drawn], drawings: Mapping[str, str], claims: Sequence[Claim], **words: Any) -> str:
    """Its HTML. drawings: the SVG of each figure, by name. words: model, diagnosis, facts, prompts, where, space,
    command; they are escaped."""
    encoded = {name: base64.b64encode(svg.encode()).decode() for name, svg in drawings.items()}
    return (
        environment()
        .get_template("figures.html")
        .render(figures=figures, drawings=encoded, claims=claims, style=source("report.css"), **words)
    )
