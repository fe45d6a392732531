"""Where encoders, heads and references come from: the right one, the hub without a wait, and damage named."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from configs import UserError, identity
from metrics.aesthetic import laion_head
from metrics.base import Batch
from metrics.encoders import Encoder, encoder
from metrics.fid import Fid
from metrics.preprocessing import fitted
from metrics.reference import Reference, load_reference, read_statistics
from tests.metrics.conftest import RESNET


def unreachable(*args: object, **kwargs: object) -> None:
    raise OSError("no route to the hub")


def test_the_hubs_layout_is_read_from_its_cache(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: torch.Tensor
) -> None:
    """Parquet shards under data/, an image column of {bytes, path}: what the hub keeps of coco-30-val-2014."""
    import huggingface_hub
    import pyarrow as pa
    import pyarrow.parquet as parquet

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for shard in range(2):
        rows = []
        for i in range(4):
            stream = io.BytesIO()
            Image.fromarray(images[4 * shard + i].permute(1, 2, 0).numpy()).save(stream, "PNG")
            rows.append({"image": {"bytes": stream.getvalue(), "path": f"{i}.png"}, "caption": "words"})
        parquet.write_table(
            pa.Table.from_pylist(rows), tmp_path / "hub" / "data" / f"train-{shard:05d}-of-00002.parquet"
        )
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", unreachable)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **kwargs: str(tmp_path / "hub"))
    spec = {"kind": "hub_dataset", "dataset": "a/b", "split": "train", "image": "image", "n": 6}
    assert load_reference(spec, encoder(RESNET, "cpu", models), models).n == 6
    with pytest.raises(UserError, match="has no column 'picture': image, caption"):
        load_reference({**spec, "image": "picture"}, encoder(RESNET, "cpu", models), models)
    with pytest.raises(UserError, match="holds 8 images that can be had, and n is 9"):
        load_reference({**spec, "n": 9}, encoder(RESNET, "cpu", models), models)
    # With a network only the shards that n needs are downloaded.
    asked: list[str] = []
    names = ["README.md", *(f"data/train-{shard:05d}-of-00002.parquet" for shard in (1, 0)), "data/test-0.parquet"]
    info = SimpleNamespace(sha="1", siblings=[SimpleNamespace(rfilename=name) for name in names])

    def download(repository: str, name: str, **kwargs: str) -> str:
        asked.append(name)
        return str(tmp_path / "hub" / name)

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", lambda *args, **kwargs: info)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *args, **kwargs: info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert load_reference({**spec, "n": 3}, encoder(RESNET, "cpu", models), models).n == 3
    assert asked == ["data/train-00000-of-00002.parquet"]


EVIL = """from pathlib import Path
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
Path({ran!r}).touch()
class Words(PreTrainedTokenizerFast): pass
class Config(PreTrainedConfig): model_type = "evil"
class Model(PreTrainedModel): config_class = Config
"""


@pytest.fixture
def evil(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """(a folder in open_clip's format and transformers' whose code makes a file, that file); a hasty user says yes."""
    from tests import tiny

    folder, ran = tmp_path / "evil", tmp_path / "ran"
    shutil.copytree(models / "clip", folder)
    tiny.tokenizer().save_pretrained(folder)
    (folder / "evil.py").write_text(EVIL.format(ran=str(ran)))
    words = json.loads((folder / "tokenizer_config.json").read_text())
    words |= {"tokenizer_class": "Words", "auto_map": {"AutoTokenizer": [None, "evil.Words"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(words))
    maps = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (folder / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": maps}))
    monkeypatch.setattr("builtins.input", lambda *args: "y")
    return folder, ran


def given_tokenizer(folder: Path, **kwargs: object) -> None:
    """Gives an open_clip folder a tokenizer of transformers' with these arguments."""
    file = folder / "open_clip_config.json"
    config = json.loads(file.read_text())
    config["model_cfg"]["text_cfg"] |= {"hf_tokenizer_name": "words", "tokenizer_kwargs": kwargs}
    file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"trust_remote_code": True, "clean": "whitespace"}, "gives the tokenizer trust_remote_code: clean, "),
        ({"clean": "whitespace"}, "can't load the open_clip model"),
    ],
)
def test_an_open_clip_folders_code_does_not_run(
    evil: tuple[Path, Path], kwargs: dict[str, object], said: str, tmp_path: Path
) -> None:
    folder, ran = evil
    given_tokenizer(folder, **kwargs)
    with pytest.raises(UserError, match=said):
        encoder({"kind": "open_clip", "source": str(folder)}, "cpu", tmp_path)
    assert not ran.exists()


def test_the_code_of_an_open_clip_text_tower_does_not_run(evil: tuple[Path, Path], tmp_path: Path) -> None:
    folder, ran = evil
    given_tokenizer(folder)
    file = folder / "open_clip_config.json"
    config = json.loads(file.read_text())
    config["model_cfg"]["text_cfg"]["hf_model_name"] = str(folder)
    file.write_text(json.dumps(config))
    with pytest.raises(UserError, match="can't load the open_clip model"):
        encoder({"kind": "open_clip", "source": str(folder)}, "cpu", tmp_path)
    assert not ran.exists()


def test_the_shapes_scorers_run_no_code_either(evil: tuple[Path, Path]) -> None:
    from freeu.shapes.scorers import load_clip, pooled_features

    folder, ran = evil
    given_tokenizer(folder, trust_remote_code=True)
    for load in (load_clip, pooled_features):
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            load(folder)
    assert not ran.exists()


@pytest.mark.parametrize("kind", ["clip", "transformers"])
def test_a_transformers_folders_code_does_not_run(kind: str, evil: tuple[Path, Path], tmp_path: Path) -> None:
    folder, ran = evil
    with pytest.raises(UserError, match="can't load the"):
        encoder({**RESNET, "kind": kind, "source": str(folder)}, "cpu", tmp_path)
    assert not ran.exists()


def test_an_open_clip_folder_with_a_tokenizer_of_its_own(models: Path, tmp_path: Path) -> None:
    from tests import tiny

    shutil.copytree(models / "clip", tmp_path / "clip")
    tiny.tokenizer().save_pretrained(tmp_path / "clip")
    given_tokenizer(tmp_path / "clip", clean="whitespace", strip_sep_token=False, language=None)
    assert encoder({"kind": "open_clip", "source": "clip"}, "cpu", tmp_path).embed_texts(["a cat"]).shape == (1, 16)


@pytest.mark.parametrize("content", ["{", "[]", '{"model_cfg": {}}', '{"model_cfg": {"text_cfg": []}}'])
def test_a_damaged_open_clip_folder_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(content)
    with pytest.raises(UserError, match=r"open_clip_config\.json describes no open_clip model"):
        encoder({"kind": "open_clip", "source": str(tmp_path)}, "cpu", tmp_path)


OPENAI = {"kind": "open_clip", "model": "ViT-L-14-quickgelu", "pretrained": "openai"}
COCO = {"kind": "hub_dataset", "dataset": "a/b", "split": "train", "image": "image", "n": 2}


@pytest.mark.parametrize(
    "need",
    [
        lambda models: laion_head(),
        lambda models: encoder(OPENAI, "cpu", models),
        lambda models: encoder({**RESNET, "source": "microsoft/resnet-18"}, "cpu", models),
        lambda models: load_reference(COCO, encoder(RESNET, "cpu", models), models),
    ],
    ids=["head", "open_clip", "transformers", "reference"],
)
def test_without_the_hub_the_error_comes_soon(
    need, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question and no retries, by which the hub's client takes up to a minute."""
    import huggingface_hub

    def uncached(*args: object, **kwargs: object) -> str:
        assert kwargs.get("local_files_only"), "the hub was asked again"
        raise FileNotFoundError("not in the cache")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = []
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", lambda *a, **k: asked.append(a) or unreachable())
    monkeypatch.setattr(huggingface_hub, "snapshot_download", uncached)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", uncached)
    with pytest.raises(UserError, match=r"tried the hub's cache, where it isn't, and the hub .*no route"):
        need(models)
    assert len(asked) == 1


def test_a_reference_is_resized_as_generated_images_are(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: torch.Tensor
) -> None:
    """The same images in a folder and in a batch have the same features, at the encoder's own size and at another."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    reader = encoder(RESNET, "cpu", models)
    for name, pictures in {"own": images, "other": fitted(images, (48, 40))}.items():
        (tmp_path / name).mkdir()
        for i, picture in enumerate(pictures):
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / name / f"{i:02}.png")
        found = load_reference({"kind": "folder", "folder": str(tmp_path / name)}, reader, models)
        np.testing.assert_allclose(found.features, reader.embed_images(pictures), rtol=1e-4, atol=1e-5)


def test_blurred_images_are_further(models: Path) -> None:
    """Even with random weights: FID rises with each step of blurring."""
    from torchvision.transforms.v2.functional import gaussian_blur

    reader = encoder(RESNET, "cpu", models)
    sharp = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    fid = Fid(reader, Reference.of(reader.embed_images(sharp[:32]).numpy()))
    made = [sharp[32:], *(gaussian_blur(sharp[32:], [9, 9], [sigma, sigma]) for sigma in (0.4, 0.8, 1.6))]
    values = [fid.score(Batch(part, ("",) * 32)).value for part in made]
    assert values == sorted(values) and values[-1] > 2 * values[0]


def test_the_same_name_in_another_folder_is_another_encoder(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "resnet", tmp_path / "resnet")
    (tmp_path / "resnet" / "note").write_text("changed")
    assert encoder(RESNET, "cpu", models) is encoder(dict(RESNET), "cpu", models)
    for folder in (models, tmp_path):
        assert encoder(RESNET, "cpu", folder).identity.partition(" ")[0] == identity(folder / "resnet")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"kind": "open_clip", "model": "ViT-L-14"}, "needs 'pretrained'"),
        ({"kind": "open_clip", "model": "ViT-L14", "pretrained": "openai"}, "did you mean 'ViT-L-14'"),
        ({"kind": "open_clip", "model": "ViT-L-14", "pretrained": "opennai"}, "did you mean 'openai'"),
        ({"kind": "open_clip", "model": "ViT-B-32", "pretrained": "metaclip_400m"}, "model: ViT-B-32-quickgelu"),
        ({"kind": "inception", "weights": "none.pth"}, "none.pth are no file"),
    ],
)
def test_a_wrong_encoder_is_refused_before_a_download(
    spec: dict[str, str], said: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", unreachable)
    with pytest.raises(UserError, match=said):
        encoder(spec, "cpu", models)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text"])
def test_a_damaged_reference_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "r.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"can't read the reference .*r\.npz"):
        read_statistics(tmp_path / "r.npz")


def test_a_bare_array_is_no_reference(tmp_path: Path) -> None:
    np.save(tmp_path / "r.npy", np.zeros(3))
    with pytest.raises(UserError, match="is one array"):
        read_statistics(tmp_path / "r.npy")


@pytest.mark.parametrize(
    ("spec", "said"),
    [({"kind": "folder"}, "needs folder"), ({"kind": "statistic"}, "did you mean 'statistics'")],
)
def test_a_reference_that_says_too_little(spec: dict[str, str], said: str, models: Path) -> None:
    with pytest.raises(UserError, match=said):
        load_reference(spec, Encoder("toy", "toy", lambda part: part.flatten(1)), models)
