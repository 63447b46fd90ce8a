"""What request units, storage and runs cost: a dated list of prices, and sums made with it.

The figures are Microsoft's published examples and not a quotation; every one can be replaced.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import Fault, Invalid

GB = 1e9  # storage is billed by decimal gigabytes
MILLION = 1e6
TEN_THOUSAND = 10_000
INSTANCE_GB = 2  # as deployed (instanceMemoryMb)
DAY_S = 86_400
RUNS_PER_SLICE = 8  # activity runs of the shipped pipeline
DIU_HOURS_PER_SLICE = 2 / 60  # at least: two units, rounded up to one minute

Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tier(_Strict):
    """One access tier of Blob Storage."""

    gb_month: Money
    write_10k: Money
    read_10k: Money
    retrieved_gb: Money
    days_min: int = Field(ge=0)
    """What is deleted or moved earlier is billed until then."""


class Prices(_Strict):
    """Everything in one currency, as of one day."""

    as_of: dt.date = dt.date(2025, 7, 25)
    currency: str = Field(default="USD", min_length=1, max_length=8)
    request_units_million: Money = 0.25
    source_gb_month: Money = 0.25
    diu_hour: Money = 0.25
    activity_runs_1000: Money = 1.0
    table_gb_month: Money = 0.045
    table_10k: Money = 0.00036
    """Ten thousand reads or writes of Table Storage, where the look-up index lies."""
    app_gb_s: Money = 0.000026
    """A gigabyte of an instance of Flex Consumption for a second in which a function runs."""
    tiers: dict[str, Tier] = Field(
        min_length=1,
        default={
            "hot": Tier(
                gb_month=0.0208, write_10k=0.055, read_10k=0.0044, retrieved_gb=0.0, days_min=0
            ),
            "cool": Tier(
                gb_month=0.0115, write_10k=0.10, read_10k=0.01, retrieved_gb=0.01, days_min=30
            ),
            "cold": Tier(
                gb_month=0.0045, write_10k=0.18, read_10k=0.10, retrieved_gb=0.03, days_min=90
            ),
        },
    )

    def request_units(self, ru: float) -> float:
        return ru / MILLION * self.request_units_million

    def app_day(self, instances: int) -> float:
        """What so many instances cost a day that always run a function, waiting for RU included."""
        return instances * INSTANCE_GB * DAY_S * self.app_gb_s

    def runs(self, slices: int) -> float:
        """What Data Factory asks for so many short slices, beside request units."""
        activity = RUNS_PER_SLICE * self.activity_runs_1000 / 1000
        return slices * (activity + DIU_HOURS_PER_SLICE * self.diu_hour)


def parse_prices(text: str) -> Prices:
    """Prices from JSON, those left out as they are here; Invalid names every fault."""
    try:
        return Prices.model_validate(json.loads(text))
    except ValidationError as error:
        faults = tuple(
            Fault(
                path="$" + "".join(f".{part}" for part in each["loc"]),
                seen=f"saw {str(each['input'])[:60]!r}",
                advice=f"{each['msg'][:1].lower()}{each['msg'][1:]}",
            )
            for each in error.errors(include_url=False)
        )
        raise Invalid("the price list", faults) from error
    except (ValueError, RecursionError) as error:
        fault = Fault(path="$", seen=f"not JSON: {error}", advice="write one JSON object")
        raise Invalid("the price list", (fault,)) from error
