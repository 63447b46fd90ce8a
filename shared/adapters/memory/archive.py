"""The archive's twin: blobs in a dictionary, with etags and the same conditions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from threading import RLock
from typing import BinaryIO

from shared.domain.slices import Stored
from shared.errors import Conflict, NotFound, PermanentError, TransientError
from shared.ports import Clock, Protection

NAME_CHARS_MAX = 1_024  # of a blob, by the real service's own rule


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blob:
    data: bytes
    etag: str
    modified_s: float


class MemoryArchives:
    """All containers of one account; `blobs` lets a test look at, or harm, what is stored."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._blobs: dict[str, dict[str, _Blob]] = {}
        self._writes = 0
        self._lock = RLock()
        self.protection = Protection(soft_delete_days=7, versioned=True)

    def make(self, container: str) -> None:
        with self._lock:
            self._blobs.setdefault(container, {})

    def lose(self, container: str) -> None:
        """Somebody deletes the container, with all that is in it."""
        with self._lock:
            del self._blobs[container]

    def open(self, container: str, prefix: str) -> MemoryArchive:
        return MemoryArchive(self, container=container, prefix=prefix)

    def bytes_of(self, container: str, full_name: str) -> bytes | None:
        blob = self.find(container, full_name)
        return None if blob is None else blob.data

    def find(self, container: str, full_name: str) -> _Blob | None:
        with self._lock:
            return self._in(container).get(full_name)

    def put(self, container: str, full_name: str, data: bytes, *, missing: bool) -> _Blob | None:
        """Write a blob whole; None when it had to be missing and is not."""
        with self._lock:
            if missing and full_name in self._in(container):
                return None
            self._writes += 1
            blob = _Blob(data=data, etag=f'"0x{self._writes:X}"', modified_s=self._clock.now_s())
            self._in(container)[full_name] = blob
            return blob

    def copy(self, container: str, staged: Stored, source: str, target: str) -> bool:
        with self._lock:
            if target in self._in(container):
                return False
            blob = self._in(container).get(source)
            if blob is None:
                raise NotFound(f"promoting blob {source}: it is not there; copy the slice again")
            if blob.etag != staged.etag:
                raise Conflict(
                    f"promoting blob {source}: it changed since it was validated; "
                    "nothing was copied — validate what stands there now"
                )
            if len(blob.data) != staged.size_bytes:
                raise PermanentError(
                    f"promoting blob {source}: the copy has {len(blob.data)} bytes and "
                    f"{staged.size_bytes} were expected; the copy was removed — copy again"
                )
            return self.put(container, target, blob.data, missing=True) is not None

    def _in(self, container: str) -> dict[str, _Blob]:
        try:
            return self._blobs[container]
        except KeyError as error:
            raise NotFound(
                f"reading blob container {container}: it is not there; check the name, and that "
                "nobody deleted it"
            ) from error

    def names(self, container: str, start: str) -> list[str]:
        with self._lock:
            return sorted(name for name in self._in(container) if name.startswith(start))

    def drop(self, container: str, full_name: str) -> None:
        with self._lock:
            self._in(container).pop(full_name, None)


class MemoryArchive:
    def __init__(self, archives: MemoryArchives, *, container: str, prefix: str) -> None:
        self._archives = archives
        self._container = container
        self._root = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def writer(self, name: str) -> MemoryWriter:
        return MemoryWriter(self._archives, self._container, self._full(name), name)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        put = self._archives.put(self._container, self._full(name), data, missing=True)
        return put is not None

    def read(self, name: str) -> bytes | None:
        return self._archives.bytes_of(self._container, self._full(name))

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        data = self.read(name)
        if data is None:
            raise NotFound(f"reading blob {self._root}{name}: it is not there; check the name")
        part = data[offset : offset + length]
        if len(part) != length:
            raise TransientError(
                f"reading blob {self._root}{name}: {len(part)} of {length} bytes arrived; try again"
            )
        return part

    def protection(self, name: str) -> Protection:
        if self.read(name) is None:
            raise NotFound(f"reading blob {self._root}{name}: it is not there; check the name")
        return self._archives.protection

    def download(self, name: str, into: BinaryIO) -> Stored:
        blob = self._archives.find(self._container, self._full(name))
        if blob is None:
            raise NotFound(f"downloading blob {self._root}{name}: it is not there; check the name")
        into.write(blob.data)
        sha256 = hashlib.sha256(blob.data).hexdigest()
        return replace(_stored(name, blob), sha256=sha256)

    def promote(self, staged: Stored, name: str) -> bool:
        if not staged.etag:
            raise PermanentError(
                f"promoting blob {staged.name}: its etag is not known; download it first"
            )
        source, target = self._full(staged.name), self._full(name)
        return self._archives.copy(self._container, staged, source, target)

    def stored(self, prefix: str) -> Iterator[Stored]:
        for full in self._archives.names(self._container, self._root + prefix):
            blob = self._archives.find(self._container, full)
            if blob is not None:
                yield _stored(full.removeprefix(self._root), blob)

    def delete(self, name: str) -> None:
        self._archives.drop(self._container, self._full(name))

    def _full(self, name: str) -> str:
        full = self._root + name
        if len(full) > NAME_CHARS_MAX or "\\" in full or {"", ".", ".."} & set(full.split("/")):
            raise PermanentError(
                f"naming a blob: {name[:80]!r} has an empty or dotted path segment, a backslash, "
                f"or more than {NAME_CHARS_MAX} characters; the service would read it as another"
            )
        return full


class MemoryWriter:
    def __init__(self, archives: MemoryArchives, container: str, full: str, name: str) -> None:
        self._archives = archives
        self._container = container
        self._full = full
        self._name = name
        self._buffer = bytearray()
        self._ended = False

    @property
    def closed(self) -> bool:
        return self._ended

    def writable(self) -> bool:
        return not self._ended

    def tell(self) -> int:
        return len(self._buffer)

    def flush(self) -> None:
        """Nothing to do: what is written is seen at `commit` and not before."""

    def write(self, data: bytes, /) -> int:
        self._check_open()
        self._buffer += data
        return memoryview(data).nbytes

    def commit(self) -> Stored:
        self._check_open()
        self._ended = True
        data = bytes(self._buffer)
        blob = self._archives.put(self._container, self._full, data, missing=False)
        return Stored(
            name=self._name,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            etag="" if blob is None else blob.etag,
        )

    def abort(self) -> None:
        self._ended = True
        self._buffer.clear()

    def _check_open(self) -> None:
        if self._ended:
            raise PermanentError(
                f"writing blob {self._name}: it was committed or aborted already; open a new writer"
            )


def _stored(name: str, blob: _Blob) -> Stored:
    return Stored(name=name, size_bytes=len(blob.data), etag=blob.etag, modified_s=blob.modified_s)
