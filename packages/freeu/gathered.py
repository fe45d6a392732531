"""What the small distribution `freeu` is made of: the package without base models, the embedded model and figures, and
the part of `configs` that it reads, as freeu._configs, so that it installs one top-level name.

A build hook of hatchling (https://hatch.pypa.io/latest/plugins/build-hook/custom): wheel and sdist hold the gathered
files; from an sdist they are taken as they are.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
LEFT_OUT = {"models", "servers", "shapes", "figures.py", "generate.py", "batches.py"}
CONFIGS = ("__init__.py", "errors.py", "images.py", "plain_yaml.py", "reading.py", "safetensors_header.py")
FROM = re.compile(r"^( *)from configs(?P<module>[.\w]*) import ", re.MULTILINE)
PLAIN = re.compile(r"^( *)import configs$", re.MULTILINE)


def sources(repository: Path = REPOSITORY) -> dict[str, str]:
    """Path in the distribution → text."""
    found = {}
    for file in sorted((repository / "freeu").rglob("*")):
        inside = file.relative_to(repository)
        if file.suffix in (".py", ".typed", ".md", ".txt") and not LEFT_OUT & set(inside.parts[1:]):
            found[str(inside)] = own_names(file.read_text("utf-8"))
    for name in CONFIGS:
        found[f"freeu/_configs/{name}"] = own_names((repository / "configs" / name).read_text("utf-8"))
    found["freeu/LICENSE"] = (repository / "LICENSE").read_text("utf-8")
    return found


def own_names(text: str) -> str:
    """The text with its imports of `configs` made to be those of freeu._configs."""
    text = FROM.sub(r"\1from freeu._configs\g<module> import ", text)
    return PLAIN.sub(r"\1from freeu import _configs as configs", text)


def write(folder: Path, repository: Path = REPOSITORY) -> None:
    """Write the gathered package below a folder."""
    for name, text in sources(repository).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # read by a test
    pass
else:

    class Gathered(BuildHookInterface):  # type: ignore[type-arg, misc]
        """Puts the gathered files in: as freeu/ into a wheel, as gathered/freeu/ into an sdist."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            made = HERE / "gathered"
            if not made.is_dir():
                self._folder = tempfile.TemporaryDirectory()
                made = Path(self._folder.name)
                write(made)
            inside = "freeu" if self.target_name == "wheel" else "gathered/freeu"
            build_data["force_include"][str(made / "freeu")] = inside

        def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
            if hasattr(self, "_folder"):
                self._folder.cleanup()
