"""ComfyUI's node "FreeU (preset)": drop this folder into custom_nodes, and presets (YAML) into models/freeu.

ComfyUI imports it by its path; the package `freeu` has to be installed in ComfyUI's environment (requirements.txt).
"""

from __future__ import annotations

try:
    from freeu.integrations.comfyui.nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
except ImportError as error:
    raise ImportError(
        f"FreeU (preset) needs the package freeu in ComfyUI's Python: pip install freeu ({error})"
    ) from error

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
