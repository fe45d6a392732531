"""Every kind of pipeline, tiny, as a spec that loads: what the contract suite of the generators goes through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from freeu.models import ModelSpec, changed, load_generator, load_spec
from tests import tiny

FRAMES = 3
STEPS, GUIDANCE = 4, 3.0


def _spec(source: Path, **given: Any) -> ModelSpec:
    return changed(load_spec(source), {"resolution": tiny.SIDE, **given})


def _with_motion(root: Path) -> ModelSpec:
    adapter = tiny.motion_adapter(root / "adapter")
    return _spec(tiny.stable_diffusion(root / "sd"), motion_adapter=str(adapter), frames=FRAMES)


def _rerendered(root: Path) -> ModelSpec:
    return _spec(
        tiny.stable_diffusion(root / "sd"),
        controlnet=str(tiny.controlnet(root / "controlnet")),
        input=str(tiny.clip_of_a_ball(root / "ball")),
        frames=FRAMES,
        every=2,
        strength=0.8,
    )


def _from_picture(make: Callable[[Path], Path]) -> Callable[[Path], ModelSpec]:
    def spec(root: Path) -> ModelSpec:
        picture = tiny.clip_of_a_ball(root / "ball", frames=1) / "frame0.png"
        return _spec(make(root / "pipeline"), input=str(picture), strength=0.7)

    return spec


def _set_in_motion(root: Path) -> ModelSpec:
    picture = tiny.clip_of_a_ball(root / "ball", frames=1) / "frame0.png"
    return _spec(tiny.stable_video(root / "svd"), input=str(picture), frames=FRAMES)


def _inpainted(root: Path) -> ModelSpec:
    picture = tiny.clip_of_a_ball(root / "ball", frames=1) / "frame0.png"
    return _spec(tiny.inpainting(root / "sd"), input=str(picture), mask=str(tiny.mask(root / "mask.png")))


def _painted_over(root: Path) -> ModelSpec:
    picture = tiny.clip_of_a_ball(root / "ball", frames=1) / "frame0.png"
    given = {"input": str(picture), "mask": str(tiny.mask(root / "mask.png", black=0.25))}
    return _spec(tiny.stable_diffusion(root / "sd"), **given)


def _enlarged(root: Path) -> ModelSpec:
    picture = tiny.clip_of_a_ball(root / "ball", frames=1) / "frame0.png"
    return _spec(tiny.upscaler(root / "upscaler"), input=str(picture))


def _moving_xl(root: Path) -> ModelSpec:
    adapter = tiny.motion_adapter(root / "adapter", xl=True)
    return _spec(tiny.sdxl(root / "sdxl"), motion_adapter=str(adapter), frames=FRAMES)


def _edited(root: Path) -> ModelSpec:
    picture = tiny.clip_of_a_ball(root / "ball", frames=1) / "frame0.png"
    return _spec(tiny.editing(root / "sd"), input=str(picture))


def _prompted(root: Path) -> ModelSpec:
    picture = tiny.clip_of_a_ball(root / "ball", frames=1) / "frame0.png"
    adapter = tiny.ip_adapter(root / "adapter")
    return _spec(tiny.stable_diffusion(root / "sd"), ip_adapter=f"{adapter}:0.6", ip_image=str(picture))


def _controlled(root: Path) -> ModelSpec:
    picture = tiny.clip_of_a_ball(root / "ball", frames=1) / "frame0.png"
    nets = (f"{tiny.controlnet(root / 'controlnet')}:0.7", str(tiny.controlnet(root / "other", seed=5)))
    return _spec(tiny.stable_diffusion(root / "sd"), controlnets=nets, control=(str(picture),))


def _adapted(root: Path) -> ModelSpec:
    picture = tiny.clip_of_a_ball(root / "ball", frames=1) / "frame0.png"
    adapters = (f"{tiny.t2i_adapter(root / 'adapter')}:0.7", str(tiny.t2i_adapter(root / "other", seed=5, channels=1)))
    folder = tiny.stable_diffusion(root / "sd", of_unet=tiny.OUTER_ATTENTION)
    return _spec(folder, t2i_adapters=adapters, control=(str(picture),))


KINDS: dict[str, Callable[[Path], ModelSpec]] = {
    "sd": lambda root: _spec(tiny.stable_diffusion(root / "sd")),
    "sdxl": lambda root: _spec(tiny.sdxl(root / "sdxl")),
    "sdxl with refiner": lambda root: _spec(tiny.sdxl(root / "sdxl"), refiner=str(tiny.refiner(root / "refiner"))),
    "image to image": _from_picture(tiny.stable_diffusion),
    "inpainting": _inpainted,
    "plain inpainting": _painted_over,
    "editing": _edited,
    "upscaling": _enlarged,
    "refiner alone": _from_picture(tiny.refiner),
    "modelscope": lambda root: _spec(tiny.modelscope(root / "modelscope"), frames=FRAMES),
    "animatediff": _with_motion,
    "rerender": _rerendered,
    "controlnets": _controlled,
    "t2i-adapters": _adapted,
    "ip-adapter": _prompted,
    "svd": _set_in_motion,
}
STUDIED: dict[str, Callable[[Path], ModelSpec]] = KINDS | {
    "sd under pag": lambda root: _spec(tiny.stable_diffusion(root / "sd"), pag_scale=3.0),
    "animatediff sdxl": _moving_xl,
}
"""With variants that share a generator with one of them: through a study, not through all of the generators' tests."""


def generator(spec: ModelSpec, **chosen: Any) -> Any:
    """Loads it for the CPU, in float32."""
    return load_generator(spec, **{"device": "cpu", "steps": STEPS, "guidance": GUIDANCE, "batch_size": 8} | chosen)


def unet_samples(x: torch.Tensor, spec: ModelSpec) -> int:
    """How many images or videos a U-Net's batch holds, guidance's two halves counted as two."""
    return len(x) // (FRAMES if spec.kind == "video-to-video" else 1)
