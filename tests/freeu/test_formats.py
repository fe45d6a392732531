"""Every tool's format: written so that the tool reads these factors, read back the same, or refused with the reason.

The validators restate the tools' own reading, from their public code: keys, order, ranges, types.
"""

from __future__ import annotations

import ast
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from configs import UserError
from freeu import presets
from freeu.controls import Controls
from freeu.factors import Factors
from freeu.presets import Preset, PresetError
from freeu.presets.tool import NUMBERS

ROUND = (
    "yaml",
    "diffusers",
    "comfyui",
    "sdwebui",
    "sdwebui_api",
    "forge",
    "forge_api",
    "fooocus",
    "invokeai",
    "sdnext",
)
V2, V1 = Factors(1.3, 1.4, 0.9, 0.2), Factors(1.2, 1.4, 0.9, 0.2, version="v1", stages="block")
QUIET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)

number = st.sampled_from([0.0, -0.0, 5e-324, 1e-7, 1.0, 2.0, 3.0, 10.0, -1.0]) | st.floats(-1, 10) | st.floats(1, 2)
share = st.sampled_from([0.0, 0.1, 0.5])
controls = st.just(Controls()) | st.builds(
    Controls, start=share, stop=st.sampled_from([0.7, 1.0]), smooth=share,
    offset=share, width=st.sampled_from([0.5, 0.25]),
    high=st.sampled_from([1.0, (1.0, 0.9, 1.1)]), b3=st.sampled_from([1.0, 0.9]), s3=st.sampled_from([1.0, 0.0]),
    threshold=st.sampled_from([1, 2]), symmetric=st.booleans(),
)  # fmt: skip
factors = st.builds(
    Factors,
    number,
    number,
    number,
    number,
    st.sampled_from(["v1", "v2"]),
    st.sampled_from(["width", "block"]),
    controls,
)
names = st.text(st.characters(), max_size=40) | st.sampled_from(
    ["../../etc/passwd", "</script><b>", "\"'`", "\u202eevil", "a\x00b\n", "x" * 10_000, "", "C:\\x"]
)


def validate(format: str, text: str, f: Factors) -> None:
    """What the tool would make of the text is the factors."""
    four = [f.b1, f.b2, f.s1, f.s2]
    if format == "comfyui":
        ((_, node),) = json.loads(text).items()
        assert node["class_type"] == {"v1": "FreeU", "v2": "FreeU_V2"}[f.version] and f.stages == "width"
        assert [node["inputs"][name] for name in NUMBERS] == four and all(0 <= each <= 10 for each in four)
        assert node["inputs"]["model"] == ["4", 0]
    elif format in ("sdwebui", "sdwebui_api"):
        found = json.loads(text)
        api = format == "sdwebui_api"
        ((name, one),) = [("-", found["alwayson_scripts"]["freeu"]["args"][0])] if api else found.items()
        assert name and name.isprintable() and one.pop("enable", None) is (True if api else None)
        assert set(one) == {"start_ratio", "stop_ratio", "transition_smoothness", "version", "stage_infos"}
        assert isinstance(one["start_ratio"], float) and isinstance(one["stop_ratio"], float)
        assert one["version"] == f.version[1:] and isinstance(one["version"], str) and f.stages == "width"
        assert len(one["stage_infos"]) == 3
        stage: dict[str, Any] = {"backbone_factor": 1.0, "skip_factor": 1.0, "backbone_offset": 0.0}
        stage |= {"backbone_width": 0.5, "skip_cutoff": 0.0, "skip_high_end_factor": 1.0}
        whole = [stage | each for each in one["stage_infos"]]
        assert all(set(each) == set(stage) for each in whole)
        assert [(each["backbone_factor"], each["skip_factor"], each["skip_high_end_factor"]) for each in whole] == [
            f.of(n) for n in (1, 2, 3)
        ]
        assert all(-1 <= each["backbone_factor"] <= 3 and -1 <= each["skip_factor"] <= 3 for each in whole)
        assert [each["backbone_width"] for each in whole] == [f.controls.of(n, "width") for n in (1, 2, 3)]
    elif format in ("forge", "forge_api"):
        space: dict[str, Any] = {}
        if format == "forge":
            exec(text, space)
            ((name, *rest),) = space["presets_custom"]
            assert isinstance(name, str) and name
        else:
            on, *rest = json.loads(text)["alwayson_scripts"]["FreeU Integrated (SD 1.x, SD 2.x, SDXL)"]["args"]
            assert on is True
        assert rest == [*four, f.controls.start, f.controls.stop] and (f.version, f.stages) == ("v2", "width")
    elif format == "fooocus":
        value = json.loads(text)["freeu"]
        assert isinstance(value, str) and list(ast.literal_eval(value)) == four
        assert (f.version, f.stages) == ("v2", "width") and max(four[:2]) <= 2 and max(four) <= 4 and min(four) >= 0
    else:
        assert (f.version, f.controls) == ("v1", Controls())
        if format != "refiners":
            assert f.stages == "block" and all(four)  # diffusers tests the truth of each factor
        if format == "diffusers":
            calls: dict[str, float] = {}
            exec(text, space := {})
            space["apply"](SimpleNamespace(enable_freeu=lambda **given: calls.update(given)))
            assert [calls[name] for name in NUMBERS] == four
        elif format == "invokeai":
            node = json.loads(text)["freeu"]
            assert node == {"id": "freeu", "type": "freeu", **dict(zip(NUMBERS, four, strict=True))}
            assert all(-1 <= each <= 3 for each in four)
        elif format == "sdnext":
            options = json.loads(text)
            assert options == {"freeu_enabled": True, **{f"freeu_{k}": v for k, v in zip(NUMBERS, four, strict=True)}}


@QUIET
@pytest.mark.parametrize("format", ROUND)
@given(factors=factors, model=names, study=names)
def test_what_is_written_is_what_the_tool_reads_and_what_comes_back(
    tmp_path: Path, format: str, factors: Factors, model: str, study: str
) -> None:
    preset = Preset(factors, model, study=study or None, pick="knee")
    fits = Factors(1.5, 1.25, abs(factors.s1) % 1 or 0.5, 0.75, factors.version, factors.stages, factors.controls)
    for each in (preset, replace(preset, factors=fits)):
        try:
            text = presets.render(each, format)
        except PresetError as error:
            assert "--format yaml" in str(error)  # what can be done
            continue
        if format != "yaml":
            validate(format, text, each.factors)
        file = tmp_path / ("p.yaml" if format == "yaml" else "p.txt")
        file.write_text(text, "utf-8")
        assert presets.read(file).factors == each.factors


@pytest.mark.parametrize("format", presets.FORMATS)
def test_each_format_takes_what_is_its_own(format: str) -> None:
    own = V1 if format in ("diffusers", "invokeai", "sdnext", "refiners") else V2
    assert presets.render(Preset(own, "sdxl"), format)
    chosen = presets.module(format)
    assert Path(chosen.FILE).name == chosen.FILE and chosen.PLACE


@pytest.mark.parametrize("format, wrong, said", [
    ("forge", replace(V2, version="v1"), "version v2"),
    ("forge", replace(V2, b1=2.5), "b1 = 2.5"),
    ("forge", replace(V2, controls=Controls(smooth=0.5)), "sets smooth besides"),
    ("fooocus", replace(V2, s1=-0.5), "s1 = -0.5"),
    ("fooocus", replace(V2, controls=Controls(stop=0.5)), "sets stop besides"),
    ("sdwebui", replace(V2, stages="block"), "by block"),
    ("sdwebui", replace(V2, controls=Controls(threshold=2)), "sets threshold besides"),
    ("sdwebui", replace(V2, b2=3.5), "b2 = 3.5"),
    ("sdwebui", replace(V2, controls=Controls(b3=4)), "b3 = 4"),
    ("invokeai", replace(V1, s2=0.0), "when a factor is 0, as s2"),
    ("invokeai", V2, "--version v1 --stages block"),
    ("sdnext", replace(V1, b1=0.9), "b1 = 0.9"),
    ("sdnext", replace(V1, s1=0.0), "when a factor is 0"),
    ("refiners", V2, "--version v1"),
])  # fmt: skip
def test_what_a_tool_cannot_honour_is_refused(format: str, wrong: Factors, said: str) -> None:
    with pytest.raises(PresetError, match=said) as error:
        presets.render(Preset(wrong, "m"), format)
    assert "--format yaml" in str(error.value)


@pytest.mark.parametrize("stages, sites, first, second", [
    ("width", 12, 7, 3), ("block", 12, 3, 3), ("width", 9, 4, 3), ("block", 9, 3, 3),
])  # fmt: skip
def test_refiners_counts_the_concatenations_as_our_own_sites(
    monkeypatch: pytest.MonkeyPatch, stages: Any, sites: int, first: int, second: int
) -> None:
    """12 is SD 1 and 2, 9 SDXL; the numbers are those of freeu.md: they differ at 7 of 12 and at 2 of 9."""
    seen: dict[str, Any] = {}

    class Adapter:
        def __init__(self, unet: Any, **scales: Any) -> None:
            assert len(scales["backbone_scales"]) == len(scales["skip_scales"]) <= len(unet.UpBlocks)
            seen.update(scales)

        def inject(self) -> None: ...

    module = ModuleType("refiners.foundationals.latent_diffusion.freeu")
    module.SDFreeUAdapter = Adapter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    space: dict[str, Any] = {}
    exec(presets.render(Preset(replace(V1, stages=stages), "m"), "refiners"), space)
    space["apply"](SimpleNamespace(UpBlocks=[None] * sites))
    assert seen == {"backbone_scales": [1.2] * first + [1.4] * second, "skip_scales": [0.9] * first + [0.2] * second}


def test_a_presets_json_keeps_what_it_held_and_has_a_backup(tmp_path: Path) -> None:
    file = tmp_path / "presets.json"
    before = {"mine": {"start_ratio": 0.0, "unknown": [1]}, "sunday knee": {"old": 1}}
    file.write_text(json.dumps(before))
    preset = Preset(V2, "m", study="sunday", pick="knee")
    backup = presets.write(preset, file, "sdwebui")
    after = json.loads(file.read_text())
    assert after["mine"] == before["mine"] and after["sunday knee"]["version"] == "2"
    assert backup is not None and json.loads(backup.read_text()) == before
    assert presets.write(preset, file, "sdwebui") is None  # nothing new, no second backup
    assert presets.write(replace(preset, pick="best-clip"), file, "sdwebui") == tmp_path / "presets.json.bak1"
    assert sorted(presets.read_all(tmp_path / "presets.json")) == ["sunday best-clip", "sunday knee"]
    with pytest.raises(PresetError, match="name one of"):
        presets.read(file)
    assert presets.read(file, "sunday knee").factors == V2


@pytest.mark.parametrize("format, held", [("sdwebui", "[1, 2"), ("sdwebui", "[]"), ("sdnext", "no"),
                                          ("forge", "import os\npresets_custom = []\n")])  # fmt: skip
def test_a_file_that_cannot_be_merged_into_stays(tmp_path: Path, format: str, held: str) -> None:
    file = tmp_path / "shared"
    file.write_text(held)
    with pytest.raises(PresetError, match="shared"):
        presets.write(Preset(V1 if format == "sdnext" else V2, "m"), file, format)
    assert file.read_text() == held and len(list(tmp_path.iterdir())) == 1


EXTENSION = (
    "a cat, Steps: none\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, Model: dream, "
    'FreeU Stages: "[{\\"backbone_factor\\": 1.2, \\"skip_factor\\": 0.9}, '
    '{\\"backbone_factor\\": 1.4, \\"skip_factor\\": 0.2}]", '
    'FreeU Schedule: "0.0, 0.7, 0.0", Version: v1.6.0'
)
FORGE = (
    "a cat\nSteps: 20, Model: dream, freeu_enabled: True, freeu_b1: 1.3, freeu_b2: 1.4, freeu_s1: 0.9, freeu_s2: 0.2"
)


@pytest.mark.parametrize("text, wanted", [
    (EXTENSION, Factors(1.2, 1.4, 0.9, 0.2, "v1", controls=Controls(stop=0.7))),
    (EXTENSION.replace("0.7, 0.0", "0.7, 0.0, 2"), Factors(1.2, 1.4, 0.9, 0.2, "v2", controls=Controls(stop=0.7))),
    (FORGE, V2),
    (FORGE + ", freeu_start: 0, freeu_end: 0.5", replace(V2, controls=Controls(stop=0.5))),
    ('a\nSteps: 30, Model: dream, FreeU: "(1.3, 1.4, 0.9, 0.2)", Version: Fooocus v2.5', V2),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["txt", "png", "jpg"])
def test_settings_are_read_from_text_and_from_images(tmp_path: Path, text: str, wanted: Factors, kind: str) -> None:
    file = tmp_path / f"image.{kind}"
    if kind == "txt":
        file.write_text(text)
    elif kind == "png":
        info = PngInfo()
        info.add_text("parameters", text)
        Image.new("RGB", (8, 8)).save(file, pnginfo=info)
    else:
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
        Image.new("RGB", (8, 8)).save(file, exif=exif)
    preset = presets.read(file)
    assert (preset.factors, preset.model) == (wanted, "dream")


@pytest.mark.parametrize("text, said", [
    ("Steps: 20, Sampler: Euler", "holds no settings of FreeU"),
    ("", "holds no settings of FreeU"),
    ("[" * 100_000, "holds no settings of FreeU"),
    (EXTENSION.replace("0.0, 0.7", "0.0, 14"), "number of a step"),
    (EXTENSION.replace("skip_factor", "skip_facto"), "skip_facto"),
    (FORGE.replace("freeu_b2: 1.4", "freeu_b2: NaN"), "b2 is nan"),
    (FORGE.replace("freeu_b2: 1.4, ", ""), "freeu_b2"),
    ('{"freeu": "(1, 2)"}', "expected \\(b1, b2, s1, s2\\)"),
    ('{"freeu": "__import__(1)"}', "expected \\(b1, b2, s1, s2\\)"),
    ('{"x": {"stage_infos": [{"skip_cutoff": 0.5}]}}', "skip_cutoff"),
    ('{"x": {"stage_infos": 3}}', "stage_infos"),
    ('{"1": {"class_type": "FreeU", "inputs": {"b1": 1}}}', "lack b2"),
    ("pipe.enable_freeu(b1=x, b2=1, s1=1, s2=1)", "no plain numbers"),
    ("a " * 50_000, "holds no settings of FreeU"), ("a: " * 30_000, "holds no settings of FreeU"),
    ("\x89PNG", "settings can't be read: it is none of PNG"),
])  # fmt: skip
def test_what_cannot_be_read_is_told(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "settings"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(Exception, match=said) as error:
        presets.read(file)
    assert isinstance(error.value, UserError) and "settings" in str(error.value)


@QUIET
@given(text=st.text())
def test_no_text_breaks_the_readers(tmp_path: Path, text: str) -> None:
    file = tmp_path / "any"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError):
        presets.read(file)
