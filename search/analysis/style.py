"""The style of figures, for print and screen, in colours that the colour-blind can tell apart; and saving them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.storage.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT, PAPER = "#1b1f24", "#8c959f", "#ffffff"
# Okabe and Ito's.
BLUE, RED, GREEN, ORANGE, SKY, PINK = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7"
HUES = (BLUE, RED, GREEN, ORANGE, SKY, PINK, FAINT, INK)
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (6, 2)), (0, (3, 3)))
KINDS = {"backbone": (BLUE, "-"), "skip": (RED, "--"), "fused": (GREEN, "-.")}
MAP = "cividis"
"""Of pictures of one value: even in brightness, and the same to every eye."""
DPI = 150
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "figure.facecolor": PAPER,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    "svg.fonttype": "path",
    "image.interpolation": "nearest",
}


@dataclass(frozen=True)
class Drawn:
    """A figure with its words. name: of its files. says: what it shows, two sentences. alt: for who can't see it."""

    name: str
    title: str
    says: str
    alt: str
    figure: Figure


@contextmanager
def styled() -> Iterator[None]:
    """Figures that are made and saved inside the block look alike; no display is needed."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def save(drawn: Drawn, folder: Path) -> str:
    """Write NAME.png and NAME.svg; gives the SVG for a page, light on dark where the reader's screen is dark."""
    import matplotlib

    svg = io.StringIO()
    # Nothing of the day in it, so that the same data are the same file.
    with matplotlib.rc_context({"svg.hashsalt": drawn.name}):
        drawn.figure.savefig(svg, format="svg", metadata={"Date": None, "Title": drawn.title})
    drawn.figure.set_layout_engine("none")  # it is laid out now
    with replacing(folder / f"{drawn.name}.svg") as temporary:
        temporary.write_text(svg.getvalue(), "utf-8")
    with replacing(folder / f"{drawn.name}.png") as temporary:
        drawn.figure.savefig(temporary, format="png", dpi=DPI, metadata={"Title": drawn.title})
    return _adaptive(svg.getvalue())


def _adaptive(svg: str) -> str:
    """The SVG with its ink and paper as variables."""
    sheet = f"<style>svg{{--ink:{INK};--paper:none}}@media(prefers-color-scheme:dark){{svg{{--ink:#e6e8eb}}}}</style>"
    text = svg.replace(INK, "var(--ink)").replace(f"fill: {PAPER}", "fill: var(--paper)", 1)
    return re.sub(r"(<svg\b[^>]*>)", lambda found: found[1] + sheet, text, count=1)
