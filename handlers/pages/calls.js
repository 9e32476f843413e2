// All conversations, and the search.

import { howToCall, list } from "./list.js";
import { byId, el, frame } from "./page.js";

const FIELDS = ["agent", "channel", "outcome", "slower_than_ms", "person"];
const OUTCOMES = ["live", "completed", "ended", "transferred", "voicemail", "failed", "lost"];

const form = byId("search");
const fields = form.elements;

function offer(select, values) {
  const known = new Set([...select.options].map(({ value }) => value));
  for (const value of values) {
    if (value && !known.has(value)) select.append(el("option", { value }, value));
    known.add(value);
  }
}

function fromAddress() {
  const asked = new URLSearchParams(location.search);
  for (const name of FIELDS) {
    const value = asked.get(name) ?? "";
    if (fields[name].options) offer(fields[name], [value]);
    fields[name].value = value;
  }
}

const query = () => Object.fromEntries(FIELDS.map((name) => [name, fields[name].value.trim()]));

offer(fields.channel, ["voice", "chat", "debate"]);
offer(fields.outcome, OUTCOMES);
fromAddress();

function none(all) {
  if (!FIELDS.some((name) => fields[name].value)) return howToCall();
  if (!all) return el("p", {}, "None of the latest is like that; older ones may be.");
  return el("p", {}, "No conversation is like that. Ask for less: clear a field and search again.");
}

const agents = new Set();
const search = list(query, none, (calls) => {
  offer(fields.channel, calls.map(({ channel }) => channel));
  for (const { agent } of calls) {
    if (!agent || agents.has(agent)) continue;
    agents.add(agent);
    byId("agents").append(el("option", { value: agent }));
  }
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const asked = new URLSearchParams(Object.entries(query()).filter(([, value]) => value));
  history.pushState(null, "", asked.size ? `?${asked}` : location.pathname);
  search();
});
form.addEventListener("reset", () => setTimeout(() => form.requestSubmit()));
addEventListener("popstate", () => {
  fromAddress();
  search();
});
frame();
