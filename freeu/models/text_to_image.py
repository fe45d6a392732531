"""Text to image and to video with the Stable Diffusion pipelines of diffusers, under factors.

The denoising loop is written out here, not called as `pipe(prompt)`, so that what doesn't depend on the factors
(text embeddings) is made once, and so that an image depends on its prompt and seed alone. Without FreeU it gives, bit
for bit, what diffusers' own call gives for the same embeddings and noise.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

import configs
from configs import UserError
from freeu.factors import Factors
from freeu.generate import Batches, generator, to_uint8
from freeu.patch import applied

from .addons import addons, put_on
from .identity import has_variant, identity, read_index
from .locate import locate
from .spec import PIPELINES, ModelSpec

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
SMALL = 256
"""Pixels of a side up to which a batch of 16 fits anywhere; above it, 4 on an accelerator and 1 on a CPU."""
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


class TextToVideo(TextToImage):
    """The same with frames: gives uint8 (n, frames, 3, H, W)."""

    def __init__(self, pipeline: Any, *, frames: int, **more: Any) -> None:
        super().__init__(pipeline, **more)
        self.frames = frames
        channels, height, width = self._latent
        self._latent = (channels, frames, height, width)
        self._drawn = (frames, 3, *self.image_size)

    def _decode(self, latents: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        by_frame = latents.transpose(1, 2).flatten(0, 1)
        names = [prompt for prompt in prompts for _ in range(self.frames)]
        return super()._decode(by_frame, names).unflatten(0, (len(prompts), self.frames))

    def _condition(self, prompts: Sequence[str]) -> dict[str, Any]:
        found = super()._condition(prompts)
        if (
            getattr(self._pipeline, "motion_adapter", None) is not None
        ):  # AnimateDiff's U-Net wants words for each frame
            found["encoder_hidden_states"] = found["encoder_hidden_states"].repeat_interleave(self.frames, dim=0)
        return found


def load(
    spec: ModelSpec,
    *,
    device: str | None = None,
    dtype: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    batch_size: int | None = None,
) -> TextToImage:
    """Finds, loads and places the pipeline of `spec`; see `freeu.models.load_generator`."""
    place = choose_device(device)
    numbers = choose_dtype(dtype, spec, place)
    folder = locate(spec)
    # Before the weights: it finds what is missing, and names it.
    content = identity(folder, spec.variant, [file for addon in addons(spec) for file in addon.files])
    pipeline = _read(spec, folder, numbers)
    put_on(pipeline, spec)
    try:
        pipeline.to(place)
    except torch.OutOfMemoryError as error:
        raise UserError(f"not enough memory on {place} for {spec.name}: {error}") from error
    fits = 16 if spec.resolution <= SMALL else 1 if place.type == "cpu" else 4
    kind = partial(TextToVideo, frames=spec.frames) if spec.kind == "text-to-video" else TextToImage
    return kind(
        pipeline,
        name=spec.name,
        identity=content,
        resolution=spec.resolution,
        steps=spec.steps if steps is None else steps,
        guidance=spec.guidance if guidance is None else guidance,
        scheduler=spec.scheduler,
        batch_size=fits if batch_size is None else batch_size,
    )


def choose_device(name: str | None) -> torch.device:
    """The device of that name; for None the best one that is there.

    Raises:
        UserError: no such device on this machine.
    """
    mps = torch.backends.mps.is_available()
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise configs.unknown("device", name, ("cpu", "cuda", "mps")) from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(mps)}.get(device.type, 0)
    if (device.index or 0) >= count:
        raise UserError(f"this machine has no device {name!r}: try --device cpu")
    return device


def choose_dtype(name: str | None, spec: ModelSpec, device: torch.device) -> torch.dtype:
    """The type of that name; for None the spec's or half precision on cuda, and float32 elsewhere.

    Raises:
        UserError: no such type.
    """
    if name is None:
        name = (spec.dtype or "float16") if device.type == "cuda" else "float32"
    if name not in DTYPES:
        raise configs.unknown("dtype", name, DTYPES)
    return DTYPES[name]


def _read(spec: ModelSpec, folder: Path, dtype: torch.dtype) -> Any:
    import diffusers
    import transformers

    name = str(read_index(folder).get("_class_name"))
    if PIPELINES.get(name) != spec.kind:
        fit = [known for known, kind in PIPELINES.items() if kind == spec.kind]
        raise UserError(f"{folder} holds a {name}: for {spec.kind} a {' or '.join(fit)} is expected")
    for library in (diffusers, transformers):  # their notes are for developers, their bars would fight with ours
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    unused: dict[str, Any] = {"feature_extractor": None, "image_encoder": None}
    if name in ("StableDiffusionPipeline", "LatentConsistencyModelPipeline"):
        unused |= {"safety_checker": None, "requires_safety_checker": False}
    elif name == "TextToVideoSDPipeline":
        unused = {}
    variant = spec.variant if has_variant(folder, spec.variant) else None
    try:
        return getattr(diffusers, name).from_pretrained(
            folder, dtype=dtype, variant=variant, local_files_only=True, **unused
        )
    except Exception as error:  # a damaged file raises any of a dozen kinds, deep inside three libraries
        raise UserError(f"can't load the pipeline in {folder}: {type(error).__name__}: {error}") from error
