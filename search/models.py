"""`python -m search.models`: the base models that are known by name, and which of them are on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs.cli import main
from configs.console import Column, command_console, say, table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from freeu.models import ModelSpec
    from freeu.models.kinds import Traits

app = typer.Typer(add_completion=False)
SERVED = (
    "Of your own (docs/own-model.md): a diffusers folder, a .safetensors checkpoint or a hub id; of one for inpainting "
    "too.",
    "Or what a running server draws (docs/servers.md):",
    "  comfyui:WORKFLOW.json  a workflow of ComfyUI in API format; --server http://127.0.0.1:8188",
    "  webui:REQUEST.json     a request of the A1111 web UI, Forge or SD.Next, or an image of theirs; --server "
    "http://127.0.0.1:7860",
)

ADDONS = ["--lora", "--embedding", "--vae", "--unet"]
NETWORKS = ["--controlnet", "--input", "--motion-adapter (Stable Diffusion)", "--refiner (SDXL)"]
BEGINS = {"picture": ["--input or a folder as --prompts"], "video": ["--input VIDEO"]}
FLAGS = {"loras": "--lora", "embeddings": "--embedding", "vae": "--vae", "unet": "--unet"}


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the base models known by name, and which of them are on this machine."""
    from freeu.models.kinds import KINDS

    rows = [row(name) for name in _names()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    console = command_console()
    for kind, traits in KINDS.items():
        if of_kind := [each for each in rows if each["kind"] == kind]:
            say(console, f"{kind.replace('-', ' ')}: takes {', '.join(_takes(traits))}", style="bold", indent=4)
            console.print(_table(console, of_kind))
            console.print()
    for line in SERVED:
        say(console, line, indent=4)


def _table(console: Console, rows: Sequence[dict[str, Any]]) -> Table:
    """A line for each model."""
    names = [
        each["name"] + "".join(f" (with {FLAGS[need]})" for need in each["needs"] if need in FLAGS) for each in rows
    ]
    sizes = [f"{each['size']}px" + (f" x {each['frames']}" if each["frames"] > 1 else "") for each in rows]
    memory = [f"{each['memory_gb']:g} GB" if each["memory_gb"] else "" for each in rows]
    columns = [
        Column("model", names),
        Column("size", sizes, number=True),
        Column("steps", [str(each["steps"]) for each in rows], number=True),
        Column("memory", memory, number=True),
        Column("here", [each["here"] for each in rows]),
        Column("weights", [each["source"] for each in rows], rank=1),
        Column("licence", [each["licence"] or "" for each in rows], rank=2),
    ]
    return table(console, columns)


def row(name: str) -> dict[str, Any]:
    """What is known of a model; `here` is "yes", "in the hub's cache" or "no"."""
    from freeu.models import load_spec
    from freeu.models.locate import is_here

    spec = load_spec(name)
    here = "no" if not is_here(spec) else "yes" if spec.folder.is_dir() else "in the hub's cache"
    kept = spec.model_dump(mode="json", include={"kind", "source", "resolution", "frames", "steps", "licence"})
    height, width = spec.image_size
    size = str(width) if width == height else f"{width}x{height}"
    more = {"size": size, "takes": _takes(spec.traits), "needs": _needs(spec)}
    return {"name": name, **kept, "memory_gb": spec.memory_gb, **more, "here": here}


def _takes(traits: Traits) -> list[str]:
    """What a model of a kind is given beside prompts."""
    return [
        *(BEGINS[traits.begins] if traits.begins else []),
        *(["--mask"] if traits.mask else []),
        *(["--frames"] if traits.video else []),
        *(["--every"] if traits.begins == "video" else []),
        *(ADDONS if traits.words else []),
        *(NETWORKS if traits.networks else []),
    ]


def _needs(spec: ModelSpec) -> list[str]:
    """What the user has to give."""
    return [*spec.needs, *(["input"] if spec.traits.begins else [])]


def _names() -> list[str]:
    from freeu.models import names

    return names()


if __name__ == "__main__":
    main(app)
