"""FID's Inception v3: torch-fidelity's port of the TensorFlow network, by torchmetrics."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from configs import UserError, identity

from .encoders import Encoder
from .hub import SECONDS_TO_ANSWER
from .preprocessing import fitted


def load_inception(spec: Mapping[str, Any], device: str, models: Path) -> Encoder:
    """The encoder of {kind: inception[, weights]}; see `metrics.encoders.encoder`. Raises UserError."""
    from torchmetrics.image.fid import NoTrainInceptionV3

    given = spec.get("weights")
    weights = None if given is None else models / Path(given).expanduser()
    if weights is not None and not weights.is_file():
        raise UserError(f"Inception's weights {weights} are no file")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_TO_ANSWER)  # torch's download has no limit of its own
    try:
        if weights is not None:
            torch.load(weights, map_location="cpu", weights_only=True)  # torch-fidelity would run a pickle's code
        model = NoTrainInceptionV3("inception-v3-compat", ["2048"], None if weights is None else str(weights))
    except ModuleNotFoundError as error:
        raise UserError(f"Inception needs the package torch-fidelity: pip install torch-fidelity ({error})") from error
    except Exception as error:  # a download's or a file's, each with its own class
        raise UserError(
            f"Inception's weights can't be had from {weights or 'their release on GitHub'} ({type(error).__name__}: "
            f"{error}); download torch-fidelity's file, name it: fid: {{encoder: {{kind: inception, weights: FILE}}}}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    model.to(device).requires_grad_(False)
    label = "inception-v3-compat" if weights is None else f"inception:{identity(weights)}"
    fit = partial(fitted, size=(299, 299))
    return Encoder("Inception v3", label, lambda part: model(fit(part).to(device)), fit=fit)
