"""An archive in a directory of this machine, so that a bench measures neither a server nor its own.

It keeps the port's promises with what a file system does in one step: renaming and linking.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

from shared.domain.slices import Stored
from shared.errors import Conflict, NotFound
from shared.ports import Protection

PIECE_BYTES = 4 << 20  # what production downloads at a time


class DirectoryArchives:
    """Each container is a folder; what is being written lies beside them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, container: str) -> None:
        (self._folder / container).mkdir(parents=True, exist_ok=True)

    def open(self, container: str, prefix: str) -> DirectoryArchive:
        return DirectoryArchive(self._folder / container / prefix, unseen=self._folder)


class DirectoryArchive:
    def __init__(self, root: Path, *, unseen: Path) -> None:
        self._root = root
        self._unseen = unseen

    def writer(self, name: str) -> FileWriter:
        return FileWriter(self._root / name, name=name, unseen=self._unseen)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        writer = self.writer(name)
        writer.write(data)
        return writer.link()

    def read(self, name: str) -> bytes | None:
        path = self._root / name
        return path.read_bytes() if path.exists() else None

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        with (self._root / name).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def protection(self, name: str) -> Protection:
        _stored(self._root / name, name)
        return Protection(soft_delete_days=0, versioned=False)

    def download(self, name: str, into: BinaryIO) -> Stored:
        path = self._root / name
        found = _stored(path, name)
        digest = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
                into.write(piece)
        return replace(found, sha256=digest.hexdigest())

    def promote(self, staged: Stored, name: str) -> bool:
        source = self._root / staged.name
        if _stored(source, staged.name).etag != staged.etag:
            raise Conflict(
                f"promoting blob {staged.name}: it changed since it was validated; "
                "nothing was linked"
            )
        return _linked(source, self._root / name)

    def stored(self, prefix: str) -> Iterator[Stored]:
        named = ((p.relative_to(self._root).as_posix(), p) for p in self._root.rglob("*"))
        for name, path in sorted(named):
            if name.startswith(prefix) and path.is_file():
                yield _stored(path, name)

    def delete(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)


class FileWriter:
    """Writes beside the archive, then puts the file under its name in one step."""

    def __init__(self, path: Path, *, name: str, unseen: Path) -> None:
        unseen.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._name = name
        self._digest = hashlib.sha256()
        self._file = NamedTemporaryFile(dir=unseen, delete=False)  # noqa: SIM115 - ended below
        self._unseen = Path(self._file.name)

    def write(self, data: bytes, /) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def commit(self) -> Stored:
        self._file.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._unseen.replace(self._path)
        return replace(_stored(self._path, self._name), sha256=self._digest.hexdigest())

    def link(self) -> bool:
        """Publish only if nothing stands there."""
        self._file.close()
        linked = _linked(self._unseen, self._path)
        self._unseen.unlink()
        return linked

    def abort(self) -> None:
        self._file.close()
        self._unseen.unlink(missing_ok=True)


def _linked(source: Path, target: Path) -> bool:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except FileExistsError:
        return False
    return True


def _stored(path: Path, name: str) -> Stored:
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise NotFound(f"looking for blob {name}: it is not there; check the name") from error
    return Stored(
        name=name,
        size_bytes=found.st_size,
        etag=f"{found.st_ino}-{found.st_mtime_ns}",
        modified_s=found.st_mtime,
    )
