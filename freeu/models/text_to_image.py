"""Text to image: any Stable Diffusion or SDXL pipeline of diffusers, from a folder, the hub's cache or the hub.

Our own denoising loop rather than `pipe(prompt)`: what doesn't depend on the factors (text embeddings, noise) is made
once and kept, both halves of guidance run in one batch, and the batch shrinks where memory runs out. With factors of 1
it gives the pipeline's own images to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from freeu.factors import Factors
from freeu.generate import GenerationError, noise
from freeu.patch import applied

from .hub import find_weights
from .spec import ModelSpec

SCHEDULERS = {
    "dpmsolver++": "DPMSolverMultistepScheduler",
    "ddim": "DDIMScheduler",
    "euler": "EulerDiscreteScheduler",
}
"""Deterministic ones only: an image then depends on its initial noise and on nothing drawn later."""


@dataclass
class TextToImage:
    """A loaded pipeline as a `freeu.generate.Generator`."""

    name: str
    identity: str
    pipe: Any
    image_size: tuple[int, int]
    steps: int
    guidance: float
    batch_size: int
    _texts: dict[str, tuple[torch.Tensor, ...]] = field(default_factory=dict, repr=False)

    @staticmethod
    def load(
        spec: ModelSpec, *, device: str, dtype: str, steps: int, guidance: float, batch_size: int
    ) -> TextToImage:
        """Loads the weights that `spec` names. Raises UserError where they can't be had or read."""
        import diffusers

        diffusers.logging.set_verbosity_error()
        diffusers.logging.disable_progress_bar()
        folder, identity = find_weights(spec)
        pipeline = getattr(diffusers, spec.pipeline)
        plain = {} if spec.pipeline == "StableDiffusionXLPipeline" else {"safety_checker": None}
        pipe = _read(pipeline, folder, spec, torch_dtype=getattr(torch, dtype), **plain)
        scheduler = getattr(diffusers, SCHEDULERS[spec.scheduler])
        pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
        if pipe.vae.config.force_upcast and dtype == "float16":
            pipe.vae.float()  # SDXL's autoencoder overflows in half precision
        pipe.to(device)
        for module in (pipe.unet, pipe.vae):
            module.requires_grad_(False)
        return TextToImage(
            spec.name, identity, pipe, (spec.resolution, spec.resolution), steps, guidance, batch_size
        )

    @property
    def guided(self) -> bool:
        """Whether classifier-free guidance runs the U-Net twice a step."""
        return self.guidance > 1

    def unet_evaluations(self, count: int) -> int:
        """Samples through the U-Net for `count` images."""
        return count * self.steps * (2 if self.guided else 1)

    def too_long(self, prompts: Sequence[str]) -> list[str]:
        """Prompts with more tokens than the tokenizer's window, start and end marks included."""
        tokenizer = self.pipe.tokenizer
        return [
            prompt
            for prompt in prompts
            if len(tokenizer(prompt, truncation=False, verbose=False).input_ids) > tokenizer.model_max_length
        ]

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        factors: Factors,
        on_batch: Callable[[int], None] | None = None,
    ) -> torch.Tensor:
        """See `Generator.generate`."""
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts and {len(seeds)} seeds: give one seed for each prompt")
        self._embed(prompts)
        images: list[torch.Tensor] = []
        done = 0
        with applied(self.pipe.unet, factors):
            while done < len(prompts):
                part = slice(done, done + self.batch_size)
                try:
                    images.append(self._batch(prompts[part], seeds[part]))
                except torch.OutOfMemoryError:
                    if self.batch_size == 1:
                        raise
                    self.batch_size = max(1, self.batch_size // 2)
                    torch.cuda.empty_cache()
                    continue
                done += len(images[-1])
                if on_batch is not None:
                    on_batch(done)
        return torch.cat(images) if images else torch.empty((0, 3, *self.image_size), dtype=torch.uint8)

    def _embed(self, prompts: Sequence[str]) -> None:
        """Makes the text embeddings that are not kept yet: of each prompt, and of the empty one for guidance."""
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._texts:
                found = self.pipe.encode_prompt(
                    prompt=prompt,
                    device=self.pipe.device,
                    num_images_per_prompt=1,
                    do_classifier_free_guidance=self.guided,
                )
                # Stable Diffusion gives (positive, negative); SDXL both again, pooled.
                self._texts[prompt] = tuple(part for part in found if part is not None)

    def _batch(self, prompts: Sequence[str], seeds: Sequence[int]) -> torch.Tensor:
        unet, scheduler = self.pipe.unet, self.pipe.scheduler
        scheduler.set_timesteps(self.steps, device=self.pipe.device)
        shape = (unet.config.in_channels, *(side // self.pipe.vae_scale_factor for side in self.image_size))
        drawn = torch.stack([noise(prompt, seed, shape) for prompt, seed in zip(prompts, seeds, strict=True)])
        latents = drawn.to(self.pipe.device, unet.dtype) * scheduler.init_noise_sigma
        words, more = self._conditions(prompts)
        for time in scheduler.timesteps:
            doubled = torch.cat([latents, latents]) if self.guided else latents
            scaled = scheduler.scale_model_input(doubled, time)
            guess = unet(
                scaled, time, encoder_hidden_states=words, added_cond_kwargs=more, return_dict=False
            )[0]
            if self.guided:
                without, with_words = guess.chunk(2)
                guess = without + self.guidance * (with_words - without)
            latents = scheduler.step(guess, time, latents, return_dict=False)[0]
        return self._decode(latents)

    def _conditions(self, prompts: Sequence[str]) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
        """Text embeddings (n or 2 n, tokens, width), the empty half first; and what SDXL wants besides."""
        parts = [torch.cat(column) for column in zip(*(self._texts[p] for p in prompts), strict=True)]
        halves = 2 if self.guided else 1
        words = torch.cat(parts[:halves][::-1])
        if len(parts) == halves:
            return words, None
        pooled = torch.cat(parts[halves:][::-1])
        size = self.image_size
        sizes = self.pipe._get_add_time_ids(
            size, (0, 0), size, dtype=words.dtype, text_encoder_projection_dim=pooled.shape[-1]
        )
        return words, {"text_embeds": pooled, "time_ids": sizes.to(words.device).expand(len(words), -1)}

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """uint8 (n, 3, H, W) on the CPU, from latents of the U-Net's scale."""
        vae = self.pipe.vae
        pixels = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor, return_dict=False)[0].float()
        if not torch.isfinite(pixels).all():
            raise GenerationError("the decoded images hold NaN or infinity: try --dtype float32 or bfloat16")
        images = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu()
        if not images.flatten(1).any(dim=1).all():
            raise GenerationError("an image came out all black")
        return images


def _read(pipeline: Any, folder: str, spec: ModelSpec, **kwargs: Any) -> Any:
    from configs import UserError

    try:
        return pipeline.from_pretrained(
            folder, variant=spec.variant, use_safetensors=True, local_files_only=True, **kwargs
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"can't load {folder} as a {spec.pipeline}: {error}") from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise UserError(f"a weights file under {folder} is damaged: {error}") from error
