"""Sampling settings in a workflow: typed into the samplers that FreeU's model goes to.

Nodes and the order of their widgets are those of ComfyUI's nodes.py and comfy_extras/nodes_custom_sampler.py; the
editor puts a widget of its own behind each seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from freeu.sampling import Sampling

from ..sampled import in_words, scheduler_of, without
from .graph import FREEU, Graph, Key

if TYPE_CHECKING:
    from .api import ApiWorkflow
    from .saved import SavedWorkflow

SEED = ("seed", "control_after_generate")
WIDGETS = {
    "KSampler": (*SEED, "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        *("add_noise", *SEED, "steps", "cfg", "sampler_name", "scheduler"),
        *("start_at_step", "end_at_step", "return_with_leftover_noise"),
    ),
    "SamplerCustom": ("add_noise", *SEED, "cfg"),
    "SamplerCustomAdvanced": (),
    "CFGGuider": ("cfg",),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "KarrasScheduler": ("steps",),
    "ExponentialScheduler": ("steps",),
}
SET = ("guidance", "steps", "scheduler")
TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("steps", "start_at_step", "end_at_step"), (int, list)),
    **dict.fromkeys(("cfg", "denoise"), (int, float, list)),
    **dict.fromkeys(("sampler_name", "scheduler"), (str, list)),
}
"""Of what is typed in; what comes from another node is a list."""


def patch(workflow: ApiWorkflow | SavedWorkflow, sampling: Sampling) -> list[str]:
    """Sets guidance, steps and scheduler where FreeU's model is sampled from; says what it did and could not do."""
    if not in_words(sampling):
        return []
    graph, values, said = workflow.graph(), _values(sampling), []
    if scheduler_of(sampling) is not None and "sampler_name" not in values:
        said.append(f"ComfyUI has no scheduler '{sampling.scheduler}': the workflow's stays")
    reached = False
    for key in _samplers(graph):
        wanted = {name: value for name, value in values.items() if name in WIDGETS[graph.nodes[key].kind]}
        if not wanted:
            continue
        reached = True
        names = _named(workflow, key, WIDGETS[graph.nodes[key].kind])
        typed = {} if names is None else workflow.values(key, names)
        if lacking := [name for name in wanted if name not in typed]:
            by_hand = ", ".join(f"{name} {wanted[name]}" for name in lacking)
            said.append(f"{graph.name(key)} does not hold its settings as is usual: set {by_hand} there by hand")
        if names is None:
            continue
        if (why := _part(typed)) is not None:
            said.append(f"{graph.name(key)} is left as it is: {why}")
            continue
        given = [name for name in wanted if isinstance(typed.get(name), list)]
        new = {name: value for name, value in wanted.items() if name in typed and name not in given}
        workflow.set(key, names, new)
        if new:
            said.append(f"set {', '.join(f'{name} {value}' for name, value in new.items())} in {graph.name(key)}")
        said += [
            f"{graph.name(key)} takes its {name} from another node: set it to {wanted[name]} there" for name in given
        ]
    if values and not reached:
        said.append(f"no sampler that is known takes FreeU's model: set {in_words(sampling)} by hand")
    elif rest := in_words(without(sampling, SET)):
        said.append(f"not set, which other nodes hold: {rest}")
    return said


def _named(workflow: ApiWorkflow | SavedWorkflow, key: Key, names: tuple[str, ...]) -> tuple[str, ...] | None:
    """A node's widgets in their order, with or without the editor's behind the seed; None where neither fits what is
    typed in."""
    for order in (names, tuple(name for name in names if name != SEED[1])):
        typed = workflow.values(key, order)
        if all(isinstance(typed[name], TYPES[name]) for name in TYPES.keys() & typed.keys()):
            return order
    return None


def _values(sampling: Sampling) -> dict[str, Any]:
    scheduler = scheduler_of(sampling)
    names = (scheduler.comfyui if scheduler else None) or (None, None)
    found = {"cfg": sampling.guidance, "steps": sampling.steps, "sampler_name": names[0], "scheduler": names[1]}
    return {name: value for name, value in found.items() if value is not None}


def _part(typed: Mapping[str, Any]) -> str | None:
    """Why a sampler does only a part of a run; None where it does a whole one."""
    denoise, start, end, steps = (typed.get(name) for name in ("denoise", "start_at_step", "end_at_step", "steps"))
    if isinstance(denoise, int | float) and denoise < 1:
        return "it redraws an image (denoise below 1)"
    if isinstance(start, int) and start > 0:
        return f"it begins at step {start}"
    if isinstance(end, int) and isinstance(steps, int) and end < steps:
        return f"it ends at step {end} of {steps}"
    return None


def _samplers(graph: Graph) -> list[Key]:
    """Those behind FreeU, and the parts that custom ones are put together of."""
    freeu = {key: key for key, node in graph.nodes.items() if node.kind in FREEU}
    behind = [key for key in graph.after(freeu, graph.carries) if key in graph.nodes]
    guided = [link.target for key in behind for link in graph.leaving.get(key, ()) if key not in freeu]
    found = [key for key in dict.fromkeys([*behind, *guided]) if key in graph.nodes]
    parts = [link.source for key in found if "Custom" in graph.nodes[key].kind for link in graph.entering.get(key, ())]
    every = dict.fromkeys([*found, *parts])
    return [key for key in every if key in graph.nodes and graph.nodes[key].kind in WIDGETS]
