"""IP-Adapter (Ye et al., arXiv 2308.06721): a picture as a further prompt, read by attention of its own in the U-Net.

The file is one of github.com/tencent-ailab/IP-Adapter's in safetensors; the image encoder that it was trained with
stands beside it, as there: `image_encoder/`, or `models/image_encoder/` of the folder above.
"""

from __future__ import annotations

from pathlib import Path

from configs import UserError

from . import identity, inputs
from .control import weighted
from .single import header
from .spec import ModelSpec

READS = (
    ("image_proj.proj.weight", "image_proj.proj.weight", "projection_dim"),
    ("image_proj.proj_in.weight", "image_proj.proj_in.weight", "hidden_size"),
    ("image_proj.proj.3.weight", "image_proj.proj.0.weight", "hidden_size"),
)
"""Of the plain adapters, those called plus, and full-face: the tensor that tells them, the one whose inputs are what
the encoder gives, and how its config names the width of that: of its embeddings, or of its last layer."""
FACES = "image_proj.proj.0.weight"
"""Of FaceID, which has none of these."""


def check(spec: ModelSpec) -> None:
    """Whether an adapter has its pictures, told before anything loads.

    Raises:
        UserError: something is missing, is no adapter, or means nothing to this model.
    """
    if spec.ip_adapter is None:
        if spec.ip_image or spec.ip_images:
            raise UserError("a picture as a prompt goes with an IP-Adapter: give one with --ip-adapter FILE")
        return
    if not spec.traits.ip_adapter or spec.refiner:
        raise UserError(f"--ip-adapter goes with images of Stable Diffusion and SDXL, and {spec.name} is {spec.kind}")
    encoder(spec)
    if not spec.ip_image and not spec.ip_images:
        raise UserError(
            "--ip-adapter has no picture to read: give --ip-image FILE, or a column 'ip_image' of the prompt set"
        )
    for file in pictures(spec):
        if not file.is_file():
            raise UserError(f"the picture {file} of the IP-Adapter: no such file")
    if spec.ip_image:
        inputs.picture(spec.base / spec.ip_image)


def place_of(spec: ModelSpec) -> tuple[Path, float]:
    """(file, weight) of the adapter."""
    text, weight = weighted(str(spec.ip_adapter), "--ip-adapter")
    return spec.base / text, weight


def pictures(spec: ModelSpec) -> list[Path]:
    """Those that the images depend on."""
    texts = ([spec.ip_image] if spec.ip_image else []) + list(spec.ip_images.values())
    return [spec.base / text for text in texts] if spec.ip_adapter else []


def files(spec: ModelSpec) -> list[Path]:
    """What the adapter is loaded from, and its pictures, for the identity of the model."""
    if spec.ip_adapter is None:
        return []
    folder = encoder(spec)
    return [place_of(spec)[0], folder / "config.json", *identity.weights(folder), *pictures(spec)]


def encoder(spec: ModelSpec) -> Path:
    """The folder of the image encoder that the adapter was trained with, told by the width of its embeddings.

    Raises:
        UserError: the file is no IP-Adapter, or there is no such encoder.
    """
    file, _ = place_of(spec)
    found = header(file) if file.suffix == ".safetensors" and file.is_file() else {}
    told = next(((found[given]["shape"][-1], named) for mark, given, named in READS if mark in found), None)
    if told is None and (FACES in found or "faceid" in file.name.lower()):
        raise UserError(
            f"--ip-adapter {file} is a FaceID: it reads no picture but embeddings of faces, by insightface's models, "
            "which are not for commercial use; give ip-adapter-plus-face or ip-adapter-full-face, which read a picture"
        )
    if not found:
        raise UserError(f"--ip-adapter {file}: expected a .safetensors file")
    if told is None or not any(name.startswith("ip_adapter.") for name in found):
        raise UserError(f"--ip-adapter {file} is no IP-Adapter: it has no tensors image_proj and ip_adapter")
    width, named = told
    tried = [file.parent / "image_encoder", file.parent.parent / "models" / "image_encoder"]
    for folder in tried:
        config = folder / "config.json"
        if config.is_file() and identity.read_json(config).get(named) == width:
            return folder
    shown = " and ".join(map(str, tried))
    raise UserError(f"--ip-adapter {file}: its image encoder, of {named} {width}, is not beside it (looked in {shown})")


def lines(spec: ModelSpec) -> list[str]:
    """For the plan."""
    if spec.ip_adapter is None:
        return []
    file, weight = place_of(spec)
    read = f"{len(spec.ip_images)} pictures" if spec.ip_images else Path(str(spec.ip_image)).name
    return [f"ip-adapter  {file.name} at {weight:g}, reading {read}"]
