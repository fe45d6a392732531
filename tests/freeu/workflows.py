"""Made-up ComfyUI workflows, in the editor's format and in API format, and what has to hold of any."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

CLASSES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "CheckpointLoaderSimple": ((), ("MODEL", "CLIP", "VAE")),
    "UNETLoader": ((), ("MODEL",)),
    "LoraLoader": (("MODEL", "CLIP"), ("MODEL", "CLIP")),
    "ModelMergeSimple": (("MODEL", "MODEL"), ("MODEL",)),
    "Reroute": (("*",), ("*",)),
    "SetNode": (("*",), ()),
    "GetNode": ((), ("*",)),
    "ToBasicPipe": (("MODEL", "CLIP"), ("BASIC_PIPE",)),
    "FromBasicPipe": (("BASIC_PIPE",), ("MODEL", "CLIP")),
    "Any Switch (rgthree)": (("*", "*"), ("*",)),
    "CLIPTextEncode": (("CLIP",), ("CONDITIONING",)),
    "KSampler": (("MODEL", "CONDITIONING", "LATENT"), ("LATENT",)),
}
"""What goes into each class and what comes out; "*" is what went in."""
NAMES = {"MODEL": "model", "CLIP": "clip", "CONDITIONING": "positive", "LATENT": "latent_image", "BASIC_PIPE": "pipe"}


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[str, list[tuple[int, int] | None], list[str]]]:
    """(class, where each input comes from, what each output is) of each node; all come from nodes before."""
    nodes: list[tuple[str, list[tuple[int, int] | None], list[str]]] = []
    between = draw(st.lists(st.sampled_from(sorted(CLASSES)), max_size=14))
    for kind in ["CheckpointLoaderSimple", *between, "KSampler"]:
        takes, gives = CLASSES[kind]
        inputs: list[tuple[int, int] | None] = []
        for wanted in takes:
            fitting = [
                (number, slot)
                for number, (_, _, outputs) in enumerate(nodes)
                for slot, is_a in enumerate(outputs)
                if wanted == is_a or (wanted == "*" and is_a in ("MODEL", "CLIP", "BASIC_PIPE"))
            ]
            if kind == "Any Switch (rgthree)" and inputs and inputs[0]:
                fitting = [each for each in fitting if content(nodes, each) == content(nodes, inputs[0])]
            needed = wanted == "MODEL" or (wanted == "BASIC_PIPE")
            inputs.append(draw(st.sampled_from(fitting if needed and fitting else [None, *fitting])))
        if ("MODEL" in takes or "BASIC_PIPE" in takes) and None in inputs[:1]:
            continue
        if kind == "GetNode":  # one that was set
            set_before = [number for number, node in enumerate(nodes) if node[0] == "SetNode" and node[1][0]]
            if not set_before:
                continue
            inputs = [(draw(st.sampled_from(set_before)), 0)]
            gives = (content(nodes, nodes[inputs[0][0]][1][0]),)  # type: ignore[index]
        elif "*" in gives:
            known = next((each for each in inputs if each), None)
            gives = (content(nodes, known) if known else "*",)
        nodes.append((kind, inputs, list(gives)))
    return nodes


def content(nodes: list[Any], output: tuple[int, int] | None) -> str:
    """The type of what comes out there."""
    assert output is not None
    found: str = nodes[output[0]][2][output[1]]
    return found


def saved(nodes: list[Any], vague: bool) -> dict[str, Any]:
    """As the editor saves it. vague: reroutes and the like leave their types open."""
    made: list[dict[str, Any]] = []
    links: list[list[Any]] = []
    for number, (kind, inputs, outputs) in enumerate(nodes):
        takes = CLASSES[kind][0]
        declared = [is_a if not vague or is_a in CLASSES[kind][1] else "*" for is_a in outputs]
        node: dict[str, Any] = {"id": number, "type": kind, "inputs": [], "outputs": []}
        node["widgets_values"] = ["file"] if "Loader" in kind else [f"of {inputs[0][0]}"] if kind == "GetNode" else []
        if kind == "SetNode":
            node["widgets_values"] = [f"of {number}"]
        for slot, wanted in enumerate(takes):
            where, link = inputs[slot], None
            if where is not None:
                link = len(links) + 1
                out = made[where[0]]["outputs"][where[1]]
                out["links"].append(link)
                links.append([link, *where, number, slot, "*" if vague and wanted == "*" else content(nodes, where)])
            node["inputs"].append({"name": NAMES.get(wanted, ""), "type": wanted, "link": link})
        node["outputs"] = [{"name": is_a, "type": is_a, "links": []} for is_a in declared]
        made.append(node)
    return {"nodes": made, "links": links, "last_node_id": len(made) - 1, "last_link_id": len(links), "version": 0.4}


def api(nodes: list[Any]) -> dict[str, Any]:
    """In API format, in which the editor's own nodes are resolved."""

    def resolved(where: tuple[int, int]) -> list[Any] | None:
        kind, inputs, _ = nodes[where[0]]
        if kind not in ("Reroute", "GetNode"):
            return [str(where[0]), where[1]]
        before = inputs[0] if kind == "Reroute" else nodes[inputs[0][0]][1][0]
        return resolved(before) if before is not None else None

    found: dict[str, Any] = {}
    for number, (kind, inputs, _) in enumerate(nodes):
        if kind in ("Reroute", "GetNode", "SetNode"):
            continue
        values: dict[str, Any] = {"file": "a"} if "Loader" in kind else {}
        for slot, (wanted, where) in enumerate(zip(CLASSES[kind][0], inputs, strict=True)):
            name = {"*": f"any_0{slot + 1}"}.get(wanted, NAMES.get(wanted, "")) + (
                "2" if kind.startswith("ModelM") and slot else ""
            )
            if where is not None and (link := resolved(where)) is not None:
                values[name] = link
        found[str(number)] = {"class_type": kind, "inputs": values}
    return found


def passed(nodes: list[Any], freeu: set[tuple[int, int]]) -> set[int]:
    """How often the paths from what loads a model to the samplers pass FreeU, where it stands behind those outputs."""
    counts: list[list[set[int]]] = []  # of each node's outputs; {} without a model
    ends: set[int] = set()
    for number, (kind, inputs, outputs) in enumerate(nodes):
        came = [counts[where[0]][where[1]] for where in inputs if where is not None and kind != "GetNode"]
        if kind == "GetNode":
            origin = nodes[inputs[0][0]][1][0]
            came = [counts[origin[0]][origin[1]]]
        together: set[int] = set().union(*came)
        if kind == "KSampler":
            ends |= together
        gives = []
        for slot, is_a in enumerate(outputs):
            here = {0} if not CLASSES[kind][0] and kind != "GetNode" and is_a == "MODEL" else together
            here = here if is_a in ("MODEL", "BASIC_PIPE") else set()
            gives.append({count + 1 for count in here} if (number, slot) in freeu else here)
        counts.append(gives)
    return ends


def consistent(found: dict[str, Any]) -> None:
    """Asserts that each link stands in the table, in its source and in its target, and nowhere else."""
    nodes = {node["id"]: node for node in found["nodes"]}
    assert len(nodes) == len(found["nodes"]) and len({link[0] for link in found["links"]}) == len(found["links"])
    table = {(link[0], *link[1:3]) for link in found["links"]}, {(link[0], *link[3:5]) for link in found["links"]}
    leaving = {
        (link, key, slot)
        for key, node in nodes.items()
        for slot, output in enumerate(node.get("outputs", []))
        for link in output["links"] or []
    }
    entering = {
        (each["link"], key, slot)
        for key, node in nodes.items()
        for slot, each in enumerate(node.get("inputs", []))
        if each["link"] is not None
    }
    assert (leaving, entering) == table
    assert found["last_node_id"] >= max(nodes) and found["last_link_id"] >= max(
        [0, *(row[0] for row in found["links"])]
    )
