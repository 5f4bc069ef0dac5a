"""Putting a catalog in its place on the disk: all at once or not at all.

Conventions
-----------
* A catalog is made in ``<out>.partial`` and moved to ``<out>`` when complete. Between the two renames of a replacement
  the old one waits in ``<out>.partial``; :meth:`Place.recover` puts it back if a run was killed in that moment.
* A folder that is not a catalog is never touched. Files that somebody put beside a catalog's own are kept by an edit,
  and are a reason to refuse where the whole catalog would be made anew.
* One program at a time may write to a catalog.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.files import DATA_FILES, MANIFEST_FILE, keep_other_files
from hmm2song.errors import CatalogError

SKIPPED_NAME = "skipped.csv"
REPORT_NAME = "report.csv"
SOURCES_NAME = "sources.json"
OWN_FILES = frozenset({MANIFEST_FILE, *DATA_FILES, SKIPPED_NAME, REPORT_NAME, SOURCES_NAME})
"""What is in a catalog's folder when it was made here."""


@dataclass(frozen=True)
class Place:
    """A catalog's folder, absolute, and the one beside it in which a new catalog is made."""

    folder: Path

    @classmethod
    def of(cls, out: str | os.PathLike[str]) -> Place:
        """Return the place for a path as people write it."""
        path = Path(os.path.abspath(out))
        return cls(path.parent.resolve() / path.name)  # as it is compared with resolved names

    @property
    def partial(self) -> Path:
        """Where partial results and the new catalog are."""
        return self.folder.with_name(self.folder.name + ".partial")

    @property
    def _previous(self) -> Path:
        """Where the catalog that is being replaced waits for the moment between two renames."""
        return self.partial / "previous"

    def recover(self) -> None:
        """Put the old catalog back if a run was killed in that moment."""
        if self._previous.is_dir():
            if self.folder.exists():
                shutil.rmtree(self._previous)
            else:
                self._previous.rename(self.folder)

    def check_replaceable(self, with_others: bool = False) -> None:
        """Refuse to replace anything but nothing, an empty folder, or a catalog.

        Parameters
        ----------
        with_others : bool
            Whether the catalog may hold other files: they would be kept.

        Raises
        ------
        CatalogError
        """
        if not self.folder.exists() and not self.folder.is_symlink():
            return
        shown = repr(str(self.folder))
        if self.folder.is_symlink() or not self.folder.is_dir():
            raise CatalogError(f"{shown} exists and is not a folder; choose another place for the catalog")
        names = {entry.name for entry in self.folder.iterdir()}
        if names and MANIFEST_FILE not in names:
            raise CatalogError(f"{shown} exists and is not a catalog; it is not overwritten, choose another place")
        others = sorted(names - OWN_FILES)
        if others and not with_others:
            raise CatalogError(
                f"{shown} holds other files besides the catalog ({', '.join(others[:3])}), which would be "
                "deleted with it; move them away or choose another place"
            )

    def publish(self, catalog: Catalog, beside: Mapping[str, str | Path], keep_others: bool = False) -> None:
        """Write a catalog and move it to its place.

        Parameters
        ----------
        catalog : Catalog
        beside : mapping of str to str or Path
            Further files by name: their text, or a file to copy.
        keep_others : bool
            Keep the files in the old catalog's folder that are not the catalog's own.

        Raises
        ------
        CatalogError
            The place was taken by something else meanwhile.
        """
        staging = self.partial / "catalog"
        self.partial.mkdir(parents=True, exist_ok=True)
        for leftover in self.partial.glob("*catalog*"):  # of a run that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        catalog.save(staging)
        if self.folder.exists():
            self.check_replaceable(keep_others)  # again: the run may have taken hours
            if keep_others:
                keep_other_files(self.folder, staging)
        for name, content in beside.items():
            (staging / name).unlink(missing_ok=True)  # it may be a link to the old one, which is not to be changed yet
            if isinstance(content, Path):
                shutil.copyfile(content, staging / name)
            else:
                (staging / name).write_text(content, encoding="utf-8", newline="")
        if self.folder.exists():
            self.folder.rename(self._previous)
        staging.rename(self.folder)
        shutil.rmtree(self._previous, ignore_errors=True)

    def discard_partial(self) -> None:
        """Delete the partial results: they are in the catalog."""
        shutil.rmtree(self.partial, ignore_errors=True)

    def discard_partial_if_empty(self) -> None:
        """Delete the folder of partial results, unless an unfinished run has left some there."""
        if self.partial.is_dir() and not any(self.partial.iterdir()):
            self.partial.rmdir()
