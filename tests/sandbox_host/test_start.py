"""What the host says of an app, and which apps it refuses to start."""

import json
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.host.__main__ import main
from tests.sandbox_host.conftest import (
    REPOSITORY,
    SAMPLE_APP,
    host_command,
    host_environment,
    write_settings,
)

APP = """
import azure.functions as func
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
"""
HTTP = """
@app.route(route="{route}")
def {name}(req: func.HttpRequest) -> str:
    return "ok"
"""
TIMER = """
@app.timer_trigger(arg_name="t", schedule="{schedule}")
def tick(t: func.TimerRequest) -> None: ...
"""
QUEUE = """
@app.queue_trigger(arg_name="m", queue_name="q", connection="Store")
{retry}
def work(m: func.QueueMessage) -> None: ...
"""
RETRY = '@app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:01")'
BLOB = """
@app.blob_trigger(arg_name="b", path="in/{name}", connection="Store")
def read(b: func.InputStream) -> None: ...
"""


Ended = subprocess.CompletedProcess[str]


def _run(app: Path, *options: str) -> Ended:
    return subprocess.run(
        host_command(*options, app=app),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=REPOSITORY,
        env=host_environment(),
        stdin=subprocess.DEVNULL,
    )


def _app(folder: Path, source: str) -> Path:
    (folder / "function_app.py").write_text(source, "utf-8")
    (folder / "host.json").write_text('{"version": "2.0"}', "utf-8")
    return folder


def test_list_tells_every_function_without_settings_or_network() -> None:
    """--list is JSON on stdout: names, triggers, routes, schedules, queues, as written."""
    ended = _run(SAMPLE_APP, "--list")
    assert ended.returncode == 0, ended.stderr
    found = {function["name"]: function for function in json.loads(ended.stdout)}
    assert found["echo"]["route"] == "/api/echo/{name}/{number}"
    assert found["echo"]["methods"] == ["GET", "POST"]
    assert found["ruled"]["authLevel"] == "admin"
    assert found["tick"]["schedule"] == "%SAMPLE_SCHEDULE%"
    assert found["tick"]["runOnStartup"] is True
    assert found["work"]["queue"] == "%SAMPLE_QUEUE%"
    assert found["work"]["connection"] == "SampleStorage"


PLAIN = APP + HTTP.format(route="x", name="x")
# Why an app is refused -> its source, and what the message must tell.
REFUSED = {
    "import": ("import nothing_of_that_name", "ModuleNotFoundError"),
    "argument": (PLAIN.replace("req:", "request:"), "cannot load the x function"),
    "binding": (APP + BLOB, "'blobTrigger'"),
    "schedule": (APP + TIMER.format(schedule="%UNSET%"), "UNSET is not set"),
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """How each of these apps ended; side by side, for each takes a second."""

    def ended(reason: str) -> Ended:
        return _run(_app(tmp_path_factory.mktemp("app"), REFUSED[reason][0]))

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(REFUSED, pool.map(ended, REFUSED), strict=True))


@pytest.mark.parametrize("reason", REFUSED)
def test_an_app_that_would_not_work_is_refused_with_its_reason(
    refusals: dict[str, Ended], reason: str
) -> None:
    """Exit code 3 and one message; nothing of the app has run by then."""
    ended = refusals[reason]
    assert ended.returncode == 3, ended.stderr
    assert REFUSED[reason][1] in ended.stderr.split("sandbox.host: ")[-1]


def test_storage_that_does_not_answer_ends_the_host(tmp_path: Path) -> None:
    """It starts, tries six times in about 25 s (here scaled), and then ends with 1."""
    store = (
        "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;"
        "QueueEndpoint=http://127.0.0.1:1/a;"
    )
    settings = write_settings(tmp_path, {"Store": store})
    ended = _run(
        _app(tmp_path, APP + QUEUE.format(retry="")),
        *("--settings", str(settings), "--time-scale", "0.01"),
    )
    assert ended.returncode == 1
    events = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [e["event"] for e in events if e["event"] in {"ready", "listener_failed"}] == [
        "ready",
        "listener_failed",
    ]
    assert [e["factor"] for e in events if e["event"] == "time_scaled"] == [0.01]


def test_a_retry_policy_on_a_queue_trigger_is_refused_under_strict(tmp_path: Path) -> None:
    """Azure takes @app.retry there in silence and ignores it."""
    refused = _run(_app(tmp_path, APP + QUEUE.format(retry=RETRY)), "--strict")
    assert refused.returncode == 3
    told = refused.stderr.split("sandbox.host: ")[-1]
    assert "Azure ignores a retry policy on a queueTrigger; use host.json's max" in told


def test_a_retry_policy_on_a_queue_trigger_is_warned_of(tmp_path: Path) -> None:
    """Without --strict the app starts, as in Azure, and the log says what is missing."""
    listed = _run(_app(tmp_path, APP + QUEUE.format(retry=RETRY)), "--list")
    assert listed.returncode == 0
    assert json.loads(listed.stdout)[0]["retry"] == "fixed_delay"
    warned = [json.loads(line) for line in listed.stderr.splitlines()]
    assert "Azure ignores a retry policy" in warned[-1]["message"]


def test_settings_that_are_no_strings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Azure knows only strings; a number would look different there."""
    path = tmp_path / "settings.json"
    path.write_text('{"Values": {"N": 5}}', "utf-8")
    assert main(["--app", str(SAMPLE_APP), "--list", "--settings", str(path)]) == 3
    assert "N is a int" in capsys.readouterr().err


def test_a_port_in_use_is_told_before_the_app_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The address is bound first, for the app may ask for its own."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--app", str(_app(tmp_path, "raise RuntimeError")), "--port", str(port)]) == 3
    assert "choose another --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--port", "70000"], ["--drain-s", "-1"], ["--time-scale", "2"], ["--what"]]
)
def test_a_wrong_option_is_a_usage_error(options: list[str]) -> None:
    """Exit code 2, as every command line here."""
    with pytest.raises(SystemExit, match="2"):
        main(["--app", str(SAMPLE_APP), *options])
