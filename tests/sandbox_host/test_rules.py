"""The host's small laws, without a host: routes, polling, settings, locks."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.host.config import QueueOptions, connection_string, read_host_config, resolve
from sandbox.host.faults import HostError
from sandbox.host.queues import Backoff
from sandbox.host.routes import Found, Refusal, RouteTable, parse_route, route_table
from sandbox.host.schedule import parse_schedule
from sandbox.host.server import Instances
from sandbox.host.storage import Message
from sandbox.host.timers import LockFile


def table(*routes: str, prefix: str = "api") -> RouteTable:
    """A table of routes, each its own function; "GET x" gives it a method."""
    parsed = []
    for route in routes:
        *methods, template = route.split(" ")
        parsed.append(
            parse_route(function=route, template=template, prefix=prefix, methods=tuple(methods))
        )
    return route_table(parsed)


@pytest.mark.parametrize(
    ("functions", "taker"),
    [
        ({"change": "items/{name}", "special": "items/special"}, "change"),
        ({"zealous": "items/{name}", "special": "items/special"}, "special"),
    ],
)
def test_the_first_function_by_name_takes_the_request(
    functions: dict[str, str], taker: str
) -> None:
    """A literal segment has no precedence: Azure tries routes in the order of functions' names."""
    routes = route_table(
        parse_route(function=name, template=template, prefix="api", methods=())
        for name, template in functions.items()
    )
    found = routes.find("GET", "/api/items/special")
    assert isinstance(found, Found)
    assert found.function == taker


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/api/items/a%20b", "a b"),
        ("/api/items/a%2Fb", "a%2Fb"),
        ("/api/items/a%2fb", "a%2fb"),
        ("/api/items/%252F", "%2F"),
        ("/api/items/%E2%82%AC", "€"),
        ("/api/items/%FF", "%FF"),
        ("/api/items/%zz", "%zz"),
        ("/api/items/x%0A", "x\n"),
        ("/API/Items/Ab/", "Ab"),
        ("/api/other/../items/x", "x"),
        ("/api/%2e/items/x", "x"),
        ("/api/other/%2e%2E/items/x", "x"),
    ],
)
def test_a_value_is_decoded_once_and_as_azure_does(path: str, value: str) -> None:
    """Each path was tried on Kestrel with Microsoft's router."""
    found = table("items/{id}").find("GET", path)
    assert found == Found(function="items/{id}", values={"id": value})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api//items/x", 404),
        ("//api/items/x", 404),
        ("/api/items/x//", 404),
        ("/api/items/", 404),
        ("/api/items/%00", 400),
        ("/api/items/ü", 400),
    ],
)
def test_a_path_that_azure_refuses_is_refused(path: str, status: int) -> None:
    """An empty segment matches nothing; a NUL and a raw byte are no request."""
    assert table("items/{id}").find("GET", path) == Refusal(status=status)


def test_a_route_lacking_the_method_leaves_it_to_the_next_that_fits() -> None:
    """A wrong method is answered 404, never 405."""
    routes = table("PUT items/special", "GET items/{name}")
    found = routes.find("GET", "/api/items/special")
    assert found == Found(function="GET items/{name}", values={"name": "special"})
    assert routes.find("POST", "/api/items/special") == Refusal(status=404)


def test_an_empty_route_prefix_puts_functions_at_the_root() -> None:
    """host.json may take the prefix away."""
    assert table("x", prefix="").find("GET", "/x") == Found(function="x", values={})


@pytest.mark.parametrize("template", ["{a", "{a:int}", "{a?}/b", "{*a}/b", "{a b}", "x{a}"])
def test_a_template_not_understood_is_refused(template: str) -> None:
    """A route that would match something else than in Azure is no route."""
    with pytest.raises(HostError, match="reading the route"):
        table(template)


def test_one_template_may_serve_each_method_by_its_own_function() -> None:
    """GET and PUT of one resource are often two functions."""
    routes = table("GET x", "PUT x")
    assert routes.find("PUT", "/api/x") == Found(function="PUT x", values={})


def test_polling_slows_down_while_nothing_comes_and_restarts_on_a_find() -> None:
    """By hand, without jitter: 0.1, 0.2, 0.3, 0.5, 0.9 s and so on up to the limit."""
    state, waits = Backoff(interval_s_max=2.0), []
    for found in [True, *[False] * 6, True]:
        state = state.after(found=found, random=lambda: 0.5)
        waits.append(round(state.interval_s, 6))
    assert waits == [0.1, 0.2, 0.3, 0.5, 0.9, 1.7, 2.0, 0.1]


def test_the_jitter_of_polling_stays_within_a_fifth() -> None:
    """Both ends of the random share, by hand: 0.1 + 0.1 × 0.8 and 0.1 + 0.1 × 1.2."""
    first = Backoff(interval_s_max=60.0).after(found=True, random=lambda: 0.5)
    assert first.after(found=False, random=lambda: 0.0).interval_s == pytest.approx(0.18)
    assert first.after(found=False, random=lambda: 1.0).interval_s == pytest.approx(0.22)


def test_host_json_without_queue_settings_means_the_defaults_of_azure(tmp_path: Path) -> None:
    """16 a batch, 8 for each processor as threshold, 5 tries, a minute between polls, base64."""
    path = tmp_path / "host.json"
    path.write_text('{"version": "2.0"}', "utf-8")
    assert read_host_config(path).queues == QueueOptions(
        batch_size=16,
        new_batch_threshold=8 * (os.cpu_count() or 1),
        dequeue_count_max=5,
        visibility_timeout_s=0.0,
        poll_interval_s_max=60.0,
        base64=True,
    )


def test_host_json_is_read_to_the_letter(tmp_path: Path) -> None:
    """Times are hh:mm:ss, and a setting nobody knows is told."""
    path = tmp_path / "host.json"
    path.write_text(
        '{"version": "2.0", "extensions": {"http": {"routePrefix": ""}, "queues": {"batchSize": 1,'
        '"newBatchThreshold": 0, "visibilityTimeout": "1.00:01:30", "maxPollingInterval":'
        '"00:00:02.5", "messageEncoding": "None", "batchsize": 2}}}',
        "utf-8",
    )
    config = read_host_config(path)
    assert config.route_prefix == ""
    assert config.queues.new_batch_threshold == 0
    assert config.queues.visibility_timeout_s == 86_490.0
    assert config.queues.poll_interval_s_max == 2.5
    assert config.queues.base64 is False
    assert config.warnings == (
        "host.json: extensions.queues.batchsize is not a setting Azure knows; it is ignored",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "give a readable JSON file"),
        ("[]", "no JSON object"),
        ('{"version": "1.0"}', "version is '1.0'"),
        ('{"version": "2.0", "extensions": {"queues": {"batchSize": 33}}}', "batchSize is 33"),
        ('{"version": "2.0", "extensions": {"queues": {"batchSize": true}}}', "batchSize is True"),
        ('{"version": "2.0", "extensions": {"queues": {"messageEncoding": "x"}}}', "or none"),
    ],
)
def test_a_host_json_that_azure_would_refuse_is_refused(
    tmp_path: Path, text: str, told: str
) -> None:
    """The message names the setting and what it may be."""
    path = tmp_path / "host.json"
    path.write_text(text, "utf-8")
    with pytest.raises(HostError, match=told):
        read_host_config(path)


@pytest.mark.parametrize("value", ['"5"', '"00:00:00"', "2", '"00:61"'])
def test_a_polling_interval_out_of_range_is_refused(tmp_path: Path, value: str) -> None:
    """The message says which setting, what it is and what it may be."""
    path = tmp_path / "host.json"
    queues = f'{{"queues": {{"maxPollingInterval": {value}}}}}'
    path.write_text(f'{{"version": "2.0", "extensions": {queues}}}', "utf-8")
    with pytest.raises(HostError, match="maxPollingInterval is"):
        read_host_config(path)


def test_settings_are_put_where_percent_signs_name_them() -> None:
    """Several in one text, and an unset one is named."""
    assert resolve("%A%-x-%B%", {"A": "1", "B": "2"}, "q") == "1-x-2"
    with pytest.raises(HostError, match="app setting C is not set"):
        resolve("%C%", {"C": ""}, "q")


def test_a_connection_is_found_with_and_without_its_prefix() -> None:
    """AzureWebJobsNAME comes before NAME, and identity is told to be unknown here."""
    assert connection_string("X", {"X": "plain", "AzureWebJobsX": "prefixed"}, "q") == "prefixed"
    assert connection_string("X", {"X": "plain"}, "q") == "plain"
    assert ":10001/" in connection_string("X", {"X": "UseDevelopmentStorage=true"}, "q")
    with pytest.raises(HostError, match="connection strings only"):
        connection_string("X", {"X__queueServiceUri": "https://x"}, "q")


@pytest.mark.parametrize(
    ("text", "is_often"),
    [
        ("*/5 * * * * *", True),
        ("0 */1 * * * *", False),
        ("*/5 0 3 * * *", False),
        ("0 0 3 * * *", False),
        ("30 * * * * *", False),
    ],
)
def test_only_several_runs_in_every_minute_are_not_monitored(text: str, *, is_often: bool) -> None:
    """Azure looks at the expression's form, not at the gap to the next run."""
    assert parse_schedule(text).is_often is is_often


@pytest.mark.parametrize(
    ("text", "raw"), [("aGVs bG8=\n", b"hello"), ("", b""), ("aGVsbG8=", b"hello")]
)
def test_blanks_within_base64_do_not_count(text: str, raw: bytes) -> None:
    """.NET skips them."""
    assert _message(text).raw(is_base64=True) == raw


@pytest.mark.parametrize("text", ["not base64 !!", "hello", '{"a":1}', "aGVsbG8"])
def test_what_is_not_base64_cannot_be_decoded(text: str) -> None:
    """A missing padding is as wrong as foreign text."""
    with pytest.raises(ValueError, match=r"base64|padding|characters"):
        _message(text).raw(is_base64=True)


def _message(text: str) -> Message:
    at = datetime(2026, 12, 1, tzinfo=UTC)
    return Message(
        id="i",
        pop_receipt="r",
        text=text,
        dequeue_count=1,
        inserted_on=at,
        expires_on=at,
        next_visible_on=at,
    )


def test_a_lock_belongs_to_one_host_until_it_runs_out(tmp_path: Path) -> None:
    """By hand: 60 s from the last renewal; a clean stop gives it back at once."""
    at = datetime(2026, 12, 1, tzinfo=UTC)
    first, second = (LockFile(tmp_path, "tick", 1.0) for _ in range(2))
    assert first.take(at)
    assert first.take(at + timedelta(seconds=30))
    assert not second.take(at + timedelta(seconds=89))
    assert second.take(at + timedelta(seconds=90))
    assert not first.take(at + timedelta(seconds=91))
    first.release()
    assert not first.take(at + timedelta(seconds=92))
    second.release()
    assert first.take(at + timedelta(seconds=93))


def test_a_second_call_at_once_waits_for_a_cold_instance() -> None:
    """An instance takes one call; the next needs another, which starts cold."""
    waits: list[float] = []

    async def run() -> None:
        instances = Instances(calls_each=1, cold_start_s=5.0, idle_s=120.0)
        for _ in range(2):
            await instances.take()
        for _ in range(2):
            instances.give_back()
        for _ in range(2):
            await instances.take()

    async def noted(seconds: float) -> None:
        waits.append(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sandbox.host.server.asyncio.sleep", noted)
        asyncio.run(run())
    assert waits == [5.0, 5.0]
