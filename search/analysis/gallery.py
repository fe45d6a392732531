"""The figures with their words (search/analysis/figures.yaml), in the order of the page, and the maps they show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from configs import read_yaml
from search.analysis import draw, passes, pictures
from search.analysis.style import Drawn

if TYPE_CHECKING:
    from search.analysis.passes import Passes
    from search.analysis.ranges import Suggested

WORDS = Path(__file__).parent / "figures.yaml"


def gallery(found: Passes, suggested: Suggested) -> tuple[list[Drawn], dict[str, pd.DataFrame]]:
    """All figures, and by name of its file the maps that one shows; to be called inside `style.styled`."""
    latents, latent_maps = pictures.latents(found.plain)
    means, mean_maps = pictures.means(found)
    components, component_maps = pictures.components(found)
    figures = {
        "figure-2": latents,
        "figure-7": draw.features(found.plain, found.factors.stages),
        "figure-8": means,
        "figure-15": components,
        "figure-5": pictures.swept(found),
        "figure-6": draw.sweeps(found),
        "figure-12": pictures.ablated(found),
        "figure-9": draw.ablations(found),
        "ranges": draw.bounds(found, suggested),
    }
    known = _numbers(found, suggested)
    drawn = [
        Drawn(name=name, figure=figures[name], **{key: text.format(**known) for key, text in words.items()})
        for name, words in read_yaml(WORDS).items()
    ]
    maps = {"figure-2-maps": latent_maps, "figure-8-maps": mean_maps, "figure-15-maps": component_maps}
    return drawn, {name: pixels(panels) for name, panels in maps.items()}


def _numbers(found: Passes, suggested: Suggested) -> dict[str, Any]:
    """What the words say in braces."""
    f = found.factors
    known: dict[str, Any] = {
        "sites": len(found.plain.names),
        "prompts": len(found.prompts),
        "examples": min(passes.EXAMPLES, len(found.prompts)),
        "version": f.version,
        "stages": f.stages,
        "setting": f"b1 {f.b1:g}, b2 {f.b2:g}, s1 {f.s1:g}, s2 {f.s2:g}, {f.version} by {f.stages}",
    }
    for name, box in zip("bs", suggested.box, strict=True):
        values = [value for value, _ in found.swept(name)]
        known |= {f"{name}_low": f"{values[0]:g}", f"{name}_high": f"{values[-1]:g}"}
        known |= {f"box_{name}_low": f"{box[0]:g}", f"box_{name}_high": f"{box[1]:g}"}
    return known


def pixels(panels: pictures.Panels) -> pd.DataFrame:
    """Maps (h, w) by name, as rows: panel, y, x, value."""
    rows = []
    for name, values in panels.items():
        y, x = np.indices(values.shape)
        rows.append(pd.DataFrame({"panel": name, "y": y.ravel(), "x": x.ravel(), "value": values.ravel()}))
    return pd.concat(rows, ignore_index=True)
