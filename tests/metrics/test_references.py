"""References in every form that people have them, and the same features whichever it is."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from configs import UserError, identity
from metrics.base import Batch
from metrics.encoders import encoder
from metrics.fid import Fid
from metrics.reference import load_reference, read_statistics
from metrics.reference_kinds import parse
from tests.metrics.conftest import RESNET

N = 6


@pytest.fixture
def reader(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return encoder(RESNET, "cpu", models)


@pytest.fixture
def real(tmp_path: Path, images: torch.Tensor) -> Path:
    """A folder real/ of images, and tables beside it."""
    folder = tmp_path / "real"
    folder.mkdir()
    rows = []
    for i, image in enumerate(images[:N]):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{i}.png")
        stream = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(stream, "PNG")
        rows.append({"image": {"bytes": stream.getvalue(), "path": None}, "caption": f"number {i}"})
    named = pd.DataFrame({"image": [f"real/{i}.png" for i in range(N)], "caption": "words"})
    named.to_csv(tmp_path / "named.csv", index=False)
    named.to_csv(tmp_path / "named.tsv", index=False, sep="\t")
    named.to_json(tmp_path / "named.jsonl", orient="records", lines=True)
    named.to_parquet(tmp_path / "named.parquet")
    (tmp_path / "shards").mkdir()
    pd.DataFrame(rows[:4]).to_parquet(tmp_path / "shards" / "train-0.parquet")
    pd.DataFrame(rows[4:]).to_parquet(tmp_path / "shards" / "train-1.parquet")
    pd.DataFrame({"image": [row["image"]["bytes"] for row in rows]}).to_parquet(tmp_path / "bytes.parquet")
    return folder


FORMS = ("real", "named.csv", "named.tsv", "named.jsonl", "named.parquet", "shards", "bytes.parquet")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_same_features(form: str, real: Path, reader, images: torch.Tensor, tmp_path: Path) -> None:
    found = load_reference(parse(str(tmp_path / form)), reader, Path("/"))
    assert found.n == N
    np.testing.assert_allclose(found.features, reader.embed_images(images[:N]).double().numpy(), rtol=1e-5)


def test_features_are_kept_by_content_not_by_place(real: Path, reader, tmp_path: Path) -> None:
    seen: list[int] = []
    counting = replace(reader, images=lambda part: seen.append(len(part)) or reader.images(part))
    load_reference(parse(str(real)), counting, Path("/"))
    real.rename(tmp_path / "moved")
    for file in (tmp_path / "moved").iterdir():
        file.touch()
    load_reference(parse(str(tmp_path / "moved")), counting, Path("/"))
    assert sum(seen) == N
    Image.new("RGB", (32, 32), (1, 2, 3)).save(tmp_path / "moved" / "0.png")
    load_reference(parse(str(tmp_path / "moved")), counting, Path("/"))
    assert sum(seen) == 2 * N


def test_what_a_killed_process_left_beside_them_is_swept(real: Path, reader, tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "freeu-search" / "references"
    kept.mkdir(parents=True)
    (kept / f".{7:032x}.part").write_text("half")
    load_reference(parse(str(real)), reader, Path("/"))
    assert [file.suffix for file in kept.iterdir()] == [".npy"]


def test_a_tables_features_are_those_of_its_images(real: Path, reader, tmp_path: Path) -> None:
    """Not of the table: the images under the same names can be others."""
    first = load_reference(parse(str(tmp_path / "named.csv")), reader, Path("/"))
    Image.new("RGB", (32, 32), (1, 2, 3)).save(real / "0.png")
    second = load_reference(parse(str(tmp_path / "named.csv")), reader, Path("/"))
    assert not np.allclose(first.mu, second.mu)
    np.testing.assert_array_equal(second.features, load_reference(parse(str(real)), reader, Path("/")).features)


def test_real_images_are_what_a_viewer_shows(real: Path, reader, tmp_path: Path) -> None:
    """In 16 bits, turned by EXIF, among thumbnails, behind a link: the same features."""
    plain, odd, exif = tmp_path / "plain", tmp_path / "odd", Image.Exif()
    (odd / ".thumbnails").mkdir(parents=True)
    plain.mkdir()
    grey = Image.open(real / "0.png").convert("L")
    grey.save(plain / "0.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(odd / "0.tiff")
    Image.open(real / "1.png").save(plain / "1.png")
    exif[0x0112] = 6
    (tmp_path / "elsewhere").mkdir()
    (odd / "linked").symlink_to(tmp_path / "elsewhere")
    Image.open(real / "1.png").transpose(Image.Transpose.ROTATE_90).save(tmp_path / "elsewhere" / "1.png", exif=exif)
    Image.new("RGB", (8, 8)).save(odd / ".thumbnails" / "0.png")
    wanted, found = (load_reference(parse(str(each)), reader, Path("/")) for each in (plain, odd))
    np.testing.assert_array_equal(found.features, wanted.features)


SETTINGS = [{"size": 48}, {"mean": [0.4, 0.5, 0.5]}, {"std": [0.5, 0.5, 0.6]}]


@pytest.mark.parametrize("other", SETTINGS, ids=lambda other: next(iter(other)))
def test_features_are_kept_by_what_the_encoder_is_told(
    other: dict, tmp_path: Path, models: Path, reader, images: torch.Tensor
) -> None:
    """A folder against itself: 0, up to rounding, whatever the encoder was told when the folder was embedded before."""
    for i, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{i:02}.png")
    batch, changed = Batch(images, ("",) * len(images)), encoder({**RESNET, **other}, "cpu", models)
    for reads in (reader, changed):
        reference = load_reference(parse(str(tmp_path)), reads, Path("/"))
        # At most 12 roots of eigenvalues that are 0 but for float64's rounding: sqrt(1e-16) of the trace each.
        limit, fid = 1e-6 * float(np.trace(reference.sigma)), Fid(reads, reference)
        assert fid.distance(fid.features(batch)) == pytest.approx(0, abs=limit)
        np.testing.assert_array_equal(batch.embed(reads), reads.embed_images(images))
    assert not np.allclose(batch.embed(reader), batch.embed(changed), rtol=1e-3)


def test_statistics_of_other_settings_are_refused(tmp_path: Path, models: Path, reader) -> None:
    """A file that names weights alone says nothing of settings, and is taken."""
    larger = encoder({**RESNET, "size": 48}, "cpu", models)
    for name, made_for in (("whole", reader.identity), ("weights", identity(models / "resnet"))):
        np.savez(tmp_path / f"{name}.npz", feats=np.random.default_rng(0).normal(size=(9, 4)), encoder=made_for)
        assert read_statistics(tmp_path / f"{name}.npz", reader.identity).n == 9
    assert read_statistics(tmp_path / "weights.npz", larger.identity).n == 9
    with pytest.raises(UserError, match=r"made with the encoder \w+ size=32 .*, not \w+ size=48 "):
        read_statistics(tmp_path / "whole.npz", larger.identity)


@pytest.mark.parametrize("key", ["feats", "reps"])
def test_features_of_clean_fid_and_dgm_eval(key: str, tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(9, 4))
    np.savez(tmp_path / "r.npz", **{key: features})
    found = read_statistics(tmp_path / "r.npz")
    np.testing.assert_allclose(found.mu, features.mean(0))
    np.testing.assert_allclose(found.sigma, np.cov(features, rowvar=False))
    assert found.n == 9 and found.features is not None


def test_of_several_files_the_encoders_own(tmp_path: Path, reader) -> None:
    for name, made_for in (("other", "another"), ("ours", reader.identity)):
        np.savez(tmp_path / f"{name}.npz", feats=np.random.default_rng(0).normal(size=(9, 4)), encoder=made_for)
    files = ["other.npz", "ours.npz"]
    assert load_reference({"kind": "statistics", "file": files}, reader, tmp_path).n == 9
    with pytest.raises(UserError, match=r"no reference for the encoder .*other\.npz was made with"):
        load_reference({"kind": "statistics", "file": ["other.npz", "other.npz"]}, reader, tmp_path)


def test_the_hub_by_name() -> None:
    wanted = {"kind": "hub_dataset", "dataset": "a/b", "split": "train", "image": "image"}
    assert parse("a/b") == wanted | {"n": 5000} and parse("a/b:300") == wanted | {"n": 300}


@pytest.mark.parametrize("text", ["none", "a/b/c", "a/b:x", "/no/such/file.npz"])
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(UserError, match=f"--reference {text}: there is no such folder"):
        parse(text)


@pytest.mark.parametrize(("content", "said"), [
    ("picture\nx.png\n", "has no column 'image': picture"),
    ("image\nnone.png\n", r"row 1: the image 'none\.png' is neither there"),
    ("image\n\n", "the reference holds no images"),
])  # fmt: skip
def test_a_table_that_is_wrong(content: str, said: str, tmp_path: Path, reader) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UserError, match=said):
        load_reference(parse(str(tmp_path / "t.csv")), reader, Path("/"))


def test_a_reference_of_one_image_is_told_and_not_kept(tmp_path: Path, reader, images: torch.Tensor) -> None:
    Image.fromarray(images[0].permute(1, 2, 0).numpy()).save(tmp_path / "one.png")
    (tmp_path / "t.csv").write_text("image\none.png\n")
    for _ in range(2):
        with pytest.raises(UserError, match="the reference holds 1 image: at least 2 are needed"):
            load_reference(parse(str(tmp_path / "t.csv")), reader, Path("/"))
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_features_that_are_no_numbers_are_not_kept(real: Path, tmp_path: Path, reader) -> None:
    broken = replace(reader, images=lambda part: torch.full((len(part), 4), torch.nan))
    with pytest.raises(UserError, match="gave NaN or infinity for an image of the reference"):
        load_reference(parse(str(real)), broken, Path("/"))
    assert not list((tmp_path / "cache").rglob("*.npy"))


@pytest.mark.parametrize(("arrays", "said"), [
    ({"mu": np.array(["a", "b"])}, "has mu of type <U1: numbers are expected"),
    ({"sigma": np.full((2, 2), "x")}, "has sigma of type <U1: numbers are expected"),
    ({"n": np.array([3, 4])}, r"has n \[3, 4\]: a number of images, 2 or more"),
    ({"n": "many"}, "has n of type <U4: numbers are expected"),
    ({"n": np.nan}, "has n nan: a number of images"),
    ({"feats": np.zeros(5)}, r"has features \(5,\): expected \(n, 2\)"),
    ({"feats": np.zeros((5, 3))}, r"has features \(5, 3\): expected \(n, 2\)"),
    ({"reps": np.zeros((1, 2))}, r"has features \(1, 2\): expected \(n, 2\), n at least 2"),
    ({"feats": np.full((5, 2), np.inf)}, "holds features that are NaN or infinity"),
])  # fmt: skip
def test_an_npz_that_is_wrong_beside_what_is_right(arrays: dict, said: str, tmp_path: Path) -> None:
    right = {"mu": np.zeros(2), "sigma": np.eye(2), "n": np.array([9]), "feats": np.zeros((9, 2), np.float16)}
    np.savez(tmp_path / "r.npz", **right)
    assert read_statistics(tmp_path / "r.npz").n == 9
    if "reps" in arrays:
        del right["feats"]
    np.savez(tmp_path / "r.npz", **right | arrays)
    with pytest.raises(UserError, match=said):
        read_statistics(tmp_path / "r.npz")


def test_a_pickled_npz_is_refused_and_does_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    np.savez(tmp_path / "evil.npz", mu=np.array([Evil()], dtype=object), sigma=np.eye(1))
    with pytest.raises(UserError, match=r"can't read the reference .*evil\.npz"):
        read_statistics(tmp_path / "evil.npz")
    assert not (tmp_path / "ran").exists()


def test_statistics_that_are_no_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "nan.npz", mu=np.full(2, np.nan), sigma=np.eye(2))
    with pytest.raises(UserError, match=r"nan\.npz holds NaN"):
        read_statistics(tmp_path / "nan.npz")


def test_a_file_of_another_kind_is_no_data_set_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "a.png").touch()
    with pytest.raises(UserError, match=r"--reference pics/a\.png: there is no such folder of images"):
        parse("pics/a.png")
    assert parse("pics/b.png")["dataset"] == "pics/b.png"  # nothing here has that name
