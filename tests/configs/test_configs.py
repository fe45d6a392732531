"""The leaf package: finding data, reading YAML, and saying what was wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

import configs


def test_unknown_suggests_the_nearest_and_lists_the_known() -> None:
    error = configs.unknown("sampler", "gpp", ["gp", "tpe"])
    assert isinstance(error, configs.UserError)
    assert str(error) == "unknown sampler 'gpp': did you mean 'gp'? known: gp, tpe"
    assert str(configs.unknown("sampler", "xyzzy", ["gp"])) == "unknown sampler 'xyzzy': known: gp"


def test_paths_lie_in_the_package() -> None:
    assert configs.path("models", "shapes.yaml").is_file()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [1, 2", "line 1"),
        (b"- 1\n- 2\n", "expected 'key: value' lines, found a list"),
        (b"a: \xff\xfe", "no text in UTF-8"),
        (b"a: !!python/object/apply:os.system ['true']\n", "line 1"),
    ],
)
def test_broken_yaml_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_bytes(content)
    with pytest.raises(configs.UserError, match=said) as caught:
        configs.read_yaml(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(configs.UserError, match=r"can't read .*none\.yaml: No such file"):
        configs.read_yaml(tmp_path / "none.yaml")


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert configs.read_yaml(tmp_path / "empty.yaml") == {}


def test_identity_follows_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    first = configs.identity(tmp_path)
    assert first == configs.identity(tmp_path) and len(first) == 64
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = configs.identity(tmp_path)
    (tmp_path / "b").write_bytes(b"two")
    assert len({first, renamed, configs.identity(tmp_path)}) == 3
