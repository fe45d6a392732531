"""Few-step models: which one a file is, what is set for it, and what is said of settings that don't go with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import freeu
from freeu.generate import generator as random_of
from freeu.models import ModelSpec, changed, few_steps, load_generator, load_spec
from freeu.sampling import Sampling
from tests import tiny
from tests.kinds import generator

PLAIN = ("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight",)
DISTILLED = (*PLAIN, "lora_unet_mid_block_resnets_0_time_emb_proj.lora_down.weight")
IN_ORIGINAL_NAMES = (*PLAIN, "lora_unet_middle_block_0_emb_layers_1.lora_down.weight")
IN_PEFTS = ("unet.down_blocks.0.resnets.0.time_emb_proj.lora_A.weight",)
WITH_WORDS = (*DISTILLED, "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight")

TABLE = [
    ("dmd2_sdxl_4step_lora_fp16", PLAIN, {}, "DMD2", ("LCM", 4, 0.0, None)),
    ("pytorch_lora_weights", DISTILLED, {}, "LCM or DMD2", ("LCM", 4, 1.0, None)),
    ("pytorch_lora_weights", IN_PEFTS, {}, "LCM or DMD2", ("LCM", 4, 1.0, None)),
    ("lcm-lora-sdv1-5", PLAIN, {}, "LCM", ("LCM", 4, 1.0, None)),
    ("sdxl_lightning_8step_lora", PLAIN, {}, "Lightning", ("Euler trailing", 8, 0.0, None)),
    ("a", IN_ORIGINAL_NAMES, {"modelspec.title": "XL-Lightning 2-step"}, "Lightning", ("Euler trailing", 2, 0.0, None)),
    ("my_lightning", IN_ORIGINAL_NAMES, {}, "Lightning", ("Euler trailing", 4, 0.0, None)),
    ("Hyper-SD15-4steps-lora", PLAIN, {}, "Hyper-SD", ("DDIM trailing", 4, 0.0, None)),
    ("Hyper-SDXL-12steps-CFG-lora", PLAIN, {}, "Hyper-SD with guidance", ("DDIM trailing", 12, 5.0, None)),
    ("Hyper-SDXL-1step-lora", PLAIN, {}, "Hyper-SD for any number of steps", ("TCD", 1, 0.0, 1.0)),
    ("TCD-SDXL-LoRA", PLAIN, {}, "TCD", ("TCD", 4, 0.0, 0.3)),
    ("sd_xl_turbo_lora_v1", PLAIN, {}, "Turbo", ("Euler a trailing", 4, 0.0, None)),
    ("hyperdetailer", PLAIN, {}, None, ("dpmsolver++", 30, 5.0, None)),
    ("lightning_bolts", PLAIN, {}, None, ("dpmsolver++", 30, 5.0, None)),
    ("fast_cars", WITH_WORDS, {}, None, ("dpmsolver++", 30, 5.0, None)),
    ("locon", DISTILLED, {"ss_network_dim": "16"}, None, ("dpmsolver++", 30, 5.0, None)),
]  # fmt: skip


def settings(spec: ModelSpec) -> tuple[str, int, float, float | None]:
    return spec.scheduler, spec.steps, spec.guidance, spec.eta


def file_of(folder: Path, name: str, keys: tuple[str, ...] = PLAIN, **metadata: str) -> str:
    file = folder / f"{name}.safetensors"
    save_file({key: torch.zeros(2, 2) for key in keys}, file, metadata=metadata or None)
    return str(file)


@pytest.mark.parametrize(("name", "keys", "metadata", "family", "wanted"), TABLE, ids=[row[0] for row in TABLE])
def test_what_is_told_of_a_lora_and_set(name, keys, metadata, family, wanted, tmp_path: Path) -> None:
    spec = load_spec("sdxl")
    lora = file_of(tmp_path, name, keys, **metadata)
    found = changed(spec, {"loras": (f"{lora}:0.8",)})
    assert settings(found) == wanted
    said = few_steps.lines(found)
    if family is None:
        assert said == []
        return
    (line,) = said
    assert f"{name}.safetensors is {family} (" in line and line.endswith(few_steps.recognised(found).family.source)


@pytest.mark.parametrize(("name", "wanted"), [
    ("RealVisXL_V4.0_Lightning", ("Euler trailing", 4, 0.0)),
    ("DreamShaperXL_Turbo_v2", ("Euler a trailing", 4, 0.0)),
    ("juggXIByRunDiffusionHyper", ("DDIM trailing", 4, 0.0)),
    ("bigLust_v16_DMD2", ("LCM", 4, 0.0)),
    ("HyperRealismXL", ("dpmsolver++", 30, 5.0)),
    ("plain", ("dpmsolver++", 30, 5.0)),
])  # fmt: skip
def test_a_whole_model_by_its_name(name: str, wanted: tuple[str, int, float], tmp_path: Path) -> None:
    from freeu.models.single import XL

    found = changed(load_spec(file_of(tmp_path, name, (XL,))), {})
    assert settings(found)[:3] == wanted


def test_a_u_net_of_one_step_predicts_the_image(tmp_path: Path) -> None:
    unet = file_of(tmp_path, "sdxl_lightning_1step_unet_x0")
    found = changed(load_spec("sdxl"), {"unet": unet})
    assert settings(found) == ("Euler trailing", 1, 0.0, None)
    assert found.scheduler_config == {"prediction_type": "sample"}


def test_what_is_asked_for_holds_and_is_warned_of(tmp_path: Path) -> None:
    lora = file_of(tmp_path, "dmd2_sdxl_4step_lora")
    asked = {"loras": (lora,), "scheduler": "DPM++ 2M Karras", "steps": 30, "guidance": 5.0}
    found = changed(load_spec("sdxl"), asked)
    assert settings(found) == ("DPM++ 2M Karras", 30, 5.0, None) and found.scheduler_config == {}
    warning = few_steps.lines(found)[1]
    assert warning.startswith("warning") and warning.endswith("give --scheduler LCM --guidance 0 --steps 4")
    right = changed(load_spec("sdxl"), {"loras": (lora,), "scheduler": "lcm", "steps": 8})
    assert len(few_steps.lines(right)) == 1 and right.scheduler_config == {"original_inference_steps": 1000}


@pytest.mark.parametrize(("scheduler", "flag"), [
    ("Euler", "--scheduler 'Euler trailing'"),
    ("Euler sgm_uniform", None),
    ("DDIM trailing", None),
    ("DPM++ SDE Karras", None),
    ("UniPC", "--scheduler 'Euler trailing'"),
])  # fmt: skip
def test_lightning_wants_its_steps_spaced_trailing(scheduler: str, flag: str | None, tmp_path: Path) -> None:
    lora = file_of(tmp_path, "sdxl_lightning_4step_lora")
    _, *warned = few_steps.lines(changed(load_spec("sdxl"), {"loras": (lora,), "scheduler": scheduler}))
    assert [line.endswith(f"give {flag}") for line in warned] == ([] if flag is None else [True])


def test_steps_and_guidance_tell_where_nothing_else_does(tmp_path: Path) -> None:
    lora = file_of(tmp_path, "mine")
    found = changed(load_spec("sdxl"), {"loras": (lora,), "steps": 6, "guidance": 1.5})
    assert settings(found) == ("Euler trailing", 6, 1.5, None)
    assert "by its steps and guidance" in few_steps.lines(found)[0] and "--scheduler LCM" in few_steps.lines(found)[0]
    for given in ({"steps": 6}, {"steps": 6, "guidance": 5.0}, {"steps": 20, "guidance": 1.5}):
        assert changed(load_spec("sdxl"), {"loras": (lora,), **given}).scheduler == "dpmsolver++"
    assert changed(load_spec("shapes"), {"steps": 6, "guidance": 1.5}).scheduler == load_spec("shapes").scheduler


def test_what_a_yaml_says_of_its_own_model_holds(tmp_path: Path) -> None:
    lora = file_of(tmp_path, "dmd2_lora")
    (tmp_path / "mine.yaml").write_text(
        f"source: x/y\nresolution: 64\nsteps: 6\nguidance: 1.2\nprompts: general\nloras: [{lora}]\nscheduler: Euler a\n"
    )
    spec = load_spec(tmp_path / "mine.yaml")
    assert settings(changed(spec, {})) == ("Euler a", 6, 1.2, None)
    assert few_steps.lines(spec)[1].endswith("give --scheduler LCM")
    assert settings(changed(spec, {"loras": (lora, lora)})) == ("LCM", 4, 0.0, None)


def test_known_few_step_models_keep_their_own_scheduler(tmp_path: Path) -> None:
    assert changed(load_spec("sdxl-turbo"), {}) == load_spec("sdxl-turbo")
    assert changed(load_spec("lcm"), {}) == load_spec("lcm")
    folder = tiny.latent_consistency(tmp_path / "mine")
    assert settings(changed(load_spec(folder), {})) == ("default", 4, 8.0, None)
    assert few_steps.lines(changed(load_spec("lcm"), {"scheduler": "UniPC"}))[1].endswith("give --scheduler LCM")


@pytest.mark.parametrize("name, timesteps, scheduler", [
    ("dmd2_sdxl_4step_lora_fp16", [999, 749, 499, 249], "LCMScheduler"),
    ("sdxl_lightning_4step_lora", [999, 749, 499, 249], "EulerDiscreteScheduler"),
    ("Hyper-SDXL-4steps-lora", [999, 749, 499, 249], "DDIMScheduler"),
    ("lcm-lora-sdxl", [999, 759, 499, 259], "LCMScheduler"),
])  # fmt: skip
def test_it_samples_as_its_authors_do(
    name: str, timesteps: list[int], scheduler: str, sdxl_folder: Path, tmp_path: Path
) -> None:
    """With the LoRA alone: the image of diffusers' own pipeline, called as in the authors' example."""
    import diffusers

    from tests.freeu.test_addons import lora

    file = lora(tmp_path, sdxl_folder).rename(tmp_path / f"{name}.safetensors")
    spec = changed(load_spec(sdxl_folder), {"loras": (str(file),)})
    one = generator(spec, steps=None, guidance=None)
    found = one.generate(["a boat"], [5], freeu.IDENTITY)[0] / 255
    assert one.timesteps.tolist() == timesteps
    pipeline = one._pipeline
    pipeline.set_progress_bar_config(disable=True)
    how = {"timestep_spacing": "trailing"} if scheduler != "LCMScheduler" else {}
    pipeline.scheduler = getattr(diffusers, scheduler).from_config(pipeline.scheduler.config, **how)
    own = {"timesteps": timesteps} if name.startswith("dmd2") else {}
    wanted = pipeline(
        "a boat",
        height=tiny.SIDE,
        width=tiny.SIDE,
        num_inference_steps=4,
        guidance_scale=0 if name != "lcm-lora-sdxl" else 1.0,
        generator=random_of("a boat", 5),
        output_type="pt",
        **own,
    ).images[0]
    torch.testing.assert_close(found, wanted.float(), atol=1.01 / 255, rtol=0)


@pytest.mark.parametrize(("name", "timestep"), [("dmd2_sdxl_1step_unet_fp16", 399), ("Hyper-SDXL-1step-Unet", 800)])
def test_a_unet_for_one_step_is_run_at_its_own_timestep(name: str, timestep: int, tmp_path: Path) -> None:
    """As their authors' READMEs call diffusers."""
    from diffusers import LCMScheduler, StableDiffusionXLPipeline

    folder = tiny.sdxl(tmp_path / "sdxl")
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, variant="fp16", dtype=torch.float32)
    save_file(pipeline.unet.state_dict(), tmp_path / f"{name}.safetensors")
    given = {"unet": str(tmp_path / f"{name}.safetensors"), "resolution": tiny.SIDE}
    spec = changed(load_spec(folder), given)
    assert settings(spec) == ("LCM", 1, 0.0, None)
    (said,) = few_steps.lines(spec)
    assert f"LCM, 1 step from timestep {timestep}, guidance 0" in said
    one = load_generator(spec, device="cpu")
    assert one.timesteps.tolist() == [timestep]
    found = one.generate(["a boat"], [5], freeu.IDENTITY)[0] / 255
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    wanted = pipeline(
        "a boat",
        height=tiny.SIDE,
        width=tiny.SIDE,
        num_inference_steps=1,
        guidance_scale=0.0,
        timesteps=[timestep],
        generator=random_of("a boat", 5),
        output_type="pt",
    ).images[0]
    torch.testing.assert_close(found, wanted.float(), atol=1.01 / 255, rtol=0)
    assert changed(spec, {"steps": 4}).scheduler == "LCM" and len(one.with_sampling(Sampling(steps=4)).timesteps) == 4
    assert one.with_sampling(Sampling(scheduler="TCD")).timesteps.tolist() != [timestep]
