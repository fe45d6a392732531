"""Pipelines in the true formats of Stable Diffusion and SDXL, tiny and with random weights, made in a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

TOKENS = 24
SIDE = 32
"""Pixels; latents are 8×8."""


def tokenizer() -> Any:
    """CLIP's format, with a token for each byte and no merges."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=TOKENS)


def text_config(width: int, layers: int = 2) -> Any:
    from transformers import CLIPTextConfig

    end = len(tokenizer()) - 1
    return CLIPTextConfig(
        vocab_size=end + 1,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        bos_token_id=end - 1,
        eos_token_id=end,
        pad_token_id=end,
    )


def unet(text_width: int, **more: Any) -> Any:
    from diffusers import UNet2DConditionModel

    settings: dict[str, Any] = dict(
        sample_size=8,
        block_out_channels=(8, 16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=text_width,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    return UNet2DConditionModel(**settings | more)


def vae(**more: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=SIDE,
        **more,
    )


def scheduler(**more: Any) -> Any:
    """What SD 1.x brings: PNDM, which evaluates once more than it steps."""
    from diffusers import PNDMScheduler

    return PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
        **more,
    )


def stable_diffusion(
    folder: Path, layers: int = 2, of_unet: Mapping[str, Any] | None = None, **of_scheduler: Any
) -> Path:
    """Saves a StableDiffusionPipeline in half precision, as the embedded model is."""
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    pipeline = StableDiffusionPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config(16, layers)),
        tokenizer=tokenizer(),
        unet=unet(16, **of_unet or {}),
        scheduler=scheduler(**of_scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder)
    _save_vocabulary(folder / "tokenizer")
    return folder


def ip_adapter(folder: Path, text_width: int = 16, width: int = 12, form: str = "plain", **of_unet: Any) -> Path:
    """Saves an IP-Adapter for `stable_diffusion`, and its image encoder beside it; the adapter's file.

    form: plain, plus or full-face.
    """
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(6)
    config = CLIPVisionConfig(
        hidden_size=SEEN,
        intermediate_size=16,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")

    def scale(shape: tuple[int, ...]) -> float:
        return 1.0 if form == "plain" else shape[-1] ** -0.5

    shapes = {"plain": _plain(text_width, width), "plus": _plus(text_width), "full-face": _full_face(text_width)}[form]
    state = {f"image_proj.{name}": torch.randn(shape) * scale(shape) for name, shape in shapes.items()}
    layers = unet(text_width, **of_unet)
    crossed = [name for name in layers.attn_processors if name.endswith("attn2.processor")]
    for i, name in enumerate(crossed):
        wide = layers.get_submodule(name.removesuffix(".processor")).to_k.weight.shape[0]
        for part in ("to_k_ip", "to_v_ip"):
            state[f"ip_adapter.{2 * i + 1}.{part}.weight"] = torch.randn(wide, text_width) / text_width**0.5
    save_file(state, folder / "ip-adapter.safetensors")
    return folder / "ip-adapter.safetensors"


SEEN = 16
"""Width of the layers of an IP-Adapter's image encoder."""


def _plain(text_width: int, width: int) -> dict[str, tuple[int, ...]]:
    out = 4 * text_width
    return {"proj.weight": (out, width), "proj.bias": (out,), "norm.weight": (text_width,), "norm.bias": (text_width,)}


def _full_face(text_width: int) -> dict[str, tuple[int, ...]]:
    first, last = {"weight": (SEEN, SEEN), "bias": (SEEN,)}, {"weight": (text_width, SEEN), "bias": (text_width,)}
    norm = {"weight": (text_width,), "bias": (text_width,)}
    return {f"proj.{i}.{name}": size for i, each in ((0, first), (2, last), (3, norm)) for name, size in each.items()}


def _plus(text_width: int) -> dict[str, tuple[int, ...]]:
    inner, heads = 8, 64
    found: dict[str, tuple[int, ...]] = {"latents": (1, 4, inner), "proj_in.weight": (inner, SEEN)}
    found |= {"proj_in.bias": (inner,), "proj_out.weight": (text_width, inner), "proj_out.bias": (text_width,)}
    found |= {f"norm_out.{name}": (text_width,) for name in ("weight", "bias")}
    for i in range(4):
        norms = (f"{i}.0.norm1", f"{i}.0.norm2", f"{i}.1.0")
        found |= {f"layers.{norm}.{name}": (inner,) for norm in norms for name in ("weight", "bias")}
        found |= {f"layers.{i}.0.to_q.weight": (heads, inner), f"layers.{i}.0.to_kv.weight": (2 * heads, inner)}
        found |= {f"layers.{i}.0.to_out.weight": (inner, heads)}
        found |= {f"layers.{i}.1.1.weight": (4 * inner, inner), f"layers.{i}.1.3.weight": (inner, 4 * inner)}
    return found


def inpainting(folder: Path) -> Path:
    """Saves a StableDiffusionInpaintPipeline, whose U-Net sees a mask and a picture too."""
    return _seeing("StableDiffusionInpaintPipeline", 9, folder)


def editing(folder: Path) -> Path:
    """Saves a StableDiffusionInstructPix2PixPipeline, whose U-Net sees a picture too."""
    return _seeing("StableDiffusionInstructPix2PixPipeline", 8, folder)


def _seeing(kind: str, channels: int, folder: Path) -> Path:
    import diffusers
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    pipeline = getattr(diffusers, kind)(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config(16)),
        tokenizer=tokenizer(),
        unet=unet(16, in_channels=channels),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    _save_vocabulary(folder / "tokenizer")
    return folder


def inpainting_xl(folder: Path) -> Path:
    """Saves a StableDiffusionXLInpaintPipeline: `sdxl` with a U-Net that sees a mask and a picture too."""
    from diffusers import StableDiffusionXLInpaintPipeline, StableDiffusionXLPipeline

    plain = StableDiffusionXLPipeline.from_pretrained(sdxl(folder / "plain"), variant="fp16", dtype=torch.float32)
    torch.manual_seed(1)
    parts = {**plain.components, "unet": unet(8 + 16, in_channels=9, **OF_SDXL)}
    StableDiffusionXLInpaintPipeline(**parts).save_pretrained(folder / "inpainting")
    for name in ("tokenizer", "tokenizer_2"):
        _save_vocabulary(folder / "inpainting" / name)
    return folder / "inpainting"


def mask(file: Path, side: int = 2 * SIDE, black: float = 0.5) -> Path:
    """Saves a mask that is white at the right. black: the share at the left that is not."""
    from PIL import Image

    picture = Image.new("L", (side, side), 0)
    picture.paste(255, (round(black * side), 0, side, side))
    picture.save(file)
    return file


def latent_consistency(folder: Path) -> Path:
    """Saves a LatentConsistencyModelPipeline, whose U-Net takes the guidance scale as an input."""
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    pipeline = LatentConsistencyModelPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config(16)),
        tokenizer=tokenizer(),
        unet=unet(16, time_cond_proj_dim=8),
        scheduler=LCMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    _save_vocabulary(folder / "tokenizer")
    return folder


TIMES = 8
OF_SDXL: dict[str, Any] = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": TIMES,
    "projection_class_embeddings_input_dim": 6 * TIMES + 16,
    "transformer_layers_per_block": (1, 1, 2),
    "use_linear_projection": True,
}
"""What its U-Net is told beside the words."""


def sdxl(folder: Path, layers_2: int = 2, layers: int = 2) -> Path:
    """Saves a StableDiffusionXLPipeline in half precision, under SDXL's variant "fp16"."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    pipeline = StableDiffusionXLPipeline(
        vae=vae(force_upcast=True),
        text_encoder=CLIPTextModel(text_config(8, layers)),
        text_encoder_2=CLIPTextModelWithProjection(text_config(16, layers_2)),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=unet(8 + 16, **OF_SDXL),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            timestep_spacing="leading",
            steps_offset=1,
        ),
        add_watermarker=False,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder, variant="fp16")
    for name in ("tokenizer", "tokenizer_2"):
        _save_vocabulary(folder / name)
    return folder


def modelscope(folder: Path, layers: int = 2) -> Path:
    """Saves a TextToVideoSDPipeline in half precision."""
    from diffusers import TextToVideoSDPipeline, UNet3DConditionModel
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    video = UNet3DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    pipeline = TextToVideoSDPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config(16, layers)),
        tokenizer=tokenizer(),
        unet=video,
        scheduler=scheduler(),
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder)
    _save_vocabulary(folder / "tokenizer")
    return folder


def animatediff(folder: Path, layers: int = 2) -> Path:
    """Saves an AnimateDiffPipeline: a Stable Diffusion with a motion adapter."""
    from diffusers import AnimateDiffPipeline
    from transformers import CLIPTextModel

    adapter = _motion_adapter(3)
    torch.manual_seed(0)
    pipeline = AnimateDiffPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config(16, layers)),
        tokenizer=tokenizer(),
        unet=unet(16),
        motion_adapter=adapter,
        scheduler=scheduler(),
    )
    pipeline.save_pretrained(folder)
    _save_vocabulary(folder / "tokenizer")
    return folder


def upscaler(folder: Path) -> Path:
    """Saves a StableDiffusionUpscalePipeline, whose U-Net sees a small picture too."""
    from diffusers import DDPMScheduler, StableDiffusionUpscalePipeline
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    pipeline = StableDiffusionUpscalePipeline(
        vae=vae(scaling_factor=0.08333),
        text_encoder=CLIPTextModel(text_config(16)),
        tokenizer=tokenizer(),
        unet=unet(16, in_channels=7, num_class_embeds=1000),
        low_res_scheduler=DDPMScheduler(beta_schedule="scaled_linear"),
        scheduler=scheduler(),
    )
    pipeline.save_pretrained(folder)
    _save_vocabulary(folder / "tokenizer")
    return folder


def refiner(folder: Path) -> Path:
    """Saves a StableDiffusionXLImg2ImgPipeline: SDXL's refiner, with one text encoder and a sense of beauty."""
    from diffusers import StableDiffusionXLImg2ImgPipeline
    from transformers import CLIPTextModelWithProjection

    torch.manual_seed(1)
    times = 8
    pipeline = StableDiffusionXLImg2ImgPipeline(
        vae=vae(),
        text_encoder=None,
        text_encoder_2=CLIPTextModelWithProjection(text_config(16)),
        tokenizer=None,
        tokenizer_2=tokenizer(),
        unet=unet(
            16,
            addition_embed_type="text_time",
            addition_time_embed_dim=times,
            projection_class_embeddings_input_dim=5 * times + 16,
            use_linear_projection=True,
        ),
        scheduler=scheduler(),
        requires_aesthetics_score=True,
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder)
    _save_vocabulary(folder / "tokenizer_2")
    return folder


def controlnet(folder: Path, seed: int = 2, text_width: int = 16, **of_unet: Any) -> Path:
    """Saves a ControlNet for `stable_diffusion`, its zero convolutions made otherwise, so that edges count."""
    from diffusers import ControlNetModel

    torch.manual_seed(seed)
    network = ControlNetModel.from_unet(unet(text_width, **of_unet), conditioning_embedding_out_channels=(4, 8, 8))
    with torch.no_grad():
        for layer in (*network.controlnet_down_blocks, network.controlnet_mid_block):
            layer.weight.normal_(std=0.5)
        network.controlnet_cond_embedding.conv_out.weight.normal_(std=0.5)
    network.save_pretrained(folder)
    return folder


OUTER_ATTENTION: dict[str, Any] = {
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
}
"""Where Stable Diffusion's own U-Net has its attention, which is where a T2I-Adapter adds."""


def t2i_adapter(folder: Path, seed: int = 7, xl: bool = False, channels: int = 3, blocks: int = 1) -> Path:
    """Saves a T2I-Adapter for `stable_diffusion` with attention as OUTER_ATTENTION, or for `sdxl`."""
    from diffusers import T2IAdapter

    torch.manual_seed(seed)
    kind = {"adapter_type": "full_adapter_xl", "channels": (8, 16, 32, 32), "downscale_factor": 8}
    plain = {"adapter_type": "full_adapter", "channels": (8, 16, 32), "downscale_factor": 4}
    network = T2IAdapter(in_channels=channels, num_res_blocks=blocks, **(kind if xl else plain))
    with torch.no_grad():
        network.adapter.conv_in.weight.mul_(20)  # so that it counts
    network.save_pretrained(folder)
    return folder


def _motion_adapter(seed: int, **more: Any) -> Any:
    from diffusers import MotionAdapter

    torch.manual_seed(seed)
    return MotionAdapter(
        block_out_channels=(8, 16, 32),
        motion_layers_per_block=1,
        motion_norm_num_groups=4,
        motion_num_attention_heads=2,
        motion_max_seq_length=8,
        **more,
    )


def motion_adapter(folder: Path, seed: int = 3, xl: bool = False) -> Path:
    """Saves a motion adapter for `stable_diffusion`, or for `sdxl`."""
    _motion_adapter(seed, **{"use_motion_mid_block": False} if xl else {}).save_pretrained(folder)
    return folder


def stable_video(folder: Path) -> Path:
    """Saves a StableVideoDiffusionPipeline."""
    from diffusers import (
        AutoencoderKLTemporalDecoder,
        EulerDiscreteScheduler,
        StableVideoDiffusionPipeline,
        UNetSpatioTemporalConditionModel,
    )
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    width = 16
    pipeline = StableVideoDiffusionPipeline(
        vae=AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 3,
            layers_per_block=1,
            sample_size=SIDE,
            force_upcast=True,
        ),
        image_encoder=CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=width,
                intermediate_size=width,
                projection_dim=width,
                num_hidden_layers=1,
                num_attention_heads=2,
                image_size=224,
                patch_size=56,
            )
        ),
        unet=UNetSpatioTemporalConditionModel(
            sample_size=8,
            block_out_channels=(32, 64, 128),
            down_block_types=(
                "CrossAttnDownBlockSpatioTemporal",
                "CrossAttnDownBlockSpatioTemporal",
                "DownBlockSpatioTemporal",
            ),
            up_block_types=(
                "UpBlockSpatioTemporal",
                "CrossAttnUpBlockSpatioTemporal",
                "CrossAttnUpBlockSpatioTemporal",
            ),
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24,
            layers_per_block=1,
            cross_attention_dim=width,
            num_attention_heads=(2, 2, 4),
            num_frames=3,
        ),
        scheduler=EulerDiscreteScheduler(
            prediction_type="v_prediction",
            timestep_type="continuous",
            use_karras_sigmas=True,
            sigma_min=0.002,
            sigma_max=700.0,
        ),
        feature_extractor=CLIPImageProcessor(crop_size=224, size={"shortest_edge": 224}),
    )
    pipeline.save_pretrained(folder)
    return folder


def clip_of_a_ball(folder: Path, frames: int = 7, side: int = 2 * SIDE) -> Path:
    """Saves the frames of a bright disc that moves to the right over a dark ground."""
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True)
    for i in range(frames):
        picture = Image.new("RGB", (side, side), (30, 40, 60))
        ImageDraw.Draw(picture).ellipse((4 + 5 * i, 20, 24 + 5 * i, 40), fill=(250, 200, 80))
        picture.save(folder / f"frame{i}.png")
    return folder


def _save_vocabulary(folder: Path) -> None:
    tokenizer().backend_tokenizer.model.save(str(folder))  # vocab.json and merges.txt, as the real ones have
