"""Writing where a document may be archived only: every write goes to Cosmos DB and stays there.

Cosmos DB is written first and the index marked after, so that between the two the newer answer
wins; what is marked nobody answers for, and no later deletion brings it back. Where an archived
document is to be changed, a guard holds its place first (see `shared/domain/guards.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from azure.cosmos import CosmosDict
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

from shared.domain.canonical import canonical_document, digest
from shared.domain.guards import guard_for, is_guard
from shared.domain.pointers import Key, Pointer
from shared.tiered.conditions import condition_of, only, unconditional
from shared.tiered.keys import as_asked, id_of, key_of, named_by, spelt
from shared.tiered.reading import Arguments, Look, look
from shared.tiered.refusals import condition_failed, contended, exists, not_found
from shared.tiered.steps import Steps, ToCold, ToCosmos

TRIES_MAX = 32  # so many may write one document at once: each lost one means that another's won


class _Again(Exception):
    """Somebody came between; look afresh."""


def create_item(arguments: Arguments, paths: tuple[str, ...]) -> Steps[CosmosDict]:
    """Refused where the archive has it, too, before anything is written."""
    body = arguments["body"]
    key = named_by(body, paths)
    if key is None:
        made: CosmosDict = yield ToCosmos(method="create_item", arguments=arguments)
        return made
    held = True
    for _ in range(TRIES_MAX):
        points = yield ToCold(method="find", argument=key)
        if points is not None and points.answers:
            raise exists()
        try:
            made = yield ToCosmos(method="create_item", arguments=arguments)
        except CosmosResourceExistsError:
            found = yield from look(key, _reading(key, body["id"]))
            if found.exists or not (held or found.holder):
                raise  # nobody holds the key, again: it is not the id that is taken
            held = yield from _orphan_removed(found, key, body["id"])
            continue
        yield from _must_be_the_first(key, body["id"], made)
        return made
    raise contended(body["id"], TRIES_MAX)


def _must_be_the_first(key: Key, item: str, made: CosmosDict) -> Steps[None]:
    """A removal that began after the first look leaves its pointer: then the document exists."""
    try:
        points = yield ToCold(method="find", argument=key)
    except CosmosHttpResponseError:  # it is written: an index that is away fails no answer
        yield from shadowed(key, _etag(made))
        return
    if points is None or not points.answers or points.etag == _etag(made):
        return
    yield from _removed(key, item, _etag(made))
    raise exists()


def _orphan_removed(found: Look, key: Key, item: str) -> Steps[bool]:
    """Whether a guard stood in the way whose document was deleted meanwhile."""
    if found.holder is None:
        return False
    yield from _removed(key, item, _etag(found.holder))
    return True


def upsert_item(arguments: Arguments, paths: tuple[str, ...]) -> Steps[CosmosDict]:
    body = arguments["body"]
    key = named_by(body, paths)
    if key is None:
        made: CosmosDict = yield ToCosmos(method="upsert_item", arguments=arguments)
        return made
    if condition_of(arguments).given:
        found = yield from look(key, _reading(key, body["id"]))
        if found.archived is not None:
            return (yield from replace_item(arguments | {"item": body["id"]}, paths))
    made = yield ToCosmos(method="upsert_item", arguments=arguments)
    yield from shadowed(key, _etag(made))
    return made


def replace_item(arguments: Arguments, paths: tuple[str, ...]) -> Steps[CosmosDict]:
    body = arguments["body"]
    item = id_of(arguments["item"])
    key = named_by(body | {"id": item}, paths) if isinstance(body, dict) else None
    made: CosmosDict
    if key is None:
        made = yield ToCosmos(method="replace_item", arguments=arguments)
        return made
    asked = arguments | {"item": item}
    yield from _judged_beforehand(arguments, key, item)
    for _ in range(TRIES_MAX):
        try:
            made = yield ToCosmos(method="replace_item", arguments=asked)
        except (CosmosResourceNotFoundError, CosmosAccessConditionFailedError) as error:
            found = yield from _behind(error, key, item)
            if found.archived is None:
                continue
            _judge(found, arguments)
            try:
                made = yield from _put_over(found, key, item, paths, unconditional(asked))
            except _Again:
                continue
        yield from shadowed(key, _etag(made))
        return made
    raise contended(item, TRIES_MAX)


def patch_item(arguments: Arguments, paths: tuple[str, ...]) -> Steps[CosmosDict]:
    """An archived document is restored first; a stub must never be patched in its place."""
    item = id_of(arguments["item"])
    key = key_of(item, arguments["partition_key"])
    asked = unconditional(arguments) | {"item": item}
    condition_of(arguments)  # refused before anything is asked
    for _ in range(TRIES_MAX):
        found = yield from look(key, _reading(key, item))
        if not found.exists:
            raise found.missing or not_found()
        _judge(found, arguments)
        try:
            etag = yield from _whole_in_cosmos(found, key, item, paths)
            made: CosmosDict = yield ToCosmos(method="patch_item", arguments=asked | only(etag))
        except (_Again, CosmosResourceNotFoundError, CosmosAccessConditionFailedError) as error:
            if "filter_predicate" in arguments and not isinstance(error, _Again):
                yield from _raise_if_unmoved(error, found, key, item)
            continue
        yield from shadowed(key, _etag(made))
        return made
    raise contended(item, TRIES_MAX)


def _whole_in_cosmos(found: Look, key: Key, item: str, paths: tuple[str, ...]) -> Steps[str]:
    """The etag of the document in Cosmos DB, which is restored there if need be."""
    if found.archived is None:
        return found.etag
    data = yield ToCold(method="document", argument=found.archived)
    writing = {"item": item, "body": json.loads(data)}
    made = yield from _put_over(found, key, item, paths, writing)
    yield from shadowed(key, _etag(made))
    return _etag(made)


def _raise_if_unmoved(
    error: CosmosHttpResponseError, before: Look, key: Key, item: str
) -> Steps[None]:
    """With a predicate of the caller's a 412 may be its answer, and then is final."""
    now = yield from look(key, _reading(key, item))
    if before.archived is not None or now.etag == before.etag:
        raise error


def delete_item(arguments: Arguments) -> Steps[None]:
    """Where the archive answers, it is told first, so that nobody brings the document back."""
    item = id_of(arguments["item"])
    key = key_of(item, arguments["partition_key"])
    yield from _judged_beforehand(arguments, key, item)
    for _ in range(TRIES_MAX):
        points = yield ToCold(method="find", argument=key)
        if points is not None and points.answers:
            _judge((yield from look(key, _reading(key, item))), arguments)
            yield ToCold(method="mark", argument=key)
            yield from _cleared(key, item, points, arguments)
            return
        try:
            yield ToCosmos(method="delete_item", arguments=arguments | {"item": item})
        except (CosmosResourceNotFoundError, CosmosAccessConditionFailedError) as error:
            found = yield from _behind(error, key, item)
            if (yield from _stub_removed(found, key, item, arguments)):
                return
            continue
        yield from _pointed_at_meanwhile(key)
        return
    raise contended(item, TRIES_MAX)


def _cleared(key: Key, item: str, points: Pointer, arguments: Arguments) -> Steps[None]:
    """Whatever a removal left, or a restore brought back, before they saw the mark."""
    for _ in range(TRIES_MAX):
        try:
            stands = yield ToCosmos(method="read_item", arguments=_reading(key, item))
        except CosmosResourceNotFoundError:
            return
        if not _is_back(stands, points):
            _judge(Look(whole=stands), arguments)
        if (yield from _removed(key, item, _etag(stands))):
            return
    raise contended(item, TRIES_MAX)


def _is_back(stands: Mapping[str, Any], pointer: Pointer) -> bool:
    """Whether this is the archived version again, or a guard for it, and none written since."""
    return is_guard(stands) or digest(canonical_document(stands)) == pointer.sha256


def _stub_removed(found: Look, key: Key, item: str, arguments: Arguments) -> Steps[bool]:
    """A condition that a stub did not meet may be met by the document it stands for."""
    holder = found.holder
    if found.archived is None or holder is None or is_guard(holder):
        return False
    _judge(found, arguments)
    return (yield from _removed(key, item, _etag(holder)))


def _pointed_at_meanwhile(key: Key) -> Steps[None]:
    """A removal that was just looking at the document: it is told, too."""
    points = yield ToCold(method="find", argument=key)
    if points is not None and not points.deleted:
        yield ToCold(method="mark", argument=key)


def shadowed(key: Key, etag: str) -> Steps[None]:
    """A version was written: what points to an earlier one is not to come back after a deletion.

    It never fails the write that was answered: the archive's side tries again on its own.
    """
    yield ToCold(method="shadow", argument=(key, etag))


def _behind(error: CosmosHttpResponseError, key: Key, item: str) -> Steps[Look]:
    """What a 404 or 412 is about: an archived document, a move just made, or the truth."""
    if error.sub_status:
        raise error
    found = yield from look(key, _reading(key, item))
    refused = isinstance(error, CosmosAccessConditionFailedError)
    if found.archived is None and (refused or found.whole is None):
        raise error
    return found


def _put_over(
    found: Look, key: Key, item: str, paths: tuple[str, ...], writing: Arguments
) -> Steps[CosmosDict]:
    """Write where the archive alone has the document, unless somebody deletes it meanwhile."""
    holder = found.holder
    etag = _etag(holder if holder is not None else (yield from _guarded(found, key, paths)))
    if holder is None or is_guard(holder):
        points = yield ToCold(method="find", argument=key)
        if points != found.archived:
            yield from _removed(key, item, etag)
            raise _Again
    try:
        asked = writing | only(etag) | spelt(key, writing)
        made: CosmosDict = yield ToCosmos(method="replace_item", arguments=asked)
    except CosmosResourceNotFoundError as error:
        yield ToCold(method="mark", argument=key)  # whoever deleted the guard meant the document
        raise _Again from error
    except CosmosAccessConditionFailedError as error:
        raise _Again from error
    return made


def _guarded(found: Look, key: Key, paths: tuple[str, ...]) -> Steps[CosmosDict]:
    if found.archived is None:
        raise _Again
    guard = guard_for(key, paths=paths, pointer=found.archived)
    try:
        asked = {"body": guard} | spelt(key, {})
        made: CosmosDict = yield ToCosmos(method="create_item", arguments=asked)
    except CosmosResourceExistsError as error:
        now = yield from look(key, _reading(key, key[1]))
        if now.holder is None and now.archived == found.archived:
            raise  # nobody holds the key: it is not the id that is taken
        raise _Again from error
    return made


def _removed(key: Key, item: str, etag: str) -> Steps[bool]:
    """Delete this very version; False when something else, or nothing, stands there."""
    arguments = _reading(key, item) | only(etag)
    try:
        yield ToCosmos(method="delete_item", arguments=arguments)
    except (CosmosResourceNotFoundError, CosmosAccessConditionFailedError):
        return False
    return True


def _judge(found: Look, arguments: Arguments) -> None:
    """Whether the caller's condition holds, as Cosmos DB would judge it of the document."""
    if not condition_of(arguments).holds(found.etag):
        raise condition_failed()


def _judged_beforehand(arguments: Arguments, key: Key, item: str) -> Steps[None]:
    """A condition that any other version meets would be met by a stub."""
    if condition_of(arguments).if_none_match is not None:
        found = yield from look(key, _reading(key, item))
        if found.exists:
            _judge(found, arguments)


def _reading(key: Key, item: str) -> Arguments:
    return {"item": item, "partition_key": as_asked(key)}


def _etag(made: CosmosDict) -> str:
    """Also where the answer was asked to be empty."""
    return str(made.get("_etag") or made.get_response_headers().get("etag") or "")
