"""Reward models with random weights in the true formats: HPSv3's file, and heads in and beside a model's folder."""

from __future__ import annotations

from pathlib import Path

import torch

TOKEN = "<|Reward|>"
INSTRUCTION = f"Rate this image of: {{text_prompt}}\nOverall: {TOKEN} END"


def save(folder: Path, base: Path) -> None:
    """Write `score` (a head among the model's own weights), `value_head` (beside them) and `hpsv3` (a Qwen2-VL's folder
    without weights, and `hpsv3.safetensors` with all of them under the names of older transformers). base: the folder
    of a Qwen2.5-VL with its processor.
    """
    import shutil

    from safetensors.torch import load_file, save_file

    draw = torch.Generator().manual_seed(4)
    for name in ("score", "value_head"):
        shutil.copytree(base, folder / name)
    file = folder / "score" / "model.safetensors"
    save_file(
        {**load_file(file), "score.weight": torch.randn(1, 32, generator=draw) / 8}, file, metadata={"format": "pt"}
    )
    value = {"v_head.summary.weight": torch.randn(1, 32, generator=draw) / 8, "v_head.summary.bias": torch.ones(1)}
    save_file(value, folder / "value_head" / "value_head.safetensors")
    _save_hpsv3(folder, base, draw)


def _save_hpsv3(folder: Path, base: Path, draw: torch.Generator) -> None:
    from safetensors.torch import save_file
    from transformers import (
        AutoTokenizer,
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = AutoTokenizer.from_pretrained(base)
    number = tokenizer.convert_tokens_to_ids
    config = Qwen2VLConfig(
        text_config={
            **{"vocab_size": len(tokenizer) + 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
            **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096},
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]},
        },
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2},
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
    )
    torch.manual_seed(5)
    model = Qwen2VLForConditionalGeneration(config)
    with torch.no_grad():
        for each in model.parameters():
            each.mul_(3)
    model.resize_token_embeddings(len(tokenizer) + 1)  # with the token's, and without the room that was left
    config.text_config.vocab_size = len(tokenizer) + 40  # as the base's folder has it
    config.save_pretrained(folder / "hpsv3")
    template = (base / "chat_template.jinja").read_text()
    reads = Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor()
    Qwen2VLProcessor(*reads, chat_template=template).save_pretrained(folder / "hpsv3")

    def older(name: str) -> str:
        return name.replace("model.visual.", "visual.").replace("model.language_model.", "model.")

    shapes = {"rm_head.0": (24, 32), "rm_head.3": (16, 24), "rm_head.5": (2, 16)}
    head = {f"{name}.weight": torch.randn(shape, generator=draw) / 4 for name, shape in shapes.items()}
    head |= {f"{name}.bias": torch.randn(shape[:1], generator=draw) / 4 for name, shape in shapes.items()}
    state = {older(name): each.clone() for name, each in model.state_dict().items()}
    save_file({**state, **head}, folder / "hpsv3.safetensors")
