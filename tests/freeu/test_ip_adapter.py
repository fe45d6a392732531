"""IP-Adapters: what is told of them before anything loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from configs import UserError
from freeu.models import changed, ip_adapter, load_generator, load_spec
from tests import tiny
from tests.kinds import KINDS


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.ip_adapter(tmp_path_factory.mktemp("adapter"))


def said(**given: Any) -> str:
    with pytest.raises(UserError) as error:
        ip_adapter.check(changed(load_spec(given.pop("model", "sd15")), given))
    return str(error.value)


def test_what_is_missing_is_told(adapter: Path, tmp_path: Path) -> None:
    assert "give --ip-image FILE, or a column 'ip_image'" in said(ip_adapter=str(adapter))
    assert "none.png of the IP-Adapter: no such file" in said(ip_adapter=str(adapter), ip_image="/none.png")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "torn.png can't be read" in said(ip_adapter=str(adapter), ip_image=str(tmp_path / "torn.png"))
    assert "give one with --ip-adapter FILE" in said(ip_image="picture.png")
    assert "expected a .safetensors file" in said(ip_adapter=str(tmp_path / "none.safetensors"), ip_image="a")
    assert "and modelscope is text-to-video" in said(model="modelscope", ip_adapter=str(adapter), ip_image="a")


def test_the_encoder_of_its_width_stands_beside_it(adapter: Path, tmp_path: Path) -> None:
    spec = load_spec("sd15").model_copy(update={"ip_adapter": f"{adapter}:0.5"})
    assert ip_adapter.encoder(spec) == adapter.parent / "image_encoder"
    said_of = ip_adapter.lines(spec.model_copy(update={"ip_image": "pictures/style.png"}))
    assert said_of == ["ip-adapter  ip-adapter.safetensors at 0.5, reading style.png"]
    (tmp_path / "sdxl_models").mkdir()
    file = tmp_path / "sdxl_models" / "ip-adapter_vit-h.safetensors"
    file.write_bytes(adapter.read_bytes())
    assert "its image encoder, of projection_dim 12, is not beside it" in said(ip_adapter=str(file), ip_image="a")
    (tmp_path / "models").mkdir()
    (adapter.parent / "image_encoder").rename(tmp_path / "models" / "image_encoder")
    try:
        assert ip_adapter.encoder(spec.model_copy(update={"ip_adapter": str(file)})).parent == tmp_path / "models"
    finally:
        (tmp_path / "models" / "image_encoder").rename(adapter.parent / "image_encoder")


def test_other_files_are_told_apart(adapter: Path, tmp_path: Path) -> None:
    save_file({"lora_unet_x": torch.zeros(1)}, file := tmp_path / "a.safetensors")
    assert "is no IP-Adapter" in said(ip_adapter=str(file), ip_image="a")
    faces = {"image_proj.proj.0.weight": torch.zeros(8, 512), "ip_adapter.1.to_k_ip.weight": torch.zeros(8, 16)}
    save_file(faces, file)
    assert "is a FaceID" in said(ip_adapter=str(file), ip_image="a")
    pickle = tmp_path / "ip-adapter-faceid-plusv2_sd15.bin"
    pickle.touch()
    assert "give ip-adapter-plus-face or ip-adapter-full-face" in said(ip_adapter=str(pickle), ip_image="a")


def test_one_called_plus_wants_the_encoder_whose_layers_are_so_wide(tmp_path: Path) -> None:
    """SDXL's plain adapters read embeddings 1280 wide, and its plus ones another encoder's layers, 1280 wide too."""
    plain = tiny.ip_adapter(tmp_path / "sdxl_models", width=tiny.SEEN)
    config = plain.parent / "image_encoder" / "config.json"
    config.write_text(config.read_text().replace(f'"hidden_size": {tiny.SEEN}', '"hidden_size": 20'))
    tiny.ip_adapter(tmp_path / "models")
    plus = tiny.ip_adapter(tmp_path / "plus", form="plus")
    plus = plus.rename(plain.with_name("ip-adapter-plus.safetensors"))
    found = [ip_adapter.encoder(load_spec("sd15").model_copy(update={"ip_adapter": str(f)})) for f in (plain, plus)]
    assert [each.parent.name for each in found] == ["sdxl_models", "models"]


def test_one_for_another_architecture_is_told(adapter: Path, tmp_path: Path) -> None:
    spec = KINDS["ip-adapter"](tmp_path)
    wide = {k: torch.zeros(v.shape[0], 24) if "to_" in k else v for k, v in load_file(adapter).items()}
    save_file(wide, Path(str(spec.ip_adapter).rpartition(":")[0]))
    with pytest.raises(UserError, match="for text embeddings 24 wide, and the model's are 16"):
        load_generator(spec, device="cpu")
    with pytest.raises(UserError, match="--slicing does not go with --ip-adapter"):
        load_generator(KINDS["ip-adapter"](tmp_path / "again"), device="cpu", slicing=True)
