"""diffusers' own FreeU, as a line of Python: version 1 with stages by block is all that `enable_freeu` knows.

A factor of 0.0 there switches all four off without a word (it tests their truth): such a preset is refused.
"""

from __future__ import annotations

from . import Preset, PresetError, refuse_controls

OURS = 'use --format yaml and freeu.enable(pipe, "FILE")'


def render(preset: Preset) -> str:
    """A Python module with one function.

    Raises:
        PresetError: diffusers would do something else with these factors.
    """
    f = preset.factors
    if (f.version, f.stages) != ("v1", "block"):
        raise PresetError(
            f"diffusers' enable_freeu is version v1 with stages by block, and this preset is {f.version} by "
            f"{f.stages}: the same numbers would be another method there. In a diffusers pipeline, {OURS}; "
            "or search for diffusers with --version v1 --stages block"
        )
    refuse_controls(preset, "diffusers' enable_freeu")
    zero = [name for name in ("b1", "b2", "s1", "s2") if getattr(f, name) == 0]
    if zero:
        raise PresetError(
            f"diffusers' enable_freeu switches FreeU off when a factor is 0, as {', '.join(zero)} of this preset: "
            f"{OURS}; or choose a pick without a 0"
        )
    # !a keeps any name on its line of the comment.
    origin = f"study {preset.study!a}, pick {preset.pick!a}" if preset.study else "no study"
    return (
        f"# FreeU factors for {preset.model!a} ({origin}).\n"
        "# For diffusers alone: version 1, stages by block.\n\n\n"
        "def apply(pipe):\n"
        '    """Switches FreeU on; pipe.disable_freeu() switches it off."""\n'
        f"    pipe.enable_freeu(s1={f.s1!r}, s2={f.s2!r}, b1={f.b1!r}, b2={f.b2!r})\n"
    )
