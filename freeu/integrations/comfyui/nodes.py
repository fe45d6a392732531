"""The node: loads a preset of ours, puts its FreeU on a model, and shows what its study's verdict was.

Version, stages, schedule, channel window and threshold act as they do in `freeu.applied`. The node's form is ComfyUI's
(https://docs.comfy.org/custom-nodes/backend/server_overview).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from freeu.integrations.model_patch import OutputBlockPatch
from freeu.presets import Preset, PresetError, read

FOLDER = "freeu"
"""Below ComfyUI's models: where presets lie."""


class FreeUPreset:
    """A model with the FreeU of a preset; and, as text, what is known of it."""

    CATEGORY = "model_patches/unet"
    RETURN_TYPES = ("MODEL", "STRING")
    RETURN_NAMES = ("model", "verdict")
    FUNCTION = "patch"
    OUTPUT_NODE = True  # so that the verdict is shown
    DESCRIPTION = "FreeU as a preset of freeu-search has it: its version, stages, schedule, window and threshold."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """ComfyUI's form of a node's inputs."""
        return {"required": {"model": ("MODEL",), "preset": (_presets(),)}}

    @classmethod
    def IS_CHANGED(cls, model: Any, preset: str) -> float:
        """A preset's file that was written anew is read anew."""
        return _file(preset).stat().st_mtime

    def patch(self, model: Any, preset: str) -> dict[str, Any]:
        """The model is cloned, and the one that was given stays as it is. Raises UserError."""
        found = read(_file(preset))
        config = model.model.model_config.unet_config
        if "model_channels" not in config:
            raise PresetError("this model has no U-Net of Stable Diffusion's kind: it has no skips for FreeU to act on")
        levels, blocks = len(config.get("channel_mult", ())), config.get("num_res_blocks", ())
        each = (blocks,) * levels if isinstance(blocks, int) else tuple(blocks)
        patched = model.clone()
        patched.set_model_output_block_patch(OutputBlockPatch(found.factors, config["model_channels"], each))
        said = told(found)
        return {"ui": {"text": [said]}, "result": (patched, said)}


def told(preset: Preset) -> str:
    """The verdict of the preset's study, or else its held-out differences."""
    verdict = getattr(preset, "verdict", None)
    if verdict:
        return str(verdict)
    shown = []
    for name, score in preset.scores.items():
        difference, low, high = (score.get(key) for key in ("difference", "low", "high"))
        if difference is not None:
            interval = f" [{low:+.3g}, {high:+.3g}]" if low is not None and high is not None else ""
            shown.append(f"{name} {difference:+.3g}{interval}")
    if shown:
        return f"Minus the baseline, on held-out prompts of {preset.model}: {', '.join(shown)}"
    return f"{preset.title}: nothing is known of how it scores on held-out prompts"


def _presets() -> list[str]:
    import folder_paths

    if FOLDER not in folder_paths.folder_names_and_paths:
        folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir, FOLDER)))
        paths, _ = folder_paths.folder_names_and_paths[FOLDER]
        folder_paths.folder_names_and_paths[FOLDER] = (paths, {".yaml", ".yml"})
    return list(folder_paths.get_filename_list(FOLDER))


def _file(preset: str) -> Path:
    import folder_paths

    found = folder_paths.get_full_path(FOLDER, preset)
    if found is None:
        raise PresetError(f"there is no preset {preset!r} in ComfyUI's models/{FOLDER}")
    return Path(found)


NODE_CLASS_MAPPINGS = {"FreeUPreset": FreeUPreset}
NODE_DISPLAY_NAME_MAPPINGS = {"FreeUPreset": "FreeU (preset)"}
