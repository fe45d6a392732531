"""Whether LoRAs, embeddings, another U-Net or VAE fit a model: told from headers and configs, before weights load.

What these don't tell (pickles, and a model that is not on this machine yet) is told when it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs import UserError

from . import parts, weight_shapes
from .addons import Addon, addons, check_embedding
from .fits import check_unet
from .identity import only_variant, read_json
from .locate import at_hand
from .lora_layers import NETWORKS, TEXT_WIDTHS, layers_of
from .lora_layers import check as check_layers
from .single import header
from .spec import ModelSpec
from .weight_shapes import Shapes

EDGES = {
    "conv_in": (1, "channels"),
    "conv_out": (0, "channels"),
    "encoder_conv_in": (1, "channels"),
    "decoder_conv_in": (1, "latent channels"),
}
"""Layers of a U-Net or VAE where it meets its neighbours, and which side of their weight does."""
WORDS = "attn2_to_k"
"""Layers of a U-Net that take the text."""


def check_early(spec: ModelSpec) -> None:
    """As `check`, and of the further networks; where they and the model are on this machine. The hub is not asked."""
    if not spec.traits.here:
        return
    folder = at_hand(spec)
    parts.check_early(spec, folder)
    if folder is not None or spec.folder.is_file():
        check(spec, folder)
    else:
        for addon in addons(spec):
            if addon.flag == "--lora" and addon.place.suffix == ".safetensors":
                _check_lora(addon, 2, {network: None for network in NETWORKS})


def check(spec: ModelSpec, folder: Path | None) -> None:
    """Whether each of the spec's add-ons fits its model.

    folder: the model's, or of a single file the one that says how it is laid out, where it is known.

    Raises:
        UserError: one doesn't; names it and says what it seems to be made for.
    """
    found = addons(spec)
    if not found:
        return
    per_block = _per_block(folder)
    if spec.folder.is_file():
        networks = weight_shapes.of_file(spec.folder, per_block)
    else:
        assert folder is not None
        networks = weight_shapes.of_folder(folder, spec.variant)
    for addon in found:
        if addon.flag == "--unet":
            if folder is not None:
                check_unet(addon.place, folder)
            networks["unet"] = _another(addon, "unet", networks["unet"], per_block)
        elif addon.flag == "--vae":
            _another(addon, "vae", _vae(spec, folder), per_block)
        elif addon.place.suffix == ".safetensors":
            if addon.flag == "--lora":
                _check_lora(addon, per_block, networks)
                continue
            try:
                check_embedding(_shapes(addon), _widths(networks))
            except UserError as error:
                raise UserError(f"{addon.flag} {addon.place}: {error}") from error


def _check_lora(addon: Addon, per_block: int, networks: Mapping[str, Shapes | None]) -> None:
    """Raises UserError where it is none, or doesn't fit the networks that are known."""
    shapes = _shapes(addon)
    try:
        check_layers(layers_of(shapes, per_block), shapes, networks)
    except UserError as error:
        raise UserError(f"{addon.flag} {addon.place}: {error}") from error


def _shapes(addon: Addon) -> dict[str, Any]:
    return {name: each["shape"] for name, each in header(addon.place).items() if name != "__metadata__"}


def _per_block(folder: Path | None) -> int:
    """The U-Net's `layers_per_block`; of one that is not known, as all of Stable Diffusion's have it."""
    file = None if folder is None else folder / "unet" / "config.json"
    found: Any = read_json(file).get("layers_per_block", 2) if file is not None and file.is_file() else 2
    found = found[0] if isinstance(found, list) and found else found
    return found if isinstance(found, int) else 2


def _vae(spec: ModelSpec, folder: Path | None) -> Shapes | None:
    if spec.folder.is_file():
        return weight_shapes.of_part(spec.folder, "vae")
    assert folder is not None
    return weight_shapes.of_network(folder / "vae", spec.variant)


def _another(addon: Addon, part: str, wanted: Shapes | None, per_block: int) -> Shapes | None:
    """The layers of another U-Net or VAE. A folder's may be built otherwise between its edges; a file has no config and
    is read into the model's own network.

    Raises:
        UserError: it doesn't fit the model's other networks, or lacks layers.
    """
    if addon.place.is_dir():
        found = weight_shapes.of_network(addon.place, only_variant(addon.place))
    else:
        found = weight_shapes.of_part(addon.place, part, per_block)
    if found is None or wanted is None:
        return found
    for layer, (side, what) in EDGES.items():
        if layer in found and layer in wanted and found[layer][side] != wanted[layer][side]:
            raise UserError(
                f"{addon.flag} {addon.place} does not fit this model: its {layer} has {found[layer][side]} {what}, and "
                f"the model's {wanted[layer][side]}"
            )
    mine, theirs = _words(found), _words(wanted)
    if None not in (mine, theirs) and mine != theirs:
        raise UserError(
            f"{addon.flag} {addon.place} does not fit this model: it takes text {mine} wide{_of(mine)}, and the "
            f"model's is {theirs}{_of(theirs)}"
        )
    if addon.place.is_file():
        _check_layers(addon, part, found, wanted)
    return found


def _check_layers(addon: Addon, part: str, found: Shapes, wanted: Shapes) -> None:
    """Raises UserError where a file lacks some of a network's layers, or has them in other shapes. Of VAEs of which one
    is in the original code's layout the outer layers alone are compared."""
    outer = part == "vae" and not all(any("down_blocks_" in name for name in each) for each in (found, wanted))
    named = [name for name in wanted if not outer or name in EDGES]
    lost = [name for name in named if name not in found]
    other = [name for name in named if name in found and list(found[name]) != list(wanted[name])]
    for names, said in ((lost, "lacks"), (other, "has in other shapes")):
        if names:
            some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
            raise UserError(f"{addon.flag} {addon.place} {said} {len(names)} layers of this model's {part} ({some})")


def _words(shapes: Shapes) -> int | None:
    return next((shape[1] for name, shape in shapes.items() if name.endswith(WORDS)), None)


def _of(width: int | None) -> str:
    return f" ({TEXT_WIDTHS[width]})" if width in TEXT_WIDTHS else ""


def _widths(networks: Mapping[str, Shapes | None]) -> dict[str, int | None]:
    """Of the embeddings of each text encoder that the model has."""
    first = "encoder_layers_0_self_attn_q_proj"
    return {
        name: shapes[first][1] if shapes is not None and first in shapes else None
        for name, shapes in networks.items()
        if name != "unet"
    }
