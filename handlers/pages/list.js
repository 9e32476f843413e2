// A list of conversations, a page at a time: on the page of all of them, of an agent and of a person.

import { base, byId, el, every, fill, get, Problem, problem } from "./page.js";
import * as shown from "./shown.js";

const PAGE = 50;
const EVERY = 5000; // ms; further pages stay as they were fetched

const cell = (name, attributes, ...children) => el("td", { "data-name": name, ...attributes }, ...children);

function row(call) {
  const state = call.live ? shown.outcome("live") : call.outcome ? shown.outcome(call.outcome) : "–";
  return el("tr", {},
    el("th", { scope: "row", "data-name": "Started" }, el("a", { href: shown.callPath(call.id) }, shown.moment(call.started))),
    cell("Person", {}, call.person ? el("a", { href: shown.personPath(call.person) }, call.person_masked || "somebody") : "withheld"),
    cell("Agent", {}, shown.agentLink(call.agent)),
    cell("Channel", {}, call.channel),
    cell("Outcome", {}, state),
    cell("Length", { class: "n" }, shown.length(call.seconds)),
    cell("Turns", { class: "n" }, shown.number(call.turns)),
    cell("Slowest", { class: "n" }, shown.ms(call.slowest_ms)),
  );
}

// ``query``: a function that tells what is searched for. ``none``: what is said where nothing is found, a function of
// whether that is all there is. ``found`` is told the conversations on the page. Returns what searches anew.
export function list(query, none, found = () => {}) {
  const body = el("tbody");
  const names = ["Started", "Person", "Agent", "Channel", "Outcome"];
  const numbers = ["Length", "Turns", "Slowest"];
  const head = el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name)), ...numbers.map((name) => el("th", { scope: "col", class: "n" }, name)));
  const table = el("table", { class: "calls", hidden: true }, el("thead", {}, head), body);
  const more = el("button", { type: "button", class: "more", hidden: true }, "Show older ones");
  const nothing = el("div", { class: "nothing", hidden: true });
  byId("list").append(table, nothing, more);
  let further = [];
  let after = null;
  let first = [];
  let paged = false;
  let asked = 0; // how often was searched: what comes for an earlier search is left

  function draw() {
    const all = [...new Map([...first, ...further].map((call) => [call.id, call])).values()];
    fill(body, all, ({ id }) => id, row);
    table.hidden = !all.length;
    nothing.hidden = all.length > 0;
    if (!all.length) nothing.replaceChildren(none(after === null));
    more.hidden = after === null;
    found(all);
  }

  const again = every(EVERY, async () => {
    const mine = asked;
    const data = await get("/conversations", { limit: PAGE, ...query() });
    if (mine !== asked) return;
    first = data.conversations;
    if (!paged) after = data.after;
    draw();
  });

  more.addEventListener("click", async () => {
    const mine = asked;
    more.disabled = true;
    try {
      const data = await get("/conversations", { limit: PAGE, after, ...query() });
      if (mine !== asked) return;
      paged = true;
      problem("", list);
      further.push(...data.conversations);
      after = data.after;
      draw();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      problem(error.message, list);
    } finally {
      more.disabled = false;
    }
  });

  return () => {
    asked += 1;
    further = [];
    paged = false;
    again();
  };
}

export function howToCall() {
  return el("p", {}, "None yet. Place a call from a terminal, ", el("code", {}, "make call"), ", and it is here while it runs. ", el("a", { href: base }, "Back to the live page"));
}
