"""Embeddings as npz: plain arrays, no pickled objects."""

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from reid_runtime.jobs.embeddings import COLUMNS, METADATA, Embeddings, join
from reid_runtime.jobs.parquet import MOST_EXPANSION, NOTHING

_MAPPED = 1 << 20
"""Bytes from which on an array is mapped."""
_LOCAL_HEADER, _NAME_LENGTHS = 30, 26
"""Bytes of the header before each member of a zip, and where in it the lengths of its name and extra field are."""
_ZIP64, _ALIGNMENT = 20, 64
"""Bytes of the extra field for large files, which each member has, and what its data are aligned to."""
_ALWAYS = 64 << 20
"""Bytes that the arrays of any file may take; more only by the size of the file."""


def write_npz(file: BinaryIO, tables: Iterable[Embeddings], notes: Mapping[str, str] = NOTHING) -> int:
    """Write tables of one model, at least one, one after the other, all held at once; gives the number of rows.

    `notes` are further texts, each an array of its name.
    """
    rows = join([*tables])
    columns, texts = rows.columns(), rows.metadata() | dict(notes)
    row_bytes = sum(values[:1].nbytes for values in columns.values() if values.dtype.kind != "U")
    with zipfile.ZipFile(file, "w") as archive:
        for name, values in (columns | {name: np.array(text) for name, text in texts.items()}).items():
            member = zipfile.ZipInfo(f"{name}.npy")
            if values.ndim and values.dtype.kind == "U" and _is_wasteful(values, row_bytes):
                member.compress_type = zipfile.ZIP_DEFLATED
            else:
                member.extra = _padding(file.tell(), member)
            with archive.open(member, "w", force_zip64=True) as content:
                np.lib.format.write_array(content, np.asanyarray(values), allow_pickle=False)
    return len(rows)


def _padding(begin: int, member: zipfile.ZipInfo) -> bytes:
    """An extra field after which the bytes of a member, whose header is to begin here, are aligned, to be mapped.

    Field 0xd935 is that of zipalign: two bytes of the alignment, and zeros.
    """
    data = begin + _LOCAL_HEADER + len(member.filename) + _ZIP64 + 6
    missing = -data % _ALIGNMENT
    return struct.pack("<HHH", 0xD935, 2 + missing, _ALIGNMENT) + bytes(missing)


def _is_wasteful(texts: npt.NDArray[np.str_], row_bytes: int) -> bool:
    """Whether most of these texts' room is empty, which one very long path is enough for: it is worth compression.

    Unless the rows' other bytes are so few that the file would look like one made to fill the memory when it is read.
    """
    used = 4 * sum(map(len, texts.tolist()))
    return texts.nbytes > 4 * used + (1 << 16) and texts.itemsize < MOST_EXPANSION // 2 * row_bytes


def read_npz_notes(source: Path | BinaryIO) -> dict[str, str]:
    """All texts of a file that are no columns."""
    with open(source, "rb") if isinstance(source, Path) else nullcontext(source) as content:
        _check_sizes(content, all_of_it=True)
        content.seek(0)
        with np.load(content, allow_pickle=False) as file:
            return {name: str(file[name]) for name in file.files if name not in COLUMNS}


def read_npz(source: Path | BinaryIO) -> dict[str, Any]:
    """The columns and metadata of a file."""
    with open(source, "rb") if isinstance(source, Path) else nullcontext(source) as content:
        if not zipfile.is_zipfile(content):  # numpy takes it for a pickle then, and says how to load that unsafely
            raise ValueError("it is no .npz, or cut short")
        _check_sizes(content)
        content.seek(0)
        with np.load(content, allow_pickle=False) as file:
            values: dict[str, Any] = {name: file[name] for name in (*COLUMNS, *METADATA) if name in file}
    return values | {name: str(values[name]) for name in METADATA if name in values}


def map_npz(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """Those of the columns that are there, and the metadata, of a file; the vectors are mapped, not copied."""
    with open(path, "rb") as content:
        if not zipfile.is_zipfile(content):
            raise ValueError("it is no .npz, or cut short")
        _check_sizes(content)
        with zipfile.ZipFile(content) as archive:
            there = [name for name in (*names, *METADATA) if f"{name}.npy" in archive.NameToInfo]
            values = {name: _map_member(path, archive, f"{name}.npy") for name in there}
    return values | {name: str(values[name]) for name in METADATA if name in values}


def _map_member(path: Path, archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    member = archive.NameToInfo[name]
    if member.compress_type != zipfile.ZIP_STORED or member.file_size < _MAPPED:
        with archive.open(member) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    with archive.open(member) as file:  # it checks the member's own header, and where its bytes begin
        major, _ = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, is_fortran, kind = read(file)
        header = file.tell()
    with open(path, "rb") as content:
        content.seek(member.header_offset + _NAME_LENGTHS)
        lengths = np.frombuffer(content.read(4), "<u2").tolist()
    begin = member.header_offset + _LOCAL_HEADER + sum(lengths)
    whole = np.memmap(path, np.uint8, "r", begin, (member.file_size,))
    if zlib.crc32(whole.data) != member.CRC:
        raise ValueError(f"{name} does not have its checksum: the file is damaged")
    mapped: npt.NDArray[Any] = np.memmap(path, kind, "r", begin + header, shape, "F" if is_fortran else "C")
    # Of what is not aligned, as in earlier files, every product would make a copy.
    return mapped if mapped.flags.aligned else np.array(mapped)


def _check_sizes(content: BinaryIO, all_of_it: bool = False) -> None:
    """Refuse arrays that say they are larger than what is there, before any memory is taken for them; ValueError."""
    size = content.seek(0, os.SEEK_END)
    with zipfile.ZipFile(content) as archive:
        members = [
            each
            for each in archive.infolist()
            if all_of_it or each.filename.removesuffix(".npy") in (*COLUMNS, *METADATA)
        ]
        total = sum(member.file_size for member in members)
        if total > _ALWAYS + MOST_EXPANSION * size:
            raise ValueError(f"its arrays need {total:,} bytes, out of a file of {size:,}")
        for member in members:
            with archive.open(member) as file:
                major, _ = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
                shape, _, kind = read(file)
                if kind.hasobject:
                    raise ValueError(f"{member.filename} holds Python objects, which may be code and are never read")
                stated = file.tell() + math.prod(shape) * kind.itemsize
            if stated != member.file_size:
                raise ValueError(f"{member.filename} says {stated:,} bytes and has {member.file_size:,}")
