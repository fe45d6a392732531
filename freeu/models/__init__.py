"""Base models: a spec says where one is and how it is run, a generator draws with it.

A new model is one YAML in configs/models; a new kind of pipeline is one file here and its rows in `.kinds`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .catalogue import names
from .changes import changed
from .lookup import load_spec
from .spec import ModelSpec

if TYPE_CHECKING:
    from freeu.generate import Generator

__all__ = ["ModelSpec", "changed", "load_generator", "load_spec", "names"]


def load_generator(
    spec: ModelSpec,
    *,
    device: str | None = None,
    dtype: str | None = None,
    vae_dtype: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    batch_size: int | None = None,
    slicing: bool = False,
    offload: bool = False,
    compiled: bool = False,
    graphs: bool = False,
) -> Generator:
    """Loads the weights of `spec`; what is None is taken from the spec or chosen for the machine.

    vae_dtype, slicing, offload, compiled, graphs: as in `freeu.models.place.Place`; nothing to a generator of one's own
    or a server.

    Raises:
        configs.UserError: the weights can't be had or read (says what was tried), or there is no such device.
    """
    said = {"steps": steps, "guidance": guidance}
    spec = spec.model_copy(update={key: value for key, value in said.items() if value is not None})
    if spec.traits.drawn == "own":
        from .own_generator import load as load_own

        return load_own(spec, device=device, dtype=dtype, batch_size=batch_size)
    if spec.traits.drawn == "server":
        from freeu.servers.opening import load as load_served

        return load_served(spec)
    from .load import choose_device, load
    from .place import Place

    place = Place(choose_device(device), dtype, batch_size, slicing, offload, compiled, vae_dtype, graphs)
    return load(spec, place)
