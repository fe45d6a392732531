"""Preference models: tiny ones in their true formats, against the libraries that they come from."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import metrics
from configs import UserError, identity
from metrics.base import Batch, MetricError
from metrics.encoders import encoder
from metrics.image_reward import MEAN, STD, ImageReward, configurations, load
from metrics.preprocessing import CLIP_MEAN, CLIP_STD

PROMPTS = tuple(f"a photograph of {number} apples" for number in range(24))
SIDE = 32


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT tokenizer's folder: letters and a few words."""
    from transformers import BertTokenizerFast

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [str(digit) for digit in range(10)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{each}" for each in letters), "apples", "of"]
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pick(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """A CLIPModel in transformers' format, with a tokenizer."""
    from transformers import CLIPConfig, CLIPModel

    from tests import tiny

    torch.manual_seed(0)
    text = tiny.text_config(16).to_dict()
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=text, vision_config={**small, "image_size": SIDE, "patch_size": 8}, projection_dim=12
    )
    folder = tmp_path_factory.mktemp("pick")
    CLIPModel(config).eval().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def test_pickscore_is_transformers_clip(pick: Path, images: torch.Tensor) -> None:
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    scorers = {"pickscore": {"encoder": {"kind": "clip", "source": str(pick)}}}
    found = metrics.build("pickscore", scorers, "cpu", pick).score(Batch(images, PROMPTS))
    model, tokenizer = CLIPModel.from_pretrained(pick).eval(), AutoTokenizer.from_pretrained(pick)
    processor = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE)
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    words = tokenizer(list(PROMPTS), padding="max_length", max_length=24, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        whole = model(**words, pixel_values=processor(pictures, return_tensors="pt").pixel_values)
    cosine = (F.normalize(whole.image_embeds, dim=-1) * F.normalize(whole.text_embeds, dim=-1)).sum(-1)
    np.testing.assert_allclose(found.per_image, 100 * cosine.numpy(), rtol=1e-4)


def test_another_tokenizer_is_another_encoder(pick: Path, bert: Path) -> None:
    spec = {"kind": "clip", "source": str(pick)}
    plain, same, other = (encoder({**spec, **more}, "cpu", pick).identity for more in (
        {}, {"tokenizer": str(pick)}, {"tokenizer": str(bert)}
    ))  # fmt: skip
    assert plain == same == identity(pick)
    assert other == f"{plain} tokenizer={identity(bert)}"


def test_hps_is_the_cosine_of_weights_in_a_file(models: Path, images: torch.Tensor, tmp_path: Path) -> None:
    """The checkpoint that HPSv2's authors give: open_clip's state under "state_dict"."""
    import open_clip
    from safetensors.torch import load_file

    config = json.loads((models / "clip" / "open_clip_config.json").read_text())
    (tmp_path / "tiny-hps.json").write_text(json.dumps(config["model_cfg"]))
    open_clip.add_model_config(tmp_path / "tiny-hps.json")
    torch.save({"state_dict": load_file(models / "clip" / "open_clip_model.safetensors")}, tmp_path / "HPS.pt")
    reads = {"kind": "open_clip", "model": "tiny-hps", "weights": str(tmp_path / "HPS.pt")}
    found = metrics.build("hps", {"hps": {"encoder": reads}}, "cpu", models).score(Batch(images, PROMPTS))
    one = encoder(reads, "cpu", models)
    cosine = F.cosine_similarity(one.embed_images(images), one.embed_texts(PROMPTS))
    np.testing.assert_allclose(found.per_image, cosine.numpy(), rtol=1e-5)
    assert found.per_image.max() < 1  # not by a hundred, as CLIP score


def test_weights_that_are_not_there_or_run_code(models: Path, tmp_path: Path) -> None:
    reads = {"kind": "open_clip", "model": "ViT-B-32"}
    with pytest.raises(UserError, match="are no file"):
        encoder({**reads, "weights": str(tmp_path / "none.pt")}, "cpu", models)

    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError, match="can't load the open_clip model"):
        encoder({**reads, "weights": str(tmp_path / "evil.pt")}, "cpu", models)
    assert not (tmp_path / "ran").exists()


VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
          "image_size": SIDE, "patch_size": 8, "layer_norm_eps": 1e-6}  # fmt: skip
TEXT = {"vocab_size": 90, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 40}  # fmt: skip


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory):
    """(a checkpoint with BLIP's own names, the networks that it was written from)."""
    from transformers import BlipTextConfig, BlipVisionConfig
    from transformers.models.blip.modeling_blip import BlipVisionModel
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    torch.manual_seed(4)
    vision = BlipVisionModel(BlipVisionConfig(**VISION)).eval()
    text = BlipTextModel(BlipTextConfig(**TEXT, encoder_hidden_size=16), add_pooling_layer=False).eval()
    widths = (24, 1024, 128, 64, 16, 1)
    head = [torch.nn.Linear(a, b) for a, b in pairwise(widths)]
    names = {
        "embeddings.class_embedding": "cls_token",
        "embeddings.position_embedding": "pos_embed",
        "embeddings.patch_embedding.": "patch_embed.proj.",
        "encoder.layers.": "blocks.",
        "self_attn.projection.": "attn.proj.",
        "self_attn.qkv.": "attn.qkv.",
        "layer_norm": "norm",
        "post_layernorm.": "norm.",
    }
    state = {}
    for name, value in vision.state_dict().items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        state[f"blip.visual_encoder.{name}"] = value
    state |= {f"blip.text_encoder.{name}": value for name, value in text.state_dict().items()}
    state["blip.text_encoder.embeddings.position_ids"] = torch.arange(40)[None]
    for index, layer in zip((0, 2, 4, 6, 7), head, strict=True):
        state |= {f"mlp.layers.{index}.{name}": value for name, value in layer.state_dict().items()}
    file = tmp_path_factory.mktemp("reward") / "ImageReward.pt"
    torch.save(state, file)
    return file, vision, text, head


def test_imagereward_has_its_authors_sizes() -> None:
    """Of BLIP's med_config.json and its ViT-L, and the authors' mean: a strict load sees none of heads and eps."""
    seeing, reading = configurations({})
    assert {name: getattr(reading, name) for name in (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "max_position_embeddings", "layer_norm_eps", "hidden_act", "encoder_hidden_size",
    )} == {
        "vocab_size": 30524, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
        "num_attention_heads": 12, "max_position_embeddings": 512, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
        "encoder_hidden_size": 1024,
    }  # fmt: skip
    assert {name: getattr(seeing, name) for name in (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size",
        "layer_norm_eps", "hidden_act",
    )} == {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "image_size": 224, "patch_size": 16, "layer_norm_eps": 1e-6, "hidden_act": "gelu",
    }  # fmt: skip
    assert (MEAN, STD) == (0.16717362830052426, 1.0333394966054072)


def spec_of(file: Path, bert: Path) -> dict:
    return {"weights": str(file), "tokenizer": str(bert), "vision": VISION, "text": TEXT}


def test_imagereward_is_blip_and_a_head(reward, bert: Path, images: torch.Tensor) -> None:
    from transformers import AutoTokenizer

    file, vision, text, head = reward
    metric = metrics.build("image_reward", {"image_reward": spec_of(file, bert)}, "cpu", file.parent)
    found = metric.score(Batch(images, PROMPTS))
    read = AutoTokenizer.from_pretrained(bert)(
        list(PROMPTS), padding="max_length", truncation=True, max_length=35, return_tensors="pt"
    )
    pixels = (images / 255 - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)
    with torch.inference_mode():
        x = text(read.input_ids, attention_mask=read.attention_mask,
                 encoder_hidden_states=vision(pixels).last_hidden_state).last_hidden_state[:, 0]  # fmt: skip
        for layer in head:
            x = layer(x)
    np.testing.assert_allclose(found.per_image, (x[:, 0].double().numpy() - MEAN) / STD, rtol=1e-4, atol=1e-5)
    # The prompt counts, an image is scored alone as in a batch, and the description is true.
    assert not np.allclose(found.per_image, metric.score(Batch(images, PROMPTS[::-1])).per_image)
    np.testing.assert_allclose(
        metric.score(Batch(images[3:4], PROMPTS[3:4])).per_image, found.per_image[3:4], rtol=1e-4
    )
    info = metrics.describe("image_reward")
    assert (info.direction, info.min_n, info.version) == (ImageReward.direction, ImageReward.min_n, ImageReward.version)
    assert metric.identity == f"{identity(file)} tokenizer={identity(bert)}"


def test_what_is_no_imagereward_is_told(reward, bert: Path, tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"other\.pt is no ImageReward checkpoint"):
        load(spec_of(tmp_path / "other.pt", bert), "cpu", tmp_path)
    (tmp_path / "cut.pt").write_bytes(reward[0].read_bytes()[:2000])
    with pytest.raises(UserError, match=r"cut\.pt is no ImageReward checkpoint"):
        load(spec_of(tmp_path / "cut.pt", bert), "cpu", tmp_path)


def test_drift_is_from_the_base(models: Path, images: torch.Tensor) -> None:
    from tests.metrics.conftest import CLIP

    metric = metrics.build("drift", {"drift": {"encoder": CLIP}}, "cpu", models)
    base = Batch(images, PROMPTS)
    same = metric.score(Batch(images, PROMPTS, base=base))
    np.testing.assert_allclose(same.per_image, 0, atol=1e-4)
    other = metric.score(Batch(images.flip(0), PROMPTS, base=base))
    reads = encoder(CLIP, "cpu", models)
    wanted = 100 * (1 - F.cosine_similarity(reads.embed_images(images.flip(0)), reads.embed_images(images)))
    np.testing.assert_allclose(other.per_image, wanted.numpy(), rtol=1e-3, atol=1e-4)
    with pytest.raises(MetricError, match="give as many of them"):
        metric.score(base)
