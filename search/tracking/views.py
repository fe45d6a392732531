"""How MLflow's list of runs opens: its columns, order, filter and charts, for each study and for all studies.

MLflow keeps a shared view as an experiment's tag, "mlflow.sharedViewState." and a key, which the page's address names
(`viewStateShareKey`). Its value is JSON: the page's own state, of which it fills in what is not given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

from search.storage.mlflow_location import ALL_STUDIES, VIEW_STATE, view_key

FACETS = {"startTime": "ALL", "lifecycleFilter": "Active", "datasetsFilter": [], "modelVersionFilter": "All Runs"}
FRONT = "Front"
"""The section of the charts that holds it."""


def of_study(study: str, rank: str, objectives: Sequence[str], factors: Iterable[str]) -> tuple[str, str]:
    """The tag for a study's trials: columns for factors, objectives, rung, front and picks, no more than a window shows
    at once; by the metric `rank`: the study's own run, the front, then what is next to it; each two objectives as a
    scatter plot of the first runs, since poor trials would take all its room and MLflow's plots have no range."""
    names, factors = list(objectives), list(factors)
    columns = [*(f"params.`{name}`" for name in factors), *(f"metrics.`{name}`" for name in names)]
    columns += ["metrics.`rung`", "tags.`freeu.front`", "tags.`freeu.picks`"]
    charts, sections = _charts(study, names, factors)
    state = FACETS | {
        "searchFilter": f"tags.study = '{study}'",
        "orderByKey": f"metrics.`{rank}`",
        "orderByAsc": True,
        "selectedColumns": columns,
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,
    }
    return VIEW_STATE + view_key(study), json.dumps(state)


def of_all(objectives: Iterable[str], before: str | None) -> tuple[str, str]:
    """The tag for the list of studies, the latest first. before: its value, whose columns stay."""
    known = json.loads(before)["selectedColumns"] if before else []
    wanted = ["params.`model`", "params.`steps`", "params.`guidance`", "params.`trials`", "tags.`freeu.verdict`"]
    for name in objectives:
        wanted += [f"metrics.`{name}`", f"metrics.`{name}.baseline`", f"metrics.`{name}.difference`"]
    state = FACETS | {
        "searchFilter": "tags.`freeu.study` LIKE '%'",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": list(dict.fromkeys([*known, *wanted])),
    }
    return VIEW_STATE + view_key(ALL_STUDIES), json.dumps(state)


def _charts(study: str, objectives: Sequence[str], factors: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """The front's charts and the sections; MLflow adds what is missing of the others. The first objective over each
    factor stands for MLflow's parallel coordinates, which are drawn before their size is known: that fills the
    browser's console with errors."""
    section = {"uuid": f"{study}-front", "name": FRONT, "display": True, "isReordered": True, "isGenerated": True}
    usual = [section | {"uuid": f"{study}-{name}", "name": name} for name in ("Model metrics", "System metrics")]
    common = {"deleted": False, "isGenerated": True, "metricSectionId": section["uuid"]}
    pairs = [(x, "METRIC", y) for x, y in combinations(objectives, 2)]
    pairs += [(factor, "PARAM", objectives[0]) for factor in factors]
    charts = [
        common
        | {
            "uuid": f"{study}-{x}-{y}",
            "type": "SCATTER",
            "runsCountToCompare": 100,
            "xaxis": {"key": x, "type": kind},
            "yaxis": {"key": y, "type": "METRIC"},
        }
        for x, kind, y in pairs
    ]
    return charts, [section, *usual]
