"""Studies whose images a server draws: the plan, a whole study, its resume, and settings that can't be."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from configs import UserError, read_yaml
from freeu import IDENTITY
from freeu.models import load_generator
from freeu.servers import comfyui, pool
from search.evaluation.loading import assemble, load_parts
from search.figures import analyse
from search.session import run_study
from search.settings.config import StudyConfig
from search.settings.job import prepare
from search.settings.reading import load
from search.storage import StudyFolder
from search.study.plan import plan
from tests.comfyui_server import ComfyServer, workflow
from tests.webui_server import WebUIServer


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((pool, "LOOK"), (pool, "BEAT"), (comfyui, "LONG")):
        monkeypatch.setattr(module, name, 0.01)


def settings(folder: Path, server: str, nodes: Any = None, **more: Any) -> StudyConfig:
    file = folder / "flow.json"
    file.write_text(json.dumps(nodes or workflow()))
    given = {"model": f"comfyui:{file}", "servers": (server,), "mlruns": folder / "mlruns", "trials": 3, "limit": 4}
    own = {"held_out": 4, "objectives": ("tests.own_metric:Redness",), "guardrails": False, "device": "cpu"}
    return load(None, {**given, **own, **more})


def run(config: StudyConfig) -> str:
    out = io.StringIO()
    run_study(config, Console(file=out, width=200))
    return out.getvalue()


def test_a_whole_study_and_its_resume_refused_where_the_server_changed(tmp_path: Path) -> None:
    with ComfyServer() as server:
        config = settings(tmp_path, server.url.replace("//", "//me:secret@"))
        said = run(config)
        assert "bound       prompt = CLIPTextEncode (node 6) text: 'a cat'" in said
        assert "FreeU goes behind CheckpointLoaderSimple (node 4)" in said
        folder = StudyFolder(tmp_path / "mlruns", "flow")
        records = folder.read_trials()
        assert [record.state for record in records] == ["COMPLETE"] * 3 and records[0].factors.identity
        assert "secret" not in folder.config.read_text() + said
        assert read_yaml(folder.config)["fingerprint"]["bind"][0] == "prompt=6.text"
        server.state.version = "0.4"
        with pytest.raises(UserError, match=r"begun with other settings .*weights"):
            run(config.model_copy(update={"trials": 4}))


def test_a_dry_run_draws_nothing(tmp_path: Path) -> None:
    with ComfyServer() as server:
        (line,) = [each for each in plan(prepare(settings(tmp_path, server.url))).lines() if each.startswith("model")]
        assert "comfyui, 16×16, 4 steps, guidance 3, Euler linspace, a negative prompt, drawn by" in line
        assert f"drawn by {server.url}, scored on cpu" in line
        assert not server.state.submitted
        changed = plan(prepare(settings(tmp_path, server.url, steps=9, guidance=2.0)))
        assert "9 steps, guidance 2" in changed.lines()[1]


def test_sampling_settings_of_a_study_go_into_the_workflow(tmp_path: Path) -> None:
    given = {"steps": 9, "guidance": 2.0, "scheduler": "DPM++ 2M Karras", "negative_prompt": "dull"}
    with ComfyServer() as server:
        job = prepare(settings(tmp_path, server.url, **given))
        generator = load_generator(job.spec)
        generator.generate(["x"], [0], IDENTITY)
        (sent,) = [json.loads(each) for each in server.state.executed]
        found = [sent["3"]["inputs"][name] for name in ("steps", "cfg", "sampler_name", "scheduler")]
        assert [*found, sent["7"]["inputs"]["text"]] == [9, 2.0, "dpmpp_2m", "karras", "dull"]
        load_generator(prepare(settings(tmp_path, server.url, scheduler="default")).spec).generate(["x"], [0], IDENTITY)
        own = json.loads(list(server.state.executed)[-1])["3"]["inputs"]
        assert (own["sampler_name"], own["scheduler"]) == ("euler", "normal")
        with pytest.raises(UserError, match="no eta was found in the workflow"):
            prepare(settings(tmp_path, server.url, eta=0.5))


@pytest.mark.parametrize(("given", "said"), [
    ({"vae": "x"}, "--vae means nothing to --model comfyui:"),
    ({"loras": ("x",)}, "--lora means nothing"),
    ({"compile": True}, "--compile means nothing"),
    ({"stages": "block"}, "--stages width alone"),
    ({"bind": ("prompt=7.txt",)}, "did you mean 'text'"),
])  # fmt: skip
def test_settings_that_a_server_has_no_use_for(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with ComfyServer() as server, pytest.raises(UserError, match=said):
        prepare(settings(tmp_path, server.url, **given))


def test_the_version_and_the_space_are_the_nodes(tmp_path: Path) -> None:
    old = workflow(model=["10", 0])
    old["10"] = {"class_type": "FreeU", "inputs": {"model": ["4", 0], "b1": 1.2, "b2": 1.2, "s1": 0.5, "s2": 0.5}}
    space = tmp_path / "space.yaml"
    space.write_text("b1: [1, 2]\nb2: [1, 2]\ns1: [0, 1]\ns2: [0, 1]\nstart: [0.1, 0.5]\n")
    with ComfyServer() as server:
        with pytest.raises(UserError, match="--version v1 alone, and the study asks for v2"):
            prepare(settings(tmp_path, server.url, old))
        assert prepare(settings(tmp_path, server.url, old, version="v1")).spec.kind == "comfyui"
        with pytest.raises(UserError, match="has no start: take it out of the space"):
            prepare(settings(tmp_path, server.url, space=str(space)))


def test_a_web_ui_is_a_model_too(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"prompt": "{prompt}, best", "steps": 4, "width": 16, "height": 16}))
    with WebUIServer() as server:
        config = settings(tmp_path, server.url, model=f"webui:{file}", trials=2)
        job = prepare(config)
        assert "FreeU: Forge's own FreeU" in " ".join(plan(job).lines())
        generator = assemble(load_parts, job).by_purpose["search"].generator
        assert generator.generate(job.prompts, range(4), IDENTITY).shape == (4, 3, 16, 16)
        assert generator.unet_evaluations(4) == 32
        assert all(request["prompt"].endswith(", best") for request in server.state.requests)


def test_the_analysis_needs_a_unet(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="into which no hooks reach"):
        analyse(load(None, {"model": "comfyui:x.json", "mlruns": tmp_path}), Console())


@pytest.mark.parametrize("given", [{"servers": ("http://x",)}, {"bind": ("prompt=1.text",)}])
def test_servers_go_with_their_models_alone(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="goes with --model comfyui:FILE"):
        prepare(load(None, {"mlruns": tmp_path, **given}))
