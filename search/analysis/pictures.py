"""The figures of pictures: latents and their two parts, mean feature maps, principal components, images of the sweeps.

Each gives beside the figure the arrays that it shows, by name, for its data file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from search.analysis import draw, passes, style
from search.analysis.claims import touched_sites
from search.analysis.passes import EXAMPLES, Passes

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from freeu.figures import Recording

Panels = dict[str, np.ndarray]


def latents(recording: Recording) -> tuple[Figure, Panels]:
    """Figure 2: the first prompt's latents, their low and their high frequencies, and below how all prompts' move."""
    import torch

    from freeu.spectra import parts

    low, high = parts(recording.latents)
    weights = _direction(recording.latents[-1])
    rows = {"latent": recording.latents, "low": low, "high": high}
    seen = {name: np.asarray(torch.einsum("c,nchw->nhw", weights, maps)) for name, maps in rows.items()}
    count = len(recording.shown)
    made = draw.figure(max(6.5, 1.3 * count), 6.8)
    above, below = np.asarray(made.subfigures(2, 1, height_ratios=(4, 3)))
    grid = above.subplots(3, count, squeeze=False)
    panels: Panels = {}
    for row, (name, maps) in enumerate(seen.items()):
        reach = float(np.abs(maps).max()) or 1.0
        for column, step in enumerate(recording.shown):
            panels[f"{name}, step {step + 1}"] = maps[column]
            picture(grid[row, column], maps[column], (-reach, reach))
            if row == 0:
                grid[row, column].set_title(f"step {step + 1}")
        grid[row, 0].set_ylabel(name if name == "latent" else f"{name} frequencies")
    draw.latents(below.subplots(1, 2), recording)
    return made, panels


def _direction(latent: torch.Tensor) -> torch.Tensor:
    """Weights (c,) of a latent's channels (c, h, w): its first principal component."""
    import torch

    points = latent.flatten(1)
    centred = points - points.mean(1, keepdim=True)
    return torch.linalg.eigh(centred @ centred.T)[1][:, -1]


def means(found: Passes) -> tuple[Figure, Panels]:
    """Figure 8: mean maps of the first prompt's backbone and skip through the steps, at up to three sites."""
    recording = found.plain
    touched = touched_sites(recording, found.factors.stages)
    sites = [touched[i] for i in draw.evenly(touched, 3)]
    count = len(recording.shown)
    made = draw.figure(1.25 * (count + 1) + 0.6, 2.5 * len(sites) + 0.3)
    grid = made.subplots(2 * len(sites), count + 1, squeeze=False)
    panels: Panels = {}
    for row, (site, kind) in enumerate((site, kind) for site in sites for kind in ("backbone", "skip")):
        maps = recording.maps[kind][site][0]
        name = recording.names[site].removeprefix("up_blocks.").replace(".resnets.", ".")
        for column, step in enumerate(recording.shown):
            panels[f"{kind} at {recording.names[site]}, step {step + 1}"] = maps[column]
            picture(grid[row, column], maps[column])
            if row == 0:
                grid[row, column].set_title(f"step {step + 1}")
        grid[row, 0].set_ylabel(f"{name}\n{kind}")
        blank(grid[row, count])
    grid[0, count].set_title("image")
    show(grid[0, count], found.images[0])
    return made, panels


def components(found: Passes) -> tuple[Figure, Panels]:
    """Figures 15 and 18: the two first principal components of what the decoder makes, with and without FreeU."""
    import torch

    from freeu.spectra import components as principal

    plain, treated = found.plain, found.treated
    sites = draw.evenly(plain.names, draw.ACROSS)
    made = draw.figure(1.5 * len(sites) + 0.8, 6.4)
    grid = made.subplots(4, len(sites), squeeze=False)
    panels: Panels = {}
    for column, site in enumerate(sites):
        both = torch.stack([plain.features[site], treated.features[site]])
        maps, share = principal(both, min(2, both.shape[1]))
        for component in range(maps.shape[1]):
            low, high = float(maps[:, component].min()), float(maps[:, component].max())
            for run, name in enumerate(("baseline", "FreeU")):
                at, shown = grid[2 * component + run, column], np.asarray(maps[run, component])
                panels[f"{name}, component {component + 1} at {plain.names[site]}"] = shown
                picture(at, shown, (low, high))
                if column == 0:
                    at.set_ylabel(f"component {component + 1}\n{name}")
            grid[2 * component, column].set_xlabel(f"{100 * float(share[component]):.0f} % of variance")
        grid[0, column].set_title(plain.names[site].removeprefix("up_blocks.").replace(".resnets.", "."))
    return made, panels


def swept(found: Passes) -> Figure:
    """Figure 5: the first prompts' images through the sweep of b, and through that of s."""
    rows = {name: [(f"{name} = {value:g}", each) for value, each in found.swept(name)] for name in "bs"}
    return _images(list(rows.values()))


def ablated(found: Passes) -> Figure:
    """Above figures 9 and 12: the first prompts' images without FreeU, under other seeds, and under each variant."""
    names = [passes.NONE, passes.OTHER_SEEDS, *found.ablations]
    return _images([[(name, found.made[name]) for name in names]])


def _images(blocks: Sequence[Sequence[tuple[str, Any]]]) -> Figure:
    """Blocks below each other: a column for each pass, a row for each example."""
    count = min(EXAMPLES, len(blocks[0][0][1].examples))
    across = max(len(block) for block in blocks)
    made = draw.figure(1.15 * across, (1.15 * count + 0.3) * len(blocks))
    grid = made.subplots(count * len(blocks), across, squeeze=False)
    for at in grid.flat:
        blank(at)
    for place, block in enumerate(blocks):
        for column, (name, each) in enumerate(block):
            grid[place * count, column].set_title(name)
            for row in range(count):
                show(grid[place * count + row, column], each.examples[row])
    return made


def picture(at: Axes, values: np.ndarray, reach: tuple[float, float] | None = None) -> None:
    """A map (h, w) of one value, from dark to light."""
    low, high = (float(values.min()), float(values.max())) if reach is None else reach
    _bare(at)
    at.imshow(values, cmap=style.MAP, vmin=low, vmax=high)


def show(at: Axes, image: torch.Tensor) -> None:
    """An image, uint8 (3, H, W), at most as large as a grid shows it."""
    from search.storage.image_grid import small

    _bare(at)
    at.imshow(np.asarray(small(image[None])[0].permute(1, 2, 0)))


def _bare(at: Axes) -> None:
    at.set_visible(True)
    at.set(xticks=[], yticks=[])
    at.grid(visible=False)
    at.spines[:].set_visible(False)


def blank(at: Axes) -> None:
    """Nothing there."""
    at.set_visible(False)
