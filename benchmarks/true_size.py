"""The first minutes with a checkpoint of SDXL's true size: `python benchmarks/true_size.py`, a minute or two.

Writes one file with the names and shapes of SDXL in the original layout, in half precision; its weights are holes,
which read as zeros, or with --random noise (7 GB of disk). Then times what is told of it before anything loads: the
plan, and mistakes, each by `python -m search.run --dry-run`; and reading it once, as a first and a second start do.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import typer

from freeu.models import hashes
from freeu.models.work import SDXL
from tests import single_file, tiny

U_NET = SDXL | {
    "in_channels": 4,
    "sample_size": 128,
    "attention_head_dim": [5, 10, 20],
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "use_linear_projection": True,
}
VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
}
WORDS = ((768, 12, 12, 3072, "quick_gelu"), (1280, 32, 20, 5120, "gelu"))
"""(width, layers, heads, inner width, activation) of its text encoders."""


def text_configs() -> list[Any]:
    """Of its text encoders."""
    from transformers import CLIPTextConfig

    return [
        CLIPTextConfig(
            hidden_size=width,
            projection_dim=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=inner,
            hidden_act=act,
        )
        for width, layers, heads, inner, act in WORDS
    ]


def networks() -> Any:
    """SDXL's, without memory."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    configs = text_configs()
    with torch.device("meta"):
        return SimpleNamespace(
            unet=UNet2DConditionModel(**U_NET),
            vae=AutoencoderKL(**VAE),
            text_encoder=CLIPTextModel(configs[0]),
            text_encoder_2=CLIPTextModelWithProjection(configs[1]),
        )


def write(file: Path, random: bool) -> Path:
    """The checkpoint."""
    entries, end = {}, 0
    for name, each in single_file.tensors(networks(), "sdxl").items():
        entries[name] = {"dtype": "F16", "shape": list(each.shape), "data_offsets": [end, end + 2 * each.numel()]}
        end += 2 * each.numel()
    text = json.dumps(entries).encode()
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        if random:
            torch.manual_seed(0)
            for each in entries.values():
                n = (each["data_offsets"][1] - each["data_offsets"][0]) // 2
                stream.write((torch.randn(n) * 0.02).half().numpy().tobytes())
        stream.truncate(8 + len(text) + end)
    return file


def layout(folder: Path) -> Path:
    """A diffusers folder of its architecture, without its weights."""
    tiny.sdxl(folder)
    for part, config in (("unet", U_NET), ("vae", VAE)):
        (folder / part / "config.json").write_text(json.dumps(config))
    for part, each in zip(("text_encoder", "text_encoder_2"), text_configs(), strict=True):
        each.save_pretrained(folder / part)
    return folder


def planned(*flags: str) -> tuple[float, float, str]:
    """(seconds by the clock, CPU seconds, what it said) of a dry run."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "search.run", "--dry-run", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after, took = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took, spent, " ".join((done.stdout if done.returncode == 0 else done.stderr).split())


def main(random: Annotated[bool, typer.Option(help="Noise as weights, in place of holes.")] = False) -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as root:
        place = Path(root)
        file, same, other = write(place / "xl.safetensors", random), layout(place / "xl"), place / "sd"
        tiny.stable_diffusion(other)
        print(f"{file.stat().st_size / 1e9:.1f} GB")
        model = ("--model", str(file), "--mlruns", str(place / "mlruns"), "--device", "cpu")
        for what, flags in {
            "the plan": ("--pipeline-config", str(same)),
            "no layout": ("--pipeline-config", str(place / "none")),
            "a layout of Stable Diffusion": ("--pipeline-config", str(other)),
            "--offload on a CPU": ("--pipeline-config", str(same), "--offload"),
            "a LoRA that is not there": ("--pipeline-config", str(same), "--lora", "none.safetensors"),
            "no such scheduler": ("--pipeline-config", str(same), "--scheduler", "eulr"),
        }.items():
            took, spent, said = planned(*model, *flags)
            print(f"{what:30} {took:5.1f} s, {spent:.1f} s of CPU: {said[: 700 if what == 'the plan' else 160]}")
        for start in ("first", "second"):
            hashes._held.clear()
            began = time.perf_counter()
            hashes.of_file(file)
            print(f"named by its contents, {start} start: {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    typer.run(main)
