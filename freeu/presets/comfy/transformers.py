"""Models without skip connections, told by the nodes that only they are used with: FreeU would do nothing there.

Diffusion transformers (Flux, SD 3, Wan, Hunyuan, LTX, Qwen, …) and Stable Cascade; the names are those of ComfyUI's own
nodes (github.com/comfyanonymous/ComfyUI: comfy_extras, nodes.py) and of the wrappers of video models.
"""

from __future__ import annotations

import re

from .graph import Graph, Key, Node, Output

NODES = re.compile(
    r"ModelSampling(Flux|SD3|AuraFlow|LTXV|StableCascade)"
    r"|CLIPTextEncode(Flux|SD3|HunyuanDiT|HiDream|Lumina2|PixArtAlpha|Kandinsky5)|TextEncode(Qwen|Hunyuan|ZImage)\w*"
    r"|Empty(SD3|Hunyuan|LTXV|Mochi|Cosmos|Flux|Qwen|Chroma)\w*|(Triple|Quadruple)CLIPLoader\w*"
    r"|(Flux|Wan|WanVideo|Hunyuan|HunyuanVideo|HyVideo|LTXV|Mochi|CogVideo|Cosmos|StableCascade|PixArt|HiDream|Lumina"
    r"|Nunchaku|QwenImage)[A-Z0-9_]\w*"
)
TEXT_LOADER = re.compile(r"(Dual)?CLIPLoader(GGUF|MultiGPU)*")
TEXT_TYPES = frozenset(
    (
        *("sd3", "flux", "flux2", "wan", "hunyuan_video", "hunyuan_video_15", "hunyuan_image", "ltxv", "pixart"),
        *("cosmos", "lumina2", "hidream", "chroma", "qwen_image", "mochi", "stable_cascade", "omnigen2", "newbie"),
        *("kandinsky5", "kandinsky5_image", "ovis", "longcat_image"),
    )
)
"""What a loader of text encoders is set to for them."""


def marked(node: Node) -> bool:
    """Whether a node is used with such models alone."""
    if TEXT_LOADER.fullmatch(node.kind):
        return not TEXT_TYPES.isdisjoint(node.texts)
    return NODES.fullmatch(node.kind) is not None


def found(graph: Graph) -> dict[Output, Key]:
    """The sources of such models, and for each one node that tells.

    A node that tells is behind the model, or before a node that samples with it, but not before the picture or latent
    that such a node begins from: that may be another model's.
    """
    marks = {key: key for key, node in graph.nodes.items() if marked(node)}
    touched = graph.after(marks, lambda link: not (link.kind == "picture" and link.source in graph.fed))
    sampling = {key: mark for key, mark in touched.items() if key in graph.fed}
    before = graph.before(sampling | marks, graph.carries)
    return {source: before[source[0]] for source in graph.sources if source[0] in before}
