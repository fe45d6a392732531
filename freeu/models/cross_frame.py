"""Self-attention across frames: each frame looks at the first and at the one before it."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0


class CrossFrameAttention(AttnProcessor2_0):
    """A diffusers attention processor for a batch of videos, (videos · frames, tokens, width).

    Keys and values of frame i are those of frames 1 and i - 1; the first frame's own for the first. Rerender-A-Video
    draws frame after frame and keeps what the two showed at each step: the same, since neither depends on frame i.
    """

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """hidden_states (videos · frames, tokens, width) to the same."""
        videos = hidden_states.unflatten(0, (-1, self.frames))
        first = videos[:, :1]
        previous = torch.cat([first, videos[:, :-1]], dim=1)
        seen = torch.cat([first.expand_as(videos), previous], dim=2).flatten(0, 1)
        return super().__call__(attn, hidden_states, seen, attention_mask, temb)
