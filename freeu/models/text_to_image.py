"""Text to image with any Stable Diffusion, SDXL or LCM pipeline of diffusers, under factors.

The denoising loop is written out here, not called as `pipe(prompt)`, so that what doesn't depend on the factors
(text embeddings) is made once, and so that an image depends on its prompt and seed alone. Without FreeU it gives, bit
for bit, what diffusers' own call gives for the same embeddings and noise.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from freeu.factors import Factors
from freeu.generate import Batches, generator, to_uint8
from freeu.patch import applied

Text = tuple[torch.Tensor, torch.Tensor | None]
"""Embeddings (1, tokens, width) and, for SDXL, the pooled ones (1, width)."""


class TextToImage:
    """A `freeu.generate.Generator` over a diffusers pipeline that is already on its device."""

    def __init__(
        self,
        pipeline: Any,
        *,
        name: str,
        identity: str,
        resolution: int,
        steps: int,
        guidance: float,
        scheduler: str,
        batch_size: int,
    ) -> None:
        self.name, self.identity = name, identity
        self.image_size = (resolution, resolution)
        self.steps, self.guidance = steps, guidance
        self._pipeline, self._unet, self._vae = pipeline, pipeline.unet, pipeline.vae
        side = resolution // pipeline.vae_scale_factor
        self._latent: tuple[int, ...] = (self._unet.config.in_channels, side, side)
        self._drawn: tuple[int, ...] = (3, *self.image_size)
        self._is_xl = getattr(pipeline, "text_encoder_2", None) is not None
        self._scheduler_name = scheduler
        self._batches, self._decodes = Batches(batch_size), Batches(batch_size)
        self._texts: dict[str | None, Text] = {}  # None: the negative prompt's
        # A U-Net distilled for few steps (LCM) takes the guidance scale as an input.
        self._guided = guidance > 1 and self._unet.config.time_cond_proj_dim is None
        if self._is_xl and self._vae.dtype == torch.float16 and self._vae.config.force_upcast:
            self._vae.to(torch.float32)  # SDXL's own decoder overflows in half precision
        encoders = [(pipeline.tokenizer, pipeline.text_encoder)]
        if self._is_xl:
            encoders.append((pipeline.tokenizer_2, pipeline.text_encoder_2))
        self._tokenizers = [tokenizer for tokenizer, encoder in encoders if encoder is not None]
        self.max_tokens = min(
            min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
            for tokenizer, encoder in encoders
            if encoder is not None
        )

    def too_long(self, prompts: Sequence[str]) -> list[str]:
        """Those of the prompts that the text encoder would cut."""
        return [
            prompt
            for prompt in prompts
            if max(len(tokenizer(prompt).input_ids) for tokenizer in self._tokenizers) > self.max_tokens
        ]

    def unet_evaluations(self, n: int) -> int:
        """Samples through the U-Net for n images; some schedulers evaluate more often than `steps`."""
        return n * len(self._scheduler().timesteps) * (2 if self._guided else 1)

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        factors: Factors,
        on_batch: Callable[[int], None] | None = None,
    ) -> torch.Tensor:
        """See `freeu.generate.Generator`."""
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts but {len(seeds)} seeds: give one seed for each prompt")
        self._embed(prompts)
        images = torch.empty((len(prompts), *self._drawn), dtype=torch.uint8)
        with applied(self._unet, factors, self._scheduler()):
            for part, drawn in self._batches.run(len(prompts), lambda part: self._draw(prompts[part], seeds[part])):
                images[part] = drawn
                if on_batch is not None:
                    on_batch(part.stop)
        return images

    def _draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> torch.Tensor:
        randoms = [generator(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        scheduler = self._scheduler()
        latents = torch.stack([torch.randn(self._latent, generator=random) for random in randoms])
        latents = latents.to(self._unet.device, self._unet.dtype) * scheduler.init_noise_sigma
        condition = self._condition(prompts)
        # Schedulers that draw noise in their steps draw it for each image from that image's own generator.
        takes_random = "generator" in inspect.signature(scheduler.step).parameters
        extra = {"generator": randoms} if takes_random else {}
        for t in scheduler.timesteps:
            x = scheduler.scale_model_input(torch.cat([latents] * 2) if self._guided else latents, t)
            guess = self._unet(x, t, **condition, return_dict=False)[0]
            if self._guided:
                without, given = guess.chunk(2)
                guess = without + self.guidance * (given - without)
            latents = scheduler.step(guess, t, latents, **extra, return_dict=False)[0]
        return self._decode(latents, prompts)

    def _decode(self, latents: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        config = self._vae.config
        latents = latents.to(self._vae.dtype)
        mean, std = config.get("latents_mean"), config.get("latents_std")
        if mean is not None and std is not None:
            latents = latents * latents.new_tensor(std).view(1, -1, 1, 1) / config.scaling_factor
            latents = latents + latents.new_tensor(mean).view(1, -1, 1, 1)
        else:
            latents = latents / config.scaling_factor

        def decode(part: slice) -> torch.Tensor:
            return to_uint8(self._vae.decode(latents[part], return_dict=False)[0], prompts[part])

        return torch.cat([images for _, images in self._decodes.run(len(latents), decode)])

    def _embed(self, prompts: Sequence[str]) -> None:
        """Encodes each new prompt once and by itself, so that its embedding doesn't depend on neighbours."""
        for prompt in dict.fromkeys(prompts):
            if prompt in self._texts:
                continue
            found = self._pipeline.encode_prompt(
                prompt=prompt,
                device=self._unet.device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=self._guided and None not in self._texts,
            )
            embeds, negative, pooled, negative_pooled = found if self._is_xl else (*found, None, None)
            self._texts[prompt] = (embeds, pooled)
            if negative is not None:
                self._texts[None] = (negative, negative_pooled)

    def _condition(self, prompts: Sequence[str]) -> dict[str, Any]:
        """The U-Net's arguments beside the latents; under guidance the negative half comes first."""
        empty: list[str | None] = [None] * len(prompts) if self._guided else []
        texts = [self._texts[name] for name in [*empty, *prompts]]
        found: dict[str, Any] = {"encoder_hidden_states": torch.cat([embeds for embeds, _ in texts])}
        if self._is_xl:
            pooled = torch.cat([pooled for _, pooled in texts if pooled is not None])
            ids = self._pipeline._get_add_time_ids(
                self.image_size,
                (0, 0),
                self.image_size,
                dtype=pooled.dtype,
                text_encoder_projection_dim=self._pipeline.text_encoder_2.config.projection_dim,
            )
            ids = ids.to(pooled.device).repeat(len(texts), 1)
            found["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": ids}
        width = self._unet.config.time_cond_proj_dim
        if width is not None:
            scales = torch.tensor(self.guidance - 1).repeat(len(prompts))
            embedded = self._pipeline.get_guidance_scale_embedding(scales, embedding_dim=width)
            found["timestep_cond"] = embedded.to(self._unet.device, self._unet.dtype)
        return found

    def _scheduler(self) -> Any:
        """A fresh one, since schedulers carry state from step to step."""
        import diffusers

        config = self._pipeline.scheduler.config
        if self._scheduler_name == "dpmsolver++":
            scheduler = diffusers.DPMSolverMultistepScheduler.from_config(config, algorithm_type="dpmsolver++")
        elif self._scheduler_name == "ddim":
            scheduler = diffusers.DDIMScheduler.from_config(config)
        else:
            scheduler = type(self._pipeline.scheduler).from_config(config)
        scheduler.set_timesteps(self.steps, device=self._unet.device)
        return scheduler
