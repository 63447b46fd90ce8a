"""What callers see over HTTP, against the real runtime."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sandbox_host.conftest import Hosts, RunningHost, Start, wait_until

pytestmark = pytest.mark.node


def test_route_values_query_headers_and_body_reach_the_function(shared_host: RunningHost) -> None:
    """A function sees the request as its caller sent it."""
    answer = shared_host.call(
        "POST",
        "/api/ECHO/a%20b%2Fc/7?x=1&x=2&empty=&y=%C3%BC",
        data=b"\x00\xff\n",
        headers={"x-sample": "ü".encode()},
    )
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Answer"] == "yes"
    seen = answer.json()
    assert seen["method"] == "POST"
    assert seen["url"].startswith(shared_host.ready["url"] + "/api/ECHO/")
    assert seen["route"] == {"name": "a b%2Fc", "number": "7"}
    assert seen["params"] == {"x": "1,2", "y": "ü"}
    assert seen["body"] == [0, 255, 10]


@pytest.mark.parametrize(
    "path", ["/api/echo/x", "/api/echo", "/api/none", "/echo/x/7", "/api//echo/x/7", "/"]
)
def test_a_path_of_no_function_is_answered_404(shared_host: RunningHost, path: str) -> None:
    """A missing value, a missing prefix and an empty segment match nothing."""
    assert shared_host.call("GET", path).status_code == 404


def test_a_method_the_route_lacks_is_answered_404(shared_host: RunningHost) -> None:
    """Azure's router knows no 405: the request goes on to the next route, and there is none."""
    answer = shared_host.call("DELETE", "/api/echo/x/7")
    assert (answer.status_code, answer.headers.get("Allow")) == (404, None)


def test_binary_bodies_and_cookies_come_back_unchanged(shared_host: RunningHost) -> None:
    """Every byte value survives both ways, and each cookie has a header of its own."""
    body = bytes(range(256)) * 4096
    answer = shared_host.call("PUT", "/api/bytes", data=body)
    assert answer.content == body
    assert answer.headers["Content-Type"] == "application/octet-stream"
    cookies = answer.raw.headers.getlist("Set-Cookie")
    assert cookies == ["one=1; HttpOnly; Path=/; SameSite=Lax", "two=2; Max-Age=60; Secure"]


def test_json_goes_in_and_comes_out(shared_host: RunningHost) -> None:
    """get_json works on a body that arrived as bytes."""
    assert shared_host.call("POST", "/api/json", json=[1, 2]).json() == [2, 4]


def test_an_answer_without_body_has_none(shared_host: RunningHost) -> None:
    """204 carries no bytes, and the connection stays usable."""
    answer = shared_host.call("DELETE", "/api/empty")
    assert (answer.status_code, answer.content) == (204, b"")
    assert shared_host.call("GET", "/api/echo/x/7").status_code == 201


def test_an_exception_is_a_bare_500_and_its_reason_is_logged(shared_host: RunningHost) -> None:
    """The caller learns nothing; the operator learns everything."""
    answer = shared_host.call("GET", "/api/fails")
    assert (answer.status_code, answer.content) == (500, b"")
    failed = [event for event in shared_host.events("invocation") if event["function"] == "fails"]
    assert failed[-1]["outcome"] == "failed"
    assert failed[-1]["error"] == "RuntimeError: the secret reason"
    assert "Traceback" in failed[-1]["stack"]


def test_a_function_that_exits_ends_only_its_own_request(shared_host: RunningHost) -> None:
    """SystemExit is a failed invocation; the host goes on."""
    assert shared_host.call("GET", "/api/exits").status_code == 500
    assert shared_host.call("GET", "/api/echo/x/7").status_code == 201


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/api/guarded", None, 401),
        ("/api/guarded", "wrong", 401),
        ("/api/guarded", "the-key", 200),
        ("/api/guarded", "the-master-key", 200),
        ("/api/ruled", "the-key", 401),
        ("/api/ruled", "the-master-key", 200),
        ("/api/echo/x/7", "wrong", 201),
    ],
)
def test_a_key_opens_what_its_level_allows(
    shared_host: RunningHost, path: str, key: str | None, status: int
) -> None:
    """The header and ?code= count alike; an anonymous function asks for nothing."""
    headers = {"x-functions-key": key} if key else {}
    assert shared_host.call("GET", path, headers=headers).status_code == status
    query = {"code": key} if key else {}
    assert shared_host.call("GET", path, params=query).status_code == status


def test_the_key_of_one_function_opens_no_other(start: Start) -> None:
    """As Azure's: what the factory and the action group hold is of no use elsewhere."""
    single = ("--single-key", "guarded", "its own", "--single-key", "echo", "another's")
    host = start("--function-key", "all", *single)
    codes = [
        host.call("GET", path, headers={"x-functions-key": key}).status_code
        for path, key in [
            ("/api/guarded", "its own"),
            ("/api/guarded", "another's"),
            ("/api/ruled", "its own"),
        ]
    ]
    assert codes == [200, 401, 401]


def test_a_key_is_never_written_to_the_log(shared_host: RunningHost) -> None:
    """Refusals are logged without their query."""
    shared_host.call("GET", "/api/guarded?code=mistyped-key")
    log = shared_host.log_path.read_text("utf-8")
    assert '"http_refused"' in log
    assert "mistyped-key" not in log
    assert "the-key" not in log


def test_a_blocked_event_loop_of_the_app_does_not_block_the_host(
    shared_host: RunningHost,
) -> None:
    """As in Azure, where the worker is another process, refusals are answered meanwhile."""
    with ThreadPoolExecutor() as pool:
        blocked = pool.submit(shared_host.call, "GET", "/api/blocks?seconds=1")
        wait_until(lambda: shared_host.notes("blocks_started"), "the blocking call")
        assert shared_host.call("GET", "/api/none").status_code == 404
        assert not blocked.done()
        assert blocked.result().text == "unblocked"


def test_each_invocation_and_each_log_record_is_one_json_line(shared_host: RunningHost) -> None:
    """App logs carry the function and the invocation they came from."""
    shared_host.call("GET", "/api/settings")
    ended = [e for e in shared_host.events("invocation") if e["function"] == "settings"][-1]
    assert ended["outcome"] == "succeeded"
    assert ended["trigger"] == "httpTrigger"
    assert ended["duration_ms"] >= 0
    said = [e for e in shared_host.events("log") if e["logger"] == "sample"][-1]
    assert said["message"] == "asked for settings"
    assert said["function"] == "settings"
    assert said["invocation_id"] == ended["invocation_id"]


@pytest.fixture(scope="module")
def tuned_host(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    """A host with narrow limits: 1,000 bytes, one thread, one second."""
    hosts = Hosts(storage, tmp_path_factory.mktemp("tuned"))
    yield hosts.start(
        "--response-s-max",
        "1",
        FUNCTIONS_REQUEST_BODY_SIZE_LIMIT="1000",
        PYTHON_THREADPOOL_THREAD_COUNT="1",
        SAMPLE_GREETING="hello",
    )
    hosts.end()


def test_a_body_beyond_the_limit_is_answered_413(tuned_host: RunningHost) -> None:
    """The limit is Azure's setting, 100 MB unless set."""
    assert tuned_host.call("PUT", "/api/bytes", data=b"x" * 1000).status_code == 200
    assert tuned_host.call("PUT", "/api/bytes", data=b"x" * 1001).status_code == 413


def test_sync_functions_share_as_many_threads_as_the_setting_says(tuned_host: RunningHost) -> None:
    """With one thread, two slow functions run one after the other."""
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(tuned_host.call, "GET", "/api/slow?seconds=0.2") for _ in range(2)]
        assert [call.result().text for call in calls] == ["late", "late"]
    first, second = tuned_host.notes("slow_started")
    assert second["at_s"] >= tuned_host.notes("slow_ended")[0]["at_s"]
    assert first["thread"] == second["thread"]


def test_a_late_answer_is_cut_and_its_function_goes_on(tuned_host: RunningHost) -> None:
    """Azure's load balancer gives up at 230 s; the function knows nothing of it."""
    before = len(tuned_host.notes("slow_ended"))
    assert tuned_host.call("GET", "/api/slow?seconds=1.6").status_code == 504
    assert len(tuned_host.notes("slow_ended")) == before
    wait_until(lambda: len(tuned_host.notes("slow_ended")) > before, "the function's end")


def test_settings_are_there_before_the_app_is_imported(tuned_host: RunningHost) -> None:
    """What a module reads at import it finds, and the app knows its own address."""
    seen = json.loads(tuned_host.call("GET", "/api/settings").text)
    assert seen["at_import"] == seen["now"] == "hello"
    assert seen["hostname"] == tuned_host.ready["url"].removeprefix("http://")
    assert seen["directory"].endswith("sample_app")


def test_the_host_ends_with_the_pipe_of_its_supervisor(start: Start) -> None:
    """With --die-with-stdin, a supervisor that is gone takes the host along."""
    host = start("--die-with-stdin", stdin=subprocess.PIPE)
    assert host.process.stdin is not None
    host.process.stdin.close()
    assert host.process.wait(20) == 0
