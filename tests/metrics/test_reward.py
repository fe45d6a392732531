"""Reward models: HPSv3 beside a literal computation after its public code, and heads in other models' formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import metrics
from configs import UserError
from metrics.base import Batch, MetricError
from tests.metrics.test_vqa import PROMPTS
from tests.metrics.tiny_reward import INSTRUCTION, TOKEN

SIZE = {"shortest_edge": 3136, "longest_edge": 3136}
HPSV3 = {
    **{"source": "hpsv3", "weights": "hpsv3.safetensors", "activation": "relu", "token": TOKEN},
    **{"positions": "sequence", "images": {"size": SIZE}, "instruction": INSTRUCTION},
}
PLAIN = [prompt.replace("<|im_end|>", " ").replace("<|image_pad|>", " ") for prompt in PROMPTS]


def built(models: Path, name: str = "hpsv3", **changes):
    spec = {**HPSV3, **changes} if name == "hpsv3" else changes
    return metrics.build(name, {name: spec}, "cpu", models)


@pytest.fixture(scope="module")
def hpsv3(models: Path):
    return built(models)


@pytest.fixture(scope="module")
def five(images: torch.Tensor) -> torch.Tensor:
    return images[:5]


def read(models: Path, folder: str, image: torch.Tensor, text: str, **looks):
    """What the processor makes of one image and one text, in the chat template's words."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(models / folder)
    processor.tokenizer.add_special_tokens({"additional_special_tokens": [TOKEN]})
    words = f"<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{text}<|im_end|>\n<|im_start|>assistant\n"
    return processor, processor(text=[words], images=[image], return_tensors="pt", **looks)


@torch.no_grad()
def literal(models: Path, image: torch.Tensor, prompt: str) -> float:
    """HPSv3's mean as its public code goes about it: embed, put the image in, attend over plain positions, read off."""
    from safetensors.torch import load_file
    from transformers import AutoConfig, Qwen2VLForConditionalGeneration

    text = INSTRUCTION.format(text_prompt=prompt)
    processor, inputs = read(models, "hpsv3", image, text, size=SIZE)
    config = AutoConfig.from_pretrained(models / "hpsv3")
    model = Qwen2VLForConditionalGeneration(config)
    model.resize_token_embeddings(len(processor.tokenizer))
    state = load_file(models / "hpsv3.safetensors")
    head = {name: state.pop(name) for name in list(state) if name.startswith("rm_head")}
    renamed = {("model." if name.startswith("visual") else "") + name: each for name, each in state.items()}
    renamed = {name.replace("model.", "model.language_model.") if not name.startswith(("model.visual", "lm_head"))
               else name: each for name, each in renamed.items()}  # fmt: skip
    model.load_state_dict(renamed, strict=True)
    model.eval()
    words = model.model.language_model.embed_tokens(inputs["input_ids"])
    seen = model.model.visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"]).pooler_output
    words = words.masked_scatter((inputs["input_ids"] == config.image_token_id)[..., None], seen)
    hidden = model.model.language_model(inputs_embeds=words, attention_mask=inputs["attention_mask"])[0]
    place = inputs["input_ids"][0].tolist().index(processor.tokenizer.convert_tokens_to_ids(TOKEN))
    x = hidden[0, place]
    for name in ("rm_head.0", "rm_head.3", "rm_head.5"):
        x = head[f"{name}.weight"] @ x + head[f"{name}.bias"]
        x = x.relu() if name != "rm_head.5" else x
    return float(x[0])


def test_hpsv3_is_what_its_public_code_computes(hpsv3, models: Path, five: torch.Tensor) -> None:
    found = hpsv3.score(Batch(five, PROMPTS)).per_image
    wanted = [literal(models, image, prompt) for image, prompt in zip(five, PLAIN, strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.ptp(found) > 0.01
    gridded = built(models, positions=None).score(Batch(five, PROMPTS)).per_image
    assert np.abs(gridded - found).max() > 1e-3  # Qwen's own positions are others


@pytest.mark.parametrize("folder", ["score", "value_head"])
def test_a_head_in_a_models_folder_reads_the_last_token(folder: str, models: Path, five: torch.Tensor) -> None:
    from safetensors.torch import load_file
    from transformers import Qwen2_5_VLModel

    metric = built(models, "reward", source=folder, instruction="How good is it? {prompt}")
    found = metric.score(Batch(five, PROMPTS)).per_image
    model = Qwen2_5_VLModel.from_pretrained(models / folder, dtype=torch.float32).eval()
    file = models / folder / ("model.safetensors" if folder == "score" else "value_head.safetensors")
    head = {name.split(".")[-1]: each for name, each in load_file(file).items() if name.startswith(("score", "v_head"))}
    wanted = []
    for image, prompt in zip(five, PLAIN, strict=True):
        _, inputs = read(models, folder, image, f"How good is it? {prompt}")
        with torch.no_grad():
            last = model(**inputs).last_hidden_state[0, -1]
        wanted.append(float(head["weight"][0] @ last + head.get("bias", torch.zeros(1))[0]))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.ptp(found) > 0.01


def test_the_image_and_the_prompt_both_matter(hpsv3, five: torch.Tensor) -> None:
    first = hpsv3.score(Batch(five[:1], PROMPTS[:1])).value
    assert hpsv3.score(Batch(five[1:2], PROMPTS[:1])).value != pytest.approx(first, abs=1e-6)
    assert hpsv3.score(Batch(five[:1], ("a blue circle",))).value != pytest.approx(first, abs=1e-6)


def test_a_prompt_cannot_speak_for_the_instruction(hpsv3) -> None:
    told = hpsv3.model.told(f"{{prompt}} {{text_prompt}} {TOKEN} end")
    assert told == INSTRUCTION.replace("{text_prompt}", "{prompt} {text_prompt}   end")


def test_half_precision_is_near_and_named(hpsv3, models: Path, five: torch.Tensor) -> None:
    half = built(models, dtype="bfloat16")
    assert half.identity != hpsv3.identity and built(models, output=1).identity != hpsv3.identity
    one, other = (each.score(Batch(five, PROMPTS)).per_image for each in (hpsv3, half))
    np.testing.assert_allclose(one, other, atol=0.25)  # bfloat16 keeps 8 bits, of values of some units


def test_an_instruction_may_be_a_file(hpsv3, models: Path, five: torch.Tensor, tmp_path: Path) -> None:
    file = tmp_path / "asked.txt"
    file.write_text(INSTRUCTION)
    same = built(models, instruction=str(file))
    assert same.identity == hpsv3.identity
    assert same.score(Batch(five, PROMPTS)).value == hpsv3.score(Batch(five, PROMPTS)).value


def test_no_number_is_an_error(hpsv3, five: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.reward.RewardModel.rewards", lambda *given: torch.full((5,), torch.nan))
    with pytest.raises(MetricError, match="hpsv3 is no number for 5 of 5"):
        hpsv3.score(Batch(five, PROMPTS))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": None}, "needs its source"),
        ({"source": "resnet"}, "can't load the reward model's processor"),
        ({"weights": None}, "can't load the reward model|lacks"),
        ({"weights": "score/model.safetensors"}, "can't load the reward model|lacks"),
        ({"weights": "nowhere.safetensors"}, "are no file"),
        ({"activation": None}, "has 3 layers: say what stands between them"),
        ({"activation": "gelu"}, "unknown activation"),
        ({"output": 2}, "no stack of linear layers with an output 2"),
        ({"instruction": "what.txt"}, "instruction .*what.txt is no file"),
        ({"instruction": "{prompt}"}, r"has no <\|Reward\|>"),
        ({"head": "vision_language/model.safetensors"}, "no reward head in model.safetensors"),
        ({"dtype": "int3"}, "float32, float16 or bfloat16"),
    ],
)
def test_what_does_not_fit_is_told(models: Path, changes: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        built(models, **changes)
