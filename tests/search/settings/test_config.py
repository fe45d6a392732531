from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from configs import UserError
from search import run
from search.optimizer.space_file import default
from search.settings import sampling
from search.settings.config import FIELDS
from search.settings.fingerprints import check_same, fingerprint
from search.settings.job import prepare
from search.settings.reading import load


def test_defaults_hold_every_field_and_a_file_then_flags_win(tmp_path: Path) -> None:
    assert load(None, {}).trials == 64
    assert load(None, {}).objectives is None  # the model's
    assert prepare(load(None, {"mlruns": tmp_path})).config.objectives == ("clip", "aesthetic", "fid")
    file = tmp_path / "s.yaml"
    file.write_text("trials: 7\nbatch_size: 3\nobjectives: [clip]\n")
    config = load(file, {"trials": 9, "seed": None, "guidance": 0.0})
    assert (config.trials, config.batch_size, config.objectives, config.seed) == (9, 3, ("clip",), 0)
    assert config.guidance == 0.0  # zero is a number, not "not given"


def test_settings_that_may_be_given_several_times_have_both_names(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("lora: a.safetensors\nfrom: [one, two]\nmlruns: ~/x\n")
    found = load(tmp_path / "a.yaml", {})
    assert found.loras == ("a.safetensors",) and found.start_from == ("one", "two")
    assert found.mlruns == Path.home() / "x"


@pytest.mark.parametrize("name", ["a%20b", "a?b"])
def test_a_results_folder_that_databases_take_for_another_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the path of a results folder can't contain"):
        prepare(load(None, {"mlruns": tmp_path / name}))


def test_a_flag_repeats_where_its_help_says_so() -> None:
    import typer

    from search import run

    options = [each for each in typer.main.get_command(run.app).params if each.name in FIELDS]
    assert {each.name: each.multiple for each in options} == {
        each.name: "; repeatable" in each.help for each in options
    }


OWN = {"config", "dry_run", "quiet", "as_json"}
"""Flags of the command that are no setting."""


def test_every_flag_is_a_key() -> None:
    import inspect

    from search.run import run

    assert {name.rstrip("_") for name in inspect.signature(run).parameters} - OWN == set(FIELDS)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"trials": 0}, "--trials is 0"),
        ({"trials": -3}, "--trials is -3"),
        ({"minutes": -1.0}, "--minutes is -1.0"),
        ({"minutes": 0.0}, "--minutes is 0.0"),
        ({"minutes": float("nan")}, "--minutes"),
        ({"limit": 0}, "--limit is 0"),
        ({"batch_size": 0}, "--batch-size is 0"),
        ({"guidance": float("inf")}, "--guidance"),
        ({"seed": -1}, "--seed is -1"),
        ({"sampler": "gpp"}, "did you mean 'gp'"),
        ({"version": "v3"}, "unknown version 'v3'"),
        ({"stages": "widht"}, "did you mean 'width'"),
        ({"dtype": "float61"}, "did you mean 'float16'"),
        ({"device": "gpu"}, "unknown device 'gpu': did you mean 'cuda'"),
        ({"objectives": ""}, "--objectives is empty"),
        ({"objectives": "clip,clip"}, "names one twice"),
        ({"objectives": 5}, "--objectives is 5: expected a list of names"),
        ({"trials": True}, "--trials is True"),
        ({"guidance": True}, "--guidance is True: expected another value"),
        ({"seed": False}, "--seed is False: expected another value"),
        ({"study": "../up"}, "--study '../up'"),
        ({"study": ""}, "--study is '': it is empty: give a value, or leave it out"),
        ({"prompts": " "}, "--prompts is ' ': it is empty"),
        ({"mlruns": ""}, "--mlruns is '': it is empty"),
        ({"loras": ("a", "")}, "--lora is '': it is empty"),
        ({"workers": 10**12}, "--workers is 1000000000000: input should be less than or equal to 1000"),
    ],
)
def test_what_cant_be_is_refused_with_its_value(flags: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as error:
        load(None, flags)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        ".",
        "..",
        "a/b",
        "a\\b",
        "/etc/x",
        "<b>x</b>",
        "a'b",
        'a"b',
        "a b",
        "a\n",
        "a\x00",
        "\u202ea",
        "猫",
        "x" * 101,
    ],
)
def test_a_study_s_name_is_safe_as_a_folder_s(name: str) -> None:
    with pytest.raises(UserError, match="a study's name has letters"):
        load(None, {"study": name})


def test_an_unknown_key_suggests_the_nearest_and_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("trails: 7\n")
    with pytest.raises(UserError, match=r"s\.yaml: unknown key 'trails': did you mean 'trials'"):
        load(file, {})
    file.write_text("trials: seven\n")
    with pytest.raises(UserError, match=r"s\.yaml: trials is 'seven'"):
        load(file, {})
    file.write_text("trials: [\n")
    with pytest.raises(UserError, match="line 2: not valid YAML"):
        load(file, {})


@pytest.mark.parametrize("key", ["mlruns", "study", "prompts", "storage", "lora", "from", "subject"])
def test_a_file_s_empty_text_is_refused(key: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(f"{key}: ''\n")
    with pytest.raises(UserError, match=r"s\.yaml: \w+ is '': it is empty"):
        load(tmp_path / "s.yaml", {})


def test_a_name_of_settings_suggests_the_nearest() -> None:
    assert load("quick", {}).trials == 16
    with pytest.raises(UserError, match="unknown settings 'quik': did you mean 'quick'"):
        load("quik", {})


def test_the_name_is_the_models(tmp_path: Path) -> None:
    assert load(None, {}).name == "shapes"
    assert load(None, {"model": str(tmp_path / "mine")}).name == "mine"
    assert load(None, {"study": "a"}).name == "a"


def test_the_fingerprint_changes_with_what_scores_depend_on_only() -> None:
    from freeu.models import changed, load_spec

    def of(prompts: tuple[str, ...] = ("a", "b"), **flags: object) -> dict[str, Any]:
        config = load(None, flags)
        spec = changed(load_spec(config.model), sampling.given(config))
        return fingerprint(config, spec, default(config.version), prompts, ("c",))

    assert of() == of(trials=99, minutes=3.0, batch_size=2, device="cpu", study="x", mlruns="y")
    assert of() == of(guidance=load_spec("shapes").guidance)  # said or left out, it is the same
    for other in ({"steps": 3}, {"seed": 1}, {"objectives": "clip"}, {"version": "v1"}, {"prompts": ("a", "d")}):
        assert of() != of(**other), other
    with pytest.raises(UserError, match=r"'s' was begun with other settings \(--steps 3, was \d+\)"):
        check_same("s", of(), of(steps=3))
    check_same("s", of(), of())
    # Studies that were begun before there were these settings go on, unless one is used.
    before = {key: value for key, value in of().items() if key != "sampling"}
    check_same("s", before, of())
    for new in ({"clip_skip": 2}, {"size": "64x32"}, {"eta": 0.0}, {"guidance_rescale": 0.5}):
        with pytest.raises(UserError, match=f"sampling: other {next(iter(new))}"):
            check_same("s", before, of(**new))
    assert of(scheduler="dpmpp_2m")["scheduler"] == of()["scheduler"] == "dpmsolver++"
    assert of(scheduler="Euler a")["scheduler"] == "Euler a"


def test_the_fingerprint_and_what_images_are_kept_by_cover_how_noise_is_scheduled() -> None:
    from freeu.models import load_spec
    from search.evaluation.loading import MADE

    def of(name: str, **changes: object) -> str:
        config = load(None, {"model": name})
        spec = load_spec(name).model_copy(update=changes)
        return str(fingerprint(config, spec, default(config.version), ("a",), ("b",))["scheduler"])

    assert of("sd15") == "dpmsolver++"  # as studies of before have it
    assert of("animatediff") != of("animatediff", scheduler_config={"beta_schedule": "scaled_linear"})
    assert of("sd15") != of("sd15", scheduler_config={"prediction_type": "v_prediction"})
    assert "scheduler" in MADE


def test_off_in_yaml_is_the_word_where_a_setting_has_it(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("baseline_guidance: off\n")
    assert load(tmp_path / "c.yaml", {}).baseline_guidance == "off"
    (tmp_path / "c.yaml").write_text("baseline_guidance: on\n")
    with pytest.raises(UserError, match="baseline_guidance is True: expected another value; YAML reads yes"):
        load(tmp_path / "c.yaml", {})


def test_words_stand_for_values_on_the_command_line_too(tmp_path: Path) -> None:
    words = {"low_steps": "auto", "baseline_guidance": "off", "judges": "none"}
    given = [part for name, word in words.items() for part in (f"--{name.replace('_', '-')}", word)]
    done = CliRunner().invoke(run.app, [*given, "--dry-run", "--json", "--mlruns", str(tmp_path)])
    kept = json.loads(done.stdout)["settings"]
    assert [kept[name] for name in words] == ["auto", "off", ["none"]]
    done = CliRunner().invoke(run.app, ["--low-steps", "3", "--dry-run", "--json", "--mlruns", str(tmp_path)])
    assert json.loads(done.stdout)["settings"]["low_steps"] == 3
    off = load(None, {"low_steps": "off", "low_size": "off"})
    assert (off.low_steps, off.low_size) == (None, None)
    (tmp_path / "off.yaml").write_text("low_steps: off\nlow_size: 'off'\n")  # the first is YAML's word for false
    assert load(tmp_path / "off.yaml", {}) == off
    for wrong, fix in (("0", "input should be greater"), ("few", "expected a whole number, auto or off")):
        with pytest.raises(UserError, match=f"--low-steps is '?{wrong}'?: {fix}"):
            load(None, {"low_steps": wrong})
    for wrong in ("none", "3,x", ","):
        with pytest.raises(
            UserError, match=f"--baseline-guidance is '{wrong}': expected guidance scales, as 3,5,9, or"
        ):
            load(None, {"baseline_guidance": wrong})
