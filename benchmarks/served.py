"""What driving a server costs beside the server's own work: `python benchmarks/served.py`, under a minute.

The servers of the tests keep ComfyUI's and the web UI's contract and sleep in place of drawing, so that what is more
than their sleep is ours: requests, waiting for answers, and reading images.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import typer

from freeu import Factors
from freeu.models import load_generator, load_spec
from freeu.servers.opening import connected
from tests.comfyui_server import ComfyServer, workflow
from tests.webui_server import WebUIServer

STRONG = Factors(1.4, 1.6, 0.9, 0.2)
REQUEST = {"prompt": "a cat", "steps": 4, "width": 16, "height": 16}


def main(
    images: Annotated[int, typer.Option(help="For each server.")] = 12,
    seconds: Annotated[float, typer.Option(help="That the server takes for one.")] = 1.0,
) -> None:
    """Print each kind's share of time beside the server's."""
    for kind, content, server in (
        ("comfyui", workflow(), ComfyServer(seconds=seconds)),
        ("webui", REQUEST, WebUIServer(seconds=seconds)),
    ):
        with server, tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "file.json")
            file.write_text(json.dumps(content))
            spec = load_spec(f"{kind}:{file}").model_copy(update={"servers": (server.url,)})
            generator = load_generator(connected(spec))
            began = time.perf_counter()
            generator.generate([f"prompt {n}" for n in range(images)], range(images), STRONG)
            more = (time.perf_counter() - began) / (images * seconds) - 1
        print(f"{kind:8} {images} images of {seconds:g} s: {more:.1%} beside the server's work")


if __name__ == "__main__":
    typer.run(main)
