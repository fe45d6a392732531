"""CLIP score, aesthetic heads, encoders and references: by hand, against the libraries, and when files are wrong."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

import metrics
from configs import UserError, identity
from metrics import aesthetic
from metrics.aesthetic import LAION_ENCODER, LAION_SHAPE, score_of
from metrics.base import Batch
from metrics.clip import ClipScore
from metrics.encoders import Encoder, encoder
from metrics.images import decoded
from metrics.preprocessing import fitted
from metrics.reference import Reference, load_reference, read_statistics
from tests.metrics.conftest import CLIP, RESNET


def test_clip_score_is_open_clips_cosine(models: Path, images: torch.Tensor) -> None:
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{models / 'clip'}")
    words = open_clip.get_tokenizer(f"local-dir:{models / 'clip'}")(["a red bus", "two cats"])
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images[:2]]
    with torch.no_grad():
        seen = model.eval().encode_image(torch.stack([preprocess(picture) for picture in pictures]))
        cosine = F.cosine_similarity(seen, model.encode_text(words))
    score = ClipScore(encoder(CLIP, "cpu", models)).score(Batch(images[:2], ("a red bus", "two cats")))
    np.testing.assert_allclose(score.per_image, 100 * cosine.clamp(min=0).numpy(), atol=1e-3)


def test_clip_score_clamps_each_image_before_the_mean() -> None:
    seen = torch.tensor([[1.0, 0], [1.0, 0]])
    said = torch.tensor([[3.0, 4.0], [-1.0, 0]])
    toy = Encoder("toy", "toy", lambda part: seen, lambda texts: said)
    score = ClipScore(toy).score(Batch(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), ("a", "b")))
    # Cosines 0.6 and -1: the second counts as 0, so the mean is 30.
    np.testing.assert_allclose(score.per_image, [60, 0])
    assert score.value == pytest.approx(30)


def test_a_head_by_hand(tmp_path: Path) -> None:
    """Two layers: (x A' + a) B' + b, with a ReLU between them where that is said."""
    tensors = {
        "layers.0.weight": torch.tensor([[1.0, 2, 0], [0, 1, -1]]),
        "layers.0.bias": torch.tensor([0.5, -0.5]),
        "layers.2.weight": torch.tensor([[2.0, -3]]),
        "layers.2.bias": torch.tensor([1.0]),
    }
    save_file(tensors, tmp_path / "head.safetensors")
    head = metrics.aesthetic_head(tmp_path / "head.safetensors", activation="none")
    # x = (1, 1, 1): layer 0 gives (3.5, -0.5), layer 2 gives 7 + 1.5 + 1.
    x = np.array([[1.0, 1, 1], [0, 0, 0]])
    np.testing.assert_allclose(head(x), [9.5, 2 * 0.5 + 3 * 0.5 + 1])
    rectified = metrics.aesthetic_head(tmp_path / "head.safetensors", activation="relu")
    np.testing.assert_allclose(rectified(x), [8, 2 * 0.5 + 1])
    with pytest.raises(UserError, match="2 linear layers and doesn't say what stands between them"):
        metrics.aesthetic_head(tmp_path / "head.safetensors")
    with pytest.raises(UserError, match=r"unknown activation .* 'gelu': did you mean 'relu'"):
        metrics.aesthetic_head(tmp_path / "head.safetensors", activation="gelu")
    save_file(tensors, tmp_path / "told.safetensors", metadata={"activation": "relu"})
    np.testing.assert_allclose(metrics.aesthetic_head(tmp_path / "told.safetensors", activation="none")(x), [8, 2])
    with pytest.raises(UserError, match=r"takes embeddings \(n, 3\), and these are \(2, 4\)"):
        head(np.zeros((2, 4)))


LINEAR = tuple(f"layers.{i}" for i in (0, 2, 4, 6, 7))
RELU = tuple(f"layers.{i}" for i in (0, 3, 6, 9, 11))


@pytest.mark.parametrize(("names", "kind"), [(LINEAR, "laion_v2"), (RELU, "laion_v2"), (("",), "laion_v1")])
def test_laions_own_layouts_are_read(
    names: tuple[str, ...], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V2: five linear layers with dropout between, or ReLUs too; V1: one linear layer, saved bare."""
    widths = [768, 1024, 128, 64, 16, 1] if len(names) == 5 else [768, 1]
    draw = torch.Generator().manual_seed(0)
    state, layers = {}, []
    for name, a, b in zip(names, widths, widths[1:], strict=False):
        prefix = f"{name}." if name else ""
        state[f"{prefix}weight"] = torch.randn(b, a, generator=draw) / a**0.5
        state[f"{prefix}bias"] = torch.randn(b, generator=draw)
        layers.append((state[f"{prefix}weight"], state[f"{prefix}bias"]))
    torch.save(state, tmp_path / "head.pth")
    x = F.normalize(torch.randn(3, 768, generator=draw), dim=-1)
    wanted = x.double()
    for i, (weight, bias) in enumerate(layers, start=1):
        wanted = wanted @ weight.double().T + bias.double()
        wanted = wanted.relu() if names == RELU and i < len(layers) else wanted
    reads = Encoder("toy", LAION_ENCODER, lambda part: x)
    spec = {"kind": kind, "file": str(tmp_path / "head.pth")}
    found = score_of(spec, reads, tmp_path).score(Batch(torch.zeros(3, 3, 4, 4, dtype=torch.uint8), ("",) * 3))
    np.testing.assert_allclose(found.per_image, wanted[:, 0].numpy(), rtol=1e-6)
    other = "laion_v1" if kind == "laion_v2" else "laion_v2"
    with pytest.raises(UserError, match=f"is no head of kind {other}, its layers give"):
        score_of(spec | {"kind": other}, reads, tmp_path)


def test_a_pickle_names_no_encoder_but_laions_second_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is known by its hash; any other is what the user says it is."""
    file = tmp_path / "head.pth"
    torch.save({"weight": torch.zeros(1, 768), "bias": torch.zeros(1)}, file)
    reads = Encoder("toy", LAION_ENCODER, lambda part: torch.zeros(len(part), 768))
    spec = {"kind": "aesthetic_head", "file": str(file)}
    with pytest.raises(UserError, match=r"head\.pth doesn't name the encoder that it is a head for"):
        score_of(spec, reads, tmp_path)
    with pytest.raises(UserError, match="doesn't name the encoder"):
        metrics.aesthetic_head(file, LAION_ENCODER)
    with pytest.raises(UserError, match="a head for the encoder open_clip:ViT-B-32"):
        score_of(spec | {"made_for": "open_clip:ViT-B-32/openai"}, reads, tmp_path)
    assert score_of(spec | {"made_for": LAION_ENCODER}, reads, tmp_path).encoder is reads
    metrics.aesthetic_head(file, "one", made_for="one")
    monkeypatch.setattr(aesthetic, "LAION_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    assert score_of(spec, reads, tmp_path).encoder is reads
    with pytest.raises(UserError, match="a head for the encoder open_clip:ViT-L-14-quickgelu/openai"):
        metrics.aesthetic_head(file, "open_clip:ViT-B-32/openai")


@pytest.mark.parametrize(
    ("kind", "said"),
    [("laion_v3", "did you mean 'laion_v"), ("head", "unknown kind of aesthetic head 'head'")],
)
def test_an_unknown_kind_of_head_is_told(kind: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        score_of({"kind": kind, "file": "head.pth"}, Encoder("toy", "toy", lambda part: part), tmp_path)


@pytest.mark.parametrize(("numbers", "wanted"), [((0, 2, 3), [-1, 0]), ((0, 1, 2), [0, 0])])
def test_a_relu_stands_where_the_numbers_leave_room(
    numbers: tuple[int, ...], wanted: list[float], tmp_path: Path
) -> None:
    """Behind the first alone of 0, 2, 3; of 0, 1, 2, which leave none, behind each but the last."""
    tensors = {}
    for number, sign in zip(numbers, (-1, -1, 1), strict=True):
        tensors |= {f"layers.{number}.weight": sign * torch.eye(1), f"layers.{number}.bias": torch.zeros(1)}
    save_file(tensors, tmp_path / "head.safetensors")
    head = metrics.aesthetic_head(tmp_path / "head.safetensors", activation="relu")
    # -1 becomes 1, then -1, which a second ReLU would make 0; 1 ends at the first.
    np.testing.assert_allclose(head(np.array([[-1.0], [1.0]])), wanted)


def test_a_head_of_another_encoder_is_refused(tmp_path: Path) -> None:
    tensors = {"layers.0.weight": torch.zeros(1, 4), "layers.0.bias": torch.zeros(1)}
    save_file(tensors, tmp_path / "head.safetensors", metadata={"encoder": "one"})
    metrics.aesthetic_head(tmp_path / "head.safetensors", "one")
    with pytest.raises(UserError, match="a head for the encoder one, and the one in use is two"):
        metrics.aesthetic_head(tmp_path / "head.safetensors", "two")
    metrics.aesthetic_head(tmp_path / "head.safetensors", "one size=48")
    save_file(tensors, tmp_path / "head.safetensors", metadata={"encoder": "one size=32"})
    with pytest.raises(UserError, match="a head for the encoder one size=32, and the one in use is one size=48"):
        metrics.aesthetic_head(tmp_path / "head.safetensors", "one size=48")


def test_a_heads_identity_is_its_files_content(models: Path, tmp_path: Path) -> None:
    def built(name: str, scale: float):
        tensors = {"layers.0.weight": torch.full((1, 16), scale), "layers.0.bias": torch.zeros(1)}
        save_file(tensors, tmp_path / name, metadata={"encoder": identity(models / "clip")})
        scorers = {"aesthetic": {"kind": "aesthetic_head", "file": str(tmp_path / name), "encoder": CLIP}}
        return metrics.build("aesthetic", scorers, "cpu", models)

    one, renamed, trained = built("head.safetensors", 1), built("other.safetensors", 1), built("head.safetensors", 3)
    assert one.identity == renamed.identity != trained.identity
    assert one.encoder.identity == trained.encoder.identity


def test_a_head_that_names_no_encoder_is_refused_unless_the_yaml_does(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "head.safetensors"
    spec = {"kind": "aesthetic_head", "file": str(file), "encoder": CLIP}
    save_file({"weight": torch.zeros(1, 16), "bias": torch.zeros(1)}, file)

    def build(**more: str):
        return metrics.build("aesthetic", {"aesthetic": spec | more}, "cpu", models)

    ours = identity(models / "clip")
    with pytest.raises(UserError, match=f"doesn't name the encoder .* aesthetic: {{made_for: '{ours}'}}"):
        build()
    with pytest.raises(UserError, match="doesn't name the encoder"):
        metrics.aesthetic_head(file, "one")
    assert build(made_for=ours).identity == identity(file)
    with pytest.raises(UserError, match="a head for the encoder another"):
        build(made_for="another")
    save_file({"weight": torch.zeros(1, 16), "bias": torch.zeros(1)}, file, metadata={"encoder": "another"})
    with pytest.raises(UserError, match="a head for the encoder another"):  # the file knows better
        build(made_for=ours)


@pytest.fixture
def copies(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    """Encoders of LAION's architecture, here a tiny one's, from a file and from a folder of this disk."""
    import json

    shape = json.loads((models / "clip" / "open_clip_config.json").read_text())["model_cfg"]
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, LAION_SHAPE, shape)
    file = str(models / "clip" / "open_clip_model.safetensors")
    return {"file": {"kind": "open_clip", "model": LAION_SHAPE, "weights": file}, "folder": CLIP}


@pytest.mark.parametrize("place", ["file", "folder"])
@pytest.mark.parametrize(("kind", "name"), [("laion_v1", "head.pth"), ("laion_v1", "head.safetensors")])
def test_laions_head_reads_a_copy_of_its_encoder(
    place: str, kind: str, name: str, copies: dict, models: Path, images: torch.Tensor, tmp_path: Path
) -> None:
    tensors = {"weight": torch.randn(1, 16, generator=torch.Generator().manual_seed(0)), "bias": torch.zeros(1)}
    (save_file if name.endswith(".safetensors") else torch.save)(tensors, tmp_path / name)
    reads = encoder(copies[place], "cpu", models)
    assert reads.identity != LAION_ENCODER
    found = score_of({"kind": kind, "file": str(tmp_path / name)}, reads, models).score(Batch(images, ("",) * 24))
    wanted = F.normalize(reads.embed_images(images), dim=-1).double() @ tensors["weight"][0].double()
    np.testing.assert_allclose(found.per_image, wanted.numpy(), rtol=1e-6)


def test_laions_head_reads_no_other_architecture(models: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1, 16), "bias": torch.zeros(1)}, tmp_path / "head.pth")
    reads = encoder(CLIP, "cpu", models)
    named = replace(reads, identity=f"open_clip:{LAION_SHAPE}/metaclip_400m", shape=None)  # another's, by its name
    for one in (reads, named):
        with pytest.raises(UserError, match="or a copy of it on this disk, and the YAML names"):
            score_of({"kind": "laion_v1", "file": str(tmp_path / "head.pth")}, one, models)


class Payload:
    """Runs a command where a pickle is read without care."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (open, (str(self.trace), "w"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.safetensors", None, "can't read"),
        ("short.safetensors", b"\x10\x00", "can't read"),
        ("short.pth", b"PK\x03\x04", "can't read"),
        ("shapes.safetensors", {"layers.0.weight": torch.zeros(2, 4), "layers.0.bias": torch.zeros(2)}, "ends? in one"),
        ("bias.safetensors", {"layers.0.weight": torch.zeros(1, 4)}, "has no bias"),
        (
            "scale.safetensors",
            {"weight": torch.zeros(1, 4), "bias": torch.zeros(1), "scale": torch.ones(1)},
            "beside linear layers it holds scale",
        ),
        ("empty.safetensors", {"x": torch.zeros(1)}, "is no aesthetic head"),
    ],
)
def test_a_file_that_is_no_head_is_named(name: str, content, said: str, tmp_path: Path) -> None:
    file = tmp_path / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        save_file(content, file)
    with pytest.raises(UserError, match=said) as caught:
        metrics.aesthetic_head(file)
    assert name in str(caught.value)


def test_code_in_a_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    (tmp_path / "head.pth").write_bytes(pickle.dumps(Payload(trace)))
    torch.save({"layers.0.weight": Payload(trace)}, tmp_path / "torch.pth")
    np.savez(tmp_path / "reference.npz", mu=np.array([Payload(trace)], dtype=object), sigma=np.eye(1))
    trace.unlink(missing_ok=True)
    for file in ("head.pth", "torch.pth"):
        with pytest.raises(UserError, match="can't read the aesthetic head"):
            metrics.aesthetic_head(tmp_path / file)
    with pytest.raises(UserError, match="can't read the reference"):
        read_statistics(tmp_path / "reference.npz")
    with pytest.raises(UserError, match="Inception's weights can't be had"):
        encoder({"kind": "inception", "weights": str(tmp_path / "head.pth")}, "cpu", tmp_path)
    assert not trace.exists()


def test_images_of_the_right_size_are_not_touched(images: torch.Tensor) -> None:
    assert fitted(images, (32, 32)) is images


def test_resizing_is_pillows(images: torch.Tensor) -> None:
    big = fitted(images, (64, 64), mode="squash")
    small = fitted(big, (24, 40), mode="squash")
    picture = Image.fromarray(big[0].permute(1, 2, 0).numpy()).resize((40, 24), Image.Resampling.BICUBIC)
    assert (small[0].permute(1, 2, 0).int().numpy() - np.asarray(picture).astype(int)).__abs__().max() <= 1
    assert fitted(big, (20, 20), mode="shortest").shape == (24, 3, 20, 20)


def test_openais_weights_without_quickgelu_are_refused(models: Path) -> None:
    with pytest.raises(UserError, match="write model: ViT-L-14-quickgelu"):
        encoder({"kind": "open_clip", "model": "ViT-L-14", "pretrained": "openai"}, "cpu", models)


def test_a_reference_of_another_encoder_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", mu=np.zeros(2), sigma=np.eye(2), n=9, encoder="one")
    assert read_statistics(tmp_path / "r.npz", "one").n == 9
    with pytest.raises(UserError, match="made with the encoder one, not two"):
        read_statistics(tmp_path / "r.npz", "two")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [({"mu": np.zeros(2)}, "lacks mu and sigma"), ({"mu": np.zeros(2), "sigma": np.eye(3)}, r"sigma \(3, 3\)")],
)
def test_a_reference_of_the_wrong_shape_is_refused(arrays, said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", **arrays)
    with pytest.raises(UserError, match=said):
        read_statistics(tmp_path / "r.npz")


def test_a_folder_of_images_is_a_reference(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: torch.Tensor
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "real"
    folder.mkdir()
    for i, image in enumerate(images[:6]):
        Image.fromarray(image.permute(1, 2, 0).numpy()).resize((40 + i, 50)).save(folder / f"{i}.png")
    Image.new("L", (20, 30), 90).save(folder / "grey.png")
    Image.new("RGBA", (20, 30), (255, 0, 0, 0)).save(folder / "clear.png")
    (folder / "notes.txt").write_text("no image")
    reader = encoder(RESNET, "cpu", models)
    calls: list[int] = []
    counting = replace(reader, images=lambda part: calls.append(len(part)) or reader.images(part))
    spec = {"kind": "folder", "folder": str(folder)}
    first = load_reference(spec, counting, models)
    again = load_reference(spec, counting, models)
    assert first.n == 8 and sum(calls) == 8
    np.testing.assert_array_equal(first.mu, again.mu)
    # A transparent image lies on white, a grey one has three equal channels.
    assert (decoded("clear", (folder / "clear.png").read_bytes()) == 255).all()
    assert (decoded("grey", (folder / "grey.png").read_bytes()) == 90).all()


def test_bad_folders_are_named(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    reader = encoder(RESNET, "cpu", models)
    with pytest.raises(UserError, match="holds no images"):
        load_reference({"kind": "folder", "folder": str(tmp_path)}, reader, models)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a\.png can't be read"):
        load_reference({"kind": "folder", "folder": str(tmp_path)}, reader, models)


def test_a_reference_needs_numbers() -> None:
    with pytest.raises(UserError, match="finite features"):
        Reference.of(np.full((4, 2), np.nan))


def test_importing_metrics_loads_nothing_heavy() -> None:
    code = "import sys, metrics; metrics.describe('fid'); print([m for m in ('torch', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
