"""Gallery: people, their crops and their vectors in one SQLite file."""

import hashlib
import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from reid_runtime.errors import StorageError
from reid_runtime.gallery.add import Added, add_rows
from reid_runtime.gallery.check import CheckResult, check_database
from reid_runtime.gallery.crops import CropImage
from reid_runtime.gallery.database import CHANGES, POLICY, Database, create_database, open_database
from reid_runtime.gallery.erase import (
    ErasurePendingError,
    Export,
    Forgotten,
    forget_expired,
    forget_people,
    list_exports,
    record_export,
)
from reid_runtime.gallery.policy import AdmissionPolicy
from reid_runtime.gallery.upgrade import Upgraded, upgrade_database
from reid_runtime.jobs.embeddings import Embeddings
from reid_runtime.jobs.search.answers import Answer, SearchSettings
from reid_runtime.jobs.search.gallery import SearchGallery
from reid_runtime.jobs.search.queries import Queries
from reid_runtime.jobs.search.run import own_calibration, search
from reid_runtime.jobs.vector_table import VectorTable, digest_of
from reid_runtime.matching.calibration import Calibration
from reid_runtime.model_file.contract import Contract

if TYPE_CHECKING:
    from reid_runtime.embedder import Embedder

_ROWS = (
    "SELECT crop.name, person.name, camera, track, time, quality, reasons, width, height, expires, embedding "
    "FROM vector JOIN crop ON crop.id = vector.crop JOIN person ON person.id = crop.person "
    "WHERE space = (SELECT id FROM space WHERE current) ORDER BY crop.id"
)
_LIVING = "FROM crop JOIN person ON person.id = person WHERE (expires IS NULL OR expires > ?)"
_NEVER = float("inf")


@dataclass(frozen=True)
class Person:
    """A person of a gallery."""

    name: str
    crops: int
    images: int
    """Of how many the crop is kept, and not the vector alone."""
    cameras: tuple[str, ...]
    first: float | None
    """The least time of a crop, in seconds; None where none has one."""
    last: float | None
    expires: float | None
    """When the first of the crops expires, in seconds since 1970."""


class Gallery:
    """People, crops and vectors of one embedding space in one file; close it, or use it in a `with` block.

    Threads may share one, and any number of processes may read while one writes. A crop whose time has passed answers
    no more, and leaves the file when the gallery is next opened for writing.

    Attributes:
        path: The file.
    """

    def __init__(self, database: Database) -> None:
        """Use `Gallery.open` or `Gallery.create`."""
        self.path, self._database = database.path, database
        self._kept: tuple[int, float, Embeddings] | None = None
        self._own: tuple[Embedder | None, str] | None = None
        self._calibration: Calibration | None = None
        self._searched: tuple[Embeddings, SearchGallery] | None = None

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        contract: Contract,
        artefact_id: str,
        policy: AdmissionPolicy | None = None,
    ) -> "Gallery":
        """A new, empty gallery for the vectors of a model; one that is there already is opened.

        Args:
            path: The file.
            contract: The model's: `embedder.contract`.
            artefact_id: The model file's: `embedder.artefact_id`.
            policy: Which crops are refused; None for the default policy.

        Returns:
            The gallery, open for writing.

        Raises:
            StorageError: Where the file is something else, or cannot be written.
        """
        text = (policy or AdmissionPolicy()).to_json()
        return cls(create_database(Path(path), contract, artefact_id, text))._opened()

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, read_only: bool = False) -> "Gallery":
        """Open a gallery that is there.

        Args:
            path: The file.
            read_only: Never write; else what has expired is removed now.

        Returns:
            The gallery.

        Raises:
            StorageError: Where there is none, or the file is damaged.
        """
        gallery = cls(open_database(Path(path), read_only))
        return gallery if read_only else gallery._opened()

    def _opened(self) -> "Gallery":
        try:
            forget_expired(self._database)
        except ErasurePendingError:
            pass  # a reader keeps the log of writes; a later writer finishes it, and `check` says so
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self._database.value("SELECT COUNT(*) FROM crop"))

    @property
    def contract(self) -> Contract:
        """The contract of the model whose vectors it holds."""
        text = self._database.value("SELECT contract FROM space WHERE current")
        return Contract.from_json(text, str(self.path))

    @property
    def contract_id(self) -> str:
        """The name of the embedding space."""
        return str(self._database.value("SELECT contract_id FROM space WHERE current"))

    @property
    def policy(self) -> AdmissionPolicy:
        """Which crops it refuses."""
        return AdmissionPolicy.from_json(self._database.state(POLICY))

    def add(
        self,
        rows: Embeddings,
        images: Sequence[CropImage | None] = (),
        *,
        origin: str = "",
        expires: float | None = None,
    ) -> Added:
        """Add crops in one transaction: when this returns, they are on disk; where it raises, none is there.

        Args:
            rows: N embeddings of the gallery's model, with the column `identity`; camera, track, time, quality and
                reasons are kept where they are there.
            images: For each row its image as it is to be kept, or None; empty for none at all.
            origin: Where they come from, as the user says it.
            expires: Seconds since 1970, from when on they are forgotten; None for never.

        Returns:
            What was added, what was known, and what was refused by which codes.

        Raises:
            StorageError: For vectors of another embedding space, a full disk, or another writer that does not end.
        """
        return add_rows(self._database, rows, images, origin, expires)

    def people(self) -> tuple[Person, ...]:
        """The people by name; who has expired is not among them."""
        now = time.time()
        seen: dict[str, set[str]] = {}
        for name, camera in self._database.rows(f"SELECT DISTINCT person.name, camera {_LIVING}", (now,)):
            seen.setdefault(name, set()).update([camera] if camera else [])
        rows = self._database.rows(
            "SELECT person.name, COUNT(*), COUNT((SELECT crop FROM image WHERE crop = crop.id)), MIN(time), MAX(time), "
            f"MIN(expires) {_LIVING} GROUP BY person.name ORDER BY person.name",
            (now,),
        )
        return tuple(
            Person(name, crops, images, tuple(sorted(seen.get(name, ()))), *times)
            for name, crops, images, *times in rows
        )

    def embeddings(self) -> Embeddings:
        """All crops that have not expired, in the order in which they came, as (N, D) vectors with their labels.

        What is read stays in memory until the file changes: a search builds its matrix once.
        """
        with self._database.snapshot():
            changes, now = self._database.state(CHANGES), time.time()
            if self._kept is None or self._kept[0] != changes or now >= self._kept[1]:
                self._kept = (changes, *self._read(now))
            return self._kept[2]

    def _read(self, now: float) -> tuple[float, Embeddings]:
        """When the first crop expires, and the rows."""
        space = self._database.rows("SELECT contract, contract_id, artefact_id FROM space WHERE current")[0]
        living = [row for row in self._database.rows(_ROWS) if row[9] is None or row[9] > now]
        names, people, cameras, tracks, times, qualities, reasons, widths, heights, expires, blobs = (
            zip(*living, strict=True) if living else [()] * 11
        )
        contract = Contract.from_json(space[0], str(self.path))
        columns: dict[str, Any] = {}
        if any(each is not None for each in qualities):
            columns["quality"] = np.array(qualities, np.float32)
        if any(each is not None for each in times):
            columns["time"] = np.array(times, np.float64)
        for name, values in (("camera", cameras), ("track", tracks)):
            if any(values):
                columns[name] = np.array(values, np.str_)
        try:
            vectors = np.frombuffer(b"".join(blobs), "<f4").reshape(len(living), contract.dimension)
        except ValueError as error:
            raise StorageError(f"{self.path} is damaged: vectors of other lengths; see `gallery check`") from error
        rows = Embeddings(
            id=np.array(names, np.str_),
            embedding=vectors,
            width=np.array(widths, np.int32),
            height=np.array(heights, np.int32),
            error=np.full(len(living), "", np.str_),
            contract=space[0],
            contract_id=space[1],
            artefact_id=space[2],
            reasons=np.array([each or "" for each in reasons], np.str_),
            identity=np.array(people, np.str_),
            **columns,
        )
        return min((each for each in expires if each is not None), default=_NEVER), rows

    def searchable(self) -> SearchGallery:
        """The rows as `search` takes them, with the kept crops for its page; built once, until the file changes."""
        rows = self.embeddings()
        kept = self._searched
        if kept is None or kept[0] is not rows:
            people = np.full(len(rows), "") if rows.identity is None else rows.identity
            labels = zip(rows.id.tolist(), people.tolist(), rows.embedding, strict=True)
            digests = ((f"{person}/{name}", hashlib.sha256(vector).hexdigest()) for name, person, vector in labels)
            table = VectorTable.of(rows, str(self.path), digest_of(digests))
            kept = self._searched = rows, SearchGallery(table, str(self.path), crop_of=self.crop)
        return kept[1]

    def search(
        self,
        queries: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Queries,
        *,
        embedder: "Embedder | None" = None,
        calibration: Calibration | None = None,
        settings: SearchSettings | None = None,
    ) -> list[Answer]:
        """Look for people, as `reid_runtime.search` does in files of embeddings.

        Args:
            queries: Images, folders of images of one person each, or files of embeddings; or what `read_queries` read.
            embedder: The model, where there are images.
            calibration: What similarities mean; None for the embedder's own.
            settings: How many candidates, at which FPIR, and what is left out.

        Returns:
            The answer to each query.

        Raises:
            StorageError: For queries of another embedding space.
            CalibrationError: Where the calibration is of another space, or does not support the FPIR.
        """
        gallery = self.searchable()
        if calibration is None and self._own != (embedder, gallery.table.contract_id):
            self._own = embedder, gallery.table.contract_id
            self._calibration = own_calibration(*self._own)  # reading it takes longer than a search
        chosen = calibration or self._calibration
        return search(queries, gallery, embedder=embedder, calibration=chosen, settings=settings)

    def crop(self, name: str) -> bytes | None:
        """The kept JPEG of the crop of this id; None where only its vector is kept. Raises StorageError for no such."""
        rows = self._database.rows(
            "SELECT jpeg FROM crop LEFT JOIN image ON image.crop = crop.id WHERE crop.name = ?", (name,)
        )
        if not rows:
            raise StorageError(f"{self.path} has no crop of the id {name!r}")
        jpeg: bytes | None = rows[0][0]
        return jpeg

    def forget(self, *people: str) -> Forgotten:
        """Forget people: their rows, crops and vectors, and every byte of them in the file and its log of writes.

        The file is written anew, which takes a second for each few hundred megabytes, and for that time its size again
        on the disk. What was exported is listed and not touched.

        Args:
            people: Their names.

        Returns:
            How many people and crops are gone, and which files were made of them before.

        Raises:
            StorageError: For a name that is not there; then nothing is forgotten. Also where a process that reads
                keeps the log of writes: then the rows are gone, and the next writer removes the bytes.
        """
        return forget_people(self._database, people)

    def forget_expired(self) -> Forgotten:
        """Forget all crops whose time has passed, as `forget` does; opening a gallery for writing does it too."""
        return forget_expired(self._database)

    def exports(self) -> tuple[Export, ...]:
        """The files that were made of the gallery, first to last: forgetting does not reach them."""
        return list_exports(self._database)

    def record_export(self, kind: str, path: str | os.PathLike[str], people: Collection[str], crops: int) -> None:
        """List a file that is about to be made of the gallery, before it is.

        Args:
            kind: `embeddings`, `page` or `search`.
            path: Where it will be.
            people: Whom it will show.
            crops: How many of their crops.
        """
        record_export(self._database, kind, os.path.abspath(path), people, crops)

    def upgrade(self, embedder: "Embedder", *, leave_out: bool = False) -> Upgraded:
        """Embed the kept crops with another model, and switch to its embedding space in one transaction.

        Until the switch everybody searches in the old space. What was embedded is kept when this is interrupted, and
        gone on from.

        Args:
            embedder: The new model.
            leave_out: Forget the crops of which only the vector was kept; without it they are an error.

        Returns:
            How many crops were embedded, and whose nearest other person is another one now.

        Raises:
            StorageError: Naming the crops that cannot be embedded, before anything has changed.
        """
        return upgrade_database(self._database, embedder, self.embeddings(), self.embeddings, leave_out)

    def check(self) -> CheckResult:
        """Read the whole file: SQLite's own checks, and every vector and crop against its checksum."""
        return check_database(self._database)

    def of(self, *people: str) -> Embeddings:
        """The rows of some people; StorageError for a name that is not there."""
        rows = self.embeddings()
        identity = rows.identity if rows.identity is not None else np.array([], np.str_)
        missing = [name for name in people if name not in identity]
        if missing:
            raise StorageError(f"{self.path} has nobody of the name {missing[0]!r}")
        return rows.take(np.flatnonzero(np.isin(identity, people)).astype(np.int64))
