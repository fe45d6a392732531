"""T2I-Adapters from single files, tensor by tensor and through the model that they hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from configs import UserError
from freeu import IDENTITY
from freeu.models import addon_fits, load_generator, load_spec
from freeu.models.adapter_file import config, read
from tests import tiny

MADE: dict[str, dict[str, Any]] = {
    "full": {"adapter_type": "full_adapter", "channels": [8, 16, 32, 32], "downscale_factor": 8},
    "xl": {"adapter_type": "full_adapter_xl", "channels": [8, 16, 32, 32], "downscale_factor": 16},
    "light": {"adapter_type": "light_adapter", "channels": [8, 16, 32], "downscale_factor": 8, "num_res_blocks": 4},
    "sketch": {"adapter_type": "full_adapter", "channels": [8, 16], "downscale_factor": 8, "in_channels": 1},
}


def authors(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As their code names it: two blocks to a level, numbered through; a light one's blocks inside each level."""
    light, found = "adapter.body.0.out_conv.weight" in state, {}
    for name, each in state.items():
        name = name.removeprefix("adapter.")
        if light:
            name = name.replace(".resnets.", ".body.")
        elif inside := re.fullmatch(r"body\.(\d+)\.resnets\.(\d)\.(.+)", name):
            name = f"body.{2 * int(inside[1]) + int(inside[2])}.{inside[3]}"
        elif inside := re.fullmatch(r"body\.(\d+)\.(.+)", name):
            name = f"body.{2 * int(inside[1])}.{inside[2]}"
        found[name] = each
    return found


@pytest.mark.parametrize("ours", [False, True], ids=["authors", "diffusers"])
@pytest.mark.parametrize("kind", MADE)
def test_each_kind_in_each_layout(kind: str, ours: bool, tmp_path: Path) -> None:
    from diffusers import T2IAdapter

    torch.manual_seed(0)
    network = T2IAdapter(**MADE[kind]).eval()
    state, file = network.state_dict(), tmp_path / "adapter.safetensors"
    save_file(state if ours else authors(state), file)
    assert config(file) == {name: network.config[name] for name in config(file)}
    picture = torch.rand(1, network.config.in_channels, 128, 128)
    found = read(file, torch.float32)
    with torch.inference_mode():
        pairs = zip(found(picture), network(picture), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_it_holds_the_image_as_its_folder_does(tmp_path: Path) -> None:
    folder, ball = tiny.t2i_adapter(tmp_path / "adapter", blocks=2), tiny.clip_of_a_ball(tmp_path / "ball", frames=1)
    save_file(authors(load_file(folder / "diffusion_pytorch_model.safetensors")), tmp_path / "one.safetensors")
    model = load_spec(tiny.stable_diffusion(tmp_path / "sd", of_unet=tiny.OUTER_ATTENTION))

    def drawn(*places: Path) -> torch.Tensor:
        given = {"t2i_adapters": tuple(map(str, places)), "control": (str(ball / "frame0.png"),) * bool(places)}
        spec = model.model_copy(update=given)
        addon_fits.check_early(spec)
        one = load_generator(spec, device="cpu", dtype="float32")
        return one.generate(["a red ball"], [3], IDENTITY)

    found = drawn(tmp_path / "one.safetensors")
    assert torch.equal(found, drawn(folder)) and not torch.equal(found, drawn())


def test_what_is_none_is_told(tmp_path: Path) -> None:
    from diffusers import T2IAdapter

    file, model = tmp_path / "one.safetensors", load_spec(tiny.stable_diffusion(tmp_path / "sd"))
    spec = model.model_copy(update={"t2i_adapters": (str(file),)})

    def refused(state: dict[str, torch.Tensor], said: str) -> None:
        save_file(state, file)
        with pytest.raises(UserError, match=said):
            addon_fits.check_early(spec)

    refused({"lora_unet_mid.lora_down.weight": torch.zeros(2, 2)}, "--t2i-adapter .*: it holds no T2I-Adapter")
    refused(authors(T2IAdapter(**MADE["xl"]).state_dict()), "is for SDXL, and this model is Stable Diffusion 1 or 2")
    refused(authors(T2IAdapter(**MADE["sketch"]).state_dict()), r"is for a U-Net of widths \[8, 16\]")
    state = authors(T2IAdapter(**MADE["full"]).state_dict())
    del state["body.3.block1.weight"]
    save_file(state, file)
    with pytest.raises(ValueError, match=r"or not all of one: 1 of its tensors .*resnets\.1\.block1\.weight"):
        read(file, torch.float32)
