"""Says which documents Cosmos DB would not take, by id and by depth; it looks at no other field."""

import json
from itertools import accumulate
from typing import Any

ID_BYTES_MAX = 1023
DEPTH_MAX = 128
_FORBIDDEN = frozenset("/\\?#")
_STEPS = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}


def fault_of(body: bytes) -> str:
    """Why a document is refused, or nothing."""
    # Brackets inside of strings count here too, so this only says that a closer look is due.
    if body.count(b"{") + body.count(b"[") > DEPTH_MAX and _depth(body) > DEPTH_MAX:
        return f"the document nests deeper than {DEPTH_MAX} levels"
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    name = document.get("id") if isinstance(document, dict) else None
    if not isinstance(name, str):
        return ""
    if len(name.encode("utf-8", "surrogatepass")) > ID_BYTES_MAX:
        return f"the id is longer than {ID_BYTES_MAX} bytes"
    if _FORBIDDEN & set(name):
        return "the id holds one of / \\ ? #"
    return ""


def _depth(body: bytes) -> int:
    """The deepest level of a JSON text, brackets inside of strings left out."""
    inside = escaped = False
    steps = []
    for each in body:
        if inside:
            inside, escaped = each != ord('"') or escaped, each == ord("\\") and not escaped
        elif each == ord('"'):
            inside = True
        elif each in _STEPS:
            steps.append(_STEPS[each])
    return max(accumulate(steps), default=0)
