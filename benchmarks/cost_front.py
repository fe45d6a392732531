"""Draws a study's front of quality against cost: `python benchmarks/cost_front.py --study NAME --out FILE.png`.

Of a study whose objectives are one score and `cost` (docs/guidance.md): each trial by its own score, with FreeU and
with FreeU off, and the front as the study's model expects it, with one standard error.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import typer

from configs import UserError
from search.storage import StudyFolder


def main(
    study: Annotated[str, typer.Option(help="A finished study.")],
    out: Annotated[Path, typer.Option(help="PNG to write.")],
    mlruns: Annotated[Path, typer.Option(help="Results folder.")] = Path("mlruns"),
) -> None:
    """Draw and write."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    folder = StudyFolder(mlruns, study)
    result = folder.read_result()
    if result is None or len(result["objectives"]) != 2 or "cost" not in result["objectives"]:
        raise UserError(f"study '{study}' is no finished one of a score and cost")
    score = next(name for name in result["objectives"] if name != "cost")
    figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
    records = [record for record in folder.read_trials() if record.complete]
    for off, marker, label in ((False, "o", "FreeU"), (True, "s", "FreeU off")):
        some = [record for record in records if record.candidate.off is off]
        x, y = ([record.values[name].value for record in some] for name in ("cost", score))
        axis.scatter(x, y, marker=marker, facecolors="none" if off else "#999999", edgecolors="#555555", label=label)
    front = sorted(result["front"], key=lambda row: row["cost"])
    x, y = [row["cost"] for row in front], [row["expected"][score] for row in front]
    errors = [row["errors"][score] or 0.0 for row in front]
    axis.errorbar(x, y, errors, marker="D", color="#0072B2", capsize=3, label="front, as expected")
    axis.set(xlabel="cost: U-Net evaluations an image", ylabel=score)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    typer.run(main)
