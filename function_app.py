"""Ebb's triggers: each parses its input, makes one call, and maps the result.

Nothing happens at import; the application is built by shared.wiring at the first invocation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import azure.functions as func

from shared import faces, wiring
from shared.errors import EbbError
from shared.ports import COPY_QUEUE, NOTIFY_QUEUE, RECEIVE_QUEUE, RETIRE_QUEUE, VALIDATE_QUEUE

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
log = logging.getLogger("ebb")


def _answer(context: func.Context, call: Callable[[], faces.Answer]) -> func.HttpResponse:
    try:
        answer = call()
    except EbbError as error:
        answer = faces.problem(error)
    except Exception:
        log.exception("unexpected failure")
        answer = faces.unexpected(context.invocation_id)
    return func.HttpResponse(
        answer.body,
        status_code=answer.status,
        headers=dict(answer.headers),
        mimetype=answer.media,
    )


def _tell(delivery: dict[str, Any]) -> None:
    """One event that an alert rule may watch for, whether or not anybody else was told."""
    level = logging.ERROR if delivery["failed"] else logging.WARNING
    log.log(level, "notice %s", faces.shown(delivery).body.decode())


@app.route("migrations", methods=["GET"])
def migrations_list(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """All migrations with their status."""
    del req
    return _answer(
        context,
        lambda: faces.shown([s.as_dict() for s in wiring.app().operating.statuses()]),
    )


@app.route("migrations/{name}", methods=["GET"])
def migration_status(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """One migration's status."""
    name = req.route_params["name"]
    return _answer(context, lambda: faces.shown(wiring.app().operating.status(name).as_dict()))


@app.route("migrations/{name}", methods=["PUT"])
def migration_apply(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Register a spec."""
    name = req.route_params["name"]

    def call() -> faces.Answer:
        faces.must_be_operator(req.headers, wiring.app().operator_key)
        text = faces.text_body(req.get_body())
        migration = wiring.app().operating.apply(text, name=name)
        return faces.shown(faces.migration_shown(migration), status=201)

    return _answer(context, call)


def _change(req: func.HttpRequest, context: func.Context, verb: str) -> func.HttpResponse:
    name = req.route_params["name"]

    def call() -> faces.Answer:
        migration = wiring.app().operating.change(name, verb)
        return faces.shown(faces.migration_shown(migration))

    return _answer(context, call)


# One route for each verb: Azure tries routes in the order of the functions' names, and a route
# with {verb} would take the requests of `migrations/{name}/retirement` as well.
@app.route("migrations/{name}/start", methods=["POST"])
def migration_start(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Start a registered migration, or one that was stopped."""
    return _change(req, context, "start")


@app.route("migrations/{name}/pause", methods=["POST"])
def migration_pause(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Pause a running migration."""
    return _change(req, context, "pause")


@app.route("migrations/{name}/resume", methods=["POST"])
def migration_resume(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Go on with a paused or halted migration."""
    return _change(req, context, "resume")


@app.route("migrations/{name}/stop", methods=["POST"])
def migration_stop(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Stop a migration for good."""
    return _change(req, context, "stop")


@app.route("migrations/{name}/decisions", methods=["GET"])
def migration_decisions(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The latest decisions with their reasons, newest first."""
    name = req.route_params["name"]

    def call() -> faces.Answer:
        ebb = wiring.app()
        span_s = faces.number(
            "span_s", req.params.get("span_s"), faces.SINCE_DEFAULT_S, most=90 * 86_400
        )
        limit = faces.number("limit", req.params.get("limit"), faces.DECISIONS_DEFAULT, most=1_000)
        since_s = ebb.ports.clock.now_s() - span_s
        return faces.decided_shown(ebb.operating.decisions(name, since_s=since_s, limit=int(limit)))

    return _answer(context, call)


@app.route("migrations/{name}/timeline", methods=["GET"])
def migration_timeline(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """What the business and Ebb used, what was allowed and why, to be drawn."""
    name = req.route_params["name"]

    def call() -> faces.Answer:
        hours = faces.hours(req.params.get("hours"))
        return faces.shown(wiring.app().picturing.timeline(name, hours=hours).as_dict())

    return _answer(context, call)


@app.route("migrations/{name}/retirement", methods=["GET"])
def retirement_status(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """What removing from the source would take, what stands against it, and how far it is."""
    name = req.route_params["name"]
    return _answer(context, lambda: faces.shown(wiring.app().retirements.assess(name).as_dict()))


@app.route("migrations/{name}/retirement", methods=["POST"])
def retirement_change(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Execute, undo, pause or resume a retirement."""
    name = req.route_params["name"]

    def call() -> faces.Answer:
        faces.must_be_operator(req.headers, wiring.app().operator_key)
        asked = faces.retirement_asked(faces.text_body(req.get_body()))
        changed = wiring.app().retirements.change(name, asked.action, asked.reasons)
        return faces.shown(faces.retirement_changed(changed), status=202)

    return _answer(context, call)


# Anonymous: it holds no data, and a key for it could only stand in its address.
@app.route("dashboard", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def dashboard(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The page that shows migrations; it asks for the function key itself."""
    del req
    return _answer(context, faces.dashboard)


@app.route("pressure", methods=["POST"])
def pressure(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The business says what it needs; Ebb makes room at once."""

    def call() -> faces.Answer:
        pressed = wiring.app().pressing.push(faces.text_body(req.get_body()))
        return faces.shown(faces.pressed_shown(pressed), status=202)

    return _answer(context, call)


@app.route("alerts", methods=["POST"])
def alerts(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Azure Monitor says that an alert fired or is resolved."""

    def call() -> faces.Answer:
        token = req.headers.get("Authorization", "")
        taken = wiring.app().alerting.take(faces.text_body(req.get_body()), authorization=token)
        return faces.shown(faces.taken_shown(taken), status=202)

    return _answer(context, call)


@app.route("slices/{slice_id}/validate", methods=["POST"])
def slice_validate(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """A Data Factory run says what it wrote; the verdict goes to the address it waits at."""
    slice_id = req.route_params["slice_id"]

    def call() -> faces.Answer:
        delivery = wiring.app().receiving.accept(slice_id, faces.text_body(req.get_body()))
        return faces.shown({"slice": delivery.slice, "fence": delivery.fence}, status=202)

    return _answer(context, call)


@app.route("health", methods=["GET"])
def health(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Whether the controller decides and its stores answer."""
    del req

    def call() -> faces.Answer:
        found = wiring.app().operating.health()
        return faces.shown(found, status=200 if found["healthy"] else 503)

    return _answer(context, call)


@app.route("doctor", methods=["GET"])
def doctor(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """What is at fault in this deployment, and what to do about it."""
    del req

    def call() -> faces.Answer:
        return faces.shown([found.as_dict() for found in wiring.app().examining.examine()])

    return _answer(context, call)


@app.timer_trigger("timer", schedule="%EBB_TICK_SCHEDULE%", run_on_startup=False, use_monitor=False)
def tick(timer: func.TimerRequest) -> None:
    """One decision of the controller for each source."""
    del timer
    for entry in wiring.app().controller.tick():
        log.info("decision %s", faces.shown(faces.entry_shown(entry)).body.decode())


@app.timer_trigger(
    "timer", schedule="%EBB_JANITOR_SCHEDULE%", run_on_startup=False, use_monitor=False
)
def janitor(timer: func.TimerRequest) -> None:
    """Sweep up what nothing needs any more."""
    del timer
    log.info("swept %s", wiring.app().janitor.sweep())


@app.queue_trigger("message", queue_name=COPY_QUEUE, connection="AzureWebJobsStorage")
def copy(message: func.QueueMessage) -> None:
    """Copy one slice."""
    log.info(
        "copy: %s",
        wiring.app().burying.guarded(COPY_QUEUE, message.get_body(), wiring.app().copying.run),
    )


@app.queue_trigger("message", queue_name=RECEIVE_QUEUE, connection="AzureWebJobsStorage")
def receive(message: func.QueueMessage) -> None:
    """Compare what a Data Factory run wrote with the source."""
    log.info(
        "receive: %s",
        wiring.app().burying.guarded(RECEIVE_QUEUE, message.get_body(), wiring.app().receiving.run),
    )


@app.queue_trigger("message", queue_name=VALIDATE_QUEUE, connection="AzureWebJobsStorage")
def validate(message: func.QueueMessage) -> None:
    """Validate one slice."""
    log.info(
        "validate: %s",
        wiring.app().burying.guarded(
            VALIDATE_QUEUE, message.get_body(), wiring.app().validating.run
        ),
    )


@app.queue_trigger("message", queue_name=RETIRE_QUEUE, connection="AzureWebJobsStorage")
def retire(message: func.QueueMessage) -> None:
    """Remove one slice from the source, or restore it."""
    log.info(
        "retire: %s",
        wiring.app().burying.guarded(RETIRE_QUEUE, message.get_body(), wiring.app().retiring.run),
    )


@app.queue_trigger("message", queue_name=f"{RETIRE_QUEUE}-poison", connection="AzureWebJobsStorage")
def retire_poison(message: func.QueueMessage) -> None:
    """Record a retire message that failed every time."""
    log.error("poison: %s", wiring.app().burying.run(RETIRE_QUEUE, message.get_body()))


@app.queue_trigger("message", queue_name=NOTIFY_QUEUE, connection="AzureWebJobsStorage")
def notify(message: func.QueueMessage) -> None:
    """Tell people what happened."""
    _tell(wiring.app().notifying.run(message.get_body()).as_dict())


@app.queue_trigger("message", queue_name=f"{NOTIFY_QUEUE}-poison", connection="AzureWebJobsStorage")
def notify_poison(message: func.QueueMessage) -> None:
    """Keep what could not be told."""
    _tell(wiring.app().notifying.bury(message.get_body()).as_dict())


@app.queue_trigger("message", queue_name=f"{COPY_QUEUE}-poison", connection="AzureWebJobsStorage")
def copy_poison(message: func.QueueMessage) -> None:
    """Record a copy message that failed every time."""
    log.error("poison: %s", wiring.app().burying.run(COPY_QUEUE, message.get_body()))


@app.queue_trigger(
    "message", queue_name=f"{RECEIVE_QUEUE}-poison", connection="AzureWebJobsStorage"
)
def receive_poison(message: func.QueueMessage) -> None:
    """Record a delivery that failed every time; its run ends by its own limit."""
    log.error("poison: %s", wiring.app().burying.run(RECEIVE_QUEUE, message.get_body()))


@app.queue_trigger(
    "message", queue_name=f"{VALIDATE_QUEUE}-poison", connection="AzureWebJobsStorage"
)
def validate_poison(message: func.QueueMessage) -> None:
    """Record a validate message that failed every time."""
    log.error("poison: %s", wiring.app().burying.run(VALIDATE_QUEUE, message.get_body()))
