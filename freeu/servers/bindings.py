"""Which inputs of a workflow a study sets: found by structure, or named with --bind, and told before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from configs import UserError, shortened, unknown

from .roles import VIDEO_SINK, Place, Workflow

Places = tuple[Place, ...]
FOUND_BY = {
    "seed": re.compile(r"(\w+_)?(noise_)?seed"),
    "guidance": re.compile(r"cfg"),
    "steps": re.compile(r"steps"),
    "clip_skip": re.compile(r"stop_at_clip_layer"),
}
"""Numbers, by the names of their inputs."""
SAME = ("guidance", "steps", "sampler", "scheduler")
"""What further passes share only where the workflow has the same value there."""
ALSO = {"cfg": "guidance", "positive": "prompt", "sampler_name": "sampler"}
"""Other words for a role."""


@dataclass(frozen=True)
class Bindings:
    """By role the inputs that are set; empty where the workflow has none.

    freeu: nodes that FreeU is in, or that load a model which it comes behind; empty is behind every loader.
    image: the output that images are taken from. frames: of a video; an image is one.
    """

    prompt: Places
    seed: Places
    image: Places
    negative: Places = ()
    guidance: Places = ()
    steps: Places = ()
    sampler: Places = ()
    scheduler: Places = ()
    clip_skip: Places = ()
    width: Places = ()
    height: Places = ()
    freeu: Places = ()
    frames: int = 1

    def written(self) -> tuple[str, ...]:
        """As --bind takes them, and all of them: nothing is left to be found."""
        return tuple(f"{role}={place}".rstrip(".") for role in ROLES for place in getattr(self, role))

    def values(self, workflow: Workflow, role: str) -> list[Any]:
        """What the workflow has in the places of a role."""
        return [workflow.value(place) for place in getattr(self, role)]


ROLES = tuple(field.name for field in fields(Bindings) if field.name != "frames")


def bound(workflow: Workflow, given: Sequence[str]) -> Bindings:
    """The bindings of a workflow. given: those of --bind, "ROLE=NODE.INPUT".

    Raises:
        UserError: one of `given` names nothing that is there, or what is needed is not found, or could be several
            things: the choices are named.
    """
    named: dict[str, list[Place]] = {}
    for text in given:
        role, place = _read(workflow, text)
        named.setdefault(role, []).append(place)
    image = named.get("image") or [_image(workflow)]
    kept = workflow.ancestors(image[0].node)
    for role, places in named.items():
        for place in places:
            if place.node not in kept:
                raise UserError(f"--bind {role}={place}: the image does not depend on node {place.node}")
    found: dict[str, list[Place]] = {"image": image}
    found["prompt"] = named.get("prompt") or _prompt(workflow, kept)
    found["negative"] = _negative(workflow, kept)
    first = [node for node, before in workflow.passes(kept).items() if before == 0]
    for role, wanted in FOUND_BY.items():
        found[role] = workflow.numbers(wanted, kept)
    found["sampler"], found["scheduler"] = workflow.choices("sampler_name", kept), workflow.choices("scheduler", kept)
    for role in SAME:
        found[role] = _alike(workflow, found[role], first)
    for node in workflow.latents(kept):
        for role in ("width", "height"):
            found.setdefault(role, []).extend(workflow.number_at(node, role, workflow.inputs(node)[role]))
    found |= named
    if not found["seed"]:
        raise UserError("the workflow has no seed that could be set: name its input with --bind seed=NODE.INPUT")
    frames = _frames(workflow, image[0], kept)
    return Bindings(**{role: tuple(dict.fromkeys(places)) for role, places in found.items()}, frames=frames)


def lines(workflow: Workflow, bindings: Bindings) -> list[str]:
    """What is bound, for people: a line each, with the nodes' classes and titles."""
    found = []
    for role in ROLES:
        for place in getattr(bindings, role):
            value = workflow.value(place)
            shown = "" if value is None or role in ("image", "freeu") else f": {shortened(repr(value), 60)}"
            name = f" {place.input}" if role not in ("image", "freeu") else ""
            found.append(f"{role} = {described(workflow, place.node)}{name}{shown}")
    return found


def described(workflow: Workflow, node: str) -> str:
    """A node for people: its class, its title and its id."""
    of = workflow.nodes[node]
    meta = of.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    kind = shortened(str(of["class_type"]), 60)
    named = f' "{shortened(title, 60)}"' if isinstance(title, str) and title and title != kind else ""
    return f"{kind}{named} (node {node})"


def _read(workflow: Workflow, text: str) -> tuple[str, Place]:
    """One of --bind."""
    role, mark, where = text.partition("=")
    role = ALSO.get(role, role)
    if not mark or not where:
        raise UserError(f"--bind {shortened(text)}: expected ROLE=NODE.INPUT, as prompt=6.text")
    if role not in ROLES:
        raise UserError(f"--bind {shortened(text)}: {unknown('role', role, ROLES)}")
    node, _, name = where.rpartition(".") if where not in workflow.nodes else (where, "", "")
    if node not in workflow.nodes:
        raise UserError(f"--bind {shortened(text)}: {unknown('node', node or where, workflow.nodes)}")
    if role == "image":
        return role, _output(workflow, node, name)
    if role != "freeu" and name not in workflow.inputs(node):
        raise UserError(
            f"--bind {shortened(text)}: {unknown(f'input of {described(workflow, node)}', name, workflow.inputs(node))}"
        )
    if role != "freeu" and isinstance(workflow.inputs(node)[name], list):
        raise UserError(f"--bind {shortened(text)}: this input comes from another node: name the input there")
    return role, Place(node, name)


def _output(workflow: Workflow, node: str, name: str) -> Place:
    """Of a node that shows or saves images what it takes, of another one its output."""
    if name:
        if not name.isdecimal():
            raise UserError(f"--bind image={node}.{name}: expected a node, or NODE.N for its N-th output from 0 on")
        return Place(node, name)
    found = workflow.picture(node)
    taken = any(source == node for each in workflow.nodes for source, _ in workflow.links(each).values())
    return Place(found[0], str(found[1])) if found is not None and not taken else Place(node, "0")


def _image(workflow: Workflow) -> Place:
    """The output that the last image comes from: that which is made from all the others that are shown or saved."""
    sinks = workflow.sinks
    if not sinks:
        raise UserError(
            "the workflow ends with no image that a sampler made: add a node Save Image, or name an output with "
            "--bind image=NODE"
        )
    sources = dict.fromkeys(sinks.values())
    last = [
        source
        for source in sources
        if all(other == source or other[0] in workflow.ancestors(source[0]) for other in sources)
    ]
    if len(last) != 1:
        saved = [sinks[node] for node in sinks if str(workflow.nodes[node]["class_type"]).startswith("Save")]
        last = saved if len(set(saved)) == 1 else []
    if not last:
        choices = ", ".join(f"image={node} ({described(workflow, node)})" for node in sorted(sinks))
        raise UserError(f"several images come out of the workflow: choose one with --bind, of {choices}")
    return Place(last[0][0], str(last[0][1]))


def _prompt(workflow: Workflow, kept: frozenset[str]) -> list[Place]:
    """The positive prompt's places."""
    groups = workflow.texts("positive", kept)
    if not groups:
        typed = [Place(node, name) for node in sorted(kept) for name in workflow.typed_in(node)]
        raise UserError(
            "no text of the workflow leads to a sampler's positive input: name the prompt's with --bind, of "
            + shortened(_choices(workflow, "prompt", typed) or "none", 600)
        )
    if len({tuple(workflow.value(place) for place in group) for group in groups}) > 1:
        places = [group[0] for group in groups]
        raise UserError(
            "several texts could be the prompt: choose with --bind (repeatable), of "
            + shortened(_choices(workflow, "prompt", places), 600)
        )
    return [place for group in groups for place in group]


def _negative(workflow: Workflow, kept: frozenset[str]) -> list[Place]:
    """The negative prompt's places; none where it could be several, since a study need not set it."""
    groups = workflow.texts("negative", kept)
    same = len({tuple(workflow.value(place) for place in group) for group in groups}) == 1
    return [place for group in groups for place in group] if same else []


def _choices(workflow: Workflow, role: str, places: Sequence[Place]) -> str:
    return ", ".join(f"{role}={each} ({shortened(str(workflow.value(each)), 40)!r})" for each in places)


def _alike(workflow: Workflow, places: list[Place], first: Sequence[str]) -> list[Place]:
    """The places that the first pass reads, and those of further passes which have the same value."""
    before = frozenset(each for node in first for each in workflow.ancestors(node))
    values = [workflow.value(place) for place in places if place.node in before]
    return [place for place in places if workflow.value(place) in values]


def _frames(workflow: Workflow, image: Place, kept: frozenset[str]) -> int:
    """Of a workflow that ends in a video, the frames that its latent has."""
    shown = [node for node, source in workflow.sinks.items() if source == (image.node, int(image.input))]
    kinds: list[Mapping[str, Any]] = [workflow.nodes[node] for node in shown]
    if not any(VIDEO_SINK.fullmatch(str(node["class_type"])) for node in kinds):
        return 1
    for node in workflow.latents(kept):
        for name in ("batch_size", "length", "video_frames"):
            value = workflow.inputs(node).get(name)
            if type(value) is int and value > 1:
                return value
    return 1
