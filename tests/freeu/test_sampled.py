"""Each sampling setting gives what diffusers' own call gives under it, from the same noise, to one level of 255."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import freeu
from configs import UserError
from freeu import Sampling
from freeu.generate import generator as random_of
from freeu.models import changed, load_spec
from freeu.models.fits import check_sampling_early, check_size, with_schedule
from freeu.sampling import UNCHANGED
from tests import tiny
from tests.kinds import FRAMES, generator

PROMPT, SEED, STEPS, GUIDANCE = "a boat", 5, 4, 5.0
LAYERS = 4
MAKE = {
    "sd": lambda folder: tiny.stable_diffusion(folder, layers=LAYERS),
    "sdxl": lambda folder: tiny.sdxl(folder, layers=LAYERS, layers_2=LAYERS),
    "modelscope": lambda folder: tiny.modelscope(folder, layers=LAYERS),
    "animatediff": lambda folder: tiny.animatediff(folder, layers=LAYERS),
}
IMAGES = ("sd", "sdxl")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Each kind, under the pipeline's own scheduler."""
    found = {}
    for name, make in MAKE.items():
        spec = load_spec(make(tmp_path_factory.mktemp(name) / name)).model_copy(
            update={"scheduler": "default", "scheduler_config": {}, "resolution": tiny.SIDE, "frames": FRAMES}
        )
        found[name] = generator(spec, steps=STEPS, guidance=GUIDANCE)
        found[name]._pipeline.set_progress_bar_config(disable=True)
    return found


def ours(one: Any, sampling: Sampling = UNCHANGED) -> torch.Tensor:
    return one.with_sampling(sampling).generate([PROMPT], [SEED], freeu.IDENTITY)[0] / 255


def theirs(one: Any, **how: Any) -> torch.Tensor:
    """What the pipeline's own call gives: (3, H, W), of a video (frames, 3, H, W)."""
    given = {"num_frames": FRAMES} if one.frames > 1 else {}
    given |= {"height": tiny.SIDE, "width": tiny.SIDE, "num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
    found = one._pipeline(PROMPT, generator=random_of(PROMPT, SEED), output_type="pt", **(given | how))
    return (found.frames if one.frames > 1 else found.images)[0]


def agree(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted.float(), atol=1.01 / 255, rtol=0)


def with_scheduler(one: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The pipeline with diffusers' scheduler, made as its docs say."""
    import diffusers

    kind, changes = DIFFUSERS[name]
    pipeline = one._pipeline
    made = getattr(diffusers, kind).from_config(pipeline.scheduler.config, **changes)
    monkeypatch.setattr(pipeline, "scheduler", made)
    return made


KARRAS = {"use_karras_sigmas": True}
DIFFUSERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Euler": ("EulerDiscreteScheduler", {}),
    "Euler a": ("EulerAncestralDiscreteScheduler", {}),
    "Heun": ("HeunDiscreteScheduler", {}),
    "LMS": ("LMSDiscreteScheduler", {}),
    "DPM2 a": ("KDPM2AncestralDiscreteScheduler", {}),
    "DPM++ 2M Karras": ("DPMSolverMultistepScheduler", KARRAS),
    "DPM++ 2M SDE exponential": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "use_exponential_sigmas": True},
    ),
    "DPM++ 2S": ("DPMSolverSinglestepScheduler", {}),
    "UniPC": ("UniPCMultistepScheduler", {}),
    "DEIS": ("DEISMultistepScheduler", {}),
    "DDIM": ("DDIMScheduler", {}),
    "PNDM": ("PNDMScheduler", {}),
    "LCM": ("LCMScheduler", {}),
    "Euler beta": ("EulerDiscreteScheduler", {"use_beta_sigmas": True}),
    "Euler trailing": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    "DDIM trailing": ("DDIMScheduler", {"timestep_spacing": "trailing"}),
}


@pytest.mark.parametrize("name", DIFFUSERS)
@pytest.mark.parametrize("kind", IMAGES)
def test_schedulers(kind: str, name: str, loaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    found = ours(loaded[kind], Sampling(scheduler=name))
    with_scheduler(loaded[kind], name, monkeypatch)
    agree(found, theirs(loaded[kind]))


@pytest.mark.parametrize("name", ["Euler a", "DPM++ 2M Karras", "DDIM trailing"])
@pytest.mark.parametrize("kind", ["modelscope", "animatediff"])
def test_schedulers_of_videos(kind: str, name: str, loaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    found = ours(loaded[kind], Sampling(scheduler=name))
    with_scheduler(loaded[kind], name, monkeypatch)
    agree(found, theirs(loaded[kind]))


@pytest.mark.parametrize("kind", IMAGES)
def test_dpm_sde(kind: str, loaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its noise is a Brownian motion of the image's seed; given that, it is diffusers'."""
    import diffusers

    from freeu.models.scheduling import BrownianNoise

    pytest.importorskip("torchsde")
    one = loaded[kind]
    found = ours(one, Sampling(scheduler="DPM++ SDE Karras"))
    made = diffusers.DPMSolverSDEScheduler.from_config(one._pipeline.scheduler.config, use_karras_sigmas=True)
    made.set_timesteps(STEPS)
    made.noise_sampler = BrownianNoise(made.sigmas, torch.zeros(1, 4, 8, 8), [random_of(PROMPT, SEED)])
    monkeypatch.setattr(one._pipeline, "scheduler", made)
    again = made.set_timesteps
    sampler = made.noise_sampler

    def keep_noise(*given: Any, **how: Any) -> None:
        again(*given, **how)
        made.noise_sampler = sampler

    monkeypatch.setattr(made, "set_timesteps", keep_noise)
    agree(found, theirs(one))


@pytest.mark.parametrize("name", ["DDIM", "TCD"])
@pytest.mark.parametrize("kind", IMAGES)
def test_eta(kind: str, name: str, loaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import diffusers

    found = ours(loaded[kind], Sampling(scheduler=name, eta=0.7))
    assert not torch.equal(found, ours(loaded[kind], Sampling(scheduler=name, eta=0.0)))
    pipeline = loaded[kind]._pipeline
    made = getattr(diffusers, f"{name}Scheduler").from_config(pipeline.scheduler.config)
    monkeypatch.setattr(pipeline, "scheduler", made)
    agree(found, theirs(loaded[kind], eta=0.7))


@pytest.mark.parametrize("negative", ["", "blurry, low quality"])
@pytest.mark.parametrize("kind", MAKE)
def test_negative_prompts(kind: str, negative: str, loaded: dict[str, Any]) -> None:
    found = ours(loaded[kind], Sampling(negative_prompt=negative))
    assert torch.equal(found, ours(loaded[kind])) is (negative == "")
    agree(found, theirs(loaded[kind], negative_prompt=negative or None))


@pytest.mark.parametrize("clip_skip", [1, 2, 3])
@pytest.mark.parametrize("kind", MAKE)
def test_clip_skip_counts_as_the_web_ui_does(kind: str, clip_skip: int, loaded: dict[str, Any]) -> None:
    found = ours(loaded[kind], Sampling(clip_skip=clip_skip))
    unasked = 2 if kind == "sdxl" else 1  # SDXL reads the layer before the last
    skipped = max(0, clip_skip - unasked)
    assert torch.equal(found, ours(loaded[kind])) is (skipped == 0)
    agree(found, theirs(loaded[kind], clip_skip=skipped or None))


@pytest.mark.parametrize("size", [(40, 24), (24, 56), (64, 64)])
@pytest.mark.parametrize("kind", MAKE)
def test_sizes(kind: str, size: tuple[int, int], loaded: dict[str, Any]) -> None:
    one = loaded[kind].with_sampling(Sampling(size=size))
    assert one.image_size == (size[1], size[0]) and loaded[kind].image_size == (tiny.SIDE, tiny.SIDE)
    found = ours(one)
    assert found.shape[-2:] == (size[1], size[0])
    agree(found, theirs(loaded[kind], width=size[0], height=size[1]))


@pytest.mark.parametrize("rescale", [0.3, 1.0])
@pytest.mark.parametrize("kind", IMAGES)
def test_guidance_rescale(kind: str, rescale: float, loaded: dict[str, Any]) -> None:
    found = ours(loaded[kind], Sampling(guidance_rescale=rescale))
    assert not torch.equal(found, ours(loaded[kind]))
    agree(found, theirs(loaded[kind], guidance_rescale=rescale))


@pytest.mark.parametrize("kind", MAKE)
def test_guidance_and_steps(kind: str, loaded: dict[str, Any]) -> None:
    for guidance, steps in ((1.0, 3), (9.0, 5)):
        found = ours(loaded[kind], Sampling(guidance=guidance, steps=steps))
        agree(found, theirs(loaded[kind], guidance_scale=guidance, num_inference_steps=steps))


MANY = Sampling(scheduler="Euler a", negative_prompt="blurry", clip_skip=3, guidance_rescale=0.5, size=(40, 24))


@pytest.mark.parametrize("kind", MAKE)
def test_the_batch_size_changes_nothing(kind: str, loaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, seeds = [f"picture {i}" for i in range(8)], list(range(8))
    one, images = loaded[kind].with_sampling(MANY), {}
    one._spec = one._spec.model_copy(update={"negatives": {prompt: f"not {prompt}" for prompt in prompts[:5]}})
    for size in (1, 3, 8):
        monkeypatch.setattr(one._batches, "size", size)
        images[size] = one.generate(prompts, seeds, freeu.IDENTITY).int()
    assert (images[1] - images[3]).abs().max() <= 1 and (images[1] - images[8]).abs().max() <= 1
    # Each prompt has its own negative prompt, the others that of all.
    other = one.with_sampling(Sampling(negative_prompt="not picture 4"))
    own = other.generate(prompts[4:6], seeds[4:6], freeu.IDENTITY)
    assert (own[0].int() - images[8][4]).abs().max() <= 1
    assert (own[1].int() - images[8][5]).abs().max() > 1


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        (Sampling(clip_skip=LAYERS + 1), f"--clip-skip 5: .* has {LAYERS} layers: give 1 to {LAYERS}"),
        (Sampling(eta=0.5, scheduler="Euler"), "--eta 0.5 means nothing to .*Euler.*: give --scheduler DDIM or TCD"),
        (Sampling(scheduler="Eular"), "did you mean 'Euler'"),
        (Sampling(scheduler="LCM", steps=60), "other --steps"),
    ],
)
def test_what_a_model_can_not_have_is_refused(sampling: Sampling, said: str, loaded: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=said):
        loaded["sd"].with_sampling(sampling)


def test_a_candidates_other_scheduler_ignores_the_studys_eta(loaded: dict[str, Any]) -> None:
    one = loaded["sd"].with_sampling(Sampling(scheduler="DDIM", eta=0.5))
    assert torch.equal(ours(one, Sampling(scheduler="Euler")), ours(loaded["sd"], Sampling(scheduler="Euler")))


def test_sizes_of_another_vae() -> None:
    with pytest.raises(UserError, match=r"--size 40x64: .* 16 pixels of each latent: .* as 32x64"):
        check_size((40, 64), 16)


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_a_scheduler_that_can_not_run_the_models_prediction(prediction: str, tmp_path: Path) -> None:
    spec = load_spec(tiny.stable_diffusion(tmp_path / "sd", prediction_type=prediction))
    assert changed(spec, {"scheduler": "Euler"}).sampling.scheduler == "Euler"
    check_sampling_early(changed(spec, {"scheduler": "Euler"}))
    if prediction == "sample":
        with pytest.raises(UserError, match="'Euler a' can't run this model, which predicts the image: give Euler"):
            check_sampling_early(changed(spec, {"scheduler": "euler_ancestral"}))


@pytest.mark.parametrize(
    ("config", "bare", "told"),
    [
        ({"timestep_spacing": "leading"}, "DPM++ 2M", "DPM++ 2M leading"),  # SDXL's own
        ({"timestep_spacing": "trailing"}, "Euler", "Euler trailing"),
        ({"timestep_spacing": "linspace"}, "Euler a", "Euler a"),
        ({"timestep_spacing": "leading", "use_karras_sigmas": True}, "DPM++ 2M", "DPM++ 2M Karras"),
        ({"timestep_spacing": "leading"}, "DPM++ 2M Karras", "DPM++ 2M Karras"),
        ({"timestep_spacing": "leading"}, "DPM++ 2S", "DPM++ 2S"),  # spaces its steps in one way
        ({"timestep_spacing": "trailing"}, "LCM", "LCM"),  # its steps are the model's own
        ({"timestep_spacing": "leading"}, "default", "default"),
    ],
)
def test_other_tools_are_told_the_schedule_that_a_name_leaves_to_the_pipeline(
    config: dict[str, Any], bare: str, told: str, tmp_path: Path
) -> None:
    folder = tiny.stable_diffusion(tmp_path / "sd")
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    spec = changed(load_spec(folder), {"scheduler": bare})
    assert with_schedule(spec.sampling.scheduler, spec) == told
    same, wanted = (generator(changed(spec, {"scheduler": name}), steps=7).timesteps for name in (told, bare))
    assert torch.equal(same, wanted)
    other = spec.model_copy(update={"source": "nobody/nowhere"})  # a pipeline that is not here tells nothing
    assert with_schedule("DPM++ 2M", other) == "DPM++ 2M"
    shutil.rmtree(folder)  # as somebody may while a study runs
    assert with_schedule(bare, spec) == bare


def test_what_a_spec_itself_sets_is_told_too(tmp_path: Path) -> None:
    spec = load_spec(tiny.stable_diffusion(tmp_path / "sd"))
    few = spec.model_copy(update={"scheduler_config": {"timestep_spacing": "trailing"}})
    assert with_schedule("Euler", few) == "Euler trailing"  # as Lightning has it: sgm_uniform in ComfyUI
    assert with_schedule("Euler", few.model_copy(update={"timesteps": (399,)})) == "Euler"


def test_texts_are_embedded_before_the_encoders_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = changed(load_spec(tiny.sdxl(tmp_path / "sdxl", layers=3, layers_2=3)), {"resolution": tiny.SIDE})
    others = [Sampling(clip_skip=3, negative_prompt="dull"), Sampling(guidance=4.0), Sampling(size=(40, 24))]
    wanted = [generator(spec, guidance=1.0).with_sampling(each).generate(["a"], [0], freeu.IDENTITY) for each in others]
    one = generator(spec, guidance=1.0)
    one.prepare(["a"], others)
    assert one._pipeline.text_encoder is None
    for each, images in zip(others, wanted, strict=True):
        assert torch.equal(one.with_sampling(each).generate(["a"], [0], freeu.IDENTITY), images)
    with pytest.raises(ValueError, match="not among those of prepare"):
        one.with_sampling(Sampling(negative_prompt="new", guidance=2.0)).generate(["a"], [0], freeu.IDENTITY)


def test_a_spec_has_them_too(tmp_path: Path) -> None:
    folder = tiny.stable_diffusion(tmp_path / "sd")
    (tmp_path / "mine.yaml").write_text(
        f"source: {folder}\nsize: 40x24\nscheduler: Euler a\nclip_skip: 2\nnegative_prompt: blurry\n"
        "guidance_rescale: 0.5\nsteps: 3\nguidance: 4\nprompts: general\n"
    )
    spec = load_spec(tmp_path / "mine.yaml")
    assert spec.size == (40, 24) and spec.image_size == (24, 40) and spec.resolution == 32
    assert spec.sampling == Sampling(4, 0.5, 3, "Euler a", None, 2, "blurry", (40, 24))
    unasked = {"size": None, "resolution": tiny.SIDE, "scheduler": "default", "clip_skip": None, "negative_prompt": ""}
    plain = spec.model_copy(update={**unasked, "guidance_rescale": 0.0})
    found = generator(spec, steps=3, guidance=4.0).generate(["a"], [0], freeu.IDENTITY)
    other = generator(plain, steps=3, guidance=4.0).with_sampling(spec.sampling).generate(["a"], [0], freeu.IDENTITY)
    assert torch.equal(found, other)
    for wrong, said in (("scheduler: Eular", "did you mean 'Euler'"), ("size: 40x25", "multiples of 8")):
        (tmp_path / "bad.yaml").write_text(
            f"source: {folder}\n{wrong}\nresolution: 32\nsteps: 3\nguidance: 4\nprompts: general\n"
        )
        with pytest.raises(UserError, match=said):
            load_spec(tmp_path / "bad.yaml")
