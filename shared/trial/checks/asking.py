"""One page, one answer and one refusal of Cosmos DB, with the headers that came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from azure.cosmos import ContainerProxy
from azure.cosmos.exceptions import CosmosHttpResponseError

from shared.adapters.cosmos_errors import CHARGE

CONTINUATION = "x-ms-continuation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer or a refusal: status 0 is success, whose exact status the SDK does not show."""

    status: int = 0
    substatus: int = 0
    ru: float = 0.0
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.status:
            return "success"
        return f"{self.status}/{self.substatus}" if self.substatus else str(self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    items: list[Any]
    continuation: str | None
    ru: float
    answers: int


def asked(call: Callable[..., Any]) -> Answer:
    """What a call of the SDK, given its hook, is answered."""
    seen: dict[str, str] = {}

    def hook(headers: Mapping[str, str], _body: Any) -> None:
        seen.update({name.lower(): value for name, value in headers.items()})

    try:
        body = call(response_hook=hook)
    except CosmosHttpResponseError as error:
        told = {name.lower(): value for name, value in (error.headers or {}).items()}
        return Answer(
            status=int(error.status_code or 0),
            substatus=int(error.sub_status or 0),
            ru=float(told.get(CHARGE, 0.0)),
            headers=told,
        )
    return Answer(ru=float(seen.get(CHARGE, 0.0)), body=body, headers=seen)


def page_of(
    container: ContainerProxy,
    text: str,
    *,
    limit: int,
    continuation: str | None = None,
    **where: Any,
) -> Listed:
    """One page; the continuation is the last answer's own, never what the SDK remembers."""
    answers: list[Mapping[str, str]] = []

    def hook(headers: Mapping[str, str], _body: Any) -> None:
        answers.append(headers)

    pages = container.query_items(text, max_item_count=limit, response_hook=hook, **where).by_page(
        continuation
    )
    items = list(next(pages, ()))
    after = answers[-1].get(CONTINUATION) if answers else None
    ru = sum(float(each.get(CHARGE, 0.0)) for each in answers)
    return Listed(items=items, continuation=after or None, ru=ru, answers=len(answers))


def every_item(container: ContainerProxy, text: str, **where: Any) -> list[Any]:
    """All items, as the SDK pages through them."""
    return list(container.query_items(text, **where))
