"""Archive blobs in Azure Storage: written in blocks, published whole, copied on the server.

It knows names and bytes; what a blob means, and whether it may be promoted, is decided elsewhere.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO, TypeVar
from uuid import uuid4

from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    BlobProperties,
    BlobServiceClient,
    ContainerClient,
    ContentSettings,
    StorageStreamDownloader,
)

from shared.adapters.azure_errors import code_of, status_of, translated, unless_there
from shared.domain.slices import Stored
from shared.errors import Conflict, EbbError, NotFound, PermanentError, TransientError
from shared.ports import Clock, Protection

BLOCK_BYTES = 4 << 20  # few enough calls for a GiB, small enough to hold four of them in memory
BLOCKS_WAITING_MAX = 2  # beside the one on its way: reading gets ahead, memory stays bounded
BLOCKS_MAX = 50_000  # of one blob, by the service's own rule
READ_BYTES_MAX = 64 << 20  # `read` is for receipts and summaries; anything larger is streamed
NAME_CHARS_MAX = 1_024  # by the service's own rule
COPY_POLL_S = 0.5
COPY_POLLS_MAX = 240  # two minutes: a copy inside one account takes seconds

_CONTENT_TYPES = {"parquet": "application/vnd.apache.parquet", "json": "application/json"}
_STANDING = frozenset({409, 412})

T = TypeVar("T")


class BlobArchives:
    def __init__(self, service: BlobServiceClient, *, clock: Clock) -> None:
        self._service = service
        self._clock = clock

    def make(self, container: str) -> None:
        client = self._service.get_container_client(container)
        with translated("making", f"blob container {container}"):
            # Asked first, so that an identity that may not make containers can use what is there.
            if not client.exists():
                with unless_there():
                    client.create_container()

    def open(self, container: str, prefix: str) -> BlobArchive:
        client = self._service.get_container_client(container)
        return BlobArchive(client, service=self._service, prefix=prefix, clock=self._clock)


class BlobArchive:
    def __init__(
        self, container: ContainerClient, *, service: BlobServiceClient, prefix: str, clock: Clock
    ) -> None:
        self._container = container
        self._service = service
        self._root = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._clock = clock

    def writer(self, name: str) -> BlockWriter:
        return BlockWriter(self._client(name), name=name, thing=self._thing(name))

    def put_if_absent(self, name: str, data: bytes) -> bool:
        with translated("writing", self._thing(name)):
            try:
                self._client(name).upload_blob(
                    data,
                    overwrite=False,
                    metadata={"sha256": hashlib.sha256(data).hexdigest()},
                    content_settings=_content(name),
                )
            except HttpResponseError as error:
                if code_of(error) not in {"BlobAlreadyExists", "ConditionNotMet"}:
                    raise
                return False
        return True

    def read(self, name: str) -> bytes | None:
        with translated("reading", self._thing(name)):
            try:
                stream = self._client(name).download_blob(max_concurrency=1)
            except ResourceNotFoundError as error:
                if code_of(error) != "BlobNotFound":
                    raise
                return None
            if stream.size > READ_BYTES_MAX:
                raise PermanentError(
                    f"reading {self._thing(name)}: it has {stream.size} bytes and a small blob "
                    f"at most {READ_BYTES_MAX}; it is not what its name says — look at it"
                )
            data = b"".join(stream.chunks())
        self._check_whole(name, len(data), stream.size)
        return data

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """One request where the client's first piece is as long as the range."""
        with translated("reading", self._thing(name)):
            try:
                stream = self._client(name).download_blob(offset, length, max_concurrency=1)
                data = stream.readall()
            except HttpResponseError as error:
                if code_of(error) != "InvalidRange":
                    raise
                data = b""
        self._check_whole(name, len(data), length)
        return data

    def protection(self, name: str) -> Protection:
        with translated("asking about the protection of", self._thing(name)):
            blob = _unless_refused(self._client(name).get_blob_properties)
            account = _unless_refused(self._service.get_service_properties)
        return Protection(
            soft_delete_days=None if account is None else _retention_days(account),
            versioned=None if blob is None else blob.version_id is not None,
        )

    def download(self, name: str, into: BinaryIO) -> Stored:
        """Every chunk after the first asks for the first one's etag, so no two blobs are mixed."""
        digest = hashlib.sha256()
        arrived = 0
        with translated("downloading", self._thing(name)):
            stream: StorageStreamDownloader[bytes] = self._client(name).download_blob(
                max_concurrency=1
            )
            for chunk in stream.chunks():
                digest.update(chunk)
                into.write(chunk)
                arrived += len(chunk)
        self._check_whole(name, arrived, stream.size)
        return Stored(
            name=name,
            size_bytes=arrived,
            sha256=digest.hexdigest(),
            etag=_quoted(stream.properties.etag),
            modified_s=_modified_s(stream.properties),
        )

    def promote(self, staged: Stored, name: str) -> bool:
        if not staged.etag:
            raise PermanentError(
                f"promoting {self._thing(staged.name)}: its etag is not known, so its bytes could "
                "be anyone's; download it first and promote what was read"
            )
        target = self._client(name)
        with translated("promoting to", self._thing(name)):
            if not self._copy_begun(staged, target):
                return False
            properties = self._copy_ended(target, name)
            if properties.size == staged.size_bytes:
                return True
            _remove(target, properties)
        raise PermanentError(
            f"promoting {self._thing(staged.name)}: the copy has {properties.size} bytes and "
            f"{staged.size_bytes} were expected; the copy was removed — copy the slice again"
        )

    def stored(self, prefix: str) -> Iterator[Stored]:
        with translated("listing", self._thing(prefix)):
            for blob in self._container.list_blobs(name_starts_with=self._root + prefix):
                yield Stored(
                    name=blob.name.removeprefix(self._root),
                    size_bytes=blob.size,
                    etag=_quoted(blob.etag),
                    modified_s=_modified_s(blob),
                )

    def delete(self, name: str) -> None:
        with translated("deleting", self._thing(name)):
            try:
                self._client(name).delete_blob()
            except ResourceNotFoundError as error:
                if code_of(error) != "BlobNotFound":
                    raise

    def _copy_begun(self, staged: Stored, target: BlobClient) -> bool:
        """False when a blob stands at the target; a refused source is raised."""
        source = self._client(staged.name)
        try:
            target.start_copy_from_url(
                source.url,
                source_etag=staged.etag,
                source_match_condition=MatchConditions.IfNotModified,
                match_condition=MatchConditions.IfMissing,
            )
        except HttpResponseError as error:
            if status_of(error) not in _STANDING or not self._stands(target):
                raise self._refused(staged, error) from error
            return False
        return True

    def _refused(self, staged: Stored, error: HttpResponseError) -> Exception:
        thing = self._thing(staged.name)
        if status_of(error) == 412:  # noqa: PLR2004 - precondition failed
            return Conflict(
                f"promoting {thing}: it changed since it was validated; "
                "nothing was copied — validate what stands there now"
            )
        if isinstance(error, ResourceNotFoundError):
            return NotFound(f"promoting {thing}: it is not there any more; copy the slice again")
        return error

    def _stands(self, target: BlobClient) -> bool:
        """Whether a whole blob is there; the empty shell of a copy that failed is removed."""
        try:
            self._copy_ended(target, target.blob_name)
        except ResourceNotFoundError:
            return False
        return True

    def _copy_ended(self, target: BlobClient, name: str) -> BlobProperties:
        waited_s = COPY_POLL_S * COPY_POLLS_MAX
        for _ in range(COPY_POLLS_MAX):
            properties = target.get_blob_properties()
            status = properties.copy.status
            if status in {None, "success"}:
                return properties
            if status != "pending":
                _remove(target, properties)
                raise TransientError(
                    f"copying to {self._thing(name)}: the service gave up ({status}); "
                    "what it left was removed — try again"
                )
            self._clock.wait(COPY_POLL_S)
        raise TransientError(
            f"copying to {self._thing(name)}: not done within {waited_s:.0f} s; "
            "it goes on by itself — try again later"
        )

    def _check_whole(self, name: str, arrived: int, expected: int) -> None:
        if arrived != expected:
            raise TransientError(
                f"downloading {self._thing(name)}: {arrived} of {expected} bytes arrived; try again"
            )

    def _client(self, name: str) -> BlobClient:
        full = self._root + name
        parts = full.split("/")
        if len(full) > NAME_CHARS_MAX or "\\" in full or {"", ".", ".."} & set(parts):
            raise PermanentError(
                f"naming a blob: {name[:80]!r} has an empty or dotted path segment, a backslash, "
                f"or more than {NAME_CHARS_MAX} characters; the service would read it as another"
            )
        return self._container.get_blob_client(full)

    def _thing(self, name: str) -> str:
        return f"blob {self._container.container_name}/{self._root}{name}"


class BlockWriter:
    """Uploads full blocks in one background thread while the next one fills."""

    def __init__(self, client: BlobClient, *, name: str, thing: str) -> None:
        self._client = client
        self._name = name
        self._thing = thing
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._attempt = uuid4().hex  # block ids of two attempts at one name never mix
        self._blocks: list[BlobBlock] = []
        self._on_their_way: deque[Future[None]] = deque()
        self._uploader: ThreadPoolExecutor | None = None
        self._failure: EbbError | None = None
        self._ended = False

    @property
    def closed(self) -> bool:
        return self._ended

    def writable(self) -> bool:
        return not self._ended

    def tell(self) -> int:
        return self._size_bytes

    def flush(self) -> None:
        """Nothing to do: what is written is seen at `commit` and not before."""

    def write(self, data: bytes, /) -> int:
        self._check_open()
        self._buffer += data
        count = memoryview(data).nbytes
        self._size_bytes += count
        while len(self._buffer) >= BLOCK_BYTES:
            block = bytes(memoryview(self._buffer)[:BLOCK_BYTES])
            del self._buffer[:BLOCK_BYTES]
            self._send(block)
        return count

    def commit(self) -> Stored:
        self._check_open()
        try:
            self._send_rest()
            sha256 = self._digest.hexdigest()
            etag = self._published({"sha256": sha256})
        finally:
            self._end()
        return Stored(name=self._name, size_bytes=self._size_bytes, sha256=sha256, etag=etag)

    def abort(self) -> None:
        """Forget it; Azure drops blocks that nobody committed after a week."""
        self._end()

    def _send(self, block: bytes) -> None:
        if len(self._blocks) >= BLOCKS_MAX:
            raise PermanentError(
                f"writing {self._thing}: more than {BLOCKS_MAX} blocks; make the slice smaller"
            )
        if self._uploader is None:
            self._uploader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ebb-block")
        while len(self._on_their_way) > BLOCKS_WAITING_MAX:
            self._arrived()
        block_id = f"{self._attempt}{len(self._blocks):06d}"
        self._blocks.append(BlobBlock(block_id))
        self._on_their_way.append(self._uploader.submit(self._stage, block_id, block))

    def _stage(self, block_id: str, block: bytes) -> None:
        self._digest.update(block)  # here, where it costs the writer nothing; blocks come in order
        with translated("writing", self._thing):
            self._client.stage_block(block_id, block, length=len(block))

    def _arrived(self) -> None:
        try:
            self._on_their_way.popleft().result()
        except EbbError as error:
            self._failure = error
            self._end()
            raise

    def _send_rest(self) -> None:
        """The last block; a blob that never filled one is uploaded in one piece instead."""
        if not self._blocks:
            self._digest.update(self._buffer)
            return
        if self._buffer:
            self._send(bytes(self._buffer))
        while self._on_their_way:
            self._arrived()

    def _published(self, metadata: dict[str, str]) -> str:
        content = _content(self._name)
        if not self._blocks:
            with translated("writing", self._thing):
                answer = self._client.upload_blob(
                    bytes(self._buffer), overwrite=True, metadata=metadata, content_settings=content
                )
            return _quoted(answer["etag"])
        with translated("publishing", self._thing):
            try:
                answer = self._client.commit_block_list(
                    self._blocks, content_settings=content, metadata=metadata
                )
            except HttpResponseError as error:
                if code_of(error) != "InvalidBlockList":
                    raise
                raise Conflict(
                    f"publishing {self._thing}: another attempt published under this name and its "
                    "blocks took the place of ours; write it again"
                ) from error
        return _quoted(answer["etag"])

    def _check_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._ended:
            raise PermanentError(
                f"writing {self._thing}: it was committed or aborted already; open a new writer"
            )

    def _end(self) -> None:
        self._ended = True
        self._buffer.clear()
        if self._uploader is not None:
            self._uploader.shutdown(wait=True, cancel_futures=True)


def _unless_refused(ask: Callable[[], T]) -> T | None:
    """The answer, or None where this identity may not ask."""
    try:
        return ask()
    except HttpResponseError as error:
        if status_of(error) != 403:  # noqa: PLR2004 - forbidden
            raise
        return None


def _retention_days(account: Mapping[str, Any]) -> int:
    retention = account["delete_retention_policy"]
    return int(retention.days or 0) if retention.enabled else 0


def _content(name: str) -> ContentSettings:
    kind = _CONTENT_TYPES.get(name.rpartition(".")[2], "application/octet-stream")
    return ContentSettings(content_type=kind)


def _quoted(etag: object) -> str:
    """As conditions need it: listings of the real service give it without its quotes."""
    bare = str(etag or "").strip('"')
    return f'"{bare}"' if bare else ""


def _modified_s(properties: BlobProperties) -> float:
    return properties.last_modified.timestamp()


def _remove(target: BlobClient, properties: BlobProperties) -> None:
    """Take back what a copy left, unless someone has written there since."""
    with suppress(ResourceNotFoundError):
        target.delete_blob(etag=properties.etag, match_condition=MatchConditions.IfNotModified)
