"""Presets on the Hugging Face hub: a repository with freeu.yaml and a card."""

from __future__ import annotations

from pathlib import Path

from configs import UserError

from .presets import Preset, read, yaml

FILE = "freeu.yaml"
"""The preset's name in a repository."""


def from_pretrained(source: str, revision: str | None = None) -> Preset:
    """A preset from a repository of the hub, as "user/repository", or from a folder or file of this disk.

    Raises:
        UserError: it can't be had, or holds no preset.
    """
    place = Path(source).expanduser()
    if place.exists():
        return read(place / FILE if place.is_dir() else place)
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise UserError("presets from the hub need huggingface_hub: pip install huggingface_hub") from error
    try:
        return read(hf_hub_download(source, FILE, revision=revision))
    except UserError:
        raise
    except Exception as error:  # offline, refused, not there, no such name: each with its own class
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"can't get {FILE} of {source!r}: {said}; give a repository of the hub, or a folder") from error


def push_to_hub(preset: Preset, repository: str, card: str | None = None, private: bool = False) -> str:
    """Upload a preset and its card; the address of the commit. card: Markdown, as `search.export --card` writes; a
    short one where it is None. The hub's own login counts. Raises UserError."""
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
    except ImportError as error:
        raise UserError("presets on the hub need huggingface_hub: pip install huggingface_hub") from error
    files = {FILE: yaml.render(preset), "README.md": card or _card(preset, repository)}
    added = [CommitOperationAdd(name, text.encode()) for name, text in files.items()]
    try:
        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.create_commit(repository, added, commit_message=f"FreeU preset {preset.title}")
    except Exception as error:  # as above
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"can't upload to {repository!r}: {said}") from error
    return str(done.commit_url)


def _card(preset: Preset, repository: str) -> str:
    factors = ", ".join(f"{name} {value}" for name, value in preset.factors.as_dict().items())
    verdict = getattr(preset, "verdict", None)
    return "\n".join(
        [
            "---",
            "tags: [freeu]",
            "---",
            f"# {preset.title}",
            "",
            f"FreeU for {preset.model}: {factors}.",
            *(["", verdict] if verdict else []),
            "",
            "```python",
            "import freeu",
            "",
            f'freeu.enable(pipe, freeu.from_pretrained("{repository}"))',
            "```",
            "",
        ]
    )
