"""Text to image with any Stable Diffusion, SDXL or LCM pipeline of diffusers, under factors.

Prompts are embedded once for all candidates, images drawn in batches by the loop of `.denoising`, and decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from copy import copy
from typing import Any, Self

import torch

from freeu.factors import IDENTITY, Factors
from freeu.generate import OnStep, to_uint8
from freeu.patch import applied, enable, watched
from freeu.sampling import UNCHANGED, Sampling

from .denoising import Denoising
from .early import Early, untouched
from .fits import check_clip_skip, check_eta, check_size
from .perturbed import without_attention
from .place import Place
from .prompt_embeddings import PromptEmbeddings
from .spec import ModelSpec


class TextToImage(Denoising):
    """A `freeu.generate.Generator` over a diffusers pipeline, which it brings to its place.

    Other kinds are told other things, draw or decode otherwise, and override that.
    """

    frames = 1

    def __init__(self, pipeline: Any, spec: ModelSpec, identity: str, place: Place) -> None:
        self.name, self.identity = spec.name, identity
        self._spec, self._device, self._compiled = spec, place.device, place.compiled
        self._pipeline, self._unet, self._vae = pipeline, pipeline.unet, pipeline.vae
        place.put(pipeline, spec.name)
        self._is_xl = getattr(pipeline, "text_encoder_2", None) is not None
        self._batches, self._decodes = place.batches(spec), place.decodes(spec, self._vae)
        place.settle(self._vae, overflows=self._is_xl)
        self._words = self._new_words()
        self.max_tokens: int = self._words.max_tokens
        self._settle()

    @property
    def unet(self) -> Any:
        """The network that FreeU acts on."""
        return self._unet

    @property
    def dtype(self) -> torch.dtype:
        """That the U-Net runs in."""
        return self._unet.dtype

    def _size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self._spec.image_size

    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(of an image's noise, of what is drawn for a prompt)"""
        factor = self._pipeline.vae_scale_factor
        return (self._unet.config.in_channels, *(each // factor for each in self.image_size)), (3, *self.image_size)

    def _new_words(self) -> Any:
        """What the U-Net is told of the prompts."""
        return PromptEmbeddings(self._pipeline, self._device)

    def too_long(self, prompts: Sequence[str]) -> list[str]:
        """Those of the prompts that the text encoder would cut."""
        return self._words.too_long(prompts)

    def with_sampling(self, sampling: Sampling) -> Self:
        """See `freeu.generate.Generator`."""
        if sampling == UNCHANGED:
            return self
        other = copy(self)
        other._spec = self._spec.sampled(sampling)
        other._settle()
        check_eta(sampling.eta, type(other._scheduler()).__name__)
        return other

    def _settle(self) -> None:
        """What follows from the spec's sampling settings. Raises UserError where the model can't be run so."""
        check_clip_skip(self._spec.clip_skip, self._words.layers)
        check_size(self._spec.size, self._pipeline.vae_scale_factor)
        self.image_size = self._size()
        self._latent, self._drawn = self._shapes()
        self.steps, self.guidance = self._spec.steps, self._spec.guidance
        # A U-Net distilled for few steps (LCM) takes the guidance scale as an input.
        distilled = self._unet.config.get("time_cond_proj_dim") is not None
        self._guided = self.guidance > 1 and not distilled
        self._perturbed = self._spec.pag_scale > 0
        self._run = self._new_run()
        self._early = Early()

    def expect(self, counts: Sequence[int], divided: bool = False, alike: Sequence[Factors] = ()) -> None:
        """Have all batches of one shape from now on, see `freeu.batches.Batches.expect`. alike: some factors like those
        to come: what is compiled is made for them.
        """
        self._batches.expect(counts, divided)
        if self._compiled:
            for factors in (*alike, IDENTITY):
                enable(self._unet, factors)

    @torch.inference_mode()
    def prepare(self, prompts: Sequence[str], samplings: Sequence[Sampling] = ()) -> None:
        """See `freeu.generate.Generator`: embeds the prompts, and drops the text encoders."""
        for each in (self, *map(self.with_sampling, samplings)):
            each._embed(prompts, negatives=True)  # other candidates may have guidance
        self._words.free()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        factors: Factors,
        on_step: OnStep | None = None,
    ) -> torch.Tensor:
        """See `freeu.generate.Generator`."""
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts but {len(seeds)} seeds: give one seed for each prompt")
        self._embed(prompts, self._guided)
        images = torch.empty((len(prompts), *self._drawn), dtype=torch.uint8)
        done = [0.0] * len(prompts)  # by each batch's first image

        def draw(rows: Sequence[int]) -> torch.Tensor:
            def told(share: float) -> None:
                done[rows[0]] = share * len(set(rows))
                if on_step is not None:
                    on_step(sum(done))

            return self._draw([prompts[row] for row in rows], [seeds[row] for row in rows], told)

        def one_step() -> None:
            with suppress(_Enough):
                self._draw(prompts[:1], seeds[:1], _enough)

        def decode(part: slice, latents: torch.Tensor) -> torch.Tensor:
            return self._decode(latents, prompts[part])

        scheduled = factors.controls.scheduled
        # Whoever looks on (freeu/figures.py) sees one batch after the other, and all steps of each.
        seen = watched(self._unet)
        self._run.untouched = untouched(factors.controls, self._run) if scheduled and not seen else 0
        perturbing = without_attention(self._unet, self._spec.pag_layers, self._guided)
        with applied(self._unet, factors, self._run), perturbing if self._perturbed else nullcontext():
            # Under a schedule FreeU is at one step for the whole U-Net.
            for part, drawn in self._batches.run(len(prompts), draw, scheduled or seen, decode, one_step):
                images[part] = drawn
        return images

    def _decode(self, latents: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        scale, shift = self._latent_scale()
        latents = latents.to(self._vae.dtype) / scale + shift

        def decode(rows: Sequence[int]) -> torch.Tensor:
            some = latents[list(rows)]
            return to_uint8(self._vae.decode(some, return_dict=False)[0], [prompts[row] for row in rows])

        if self._batches.filled:
            self._decodes.expect([self._batches.size * self.frames])
        return torch.cat([images for _, images in self._decodes.run(len(latents), decode)])

    def _latent_scale(self) -> tuple[Any, Any]:
        """(scale, shift): latents of the U-Net / scale + shift are those of the VAE."""
        config = self._vae.config
        mean, std = config.get("latents_mean"), config.get("latents_std")
        if mean is None or std is None:
            return config.scaling_factor, 0.0
        mean, std = (
            torch.tensor(each, device=self._device, dtype=self._vae.dtype).view(1, -1, 1, 1) for each in (mean, std)
        )
        return config.scaling_factor / std, mean

    def _embed(self, prompts: Sequence[str], negatives: bool) -> None:
        self._words.embed(prompts, self._negatives(prompts) if negatives else (), self._spec.clip_skip)

    def _negatives(self, prompts: Sequence[str]) -> list[str]:
        """The negative prompt of each."""
        return [self._spec.negatives.get(prompt, self._spec.negative_prompt) for prompt in prompts]

    def _condition(self, prompts: Sequence[str], randoms: Sequence[torch.Generator]) -> dict[str, Any]:
        negatives = self._negatives(prompts) if self._guided else ()
        embeds, pooled = self._words.of(prompts, negatives, self._spec.clip_skip)
        n = len(prompts)
        given = 1 + self._perturbed
        if self._perturbed:
            embeds, pooled = (None if each is None else torch.cat([each, each[-n:]]) for each in (embeds, pooled))
        found: dict[str, Any] = {"encoder_hidden_states": embeds}
        if pooled is not None:
            empty = [self._time_ids(negative=True)] * (len(pooled) - n * given)
            ids = [*empty, *[self._time_ids(negative=False)] * n * given]
            times = torch.tensor(ids, dtype=pooled.dtype, device=pooled.device)
            found["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": times}
        width = self._unet.config.time_cond_proj_dim
        if width is not None:
            scales = torch.tensor(self.guidance - 1).repeat(n * given)
            embedded = self._pipeline.get_guidance_scale_embedding(scales, embedding_dim=width)
            found["timestep_cond"] = embedded.to(self._device, self._unet.dtype)
        return found

    def _time_ids(self, negative: bool) -> list[float]:
        """What SDXL is told of a picture: its size, its cut, and the size asked for."""
        return [*self.image_size, 0, 0, *self.image_size]


class _Enough(Exception):
    """A step is done."""


def _enough(share: float) -> None:
    raise _Enough
