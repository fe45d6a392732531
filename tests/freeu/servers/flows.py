"""Workflows in API format after the structures that people use, each with the bindings that are right in it.

An input that is a tuple comes from another node: (id, output). Classes and inputs are those of ComfyUI's own nodes and
of the usual custom ones (Impact Pack, Efficiency Nodes, Easy Use, rgthree, IP-Adapter plus, Ultimate SD Upscale).
"""

from __future__ import annotations

from typing import Any

Flow = dict[str, tuple[str, dict[str, Any]]]
P, N = "a cat on a mat", "ugly, blurry"


def api(flow: Flow) -> dict[str, Any]:
    """As ComfyUI exports it."""
    return {
        key: {
            "class_type": kind,
            "inputs": {name: list(value) if isinstance(value, tuple) else value for name, value in inputs.items()},
            "_meta": {"title": f"my {kind}"},
        }
        for key, (kind, inputs) in flow.items()
    }


def sampler(seed: int = 1, model: Any = ("4", 0), latent: Any = ("5", 0), **more: Any) -> tuple[str, dict[str, Any]]:
    inputs = {"model": model, "positive": ("6", 0), "negative": ("7", 0), "latent_image": latent, "seed": seed}
    kept = {"steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    return "KSampler", {**inputs, **kept, **more}


def text(value: Any, clip: Any = ("4", 1)) -> tuple[str, dict[str, Any]]:
    return "CLIPTextEncode", {"text": value, "clip": clip}


def plain(**changes: Any) -> Flow:
    """ComfyUI's default workflow. changes: nodes by id, with n before it: n3=(…); None takes one out."""
    flow: Flow = {
        "3": sampler(),
        "4": ("CheckpointLoaderSimple", {"ckpt_name": "sd15.safetensors"}),
        "5": ("EmptyLatentImage", {"width": 512, "height": 768, "batch_size": 1}),
        "6": text(P),
        "7": text(N),
        "8": ("VAEDecode", {"samples": ("3", 0), "vae": ("4", 2)}),
        "9": ("SaveImage", {"filename_prefix": "ComfyUI", "images": ("8", 0)}),
    }
    flow |= {key[1:]: node for key, node in changes.items() if node is not None}
    return {key: node for key, node in flow.items() if changes.get(f"n{key}", node) is not None}


def lora(model: str, number: int) -> tuple[str, dict[str, Any]]:
    named = {"lora_name": f"l{number}.safetensors", "strength_model": 0.8, "strength_clip": 0.8}
    return "LoraLoader", {"model": (model, 0), "clip": (model, 1), **named}


def advanced(model: str, positive: str, negative: str, latent: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    inputs = {"model": (model, 0), "positive": (positive, 0), "negative": (negative, 0), "latent_image": latent}
    kept = {"steps": 25, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal", "noise_seed": 5, **more}
    return "KSamplerAdvanced", {"add_noise": "enable", "return_with_leftover_noise": "enable", **inputs, **kept}


def alike(node: str) -> dict[str, str]:
    """Where a second sampler has the first one's sampler and scheduler."""
    return {"sampler": f"3.sampler_name {node}.sampler_name", "scheduler": f"3.scheduler {node}.scheduler"}


FACE = {
    **{"model": ("4", 0), "clip": ("4", 1), "vae": ("4", 2), "positive": ("6", 0), "negative": ("7", 0), "seed": 3},
    **{"bbox_detector": ("20", 0), "steps": 12, "cfg": 5.0, "sampler_name": "euler", "scheduler": "normal"},
    **{"image": ("8", 0), "wildcard": "", "guide_size": 512.0, "denoise": 0.4},
}
ULTIMATE = {
    **{"image": ("8", 0), "model": ("4", 0), "positive": ("6", 0), "negative": ("7", 0), "vae": ("4", 2), "seed": 9},
    **{"upscale_model": ("20", 0), "upscale_by": 2.0, "steps": 20, "cfg": 7.0, "sampler_name": "euler"},
    **{"scheduler": "normal", "denoise": 0.2, "tile_width": 512, "tile_height": 512},
}
CUSTOM: Flow = {
    "3": (
        "SamplerCustomAdvanced",
        {"noise": ("30", 0), "guider": ("31", 0), "sampler": ("32", 0), "sigmas": ("33", 0), "latent_image": ("5", 0)},
    ),
    "30": ("RandomNoise", {"noise_seed": 4}),
    "31": ("CFGGuider", {"model": ("4", 0), "positive": ("6", 0), "negative": ("7", 0), "cfg": 6.0}),
    "32": ("KSamplerSelect", {"sampler_name": "dpmpp_2m"}),
    "33": ("BasicScheduler", {"model": ("4", 0), "scheduler": "karras", "steps": 30, "denoise": 1.0}),
}
XL = {"width": 1024, "height": 1024, "crop_w": 0, "crop_h": 0, "target_width": 1024, "target_height": 1024}
CASES: dict[str, tuple[Flow, dict[str, str]]] = {
    "plain": (plain(), {"freeu": "4"}),
    "LoRA chain": (
        plain(n10=lora("4", 1), n11=lora("10", 2), n3=sampler(model=("11", 0)), n6=text(P, ("11", 1))),
        {"freeu": "4"},
    ),
    "clip skip": (
        plain(n10=("CLIPSetLastLayer", {"clip": ("4", 1), "stop_at_clip_layer": -2}), n6=text(P, ("10", 0))),
        {"clip_skip": "10.stop_at_clip_layer"},
    ),
    "FreeU before LoRA": (
        plain(
            n10=("FreeU_V2", {"model": ("4", 0), "b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2}),
            n3=sampler(model=("10", 0)),
        ),
        {"freeu": "10"},
    ),
    "second pass": (
        plain(
            n10=("LatentUpscaleBy", {"samples": ("3", 0), "upscale_method": "nearest-exact", "scale_by": 1.5}),
            n11=sampler(2, latent=("10", 0), steps=10, denoise=0.5),
            n8=("VAEDecode", {"samples": ("11", 0), "vae": ("4", 2)}),
        ),
        {"seed": "3.seed 11.seed", "steps": "3.steps", "guidance": "3.cfg 11.cfg", **alike("11")},
    ),
    "second pass with another model": (
        plain(
            n10=("CheckpointLoaderSimple", {"ckpt_name": "other.safetensors"}),
            n11=sampler(2, model=("10", 0), latent=("3", 0), cfg=5.0),
            n8=("VAEDecode", {"samples": ("11", 0), "vae": ("4", 2)}),
        ),
        {"seed": "3.seed 11.seed", "guidance": "3.cfg", "steps": "3.steps 11.steps", "freeu": "4 10", **alike("11")},
    ),
    "ControlNet": (
        plain(
            n10=("ControlNetLoader", {"control_net_name": "canny.safetensors"}),
            n11=("LoadImage", {"image": "edges.png"}),
            n12=(
                "ControlNetApplyAdvanced",
                {"positive": ("6", 0), "negative": ("7", 0), "control_net": ("10", 0), "image": ("11", 0)},
            ),
            n3=sampler(positive=("12", 0), negative=("12", 1)),
        ),
        {},
    ),
    "ControlNet of the old kind": (
        plain(
            n10=("ControlNetLoader", {"control_net_name": "canny.safetensors"}),
            n11=("LoadImage", {"image": "edges.png"}),
            n12=(
                "ControlNetApply",
                {"conditioning": ("6", 0), "control_net": ("10", 0), "image": ("11", 0), "strength": 0.8},
            ),
            n13=("PreviewImage", {"images": ("11", 0)}),
            n3=sampler(positive=("12", 0)),
        ),
        {},
    ),
    "SDXL refiner": (
        plain(
            n10=("CheckpointLoaderSimple", {"ckpt_name": "refiner.safetensors"}),
            n11=text(P, ("10", 1)),
            n12=text(N, ("10", 1)),
            n3=advanced("4", "6", "7", ("5", 0), start_at_step=0, end_at_step=20),
            n13=advanced("10", "11", "12", ("3", 0), start_at_step=20, end_at_step=10000, add_noise="disable"),
            n8=("VAEDecode", {"samples": ("13", 0), "vae": ("10", 2)}),
        ),
        {
            **{"prompt": "6.text 11.text", "negative": "7.text 12.text", "seed": "3.noise_seed 13.noise_seed"},
            **{"steps": "3.steps 13.steps", "guidance": "3.cfg 13.cfg", "freeu": "4 10", **alike("13")},
        },
    ),
    "SDXL dual prompts": (
        plain(
            n6=("CLIPTextEncodeSDXL", {"text_g": P, "text_l": "cat, mat", "clip": ("4", 1), **XL}),
            n7=("CLIPTextEncodeSDXL", {"text_g": N, "text_l": N, "clip": ("4", 1), **XL}),
        ),
        {"prompt": "6.text_g 6.text_l", "negative": "7.text_g 7.text_l"},
    ),
    "prompt in a node of its own": (
        plain(n10=("PrimitiveStringMultiline", {"value": P}), n6=text(("10", 0))),
        {"prompt": "10.value"},
    ),
    "one prompt for two encoders": (
        plain(
            n10=("PrimitiveString", {"value": P}),
            n6=("CLIPTextEncodeSDXL", {"text_g": ("10", 0), "text_l": ("10", 0), "clip": ("4", 1), **XL}),
        ),
        {"prompt": "10.value"},
    ),
    "concatenated prompt with one part": (
        plain(
            n10=("Text Concatenate", {"delimiter": ", ", "text_a": ("11", 0), "text_b": ""}),
            n11=("Text Multiline", {"text": P}),
            n6=text(("10", 0)),
        ),
        {"prompt": "11.text"},
    ),
    "wildcards": (
        plain(
            n10=(
                "ImpactWildcardProcessor",
                {
                    "wildcard_text": "a __pet__",
                    "populated_text": P,
                    "mode": "populate",
                    "seed": 8,
                    "Select to add": "-",
                },
            ),
            n6=text(("10", 0)),
        ),
        {"prompt": "10.wildcard_text 10.populated_text", "seed": "10.seed 3.seed"},
    ),
    "styler": (
        plain(
            n10=("SDXLPromptStyler", {"text_positive": P, "text_negative": N, "style": "base", "log_prompt": "No"}),
            n6=text(("10", 0)),
            n7=text(("10", 1)),
        ),
        {"prompt": "10.text_positive", "negative": "10.text_negative"},
    ),
    "face detailer": (
        plain(
            n20=("UltralyticsDetectorProvider", {"model_name": "face.pt"}),
            n21=("FaceDetailer", FACE),
            n9=("SaveImage", {"filename_prefix": "x", "images": ("21", 0)}),
            n22=("PreviewImage", {"images": ("8", 0)}),
        ),
        {"image": "21.0", "seed": "21.seed 3.seed", "steps": "3.steps", "guidance": "3.cfg", **alike("21")},
    ),
    "IP-Adapter": (
        plain(
            n10=("IPAdapterUnifiedLoader", {"model": ("4", 0), "preset": "PLUS (high strength)"}),
            n11=("LoadImage", {"image": "style.png"}),
            n12=(
                "IPAdapter",
                {
                    "model": ("10", 0),
                    "ipadapter": ("10", 1),
                    "image": ("11", 0),
                    "weight": 0.8,
                    "weight_type": "standard",
                },
            ),
            n3=sampler(model=("12", 0)),
        ),
        {"freeu": "4"},
    ),
    "upscaler": (
        plain(
            n20=("UpscaleModelLoader", {"model_name": "4x.pth"}),
            n21=("ImageUpscaleWithModel", {"upscale_model": ("20", 0), "image": ("8", 0)}),
            n9=("SaveImage", {"filename_prefix": "x", "images": ("21", 0)}),
        ),
        {"image": "21.0"},
    ),
    "upscaler that samples": (
        plain(
            n20=("UpscaleModelLoader", {"model_name": "4x.pth"}),
            n21=("UltimateSDUpscale", ULTIMATE),
            n9=("SaveImage", {"filename_prefix": "x", "images": ("21", 0)}),
        ),
        {
            **{"image": "21.0", "seed": "21.seed 3.seed", "steps": "21.steps 3.steps", "guidance": "21.cfg 3.cfg"},
            **alike("21"),
        },
    ),
    "reroutes": (
        plain(
            n10=("Reroute", {"": ("6", 0)}),
            n11=("Reroute (rgthree)", {"any": ("4", 0)}),
            n3=sampler(positive=("10", 0), model=("11", 0)),
        ),
        {"freeu": "4"},
    ),
    "seed node": (
        plain(n10=("Seed (rgthree)", {"seed": 42}), n3=sampler(("10", 0))),  # type: ignore[arg-type]
        {"seed": "10.seed"},
    ),
    "numbers in nodes of their own": (
        plain(
            n10=("PrimitiveInt", {"value": 512}),
            n11=("PrimitiveInt", {"value": 20}),
            n12=("PrimitiveFloat", {"value": 7.0}),
            n5=("EmptyLatentImage", {"width": ("10", 0), "height": ("10", 0), "batch_size": 1}),
            n3=sampler(steps=("11", 0), cfg=("12", 0)),
        ),
        {"width": "10.value", "height": "10.value", "steps": "11.value", "guidance": "12.value"},
    ),
    "custom sampling": (
        plain(**{f"n{key}": node for key, node in CUSTOM.items()}),
        {
            **{"seed": "30.noise_seed", "guidance": "31.cfg", "steps": "33.steps", "sampler": "32.sampler_name"},
            **{"scheduler": "33.scheduler"},
        },
    ),
    "subgraph": (
        {
            **{key: node for key, node in plain().items() if key not in "38"},
            "12:3": sampler(model=("4", 0)),
            "12:8": ("VAEDecode", {"samples": ("12:3", 0), "vae": ("4", 2)}),
            "9": ("SaveImage", {"filename_prefix": "x", "images": ("12:8", 0)}),
        },
        {
            **{"seed": "12:3.seed", "steps": "12:3.steps", "guidance": "12:3.cfg", "image": "12:8.0"},
            **{"sampler": "12:3.sampler_name", "scheduler": "12:3.scheduler"},
        },
    ),
    "two groups, one switched off": (
        plain(
            n30=text("a dog of an old group"),
            n31=("PreviewImage", {"images": ("32", 0)}),
            n32=("LoadImage", {"image": "x"}),
        ),
        {},
    ),
    "regions with one text each and the prompt in both": (
        plain(
            n10=text(P),
            n11=("ConditioningSetArea", {"conditioning": ("10", 0), "width": 64, "height": 64, "x": 0, "y": 0}),
            n12=("ConditioningCombine", {"conditioning_1": ("6", 0), "conditioning_2": ("11", 0)}),
            n3=sampler(positive=("12", 0)),
        ),
        {"prompt": "10.text 6.text"},
    ),
    "empty negative": (
        plain(n7=("ConditioningZeroOut", {"conditioning": ("6", 0)})),
        {"negative": ""},
    ),
    "Efficiency nodes": (
        {
            "1": (
                "Efficient Loader",
                {
                    **{"ckpt_name": "sd15.safetensors", "vae_name": "Baked VAE", "clip_skip": -1, "positive": P},
                    **{"negative": N, "empty_latent_width": 512, "empty_latent_height": 512, "batch_size": 1},
                },
            ),
            "2": (
                "KSampler (Efficient)",
                {
                    **{
                        "model": ("1", 0),
                        "positive": ("1", 1),
                        "negative": ("1", 2),
                        "latent_image": ("1", 3),
                        "seed": 2,
                    },
                    **{
                        "optional_vae": ("1", 4),
                        "steps": 20,
                        "cfg": 7.0,
                        "sampler_name": "euler",
                        "scheduler": "normal",
                    },
                },
            ),
            "9": ("SaveImage", {"filename_prefix": "x", "images": ("2", 5)}),
        },
        {
            **{
                "prompt": "1.positive",
                "negative": "1.negative",
                "seed": "2.seed",
                "steps": "2.steps",
                "guidance": "2.cfg",
            },
            **{"image": "2.5", "width": "", "height": "", "freeu": "1", "sampler": "2.sampler_name"},
            "scheduler": "2.scheduler",
        },
    ),
    "pipe of the Impact Pack": (
        plain(
            n10=(
                "ToBasicPipe",
                {"model": ("4", 0), "clip": ("4", 1), "vae": ("4", 2), "positive": ("6", 0), "negative": ("7", 0)},
            ),
            n3=(
                "ImpactKSamplerBasicPipe",
                {
                    **{"basic_pipe": ("10", 0), "latent_image": ("5", 0), "seed": 1, "steps": 20, "cfg": 7.0},
                    **{"sampler_name": "euler", "scheduler": "normal", "denoise": 1.0},
                },
            ),
            n8=("VAEDecode", {"samples": ("3", 1), "vae": ("4", 2)}),
        ),
        {"freeu": "4"},
    ),
    "image to image": (
        plain(
            n10=("LoadImage", {"image": "start.png"}),
            n5=("VAEEncode", {"pixels": ("10", 0), "vae": ("4", 2)}),
            n3=sampler(denoise=0.6),
        ),
        {"width": "", "height": ""},
    ),
    "AnimateDiff": (
        plain(
            n10=(
                "ADE_AnimateDiffLoaderGen1",
                {"model": ("4", 0), "model_name": "mm.ckpt", "beta_schedule": "autoselect"},
            ),
            n5=("EmptyLatentImage", {"width": 512, "height": 768, "batch_size": 16}),
            n3=sampler(model=("10", 0)),
            n9=("VHS_VideoCombine", {"images": ("8", 0), "frame_rate": 8, "format": "video/h264-mp4"}),
        ),
        {"freeu": "4", "frames": "16"},
    ),
    "batch of four": (
        plain(n5=("EmptyLatentImage", {"width": 512, "height": 768, "batch_size": 4})),
        {"frames": "1"},
    ),
    "U-Net loader": (
        plain(
            n4=("UNETLoader", {"unet_name": "u.safetensors", "weight_dtype": "default"}),
            n10=("CLIPLoader", {"clip_name": "c.safetensors", "type": "stable_diffusion"}),
            n11=("VAELoader", {"vae_name": "v.safetensors"}),
            n6=text(P, ("10", 0)),
            n7=text(N, ("10", 0)),
            n8=("VAEDecode", {"samples": ("3", 0), "vae": ("11", 0)}),
        ),
        {"freeu": "4"},
    ),
}
"""By structure: the workflow, and the places of each role where they are not those of the default workflow."""
DEFAULT = {
    **{"prompt": "6.text", "negative": "7.text", "seed": "3.seed", "guidance": "3.cfg", "steps": "3.steps"},
    **{"sampler": "3.sampler_name", "scheduler": "3.scheduler", "width": "5.width", "height": "5.height"},
    **{"image": "8.0", "frames": "1", "clip_skip": ""},
}
QUESTIONS: dict[str, tuple[Flow, str]] = {
    "two regions": (
        plain(
            n10=text("a dog"),
            n12=("ConditioningCombine", {"conditioning_1": ("6", 0), "conditioning_2": ("10", 0)}),
            n3=sampler(positive=("12", 0)),
        ),
        r"prompt=10.text \('a dog'\), prompt=6.text \('a cat on a mat'\)|"
        r"prompt=6.text \('a cat on a mat'\), prompt=10.text \('a dog'\)",
    ),
    "two pieces": (
        plain(
            n10=("StringConcatenate", {"string_a": "masterpiece", "string_b": P, "delimiter": ", "}), n6=text(("10", 0))
        ),
        "prompt=10.string_a .*prompt=10.string_b",
    ),
    "two images": (
        plain(
            n23=sampler(4),
            n28=("VAEDecode", {"samples": ("23", 0), "vae": ("4", 2)}),
            n29=("SaveImage", {"filename_prefix": "y", "images": ("28", 0)}),
        ),
        "several images.*image=29 .*image=9 ",
    ),
    "no text": (
        plain(n6=("LoadConditioning", {"file": "x.cond"}), n7=("LoadConditioning", {"file": "y.cond"})),
        "no text of the workflow",
    ),
    "no image": (
        plain(n9=None, n8=("SaveLatent", {"samples": ("3", 0), "filename_prefix": "x"})),
        "ends with no image",
    ),
    "no seed": (plain(n3=("SomeSampler", {"model": ("4", 0), "positive": ("6", 0), "noise": ("5", 0)})), "has no seed"),
    "transformer": (
        plain(
            n4=("UNETLoader", {"unet_name": "flux.safetensors", "weight_dtype": "default"}),
            n10=("DualCLIPLoader", {"clip_name1": "a", "clip_name2": "b", "type": "flux"}),
            n6=text(P, ("10", 0)),
            n7=text(N, ("10", 0)),
        ),
        "without skip connections",
    ),
    "FreeU in both versions": (
        plain(
            n10=("FreeU", {"model": ("4", 0), "b1": 1.1, "b2": 1.2, "s1": 0.9, "s2": 0.2}),
            n11=("FreeU_V2", {"model": ("4", 0), "b1": 1.1, "b2": 1.2, "s1": 0.9, "s2": 0.2}),
            n3=sampler(model=("10", 0)),
            n13=sampler(model=("11", 0), latent=("3", 0)),
            n8=("VAEDecode", {"samples": ("13", 0), "vae": ("4", 2)}),
        ),
        "FreeU and FreeU_V2",
    ),
}
"""By structure: the workflow, and what is asked or refused."""
