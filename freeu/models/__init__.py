"""Base models: a spec says where one is and how it is run, a generator draws with it.

A new model is one YAML in configs/models; a new kind of pipeline is one file here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .spec import ModelSpec, load_spec, names

if TYPE_CHECKING:
    from freeu.generate import Generator

__all__ = ["ModelSpec", "load_generator", "load_spec", "names"]


def load_generator(
    spec: ModelSpec,
    *,
    device: str | None = None,
    dtype: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    batch_size: int | None = None,
) -> Generator:
    """Loads the weights of `spec`; what is None is taken from the spec or chosen for the machine.

    Raises:
        configs.UserError: the weights can't be had or read (says what was tried), or there is no such device.
    """
    if spec.kind == "own":
        from .own import load as load_own

        return load_own(spec, device=device, dtype=dtype, steps=steps, guidance=guidance, batch_size=batch_size)
    from .load import load

    return load(spec, device=device, dtype=dtype, steps=steps, guidance=guidance, batch_size=batch_size)
