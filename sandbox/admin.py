"""A typed client of the meter's admin API; it talks to nothing else."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from sandbox.alerts import AlertRule
from sandbox.cosmos.account import History
from sandbox.cosmos.faults import Fault, Kind
from sandbox.errors import SandboxError

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """What one origin did to one partition in one second or minute."""

    start_s: int
    origin: str
    partition: int
    ru: float
    requests: int
    throttled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What one origin did since the start or the last reset."""

    ru: float
    requests: int
    throttled: int


NOTHING = Totals(ru=0.0, requests=0, throttled=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminClient:
    """Changes the sandbox's account while it runs, and reads what happened to it."""

    url: str

    def state(self) -> dict[str, Any]:
        """Return limits, prices, delay and faults as they stand."""
        return self._object("GET", "/state")

    def set_limit(self, ru_per_s: float, *, partition: int | None = None) -> None:
        """Give every partition, or one, so many RU/s from now on."""
        self._object("PUT", "/limits", {"ru_per_s": ru_per_s, "partition": partition})

    def set_write_regions(self, *names: str) -> None:
        """Let the account take writes in these regions from now on."""
        self._object("PUT", "/regions", {"write": list(names)})

    def set_tariff(self, *, ru_per_300_kb: float) -> None:
        """Change what a 300 KB point read costs."""
        self._object("PUT", "/tariff", {"ru_per_300_kb": ru_per_300_kb})

    def set_monitor(
        self,
        *,
        lag_s: float | None = None,
        loss_share: float | None = None,
        refusals: Mapping[str, int] | None = None,
        idle_minutes_have_points: bool | None = None,
    ) -> None:
        """Change how late metrics are, how many are lost, and which meet an HTTP status."""
        given = {
            "lag_s": lag_s,
            "loss_share": loss_share,
            "refusals": refusals,
            "idle_minutes_have_points": idle_minutes_have_points,
        }
        self._object(
            "PUT", "/monitor", {name: value for name, value in given.items() if value is not None}
        )

    def set_logs(self, *, lag_s: float | None = None, is_partial: bool | None = None) -> None:
        """Change how late the logs are, and whether their answers are cut short."""
        given = {"lag_s": lag_s, "is_partial": is_partial}
        self._object(
            "PUT", "/logs", {name: value for name, value in given.items() if value is not None}
        )

    def add_fault(
        self,
        fault: Fault,
        *,
        origin: str | None = None,
        kind: Kind = "any",
        after: int = 0,
        times: int | None = 1,
        slow_ms: float = 1000.0,
        retry_after_ms: float = 100.0,
    ) -> int:
        """Make requests that match meet a fault so many times (None: until cleared)."""
        match = {"origin": origin, "kind": kind, "after": after, "times": times}
        rule = {
            "fault": fault,
            "match": match,
            "slow_ms": slow_ms,
            "retry_after_ms": retry_after_ms,
        }
        return int(self._object("POST", "/faults", rule)["id"])

    def clear_faults(self) -> None:
        """Lift every fault."""
        self._object("DELETE", "/faults")

    def faults(self) -> list[dict[str, Any]]:
        """Return each fault's id, and how often it was seen and hit."""
        return list(self.state()["faults"])

    def series(self, *, since_s: float = 0, grain: str = "second") -> list[SeriesRow]:
        """Return the traffic by second or minute, origin and partition."""
        rows = self._call("GET", f"/series?since={since_s}&grain={grain}")
        return [SeriesRow(**row) for row in rows]

    def totals(self) -> dict[str, Totals]:
        """Return the traffic by origin, of the last two hours at most."""
        return {origin: Totals(**total) for origin, total in self._object("GET", "/totals").items()}

    def total(self, origin: str) -> Totals:
        """Return one origin's traffic."""
        return self.totals().get(origin, NOTHING)

    def tell_history(self, history: History) -> None:
        """Replace the traffic so far by what the account's past is told to have been."""
        self._object("POST", "/history", asdict(history))

    def open_factory(self, url: str) -> None:
        """Let callers of the management endpoint through to a factory that listens there."""
        self._object("PUT", "/factory", {"url": url})

    def watch(self, rule: AlertRule) -> None:
        """Let the account's Monitor watch an alert rule from now on."""
        self._object("PUT", "/alerts", asdict(rule))

    def alerts(self) -> list[dict[str, Any]]:
        """Return every alert posted: the rule, the body, and each answer's status."""
        return list(self._call("GET", "/alerts"))

    def reset(self) -> None:
        """Forget traffic, debts and faults; limits and prices stay."""
        self._object("POST", "/reset")

    def _object(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._call(method, path, body)
        return dict(answer)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        where = urlsplit(self.url)
        connection = http.client.HTTPConnection(
            where.hostname or "", where.port, timeout=_TIMEOUT_S
        )
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            text = response.read()
        except OSError as error:
            message = (
                f"{method} {path} of the sandbox's meter at {self.url}: {error}; "
                "is the sandbox still running?"
            )
            raise SandboxError(message) from error
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            message = (
                f"{method} {path} of the sandbox's meter: "
                f"refused with {response.status}: {text.decode()}"
            )
            raise SandboxError(message)
        return json.loads(text)
