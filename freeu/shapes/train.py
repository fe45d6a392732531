"""`python -m freeu.shapes.train`: makes every weight under configs/models/shapes from a seed, on two CPU cores.

Two processes of one thread each: first the autoencoder beside the scorers, then both on the U-Net. Every
stage keeps checkpoints in the work folder; the same command goes on after a kill.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

DATA_SEED, FEATURE_DATA_SEED, READER_DATA_SEED, REFERENCE_SEED = 1, 3, 5, 7
SCENES = 24_000
STEPS = {"autoencoder": 2800, "layout": 6000, "detail": 2500, "reader": 3000, "clip": 2000, "features": 2000}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Where the trained models land.")] = Path("configs/models/shapes"),
    work: Annotated[Path, typer.Option(help="Checkpoints and renders; a second start goes on from here.")] = Path(
        "mlruns/shapes-training"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seeds weights and batches.")] = 0,
    scale: Annotated[float, typer.Option(min=0.001, help="Multiplies scenes and steps; 1 is the shipped model.")] = 1.0,
) -> None:
    """Train the embedded model and its scorers; about three hours on two cores."""
    from torch import multiprocessing

    work.mkdir(parents=True, exist_ok=True)
    steps = {name: max(2, round(count * scale)) for name, count in STEPS.items()}
    count = max(64, round(SCENES * scale))
    _render(work, count)
    first = [
        multiprocessing.get_context("spawn").Process(target=target, args=(work, out, steps, count, seed))
        for target in (_autoencoder, _scorers)
    ]
    for process in first:
        process.start()
    for process in first:
        process.join()
    if any(process.exitcode for process in first):
        raise typer.Exit(1)
    multiprocessing.spawn(_denoiser, (work, out, steps, count, seed, _free_port()), nprocs=2)
    print(f"{out} is complete; to measure it and write its card: python benchmarks/shapes_card.py", flush=True)


def _render(work: Path, count: int) -> None:
    from .data import scenes

    for data_seed in (DATA_SEED, FEATURE_DATA_SEED, READER_DATA_SEED):
        print(f"scenes: {count} from seed {data_seed}", flush=True)
        scenes(count, data_seed, work)


def _autoencoder(work: Path, out: Path, steps: dict[str, int], count: int, seed: int) -> None:
    _one_thread()
    import torch

    from .autoencoder import encode, fit
    from .data import scenes

    data = scenes(count, DATA_SEED, work)
    vae = fit(data, work, steps["autoencoder"], seed)
    torch.save(encode(vae, data), work / "latents.pt")
    vae.half().save_pretrained(out / "vae")


def _scorers(work: Path, out: Path, steps: dict[str, int], count: int, seed: int) -> None:
    _one_thread()
    from . import clip, features, reader
    from .data import scenes
    from .scorers import save_head, save_reference
    from .words import tokenizer

    folder = out / "scorers"
    reader.fit(scenes(count, READER_DATA_SEED, work), work, steps["reader"], seed + 1).save(folder / "reader")
    words, data = tokenizer(), scenes(count, DATA_SEED, work)
    clip.save(clip.fit(data, words, work, steps["clip"], seed + 2), words, folder / "clip")
    save_head(data, folder, seed + 4)
    trunk = features.fit(scenes(count, FEATURE_DATA_SEED, work), work, steps["features"], seed + 3)
    trunk.half().save_pretrained(folder / "features")
    save_reference(folder, work, REFERENCE_SEED)


def _denoiser(rank: int, work: Path, out: Path, steps: dict[str, int], count: int, seed: int, port: int) -> None:
    _one_thread()
    import torch
    from diffusers import AutoencoderKL
    from torch import distributed

    from . import denoiser
    from .data import scenes
    from .words import tokenizer

    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    words, latents = tokenizer(), torch.load(work / "latents.pt", weights_only=True)
    net = denoiser.fit(scenes(count, DATA_SEED, work), latents, words, work, (steps["layout"], steps["detail"]), seed)
    if rank == 0:
        denoiser.save_pipeline(net, AutoencoderKL.from_pretrained(out / "vae"), words, out)
    distributed.destroy_process_group()


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    app()
