"""The ComfyUI node against a stand-in of its API: a model patcher, the folders, a decoder that calls the patch."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

import freeu
from configs import UserError
from freeu import Controls, Factors, presets
from freeu.integrations.model_patch import OutputBlockPatch
from freeu.schedule import weight

CHANNELS = 4
SIGMAS = torch.tensor([14.6, 7.0, 3.0, 1.0, 0.0])  # four steps
DECODER = [16, 16, 16, 8, 8, 8, 4, 4, 4]  # the backbone's channels at each concatenation of three levels


class Patcher:
    """As comfy.model_patcher.ModelPatcher: what a node uses of it."""

    def __init__(self, **config: Any) -> None:
        self.model = SimpleNamespace(model_config=SimpleNamespace(unet_config=config))
        self.patches: list[Any] = []

    def clone(self) -> Patcher:
        copy = Patcher(**self.model.model_config.unet_config)
        copy.patches = [*self.patches]
        return copy

    def set_model_output_block_patch(self, patch: Any) -> None:
        self.patches.append(patch)


def decoded(patch: Any, step: int, batch: int = 2) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What a decoder joins at its concatenations."""
    options = {"sigmas": SIGMAS[step].repeat(batch), "sample_sigmas": SIGMAS}
    return [patch(*features(place), {**options, "block": ("output", place)}) for place in range(len(DECODER))]


def features(place: int) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(place)
    return torch.randn(2, DECODER[place], 8, 8, generator=source), torch.randn(2, 4, 8, 8, generator=source)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = ModuleType("folder_paths")
    known: dict[str, tuple[list[str], set[str]]] = {}

    def listed(name: str) -> list[str]:
        places, endings = known[name]
        return sorted(each.name for place in places for each in Path(place).glob("*") if each.suffix in endings)

    def full(name: str, file: str) -> str | None:
        return next((str(Path(place, file)) for place in known[name][0] if Path(place, file).is_file()), None)

    vars(found).update(
        models_dir=str(tmp_path),
        folder_names_and_paths=known,
        add_model_folder_path=lambda name, place: known.setdefault(name, ([place], set())),
        get_filename_list=listed,
        get_full_path=full,
    )
    monkeypatch.setitem(sys.modules, "folder_paths", found)
    (tmp_path / "freeu").mkdir()
    return tmp_path / "freeu"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("stages", ["width", "block"])
def test_the_node_does_what_freeu_does(folders: Path, version: Any, stages: Any) -> None:
    from freeu.integrations.comfyui import NODE_CLASS_MAPPINGS

    controls = Controls(threshold=2, offset=0.25, width=0.5, high=1.1, b3=1.2, s3=0.7, stop=0.75)
    factors = Factors(1.3, 1.4, 0.9, 0.2, version=version, stages=stages, controls=controls)
    score = {"clip": {"value": 1.0, "difference": 0.5, "low": 0.1, "high": 0.9}}
    presets.write(presets.Preset(factors=factors, model="sd15", scores=score), folders / "best.yaml", "yaml")
    node = NODE_CLASS_MAPPINGS["FreeUPreset"]()
    assert node.INPUT_TYPES()["required"]["preset"] == (["best.yaml"],)
    given = Patcher(model_channels=CHANNELS, channel_mult=(1, 2, 4), num_res_blocks=[2, 2, 2])
    out = getattr(node, node.FUNCTION)(given, "best.yaml")
    patched, said = out["result"]
    assert out["ui"]["text"] == [said] and "clip +0.5 [+0.1, +0.9]" in said
    assert given.patches == [] and len(patched.patches) == 1
    for step in range(4):
        now = float(weight(torch.tensor(step), 4, controls))
        assert now == (step < 3)
        for place, found in enumerate(decoded(patched.patches[0], step)):
            stage = place // 3 + 1  # of these levels by width and by block alike
            b, s, high = (1 + (value - 1) * now for value in factors.of(stage))
            wanted = freeu.modulate(
                *features(place), b, s, version, 2, high=high, offset=0.25, width=0.5, symmetric=False
            )
            assert all(torch.equal(*each) for each in zip(found, wanted, strict=True))


def test_stages_by_block_and_by_width_differ_where_a_level_widens() -> None:
    """SDXL's three levels: its first decoder block has 4 C channels, and so has a part of the second."""
    factors = Factors(1.3, 1.0, 1.0, 1.0, version="v1")
    wide = OutputBlockPatch(factors, CHANNELS, [2, 2, 2])
    block = OutputBlockPatch(Factors(1.3, 1.0, 1.0, 1.0, version="v1", stages="block"), CHANNELS, [2, 2, 2])
    h, hsp = torch.ones(1, 4 * CHANNELS, 4, 4), torch.ones(1, 4, 4, 4)
    assert not torch.equal(wide(h, hsp, {"block": ("output", 3)})[0], h)
    assert torch.equal(block(h, hsp, {"block": ("output", 3)})[0], h)
    assert not torch.equal(block(h, hsp, {"block": ("output", 2)})[0], h)


def test_what_can_t_be_is_said(folders: Path) -> None:
    from freeu.integrations.comfyui.nodes import FreeUPreset

    node = FreeUPreset()
    node.INPUT_TYPES()
    with pytest.raises(presets.PresetError, match=r"no preset 'none\.yaml' in ComfyUI's models/freeu"):
        node.patch(Patcher(model_channels=4), "none.yaml")
    controls = Controls(stop=0.5)
    preset = presets.Preset(factors=Factors(1.1, 1, 1, 1, controls=controls), model="sd15")
    presets.write(preset, folders / "a.yaml", "yaml")
    with pytest.raises(presets.PresetError, match="no U-Net of Stable Diffusion's kind"):
        node.patch(Patcher(), "a.yaml")
    patch = OutputBlockPatch(preset.factors, CHANNELS, [2])
    with pytest.raises(freeu.FactorsError, match="where a step stands"):
        patch(torch.ones(1, 4 * CHANNELS, 4, 4), torch.ones(1, 4, 4, 4), {"sigmas": SIGMAS[:1]})


def test_presets_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    preset = presets.Preset(factors=Factors(1.3, 1.4, 0.9, 0.2), model="sdxl")
    kept: dict[str, bytes] = {}

    class Api:
        def create_repo(self, repository: str, private: bool, exist_ok: bool) -> None:
            assert (repository, private, exist_ok) == ("me/best", False, True)

        def create_commit(self, repository: str, operations: list[Any], commit_message: str) -> Any:
            kept.update({each.path_in_repo: each.path_or_fileobj for each in operations})
            return SimpleNamespace(commit_url="https://example.org/commit")

    def downloaded(repository: str, file: str, revision: str | None) -> str:
        if repository != "me/best":
            raise OSError("404: no such repository")
        (tmp_path / file).write_bytes(kept[file])
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", downloaded)
    assert freeu.push_to_hub(preset, "me/best") == "https://example.org/commit"
    assert 'freeu.from_pretrained("me/best")' in kept["README.md"].decode()
    assert freeu.from_pretrained("me/best").factors == preset.factors
    assert freeu.from_pretrained(str(tmp_path)).factors == preset.factors  # a folder that has it
    with pytest.raises(UserError, match=r"get freeu\.yaml of 'me/other': 404"):
        freeu.from_pretrained("me/other")
