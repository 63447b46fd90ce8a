"""What the governor remembers of each source, as one table row that only the controller writes."""

from __future__ import annotations

from dataclasses import dataclass, field

from azure.data.tables import TableServiceClient

from shared.adapters.keys import key
from shared.adapters.records import packed, unpacked
from shared.adapters.tables import Table, Write
from shared.domain.governor import Memory
from shared.domain.outlook import Past
from shared.domain.pulse import Pulse
from shared.domain.runs import Debt
from shared.ports import Remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A memory without what can be worked out from it again: a property holds 32 Ki characters."""

    budget_ru_per_s: float
    raised_for_s: int
    overrun_s: tuple[int, ...]
    first_s: int
    use: tuple[float | None, ...]
    pulses: dict[str, Pulse]
    debts: dict[str, Debt] = field(default_factory=dict)


class TableMemories:
    def __init__(self, tables: TableServiceClient, account: str, table: str = "ebbmemory") -> None:
        self._table = Table(tables, table)
        self._partition = key(account)

    def recall(self, source: str) -> Remembered:
        thing = _thing(source)
        found = self._table.get(self._partition, key(source), thing=thing)
        if found is None:
            return Remembered()
        row = unpacked(_Row, found.properties, version="", thing=thing)
        memory = Memory(
            budget_ru_per_s=row.budget_ru_per_s,
            raised_for_s=row.raised_for_s,
            overrun_s=row.overrun_s,
            past=Past.of(row.first_s, row.use),
        )
        return Remembered(memory=memory, pulses=row.pulses, debts=row.debts)

    def keep(self, source: str, remembered: Remembered) -> None:
        thing = _thing(source)
        memory = remembered.memory
        row = _Row(
            budget_ru_per_s=memory.budget_ru_per_s,
            raised_for_s=memory.raised_for_s,
            overrun_s=memory.overrun_s,
            first_s=memory.past.first_s,
            use=memory.past.use,
            pulses=dict(remembered.pulses),
            debts=dict(remembered.debts),
        )
        properties = packed(row, thing=thing)
        write = Write(kind="put", key=key(source), thing=thing, properties=properties)
        self._table.submit(self._partition, [write], thing=thing)


def _thing(source: str) -> str:
    return f"what is remembered of {source}"
