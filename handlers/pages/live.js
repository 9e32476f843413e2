// The wall: what goes on now, and how it went.

import { Chart } from "./chart.js";
import { byId, el, every, fill, frame, get, say, watch } from "./page.js";
import * as shown from "./shown.js";

const EVERY = 2000; // ms between two summaries
const MOST_EVENTS = 14;

const line = (id, show, series, more = {}) => new Chart(byId(id), { show, series, ...more });
const charts = {
  first: line("chart-first", shown.ms, [
    { name: "p50", label: "p50", shade: "p50" },
    { name: "p95", label: "p95", shade: "p95" },
    { name: "p99", label: "p99", shade: "p99" },
  ], { least: 200 }),
  segments: line(
    "chart-segments",
    shown.ms,
    shown.SEGMENTS.map((name) => ({ name, label: name, shade: name })),
    { stacked: true, least: 100 },
  ),
  calls: line("chart-calls", shown.short, [
    { name: "calls", label: "calls", shade: "p50" },
    { name: "turns", label: "turns", shade: "send" },
  ], { least: 4 }),
  trouble: line("chart-trouble", shown.short, [
    { name: "interrupts", label: "interrupts", shade: "p95" },
    { name: "errors", label: "errors", shade: "p99" },
  ], { least: 4 }),
  tokens: line("chart-tokens", shown.short, [{ name: "tokens", label: "tokens", shade: "request" }], { stacked: true, least: 100 }),
};

const asked = new URLSearchParams(location.search).get("minutes") ?? "";
const choice = document.querySelector(`#range input[value="${CSS.escape(asked)}"]`) ?? document.querySelector("#range :checked");
choice.checked = true;
let minutes = Number(choice.value);

function tiles(data) {
  const { first_text_ms: first, tokens, loop_lag_ms: lag, cost } = data;
  const processes = data.processes.length;
  say("calls", shown.number(data.calls_active));
  say("calls-note", `in ${processes} ${processes === 1 ? "process" : "processes"}${data.chat_sockets ? `; ${shown.number(data.chat_sockets)} chats` : ""}`);
  say("turns", shown.number(data.turns_per_minute));
  say("turns-note", `over ${rangeName()}`);
  for (const part of ["50", "95", "99"]) say(`first-${part}`, shown.ms(first[`p${part}`]));
  const channels = Object.entries(data.channels);
  byId("first-note").hidden = channels.length < 2;
  say("first-note", `half of them within: ${channels.map(([name, each]) => `${name} ${shown.ms(each.first_text_ms.p50)}`).join(", ")}`);
  say("lag", shown.ms(lag.p99));
  say("lag-note", `p99; p50 ${shown.ms(lag.p50)}, most ${shown.ms(lag.max)}`);
  say("cost", cost ? shown.money(cost.total) : "–");
  say("cost-note", cost ? `over ${rangeName()}` : "set PRICE_INPUT and PRICE_OUTPUT");
  say("interrupts", shown.number(data.interrupts));
  say("ghosts", shown.number(data.ghost_frames));
  say("ghosts-note", data.ghost_frames ? "must be 0: report it" : "as it must be");
  byId("ghosts").className = `value ${data.ghost_frames ? "bad" : "good"}`;
  say("errors", shown.number(data.errors));
  byId("errors").className = `value ${data.errors ? "bad" : "good"}`;
  say("fallbacks", shown.number(data.fallbacks));
  say("tokens-in", shown.short(tokens.input));
  say("tokens-cached", tokens.input ? `${Math.round((100 * tokens.cached) / tokens.input)} %` : "–");
  say("tokens-out", shown.short(tokens.output));
}

function rangeName() {
  return document.querySelector(`#range input[value="${minutes}"] + span`).textContent;
}

function table(id, rows, keyOf, render) {
  byId(`${id}-none`).hidden = rows.length > 0;
  byId(id).closest(".scroll").hidden = !rows.length;
  fill(byId(id), rows, keyOf, render);
}

function tables(data) {
  const most = Math.max(1, ...data.slowest.map((turn) => turn.first_text_ms));
  table("slowest", data.slowest.slice(0, 10).map((turn) => ({ ...turn, most })), ({ id, turn }) => `${id} ${turn}`, (turn) =>
    el("tr", {},
      el("td", { class: "n strong" }, el("a", { href: shown.callPath(turn.id, turn.turn) }, shown.ms(turn.first_text_ms))),
      el("td", { class: "bar" }, shown.segmentBar(turn.segments_ms, turn.first_text_ms, turn.most)),
      el("td", {}, shown.agentLink(turn.agent)),
      el("td", {}, shown.moment(turn.at)),
      el("td", { class: "spare" }, el("a", { href: shown.callPath(turn.id, turn.turn) }, shown.shortId(turn.id))),
    ));
  const longest = Math.max(1, ...data.tools.map((tool) => tool.p95_ms ?? 0));
  table("tools", data.tools.map((tool) => ({ ...tool, longest })), (tool) => tool.name, (tool) => {
    const bar = el("span", { class: "times-bar", "aria-hidden": "true" }, el("span", { class: "p95" }), el("span", { class: "p50" }));
    bar.children[0].style.width = `${(100 * (tool.p95_ms ?? 0)) / tool.longest}%`;
    bar.children[1].style.width = `${(100 * (tool.p50_ms ?? 0)) / tool.longest}%`;
    return el("tr", {},
      el("th", { scope: "row" }, tool.name),
      el("td", { class: "bar spare" }, bar),
      el("td", { class: "n" }, shown.ms(tool.p50_ms)),
      el("td", { class: "n" }, shown.ms(tool.p95_ms)),
      el("td", { class: "n" }, shown.number(tool.count)),
      el("td", { class: tool.failed ? "n bad" : "n" }, shown.number(tool.failed)),
    );
  });
  table("processes", data.processes, (each) => each.worker, (each) =>
    el("tr", {},
      el("th", { scope: "row" }, each.worker),
      el("td", { class: "n" }, shown.number(each.calls)),
      el("td", { class: "n" }, shown.ms(each.lag_ms)),
      el("td", { class: "n" }, shown.moment(each.since)),
    ));
}

async function refresh() {
  const wanted = minutes;
  const data = await get("/summary", { minutes });
  if (wanted !== minutes) return; // another range was chosen meanwhile, and is on its way
  tiles(data);
  const points = data.series.map((point) => ({ ...point, ...point.segments_ms }));
  for (const chart of Object.values(charts)) chart.draw(points, minutes);
  charts.segments.note(shown.SEGMENTS.map((name) => `p95 ${shown.ms(data.segments_ms[name]?.p95)}`));
  tables(data);
}

const again = every(EVERY, refresh);
byId("range").addEventListener("change", (event) => {
  minutes = Number(event.target.value);
  history.replaceState(null, "", minutes === 15 ? location.pathname : `?minutes=${minutes}`);
  again();
});

// What happened last, newest first; drawn once a frame however much happens.

const events = [];
let drawing = false;

function told(event) {
  const call = el("a", { href: shown.callPath(event.id, event.turn) }, shown.shortId(event.id));
  const what = {
    call_started: () => [(event.channel ?? "voice") === "voice" ? "call began" : `${event.channel} began`],
    call_ended: () => [`ended after ${shown.length(event.seconds)}, ${event.reason}${shown.unsaid(event.unsaid)}`],
    turn: () => [event.first_text_ms === null ? `turn ${event.turn}` : el("b", {}, shown.ms(event.first_text_ms)), event.outcome === "done" ? "" : ` ${event.outcome}`],
  }[event.event]();
  return el("li", { class: event.event }, el("time", {}, shown.time(event.at)), " ", call, " ", event.agent, " ", ...what);
}

watch((event) => {
  events.unshift({ ...event, key: `${event.id} ${event.event} ${event.turn ?? ""} ${event.at}` });
  events.length = Math.min(events.length, MOST_EVENTS);
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    byId("ticker-none").hidden = true;
    fill(byId("ticker"), events, ({ key }) => key, told);
  });
});

frame();
