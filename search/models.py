"""`python -m search.models`: the base models that are known by name, and which of them are on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs.cli import main

if TYPE_CHECKING:
    from freeu.models import ModelSpec

app = typer.Typer(add_completion=False)
SERVED = """
Of your own (docs/own-model.md): a diffusers folder, a .safetensors checkpoint or a hub id, of one for inpainting too.
Or what a running server draws (docs/servers.md):
  comfyui:WORKFLOW.json  a workflow of ComfyUI in API format; --server http://127.0.0.1:8188
  webui:REQUEST.json     a request of the A1111 web UI, Forge or SD.Next, or an image of theirs; --server http://127.0.0.1:7860"""

ADDONS = ["--lora", "--embedding", "--vae", "--unet"]
TAKES = {
    "text-to-image": [*ADDONS, "--controlnet", "--input", "--motion-adapter (Stable Diffusion)", "--refiner (SDXL)"],
    "image-to-image": ["--input or a folder as --prompts", *ADDONS],
    "text-to-video": ["--frames", *ADDONS],
    "image-to-video": ["--input or a folder as --prompts", "--frames"],
    "video-to-video": ["--input VIDEO", "--frames", "--every", *ADDONS],
}
"""What a model of a kind is given beside prompts."""
FLAGS = {"loras": "--lora", "embeddings": "--embedding", "vae": "--vae", "unet": "--unet"}


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the base models known by name, and which of them are on this machine."""
    rows = [row(name) for name in _names()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if typer.get_text_stream("stdout").isatty() else 160, highlight=False)
    for kind, takes in TAKES.items():
        if not any(each["kind"] == kind for each in rows):
            continue
        table = Table("model", "size", "steps", "memory", "here", "weights", "licence", box=None)
        for each in rows:
            if each["kind"] != kind:
                continue
            size = f"{each['size']}px" + (f" x {each['frames']}" if each["frames"] > 1 else "")
            memory = f"{each['memory_gb']:g} GB" if each["memory_gb"] else ""
            needs = "".join(f" (with {FLAGS[need]})" for need in each["needs"] if need in FLAGS)
            cells = (size, str(each["steps"]), memory, each["here"], each["source"], each["licence"] or "")
            table.add_row(each["name"] + needs, *cells)
        console.print(f"[bold]{kind.replace('-', ' ')}[/bold]: takes {', '.join(takes)}")
        console.print(table)
        console.print()
    typer.echo(SERVED)


def row(name: str) -> dict[str, Any]:
    """What is known of a model; `here` is "yes", "in the hub's cache" or "no"."""
    from freeu.models import load_spec
    from freeu.models.locate import is_here

    spec = load_spec(name)
    here = "no" if not is_here(spec) else "yes" if spec.folder.is_dir() else "in the hub's cache"
    kept = spec.model_dump(mode="json", include={"kind", "source", "resolution", "frames", "steps", "licence"})
    height, width = spec.image_size
    size = str(width) if width == height else f"{width}x{height}"
    more = {"size": size, "takes": TAKES.get(spec.kind, []), "needs": _needs(spec)}
    return {"name": name, **kept, "memory_gb": spec.memory_gb, **more, "here": here}


def _needs(spec: ModelSpec) -> list[str]:
    """What the user has to give."""
    return [*spec.needs, *(["input"] if spec.kind in ("image-to-video", "video-to-video") else [])]


def _names() -> list[str]:
    from freeu.models import names

    return names()


if __name__ == "__main__":
    main(app)
