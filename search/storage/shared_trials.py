"""Packs a trial's files into attributes of Optuna's trial, for machines that don't share a disk."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from search.storage.trial_record import TrialRecord

if TYPE_CHECKING:
    import pandas as pd

RECORD, SCORES, FEATURES = "record", "scores", "features"


def packed_table(table: pd.DataFrame) -> str:
    """Per-image scores as JSON, to the bit: where images don't differ from seed to seed, a last digit would count as a
    shift."""
    return json.dumps(table.astype(object).where(table.notna(), None).to_dict(orient="split"))


def unpacked_table(text: str) -> pd.DataFrame:
    """The inverse of `packed_table`."""
    import pandas as pd

    # Without `dtype` a prompt that looks like a number or a date would become one.
    return pd.read_json(io.StringIO(text), orient="split", dtype=False, precise_float=True)


def packed(
    record: TrialRecord, per_image: pd.DataFrame | None = None, features: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """The attributes; the record's the last, so where it is the others are."""
    found = {}
    if per_image is not None:
        found[SCORES] = packed_table(per_image)
    if features:
        stream = io.BytesIO()
        np.savez_compressed(stream, **dict(features))
        found[FEATURES] = base64.b64encode(stream.getvalue()).decode()
    return {**found, RECORD: json.dumps(record.as_dict())}


def unpacked(attrs: Mapping[str, Any]) -> tuple[TrialRecord, pd.DataFrame | None, dict[str, np.ndarray]]:
    """The inverse of `packed`."""
    record = TrialRecord.from_dict(json.loads(attrs[RECORD]))
    table = unpacked_table(attrs[SCORES]) if SCORES in attrs else None
    if FEATURES not in attrs:
        return record, table, {}
    with np.load(io.BytesIO(base64.b64decode(attrs[FEATURES]))) as kept:
        return record, table, dict(kept)
