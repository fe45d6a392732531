"""Image to video with Stable Video Diffusion: a picture of the user's, set in motion; words have no part in it.

The prompt of an image only names it: for its noise, and for the metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from PIL import Image

from freeu.batches import Batches
from freeu.generate import to_uint8

from . import inputs
from .image_to_image import ImageToImage
from .place import Place
from .spec import ModelSpec

FPS, MOTION, AUGMENTED = 7, 127, 0.02
"""Frames a second, how much moves, and the noise on the picture: diffusers' defaults, as the model was trained."""
DECODED = 8
"""Frames that are decoded together to save memory. Where two such parts meet a seam can show: the decoder looks at
neighbours."""
NO_LIMIT = 10**9


class ImageToVideo(ImageToImage):
    """A `freeu.generate.Generator` that gives uint8 (n, frames, 3, H, W).

    Guidance rises from 1 at the first frame to the spec's at the last.
    """

    def __init__(self, pipeline: Any, spec: ModelSpec, identity: str, place: Place) -> None:
        super().__init__(pipeline, spec, identity, place)
        self.frames = spec.frames
        self._decodes = Batches(DECODED if place.slicing or place.offload else spec.frames)
        place.settle(self._vae, overflows=True)

    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        (channels, *sides), drawn = super()._shapes()
        return (self._spec.frames, channels // 2, *sides), (self._spec.frames, *drawn)

    def _embed(self, prompts: Sequence[str], negatives: bool) -> None:
        self._words.embed(prompts, self.image_size)

    def _new_words(self) -> _PictureEmbeddings:
        return _PictureEmbeddings(self._pipeline, self._device, self._spec)

    def _timesteps(self, scheduler: Any) -> torch.Tensor:
        return scheduler.timesteps

    def _begin(self, prompts: Sequence[str], randoms: Sequence[torch.Generator], scheduler: Any) -> torch.Tensor:
        return self._noise(randoms) * scheduler.init_noise_sigma

    @property
    def _scale(self) -> torch.Tensor:
        rising = torch.linspace(1, self.guidance, self.frames, device=self._device, dtype=self._unet.dtype)
        return rising.view(1, -1, 1, 1, 1)

    def _picture(self, prompt: str) -> torch.Tensor:
        return inputs.load(self._spec, prompt, self.image_size)[0]

    def _condition(self, prompts: Sequence[str], randoms: Sequence[torch.Generator]) -> dict[str, Any]:
        """As the U-Net takes it; "pictures" are latents (n, frames, c, h, w) that go beside the noise."""
        noised = [
            self._picture(prompt) / 127.5 - 1 + AUGMENTED * torch.randn((3, *self.image_size), generator=random)
            for prompt, random in zip(prompts, randoms, strict=True)
        ]
        encode = self._vae.encode
        found = [encode(each[None].to(self._device, self._vae.dtype)).latent_dist.mode() for each in noised]
        pictures = torch.cat(found).to(self._unet.dtype)[:, None].repeat(1, self.frames, 1, 1, 1)
        words = self._words.of(prompts, self.image_size)
        times = torch.tensor([[FPS - 1, MOTION, AUGMENTED]], dtype=words.dtype, device=words.device)
        times = times.repeat(len(prompts), 1)
        if self._guided:
            words, pictures = (torch.cat([torch.zeros_like(each), each]) for each in (words, pictures))
            times = torch.cat([times] * 2)
        return {"encoder_hidden_states": words, "added_time_ids": times, "pictures": pictures}

    def _predict(self, x: torch.Tensor, t: torch.Tensor, condition: dict[str, Any]) -> torch.Tensor:
        more = {key: value for key, value in condition.items() if key != "pictures"}
        return self._unet(torch.cat([x, condition["pictures"]], dim=2), t, **more, return_dict=False)[0]

    def _decode(self, latents: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        latents = latents.to(self._vae.dtype) / self._vae.config.scaling_factor
        videos = []
        for video, prompt in zip(latents, prompts, strict=True):
            videos += [frames for _, frames in self._decodes.run(self.frames, partial(self._frames, video, prompt))]
        return torch.cat(videos).unflatten(0, (len(prompts), self.frames))

    def _frames(self, video: torch.Tensor, prompt: str, rows: Sequence[int]) -> torch.Tensor:
        """Pixels of some of a video's latents (frames, c, h, w)."""
        latents = video[list(rows)]
        return to_uint8(self._vae.decode(latents, num_frames=len(latents)).sample, [prompt] * len(latents))


class _PictureEmbeddings:
    """In place of words: each prompt's picture, as CLIP sees it. No prompt is too long, since none is read."""

    max_tokens = layers = NO_LIMIT

    def __init__(self, pipeline: Any, device: torch.device, spec: ModelSpec) -> None:
        self._pipeline, self._device, self._spec = pipeline, device, spec
        self._kept: dict[tuple[str, tuple[int, int]], torch.Tensor] = {}

    def too_long(self, prompts: Sequence[str]) -> list[str]:
        return []

    def embed(self, prompts: Sequence[str], size: tuple[int, int]) -> None:
        """Encodes each prompt's picture once, as it is cut to `size` = (height, width)."""
        for prompt in dict.fromkeys(prompts):
            if (prompt, size) in self._kept:
                continue
            if self._pipeline.image_encoder is None:
                raise ValueError(f"the prompt {prompt!r} is not among those of prepare(), and the encoder is freed")
            pixels = inputs.load(self._spec, prompt, size)[0]
            picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
            self._kept[prompt, size] = self._pipeline._encode_image(picture, self._device, 1, False)

    def free(self) -> None:
        self._pipeline.image_encoder = None

    def of(self, prompts: Sequence[str], size: tuple[int, int]) -> torch.Tensor:
        return torch.cat([self._kept[prompt, size] for prompt in prompts])
