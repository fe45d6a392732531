"""What `hostile.py` reads: for each kind a sound file, damaged, and how a command reads it."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from benchmarks import mutations

Read = Callable[[], object]


def yaml(place: Path, rng: Random) -> Read:
    """As --config, --space, --model and --from-file."""
    from configs import path, read_yaml
    from freeu import presets
    from freeu.models import load_spec
    from search.optimizer import space_file
    from search.settings import reading

    factors = {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2, "version": "v2", "stages": "width"}
    scores = {"clip": {"value": 0.3, "n": 8}}
    preset = {"freeu_preset": 1, "model": "m", "study": "s", "factors": factors, "scores": scores}
    ranges = {
        "b1": [1, 2], "s1": {"low": 0.1, "high": 1, "log": True}, "version": ["v1", "v2"], "start": 0.1,
        "b3": {"low": 1, "high": 2, "when": {"version": "v1"}},
    }  # fmt: skip
    readers: list[tuple[Any, Callable[[Path], object]]] = [
        (_settings(), lambda file: reading.load(file, {})),
        (ranges, lambda file: space_file.load(file, "v2", "width")),
        (read_yaml(path("models", "shapes.yaml")), lambda file: load_spec(str(file))),
        (preset, presets.read_all),
    ]
    content, read = rng.choice(readers)
    file = _file(place / "a.yaml", mutations.as_yaml(content, rng))
    return lambda: read(file)


def json_(place: Path, rng: Random) -> Read:
    """Prompts, another tool's presets, and a pipeline's folder."""
    from freeu import presets
    from freeu.models import identity, load_spec

    texts = [{"prompt": f"a cat {number}", "category": "x"} for number in range(4)]
    which = rng.randrange(4)
    if which == 0:
        return _prompts(
            place, "json", mutations.as_json(rng.choice([texts, {"images": [], "annotations": texts}]), rng)
        )
    if which == 1:
        return _prompts(place, "jsonl", b"\n".join(mutations.as_json(each, rng) for each in texts))
    if which == 2:
        stages = {"name": {"version": "2", "stage_infos": [{"backbone_factor": 1.3, "skip_factor": 0.9}, {}]}}
        file = _file(place / "presets.json", mutations.as_json(rng.choice([stages, {"freeu_b1": 1.3}]), rng))
        return lambda: presets.read_all(file)
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "X"], "scheduler": ["diffusers", "Y"]}
    _file(place / "model_index.json", mutations.as_json(index, rng))
    for part, config in ("unet", {"cross_attention_dim": 768, "sample_size": 8}), ("vae", {"block_out_channels": [8]}):
        _file(place / part / "config.json", mutations.as_json(config, rng) if rng.random() < 0.5 else b"{}")
    return lambda: (load_spec(str(place)), identity.layout(place))


def csv(place: Path, rng: Random) -> Read:
    """Tables and lines of prompts."""
    suffix, delimiter = rng.choice([("csv", ","), ("tsv", "\t"), ("txt", " ")])
    rows = [delimiter.join([f'"a ""cat"" {number}"', "animals"]) for number in range(6)]
    content = "\n".join([f"prompt{delimiter}category", *rows]).encode()
    return _prompts(place, suffix, mutations.raw(content, rng))


def parquet(place: Path, rng: Random) -> Read:
    """Prompts in parquet: of other types, or damaged as bytes."""
    import pyarrow
    from pyarrow.parquet import write_table

    rows = [{"prompt": f"a cat {number}", "category": "x" if number % 2 else None} for number in range(20)]
    stream, as_data = io.BytesIO(), rng.random() < 0.5
    try:
        write_table(pyarrow.Table.from_pylist(mutations.data(rows, rng) if as_data else rows), stream)
    except (
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        OverflowError,
        NotImplementedError,
    ):  # no table has such rows
        write_table(pyarrow.Table.from_pylist(rows), stream := io.BytesIO())
        as_data = False
    content = stream.getvalue()
    return _prompts(place, "parquet", content if as_data else mutations.raw(content, rng))


def safetensors(place: Path, rng: Random) -> Read:
    """A checkpoint of a single file."""
    from freeu.models import single
    from freeu.models.noising import noising

    key = single.TEXT_KEYS.format(1)
    header = {
        "__metadata__": {"modelspec.prediction_type": "v"},
        "v_pred": {"dtype": "F32", "shape": [0], "data_offsets": [16, 16]},
        key: {"dtype": "F16", "shape": [2, 4], "data_offsets": [0, 16]},
    }  # fmt: skip
    file = _file(place / "a.safetensors", mutations.safetensors(header, bytes(16), rng))
    return lambda: (single.nearest(file), noising(file))


def image(place: Path, rng: Random, suffix: str) -> Read:
    """Settings in an image, an image to begin from, one to score, one for a page."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from freeu import presets
    from freeu.models import inputs, load_spec
    from metrics import images
    from search.reporting import embedded_images

    stream, note = io.BytesIO(), PngInfo()
    note.add_text("parameters", "a\nSteps: 2, freeu_b1: 1.3, freeu_b2: 1.4, freeu_s1: 0.9, freeu_s2: 0.2")
    picture = Image.frombytes("RGB", (24, 16), rng.randbytes(24 * 16 * 3)).convert(
        rng.choice(["RGB", "RGBA", "L", "P"])
    )
    picture.save(stream, suffix, **({"pnginfo": note} if suffix == "png" else {}))
    content = (mutations.png if suffix == "png" else mutations.raw)(stream.getvalue(), rng)
    file = _file(place / f"a.{suffix}", content)
    spec = load_spec("shapes").model_copy(update={"input": str(file), "base": place})
    readers: list[Read] = [
        lambda: presets.read_all(file),
        lambda: inputs.load(spec, "", (8, 8)),
        lambda: images.decoded("a", content),
        lambda: embedded_images.embedded({"a": file}, 10_000),
    ]
    return rng.choice(readers)


def workflow(place: Path, rng: Random) -> Read:
    """As --workflow, and as --from-file."""
    from freeu.factors import Factors
    from freeu.presets import Preset, comfyui, workflow

    kinds = ["UNETLoader", "LoraLoader", "Reroute", "SetNode", "GetNode", "FreeU_V2", "KSampler", "ab-cd", "Everywhere"]
    chosen = ["UNETLoader", *(rng.choice(kinds) for _ in range(rng.randint(1, 6)))]
    text = mutations.as_json(rng.choice([_api, _saved])(chosen), rng).decode("utf-8", "replace")
    preset = Preset(Factors(1.3, 1.4, 0.9, 0.2), "m")
    readers: list[Read] = [lambda: workflow.patch(preset, text), lambda: comfyui.parse(text)]
    return rng.choice(readers)


def study(place: Path, rng: Random) -> Read:
    """A study with one file damaged, in the commands that read it."""
    from typer.testing import CliRunner

    from search import compare, export, report, show, studies

    shutil.copytree(_sound_study(), place, dirs_exist_ok=True)
    folder = place / "studies" / "sunday"
    file = rng.choice(sorted(each for each in folder.rglob("*") if each.is_file()))
    content = file.read_bytes()
    as_data = file.suffix == ".json" and rng.random() < 0.8
    file.write_bytes(mutations.as_json(json.loads(content), rng) if as_data else mutations.raw(content, rng))
    commands: list[tuple[Any, ...]] = [
        (show, "sunday"), (studies,), (export, "--study", "sunday"), (compare, "sunday", "sunday"),
        (report, "--study", "sunday"),
    ]  # fmt: skip
    command, *given = rng.choice(commands)

    def run() -> None:
        done = CliRunner().invoke(command.app, [*given, "--mlruns", str(place)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception

    return run


KINDS: dict[str, Callable[[Path, Random], Read]] = {
    "yaml": yaml, "json": json_, "safetensors": safetensors, "png": lambda place, rng: image(place, rng, "png"),
    "webp": lambda place, rng: image(place, rng, "webp"), "csv": csv, "parquet": parquet, "workflow": workflow,
    "study": study,
}  # fmt: skip


def _file(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def _prompts(place: Path, suffix: str, content: bytes) -> Read:
    from search.settings.prompts import load

    file = _file(place / f"prompts.{suffix}", content)
    return lambda: load(str(file))


def _api(kinds: list[str]) -> dict[str, Any]:
    """Nodes in a row."""
    nodes = enumerate(kinds, 1)
    return {str(i): {"class_type": kind, "inputs": {"model": [str(i - 1), 0], "b1": 1.0}} for i, kind in nodes}


def _saved(kinds: list[str]) -> dict[str, Any]:
    slot = {"name": "model", "type": "MODEL"}
    nodes: list[dict[str, Any]] = [
        {"id": i, "type": kind, "pos": [0, 0], "widgets_values": ["a"], "properties": {}}
        | {"inputs": [{**slot, "link": i - 1}] if i > 1 else [], "outputs": [{**slot, "links": [i]}]}
        for i, kind in enumerate(kinds, 1)
    ]
    links = [[i, i, 0, i + 1, 0, "MODEL"] for i in range(1, len(kinds))]
    inner = {"id": "ab-cd", "name": "in", "inputNode": {"id": -10}, "outputNode": {"id": -20}, "nodes": [], "links": []}
    return {"nodes": nodes, "links": links, "definitions": {"subgraphs": [inner]}, "last_node_id": 9, "last_link_id": 9}


@cache
def _sound_study() -> Path:
    """The folder of a study that is whole, made once."""
    from tests.search import made

    place = Path(tempfile.mkdtemp())
    made.study(place, prompts=4, trials=4, side=8)
    return place


@cache
def _settings() -> dict[str, Any]:
    """Every setting with its default, as a YAML has it."""
    from search.settings.config import StudyConfig

    return StudyConfig().model_dump(mode="json")
