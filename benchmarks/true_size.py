"""The first minutes with a checkpoint of SDXL's true size: `python benchmarks/true_size.py`, a minute or two.

Writes one file with the names and shapes of SDXL in the original layout, in half precision; its weights are holes,
which read as zeros, or with --random noise (7 GB of disk). Then times what is told of it before anything loads: the
plan, and mistakes, each by `python -m search.run --dry-run`; and reading it once, as a first and a second start do.

--draw float32 (or bfloat16) instead loads it and draws an image at 256 and at 512 pixels, for what the plan says of
time and memory: some minutes, and 15 GB of memory (or 8). Its weights are random then: holes give no numbers.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import typer

from configs.devices import cores
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
STEPS = 4
"""Of an image that is drawn."""
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
    entries: dict[str, dict[str, Any]] = {}
    end = 0
    for name, each in single_file.tensors(networks(), "sdxl").items():
        entries[name] = {"dtype": "F16", "shape": list(each.shape), "data_offsets": [end, end + 2 * each.numel()]}
        end += 2 * each.numel()
    text = json.dumps(entries).encode()
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        if random:
            torch.manual_seed(0)
            for entry in entries.values():
                n = (entry["data_offsets"][1] - entry["data_offsets"][0]) // 2
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


def held() -> dict[str, float]:
    """GB of memory that this process holds, and the most that it held: of its own, files that it maps not counted, and
    with them."""
    found = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(found[name].split()[0]) * 1024 / 1e9 for name in ("RssAnon", "VmRSS", "VmHWM")}


def draw(place: Path, dtype: str) -> None:
    """What the plan says of an image, and what it takes; the processor's time for each core beside the clock's, which
    other programs lengthen."""
    from freeu import IDENTITY
    from freeu.models import changed, load_generator, load_spec, memory, work
    from freeu.sampling import Sampling
    from search.study import estimate

    spec = load_spec(place / "xl.safetensors")
    spec = changed(spec, {"config": str(layout(place / "xl")), "steps": STEPS, "guidance": 1.0})
    print(f"plan: {' '.join(memory.lines(spec, 'cpu', dtype))}")
    most, over, began = [0.0], threading.Event(), time.perf_counter()

    def watch() -> None:
        while not over.wait(0.2):
            most[0] = max(most[0], held()["RssAnon"])

    threading.Thread(target=watch, daemon=True).start()
    model = load_generator(spec, device="cpu", dtype=dtype)
    print(f"loaded in {time.perf_counter() - began:.0f} s: {_memory(most[0])}")
    model.prepare(["a boat"])
    speed = estimate._of_cpu(dtype)
    for side in (256, 512):
        one = model.with_sampling(Sampling(size=(side, side)))
        said = work.of_image(spec.sampled(Sampling(size=(side, side))), STEPS) / speed
        began, spent = time.perf_counter(), time.process_time()
        one.generate(["a boat"], [0], IDENTITY)
        took, busy = time.perf_counter() - began, (time.process_time() - spent) / cores()
        print(
            f"{side} pixels: {said:.0f} s in the plan, {took:.0f} s by the clock, {busy:.0f} s busy; {_memory(most[0])}"
        )
    over.set()


def _memory(most: float) -> str:
    now = held()
    return f"{now['RssAnon']:.1f} GB held, {most:.1f} at most, {now['VmHWM']:.1f} with the file that it maps"


def main(
    random: Annotated[bool, typer.Option(help="Noise as weights, in place of holes.")] = False,
    draw_in: Annotated[str, typer.Option("--draw", metavar="DTYPE", help="Draw images, in this type.")] = "",
) -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as root:
        place = Path(root)
        if draw_in:
            write(place / "xl.safetensors", True)
            return draw(place, draw_in)
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
