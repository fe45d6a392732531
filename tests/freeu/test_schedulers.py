"""The names of schedulers: what the tools call them, and that diffusers takes what they stand for."""

from __future__ import annotations

import inspect
import subprocess
import sys

import diffusers
import pytest
import torch

from configs import UserError
from freeu.sampler_table import SAMPLERS, SCHEDULES, STRAIGHT
from freeu.schedulers import Scheduler, canonical, check_runs, named

SAME = {
    "Euler": ["euler", "EulerDiscreteScheduler", "k_euler", "sample_euler", "EulerDiscrete"],
    "Euler a": ["euler_ancestral", "Euler A", "euler_a", "EulerAncestralDiscreteScheduler"],
    "DPM++ 2M": ["dpmpp_2m", "dpmsolver++", "DPMSolverMultistepScheduler", "dpm++ 2m"],
    "DPM++ 2M Karras": ["dpmpp_2m_k", "DPM++ 2M karras", "dpmpp_2m karras"],
    "DPM++ 2M SDE Karras": ["dpmpp_2m_sde_gpu karras", "dpmpp_2m_sde_k"],
    "DPM++ SDE Karras": ["dpmpp_sde_k", "DPMSolverSDEScheduler Karras"],
    "DPM++ 2M SDE exponential": ["DPM++ 2M SDE Exponential"],
    "DPM2 a Karras": ["kdpm_2_a_k", "dpm_2_ancestral karras"],
    "Euler trailing": ["Euler SGM Uniform", "euler sgm_uniform", "euler simple"],
    "DDIM": ["ddim", "DDIMScheduler"],
    "UniPC": ["uni_pc", "unipc", "UniPCMultistepScheduler"],
    "PNDM": ["PLMS", "pndm"],
    "LCM": ["lcm"],
    "TCD": ["tcd"],
    "Heun": ["heun"],
    "LMS Karras": ["lms_k"],
    "default": ["default"],
    "edm": ["edm"],
}


def changes(one: Scheduler) -> dict[str, object]:
    return {**one.sampler.changes, **(one.schedule.changes if one.schedule else {})}


@pytest.mark.parametrize("name", SAME)
def test_other_names_for_it(name: str) -> None:
    assert [canonical(each) for each in [name, *SAME[name]]] == [name] * (1 + len(SAME[name]))


ALL = [Scheduler(sampler, schedule) for sampler in SAMPLERS for schedule in (None, *SCHEDULES)]
RUN = [
    each
    for each in ALL
    if each.schedule is None or (each.sampler.curved if each.schedule.curved else each.sampler.spaced)
]


@pytest.mark.filterwarnings("ignore:__array__")
@pytest.mark.parametrize("one", RUN, ids=lambda each: each.name)
def test_diffusers_takes_what_a_name_stands_for(one: Scheduler) -> None:
    kind = getattr(diffusers, one.sampler.kind)
    takes = inspect.signature(kind.__init__).parameters
    assert {key for key, value in changes(one).items() if value is not False} <= takes.keys()
    own = inspect.signature(kind.step).parameters.get("eta")
    assert (None if own is None else own.default) == one.sampler.eta
    made = kind(**{key: value for key, value in changes(one).items() if key in takes})
    made.set_timesteps(4)
    for key, value in changes(one).items():
        assert made.config.get(key, False) == value
    # What the table says it can't, diffusers' class has no argument for.
    assert (set(STRAIGHT) <= takes.keys()) is one.sampler.curved
    assert ("timestep_spacing" in takes) is one.sampler.spaced
    assert ("rescale_betas_zero_snr" in takes) is one.sampler.zero_snr


@pytest.mark.parametrize("one", [each for each in RUN if each.schedule is None], ids=lambda each: each.name)
def test_which_predict_the_image(one: Scheduler) -> None:
    kind = getattr(diffusers, one.sampler.kind)
    made = kind.from_config(kind(**changes(one)).config, prediction_type="sample")
    made.set_timesteps(4)
    x = torch.zeros(1, 4, 8, 8)
    if one.sampler.samples:
        made.step(x, made.timesteps[0], made.scale_model_input(x, made.timesteps[0]))
    else:
        with pytest.raises((NotImplementedError, ValueError)):
            made.step(x, made.timesteps[0], made.scale_model_input(x, made.timesteps[0]))


@pytest.mark.parametrize(
    ("name", "own", "config", "said"),
    [
        ("Euler a", "DDIMScheduler", {"prediction_type": "sample"}, "predicts the image: give Euler,"),
        ("Heun", "EulerDiscreteScheduler", {"rescale_betas_zero_snr": True}, "zero terminal SNR"),
        ("DDIM", "EulerDiscreteScheduler", {"timestep_type": "continuous"}, "give Euler"),
        ("DDIM", "EDMEulerScheduler", {}, r"EDM's formulation: give Euler or DPM\+\+ 2M"),
        ("Euler beta", "DDIMScheduler", {"sigma_data": 1.0}, "EDM's formulation"),
    ],
)
def test_what_can_not_run_the_model_is_refused(name: str, own: str, config: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_runs(named(name), own, config)
    check_runs(named("Euler"), own, config)


@pytest.mark.parametrize("one", RUN, ids=lambda each: each.name)
def test_the_tools_names_lead_back(one: Scheduler) -> None:
    assert canonical(one.name) == one.name
    for words in filter(None, (one.webui, one.comfyui)):
        found = named(*words)
        assert found.sampler == one.sampler
        if one.schedule is not None:
            assert found == one


def test_what_the_web_ui_makes_of_automatic() -> None:
    assert named("DPM++ 2M", "Automatic").name == "DPM++ 2M Karras"
    assert named("DPM++ 2M SDE", "Automatic").name == "DPM++ 2M SDE exponential"
    assert named("Euler a", "Automatic").name == "Euler a linspace"
    assert named("DPM++ 2M Karras", "Automatic").name == "DPM++ 2M Karras"
    assert named("DDIM", "Automatic").name == "DDIM"


def test_shown_as_the_tools_have_it() -> None:
    assert named("DPM++ 2M Karras").comfyui == ("dpmpp_2m", "karras")
    assert named("DPM++ 2M Karras").webui == ("DPM++ 2M", "Karras")
    assert named("Euler trailing").comfyui == ("euler", "sgm_uniform")
    assert named("Euler a").comfyui == ("euler_ancestral", "normal")
    assert named("TCD").comfyui is None and named("TCD").webui is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Eular", "did you mean 'Euler'"),
        ("DPM++ 2M Karas", r"did you mean 'DPM\+\+ 2M Karras'"),
        ("dpmpp_2s_ancestral", r"nearest is 'DPM\+\+ 2S'"),
        ("Restart", "nearest is 'Heun'"),
        ("Euler a Karras", "no such sigmas: give 'Euler a'"),
        ("DPM++ 2S trailing", r"give 'DPM\+\+ 2S'"),
        ("euler kl_optimal", "no such schedule: give one of Karras"),
        ("", "unknown scheduler"),
        ("Karras", "unknown scheduler"),
    ],
)
def test_unknown_ones_get_the_nearest(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        canonical(name)


def test_the_table_needs_neither_torch_nor_diffusers() -> None:
    code = "import sys, freeu.schedulers; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
