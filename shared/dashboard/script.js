
"use strict";
(() => {
  // Text reaches the page as text nodes and attributes only, so no name or reason can become HTML.
  const POLL_S = 5;
  const POLL_MAX_S = 60; // after failures the wait doubles up to this
  const TIMELINE_S = 30; // a tick: nothing new to draw before it
  const ANSWER_S = 30;
  const KEY = "ebb.function-key";
  const DASH = "–";
  const SVG = "http://www.w3.org/2000/svg";
  const PLOT = { left: 46, right: 8, top: 34, bottom: 40, strip: 8 };
  const LANES_Y = [11, 25]; // where names of markers stand, above the plot
  const CHAR_PX = 6.6; // of a name, about; names that would cross are left to the title
  const NAME_CHARS_MAX = 28;
  const VERBS = {
    start: {
      states: ["registered", "stopped"], label: "Start",
      text: "The controller plans and copies from now on, within the budget. The first start fixes what is cold.",
    },
    pause: {
      states: ["running"], label: "Pause",
      text: "Ebb spends nothing on it until it is resumed. What is in hand waits or is given back.",
    },
    resume: {
      states: ["paused", "halted"], label: "Resume",
      text: "It goes on from where it is. Quarantined slices get new attempts.",
    },
    stop: {
      states: ["running", "paused", "halted"], label: "Stop",
      text: "The run ends. What is proven stays, and a start goes on from there.",
    },
  };
  const REASONS = {
    slack: ["spends", "uses the slack"],
    growing: ["spends", "grows step by step"],
    waiting: ["careful", "waits for a fresh reading"],
    too_risky: ["careful", "too risky to spend"],
    hot: ["careful", "a partition is hot"],
    throttled: ["careful", "met 429s"],
    pressure: ["careful", "the business asked for room"],
    alert: ["holds", "an alert fired"],
    no_slack: ["holds", "the business needs all of it"],
    stale: ["holds", "readings are too old"],
    no_readings: ["holds", "no readings yet"],
    unseen: ["holds", "Monitor does not show our requests"],
    no_capacity: ["holds", "capacity is not known"],
  };
  const STATES = ["planned", "copying", "copied", "validating", "failed", "quarantined", "proven"];
  const EVENTS = {
    halted: "Halted", completed: "Completed", error: "Error", conflict: "Conflict",
    cycle: "Cycle begun", surveyed: "Surveyed", runs_ended: "Factory runs ended",
    alert_fired: "Alert fired", alert_resolved: "Alert resolved",
  };
  const MARKED = {
    alert_fired: (rule) => `${rule} fired`, alert_resolved: (rule) => `${rule} resolved`,
    halted: () => "halted", completed: () => "completed",
  };

  class KeyWanted extends Error {}

  const at = (id) => document.getElementById(id);
  const state = {
    key: sessionStorage.getItem(KEY) ?? "", live: true, hours: 6, failures: 0, timer: 0,
    busy: false, again: false, chosen: "", all: [], timeline: null, drawnAt: 0, asked: null,
    pointed: null, told: new Map(),
  };

  // Words and numbers.

  const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
  const fine = new Intl.NumberFormat("en-US", { maximumFractionDigits: 4 });
  const count = (value) => (value === null || value === undefined ? DASH : whole.format(value));
  const percent = (part) => `${(Math.floor(part * 1000) / 10).toFixed(1)} %`;
  const rate = (value) => (value === null ? DASH : `${whole.format(value)} RU/s`);

  function bytes(value) {
    const units = ["bytes", "KB", "MB", "GB", "TB", "PB"];
    let unit = 0;
    for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
    return `${new Intl.NumberFormat("en-US", { maximumSignificantDigits: 4 }).format(value)} ${units[unit]}`;
  }

  function span(seconds) {
    if (seconds === null) return DASH;
    const s = Math.round(seconds);
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
  }

  const clock = (s, options) => new Date(s * 1000).toLocaleString("en-GB", options);
  const hhmm = (s) => clock(s, { hour: "2-digit", minute: "2-digit" });
  const dueAt = (s, in_s) =>
    (in_s < 43200 ? hhmm(s) : clock(s, { dateStyle: "medium", timeStyle: "short" }));
  const moment = (s) =>
    clock(s, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const reasonText = (reason) => (REASONS[reason] ? REASONS[reason][1] : reason ?? DASH);
  const reasonKind = (reason) => (REASONS[reason] ? REASONS[reason][0] : "careful");

  // Elements.

  function element(tag, text, attributes = {}) {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  function drawn(tag, attributes, text) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function put(id, text) {
    if (at(id).textContent !== text) at(id).textContent = text;
  }

  // What has not changed is not touched, so that focus, selection and scrolling stay.
  function fill(id, value, make) {
    const told = JSON.stringify(value);
    if (state.told.get(id) === told) return;
    state.told.set(id, told);
    at(id).replaceChildren(...value.flatMap(make));
  }

  function fact([name, value, alarm]) {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", value, alarm ? { class: "alarm" } : {}));
    return pair;
  }

  function entry(time, title, text) {
    const item = element("li");
    if (time) item.append(element("time", time), " ");
    item.append(element("b", title));
    if (text) item.append(element("p", text));
    return item;
  }

  // The other routes.

  async function ask(path, method = "GET") {
    const headers = state.key ? { "x-functions-key": state.key } : {};
    let answer;
    try {
      answer = await fetch(path, {
        method, headers, cache: "no-store", signal: AbortSignal.timeout(ANSWER_S * 1000),
      });
    } catch {
      throw new Error("The function app does not answer.");
    }
    if (answer.status === 401 || answer.status === 403) throw new KeyWanted();
    let body = null;
    try {
      body = await answer.json();
    } catch {
      throw new Error(`The function app answered ${answer.status} without words of its own.`);
    }
    // Health says 503 with its findings when nobody decides.
    if (answer.ok || "healthy" in body) return body;
    throw new Error(`The function app answered ${answer.status}: ${body.detail ?? body.title ?? ""}`);
  }

  const pathOf = (name, rest) => `migrations/${encodeURIComponent(name)}/${rest}`;

  // Refreshing.

  async function refresh() {
    clearTimeout(state.timer);
    if (state.busy) {
      state.again = true;
      return;
    }
    state.busy = true;
    try {
      await look();
      state.failures = 0;
      at("trouble").hidden = true;
    } catch (error) {
      if (error instanceof KeyWanted) openDoor();
      else fail(error);
    } finally {
      state.busy = false;
    }
    if (state.again) {
      state.again = false;
      refresh();
      return;
    }
    schedule();
  }

  async function look() {
    const [all, health] = await Promise.all([ask("migrations"), ask("health")]);
    closeDoor();
    state.all = all;
    choose();
    showHealth(health);
    showList();
    const one = all.find((each) => each.name === state.chosen);
    at("detail").hidden = !one;
    at("empty").hidden = Boolean(one);
    put("empty", all.length ? "" : "No migration is registered; begin with: ebb apply SPEC");
    put("updated", `Updated ${clock(Date.now() / 1000, { timeStyle: "medium" })}`);
    if (!one) return;
    showStatus(one);
    await lookBack(one.name);
  }

  async function lookBack(name) {
    const known = state.timeline;
    const same = known && known.name === name && known.hours === state.hours;
    const age_s = (performance.now() - state.drawnAt) / 1000;
    if (same && age_s < Math.max(TIMELINE_S, known.step_s / 2)) return;
    const hours = state.hours;
    const found = await ask(pathOf(name, `timeline?hours=${hours}`));
    if (name !== state.chosen || hours !== state.hours) return;
    state.timeline = { ...found, hours };
    state.drawnAt = performance.now();
    showTimeline();
  }

  function schedule() {
    clearTimeout(state.timer);
    if (!state.live || document.hidden || !at("door").hidden) return;
    state.timer = setTimeout(refresh, wait_s() * 1000);
  }

  const wait_s = () => Math.min(POLL_MAX_S, POLL_S * 2 ** Math.max(0, state.failures - 1));

  function fail(error) {
    state.failures += 1;
    const again = state.live ? ` Trying again in ${wait_s()} s.` : "";
    const stale = state.all.length ? " What is shown below is old." : "";
    put("trouble-text", `${error.message}${stale}${again}`);
    at("trouble").hidden = false;
    if (!state.all.length) put("empty", "");
  }

  function openDoor() {
    const refused = Boolean(state.key);
    put("door-why", `${refused ? "That key was refused. " : ""}This app asks for a function key. It is kept in this tab only and sent as a header, never in an address.`);
    setKey("");
    at("door").hidden = false;
    at("empty").hidden = true;
    at("key").value = "";
    at("key").focus();
  }

  function closeDoor() {
    at("door").hidden = true;
    at("forget").hidden = !state.key;
  }

  function setKey(key) {
    state.key = key;
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  }

  function choose() {
    let wanted = "";
    try {
      wanted = decodeURIComponent(location.hash.slice(1));
    } catch {
      // An address with a broken escape names nobody.
    }
    const names = state.all.map((each) => each.name);
    const running = state.all.find((each) => each.state === "running");
    const chosen = [wanted, state.chosen, running?.name, names[0]].find((name) => names.includes(name));
    if (chosen === state.chosen) return;
    state.chosen = chosen ?? "";
    state.timeline = null;
    showTimeline();
  }

  // Showing.

  function showHealth(health) {
    const age = health.decision_age_s;
    let text = "No migration is running.";
    if (!health.healthy) {
      text = age === null ? "Nobody decides: there was no decision yet." : `Nobody decides: the last decision is ${span(age)} old. Look whether the function "tick" runs.`;
    } else if (health.running.length) {
      text = `Decided ${span(age)} ago: ${rate(health.budget_ru_per_s)} granted.`;
    }
    put("health", text);
    at("health").classList.toggle("bad", !health.healthy);
    at("incidents-card").hidden = !health.incidents.length;
    fill("incidents", health.incidents, (each) => entry(moment(each.at_s), each.kind, each.text));
  }

  const provenOf = (one) => {
    const { expected, proven } = one.documents;
    return expected ? `${percent(Math.min(1, proven / expected))} proven` : `${count(proven)} proven`;
  };

  function showList() {
    at("migrations").hidden = state.all.length < 2;
    const rows = state.all.map((one) => [one.name, one.state, provenOf(one), one.name === state.chosen]);
    const focused = at("list").contains(document.activeElement) ? document.activeElement.hash : null;
    fill("list", rows, ([name, now, proven, chosen]) => {
      const link = element("a", null, { href: `#${encodeURIComponent(name)}` });
      if (chosen) link.setAttribute("aria-current", "true");
      link.append(element("strong", name), element("span", `${now} · ${proven}`, { class: "quiet" }));
      const item = element("li");
      item.append(link);
      return item;
    });
    if (focused === null) return;
    [...at("list").querySelectorAll("a")].find((link) => link.hash === focused)?.focus();
  }

  function showStatus(one) {
    announce(one);
    put("name", one.name);
    put("state", one.state);
    at("state").className = `badge is-${one.state}`;
    put("reason", one.reason);
    const stalled = one.stalled_since_s;
    at("stalled").hidden = stalled === null;
    put("stalled", stalled === null ? "" : `Stalled since ${moment(stalled)}: it may spend and gets nowhere. Look whether the queue triggers run.`);
    showProgress(one);
    showSlices(one);
    showVerbs(one);
    document.title = `${one.name} · ${one.state} · ${provenOf(one)} · Ebb`;
  }

  function announce(one) {
    const told = state.told.get("announced");
    const now = `${one.name} is ${one.state}`;
    if (told && told !== now) put("news", `${now}: ${one.reason}`);
    state.told.set("announced", now);
  }

  function showProgress(one) {
    const { expected, proven } = one.documents;
    const part = expected ? Math.min(1, proven / expected) : 0;
    put("proven", count(proven));
    put("expected", expected === null ? "documents proven; not surveyed yet" : `of ${count(expected)} documents proven (${percent(part)})`);
    at("bar").value = part;
    put("pace", one.pace);
    const day = (at_s) => clock(at_s, { dateStyle: "medium", timeStyle: "short" });
    const end = one.eta_s === null ? "" : `, about\u00a0${dueAt(Date.now() / 1000 + one.eta_s, one.eta_s)}`;
    fill("facts", [
      ["Time left", `${span(one.eta_s)}${end}`],
      ["Budget of its source", rate(one.ru.budget_per_s)],
      ["Share of it", rate(one.ru.share_per_s)],
      ["Foretold at the start", span(one.forecast_s)],
      ["Started", one.started_at_s ? moment(one.started_at_s) : DASH],
      ...(one.completed_at_s ? [["Completed", moment(one.completed_at_s)]] : []),
      ["Proven up to", one.watermark_s ? day(one.watermark_s) : DASH],
      ...(one.next_cycle_s ? [["Next cycle", day(one.next_cycle_s)]] : []),
      ...(one.fingerprint ? [["Fingerprint", one.fingerprint]] : []),
    ], fact);
    fill("cost", [
      ["Request units", count(one.ru.spent)],
      ["Per document", `${fine.format(one.ru.per_document)} RU`],
      ["Read", bytes(one.bytes.documents)],
      ["Written as Parquet", bytes(one.bytes.blobs)],
      ["Copied by", one.engine === "adf" ? "Data Factory" : "Ebb"],
      ...(one.engine === "adf" ? [
        ["Activity runs", count(one.factory.activity_runs)],
        ["DIU hours", fine.format(one.factory.diu_hours)],
      ] : []),
    ], fact);
  }

  function showSlices(one) {
    const all = STATES.map((name) => [name, one.slices[name] ?? 0]).filter(([, n]) => n > 0);
    const most = Math.max(1, ...all.map(([, n]) => n));
    fill("slices", all.length ? all : [["planned", 0]], ([name, n]) => {
      const cell = element("dd");
      cell.append(element("meter", null, { max: most, value: n, "aria-hidden": "true" }));
      return [element("dt", name), cell, element("dd", count(n))];
    });
    fill("verdicts", [
      ["Mismatches found", count(one.documents.mismatches), one.documents.mismatches > 0],
      ["Superseded", count(one.documents.superseded)],
      ["Failed attempts", count(one.slices.attempts_failed)],
      ["Quarantined", count(one.slices.quarantined ?? 0), one.slices.quarantined > 0],
    ], fact);
    fill("quarantined", one.quarantined, (each) => entry("", `Quarantined: ${each.slice}`, each.error));
  }

  function showVerbs(one) {
    const verbs = Object.keys(VERBS).filter((verb) => VERBS[verb].states.includes(one.state) || (verb === "stop" && one.next_cycle_s));
    const held = at("verbs").contains(document.activeElement);
    fill("verbs", verbs.map((verb) => [verb, one.name]), ([verb, name]) => {
      const button = element("button", VERBS[verb].label, { type: "button" });
      button.addEventListener("click", () => confirm(verb, name));
      return button;
    });
    if (held && !at("verbs").contains(document.activeElement)) {
      (at("verbs").querySelector("button") ?? at("main")).focus();
    }
  }

  // Changing a migration.

  function confirm(verb, name) {
    state.asked = { verb, name };
    put("ask-title", `${VERBS[verb].label} ${name}?`);
    put("ask-text", VERBS[verb].text);
    put("ask-yes", VERBS[verb].label);
    at("ask-yes").disabled = false;
    at("ask").showModal();
  }

  async function change() {
    const { verb, name } = state.asked;
    at("ask-yes").disabled = true;
    at("refusal").hidden = true;
    try {
      await ask(pathOf(name, verb), "POST");
    } catch (error) {
      if (error instanceof KeyWanted) openDoor();
      put("refusal-text", `${VERBS[verb].label} ${name}: ${error.message || "the key was refused."}`);
      at("refusal").hidden = false;
    }
    at("ask").close();
    refresh();
  }

  // The timeline.

  function showTimeline() {
    const timeline = state.timeline;
    const points = timeline?.points ?? [];
    const kept = points.findIndex((p) => p.at_s === state.pointed);
    at("moment").max = Math.max(0, points.length - 1);
    at("moment").value = kept < 0 ? at("moment").max : kept;
    at("moment").disabled = !points.length;
    put("tally", timeline ? tallyText(timeline) : "Loading …");
    fill("spells", timeline?.spells ?? [], (each) => {
      const item = entry(`${moment(each.from_s)} ${DASH} ${hhmm(each.until_s)}`, reasonText(each.reason), each.sentence);
      item.dataset.reason = each.reason;
      return item;
    });
    const happened = timeline?.events ?? [];
    const events = happened.map((each) => [
      each.until_s > each.at_s ? `${moment(each.at_s)} ${DASH} ${hhmm(each.until_s)}` : moment(each.at_s),
      EVENTS[each.kind] ?? each.kind, each.text,
    ]);
    at("legend-alert").hidden = !happened.some((each) => each.kind.startsWith("alert_"));
    fill("events", events.length ? events : [["", "Nothing worth a line in this span.", ""]], (each) => entry(...each));
    draw();
    showRows();
  }

  function tallyText(timeline) {
    const { minutes, over_by_ebb, over_by_business, slack_used } = timeline.tally;
    if (!minutes) return timeline.spells.length ? "No minute is known well enough to judge yet." : "No decision was made in this span.";
    const used = slack_used === null ? "There was no slack" : `Ebb used ${percent(slack_used)} of the slack`;
    const over = `${count(over_by_ebb)} of ${count(minutes)} minutes above the ceiling by Ebb's doing`;
    const alone = over_by_business ? `, ${count(over_by_business)} by the business alone` : "";
    const cut = timeline.cut ? ` The journal holds more; shown since ${moment(timeline.since_s)}.` : "";
    return `${used}; ${over}${alone}.${cut}`;
  }

  function showRows() {
    if (!at("numbers").open) return;
    const points = state.timeline?.points ?? [];
    fill("rows", points.slice().reverse(), (p) => {
      const row = element("tr");
      row.append(element("th", moment(p.at_s), { scope: "row" }));
      for (const key of ["business", "own", "total", "budget", "ceiling", "capacity"]) {
        row.append(element("td", count(p[`${key}_ru_per_s`])));
      }
      row.append(element("td", reasonText(p.reason)));
      return row;
    });
  }

  function scales(timeline, width, height) {
    const most = Math.max(1, ...timeline.points.flatMap((p) => [p.capacity_ru_per_s ?? 0, p.total_ru_per_s ?? 0]));
    const bottom = height - PLOT.bottom;
    const inner = width - PLOT.left - PLOT.right;
    const first_s = Math.max(timeline.since_s, timeline.points[0].at_s);
    const length_s = Math.max(timeline.step_s, timeline.until_s - first_s);
    return {
      width, bottom, most, first_s, length_s,
      x: (s) => PLOT.left + (inner * Math.min(length_s, Math.max(0, s - first_s))) / length_s,
      y: (ru) => bottom - ((bottom - PLOT.top) * ru) / (most * 1.04),
    };
  }

  // Each point holds over its step; where one is missing the line is broken.
  function steps(points, step_s, lower, upper) {
    const parts = [];
    for (const p of points) {
      const high = upper(p);
      if (high === null) continue;
      const last = parts.at(-1);
      const piece = { from_s: p.at_s, until_s: p.at_s + step_s, low: lower(p), high };
      if (last && last.at(-1).until_s === p.at_s) last.push(piece);
      else parts.push([piece]);
    }
    return parts;
  }

  const line = (part, scale, level) =>
    part.map((p, i) => `${i ? "L" : "M"}${scale.x(p.from_s).toFixed(1)},${scale.y(p[level]).toFixed(1)}H${scale.x(p.until_s).toFixed(1)}`).join("");

  function area(part, scale) {
    const back = part.slice().reverse().map((p) => `L${scale.x(p.until_s).toFixed(1)},${scale.y(p.low).toFixed(1)}H${scale.x(p.from_s).toFixed(1)}`);
    return `${line(part, scale, "high")}${back.join("")}Z`;
  }

  function series(points) {
    let business = null; // the newest minutes are not read yet; until then the last one stands
    const known = points.map((p) => {
      business = p.business_ru_per_s ?? business;
      return { ...p, base: business ?? 0 };
    });
    const sum = (p, value) => (value === null ? null : p.base + value);
    return {
      business: [known, () => 0, (p) => p.business_ru_per_s],
      assumed: [known, () => 0, (p) => (p.business_ru_per_s === null && p.own_ru_per_s !== null ? p.base : null)],
      own: [known, (p) => p.base, (p) => sum(p, p.own_ru_per_s)],
      capacity: [known, () => 0, (p) => p.capacity_ru_per_s],
      budget: [known, () => 0, (p) => sum(p, p.budget_ru_per_s)],
      ceiling: [known, () => 0, (p) => p.ceiling_ru_per_s],
    };
  }

  function draw() {
    const chart = at("chart");
    const timeline = state.timeline;
    const { width, height } = chart.getBoundingClientRect();
    chart.replaceChildren();
    put("readout", "");
    if (!timeline?.points.length || !width) {
      chart.setAttribute("aria-label", "Nothing to draw in this span");
      return;
    }
    chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const scale = scales(timeline, width, height);
    chart.setAttribute("aria-label", `${chartText(timeline)} The table below has the numbers.`);
    chart.append(...grid(timeline, scale), ...layers(timeline, scale), ...strip(timeline, scale));
    chart.append(...markers(timeline, scale));
    chart.append(drawn("line", { class: "cursor", id: "cursor", y1: PLOT.top, y2: scale.bottom + PLOT.strip + 4 }));
    point();
  }

  function layers(timeline, scale) {
    return Object.entries(series(timeline.points)).map(([name, [points, lower, upper]]) => {
      const parts = steps(points, timeline.step_s, lower, upper);
      const shape = ["business", "assumed", "own"].includes(name) ? (part) => area(part, scale) : (part) => line(part, scale, "high");
      return drawn("path", { class: name, "data-series": name, d: parts.map(shape).join("") });
    });
  }

  function grid(timeline, scale) {
    const made = [];
    const apart = roundly(scale.most / 5);
    for (let ru = 0; ru <= scale.most; ru += apart) {
      const y = scale.y(ru);
      made.push(drawn("line", { class: "grid", x1: PLOT.left, x2: scale.width - PLOT.right, y1: y, y2: y }));
      made.push(drawn("text", { x: PLOT.left - 6, y: y + 4, "text-anchor": "end" }, count(ru)));
    }
    const wanted = Math.max(2, Math.floor(scale.width / 64));
    const every_s = [60, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200].find((s) => scale.length_s / s <= wanted) ?? 86400;
    for (let s = Math.ceil(scale.first_s / every_s) * every_s; s <= timeline.until_s; s += every_s) {
      const x = scale.x(s);
      if (x > scale.width - PLOT.right - 18 || x < PLOT.left + 18) continue;
      made.push(drawn("line", { class: "grid", x1: x, x2: x, y1: PLOT.top, y2: scale.bottom }));
      made.push(drawn("text", { x, y: scale.bottom + 32, "text-anchor": "middle" }, hhmm(s)));
    }
    return made;
  }

  // 1, 2 or 5 times a power of ten, and not less than asked for.
  function roundly(least) {
    const power = 10 ** Math.floor(Math.log10(least));
    return power * [1, 2, 5, 10].find((each) => each * power >= least);
  }

  function strip(timeline, scale) {
    const decided = timeline.points.filter((p) => p.reason !== null);
    return decided.map((p) => {
      const x = scale.x(p.at_s);
      const cell = drawn("rect", {
        class: `r-${reasonKind(p.reason)}`, "data-reason": p.reason, x, y: scale.bottom + 6,
        width: Math.max(1, scale.x(p.at_s + timeline.step_s) - x + 0.3), height: PLOT.strip,
      });
      cell.append(drawn("title", {}, `${hhmm(p.at_s)} ${reasonText(p.reason)}`));
      return cell;
    });
  }

  function markers(timeline, scale) {
    const taken = LANES_Y.map(() => -Infinity);
    const marked = timeline.events.filter((each) => MARKED[each.kind] && each.at_s >= scale.first_s);
    return marked.sort((a, b) => a.at_s - b.at_s).map((each) => {
      const x = scale.x(each.at_s);
      const name = MARKED[each.kind](each.text);
      const made = drawn("g", { class: `marker m-${each.kind}`, "data-kind": each.kind });
      made.append(
        drawn("title", {}, `${moment(each.at_s)} ${name}`),
        drawn("line", { x1: x, x2: x, y1: PLOT.top - 4, y2: scale.bottom }),
        drawn("path", { d: `M${x - 5},${PLOT.top - 6}h10l-5,8z` }),
      );
      const label = named(name, x, scale, taken);
      if (label) made.append(label);
      return made;
    });
  }

  // In the first lane in which it crosses no earlier name; none where there is no room.
  function named(name, x, scale, taken) {
    const text = name.length > NAME_CHARS_MAX ? `${name.slice(0, NAME_CHARS_MAX - 1)}…` : name;
    const width = text.length * CHAR_PX;
    const from = Math.max(0, Math.min(x - 5, scale.width - width));
    const lane = taken.findIndex((until) => until < from);
    if (lane < 0) return null;
    taken[lane] = from + width + CHAR_PX;
    return drawn("text", { x: from, y: LANES_Y[lane] }, text);
  }

  function chartText(timeline) {
    const range = (key) => {
      const known = timeline.points.map((p) => p[key]).filter((value) => value !== null);
      return known.length ? `${count(Math.min(...known))} to ${count(Math.max(...known))} RU/s` : "not known";
    };
    return `From ${moment(timeline.since_s)} to ${moment(timeline.until_s)}: business ${range("business_ru_per_s")}, Ebb ${range("own_ru_per_s")}, budget ${range("budget_ru_per_s")}, ceiling ${range("ceiling_ru_per_s")}. ${tallyText(timeline)}`;
  }

  function point() {
    const timeline = state.timeline;
    const p = timeline?.points[Number(at("moment").value)];
    const cursor = at("cursor");
    if (!p || !cursor) return;
    const { width, height } = at("chart").getBoundingClientRect();
    const x = scales(timeline, width, height).x(p.at_s + timeline.step_s / 2);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    const marked = timeline.events.filter((e) => MARKED[e.kind] && e.at_s >= p.at_s && e.at_s < p.at_s + timeline.step_s);
    const met = marked.map((e) => `; ${MARKED[e.kind](e.text)}`).reverse().join("");
    const text = `${moment(p.at_s)}: business ${p.business_ru_per_s === null ? "not read yet" : rate(p.business_ru_per_s)}, Ebb ${rate(p.own_ru_per_s)}, budget ${rate(p.budget_ru_per_s)}, ceiling ${rate(p.ceiling_ru_per_s)}; ${reasonText(p.reason)}${met}`;
    put("readout", text);
    at("moment").setAttribute("aria-valuetext", text);
  }

  function pointAt(event) {
    const timeline = state.timeline;
    if (!timeline?.points.length) return;
    const { left, width, height } = at("chart").getBoundingClientRect();
    const scale = scales(timeline, width, height);
    const middle = (p) => scale.x(p.at_s + timeline.step_s / 2);
    const off = timeline.points.map((p) => Math.abs(middle(p) - (event.clientX - left)));
    at("moment").value = off.indexOf(Math.min(...off));
    chosenPoint();
  }

  // A moment that somebody looks at stays; the newest one moves on.
  function chosenPoint() {
    const points = state.timeline?.points ?? [];
    const index = Number(at("moment").value);
    state.pointed = index < points.length - 1 ? points[index].at_s : null;
    point();
  }

  // What a person does.

  function listen() {
    document.querySelector(".skip").addEventListener("click", (event) => {
      event.preventDefault(); // the address names the migration
      at("main").focus();
    });
    at("retry").addEventListener("click", refresh);
    at("dismiss").addEventListener("click", () => { at("refusal").hidden = true; });
    at("live").addEventListener("click", () => {
      state.live = !state.live;
      at("live").setAttribute("aria-pressed", String(state.live));
      if (state.live) refresh();
      else clearTimeout(state.timer);
    });
    at("door").addEventListener("submit", (event) => {
      event.preventDefault();
      setKey(at("key").value.trim());
      refresh();
    });
    at("forget").addEventListener("click", () => { setKey(""); location.reload(); });
    at("hours").addEventListener("change", () => { state.hours = Number(at("hours").value); refresh(); });
    at("moment").addEventListener("input", chosenPoint);
    at("chart").addEventListener("pointermove", pointAt);
    at("numbers").addEventListener("toggle", showRows);
    at("ask-no").addEventListener("click", () => at("ask").close());
    at("ask-yes").addEventListener("click", change);
    window.addEventListener("hashchange", refresh);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) clearTimeout(state.timer);
      else if (state.live) refresh();
    });
    new ResizeObserver(draw).observe(at("chart"));
  }

  put("zone", Intl.DateTimeFormat().resolvedOptions().timeZone);
  listen();
  refresh();
})();
