"""An app that shows what a host gave it: each function answers, or notes in a file, what it saw."""

import asyncio
import json
import logging
import os
import threading
import time
from pathlib import Path

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

SEEN_AT_IMPORT = os.environ.get("SAMPLE_GREETING", "")


def note(name: str, **facts: object) -> None:
    """Append what happened to the notes of the test."""
    line = json.dumps({"name": name, "at_s": time.time(), **facts})
    with Path(os.environ["SAMPLE_NOTES"]).open("a", encoding="utf-8") as notes:
        notes.write(line + "\n")


@app.route(route="echo/{name}/{number}", methods=["GET", "POST"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    """Answer with everything that came."""
    seen = {
        "method": req.method,
        "url": req.url,
        "params": dict(req.params),
        "route": dict(req.route_params),
        "header": req.headers.get("X-Sample"),
        "body": list(req.get_body()),
    }
    return func.HttpResponse(
        json.dumps(seen),
        status_code=201,
        mimetype="application/json",
        headers={"X-Answer": "yes"},
    )


@app.route(route="bytes", methods=["PUT"])
async def same_bytes(req: func.HttpRequest) -> func.HttpResponse:
    """Answer with the body as it came."""
    answer = func.HttpResponse(req.get_body(), mimetype="application/octet-stream")
    answer.headers.add("Set-Cookie", "one=1; Path=/; HttpOnly; SameSite=Lax")
    answer.headers.add("Set-Cookie", "two=2; Max-Age=60; Secure")
    return answer


@app.route(route="json", methods=["POST"])
def doubled(req: func.HttpRequest) -> func.HttpResponse:
    """Answer JSON with JSON."""
    return func.HttpResponse(
        json.dumps([2 * n for n in req.get_json()]), mimetype="application/json"
    )


@app.route(route="empty", methods=["DELETE"])
def nothing(req: func.HttpRequest) -> func.HttpResponse:
    """Answer without a body."""
    return func.HttpResponse(status_code=204)


@app.route(route="fails")
def fails(req: func.HttpRequest) -> func.HttpResponse:
    """Raise what nobody outside may read."""
    message = "the secret reason"
    raise RuntimeError(message)


@app.route(route="exits")
def exits(req: func.HttpRequest) -> func.HttpResponse:
    """End the worker, if the host lets it."""
    raise SystemExit(7)


@app.route(route="settings")
def settings(req: func.HttpRequest) -> func.HttpResponse:
    """Tell what the settings were at import and are now."""
    logging.getLogger("sample").warning("asked for settings")
    seen = {
        "at_import": SEEN_AT_IMPORT,
        "now": os.environ.get("SAMPLE_GREETING"),
        "hostname": os.environ.get("WEBSITE_HOSTNAME"),
        "directory": str(Path.cwd()),
    }
    return func.HttpResponse(json.dumps(seen), mimetype="application/json")


@app.route(route="slow")
def slow(req: func.HttpRequest) -> func.HttpResponse:
    """Take as long as asked, in the thread pool."""
    note("slow_started", thread=threading.current_thread().name)
    time.sleep(float(req.params["seconds"]))
    note("slow_ended")
    return func.HttpResponse("late")


@app.route(route="blocks")
async def blocks(req: func.HttpRequest) -> func.HttpResponse:
    """Block the worker's event loop, as an app should not."""
    note("blocks_started")
    time.sleep(float(req.params["seconds"]))  # noqa: ASYNC251 - the fault it shows
    return func.HttpResponse("unblocked")


@app.route(route="guarded", auth_level=func.AuthLevel.FUNCTION)
def guarded(req: func.HttpRequest) -> func.HttpResponse:
    """Answer who has a key."""
    return func.HttpResponse("in")


@app.route(route="ruled", auth_level=func.AuthLevel.ADMIN)
def ruled(req: func.HttpRequest) -> func.HttpResponse:
    """Answer who has the master key."""
    return func.HttpResponse("in charge")


@app.queue_trigger(arg_name="msg", queue_name="%SAMPLE_QUEUE%", connection="SampleStorage")
def work(msg: func.QueueMessage) -> None:
    """Do what the message says: succeed, fail some times, or take long."""
    text = msg.get_body().decode()
    note(
        "work",
        text=text,
        dequeue_count=msg.dequeue_count,
        id=msg.id,
        pop_receipt=msg.pop_receipt,
        inserted=str(msg.insertion_time),
        expires=str(msg.expiration_time),
        next_visible=str(msg.time_next_visible),
        pid=os.getpid(),
    )
    kind, _, number = text.partition(":")
    if kind == "fail" and (msg.dequeue_count or 0) <= int(number):
        message = f"try {msg.dequeue_count} of {text}"
        raise RuntimeError(message)
    if kind == "sleep":
        time.sleep(float(number))
    note("worked", text=text)


@app.queue_trigger(arg_name="msg", queue_name="%SAMPLE_QUEUE%-poison", connection="SampleStorage")
def buried(msg: func.QueueMessage) -> None:
    """Fail on what a test says, as often as it says."""
    text = msg.get_body().decode()
    note("buried", text=text, dequeue_count=msg.dequeue_count)
    if text.startswith("unlucky") and (msg.dequeue_count or 0) <= int(text.partition(":")[2]):
        message = f"try {msg.dequeue_count} of burying {text}"
        raise RuntimeError(message)


@app.timer_trigger(arg_name="timer", schedule="%SAMPLE_SCHEDULE%", run_on_startup=True)
async def tick(timer: func.TimerRequest) -> None:
    """Note a run that lasts longer than its interval."""
    status = getattr(timer, "schedule_status", None)
    note("tick_started", past_due=timer.past_due, status=status)
    await asyncio.sleep(1.2)
    note("tick_ended")


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=False)
def yearly(timer: func.TimerRequest) -> None:
    """Note a run that was missed."""
    note("yearly", past_due=timer.past_due)
