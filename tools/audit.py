#!/usr/bin/env python3
"""Proves an Ebb archive from its own bytes: each receipt, manifest, data file and document.

One file for people who do not trust Ebb: it needs Python 3.11 and pyarrow, shares no code with Ebb
and only reads. `Audit`, near the end, says what is checked; the functions above it say how.
The archive's contract is section 10 of docs/design.md; what a verdict means is in docs/audit.md.
"""

from __future__ import annotations

import argparse
import bisect
import datetime as dt
import hashlib
import http.client
import ipaddress
import json
import math
import os
import re
import ssl
import stat
import sys
import tempfile
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from io import BufferedIOBase
from itertools import groupby, pairwise
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote, unquote, urlencode, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

PROVEN, FAULTY, _MISUSED, UNREACHABLE = range(4)  # exit codes; argparse itself ends with 2

NAMED_MAX = 20  # faults of each kind that are named; the count is always whole
SHOWN_CHARS_MAX = 300  # of an id or a key that a hostile file may have made endless
SMALL_BYTES_MAX = 16 << 20  # a receipt has a few KiB, migration.json some 150 bytes for each range
GROUP_BYTES_MAX = 256 << 20  # of a row group in memory; Ebb ends one at 8 MiB of documents
BUCKET_BYTES = 64 << 10  # of keys that wait in memory for each of 256 temporary files
WAITS_S = (1.0, 3.0, 9.0, 27.0)  # between attempts on one blob or page
TIMEOUT_S = 60.0
PAGE_NAMES, PAGE_BYTES_MAX = 5_000, 64 << 20  # of one answer to List Blobs
PAGES_MAX = 10_000  # fifty million names: an end, should a service never end its list
CHUNK_BYTES = 1 << 20
YEAR_10000_S = 253_402_300_800  # no calendar reaches further


class Unreachable(Exception):
    """The archive could not be read, so there is no verdict."""


class Broken(Exception):
    """A file has not the form that the contract gives it; the message says in what."""


CYCLE = re.compile(r"cycles/([0-9]{10})\.json")
REMOVAL_NAME = re.compile(r"(?:removed|returned)/(.*)\.([0-9]{10})\.([0-9]+)\.json", re.DOTALL)


class Key(NamedTuple):
    """What names a document; keys compare as Ebb sorts, by code point."""

    partition_key: str
    id: str


class Findings:
    """Every fault counted, the first of each kind by name; never a document's body."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.first: dict[str, list[dict[str, str]]] = {}

    def add(self, kind: str, blob: str, seen: str, key: Key | None = None) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        named = self.first.setdefault(kind, [])
        if len(named) < NAMED_MAX:
            fault = {"blob": blob, **(key._asdict() if key else {}), "seen": seen}
            named.append({what: text[:SHOWN_CHARS_MAX] for what, text in fault.items()})


class Folder:
    """An archive as plain files; symbolic links and devices are not followed, only named."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise Unreachable(f"reading the folder {str(root)!r}: there is none")
        self._root = root
        self.sizes: dict[str, int] = {}
        self.odd: list[str] = []
        """What is neither a file nor a folder; whoever reads data/ by a pattern follows links."""
        for folder, folders, names in os.walk(root, onerror=_refused):
            for path in (Path(folder, name) for name in (*folders, *names)):
                status, name = path.lstat(), path.relative_to(root).as_posix()
                if stat.S_ISREG(status.st_mode):
                    self.sizes[name] = status.st_size
                elif not stat.S_ISDIR(status.st_mode):
                    self.odd.append(name)

    def open(self, name: str) -> BufferedIOBase:
        try:
            return (self._root / name).open("rb")
        except OSError as error:
            _refused(error)


def _refused(error: OSError) -> NoReturn:
    raise Unreachable(f"reading {error.filename!r}: {error.strerror}") from error


class Container:
    """An archive in Azure Storage, by URL and SAS; no message holds a URL, as it holds the SAS."""

    def __init__(self, url: str, ca_file: str | None) -> None:
        parts = urlsplit(url)
        here, has_account_in_path = _kind_of_host(parts.hostname or "")
        if not parts.hostname or (parts.scheme == "http" and not here):
            raise ValueError("the URL of an archive needs https; http is for this machine alone")
        path = unquote(parts.path).strip("/").split("/")
        split = 2 if has_account_in_path else 1
        if len(path) < split or not all(path):
            raise ValueError("the URL of an archive is https://HOST/CONTAINER/PREFIX?SAS")
        self._url = f"{parts.scheme}://{parts.netloc}/{quote('/'.join(path[:split]))}"
        self._prefix = "".join(f"{part}/" for part in path[split:])
        self._sas = parts.query
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise ValueError(f"--ca-file {ca_file}: {error.strerror}") from error
        proxies = [urllib.request.ProxyHandler({})] if here else []  # else as the machine has it
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), _NoRedirect, *proxies
        )
        self.sizes: dict[str, int] = {}
        self.odd: list[str] = []
        self._list()

    def _list(self) -> None:
        marker = ""
        for _ in range(PAGES_MAX):
            asked = {"restype": "container", "comp": "list", "maxresults": str(PAGE_NAMES)}
            query = urlencode({**asked, "prefix": self._prefix, "marker": marker})
            with self._fetched(
                f"?{query}&{self._sas}", "the list of blobs", PAGE_BYTES_MAX
            ) as page:
                marker = self._add_page(page.read())
            if not marker:
                return
        raise Unreachable(f"listing the container: no end within {PAGES_MAX} pages")

    def _add_page(self, data: bytes) -> str:
        """Take the names of one page; returns the marker of the next."""
        try:
            page = ET.fromstring(data)  # noqa: S314 - from the service; expat bounds entities
            for blob in page.iter("Blob"):
                element = blob.find("Name")
                name = "" if element is None else element.text or ""
                if element is not None and element.get("Encoded") == "true":
                    name = unquote(name)
                if blob.findtext("Properties/ResourceType") != "directory":
                    size = int(blob.findtext("Properties/Content-Length", ""))
                    self.sizes[name.removeprefix(self._prefix)] = size
            return page.findtext("NextMarker", "")
        except (ET.ParseError, ValueError) as error:
            raise Unreachable("listing the container: the answer is no list of blobs") from error

    def open(self, name: str) -> BufferedIOBase:
        path = f"/{quote(self._prefix + name)}?{self._sas}"
        return self._fetched(path, name, self.sizes[name])

    def _fetched(self, path: str, name: str, bytes_max: int) -> BufferedIOBase:
        """The bytes, in a temporary file, after as many attempts as may help."""
        why = ""
        for wait_s in (*WAITS_S, None):
            file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
            try:
                self._copy(self._url + path, file, bytes_max)
                file.seek(0)
            except (OSError, http.client.HTTPException) as error:
                file.close()
                reason = getattr(error, "reason", error)
                why, passing = type(reason).__name__, True
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                    why, passing = f"the service answered {error.code}", _may_pass(error.code)
                if wait_s is None or not passing or isinstance(reason, ssl.SSLError):
                    break
                time.sleep(wait_s)
            else:
                return file
        raise Unreachable(
            f"reading {name}: {why}; check the address, that the SAS is valid and may read and "
            "list, and whether the server's certificate needs --ca-file"
        )

    def _copy(self, url: str, file: BufferedIOBase, bytes_max: int) -> None:
        headers = {"x-ms-version": "2021-12-02"}
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s) by __init__
        with self._opener.open(request, timeout=TIMEOUT_S) as answer:
            while file.tell() <= bytes_max and (chunk := answer.read(CHUNK_BYTES)):
                file.write(chunk)
            if file.tell() < min(int(answer.headers.get("Content-Length", 0)), bytes_max):
                raise http.client.IncompleteRead(b"")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would hand the SAS to whomever the answer names."""

    def redirect_request(self, *_: object) -> None:
        return None


def _may_pass(status: int) -> bool:
    return status in {408, 429} or status >= 500  # noqa: PLR2004 - the server's own troubles


def _kind_of_host(host: str) -> tuple[bool, bool]:
    """Whether it is this machine, and whether its URLs begin with the account, as numbers' do."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost", host == "localhost"
    return address.is_loopback, True


class Tree:
    """Ebb's Merkle tree: leaf = SHA-256(00 + data), node = SHA-256(01 + left + right).

    Neighbours are paired level by level, and an odd one moves up. That is the same as joining any
    two neighbouring subtrees of one size as soon as both are whole, which needs little memory.
    """

    def __init__(self) -> None:
        self._subtrees: list[tuple[int, bytes]] = []

    def add(self, data: bytes) -> None:
        size, node = 1, hashlib.sha256(b"\x00" + data).digest()
        while self._subtrees and self._subtrees[-1][0] == size:
            node = hashlib.sha256(b"\x01" + self._subtrees.pop()[1] + node).digest()
            size *= 2
        self._subtrees.append((size, node))

    def root(self) -> str:
        """Of no leaves: SHA-256 of nothing."""
        nodes = [node for _, node in self._subtrees] or [hashlib.sha256().digest()]
        root = nodes.pop()
        while nodes:
            root = hashlib.sha256(b"\x01" + nodes.pop() + root).digest()
        return root.hex()


DEPTH_MAX = 200
SYSTEM_PROPERTIES = {"_rid", "_self", "_attachments", "_etag", "_ts"}


def canonical(value: Any, depth: int = 0) -> str:
    """The one text of a JSON value: keys by code point, no spaces, numbers by value."""
    kind = type(value)
    if kind is str:
        return quoted(value)
    if kind is int:
        return str(value)
    if kind is float:
        return _canonical_number(value)
    if kind in {dict, list} and depth == DEPTH_MAX:
        raise ValueError(f"nested deeper than {DEPTH_MAX} levels")
    if kind is dict:
        members = [f"{quoted(key)}:{canonical(value[key], depth + 1)}" for key in sorted(value)]
        return f"{{{','.join(members)}}}"
    if kind is list:
        return f"[{','.join([canonical(each, depth + 1) for each in value])}]"
    return {None: "null", True: "true", False: "false"}[value]


def _canonical_number(value: float) -> str:
    """Whole numbers by their exact digits, others by the fewest that read back to the double."""
    if not math.isfinite(value):
        raise ValueError("a number outside a double's range")
    if value.is_integer():
        return str(int(value))
    shortest = repr(value)  # with an exponent below 0.0001; the canonical form below 0.00001
    if "e" not in shortest:
        return shortest
    if abs(value) >= 0.00001:  # noqa: PLR2004 - by the contract
        return format(Decimal(shortest), "f")
    digits, exponent = shortest.split("e")
    return f"{digits}e{int(exponent)}"


def storable(text: str) -> bytes:
    r"""UTF-8, with lone surrogates as \udXXX, because UTF-8 cannot hold them."""
    return text.encode("utf-8", "backslashreplace")


def value_at(document: Any, path: str) -> Any:
    """What a partition key path such as /address/zip leads to; {} where a part is missing."""
    for part in path.strip("/").split("/"):
        if not isinstance(document, dict) or part not in document:
            return {}
        document = document[part]
    return document


# The forms of the JSON files. A mapping has exactly these keys, a list any number of its one form,
# a tuple is a choice, int and float are not negative, anything but a type stands for itself.
BLOB = {"name": str, "bytes": int, "sha256": str}
OWNER = {"ebb_owner": 1, "name": str, "uid": str}
RANGE = {"id": str, "token": str}
MIGRATION = {
    "ebb_migration": 1,
    "name": str,
    "uid": str,
    "until_s": int,
    "ranges": [RANGE],
    "receipts": int,
    "documents": int,
    "fingerprint": str,
}
SOURCE = {
    "account": str,
    "database": str,
    "container": str,
    "partition_key": [str],
    "where": (str, None),
}
RECEIPT = {
    "ebb_receipt": 1,
    "migration": {"name": str, "uid": str},
    "source": SOURCE,
    "slice": str,
    "window": {"lo": int, "hi": int},
    "range": RANGE,
    "ids": {"lo": (str, None), "hi": (str, None)},
    "documents": int,
    "document_bytes": int,
    "counts": {"before": int, "read": int, "after": int},
    "superseded": {"count": int, "ids": [str]},
    "merkle_root": str,
    "blob": (BLOB, None),
    "manifest": BLOB,
    "engine": ("embedded", "adf"),
    "fence": int,
    "ru_spent": float,
    "validated_at_s": float,
}
OUTCOME = ("moved", "changed", "gone", "unaddressable", "untraced")
REMOVAL = {
    "ebb_removal": 1,
    "migration": {"name": str, "uid": str},
    "mode": ("delete", "stub"),
    "direction": ("remove", "restore"),
    "slice": str,
    "fence": int,
    "first": int,
    "outcomes": [OUTCOME],
}
SUPERSEDED_NAMED_MAX = 10


def misfit(value: Any, form: Any, at: str = "$") -> str | None:
    """The first place at which a value has another form."""
    if isinstance(form, tuple):
        return None if None in [misfit(value, each) for each in form] else f"{at} is none of those"
    if isinstance(form, dict):
        if not isinstance(value, dict) or value.keys() != form.keys():
            return f"{at} must have exactly the keys {', '.join(form)}"
        inner = [misfit(value[key], each, f"{at}.{key}") for key, each in form.items()]
        return next(filter(None, inner), None)
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{at} must be a list"
        return next(filter(None, (misfit(each, form[0], f"{at}[]") for each in value)), None)
    if form is int or form is float:
        fits = type(value) in {int, form} and 0 <= value < 2**63
    else:
        fits = type(value) is form if form is str else type(value) is type(form) and value == form
    return None if fits else f"{at} must be {form.__name__ if isinstance(form, type) else form!r}"


def parsed(data: bytes, form: Any) -> Any:
    """JSON of a given form; Broken when it is not that, or says one thing twice."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Broken(f"it is not plain JSON ({type(error).__name__})") from error
    if found := misfit(value, form):
        raise Broken(found)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands there twice")
    return value


def _utc(at_s: int) -> str:
    return f"{dt.datetime.fromtimestamp(at_s, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def month_of(at_s: int) -> str:
    day = dt.datetime.fromtimestamp(at_s, dt.UTC)
    return f"year={day.year:04d}/month={day.month:02d}"


def data_name(receipt: Any) -> str:
    """data/DATABASE/CONTAINER/year=YYYY/month=MM/SLICE.parquet, by the window's last second."""
    names = (receipt["source"]["database"], receipt["source"]["container"])
    safe = [re.sub(r"[^\w.-]", lambda found: f"%{ord(found[0]):02X}", name) for name in names]
    return (
        f"data/{'/'.join(safe)}/{month_of(receipt['window']['hi'] - 1)}/{receipt['slice']}.parquet"
    )


def manifest_name(slice_id: str) -> str:
    return f"manifests/{slice_id}.parquet"


def read_receipt(slice_id: str, data: bytes) -> Any:
    """A receipt whose name, window, range and id bounds agree; Broken if they do not."""
    receipt = parsed(data, RECEIPT)
    (lo_s, hi_s), (id_lo, id_hi) = _bounds(receipt["window"]), _bounds(receipt["ids"])
    if not lo_s < hi_s <= YEAR_10000_S:
        raise Broken(f"$.window [{lo_s}, {hi_s}) is none")
    if id_lo is not None and id_hi is not None and id_lo >= id_hi:
        raise Broken("$.ids end before they begin")
    whole = f"{lo_s:010d}-{hi_s:010d}-{receipt['range']['id']}"
    if receipt["slice"] != slice_id or not slice_id.startswith(whole) or "/" in slice_id:
        raise Broken("$.slice, its window, its range and the receipt's own name do not agree")
    is_part = re.fullmatch("-p[0-9]{3,}", slice_id.removeprefix(whole))
    if not is_part and (slice_id != whole or id_lo is not None or id_hi is not None):
        raise Broken("$.ids cut a window, and only a slice named -pNNN is a part of one")
    return receipt


def _bounds(interval: Mapping[str, Any]) -> tuple[Any, Any]:
    return interval["lo"], interval["hi"]


def contradictions(receipt: Any) -> list[str]:
    """What a receipt says of itself that cannot be."""
    documents, blob, superseded = receipt["documents"], receipt["blob"], receipt["superseded"]
    before, read, after = (receipt["counts"][when] for when in ("before", "read", "after"))
    manifest = manifest_name(receipt["slice"])
    laws = {
        # A past window only shrinks: nothing is read that was not counted before, and what was
        # read and is gone at the second count was superseded and is left out.
        "counts must fall from before to read to after": before >= read >= after,
        "documents must be the second count": documents == after,
        "superseded must be what was read and not archived": superseded["count"]
        == read - documents,
        f"superseded must name its ids, up to {SUPERSEDED_NAMED_MAX}": (
            len(superseded["ids"]) == min(superseded["count"], SUPERSEDED_NAMED_MAX)
        ),
        "a data file must be there if and only if there are documents": (
            (blob is None) == (documents == 0) and (blob or not receipt["document_bytes"])
        ),
        f"its data file must be {data_name(receipt)}": blob is None
        or blob["name"] == data_name(receipt),
        f"its manifest must be {manifest}": receipt["manifest"]["name"] == manifest,
        "its window must have ended before it was validated": (
            receipt["validated_at_s"] >= receipt["window"]["hi"]
        ),
    }
    return [law for law, holds in laws.items() if not holds]


class Row(NamedTuple):
    """A row of a manifest, or what it ought to be by the data file."""

    partition_key: str
    id: str
    etag: str
    ts: int
    sha256: str
    row_group: int

    @property
    def key(self) -> Key:
        return Key(self.partition_key, self.id)

    def leaf(self) -> bytes:
        """[partition_key,id,etag,ts,sha256] as JSON: no spaces, ASCII with escapes."""
        return json.dumps(list(self[:5]), separators=(",", ":")).encode()


def manifest_rows(file: BufferedIOBase) -> Iterator[Row]:
    columns = ("partition_key", "id", "etag", "ts", "sha256", "row_group")
    return (Row(*values) for _, values in _table(file, columns))


def data_rows(file: BufferedIOBase) -> Iterator[tuple[Row, bytes]]:
    columns = ("_partition_key", "id", "_etag", "_ts", "sha256", "document")
    return ((Row._make((*row[:5], group)), row[5]) for group, row in _table(file, columns))


_COLUMN_TYPES = {"ts": pa.int64(), "_ts": pa.int64(), "row_group": pa.int32()}  # others are text


def _table(file: BufferedIOBase, columns: tuple[str, ...]) -> Iterator[tuple[int, Any]]:
    """Row group and values of each row; text is checked to be UTF-8, documents come as bytes."""
    with _readable():
        file.seek(0)
        parquet = pq.ParquetFile(file, pre_buffer=False)
        schema = parquet.schema_arrow
        for name in columns:
            once = list(schema.names).count(name) == 1
            if not once or schema.field(name).type != _COLUMN_TYPES.get(name, pa.string()):
                raise Broken(f"column {name} is missing or of another type")
        for group in range(parquet.num_row_groups):
            _refuse_bomb(parquet.metadata.row_group(group))
            for batch in parquet.iter_batches(1000, row_groups=[group], columns=list(columns)):
                found = [_values(batch.column(name), name) for name in columns]
                yield from ((group, values) for values in zip(*found, strict=True))


def _values(column: pa.Array, name: str) -> list[Any]:
    if column.null_count:
        raise Broken(f"column {name} has rows without a value")
    return list((column.cast(pa.binary()) if name == "document" else column).to_pylist())


def _refuse_bomb(group: Any) -> None:
    """The bytes of a dictionary or a prefix may come again at each row; plain ones stand once."""
    size = 0
    for column in map(group.column, range(group.num_columns)):
        plain = {"PLAIN", "RLE"}.issuperset(column.encodings)
        size += column.total_uncompressed_size * (1 if plain else group.num_rows)
    if size > GROUP_BYTES_MAX:
        raise Broken(f"a row group may need {size} bytes of memory; {GROUP_BYTES_MAX} are allowed")


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError) as error:
        raise Broken(f"it is not readable as Parquet ({type(error).__name__})") from error


def document_faults(row: Row, body: bytes, receipt: Any) -> Iterator[tuple[str, str]]:
    """Everything that one document's bytes can be held against: kinds of fault, what was seen."""
    if hashlib.sha256(body).hexdigest() != row.sha256:
        yield "digest", "its bytes have another SHA-256 than its row"
    lo_s, hi_s = _bounds(receipt["window"])
    if not lo_s <= row.ts < hi_s:
        yield "window", f"its _ts {row.ts} lies outside [{lo_s}, {hi_s})"
    elif month_of(row.ts) != month_of(hi_s - 1):
        yield "window", f"its _ts {row.ts} lies in another month than its folder"
    try:
        document = json.loads(body.decode())
        if storable(canonical(document)) != body:
            yield "canonical", "its bytes are not the canonical form of what they say"
    except (ValueError, RecursionError) as error:
        yield "canonical", f"its bytes have no canonical form ({type(error).__name__})"
        return
    if not isinstance(document, dict) or not isinstance(document.get("id"), str):
        yield "identity", "it is no document with an id"
        return
    yield from _identity_faults(row, document, receipt)


def _identity_faults(row: Row, document: Any, receipt: Any) -> Iterator[tuple[str, str]]:
    own = document["id"]
    if SYSTEM_PROPERTIES & document.keys():
        yield "canonical", "it has a system property, and the canonical form leaves those out"
    if storable(own) != row.id.encode():
        yield "identity", "its own id is not that of its row"
    parts = [value_at(document, path) for path in receipt["source"]["partition_key"]]
    if storable(canonical(parts)) != row.partition_key.encode():
        yield "identity", "its own partition key is not that of its row"
    id_lo, id_hi = _bounds(receipt["ids"])
    if (id_lo is not None and own < id_lo) or (id_hi is not None and own >= id_hi):
        yield "window", "its id lies outside the id bounds of its slice"


class Keys:
    """Which slices hold which document, in temporary files: little memory for any number.

    The first 16 bytes of a key's SHA-256 and its slice's number go to one of 256 files by the first
    byte. Equal keys meet in one file, and one file at a time is small enough to sort.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting = [bytearray() for _ in range(256)]

    def add(self, key: Key, number: int) -> None:
        digest = key_digest(key)
        waiting = self._waiting[digest[0]]
        waiting += digest + number.to_bytes(4)
        if len(waiting) >= BUCKET_BYTES:
            with (self._folder / str(digest[0])).open("ab") as file:
                file.write(waiting)
            waiting.clear()

    def doubled(self) -> Iterator[tuple[bytes, int, int]]:
        """Digest, slice and other slice of each document that stands in the archive twice."""
        for bucket in range(256):
            path = self._folder / str(bucket)
            data = (path.read_bytes() if path.exists() else b"") + self._waiting[bucket]
            entries = sorted(data[at : at + 20] for at in range(0, len(data), 20))
            for one, other in pairwise(entries):
                if one[:16] == other[:16]:
                    yield one[:16], int.from_bytes(one[16:]), int.from_bytes(other[16:])


def key_digest(key: Key) -> bytes:
    return hashlib.sha256(json.dumps(key).encode()).digest()[:16]


class Extent(NamedTuple):
    """What one slice covers of its range; ids from "" on, and without end where `id_hi` is None."""

    lo_s: int
    hi_s: int
    id_lo: str
    id_hi: str | None
    slice_id: str


def tiling(
    extents: Iterable[Extent], until_s: int | None, at_s: int = 0
) -> Iterator[tuple[str, str]]:
    """Gaps and overlaps of one range's slices over [at, until), and of the parts of a window."""
    for (lo_s, hi_s), parts in groupby(sorted(extents, key=lambda e: e[:3]), key=lambda e: e[:2]):
        if lo_s > at_s:
            yield "gap", f"no slice covers [{at_s}, {lo_s})"
        elif lo_s < at_s:
            yield "overlap", f"[{lo_s}, {min(at_s, hi_s)}) is covered twice"
        at_s = max(at_s, hi_s)
        edge: str | None = ""
        for part in parts:
            if edge is None or part.id_lo < edge:
                yield "overlap", f"ids of {part.slice_id} are covered twice"
            elif part.id_lo > edge:
                yield "gap", f"no slice covers the ids before {part.slice_id}"
            edge = part.id_hi
        if edge is not None:
            yield "gap", f"no slice covers the last ids of [{lo_s}, {hi_s})"
    if until_s is not None and at_s < until_s:
        yield "gap", f"no slice covers [{at_s}, {until_s})"
    elif until_s is not None and at_s > until_s:
        yield "overlap", f"slices reach {at_s}, and the migration ends at {until_s}"


class Boundary(NamedTuple):
    """Up to where a cycle reached, and what stood there by then; cycles/UNTIL.json claims it."""

    until_s: int
    slices: int
    documents: int
    fingerprint: str

    @property
    def name(self) -> str:
        return f"cycles/{self.until_s:010d}.json"


class Audit:
    """One pass over an archive; memory grows with the number of slices, not of documents."""

    def __init__(self, place: Folder | Container, keys: Keys) -> None:
        self._place = place
        self._keys = keys
        self._fingerprint = Tree()
        self._slices: list[str] = []
        cycles = [found for name in place.sizes if (found := CYCLE.fullmatch(name))]
        is_one = "migration.json" in place.sizes  # an archive has that or cycles, never both
        self._ends = [] if is_one else sorted(int(found[1]) for found in cycles)
        self._boundaries: list[Boundary] = []
        self._named = {"owner.json", "migration.json"}
        self._facts: dict[str, Any] = {}
        self._ranges: dict[str, list[Extent]] = {}
        self._documents = self._document_bytes = self._parquet_bytes = self._gaps = 0
        self._removals = 0
        self._counts: dict[str, int] = {}
        self._findings = Findings()
        self._add = self._findings.add

    def run(self, noted: str | None) -> dict[str, Any]:
        """Check everything there is; `noted` is a fingerprint noted down earlier."""
        if owner := self._json("owner.json", OWNER):
            self._facts["migration"] = {"name": owner["name"], "uid": owner["uid"]}
        receipts = re.compile(r"receipts/(.*)\.json", re.DOTALL)
        self._slices = sorted(m[1] for name in self._place.sizes if (m := receipts.fullmatch(name)))
        for number in range(len(self._slices)):
            self._bound(number)
            self._slice(number)
        self._bound(len(self._slices))
        for name in sorted(self._place.sizes.keys() - self._named):
            if name.startswith(("data/", "manifests/", "receipts/", "cycles/")):
                self._add("stranger", name, "no sound receipt names it")
            elif name.startswith(("removed/", "returned/")):
                self._removal(name)
        for name in sorted(self._place.odd):
            self._add("link", name, "neither a file nor a folder; readers of data/ would follow it")
        self._doubled()
        root = self._fingerprint.root()
        whole = "migration.json" in self._place.sizes
        if self._boundaries:
            self._cycles()
        else:
            self._migration(root, complete=whole)
        if noted not in {None, root, *(each.fingerprint for each in self._boundaries)}:
            self._add("fingerprint", "receipts/", f"they give {root}, not the one noted down")
        ended = bool(self._boundaries) and self._boundaries[-1].slices == len(self._slices)
        return self._report(root, complete=whole or ended)

    def _bound(self, number: int) -> None:
        """Take note of each boundary that lies before a slice: its name tells where it begins."""
        begin = self._slices[number] if number < len(self._slices) else None
        at = len(self._boundaries)
        while at < len(self._ends) and (begin is None or begin >= f"{self._ends[at]:010d}"):
            root = self._fingerprint.root()
            self._boundaries.append(Boundary(self._ends[at], number, self._documents, root))
            self._named.add(self._boundaries[-1].name)
            at += 1

    def _report(self, root: str, *, complete: bool) -> dict[str, Any]:
        folders = ("data/", "manifests/", "receipts/", "cycles/", "removed/", "returned/")
        known = (*folders, "owner.json", "migration.json")
        others = sorted(name for name in self._place.sizes if not name.startswith(known))
        strange = [name for name in others if not name.startswith(("staging/", "incoming/"))]
        newest = self._boundaries[-1] if self._boundaries else None
        counts, first = self._findings.counts, self._findings.first
        return {
            "verdict": "not proven" if counts else "proven",
            "complete": complete,
            "slices": len(self._slices),
            "documents": self._documents,
            "document_bytes": self._document_bytes,
            "parquet_bytes": self._parquet_bytes,
            "fingerprint": root,
            "cycles": len(self._boundaries),
            "newest_cycle": newest and newest._asdict(),
            "gaps": self._gaps,
            "not_looked_at": len(others),
            "strange": [name[:SHOWN_CHARS_MAX] for name in strange[:NAMED_MAX]],
            "removal_records": self._removals,
            "faults": {kind: {"count": counts[kind], "first": first[kind]} for kind in counts},
        }

    def _slice(self, number: int) -> None:
        """A receipt and its files; the fingerprint is the tree over SLICE:SHA-256 of receipts."""
        slice_id = self._slices[number]
        name = f"receipts/{slice_id}.json"
        self._named.add(name)
        with self._place.open(name) as file:
            data = file.read(SMALL_BYTES_MAX)
        self._fingerprint.add(storable(f"{slice_id}:{hashlib.sha256(data).hexdigest()}"))
        try:
            receipt = read_receipt(slice_id, data)
        except Broken as error:
            self._add("receipt", name, str(error))
            return
        for law in contradictions(receipt):
            self._add("receipt", name, law)
        for what in ("migration", "source", "engine"):
            self._agree(name, what, receipt[what])
        range_id = receipt["range"]["id"]
        self._agree(name, f"the token of range {range_id}", receipt["range"]["token"])
        id_lo, id_hi = _bounds(receipt["ids"])
        self._counts[slice_id] = receipt["documents"]
        extent = Extent(*_bounds(receipt["window"]), id_lo or "", id_hi, slice_id)
        self._ranges.setdefault(range_id, []).append(extent)
        self._files(number, receipt)

    def _agree(self, blob: str, what: str, said: Any) -> None:
        """All files must say the same of these things; whoever says it first is believed."""
        if self._facts.setdefault(what, said) != said:
            self._add("migration", blob, f"{what} is not what the files before it say")

    def _files(self, number: int, receipt: Any) -> None:
        manifest, data = manifest_name(receipt["slice"]), data_name(receipt)
        with (
            self._file(manifest, receipt["manifest"]) as rows,
            self._file(data, receipt["blob"]) as bodies,
        ):
            try:
                if rows is not None:
                    self._labels(manifest, rows, receipt, "slice", "fence", "merkle_root")
                    self._manifest(manifest, rows, receipt, number)
            except Broken as error:
                self._add("unreadable", manifest, str(error))
                return
            try:
                if rows is not None and bodies is not None:
                    self._labels(data, bodies, receipt, "slice", "fence")
                    self._data(data, bodies, receipt, manifest_rows(rows))
            except Broken as error:
                self._add("unreadable", data, str(error))

    @contextmanager
    def _file(self, name: str, said: Any) -> Iterator[BufferedIOBase | None]:
        """A file that a receipt names, once its bytes were held against what the receipt says."""
        size = self._place.sizes.get(name)
        if said is None or size is None:
            if said is not None:
                self._add("missing", name, "its receipt names it and it is not there")
            yield None
            return
        self._named.add(name)
        if size != said["bytes"]:
            self._add("bytes", name, f"it has {size} bytes, not {said['bytes']}")
            yield None
            return
        with self._place.open(name) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != said["sha256"]:
                self._add("bytes", name, "its SHA-256 is not the one in its receipt")
            self._parquet_bytes += size
            yield file

    def _labels(self, name: str, file: BufferedIOBase, receipt: Any, *labels: str) -> None:
        with _readable():
            file.seek(0)
            found = pq.read_metadata(file).metadata or {}
        for what in labels:
            if found.get(f"ebb.{what}".encode()) != storable(str(receipt[what])):
                self._add("label", name, f"its metadata ebb.{what} is not what its receipt says")

    def _manifest(self, name: str, file: BufferedIOBase, receipt: Any, number: int) -> None:
        """Rows in order, each key once, and a tree over them whose root the receipt has."""
        tree, count, last = Tree(), 0, None
        for row in manifest_rows(file):
            tree.add(row.leaf())
            count += 1
            if last is not None and last >= row.key:
                self._add("order", name, "it stands behind an equal or a greater key", row.key)
            last = row.key
            self._keys.add(row.key, number)
        if tree.root() != receipt["merkle_root"]:
            self._add("merkle root", name, "its rows give another than the receipt says")
        if count != receipt["documents"]:
            self._add("count", name, f"it has {count} rows, not {receipt['documents']}")
        self._documents += count

    def _data(self, name: str, file: BufferedIOBase, receipt: Any, promised: Iterator[Row]) -> None:
        """Documents beside the manifest's rows, both in the order of their keys."""
        wanted, size = next(promised, None), 0
        for row, body in data_rows(file):
            size += len(body)
            while wanted is not None and wanted.key < row.key:
                self._add("lost document", name, "only the manifest has it", wanted.key)
                wanted = next(promised, None)
            if wanted is None or wanted.key != row.key:
                self._add("added document", name, "the manifest has it not", row.key)
            else:
                differing = [f for f in Row._fields if getattr(row, f) != getattr(wanted, f)]
                if differing:
                    seen = f"not as in the manifest: {', '.join(differing)}"
                    self._add("changed document", name, seen, row.key)
                wanted = next(promised, None)
            for kind, seen in document_faults(row, body, receipt):
                self._add(kind, name, seen, row.key)
        while wanted is not None:
            self._add("lost document", name, "only the manifest has it", wanted.key)
            wanted = next(promised, None)
        if size != receipt["document_bytes"]:
            self._add("count", name, f"{size} bytes of documents, not {receipt['document_bytes']}")
        self._document_bytes += size

    def _doubled(self) -> None:
        """In one cycle a document lies in one window of one range, so two slices have it once more.

        What was updated after a cycle took it may stand in a later one, in its newer version.
        """
        for digest, one, other in self._keys.doubled():
            if self._cycle_of(one) < self._cycle_of(other):
                continue
            manifest, key = manifest_name(self._slices[other]), None
            if self._findings.counts.get("duplicate", 0) < NAMED_MAX:
                with self._place.open(manifest) as file:
                    keys = (row.key for row in manifest_rows(file))
                    key = next((each for each in keys if key_digest(each) == digest), None)
            self._add("duplicate", manifest, f"also in slice {self._slices[one]}", key)

    def _cycle_of(self, number: int) -> int:
        return bisect.bisect_right(self._boundaries, number, key=lambda each: each.slices)

    def _json(self, name: str, form: Any) -> Any:
        """A file about the whole or about a cycle, or None."""
        if name not in self._place.sizes:
            self._add("missing", name, "every archive has one")
            return None
        try:
            with self._place.open(name) as file:
                return parsed(file.read(SMALL_BYTES_MAX), form)
        except Broken as error:
            self._add("unreadable", name, str(error))
            return None

    def _removal(self, name: str) -> None:
        """What became of a batch of a slice's rows; its name tells which, and of which attempt."""
        told = REMOVAL_NAME.fullmatch(name)
        if told is None:
            self._add("stranger", name, "its name is not that of a removal record")
            return
        record = self._json(name, REMOVAL)
        if record is None:
            return
        self._removals += 1
        folder = "removed" if record["direction"] == "remove" else "returned"
        own = f"{folder}/{record['slice']}.{record['first']:010d}.{record['fence']}.json"
        if own != name:
            self._add("removal", name, f"what it says belongs to {own}")
        self._agree(name, "migration", record["migration"])
        self._agree(name, "how documents are removed", record["mode"])
        end, rows = record["first"] + len(record["outcomes"]), self._counts.get(told[1])
        if rows is None:
            self._add("removal", name, "no sound receipt is of its slice")
        elif not record["first"] < end <= rows:
            self._add("removal", name, f"it tells of rows up to {end}, and its slice has {rows}")

    def _migration(self, root: str, *, complete: bool) -> None:
        """What migration.json claims must be so; without it slices may still leave gaps."""
        name = "migration.json"
        claimed = self._json(name, MIGRATION) if complete else None
        if claimed is None:
            self._coverage(name, set(self._ranges), None)
            return
        end = Boundary(claimed["until_s"], len(self._slices), self._documents, root)
        self._claims(name, claimed, end)
        self._coverage(name, {each["id"] for each in claimed["ranges"]}, claimed["until_s"])

    def _claims(self, name: str, claimed: Any, end: Boundary) -> None:
        """What a summary says of the receipts up to its end."""
        if claimed["fingerprint"] != end.fingerprint:
            self._add("fingerprint", name, f"its receipts give {end.fingerprint}")
        if claimed["until_s"] != end.until_s:
            self._add("count", name, f"it speaks of {claimed['until_s']}, and its name does not")
        for what, found in (("receipts", end.slices), ("documents", end.documents)):
            if claimed[what] != found:
                self._add("count", name, f"it says {claimed[what]} {what} and there are {found}")
        self._agree(name, "migration", {"name": claimed["name"], "uid": claimed["uid"]})
        for each in claimed["ranges"]:
            self._agree(name, f"the token of range {each['id']}", each["token"])

    def _cycles(self) -> None:
        """Each cycle's claims; slices tile up to the newest one's end, and cross no older one's.

        What lies beyond belongs to a cycle that is not complete, so gaps there are only counted.
        """
        range_ids = set(self._ranges)
        for each in self._boundaries:
            claimed = self._json(each.name, MIGRATION)
            if claimed is not None:
                self._claims(each.name, claimed, each)
                range_ids = {each["id"] for each in claimed["ranges"]}
                self._agree(each.name, "its ranges", sorted(range_ids))
        for range_id, extents in sorted(self._ranges.items()):
            for extent in extents:
                crossed = bisect.bisect_right(self._ends, extent.lo_s)
                if crossed < bisect.bisect_left(self._ends, extent.hi_s):
                    seen = f"range {range_id}: {extent.slice_id} crosses its end"
                    self._add("overlap", self._boundaries[crossed].name, seen)
        newest = self._boundaries[-1]
        self._coverage(newest.name, range_ids, newest.until_s)

    def _coverage(self, name: str, range_ids: set[str], until_s: int | None) -> None:
        end_s = self._ends[-1] if self._ends else math.inf
        for range_id in sorted(self._ranges.keys() | range_ids):
            if range_id not in range_ids:
                self._add("overlap", name, f"it does not have range {range_id}")
            extents = self._ranges.get(range_id, [])
            self._tiles(range_id, [e for e in extents if e.lo_s < end_s], until_s)
            if self._ends:
                later = [e for e in extents if e.lo_s >= end_s]
                self._tiles(range_id, later, None, self._ends[-1])

    def _tiles(
        self, range_id: str, extents: list[Extent], until_s: int | None, at_s: int = 0
    ) -> None:
        for kind, seen in tiling(extents, until_s, at_s):
            if kind == "gap" and until_s is None:
                self._gaps += 1
            else:
                self._add(kind, "receipts/", f"range {range_id}: {seen}")


def sentences(report: Mapping[str, Any]) -> Iterator[str]:
    """The report for people; what comes from the archive is quoted and cannot steer a terminal."""
    state, newest = "complete", report["newest_cycle"]
    if not report["complete"]:
        state = "so far (not complete: there is no migration.json)"
        if newest is not None:
            state = f"so far; {newest['slices']:,} slices up to {_utc(newest['until_s'])} complete"
    yield f"PROVEN: {state}" if report["verdict"] == "proven" else "NOT PROVEN"
    yield f"documents    {report['documents']:,} in {report['slices']:,} slices"
    yield f"bytes        {report['document_bytes']:,}, as Parquet {report['parquet_bytes']:,}"
    yield f"fingerprint  {report['fingerprint']}"
    if newest is not None:
        yield f"newest cycle {newest['fingerprint']}, of {report['cycles']:,}"
    if report["gaps"]:
        yield f"gaps         {report['gaps']:,} between slices: not proven yet, or taken away"
    yield from _beside(report)
    for kind, faults in report["faults"].items():
        yield f"{kind}: {faults['count']:,}"
        for fault in faults["first"]:
            yield f"  {', '.join(f'{what} {json.dumps(text)}' for what, text in fault.items())}"
        if faults["count"] > NAMED_MAX:
            yield f"  and {faults['count'] - NAMED_MAX:,} more"


def _beside(report: Mapping[str, Any]) -> Iterator[str]:
    """What there is besides the proof."""
    if report["removal_records"]:
        yield f"removals     {report['removal_records']:,} records of batches removed or returned"
    if report["not_looked_at"]:
        yield f"other files  {report['not_looked_at']:,}, not looked at (such as staging/)"
    for name in report["strange"]:
        yield f"  not Ebb's: {json.dumps(name)}"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(re.sub(r"\?\S*", "?...", message))  # a SAS must not come back on the screen


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        description="Prove an Ebb archive from its own bytes. It only reads.",
        epilog="Exit code: 0 proven, 1 a fault was found, 2 used wrongly, 3 not reachable.",
    )
    parser.add_argument(
        "archive",
        help="a folder, or in quotes https://ACCOUNT.blob.core.windows.net/CONTAINER/PREFIX?SAS "
        "with a SAS that may read and list",
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON value")
    parser.add_argument("--fingerprint", metavar="HEX", help="one noted down earlier, to compare")
    parser.add_argument("--ca-file", metavar="PEM", help="certificates of a private authority")
    return parser


def main(arguments: list[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    noted = options.fingerprint and options.fingerprint.lower()
    if noted is not None and not re.fullmatch("[0-9a-f]{64}", noted):
        parser.error("--fingerprint needs 64 hexadecimal digits")
    try:
        place = _place(parser, options)
        with tempfile.TemporaryDirectory() as folder:
            report = Audit(place, Keys(Path(folder))).run(noted)
    except (Unreachable, OSError) as error:
        sys.stderr.write(f"NO VERDICT: {ascii(str(error))[1:-1]}\n")
        return UNREACHABLE
    text = json.dumps(report, indent=1) if options.json else "\n".join(sentences(report))
    sys.stdout.write(f"{text}\n")
    return FAULTY if report["faults"] else PROVEN


def _place(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Folder | Container:
    if not re.match("https?://", options.archive):
        return Folder(Path(options.archive))
    try:
        return Container(options.archive, options.ca_file)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
