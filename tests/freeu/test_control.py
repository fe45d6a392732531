"""Control images: where they come from, and what is told before anything loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from configs import UserError
from freeu.models import changed, control, load_spec
from search.settings.job import prepare
from search.settings.pictures import held_to
from search.settings.prompts import load
from search.settings.reading import load as settings
from tests import tiny


def picture(file: Path, colour: int = 255, side: int = 16) -> str:
    Image.new("RGB", (side, side), (colour,) * 3).save(file)
    return str(file)


@pytest.mark.parametrize(("text", "wanted"), [
    ("owner/net", ("owner/net", 1.0)),
    ("folder:0.8", ("folder", 0.8)),
    ("c:\\net", ("c:\\net", 1.0)),
    ("a:b:2", ("a:b", 2.0)),
])  # fmt: skip
def test_a_weight_stands_behind_the_colon(text: str, wanted: tuple[str, float]) -> None:
    assert control.weighted(text) == wanted


@pytest.mark.parametrize("weight", ["-1", "nan", "inf"])
def test_weights_that_cannot_be(weight: str) -> None:
    with pytest.raises(UserError, match=f"--controlnet net:{weight}"):
        control.weighted(f"net:{weight}")


def test_a_still_picture_holds_and_a_video_is_redrawn(tmp_path: Path) -> None:
    spec = load_spec("sd15")
    still = changed(spec, {"controlnets": ("net",), "input": picture(tmp_path / "photo.png")})
    assert (still.kind, still.controlnets, still.controlnet) == ("text-to-image", ("net",), None)
    for clip in ("clip.mp4", "clip.gif"):
        redrawn = changed(spec, {"controlnets": ("net",), "input": clip})
        assert (redrawn.kind, redrawn.controlnets, redrawn.controlnet) == ("video-to-video", (), "net")
    with pytest.raises(UserError, match="one --controlnet"):
        changed(spec, {"controlnets": ("net", "other"), "input": "clip.mp4"})
    for more in ({"motion_adapter": "m"}, {"refiner": "r"}):
        with pytest.raises(UserError, match="--controlnet goes with text to image"):
            changed(spec, {"controlnets": ("net",), "control": ("c.png",), **more})


def test_each_controlnet_has_its_picture(tmp_path: Path) -> None:
    files = tuple(picture(tmp_path / f"{i}.png", i) for i in (0, 255))
    spec = changed(load_spec("sd15"), {"controlnets": ("net", "other:0.5"), "control": files})
    control.check(spec)
    first, second = control.load(spec, "a boat", (8, 16))
    assert first.shape == (1, 3, 8, 16) and torch.equal(first, torch.zeros_like(first)) and (second == 1).all()
    of_all = control.load(spec.model_copy(update={"control": files[1:]}), "a boat", (8, 8))
    assert len(of_all) == 2 and all((each == 1).all() for each in of_all)
    assert control.lines(spec) == ["control     net at 1, other at 0.5, over the control image"]


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    spec = changed(load_spec("sd15"), {"controlnets": ("net",)})
    for given, said in (
        ({}, "give --control FILE or FOLDER, a column 'control' of the prompt set, or --input PICTURE"),
        ({"control": (str(tmp_path / "none.png"),)}, "none.png: no such file"),
        ({"control": ("a", "b"), "controlnets": ("net", "n", "o")}, "2 control images for 3 ControlNets"),
        ({"control": ("a",), "controlnets": ()}, "give one with --controlnet"),
    ):
        with pytest.raises(UserError, match=said):
            control.check(spec.model_copy(update=given))
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UserError, match=r"torn\.png"):
        control.read(spec.model_copy(update={"control": (str(tmp_path / "torn.png"),)}))


def test_a_folder_gives_each_prompt_its_own(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a boat\na house\n")
    prompts = load(str(tmp_path / "p.txt"))
    held = tmp_path / "held"
    held.mkdir()
    one, other = (picture(held / f"{name}.png") for name in ("10", "9"))
    assert held_to([str(held)], prompts) == {"controls": {"a boat": (other,), "a house": (one,)}}  # 9 before 10
    assert held_to([one, str(held)], prompts)["controls"]["a boat"] == (one, other)
    assert held_to([one], prompts) == {"control": (one,)}
    picture(held / "11.png")
    with pytest.raises(UserError, match="3 pictures for 2 prompts"):
        held_to([str(held)], prompts)


def test_a_column_names_them(tmp_path: Path) -> None:
    picture(tmp_path / "edges.png")
    table = tmp_path / "p.csv"
    table.write_text("prompt,control\na boat,edges.png\na house,edges.png\n")
    assert held_to([], load(str(table)))["controls"]["a boat"] == (str(tmp_path / "edges.png"),)
    table.write_text("prompt,control\na boat,edges.png\na house,\n")
    with pytest.raises(UserError, match="'a house' has no control image"):
        held_to([], load(str(table)))


def test_another_picture_or_weight_is_another_study(tmp_path: Path, sd_folder: Path) -> None:
    def fingerprint(**given: object) -> object:
        asked = {"model": str(sd_folder), "mlruns": tmp_path / "mlruns", "controlnet": net, "control": files[0]}
        return prepare(settings(None, asked | given)).fingerprint

    files = [picture(tmp_path / f"{i}.png", i) for i in (0, 255)]
    net = str(tiny.controlnet(tmp_path / "net"))
    before = fingerprint()
    assert fingerprint() == before and before["parts"] == [net]
    assert fingerprint(control=files[1])["input"] != before["input"]
    assert fingerprint(controlnet=f"{net}:0.5")["parts"] != before["parts"]


def original(state: dict[str, torch.Tensor], unet: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A diffusers ControlNet's tensors as the original code (github.com/lllyasviel/ControlNet) names them."""
    from tests.single_file import _unet

    found = {}
    for name, value in state.items():
        if name.startswith("controlnet_cond_embedding."):
            place = {"conv_in": 0, "conv_out": 14}.get(part := name.split(".")[1])
            place = 2 * (int(name.split(".")[2]) + 1) if part == "blocks" else place
            found[f"control_model.input_hint_block.{place}.{name.rpartition('.')[2]}"] = value
        elif name.startswith("controlnet_down_blocks."):
            found[f"control_model.zero_convs.{name.split('.')[1]}.0.{name.rpartition('.')[2]}"] = value
        elif name.startswith("controlnet_mid_block."):
            found[f"control_model.middle_block_out.0.{name.rpartition('.')[2]}"] = value
        else:
            found[f"control_model.{_unet(name, unet)}"] = value
    return found


@pytest.mark.parametrize("layout", ["diffusers", "original"])
def test_a_controlnet_in_one_file(layout: str, sd_folder: Path, tmp_path: Path) -> None:
    import freeu
    from freeu.models import load_generator

    folder = tiny.controlnet(tmp_path / "net")
    state = load_file(folder / "diffusion_pytorch_model.safetensors")
    file = tmp_path / "net.safetensors"
    save_file(state if layout == "diffusers" else original(state, tiny.unet(16)), file)
    ball = picture(tmp_path / "ball.png", 90, side=tiny.SIDE)

    def drawn(net: Path, model: Path = sd_folder) -> torch.Tensor:
        spec = changed(load_spec(model), {"resolution": tiny.SIDE, "controlnets": (str(net),), "control": (ball,)})
        return load_generator(spec, device="cpu", steps=2).generate(["a boat"], [0], freeu.IDENTITY)

    assert torch.equal(drawn(file), drawn(folder))
    with pytest.raises(UserError, match=r"can't use --controlnet .*net\.safetensors: .* for another architecture"):
        drawn(file, tiny.sdxl(tmp_path / "sdxl"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"net\.safetensors is cut off"):
        drawn(file)
