"""Reward models: a vision-language model of transformers that reads image and prompt, and a head that scores a token.

`reward` is any of them, by the spec in a model's YAML; `hpsv3` is HPSv3 (Ma et al., arXiv 2508.03789): a Qwen2-VL-7B
with a head of three layers on the token <|Reward|>, which ends in a mean and a spread; the mean is the score. Its
public code (github.com/MizzenAI/HPSv3, MIT) gives the language model plain positions in place of Qwen's of the image's
grid, in training too: `positions: sequence`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from configs import UserError, identity

from .base import Batch, Direction, Score, check_count, mean_score
from .hub import weights_file
from .reward_head import is_of_head, read_head
from .transformers_encoder import place_of, quiet
from .vision_language import BATCH, asked, plain, precision

PLACE = re.compile(r"\{(?:text_)?prompt\}")
"""Where the prompt stands in an instruction."""
MODEL_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model")


class Reward:
    """The head's value for each image under its prompt, in the model's own units; more is better. Compare images of one
    prompt alone.
    """

    version = "1"
    direction: Direction = "up"
    per_image = True
    min_n = 1

    def __init__(self, name: str, model: RewardModel, batch: int = BATCH) -> None:
        self.name, self.model, self.batch, self.identity = name, model, batch, model.identity

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`."""
        check_count(self, len(batch))
        parts = [slice(i, i + self.batch) for i in range(0, len(batch), self.batch)]
        found = torch.cat([self.model.rewards(batch.images[part], batch.prompts[part]) for part in parts])
        return mean_score(self, np.asarray(found))


@dataclass(frozen=True)
class RewardModel:
    """A loaded one.

    Attributes:
        model: gives last hidden states (n, words, d).
        head: those of one token (n, d), float32, to scores (n,).
        token: the one that is scored; None for the last.
        looks: what the processor is told of images, as their size.
        sequential: whether words and image parts are counted through, whatever the model would do.
        identity: of all that decides a score.
    """

    model: Any
    head: torch.nn.Module
    processor: Any
    instruction: str
    token: str | None
    looks: Mapping[str, Any]
    sequential: bool
    identity: str

    @torch.inference_mode()
    def rewards(self, images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """float64 (n,) on the CPU. images: uint8 (n, 3, H, W)."""
        texts = [asked(self.processor, self.told(prompt)) for prompt in prompts]
        padded = {"padding": True, "padding_side": "right", "return_tensors": "pt"}
        read = self.processor(text=texts, images=list(images), **padded, **self.looks)
        inputs = {name: each.to(self.model.device) for name, each in read.items()}
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        words = inputs["input_ids"]
        if self.sequential:
            inputs["position_ids"] = torch.arange(words.shape[1], device=words.device).expand(words.shape)
        hidden = self.model(**inputs, use_cache=False).last_hidden_state
        rows = torch.arange(len(words), device=words.device)
        return self.head(hidden[rows, self.places(words, inputs["attention_mask"])].float()).double().cpu()

    def told(self, prompt: str) -> str:
        """The instruction with a prompt."""
        return PLACE.sub(lambda place: plain(self.processor, prompt), self.instruction)

    def places(self, words: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(n,) where the token stands that is scored. words, mask: (n, words), padded on the right."""
        if self.token is None:
            return mask.sum(-1) - 1
        return (words == self.processor.tokenizer.convert_tokens_to_ids(self.token)).int().argmax(-1)


def load(name: str, spec: Mapping[str, Any], device: str, models: Path) -> Reward:
    """The metric of {source, …}, each but source as it needs it.

    source: a folder or hub name in transformers' format. weights: a file of all weights where they are not the
    source's, a path or {repository, file}. head: the head's file where it is in neither. activation, output: see
    `metrics.reward_head.read_head`. token, images, positions ("sequence"), instruction (a text or a file, with
    {prompt}), dtype (as for vqa), batch.

    Raises:
        UserError: one can't be had or fits no other, or a part of the model is not in the weights.
    """
    if not isinstance(spec.get("source"), str):
        raise UserError(f"the reward model '{name}' needs its source, and its YAML has {dict(spec)}")
    quiet()
    dtype_name, dtype = precision(spec, device)
    instruction, token = _instruction(spec, models), spec.get("token")
    if token is not None and token not in instruction:
        raise UserError(f"the instruction of '{name}' has no {token}, whose score it gives")
    source, label = place_of(spec["source"], models)
    weights = weights_file(spec["weights"], models) if spec.get("weights") else None
    if weights is None:
        source = _folder(source)
    processor = _processor(source, token)
    model = _model(source, weights, dtype, processor)
    own = sorted(Path(source).glob("*.safetensors")) if weights is None else [weights]
    beside = [weights_file(spec["head"], models)] if spec.get("head") else own
    head = read_head(beside, spec.get("activation"), int(spec.get("output", 0)))
    files = {file for file in (weights, *(beside if spec.get("head") else ())) if file is not None}
    read = [label, *(identity(file) for file in sorted(files)), dtype_name, instruction]
    settings = {key: spec[key] for key in ("activation", "images", "output", "positions", "token") if key in spec}
    named = " ".join([*read, repr(sorted(settings.items()))])
    sequential = spec.get("positions") == "sequence"
    made = RewardModel(model.to(device), head.to(device), processor, instruction, token, spec.get("images") or {},
                       sequential, named)  # fmt: skip
    return Reward(name, made, int(spec.get("batch", BATCH)))


def _instruction(spec: Mapping[str, Any], models: Path) -> str:
    given = str(spec.get("instruction") or "{prompt}")
    if not PLACE.search(given):
        file = models / Path(given).expanduser()
        if not file.is_file():
            raise UserError(
                f"the reward model's instruction {file} is no file: write what the model's authors asked it, with "
                "{prompt} where the prompt stands (docs/metrics.md, Reward models)"
            )
        given = file.read_text(encoding="utf-8")
    if not PLACE.search(given):
        raise UserError(f"the reward model's instruction has no {{prompt}}: {given[:80]!r}")
    return given


def _folder(source: Path | str) -> Path | str:
    """A model's folder; of the hub's, its snapshot."""
    from huggingface_hub import snapshot_download

    return source if isinstance(source, Path) else snapshot_download(source, allow_patterns=list(MODEL_FILES))


def _processor(source: Path | str, token: str | None) -> Any:
    from transformers import AutoProcessor

    try:
        found = AutoProcessor.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"can't load the reward model's processor {source}: {error}") from error
    if token is not None:
        found.tokenizer.add_tokens([token], special_tokens=True)
    return found


def _model(source: Path | str, weights: Path | None, dtype: torch.dtype, processor: Any) -> Any:
    """What gives the hidden states, with all its weights."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoConfig, AutoModelForImageTextToText

    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        told: dict[str, Any] = {"config": config, "dtype": dtype, "output_loading_info": True}
        if weights is None:
            model, info = AutoModelForImageTextToText.from_pretrained(source, trust_remote_code=False, **told)
        else:
            state = {name: each for name, each in load_file(weights).items() if not is_of_head(name)}
            words = next(each for name, each in state.items() if name.endswith("embed_tokens.weight"))
            config.get_text_config().vocab_size = len(words)  # tokens were added, or room for more cut off
            kind = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]
            model, info = kind.from_pretrained(None, state_dict=state, **told)
    except (OSError, ValueError, KeyError, RuntimeError, StopIteration, SafetensorError) as error:
        raise UserError(f"can't load the reward model {weights or source}: {error}") from error
    if missing := sorted(set(info["missing_keys"]) - {"lm_head.weight"}):
        raise UserError(f"the reward model {weights or source} lacks {len(missing)} of its weights, as {missing[0]}")
    if len(processor.tokenizer) > config.get_text_config().vocab_size:
        raise UserError(f"the reward model {weights or source} knows {config.get_text_config().vocab_size} tokens, and "
                        f"its tokenizer has {len(processor.tokenizer)}")  # fmt: skip
    return model.base_model.eval().requires_grad_(False)
