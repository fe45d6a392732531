"""Metrics by name. Describing one loads nothing heavy; building one loads its encoder.

Metrics of the user's own are those of metrics/own_metric.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from configs import UserError, unknown

from . import own_metric

if TYPE_CHECKING:
    from .base import Metric
    from .encoders import Encoder
    from .reference import Reference


@dataclass(frozen=True)
class MetricInfo:
    """What is known of a metric before it is built.

    Attributes:
        direction: "none" for a guardrail, which is no objective.
        per_image: whether each image (or video) has a value of its own; else the set has one.
        min_n: images that it takes at least.
        asks: what it tells, in a few words.
        encoder, reference, prompts: whether it reads one, or them.
        videos: whether it scores videos alone.
        unfit: from prompts, why they can't be scored; None where they can.
    """

    name: str
    direction: Literal["up", "down", "none"]
    per_image: bool
    min_n: int
    asks: str
    version: str = "1"
    encoder: bool = True
    reference: bool = False
    prompts: bool = False
    videos: bool = False
    unfit: Callable[[Sequence[str]], str | None] = field(default=lambda prompts: None, repr=False, compare=False)


def _infos() -> list[MetricInfo]:
    images = {
        "clip": "does the image show what the prompt says?",
        "aesthetic": "would people call it beautiful?",
        "hps": "would people prefer it, of images of one prompt? (HPSv2.1)",
        "pickscore": "would people prefer it, of images of one prompt? (PickScore)",
        "hpsv3": "would people prefer it, of images of one prompt? (HPSv3)",
        "image_reward": "would people prefer it, of images of one prompt? (ImageReward)",
        "vqa": "does the image show what the prompt says? (a vision-language model's P(yes))",
        "reward": "what does a reward model of your own make of it?",
        "imaging_quality": "is it a good photo rather than a bad one, as CLIP sees it?",
        "questions": "are the prompt set's own questions answered with yes? (the same model)",
    }
    wordless = ("aesthetic", "imaging_quality")
    versions = {"aesthetic": "2", "image_reward": "2"}
    sets = {
        "fid": "does the set look like real images? (Inception; biased at small n)",
        "kid": "does the set look like real images? (Inception; unbiased)",
        "fd_dinov2": "does the set look like real images? (DINOv2; biased at small n)",
        "cmmd": "does the set look like real images? (CLIP; unbiased)",
    }
    embedded = {
        "consistency": "do a video's neighbouring frames look alike?",
        "subject_consistency": "does a video's subject stay the same? (DINO)",
        "background_consistency": "does a video's scene stay the same? (CLIP)",
    }
    moving: dict[str, tuple[Literal["up", "none"], str]] = {
        "motion_smoothness": ("up", "does a video move without jerks?"),
        "flicker": ("up", "is a video free of flicker?"),
        "motion": ("none", "how much a video moves"),
    }
    pixels = {
        "colourfulness": "how colourful (Hasler and Süsstrunk)",
        "saturation": "how saturated (mean chroma in CIELAB)",
        "saturation_peak": "how saturated at its strongest (95th percentile of chroma)",
        "clipping": "how much is black or burnt out (share of values at 0 or 255)",
        "luma": "how bright (mean luma)",
        "contrast": "how much contrast (standard deviation of luma)",
        "spectral_slope": "how detail falls off with frequency (slope of the log spectrum)",
        "high_band": "how much fine detail (share of power above a quarter cycle a pixel)",
        "sharpness": "how sharp (variance of the Laplacian)",
    }
    return [
        *(
            MetricInfo(name, "up", True, 1, asks, versions.get(name, "1"), prompts=name not in wordless)
            for name, asks in images.items()
        ),
        *(MetricInfo(name, "up", True, 1, asks, videos=True) for name, asks in embedded.items()),
        *(MetricInfo(name, way, True, 1, asks, encoder=False, videos=True) for name, (way, asks) in moving.items()),
        *(MetricInfo(name, "down", False, 16, asks, reference=True) for name, asks in sets.items()),
        *(MetricInfo(name, "none", True, 1, asks, "2", encoder=False) for name, asks in pixels.items()),
        MetricInfo("cost", "down", True, 1, "how many evaluations of the U-Net an image takes", encoder=False),
        MetricInfo("drift", "none", True, 1, "how far from the baseline's image, as CLIP sees it"),
    ]


METRICS = {info.name: info for info in _infos()}
"""Our own."""


def describe(name: str) -> MetricInfo:
    """What a metric is. Raises UserError for an unknown one, with the nearest, or one of the user's that is none."""
    if name in METRICS:
        return METRICS[name]
    own = own_metric.find(name)
    if own is None:
        raise unknown("metric", name, [*METRICS, *own_metric.entries()])
    kind: Any = own_metric.check(name, own)
    asks, title = (inspect.getdoc(kind) or "").partition("\n")[0], own_metric.title(kind)
    told = {each: getattr(kind, each) for each in ("videos", "unfit") if hasattr(kind, each)}
    return MetricInfo(title, kind.direction, kind.per_image, kind.min_n, asks, str(kind.version), encoder=False, **told)


def describe_all(names: Sequence[str]) -> list[MetricInfo]:
    """What several metrics are that are used together. Raises UserError as `describe`, and for names that clash."""
    found = [describe(name) for name in names]
    own_metric.check_titles(((name, info.name) for name, info in zip(names, found, strict=True)), METRICS)
    return found


def build(
    name: str,
    scorers: Mapping[str, Mapping[str, Any]],
    device: str,
    models: Path,
    reference: Mapping[str, Any] | None = None,
) -> Metric:
    """A metric, ready to score.

    Args:
        scorers: a model's scorers by metric, as its YAML has them.
        models: the folder that relative paths are relative to.
        reference: what a metric of the set compares with.

    Raises:
        UserError: an unknown metric, one that nothing reads for, or weights that can't be had.
    """
    info = describe(name)
    if name not in METRICS:
        return own_metric.called(name, own_metric.find(name), device)
    if name == "cost":
        from .cost import Cost

        return Cost()
    if info.videos and not info.encoder:
        from .video import Movement

        return Movement(name)
    if not info.encoder:
        from .guardrails import Guardrail

        return Guardrail(name, device)
    if name not in scorers:
        raise UserError(f"there is no scorer for '{name}': the YAML names {', '.join(scorers) or 'none'}")
    spec = scorers[name]
    if not isinstance(spec, Mapping):
        raise UserError(f"the scorer '{name}' is {spec!r}: 'key: value' lines are expected")
    if name == "image_reward":
        from . import image_reward

        return image_reward.load(spec, device, models)
    if name in ("hpsv3", "reward"):
        from . import reward

        return reward.load(name, spec, device, models)
    if name in ("vqa", "questions"):
        from . import vqa

        return (vqa.vqa if name == "vqa" else vqa.questions)(spec, device, models)
    from .encoders import encoder

    reads = encoder(spec.get("encoder", spec), device, models)
    if not info.reference:
        return _of_images(name, spec, reads, models)
    from .reference import load_reference

    if reference is None:
        raise UserError(f"'{name}' compares with a reference: give one with --reference")
    return _of_set(name, reads, load_reference(reference, reads, models))


def _of_images(name: str, spec: Mapping[str, Any], reads: Encoder, models: Path) -> Metric:
    from . import clip

    if name == "aesthetic":
        from .aesthetic import score_of

        return score_of(spec, reads, models)
    if name == "drift":
        from .guardrails import Drift

        return Drift(reads)
    if METRICS[name].videos:
        from .video import Consistency

        return Consistency(reads, name)
    if name == "imaging_quality":
        from .quality import Quality

        return Quality(reads)
    return {"clip": clip.ClipScore, "hps": clip.hps, "pickscore": clip.pickscore}[name](reads)


def _of_set(name: str, reads: Encoder, reference: Reference) -> Metric:
    if name in ("fid", "fd_dinov2"):
        from .fid import Fid

        return Fid(reads, reference, name)
    from .kernel import KernelDistance

    return KernelDistance(name, reads, reference)
