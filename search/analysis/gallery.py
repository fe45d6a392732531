"""The figures with their words, in the order of the page, and the maps that they show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from search.analysis import draw, passes, pictures
from search.analysis.style import Drawn

if TYPE_CHECKING:
    from search.analysis.passes import Passes
    from search.analysis.ranges import Suggested


def gallery(found: Passes, suggested: Suggested) -> tuple[list[Drawn], dict[str, pd.DataFrame]]:
    """All figures, and by name of its file the maps that one shows; to be called inside `style.styled`."""
    count, sites = len(found.prompts), len(found.plain.names)
    f = found.factors
    setting = f"b1 {f.b1:g}, b2 {f.b2:g}, s1 {f.s1:g}, s2 {f.s2:g}, {f.version} by {f.stages}"
    latents, latent_maps = pictures.latents(found.plain)
    means, mean_maps = pictures.means(found)
    components, component_maps = pictures.components(found)
    b, s = ([f"{value:g}" for value, _ in found.swept(name)] for name in "bs")
    first, second = suggested.box
    drawn = [
        Drawn(
            "figure-2", "Figure 2: latents through the steps",
            "The first prompt's latents on their way from noise to image, split at half of the highest frequency into a low and a high part; below, how far each part of all "
            "prompts' latents moves in a step, and their spectrum at some steps. FreeU's paper argues from here: what changes in the course of denoising is above all the fine "
            "part, so whatever denoises too little leaves it there.",
            "Rows of pictures of latents, their low and their high frequencies at five steps; below, two line plots: the change of both parts in each step, and spectra at five steps.",
            latents,
        ),
        Drawn(
            "figure-7", "Figure 7: spectra in the decoder",
            f"For each of the {sites} sites where a skip meets the backbone, how strong each frequency is in the backbone's feature, in the skip's, and in what the decoder makes "
            "of both (thick: mean over steps; thin: some steps); below, the share of power at high frequencies, step by step. Where the skip's line lies above the backbone's, the "
            "skip is what brings fine detail and noise into the decoder, and damping or outweighing it has something to act on.",
            f"For each of {sites} sites two line plots, of backbone, skip and fused features: relative log amplitude by frequency, and high-frequency share by step.",
            draw.features(found.plain, f.stages),
        ),
        Drawn(
            "figure-8", "Figure 8: mean feature maps",
            "The mean over channels of the first prompt's backbone and skip features, through the steps, beside the finished image. Version 2 of FreeU takes the backbone's mean "
            "map for the picture's structure, and amplifies where it is high.",
            "Rows of small maps, backbone and skip at up to three sites, at five steps, and the finished image.",
            means,
        ),
        Drawn(
            "figure-15", "Figures 15 and 18: features with and without FreeU",
            f"What the decoder makes at each site, along the two principal components that both runs share, for the first prompt in the middle of its run ({setting}). What FreeU "
            "changes is seen where the two rows of a component differ; a smoother lower row means fewer high frequencies.",
            "Four rows of small maps: the first component without and with FreeU, the second without and with; a column for each site.",
            components,
        ),
        Drawn(
            "figure-5", "Figure 5: a sweep of b, and one of s",
            f"Images of {min(passes.EXAMPLES, count)} prompts, above with b from {b[0]} to {b[-1]} and s at 1, below with s from {s[0]} to {s[-1]} and b at 1; the noise is the "
            "same in each row. The paper finds that b changes images much and s hardly.",
            "Two blocks of images: columns are values of b and of s, rows are prompts.",
            pictures.swept(found),
        ),
        Drawn(
            "figure-6", "Figure 6: what the sweeps do to the images' spectra",
            f"The spectrum of the images' luma for each value, mean of {count} prompts, and below the share of its power at high frequencies beside no FreeU's, with the middle 95 % "
            "of prompts. The paper finds that high frequencies are suppressed as b grows.",
            "Four line plots: spectra for values of b and of s, and high-frequency share against b and against s.",
            draw.sweeps(found),
        ),
        Drawn(
            "figure-12", "Figures 9 and 12: parts and variants of FreeU, to look at",
            f"The same prompts without FreeU, under other seeds, under FreeU ({setting}), and under what differs from it in one thing. The second column tells how "
            "much images of one prompt differ anyway.",
            "Images: a column for each variant, a row for each prompt.",
            pictures.ablated(found),
        ),
        Drawn(
            "figure-9", "Figures 9 and 12: parts and variants of FreeU, measured",
            "How far each variant moves the images from no FreeU, with 95 % intervals over prompts, in units of what another seed moves (grey). Inside the grey band a change is one "
            "that another seed could have made as well.",
            "Four dot plots with intervals, of distance, saturation, contrast and detail, with a row for each variant.",
            draw.ablations(found),
        ),
        Drawn(
            "ranges", "Where to look for factors",
            "How far each guardrail is moved as b grows with s at 1, and as s grows with b at 1; the grey band is what the search's guardrails allow. The green range keeps all of "
            f"them: b from {first[0]:g} to {first[1]:g} and s from {second[0]:g} to {second[1]:g}, as far as the prompts here can tell.",
            "Two line plots of eight guardrails against b and against s, with the allowed band and the suggested range marked.",
            draw.bounds(found, suggested),
        ),
    ]  # fmt: skip
    maps = {"figure-2-maps": latent_maps, "figure-8-maps": mean_maps, "figure-15-maps": component_maps}
    return drawn, {name: pixels(panels) for name, panels in maps.items()}


def pixels(panels: pictures.Panels) -> pd.DataFrame:
    """Maps (h, w) by name, as rows: panel, y, x, value."""
    import numpy as np

    rows = []
    for name, values in panels.items():
        y, x = np.indices(values.shape)
        rows.append(pd.DataFrame({"panel": name, "y": y.ravel(), "x": x.ravel(), "value": values.ravel()}))
    return pd.concat(rows, ignore_index=True)
