// A call: what was said, where each turn spent its time, and while it runs what an operator may do.

import { operator } from "./operator.js";
import { base, byId, el, every, fill, frame, get, named, say, watch } from "./page.js";
import * as shown from "./shown.js";
import { entry } from "./waterfall.js";

const EVERY = 3000; // ms, while it runs: words are written behind the call
const SETTLED = 60000; // ms after its end there is nothing more to come
const id = named(location.pathname.split("/").pop());
const path = `/conversations/${encodeURIComponent(id)}`;

const WHO = { assistant: "Agent", tool: "Tool", note: "Note" };
const KINDS = { voice: "Call", chat: "Chat", debate: "Debate" };

function words(item) {
  if (item.kind === "tool") {
    return [
      el("p", {}, el("code", {}, `${item.name}(${item.arguments})`)),
      el("p", { class: "output" }, "→ ", el("code", {}, item.output || "…"), item.status === "done" ? "" : ` ${item.status}`),
    ];
  }
  const heard = item.kind === "assistant" ? item.heard : item.text;
  const unheard = item.unheard
    ? el("s", {}, el("span", { class: "hidden" }, " not heard: "), item.unheard)
    : null;
  const rest = item.kind === "assistant" && item.status === "open" ? item.text.slice(heard.length) : "";
  const coming = rest ? el("span", { class: "coming" }, el("span", { class: "hidden" }, " not heard yet: "), rest) : null;
  return [el("p", { lang: item.lang || null }, heard, unheard, coming)];
}

function said(item) {
  const from = item.origin ? el("span", { class: "tag" }, item.origin) : null;
  const state = item.kind === "assistant" && item.status !== "done" ? item.status : "";
  const cut = state ? el("span", { class: "tag" }, state === "open" ? "being said" : state) : null;
  const head = el("p", { class: "who" }, WHO[item.kind] ?? item.from, " ", from, cut, item.at ? el("time", {}, shown.time(item.at)) : null);
  return el("li", { class: `k-${item.kind}` }, head, ...words(item));
}

// Whether somebody is on the telephone: there is an end to it, and an operator can act on it.
const spoken = (call) => call.channel === "voice";

function about(call) {
  const person = call.person ? el("a", { href: shown.personPath(call.person) }, call.person_masked || "somebody") : "withheld";
  return shown.facts([
    ["agent", shown.agentLinks(call.agents)],
    ["person", person],
    ["channel", call.channel],
    ["started", shown.moment(call.started)],
    spoken(call) ? ["length", shown.length(call.seconds)] : ["latest turn", call.ended && shown.moment(call.ended)],
    ["outcome", call.live ? null : call.outcome],
    ["turns", shown.number(call.turns)],
    ["slowest first words", shown.ms(call.slowest_ms)],
    ["process", call.worker],
    ["id", el("code", {}, call.id)],
  ]);
}

const orders = operator(path);
let over = false;
let jumped = false;

const again = every(EVERY, async () => {
  if (over) return;
  const { items, trace, ...call } = await get(path);
  over = !call.live && Date.now() - call.ended > SETTLED;
  byId("live").hidden = !call.live;
  byId("download").hidden = false;
  orders.show(call.live && spoken(call));
  const kind = KINDS[call.channel] ?? "Conversation";
  say("kind", kind);
  document.title = `${kind} ${shown.shortId(id)} · relay`;
  fill(byId("about"), [call], () => "facts", about);
  byId("struck").hidden = !items.some((item) => item.unheard);
  byId("words-none").hidden = items.length > 0;
  say("words-title", spoken(call) ? "As it was heard" : "As it was written");
  const from = spoken(call) ? "Caller" : "Person";
  fill(byId("words"), items.map((item) => ({ ...item, from })), (item) => item.position, said);
  const entries = trace.map((each, index) => ({ ...each, index, spoken: spoken(call) }));
  byId("turns-none").hidden = entries.some((each) => each.kind === "turn");
  fill(byId("turns"), entries, (each) => each.index, entry);
  if (!jumped && location.hash) byId(location.hash.slice(1))?.scrollIntoView();
  jumped = true;
});

function news() {
  over = false; // it may have been taken up again
  again();
}

watch(news, { conversation: id, open: news });
say("short", shown.shortId(id));
byId("download").href = `${base}/api${path}`;
byId("download").download = `${id}.json`;
frame();
