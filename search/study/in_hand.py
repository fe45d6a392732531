"""How often whoever drew a range of held-out rows ended before it did, kept in a file beside the range.

A range is in hand from before it is drawn until it is kept, fails or is interrupted; a process that is killed meanwhile
leaves it so. Under which too many (`search.workers.crew.TRIES`) died, it may be what ends them. The file stays until
the range is kept: of one that somebody began, the scores may be cached already and the images lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from search.storage.files import replacing


class InHand:
    """The ranges that this process has in hand. Each is named by the file that keeps what it gets."""

    def __init__(self) -> None:
        self._held: set[Path] = set()

    @contextmanager
    def until_the_end(self) -> Iterator[InHand]:
        """What is still in hand when this ends, as by Ctrl-C or an error, is given back: nobody died of it."""
        try:
            yield self
        finally:
            for file in tuple(self._held):
                self._write(file, max(0, self.deaths(file) - 1))
            self._held.clear()

    @staticmethod
    def begun(file: Path) -> bool:
        """Whether somebody had it in hand, and it was not kept."""
        return _marks(file).exists()

    def take(self, file: Path) -> None:
        """Before it is drawn."""
        self._write(file, self.deaths(file) + 1)
        self._held.add(file)

    def died(self, file: Path) -> None:
        """Whoever drew it is dead."""
        self._held.discard(file)

    def drop(self, file: Path) -> None:
        """It is kept, or left out: its count begins anew."""
        _marks(file).unlink(missing_ok=True)
        self._held.discard(file)

    @staticmethod
    def deaths(file: Path) -> int:
        """How many took it and never dropped it or gave it back; of a range in hand, this process too."""
        with suppress(OSError, ValueError):
            return int(_marks(file).read_text("utf-8"))
        return 0

    @staticmethod
    def _write(file: Path, deaths: int) -> None:
        with replacing(_marks(file)) as temporary:
            temporary.write_text(str(deaths), "utf-8")


def _marks(file: Path) -> Path:
    return file.with_suffix(".begun")
