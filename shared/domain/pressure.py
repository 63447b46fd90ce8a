"""The business's own word about its load, as it arrives: read strictly, bounded in time.

What follows from it is the governor's matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.domain.governor import Pressure
from shared.errors import Fault, Invalid

FOR_S_DEFAULT = 300.0
FOR_S_MAX = 3_600.0  # a word forgotten must not stop a migration for ever; say it again if it holds
RU_PER_S_MAX = 1e9
WHY_CHARS_MAX = 200
SEEN_CHARS_MAX = 40

_ADVICE = {
    "source": "write database/container, or leave it out for every source",
    "business_ru_per_s": "write the RU/s the business needs, or leave it out to have everything",
    "for_s": f"write seconds from 0 (take it back) to {FOR_S_MAX:.0f}",
    "why": f"write one line of at most {WHY_CHARS_MAX} characters",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What a caller says; no source means every source Ebb knows."""

    source: str | None
    pressure: Pressure


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    source: str | None = Field(default=None, pattern=r"^[^/\x00-\x1f\x7f]+/[^/\x00-\x1f\x7f]+$")
    business_ru_per_s: float | None = Field(
        default=None, ge=0, le=RU_PER_S_MAX, allow_inf_nan=False
    )
    for_s: float = Field(default=FOR_S_DEFAULT, ge=0, le=FOR_S_MAX, allow_inf_nan=False)
    why: str = Field(default="", max_length=WHY_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")


def parse_push(text: str, *, now_s: float) -> Push:
    """JSON with any of source, business_ru_per_s, for_s and why; an empty body asks for all."""
    try:
        body = _Body.model_validate_json(text if text.strip() else "{}")
    except ValidationError as error:
        faults = tuple(_fault(each["loc"], each["input"]) for each in error.errors())
        raise Invalid("the pressure", faults) from error
    pressure = Pressure(
        until_s=now_s + body.for_s, business_ru_per_s=body.business_ru_per_s, told=body.why
    )
    return Push(source=body.source, pressure=pressure)


def _fault(location: tuple[int | str, ...], seen: object) -> Fault:
    key = str(location[0]) if location else None
    known = 'write a JSON object such as {"business_ru_per_s": 4200, "for_s": 120}'
    unknown = f"remove it; known keys: {', '.join(_ADVICE)}"
    return Fault(
        path="$" if key is None else f"$.{key}",
        seen=f"saw {str(seen)[:SEEN_CHARS_MAX]!r}",
        advice=known if key is None else _ADVICE.get(key, unknown),
    )
