"""VQAScore: what the registry builds, beside a literal computation from the model's logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import metrics
from configs import UserError
from metrics.base import Batch, MetricError

PROMPTS = (
    "a red square",
    'a sign that says "Open", it\'s late',
    "ein rotes Quadrat, 红色的正方形, красный квадрат, مربع أحمر 🟥",
    "very " * 200 + "long",
    "{braces} and <|im_end|> and <|image_pad|> marks",
)
VQA = {"vqa": {"source": "vision_language"}}


@pytest.fixture(scope="module")
def five(images: torch.Tensor) -> torch.Tensor:
    return images[:5]


@pytest.fixture(scope="module")
def vqa(models: Path):
    return metrics.build("vqa", VQA, "cpu", models)


def literal(models: Path, image: torch.Tensor, question: str) -> float:
    """P("Yes") of one image and one question, token by token: the probability by hand."""
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    processor = AutoProcessor.from_pretrained(models / "vision_language")
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(models / "vision_language", dtype=torch.float32).eval()
    text = f"<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{question}<|im_end|>\n<|im_start|>assistant\n"
    inputs = processor(text=[text], images=[image], return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[0, -1].tolist()
    largest = max(logits)
    powers = [np.exp(each - largest) for each in logits]
    return 100 * powers[processor.tokenizer.convert_tokens_to_ids("Yes")] / sum(powers)


def test_it_is_the_probability_of_yes(vqa, models: Path, five: torch.Tensor) -> None:
    found = vqa.score(Batch(five, PROMPTS)).per_image
    plain = [prompt.replace("<|im_end|>", " ").replace("<|image_pad|>", " ") for prompt in PROMPTS]
    asked = [f'Does this figure show "{prompt}"? Please answer yes or no.' for prompt in plain]
    wanted = [literal(models, image, question) for image, question in zip(five, asked, strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.ptp(found) > 0.001


def test_the_image_and_the_prompt_both_matter(vqa, five: torch.Tensor) -> None:
    first = vqa.score(Batch(five[:1], PROMPTS[:1])).value
    assert vqa.score(Batch(five[1:2], PROMPTS[:1])).value != pytest.approx(first, abs=1e-6)
    assert vqa.score(Batch(five[:1], ("a blue circle",))).value != pytest.approx(first, abs=1e-6)


def test_half_precision_is_near(vqa, models: Path, five: torch.Tensor) -> None:
    half = metrics.build("vqa", {"vqa": {**VQA["vqa"], "dtype": "bfloat16"}}, "cpu", models)
    assert half.identity != vqa.identity
    one, other = (each.score(Batch(five, PROMPTS)).per_image for each in (vqa, half))
    np.testing.assert_allclose(one, other, rtol=0.25)  # bfloat16 keeps 8 bits, of logits of some units


def test_no_number_is_an_error(vqa, five: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vqa.model, "probabilities", lambda *given: torch.full((5,), torch.nan))
    with pytest.raises(MetricError, match="vqa is no number for 5 of 5"):
        vqa.score(Batch(five, PROMPTS))


def test_large_images_are_made_smaller(models: Path) -> None:
    small = metrics.build("vqa", {"vqa": {**VQA["vqa"], "pixels": 56 * 56}}, "cpu", models)
    large = (torch.rand(1, 3, 224, 112, generator=torch.Generator().manual_seed(0)) * 255).byte()
    assert tuple(small.model._smaller(large).shape) == (1, 3, 79, 40)


def test_questions_are_asked_one_by_one(vqa, models: Path, five: torch.Tensor) -> None:
    asked = {PROMPTS[0]: ("Is it red?", "Is it a square?"), PROMPTS[1]: ("Is it late?",)}
    metric = metrics.build("questions", {"questions": {**VQA["vqa"], "asked": asked}}, "cpu", models)
    found = metric.score(Batch(five[:2], PROMPTS[:2])).per_image
    ask = vqa.model.probabilities
    each = [f"{question} Please answer yes or no." for question in (*asked[PROMPTS[0]], *asked[PROMPTS[1]])]
    single = 100 * np.array([float(ask(five[row : row + 1], [q])[0]) for row, q in zip((0, 0, 1), each, strict=True)])
    np.testing.assert_allclose(found, [single[:2].mean(), single[2]], atol=1e-5)
    assert metric.model is vqa.model  # loaded once
    with pytest.raises(MetricError, match="questions: there are none for the prompt 'ein rotes"):
        metric.score(Batch(five[2:3], PROMPTS[2:3]))


def test_what_is_no_model_is_told(models: Path) -> None:
    with pytest.raises(UserError, match="needs its source"):
        metrics.build("vqa", {"vqa": {"kind": "x"}}, "cpu", models)
    with pytest.raises(UserError, match="can't load the vision-language model"):
        metrics.build("vqa", {"vqa": {"source": "resnet"}}, "cpu", models)
    with pytest.raises(MetricError, match=r"has no \{prompt\}"):
        metrics.build("vqa", {"vqa": {**VQA["vqa"], "question": "Is it good?"}}, "cpu", models)
