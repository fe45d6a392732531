"""Aesthetic predictors: a stack of linear layers on a CLIP's image embeddings (LAION's V1 and V2, and our own).

A head on any other encoder than its own is meaningless, so a head's file, its kind or the YAML's `made_for` names the
encoder, and another is refused. Weights of LAION's encoder's architecture from this disk are taken on trust.
Embeddings are L2-normalised first. See metrics/head_file.py for the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import functional as F

from configs import UserError, identity, unknown

from .at_hand import LAION_REPOSITORY
from .base import Batch, Direction, Score, check_count, mean_score
from .encoders import Encoder, made_with, short
from .head_file import Head, read_head
from .hub import why_not

KINDS = ("aesthetic_head", "laion_v1", "laion_v2")
LAION_SHAPE = "ViT-L-14-quickgelu"
LAION_ENCODER = f"open_clip:{LAION_SHAPE}/openai"
LAION_FILE = "sac+logos+ava1-l14-linearMSE.pth"
LAION_SHA256 = "21dd590f"
"""How the SHA-256 of LAION's V2 head begins."""


class AestheticScore:
    """The head's own scale, about 1 to 10; more is better."""

    name = "aesthetic"
    version = "2"
    direction: Direction = "up"
    per_image = True
    min_n = 1

    def __init__(self, encoder: Encoder, head: Callable[[np.ndarray], np.ndarray], identity: str | None = None) -> None:
        """identity: of the head's file; None where it is made from none."""
        self.encoder, self.head, self.identity = encoder, head, identity

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`."""
        check_count(self, len(batch))
        unit = F.normalize(batch.embed(self.encoder), dim=-1)
        return mean_score(self, self.head(unit.numpy()))


def aesthetic_head(
    file: Path | str, encoder: str | None = None, made_for: str | None = None, activation: str | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """A head's file as a function from L2-normalised embeddings (n, d) to scores float64 (n,).

    Args:
        file: .safetensors (with the encoder's identity in its metadata), or a .pth (read without running code).
        encoder: the identity of the encoder in use; None asks no question.
        made_for: the encoder of a file that names none.
        activation: "none" or "relu" between the layers of a file that doesn't say it.

    Raises:
        UserError: a file that can't be read or is no head, or one made for another encoder or naming none.
    """
    head = read_head(Path(file), activation)
    if encoder is not None:
        _check_encoder(head.file, _made_for(head) or made_for, encoder)
    return head


def _made_for(head: Head) -> str | None:
    """The encoder that its file names, or that LAION's second head is known to read."""
    return head.made_for or (LAION_ENCODER if _is_laions(head.file) else None)


def _check_encoder(file: Path, made_for: str | None, *encoders: str) -> None:
    """Raises UserError unless the head was made for one of these; they are names of the one in use, its own first."""
    if made_for is None:
        raise UserError(
            f"{file} doesn't name the encoder that it is a head for; if that is the one in use, write in the model's "
            f"YAML: aesthetic: {{made_for: '{encoders[0].partition(' ')[0]}'}}"
        )
    if not any(made_with(made_for, encoder) for encoder in encoders):
        raise UserError(
            f"{file} is a head for the encoder {short(made_for)}, and the one in use is {short(encoders[0])}: its "
            "scores would mean nothing; give the head's own encoder"
        )


def score_of(spec: Mapping[str, Any], encoder: Encoder, models: Path) -> AestheticScore:
    """The metric with the head that its YAML names; {made_for} is the encoder of a file that names none, {activation}
    what stands between its layers.

    Raises:
        UserError: the head can't be had, or reads another encoder.
    """
    kind = spec.get("kind", KINDS[0])
    if kind not in KINDS:
        raise unknown("kind of aesthetic head", str(kind), KINDS)
    laion = kind.startswith("laion")
    names = (encoder.identity, LAION_ENCODER) if _has_laions_shape(encoder) else (encoder.identity,)
    if laion and LAION_ENCODER not in names:
        raise UserError(
            f"LAION's aesthetic head reads {LAION_ENCODER}, or a copy of it on this disk, and the YAML names "
            f"{encoder.identity}"
        )
    if spec.get("file"):
        file = models / Path(spec["file"]).expanduser()
    elif kind == "laion_v2":
        file = laion_head()
    else:
        raise UserError(f"an aesthetic head of kind '{kind}' needs its file: aesthetic: {{file: FILE}}")
    head = read_head(file, spec.get("activation"))
    if laion and not (head.is_laions_second if kind == "laion_v2" else len(head.layers) == 1):
        raise UserError(
            f"{file} is no head of kind {kind}, its layers give {head.widths}: for another head write kind: "
            "aesthetic_head and made_for, the encoder that it reads"
        )
    _check_encoder(file, _made_for(head) or spec.get("made_for") or (LAION_ENCODER if laion else None), *names)
    return AestheticScore(encoder, head, identity(file))


def _has_laions_shape(encoder: Encoder) -> bool:
    """Whether its weights are from this disk and may be a copy of those that LAION's heads read."""
    import open_clip

    return encoder.shape is not None and encoder.shape == open_clip.get_model_config(LAION_SHAPE)


def laion_head() -> Path:
    """LAION's V2 head from the hub's cache or the hub, checked against its hash."""
    from huggingface_hub import hf_hub_download

    try:
        file = Path(hf_hub_download(LAION_REPOSITORY, LAION_FILE, local_files_only=True))
    except OSError:  # not in the cache
        why = why_not(LAION_REPOSITORY)
        try:
            file = Path(hf_hub_download(LAION_REPOSITORY, LAION_FILE)) if why is None else Path()
        except Exception as error:  # a download's errors: each with its own class
            why = f"{type(error).__name__}: {error}"
        if why is not None:
            raise UserError(
                f"LAION's aesthetic head {LAION_REPOSITORY} can't be had: {why}; download {LAION_FILE} and name it in "
                "the model's YAML: aesthetic: {kind: laion_v2, file: FILE}"
            ) from None
    if not _is_laions(file):
        raise UserError(f"{file} isn't LAION's head: its SHA-256 doesn't begin with {LAION_SHA256}; delete it")
    return file


def _is_laions(file: Path) -> bool:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest().startswith(LAION_SHA256)
