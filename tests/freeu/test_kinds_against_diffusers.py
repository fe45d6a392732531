"""Each kind draws what diffusers' own pipeline draws for the same noise, without FreeU and with `freeu.enable`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import freeu
from configs import UserError
from freeu.generate import generator as random_of
from freeu.generate import noise
from freeu.models import ModelSpec, changed, load_spec
from freeu.sampling import Sampling
from tests import tiny
from tests.kinds import FRAMES, GUIDANCE, KINDS, STEPS, STUDIED, generator

PROMPT, SEED = "a boat", 5


@pytest.fixture
def spec_of(tmp_path: Path):
    return lambda name: STUDIED[name](tmp_path)


HALF = freeu.Factors(1.5, 1.6, 0.5, 0.2, controls=freeu.Controls(stop=0.5))
LATE = freeu.Factors(1.5, 1.6, 0.5, 0.2, controls=freeu.Controls(start=0.3, smooth=0.5))


def ours(one: Any, factors: freeu.Factors = freeu.IDENTITY) -> torch.Tensor:
    return one.generate([PROMPT], [SEED], factors)[0] / 255


def dpm(pipeline: Any) -> None:
    from diffusers import DPMSolverMultistepScheduler

    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config, algorithm_type="dpmsolver++"
    )
    pipeline.set_progress_bar_config(disable=True)


def schedule(pipeline: Any, name: str) -> None:
    """Gives it our scheduler of that name; its own where that is "default"."""
    from diffusers import DDIMScheduler

    if name == "dpmsolver++":
        dpm(pipeline)
    elif name == "ddim":
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)


def agree(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted.float(), atol=1.01 / 255, rtol=0)


def picture(spec: ModelSpec) -> Image.Image:
    return Image.open(str(spec.input)).convert("RGB").resize((tiny.SIDE, tiny.SIDE), Image.Resampling.LANCZOS)


@pytest.mark.parametrize("factors", [freeu.IDENTITY, HALF, LATE], ids=["without", "half", "late"])
@pytest.mark.parametrize("scheduler", ["dpmsolver++", "ddim", "default"])  # DDIM's and PNDM's count no steps
def test_image_to_image(scheduler: str, factors: freeu.Factors, spec_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import StableDiffusionImg2ImgPipeline
    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_img2img as module

    spec = spec_of("image to image").model_copy(update={"scheduler": scheduler})
    one = generator(spec, steps=10)
    found = ours(one, factors)
    pipeline = StableDiffusionImg2ImgPipeline(**one._pipeline.components, requires_safety_checker=False)
    schedule(pipeline, scheduler)
    freeu.enable(pipeline, factors)
    monkeypatch.setattr(module, "randn_tensor", lambda shape, **k: noise(PROMPT, SEED, shape[1:])[None])
    # Diffusers draws from the VAE's distribution, ours takes its mean.
    monkeypatch.setattr(module, "retrieve_latents", lambda found, **k: found.latent_dist.mode())
    wanted = pipeline(
        PROMPT,
        image=picture(spec),
        strength=spec.strength,
        num_inference_steps=10,
        guidance_scale=GUIDANCE,
        output_type="pt",
    ).images[0]
    agree(found, wanted)


@pytest.fixture
def latent_consistency(tmp_path: Path) -> ModelSpec:
    ball = tiny.clip_of_a_ball(tmp_path / "ball", frames=1) / "frame0.png"
    given = {"resolution": tiny.SIDE, "input": str(ball), "strength": 0.6}
    return changed(load_spec(tiny.latent_consistency(tmp_path / "lcm")), given)


@pytest.mark.parametrize("factors", [freeu.IDENTITY, HALF, LATE], ids=["without", "half", "late"])
def test_image_to_image_with_a_latent_consistency_model(
    factors: freeu.Factors, latent_consistency: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import LatentConsistencyModelImg2ImgPipeline
    from diffusers.pipelines.latent_consistency_models import pipeline_latent_consistency_img2img as module

    one = generator(latent_consistency)
    found = ours(one, factors)
    pipeline = LatentConsistencyModelImg2ImgPipeline(**one._pipeline.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    freeu.enable(pipeline, factors)
    monkeypatch.setattr(module, "retrieve_latents", lambda found, **k: found.latent_dist.mode())
    wanted = pipeline(
        PROMPT,
        image=picture(latent_consistency),
        strength=latent_consistency.strength,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=random_of(PROMPT, SEED),
        output_type="pt",
    ).images[0]
    agree(found, wanted)
    assert one.timesteps.tolist() == pipeline.scheduler.timesteps.tolist() == [599, 459, 299, 159]
    assert one.unet_evaluations(3) == 3 * STEPS


def test_more_steps_than_a_latent_consistency_model_has(latent_consistency: ModelSpec) -> None:
    with pytest.raises(UserError, match=r"--steps 40 with --strength 0\.6"):
        generator(latent_consistency, steps=40)


@pytest.mark.parametrize("scheduler", ["dpmsolver++", "Heun"])  # Heun evaluates twice a step
@pytest.mark.parametrize("factors", [freeu.IDENTITY, HALF], ids=["without", "half"])
def test_sdxl_with_its_refiner(factors: freeu.Factors, scheduler: str, spec_of: Any) -> None:
    from diffusers import HeunDiscreteScheduler

    one = generator(spec_of("sdxl with refiner").model_copy(update={"scheduler": scheduler}), steps=10)
    found = ours(one, factors)
    base, refiner = one._pipeline, one._refiner._pipeline
    for pipeline in (base, refiner):
        dpm(pipeline)
        if scheduler == "Heun":
            pipeline.scheduler = HeunDiscreteScheduler.from_config(pipeline.scheduler.config)
    freeu.enable(base, factors)
    latents = base(
        PROMPT,
        latents=noise(PROMPT, SEED, (4, 8, 8))[None],
        num_inference_steps=10,
        guidance_scale=GUIDANCE,
        denoising_end=0.8,
        output_type="latent",
    ).images
    refined = refiner(
        PROMPT,
        image=latents,
        num_inference_steps=10,
        guidance_scale=GUIDANCE,
        denoising_start=0.8,
        output_type="latent",
    ).images
    assert not torch.equal(latents, refined)
    decoded = base.vae.decode(refined / base.vae.config.scaling_factor).sample[0]
    agree(found, (decoded / 2 + 0.5).clamp(0, 1))


def test_stable_video_diffusion(spec_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers.pipelines.stable_video_diffusion import pipeline_stable_video_diffusion as module

    frames = 11  # more than are decoded together where memory is short
    spec = spec_of("svd").model_copy(update={"frames": frames})
    one = generator(spec)
    one._pipeline.set_progress_bar_config(disable=True)
    random = random_of(PROMPT, SEED)
    latents = torch.randn((1, frames, 4, 8, 8), generator=random)
    monkeypatch.setattr(module, "randn_tensor", lambda shape, **k: torch.randn(shape, generator=random))
    wanted = one._pipeline(
        picture(spec),
        height=tiny.SIDE,
        width=tiny.SIDE,
        num_frames=frames,
        num_inference_steps=STEPS,
        max_guidance_scale=GUIDANCE,
        latents=latents,
        output_type="pt",
    ).frames[0]
    agree(ours(one), wanted)


def test_frames_are_decoded_in_parts_where_memory_is_short(spec_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of("svd").model_copy(update={"frames": 11})
    sizes: list[int] = []

    def drawn(fit: int, **chosen: Any) -> torch.Tensor:
        one = generator(spec, **chosen)
        real = one._vae.decode

        def decode(latents: torch.Tensor, **how: Any) -> Any:
            sizes.append(len(latents))
            if len(latents) > fit:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(latents, **how)

        monkeypatch.setattr(one._vae, "decode", decode)
        return one.generate([PROMPT] * 2, [SEED, SEED + 1], freeu.IDENTITY)

    whole = drawn(11)
    assert sizes == [11, 11] and whole.shape == (2, 11, 3, tiny.SIDE, tiny.SIDE)
    sizes.clear()
    assert drawn(6).shape == whole.shape and sizes == [11, 5, 5, 1, 5, 5, 1]
    sizes.clear()
    assert drawn(11, slicing=True).shape == whole.shape and sizes == [8, 3, 8, 3]


def test_animatediff_with_an_adapter(spec_of: Any) -> None:
    from diffusers import DDIMScheduler

    spec = spec_of("animatediff")
    assert spec.scheduler_config["beta_schedule"] == "linear"  # as the adapter was trained
    one = generator(spec)
    one._pipeline.set_progress_bar_config(disable=True)
    one._pipeline.scheduler = DDIMScheduler.from_config(one._pipeline.scheduler.config, **spec.scheduler_config)
    wanted = one._pipeline(
        PROMPT,
        num_frames=FRAMES,
        height=tiny.SIDE,
        width=tiny.SIDE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        latents=noise(PROMPT, SEED, (4, FRAMES, 8, 8))[None],
        output_type="pt",
    ).frames[0]
    agree(ours(one), wanted)


@pytest.mark.parametrize("saved", [False, True], ids=["SDXL with an adapter", "a folder"])
def test_animatediff_sdxl(saved: bool, spec_of: Any, tmp_path: Path) -> None:
    from diffusers import DDIMScheduler

    spec = spec_of("animatediff sdxl")
    one = generator(spec)
    pipeline = one._pipeline
    assert type(pipeline).__name__ == "AnimateDiffSDXLPipeline"
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, **spec.scheduler_config)
    if saved:
        pipeline.scheduler = scheduler
        pipeline.save_pretrained(tmp_path / "moving")
        for name in ("tokenizer", "tokenizer_2"):
            tiny._save_vocabulary(tmp_path / "moving" / name)
        given = {"resolution": tiny.SIDE, "frames": FRAMES}
        one = generator(changed(load_spec(tmp_path / "moving"), given))
    found = ours(one)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = scheduler
    wanted = pipeline(
        PROMPT,
        num_frames=FRAMES,
        height=tiny.SIDE,
        width=tiny.SIDE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        latents=noise(PROMPT, SEED, (4, FRAMES, 8, 8))[None],
        output_type="pt",
    ).frames[0]
    agree(found, wanted)


@pytest.mark.parametrize("factors", [freeu.IDENTITY, HALF], ids=["without", "half"])
@pytest.mark.parametrize("guidance", [GUIDANCE, 1.0])
def test_upscaling(guidance: float, factors: freeu.Factors, spec_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_upscale as module

    spec = spec_of("upscaling")
    assert spec.kind == "upscaling"
    one = generator(spec, guidance=guidance)
    found = ours(one, factors)
    dpm(one._pipeline)
    freeu.enable(one._pipeline, factors)
    random = random_of(PROMPT, SEED)
    latents = torch.randn((1, 4, 8, 8), generator=random)
    monkeypatch.setattr(module, "randn_tensor", lambda shape, **k: torch.randn(shape, generator=random))
    wanted = one._pipeline(
        PROMPT,
        image=Image.open(str(spec.input)).convert("RGB").resize((8, 8), Image.Resampling.LANCZOS),
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        latents=latents,
        output_type="pt",
    ).images[0]
    assert wanted.shape[-2:] == (tiny.SIDE, tiny.SIDE)
    agree(found, wanted)


def test_a_redrawn_video_of_one_frame_is_controlnets_image_to_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One frame looks at itself, so cross-frame attention is plain self-attention."""
    from diffusers import StableDiffusionControlNetImg2ImgPipeline
    from diffusers.pipelines.controlnet import pipeline_controlnet_img2img as module

    spec = KINDS["rerender"](tmp_path).model_copy(update={"frames": 1})
    one = generator(spec)
    pipeline = StableDiffusionControlNetImg2ImgPipeline(**one._pipeline.components, requires_safety_checker=False)
    dpm(pipeline)
    monkeypatch.setattr(module, "randn_tensor", lambda shape, **k: noise(PROMPT, SEED, shape[1:])[None])
    monkeypatch.setattr(module, "retrieve_latents", lambda found, **k: found.latent_dist.mode())
    first = Image.open(f"{spec.input}/frame0.png").resize((tiny.SIDE, tiny.SIDE), Image.Resampling.LANCZOS)
    wanted = pipeline(
        PROMPT,
        image=first,
        control_image=one._edges,
        strength=spec.strength,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        controlnet_conditioning_scale=1.0,
        output_type="pt",
    ).images[0]
    agree(ours(one)[0], wanted)


def test_frames_look_at_the_first_and_the_one_before(tmp_path: Path) -> None:
    from diffusers.models.attention_processor import Attention

    from freeu.models.cross_frame import CrossFrameAttention

    torch.manual_seed(0)
    videos, tokens, width = 2, 5, 16
    attention = Attention(width, heads=2, dim_head=8).double()
    x = torch.randn(videos * FRAMES, tokens, width, dtype=torch.float64)
    before = [max(0, i - 1) for i in range(FRAMES)]
    wanted = [
        attention(x[v * FRAMES + i][None], torch.cat([x[v * FRAMES], x[v * FRAMES + before[i]]])[None])
        for v in range(videos)
        for i in range(FRAMES)
    ]
    plain = attention(x)
    attention.set_processor(CrossFrameAttention(FRAMES))
    found = attention(x)
    torch.testing.assert_close(found, torch.cat(wanted))
    # The first frame sees itself alone, as in plain self-attention; the others don't see themselves.
    torch.testing.assert_close(found[::FRAMES], plain[::FRAMES])
    assert (found - plain)[1].abs().max() > 1e-3


def test_what_comes_after_a_frame_does_not_change_it(tmp_path: Path) -> None:
    spec = KINDS["rerender"](tmp_path)
    whole = ours(generator(spec))
    agree(ours(generator(spec.model_copy(update={"frames": 2}))), whole[:2])
    attending = [name for name, each in generator(spec)._unet.attn_processors.items() if "CrossFrame" in repr(each)]
    assert attending and all(name.startswith("up_blocks") and ".attn1." in name for name in attending)


@pytest.mark.parametrize("factors", [freeu.IDENTITY, HALF], ids=["without", "half"])
def test_two_controlnets_over_a_picture(factors: freeu.Factors, spec_of: Any) -> None:
    spec = spec_of("controlnets")
    one = generator(spec)
    found = ours(one, factors)
    assert type(one._pipeline).__name__ == "StableDiffusionControlNetPipeline"
    dpm(one._pipeline)
    freeu.enable(one._pipeline, factors)
    held = Image.open(spec.control[0]).convert("RGB")
    wanted = one._pipeline(
        PROMPT,
        image=[held, held],
        height=tiny.SIDE,
        width=tiny.SIDE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        controlnet_conditioning_scale=[0.7, 1.0],
        latents=noise(PROMPT, SEED, (4, 8, 8))[None],
        output_type="pt",
    ).images[0]
    agree(found, wanted)
    plain = ours(generator(spec.model_copy(update={"controlnets": (), "control": ()})), factors)
    assert (found - plain).abs().max() > 10 / 255  # what holds the image counts


def test_a_controlnet_of_sdxl_over_the_edges_of_the_input(tmp_path: Path) -> None:
    from freeu.models import control, inputs

    net = tiny.controlnet(tmp_path / "net", text_width=24, **tiny.OF_SDXL)
    ball = tiny.clip_of_a_ball(tmp_path / "ball", frames=1) / "frame0.png"
    given = {"resolution": tiny.SIDE, "controlnets": (str(net),), "input": str(ball)}
    spec = changed(load_spec(tiny.sdxl(tmp_path / "sdxl")), given)
    assert spec.kind == "text-to-image"
    one = generator(spec)
    found = ours(one)
    dpm(one._pipeline)
    wanted = one._pipeline(
        PROMPT,
        image=control.edges(inputs.load(spec, "", (tiny.SIDE, tiny.SIDE))),
        height=tiny.SIDE,
        width=tiny.SIDE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        controlnet_conditioning_scale=1.0,
        latents=noise(PROMPT, SEED, (4, 8, 8))[None],
        output_type="pt",
    ).images[0]
    agree(found, wanted)


@pytest.mark.parametrize("factors", [freeu.IDENTITY, HALF], ids=["without", "half"])
@pytest.mark.parametrize("guidance", [GUIDANCE, 1.0])
def test_two_t2i_adapters_over_a_picture(guidance: float, factors: freeu.Factors, spec_of: Any) -> None:
    spec = spec_of("t2i-adapters")
    one = generator(spec, guidance=guidance)
    found = ours(one, factors)
    assert type(one._pipeline).__name__ == "StableDiffusionAdapterPipeline"
    dpm(one._pipeline)
    freeu.enable(one._pipeline, factors)
    held = Image.open(spec.control[0]).convert("RGB").resize((tiny.SIDE, tiny.SIDE), Image.Resampling.LANCZOS)
    wanted = one._pipeline(
        PROMPT,
        image=[[held], [held.convert("L")]],
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        adapter_conditioning_scale=[0.7, 1.0],
        latents=noise(PROMPT, SEED, (4, 8, 8))[None],
        output_type="np",
    ).images[0]
    agree(found, torch.from_numpy(wanted).permute(2, 0, 1))
    plain = ours(generator(spec.model_copy(update={"t2i_adapters": (), "control": ()}), guidance=guidance), factors)
    assert (found - plain).abs().max() > 5 / 255  # what holds the image counts


def test_a_t2i_adapter_of_sdxl(tmp_path: Path) -> None:
    adapter = tiny.t2i_adapter(tmp_path / "adapter", xl=True)
    ball = tiny.clip_of_a_ball(tmp_path / "ball", frames=1) / "frame0.png"
    given = {"resolution": tiny.SIDE, "t2i_adapters": (f"{adapter}:0.8",), "control": (str(ball),)}
    spec = changed(load_spec(tiny.sdxl(tmp_path / "sdxl")), given)
    one = generator(spec)
    found = ours(one)
    dpm(one._pipeline)
    wanted = one._pipeline(
        PROMPT,
        image=Image.open(ball).convert("RGB"),
        height=tiny.SIDE,
        width=tiny.SIDE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        adapter_conditioning_scale=0.8,
        latents=noise(PROMPT, SEED, (4, 8, 8))[None],
        output_type="pt",
    ).images[0]
    agree(found, wanted)
    one._pipeline.adapter.adapter.unshuffle.downscale_factor = 16  # as SDXL's own have it
    with pytest.raises(UserError, match="takes images of multiples of 16 pixels, and these are 40x32"):
        one.with_sampling(Sampling(size=(40, 32)))


def test_a_t2i_adapter_of_another_architecture_is_told(tmp_path: Path) -> None:
    from freeu.models import addon_fits

    adapter = tiny.t2i_adapter(tmp_path / "adapter", xl=True)
    spec = load_spec(tiny.stable_diffusion(tmp_path / "sd")).model_copy(update={"t2i_adapters": (str(adapter),)})
    with pytest.raises(UserError, match="is for SDXL, and this model is Stable Diffusion 1 or 2"):
        addon_fits.check_early(spec)
    other = spec.model_copy(update={"t2i_adapters": (str(tiny.controlnet(tmp_path / "net")),)})
    with pytest.raises(UserError, match=r"--t2i-adapter .* holds a ControlNetModel"):
        addon_fits.check_early(other)


@pytest.mark.parametrize("factors", [freeu.IDENTITY, HALF], ids=["without", "half"])
@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("make", [tiny.inpainting, tiny.inpainting_xl], ids=["sd", "sdxl"])
def test_inpainting(
    make: Any, strength: float, factors: freeu.Factors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_inpaint
    from diffusers.pipelines.stable_diffusion_xl import pipeline_stable_diffusion_xl_inpaint

    ball = tiny.clip_of_a_ball(tmp_path / "ball", frames=1) / "frame0.png"
    given = {"input": str(ball), "mask": str(tiny.mask(tmp_path / "mask.png"))}
    spec = changed(load_spec(make(tmp_path / "model")), {"resolution": tiny.SIDE, **given})
    assert (spec.kind, spec.strength) == ("inpainting", 1.0)
    spec = spec.model_copy(update={"strength": strength})
    one = generator(spec, steps=10)
    found = ours(one, factors)
    pipeline = one._pipeline
    dpm(pipeline)
    freeu.enable(pipeline, factors)
    for module in (pipeline_stable_diffusion_inpaint, pipeline_stable_diffusion_xl_inpaint):
        monkeypatch.setattr(module, "randn_tensor", lambda shape, **k: noise(PROMPT, SEED, shape[1:])[None])
        monkeypatch.setattr(module, "retrieve_latents", lambda found, **k: found.latent_dist.mode())
    agree(found, painted(pipeline, spec, strength))
    plain = ours(generator(spec.model_copy(update={"mask": spec.input}), steps=10), factors)
    assert (found - plain).abs().max() > 5 / 255  # the mask counts


@pytest.mark.parametrize("factors", [freeu.IDENTITY, HALF, LATE], ids=["without", "half", "late"])
@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("scheduler", ["dpmsolver++", "ddim", "default"])  # DDIM's and PNDM's count no steps
def test_inpainting_with_a_plain_model(
    scheduler: str, strength: float, factors: freeu.Factors, spec_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import StableDiffusionInpaintPipeline
    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_inpaint as module

    spec = spec_of("plain inpainting")
    assert (spec.kind, spec.strength) == ("plain-inpainting", 1.0)
    spec = spec.model_copy(update={"strength": strength, "scheduler": scheduler})
    one = generator(spec, steps=10)
    found = ours(one, factors)
    pipeline = StableDiffusionInpaintPipeline(**one._pipeline.components, requires_safety_checker=False)
    schedule(pipeline, scheduler)
    freeu.enable(pipeline, factors)
    monkeypatch.setattr(module, "randn_tensor", lambda shape, **k: noise(PROMPT, SEED, shape[1:])[None])
    monkeypatch.setattr(module, "retrieve_latents", lambda found, **k: found.latent_dist.mode())
    agree(found, painted(pipeline, spec, strength))
    plain = ours(generator(spec.model_copy(update={"mask": spec.input}), steps=10), factors)
    assert (found - plain).abs().max() > 5 / 255  # the mask counts


LAYERS = ("mid", "up_blocks.0.attentions.1")


@pytest.mark.parametrize("factors", [freeu.IDENTITY, HALF], ids=["without", "half"])
@pytest.mark.parametrize("guidance", [GUIDANCE, 1.0])
@pytest.mark.parametrize("xl", [False, True], ids=["sd", "sdxl"])
def test_perturbed_attention_guidance(xl: bool, guidance: float, factors: freeu.Factors, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPAGPipeline, StableDiffusionXLPAGPipeline

    folder = (tiny.sdxl if xl else tiny.stable_diffusion)(tmp_path / "model")
    given = {"resolution": tiny.SIDE, "pag_scale": 4.0, "pag_layers": LAYERS, "guidance_rescale": 0.3 * xl}
    spec = changed(load_spec(folder), given)
    one = generator(spec, guidance=guidance)
    found = ours(one, factors)
    more = {} if xl else {"requires_safety_checker": False}
    kind = StableDiffusionXLPAGPipeline if xl else StableDiffusionPAGPipeline
    pipeline = kind(**one._pipeline.components, pag_applied_layers=list(LAYERS), **more)
    dpm(pipeline)
    freeu.enable(pipeline, factors)
    wanted = pipeline(
        PROMPT,
        height=tiny.SIDE,
        width=tiny.SIDE,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        pag_scale=4.0,
        guidance_rescale=0.3 * xl,
        latents=noise(PROMPT, SEED, (4, 8, 8))[None],
        output_type="pt",
    ).images[0]
    agree(found, wanted)
    assert one.unet_evaluations(2) == 2 * STEPS * (3 if guidance > 1 else 2)
    plain = one.with_sampling(Sampling(pag_scale=0.0))
    assert (found - ours(plain, factors)).abs().max() > 2 / 255  # it counts
    assert not any("PAG" in type(each).__name__ for each in one._unet.attn_processors.values())  # put back


def test_layers_that_are_not_there_are_told_before_weights_load(
    sd_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freeu.models.pipelines.read", lambda *_: pytest.fail("weights are read"))
    spec = changed(load_spec(sd_folder), {"pag_scale": 3.0, "pag_layers": ("middle",)})
    with pytest.raises(UserError, match="--pag-layers middle: the U-Net has no self-attention"):
        generator(spec)


def painted(pipeline: Any, spec: ModelSpec, strength: float) -> torch.Tensor:
    side = (tiny.SIDE, tiny.SIDE)
    return pipeline(
        PROMPT,
        image=picture(spec),
        mask_image=Image.open(str(spec.mask)).resize(side, Image.Resampling.LANCZOS),
        height=tiny.SIDE,
        width=tiny.SIDE,
        strength=strength,
        num_inference_steps=10,
        guidance_scale=GUIDANCE,
        output_type="pt",
    ).images[0]


@pytest.mark.parametrize("saved", [False, True], ids=["SDXL's folder", "a folder for inpainting"])
def test_inpainting_with_a_plain_sdxl(saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import StableDiffusionXLInpaintPipeline
    from diffusers.pipelines.stable_diffusion_xl import pipeline_stable_diffusion_xl_inpaint as module

    folder = tiny.sdxl(tmp_path / "model")
    pipeline = StableDiffusionXLInpaintPipeline.from_pretrained(folder, variant="fp16", dtype=torch.float32)
    if saved:
        pipeline.save_pretrained(tmp_path / "inpainting")
        for name in ("tokenizer", "tokenizer_2"):
            tiny._save_vocabulary(tmp_path / "inpainting" / name)
        folder = tmp_path / "inpainting"
    ball = tiny.clip_of_a_ball(tmp_path / "ball", frames=1) / "frame0.png"
    given = {"input": str(ball), "mask": str(tiny.mask(tmp_path / "mask.png")), "resolution": tiny.SIDE}
    spec = changed(load_spec(folder), given)
    assert (spec.kind, spec.strength) == ("plain-inpainting", 1.0)
    dpm(pipeline)
    monkeypatch.setattr(module, "randn_tensor", lambda shape, **k: noise(PROMPT, SEED, shape[1:])[None])
    monkeypatch.setattr(module, "retrieve_latents", lambda found, **k: found.latent_dist.mode())
    agree(ours(generator(spec, steps=10)), painted(pipeline, spec, 1.0))


def test_what_is_outside_of_a_mask_stays(spec_of: Any) -> None:
    """Nothing is painted under a mask that is black: what the VAE makes of the picture is left."""
    spec = spec_of("plain inpainting")
    one = generator(spec)
    Image.new("L", (64, 64), 0).save(str(spec.mask))  # after it was looked at: as a study's, black is refused
    latents = one._encoded([PROMPT]) / one._vae.config.scaling_factor
    kept = (one._vae.decode(latents).sample[0] / 2 + 0.5).clamp(0, 1)
    agree(ours(one, HALF), kept)


def test_a_single_file_for_inpainting_takes_the_layout_of_one_that_is_not(sd_folder: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionInpaintPipeline

    from tests import single_file

    folder = tiny.inpainting(tmp_path / "folder")
    file = single_file.write(StableDiffusionInpaintPipeline.from_pretrained(folder), tmp_path / "mine.safetensors")
    ball = tiny.clip_of_a_ball(tmp_path / "ball", frames=1) / "frame0.png"
    given = {"input": str(ball), "mask": str(tiny.mask(tmp_path / "mask.png")), "resolution": tiny.SIDE}
    spec = load_spec(file)
    assert (spec.kind, spec.config) == ("inpainting", "stable-diffusion-v1-5/stable-diffusion-inpainting")
    wanted = ours(generator(changed(load_spec(folder), given)))
    for layout in (folder, sd_folder):
        assert torch.equal(ours(generator(changed(spec, {"config": str(layout), **given}))), wanted)
    with pytest.raises(UserError, match="whose U-Net sees nothing beside noise"):
        generator(changed(load_spec(folder), given).model_copy(update={"source": str(sd_folder)}))


@pytest.mark.parametrize("given, said", [
    ({}, "give --input FILE and --mask FILE, or columns 'image' and 'mask'"),
    ({"input": "ball"}, "--mask FILE"),
    ({"inputs": {PROMPT: "ball"}, "masks": {"other": "m"}}, "--mask FILE"),
])  # fmt: skip
def test_a_picture_without_a_mask_is_told(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    from freeu.models import inputs

    spec = load_spec(tiny.inpainting(tmp_path / "sd"))
    with pytest.raises(UserError, match=said):
        inputs.check_masks(spec.model_copy(update=given))
    with pytest.raises(UserError, match="a mask means nothing"):
        inputs.check_masks(load_spec("sd15").model_copy(update={"mask": "m"}))


@pytest.mark.parametrize("factors", [freeu.IDENTITY, HALF], ids=["without", "half"])
@pytest.mark.parametrize(("xl", "form"), [(False, "plain"), (True, "plain"), (False, "plus"), (False, "full-face")])
def test_a_picture_as_a_prompt(xl: bool, form: str, factors: freeu.Factors, tmp_path: Path) -> None:
    ball = tiny.clip_of_a_ball(tmp_path / "ball", frames=1) / "frame0.png"
    wide = {"text_width": 24, **tiny.OF_SDXL} if xl else {}
    adapter = tiny.ip_adapter(tmp_path / "adapter", form=form, **wide)
    folder = (tiny.sdxl if xl else tiny.stable_diffusion)(tmp_path / "model")
    given = {"resolution": tiny.SIDE, "ip_adapter": f"{adapter}:0.6", "ip_image": str(ball)}
    spec = changed(load_spec(folder), given)
    one = generator(spec)
    found = ours(one, factors)
    pipeline = one._pipeline
    dpm(pipeline)
    freeu.enable(pipeline, factors)
    wanted = pipeline(
        PROMPT,
        ip_adapter_image=Image.open(ball).convert("RGB"),
        height=tiny.SIDE,
        width=tiny.SIDE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        latents=noise(PROMPT, SEED, (4, 8, 8))[None],
        output_type="pt",
    ).images[0]
    agree(found, wanted)
    plain = ours(generator(spec.model_copy(update={"ip_adapter": None, "ip_image": None})), factors)
    assert (found - plain).abs().max() > 5 / 255  # the picture counts
    whole = ours(generator(spec.model_copy(update={"ip_adapter": str(adapter)})), factors)
    assert (found - whole).abs().max() > 1 / 255  # and its weight


def test_a_picture_goes_with_a_controlnet_and_with_image_to_image(tmp_path: Path) -> None:
    adapter = {"ip_adapter": str(tiny.ip_adapter(tmp_path / "adapter"))}
    for name in ("controlnets", "image to image", "inpainting"):
        spec = KINDS[name](tmp_path / name)
        picture = spec.input or spec.control[0]
        told = spec.model_copy(update=adapter | {"ip_image": picture})
        assert not torch.equal(ours(generator(told)), ours(generator(spec)))


@pytest.mark.parametrize("guidance", [GUIDANCE, 1.0])
@pytest.mark.parametrize("factors", [freeu.IDENTITY, HALF], ids=["without", "half"])
def test_editing(factors: freeu.Factors, guidance: float, spec_of: Any) -> None:
    from diffusers import StableDiffusionInstructPix2PixPipeline

    spec = spec_of("editing")
    one = generator(spec, guidance=guidance)
    found = ours(one, factors)
    pipeline = StableDiffusionInstructPix2PixPipeline(**one._pipeline.components, requires_safety_checker=False)
    dpm(pipeline)
    freeu.enable(pipeline, factors)
    wanted = pipeline(
        PROMPT,
        image=picture(spec),
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        image_guidance_scale=1.5,
        latents=noise(PROMPT, SEED, (4, 8, 8))[None],
        output_type="pt",
    ).images[0]
    agree(found, wanted)
    assert one.unet_evaluations(2) == 2 * STEPS * (3 if guidance > 1 else 1)
