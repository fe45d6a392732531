"""The text encoder and the U-Net, in the formats of Stable Diffusion, trained together.

Widths C, 2C, 4C with cross-attention in the two lower levels: FreeU's two stages by width are then the two lower levels
of the decoder, as in the paper's models. The text encoder is a small CLIP text tower trained from scratch by the same
loss, since there is no large one to borrow.

The target is v (Salimans and Ho, arXiv 2202.00512), as in Stable Diffusion 2: where an image is all noise, v is the
image itself, so that the layout, which is decided there, is learned. With the noise as the target, which weights that
by next to nothing, the order of two objects stayed at chance. But the large errors there drown the small ones of the
detail, so a second round learns that, with the weights that the noise as the target would have (docs/log.md).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from .caption import MAX_TOKENS
from .data import Scenes
from .loop import Draw, Plan, train

if TYPE_CHECKING:
    from diffusers import DPMSolverMultistepScheduler
    from transformers import PreTrainedTokenizerBase

WIDTH = 32
TEXT_WIDTH = 128
DROPPED = 0.1
"""Share of captions that are replaced by the empty one, for classifier-free guidance."""


class Denoiser(nn.Module):
    """Both networks as one, so that they are trained, averaged and kept together."""

    def __init__(self, vocabulary: int, end: int) -> None:
        super().__init__()
        from diffusers import UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=vocabulary,
                hidden_size=TEXT_WIDTH,
                intermediate_size=4 * TEXT_WIDTH,
                projection_dim=TEXT_WIDTH,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=MAX_TOKENS,
                bos_token_id=end - 1,
                eos_token_id=end,
                pad_token_id=end,
            )
        )
        self.unet = UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(WIDTH, 2 * WIDTH, 4 * WIDTH),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=TEXT_WIDTH,
            attention_head_dim=4,
            norm_num_groups=16,
        )

    def forward(self, noisy: torch.Tensor, times: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """v of `noisy` (n, 4, 16, 16) at `times` (n,), given `tokens` (n, MAX_TOKENS)."""
        return self.unet(noisy, times, self.text_encoder(tokens).last_hidden_state).sample


def scheduler() -> DPMSolverMultistepScheduler:
    """Stable Diffusion's noise schedule, sampled by DPM-Solver++."""
    from diffusers import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        steps_offset=1,
    )


def fit(
    data: Scenes,
    latents: torch.Tensor,
    tokenizer: PreTrainedTokenizerBase,
    work: Path,
    steps: tuple[int, int],
    seed: int,
    batch: int = 32,
) -> Denoiser:
    """Trains on the scaled latents (n, 4, 16, 16) of `data` with fresh captions, in two rounds.

    The squared error of the image counts floor + min(SNR, 5): a floor of 1 in the first round, for the layout, and of
    0.05 in the second, for the detail. (That of v, which is 1 + SNR times as large, counts 1 / (1 + SNR) of it.)
    """
    torch.manual_seed(seed)
    net = Denoiser(len(tokenizer), tokenizer.eos_token_id)
    kept = scheduler().alphas_cumprod
    ratio = kept / (1 - kept)

    def loss(draw: Draw, floor: float) -> torch.Tensor:
        chosen = draw.numpy.integers(len(data), size=batch)
        words = ["" if draw.numpy.random() < DROPPED else text for text in data.captions(chosen, draw.numpy)]
        tokens = tokenizer(words, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
        # One timestep from each of `batch` equal bins: the same expectation, a steadier loss.
        bins = (torch.arange(batch) + torch.rand(batch, generator=draw.torch)) / batch
        times = (bins * len(kept)).long()
        noise = torch.randn((batch, *latents.shape[1:]), generator=draw.torch)
        a = kept[times][:, None, None, None]
        clean = latents[chosen]
        v = a.sqrt() * noise - (1 - a).sqrt() * clean
        guess = net(a.sqrt() * clean + (1 - a).sqrt() * noise, times, tokens.input_ids)
        weights = (floor + ratio[times].clamp(max=5)) / (1 + ratio[times])
        return ((guess - v).square().mean(dim=(1, 2, 3)) * weights).mean()

    layout = Plan("layout", steps[0], 1.2e-3, average=0.999, seed=seed)
    detail = Plan("detail", steps[1], 8e-4, average=0.999, seed=seed + 1)
    train(net, partial(loss, floor=1.0), layout, work)
    return train(net, partial(loss, floor=0.05), detail, work)


def save_pipeline(net: Denoiser, vae: nn.Module, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Writes a StableDiffusionPipeline folder, in half precision."""
    from diffusers import StableDiffusionPipeline

    vae.register_to_config(_name_or_path="")  # else the folder that it was read from
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=net.text_encoder,
        tokenizer=tokenizer,
        unet=net.unet,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(out)
    # Tools older than transformers 5 read the vocabulary from these two files.
    tokenizer.backend_tokenizer.model.save(str(out / "tokenizer"))
