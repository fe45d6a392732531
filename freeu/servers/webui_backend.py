"""The web UIs behind a generator: which FreeU a server has, the request with its factors, and what it draws."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from configs import UserError, unknown
from freeu.factors import Factors, Version
from freeu.presets import Preset, forge, sdnext, sdwebui, webui
from freeu.presets.forge_api import TITLE
from freeu.presets.jsons import with_script
from freeu.presets.sampled import has_scheduler
from freeu.presets.tool import NUMBERS, Tool
from freeu.sampling import Sampling

from .findings import STRONG, findings
from .generator import difference, drawn
from .http import address
from .pool import Watch
from .requests import FIXED, number, worded
from .webui import PORT, WebUI

SEEDS = 2**32 - 1
OPTIONS = (
    *("sd_model_checkpoint", "sd_checkpoint_hash", "sd_vae", "CLIP_stop_at_last_layers", "eta_noise_seed_delta"),
    *("randn_source", "sd_model_refiner", "clip_skip", "upcast_attn", "token_merging_ratio"),
)
"""Of a server's options those that images depend on, where it has them."""


Request = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class FreeU:
    """What a server has of FreeU. shown: for the plan. put: factors, None for off, into a request."""

    shown: str
    tool: Tool
    put: Callable[[Request, Factors | None], dict[str, Any]]


def _extension(request: Request, factors: Factors | None) -> dict[str, Any]:
    fields = {"enable": False} if factors is None else {"enable": True, **sdwebui.fields(factors)}
    return with_script(request, "freeu", [fields])


def _forge(request: Request, factors: Factors | None) -> dict[str, Any]:
    args = [False, 1, 1, 1, 1, 0.0, 1.0] if factors is None else [True, *forge.row(Preset(factors, ""))[1:]]
    return with_script(request, TITLE, args)


def _sdnext(request: Request, factors: Factors | None) -> dict[str, Any]:
    on = {} if factors is None else {f"freeu_{name}": getattr(factors, name) for name in NUMBERS}
    return merged(request, {"override_settings": {"freeu_enabled": factors is not None, **on}})


KINDS = {
    "forge": FreeU("Forge's own FreeU", forge.TOOL, _forge),
    "extension": FreeU("the extension sd-webui-freeu", sdwebui.TOOL, _extension),
    "sdnext": FreeU("SD.Next's FreeU", sdnext.TOOL, _sdnext),
}


def opened(servers: Sequence[str]) -> tuple[list[WebUI], str]:
    """The servers, and which FreeU they have.

    Raises:
        UserError: nobody answers, another program, no FreeU, or two kinds.
    """
    found = [WebUI(address(text, PORT)) for text in servers]
    kinds = [kind_of(server) for server in found]
    for server, kind in zip(found, kinds, strict=True):
        if kind != kinds[0]:
            raise UserError(f"{server} has {KINDS[kind].shown}, {found[0]} {KINDS[kinds[0]].shown}: give servers alike")
    return found, kinds[0]


def kind_of(server: WebUI) -> str:
    """Which FreeU a server has, by what it says. Raises UserError."""
    scripts, options = server.asked("/sdapi/v1/scripts"), server.asked("/sdapi/v1/options")
    if not isinstance(options, dict) or not isinstance(scripts, dict):
        raise UserError(
            f"{server} is no web UI with its API on: start A1111's or Forge with --api, or name another address"
        )
    names = {str(name).lower() for name in scripts.get("txt2img") or ()}
    if TITLE.lower() in names:
        return "forge"
    if "freeu" in names:
        return "extension"
    if "freeu_enabled" in options:
        return "sdnext"
    raise UserError(f"{server} has no FreeU: install the extension sd-webui-freeu there, or use Forge or SD.Next")


def check_known(server: WebUI, request: Mapping[str, Any]) -> None:
    """Raises UserError where the server lacks the request's model or sampler, which it would not say itself."""
    model = (request.get("override_settings") or {}).get("sd_model_checkpoint")
    models = server.asked("/sdapi/v1/sd-models")
    if model and isinstance(models, list):
        known = {str(each.get(key)) for each in models for key in ("title", "model_name", "hash") if each.get(key)}
        if str(model).removesuffix(".safetensors") not in {name.removesuffix(".safetensors") for name in known}:
            raise UserError(
                f"{server}: {unknown('model', str(model), {str(each.get('model_name')) for each in models})}"
            )
    sampler, samplers = request.get("sampler_name"), server.asked("/sdapi/v1/samplers")
    if sampler and isinstance(samplers, list):
        names = {str(each.get("name")) for each in samplers} | {
            a for each in samplers for a in each.get("aliases") or ()
        }
        schedules = server.asked("/sdapi/v1/schedulers")
        labels = [str(each.get("label")) for each in schedules] if isinstance(schedules, list) else []
        if sampler not in names and not any(sampler == f"{name} {label}" for name in names for label in labels):
            raise UserError(f"{server}: {unknown('sampler', str(sampler), names)}")


@dataclasses.dataclass(frozen=True)
class WebUIBackend:
    """See `freeu.servers.generator.Backend`. kind: of KINDS."""

    servers: Sequence[WebUI]
    request: Mapping[str, Any]
    kind: str
    identity: str
    image_size: tuple[int, int]
    seeds: int = SEEDS
    frames: int = 1

    @property
    def evaluations(self) -> int:
        """Of the passes, by steps and guidance."""
        steps = number(self.request, "steps", 20)
        if self.request.get("enable_hr"):
            strength = number(self.request, "denoising_strength", 0.75)
            steps += (number(self.request, "hr_second_pass_steps", 0) or steps) * strength
        return max(1, int(steps)) * (2 if number(self.request, "cfg_scale", 7) > 1 else 1)

    def check(self, factors: Factors) -> None:
        if not factors.identity:
            KINDS[self.kind].tool.check(factors)

    def filled(self, prompt: str, seed: int, factors: Factors) -> dict[str, Any]:
        """The request of one image; with the baseline's factors FreeU is switched off."""
        words = worded(str(self.request.get("prompt", "")), prompt)
        request = {**self.request, **FIXED, "prompt": words, "seed": seed}
        return KINDS[self.kind].put(request, None if factors.identity else factors)

    def draw(self, server: int, image: int, prompt: str, seed: int, factors: Factors, watch: Watch) -> torch.Tensor:
        path = "/sdapi/v1/img2img" if self.request.get("init_images") else "/sdapi/v1/txt2img"
        return self.servers[server].draw(path, self.filled(prompt, seed, factors), watch)[None]

    def leave(self) -> None:
        """Nothing: a server has one request at a time, which its own thread takes back."""

    def with_settings(self, values: Mapping[str, Any]) -> WebUIBackend:
        fields = requested(values)
        options = {name: fields.pop(name) for name in ("override_settings",) if name in fields}
        return dataclasses.replace(self, request=merged({**self.request, **fields}, options))

    def measured(self, prompt: str, seed: int) -> tuple[str, ...]:
        """On the first server: the baseline, strong factors, and the baseline again."""
        tool = KINDS[self.kind].tool
        version: Version = tool.versions[-1]
        strong = dataclasses.replace(STRONG, version=version, stages=tool.stages[0])
        found = []
        for factors in (Factors(1, 1, 1, 1), strong, Factors(1, 1, 1, 1)):
            found += drawn(
                self,
                [0],
                lambda server, image, watch, under=factors: self.draw(0, image, prompt, seed, under, watch),  # type: ignore[misc]
            )
        return findings(0.0, difference(found[0], found[1]), difference(found[0], found[2]))


def requested(values: Mapping[str, Any]) -> dict[str, Any]:
    """A request's fields for sampling settings, by name. Raises UserError for one that it has no field for."""
    sampling = Sampling(**values)
    if sampling.guidance_rescale is not None:
        raise UserError("guidance rescale is not in the web UI's API: leave it out")
    if not has_scheduler(sampling, "webui"):
        raise UserError(f"the web UI has no scheduler {sampling.scheduler}: give another")
    return webui.request(sampling)


def identified(servers: Sequence[WebUI], request: Mapping[str, Any], kind: str) -> str:
    """SHA-256, in hex, over the request and the servers' model and options. Raises UserError where they differ."""
    kept = {key: value for key, value in request.items() if key not in ("seed", "steps", "cfg_scale")}
    told = []
    for server in servers:
        options = server.asked("/sdapi/v1/options") or {}
        told.append([{name: options.get(name) for name in OPTIONS}, server.asked("/sdapi/v1/version")])
        if told[-1] != told[0]:
            raise UserError(f"{server} has another model, or other options, than {servers[0]}: make them the same")
    words = worded(str(request.get("prompt", "")), "")
    content = json.dumps([{**kept, "prompt": words}, kind, told[0]], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def merged(request: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """A request with further fields, beside what else it has in the same places."""
    found = dict(request)
    for key, value in fields.items():
        there = found.get(key)
        found[key] = {**(there if isinstance(there, dict) else {}), **value}
    return found
