"""The scorers as the metrics read them: the saved CLIP's embeddings, the aesthetic head's file, FID's reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from configs import identity

from .clip import fit_head
from .data import Scenes, scenes, to_signed

REFERENCE_SCENES = 4096


def load_clip(folder: Path) -> tuple[nn.Module, Callable[[list[str]], torch.Tensor]]:
    """(model, tokenizer) of an open_clip folder with a tokenizer of transformers', float32, eval mode."""
    import open_clip

    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}", precision="fp32")
    return model.eval(), open_clip.get_tokenizer(f"local-dir:{folder}", trust_remote_code=False)


def embed_images(model: nn.Module) -> Callable[[torch.Tensor], np.ndarray]:
    """uint8 (n, 3, 64, 64) to L2-normalised embeddings (n, 128)."""

    def embed(images: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            parts = [model.encode_image(to_signed(part), normalize=True) for part in images.split(256)]
        return torch.cat(parts).numpy()

    return embed


def pooled_features(folder: Path) -> Callable[[torch.Tensor], np.ndarray]:
    """uint8 (n, 3, 64, 64) to the feature network's pooled features (n, 128)."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False).eval()

    def features(images: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            parts = [model(to_signed(part)).pooler_output.flatten(1) for part in images.split(256)]
        return torch.cat(parts).numpy()

    return features


def save_head(data: Scenes, folder: Path, seed: int) -> None:
    """Fits the aesthetic head on the saved CLIP; writes it in the layout of LAION's, with its encoder's identity."""
    from safetensors.torch import save_file

    clip = folder / "clip"
    weight, bias = fit_head(embed_images(load_clip(clip)[0]), data, seed)
    tensors = {
        "layers.0.weight": torch.tensor(weight, dtype=torch.float32)[None],
        "layers.0.bias": torch.tensor([bias], dtype=torch.float32),
    }
    save_file(tensors, folder / "aesthetic.safetensors", metadata={"encoder": identity(clip)})


def save_reference(folder: Path, work: Path, seed: int) -> None:
    """Writes what sets of images are compared with: features of true renders made for nothing else, their mean and
    covariance, by the feature network (n, 128) and by CLIP."""
    images = scenes(REFERENCE_SCENES, seed, work).images
    encoders = {
        "reference.npz": ("features", pooled_features(folder / "features")),
        "reference_clip.npz": ("clip", embed_images(load_clip(folder / "clip")[0])),
    }
    for file, (encoder, features) in encoders.items():
        found = np.asarray(features(images), np.float64)
        np.savez_compressed(
            folder / file,
            mu=found.mean(axis=0),
            sigma=np.cov(found, rowvar=False),
            n=len(found),
            feats=found.astype(np.float16),
            encoder=identity(folder / encoder),
        )
