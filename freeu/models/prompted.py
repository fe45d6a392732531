"""A generator that is told pictures beside the words, through an IP-Adapter; what that is: `.ip_adapter`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from configs import UserError
from freeu.sampling import Sampling

from . import inputs
from .ip_adapter import encoder, place_of
from .place import Place
from .single import header
from .spec import ModelSpec
from .text_to_image import TextToImage


def put_on(pipeline: Any, spec: ModelSpec) -> None:
    """Loads the adapter and its image encoder into a pipeline.

    Raises:
        UserError: it is for another architecture, or can't be read.
    """
    if spec.ip_adapter is None:
        return
    from transformers import CLIPVisionModelWithProjection

    (file, weight), folder = place_of(spec), encoder(spec)
    key = next(name for name in header(file) if name.startswith("ip_adapter.") and name.endswith("to_k_ip.weight"))
    words, wanted = header(file)[key]["shape"][-1], pipeline.unet.config.cross_attention_dim
    if words != wanted:
        raise UserError(f"--ip-adapter {file} is for text embeddings {words} wide, and the model's are {wanted}")
    try:
        how: dict[str, Any] = {"dtype": pipeline.unet.dtype, "local_files_only": True}
        pipeline.register_modules(image_encoder=CLIPVisionModelWithProjection.from_pretrained(folder, **how))
        pipeline.load_ip_adapter(
            str(file.parent), subfolder="", weight_name=file.name, image_encoder_folder=None, local_files_only=True
        )
        pipeline.set_ip_adapter_scale(weight)
    except Exception as error:  # a damaged or foreign file raises any of a dozen kinds, deep inside
        said = " ".join(str(error).split())[:400]
        raise UserError(f"can't use --ip-adapter {file}: {type(error).__name__}: {said}") from error


def prompted(kind: type[TextToImage]) -> type[TextToImage]:
    """The generator of a kind that is told pictures beside the words."""

    class Prompted(kind):  # type: ignore[misc, valid-type]
        def __init__(self, pipeline: Any, spec: ModelSpec, identity: str, place: Place, **more: Any) -> None:
            if place.slicing:
                raise UserError("--slicing does not go with --ip-adapter, whose attention it would undo: leave it out")
            self._read: dict[Path, tuple[torch.Tensor, torch.Tensor]] = {}
            super().__init__(pipeline, spec, identity, place, **more)

        @torch.inference_mode()
        def prepare(self, prompts: Sequence[str], samplings: Sequence[Sampling] = ()) -> None:
            """See `freeu.generate.Generator`: reads the pictures too, and drops their encoder."""
            for prompt in prompts:
                self._embedded(prompt)
            self._pipeline.image_encoder = None
            super().prepare(prompts, samplings)

        def _condition(self, prompts: Sequence[str], randoms: Sequence[torch.Generator]) -> dict[str, Any]:
            found: dict[str, Any] = super()._condition(prompts, randoms)
            each = [self._embedded(prompt) for prompt in prompts]
            parts = [none for none, _ in each] if self._guided else []
            parts += [given for _, given in each] * (1 + self._perturbed)
            found["added_cond_kwargs"] = {**found.get("added_cond_kwargs", {}), "image_embeds": [torch.cat(parts)]}
            return found

        def _embedded(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
            """(of no picture, of the prompt's), (1, 1, width) each or (1, 1, tokens, width), made once."""
            text = self._spec.ip_images.get(prompt, self._spec.ip_image)
            if text is None:
                raise UserError(
                    f"the prompt {prompt!r} has no picture for the IP-Adapter: give one with --ip-image FILE"
                )
            file = self._spec.base / text
            if file not in self._read:
                made = self._pipeline.prepare_ip_adapter_image_embeds(
                    inputs.picture(file), None, self._device, 1, do_classifier_free_guidance=True
                )[0]
                none, given = made.to(self._unet.dtype).chunk(2)
                self._read[file] = none, given
            return self._read[file]

    return Prompted
