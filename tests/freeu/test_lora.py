"""LoRAs in all their layouts, merged into tiny networks: against the formula, written out here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from configs import UserError
from freeu.models.addons import put_on
from freeu.models.lora import merge
from freeu.models.sgm_names import diffusers_name
from tests import single_file, tiny

Q = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_out.0"
CONV = "down_blocks.1.resnets.0.conv1"
WORDS = "encoder.layers.1.self_attn.q_proj"
RANK = 2


@pytest.fixture
def pipeline() -> SimpleNamespace:
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    return SimpleNamespace(unet=tiny.unet(16), text_encoder=CLIPTextModel(tiny.text_config(16)))


def weight(network: torch.nn.Module, layer: str) -> torch.Tensor:
    layers = {name.removeprefix("text_model."): module for name, module in network.named_modules()}
    return layers[layer].weight


def parts(value: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(down, up) for a layer of this weight; of a convolution, up is one by one."""
    random = torch.Generator().manual_seed(seed)
    ones = [1] * (value.ndim - 2)
    return (
        torch.randn(RANK, *value.shape[1:], generator=random),
        torch.randn(len(value), RANK, *ones, generator=random),
    )


def product(up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    return torch.einsum("or,r...->o...", up.flatten(1), down)


def kohya(name: str) -> str:
    return "lora_unet_" + name.replace(".", "_")


@pytest.mark.parametrize("alpha, scale", [(None, 1.0), (1.0, 1.0 / RANK), (4.0, 4.0 / RANK)])
@pytest.mark.parametrize("layer", [Q, CONV])
def test_kohyas_layout(layer: str, alpha: float | None, scale: float, pipeline: SimpleNamespace) -> None:
    before = weight(pipeline.unet, layer).clone()
    other = weight(pipeline.unet, OUT).clone()
    down, up = parts(before)
    state = {f"{kohya(layer)}.lora_down.weight": down, f"{kohya(layer)}.lora_up.weight": up}
    if alpha is not None:
        state[f"{kohya(layer)}.alpha"] = torch.tensor(alpha)
    merge(pipeline, state, 0.7, {})
    wanted = before + 0.7 * scale * product(up, down)
    # The same sums of two products in another order: a few roundings of float32, of values up to some tens.
    torch.testing.assert_close(weight(pipeline.unet, layer), wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(weight(pipeline.unet, OUT), other)


@pytest.mark.parametrize("layout", [
    "{}.lora_A.weight|{}.lora_B.weight",
    "unet.{}.lora_A.weight|unet.{}.lora_B.weight",
    "unet.{}.lora.down.weight|unet.{}.lora.up.weight",
    "base_model.model.{}.lora_A.default.weight|base_model.model.{}.lora_B.default.weight",
    "PROCESSOR",
])  # fmt: skip
@pytest.mark.parametrize("layer", [Q, OUT])
def test_diffusers_layouts(layer: str, layout: str, pipeline: SimpleNamespace) -> None:
    if layout == "PROCESSOR":  # of 2023, beside and within the pipeline's other networks
        old = layer.replace("attn1.", "attn1.processor.").replace("attn2.", "attn2.processor.").removesuffix(".0")
        layout = f"{old}_lora.down.weight|{old}_lora.up.weight"
    before = weight(pipeline.unet, layer).clone()
    down, up = parts(before)
    merge(pipeline, dict(zip((each.format(layer) for each in layout.split("|")), (down, up), strict=True)), 1.0, {})
    torch.testing.assert_close(weight(pipeline.unet, layer), before + product(up, down), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [
    "lora_te_text_model_encoder_layers_1_self_attn_q_proj.lora_{}.weight",
    "lora_te1_text_model_encoder_layers_1_self_attn_q_proj.lora_{}.weight",
    "text_encoder.text_model.encoder.layers.1.self_attn.to_q_lora.{}.weight",
    "text_encoder.text_model.encoder.layers.1.self_attn.q_proj.lora_linear_layer.{}.weight",
    "text_encoder.text_model.encoder.layers.1.self_attn.q_proj.lora_{}.weight",
])  # fmt: skip
def test_layers_of_the_text_encoder(name: str, pipeline: SimpleNamespace) -> None:
    before = weight(pipeline.text_encoder, WORDS).clone()
    down, up = parts(before)
    merge(pipeline, {name.format("down"): down, name.format("up"): up}, 1.0, {})
    torch.testing.assert_close(weight(pipeline.text_encoder, WORDS), before + product(up, down), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings, scale", [
    ({"unet.lora_alpha": 8, "unet.r": RANK}, 8 / RANK),
    ({"unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_q": 1}}, 1 / RANK),
    ({"unet.lora_alpha": 8, "unet.use_rslora": True}, 8 / RANK**0.5),
    ({"text_encoder.lora_alpha": 8}, 1.0),
])  # fmt: skip
def test_pefts_alpha(settings: dict[str, object], scale: float, pipeline: SimpleNamespace) -> None:
    before = weight(pipeline.unet, Q).clone()
    down, up = parts(before)
    merge(pipeline, {f"unet.{Q}.lora_A.weight": down, f"unet.{Q}.lora_B.weight": up}, 1.0, settings)
    torch.testing.assert_close(weight(pipeline.unet, Q), before + scale * product(up, down), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("by", ["output", "input", "peft"])
@pytest.mark.parametrize("layer", [Q, CONV])
def test_a_dora_has_the_magnitude_that_it_says(layer: str, by: str, strength: float, pipeline: SimpleNamespace) -> None:
    """arXiv 2402.09353, equation 5."""
    before = weight(pipeline.unet, layer).clone()
    down, up = parts(before)
    v = before + product(up, down)
    axes = [each for each in range(v.ndim) if each != (1 if by == "input" else 0)]
    norm = torch.linalg.vector_norm(v, dim=axes, keepdim=True)
    magnitude = torch.linspace(1, 2, norm.numel()).view_as(norm)
    key = kohya(layer)
    state = {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.dora_scale": magnitude}
    if by == "peft":
        state = {f"unet.{layer}.lora_A.weight": down, f"unet.{layer}.lora_B.weight": up}
        state[f"unet.{layer}.lora_magnitude_vector.weight"] = magnitude.flatten()
    merge(pipeline, state, strength, {})
    wanted = before + strength * (v * magnitude / norm - before)
    torch.testing.assert_close(weight(pipeline.unet, layer), wanted, rtol=1e-5, atol=1e-5)


def test_a_layer_without_a_place_is_told_and_nothing_is_changed(pipeline: SimpleNamespace) -> None:
    kept = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    down, up = parts(weight(pipeline.unet, Q))

    def refused(more: dict[str, torch.Tensor]) -> str:
        state = {f"{kohya(Q)}.lora_down.weight": down, f"{kohya(Q)}.lora_up.weight": up} | more
        with pytest.raises(UserError) as error:
            merge(pipeline, state, 1.0, {})
        assert all(torch.equal(value, kept[name]) for name, value in pipeline.unet.state_dict().items())
        return str(error.value)

    far = kohya("down_blocks.7.attentions.0.to_q")
    assert "1 of its 2 layers" in refused({f"{far}.lora_down.weight": down, f"{far}.lora_up.weight": up})
    narrow = kohya(OUT)
    assert narrow in refused({f"{narrow}.lora_down.weight": down[:, :3], f"{narrow}.lora_up.weight": up})
    assert narrow in refused({f"{narrow}.lora_down.weight": down})
    assert "a LoHa" in refused({f"{narrow}.hada_w1_a": down})
    assert "a LoKr" in refused({f"{narrow}.lokr_w1": down})
    assert "no LoRA" in refused({"unet.conv_in.weight": down})
    second = f"lora_te2_{WORDS.replace('.', '_')}"
    assert "lora_te2" in refused({f"{second}.lora_down.weight": down, f"{second}.lora_up.weight": up})


@pytest.mark.parametrize("xl", [False, True])
def test_the_original_codes_names(xl: bool) -> None:
    more = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 64,
    }
    unet = tiny.unet(16, **(more if xl else {}))
    for name, module in unet.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            theirs = single_file._unet(f"{name}.weight", unet).removesuffix(".weight")
            ours = name.replace(".", "_")
            assert diffusers_name(theirs.replace(".", "_"), 1) == ours
            assert diffusers_name(ours, 1) == ours


def test_a_file_is_named_with_its_weight_and_its_settings(sd_folder: Path, tmp_path: Path) -> None:
    from freeu.models import load_spec

    torch.manual_seed(0)
    pipeline = SimpleNamespace(unet=tiny.unet(16))
    before = weight(pipeline.unet, Q).clone()
    down, up = parts(before)
    state = {f"unet.{Q}.lora_A.weight": down, f"unet.{Q}.lora_B.weight": up}
    save_file(state, file := tmp_path / "a.safetensors", metadata={"lora_adapter_metadata": '{"unet.lora_alpha": 6}'})
    spec = load_spec(sd_folder)
    put_on(pipeline, spec.model_copy(update={"loras": (f"{file}:0.5",)}))
    torch.testing.assert_close(
        weight(pipeline.unet, Q), before + 0.5 * 6 / RANK * product(up, down), rtol=1e-5, atol=1e-5
    )
    save_file({"x.hada_w1_a": down}, file)
    with pytest.raises(UserError, match=r"--lora .*a\.safetensors: .*LoHa"):
        put_on(pipeline, spec.model_copy(update={"loras": (str(file),)}))
