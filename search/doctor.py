"""`python -m search.doctor`: what this machine has for a study, what it lacks, and how to get it. Asks nobody."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

import configs
from configs.cli import main
from configs.console import command_console, say
from search.settings import flags

app = typer.Typer(add_completion=False)
EXTRAS = {
    "cv2": ("video", "the model rerender, and MP4 files"),
    "psycopg": ("postgresql", "a study that several machines share"),
    "torchsde": ("sde", "DPM++ SDE schedulers"),
    "ray": ("ray", "workers on a cluster"),
}
"""Module → the extra that brings it, and what needs it."""
GB = 1e9


@app.command()
def doctor(
    mlruns: flags.Results = Path("mlruns"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show versions, devices, caches, and which models and scorers are at hand; say how to get what is missing."""
    found = {
        "versions": _versions(),
        "devices": _devices(),
        "places": _places(mlruns),
        "models": _models(),
        "scorers": _scorers(),
        "extras": {extra: importlib.util.find_spec(module) is not None for module, (extra, _) in EXTRAS.items()},
    }
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    console = command_console()
    for head, said in lines(found):
        say(console, f"{head:<11}{said}", indent=11)


def lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What the command prints: a word, and what there is of it."""
    said = [("versions", ", ".join(f"{name} {version}" for name, version in found["versions"].items()))]
    said += [("device", device) for device in found["devices"]]
    said += [(name, f"{place['path']}: {_room(place)}") for name, place in found["places"].items()]
    said.append(("models", ", ".join(name for name, here in found["models"].items() if here) or "none"))
    if away := [name for name, here in found["models"].items() if not here]:
        said.append(("not here", f"{', '.join(away)}: the first study of one downloads its weights"))
    ready = [name for name, lacks in found["scorers"].items() if not lacks]
    said.append(("scorers", f"{', '.join(ready) or 'none'}; those of shapes come with it"))
    wanted: dict[str, list[str]] = {}
    for name, lacks in found["scorers"].items():
        for weights in lacks:
            wanted.setdefault(weights, []).append(name)
    if wanted:
        said.append(("not here", "scorers' weights, each of which the first study that needs it downloads:"))
        said += [("", f"{weights}, for {', '.join(names)}") for weights, names in wanted.items()]
    for extra, needs in EXTRAS.values():
        if not found["extras"][extra]:
            said.append(("not here", f"{needs}: pip install 'freeu-search[{extra}]'"))
    return said


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from configs import help
    from search.study.reproduce import versions

    return {"freeu-search": help.version(), **versions(), "mlflow": version("mlflow")}


def _devices() -> list[str]:
    import torch

    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = [f"cpu: {os.cpu_count()} cores, {total / GB:.0f} GB of memory"]
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found.append(f"cuda:{index}: {torch.cuda.get_device_name(index)}, {free / GB:.0f} of {total / GB:.0f} GB free")
    if torch.backends.mps.is_available():
        found.append("mps: Apple's GPU")
    if len(found) == 1:
        found.append("no GPU that torch can use: studies of large models take days")
    return found


def _places(mlruns: Path) -> dict[str, dict[str, Any]]:
    from huggingface_hub import constants

    from search.storage import studies

    return {
        "results": {**_place(mlruns), "studies": len(studies(mlruns))},
        "hub cache": _place(Path(constants.HF_HUB_CACHE)),
    }


def _place(folder: Path) -> dict[str, Any]:
    """How much room there is, and whether files can be written, in a folder or where it would be made."""
    there = folder = folder.expanduser().absolute()
    while not there.exists():
        there = there.parent
    return {
        "path": str(folder),
        "free_gb": round(shutil.disk_usage(there).free / GB, 1),
        "writable": os.access(there, os.W_OK),
    }


def _room(place: dict[str, Any]) -> str:
    said = f"{place['free_gb']:.0f} GB free" + ("" if place["writable"] else ", but nothing can be written there")
    if "studies" not in place:
        return said
    return f"{place['studies']} {'study' if place['studies'] == 1 else 'studies'}, {said}"


def _models() -> dict[str, bool]:
    from freeu.models import load_spec, names
    from freeu.models.locate import is_here

    return {name: is_here(load_spec(name)) for name in names()}


def _scorers() -> dict[str, list[str]]:
    """Metric → what it reads that is not here."""
    from metrics.at_hand import missing

    settings = configs.read_yaml(configs.path("scorers.yaml"))
    return {name: missing(each) for name, each in settings.items() if name != "reference"}


if __name__ == "__main__":
    main(app)
