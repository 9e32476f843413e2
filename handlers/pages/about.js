// An agent as it is set up, or a person as they are known, with their calls. Read only.

import { howToCall, list } from "./list.js";
import { byId, el, every, frame, get, named, say } from "./page.js";
import { callPath, facts, moment, ms, number } from "./shown.js";

const [kind, id] = location.pathname.split("/").slice(-2).map(named);
const OWN = ["name", "person", "person_masked", "conversations", "after", "looked"]; // shown elsewhere

const words = (name) => name.replace(/_ms$/, "").replaceAll("_", " ");
const tags = (texts) => (texts.length ? el("ul", { class: "tags" }, ...texts.map((text) => el("li", {}, text))) : null);

function value(name, found) {
  if (found === null || found === "") return null;
  if (Array.isArray(found)) return tags(found.map(String));
  if (typeof found === "object") {
    const unit = /_ms$/.test(name) ? "_ms" : "";
    return tags(Object.entries(found).map(([key, each]) => `${words(key)} ${value(key + unit, each) ?? "–"}`));
  }
  if (typeof found === "boolean") return found ? "yes" : null;
  if (/_ms$/.test(name)) return ms(found);
  if (/_seen$/.test(name)) return moment(found);
  return typeof found === "number" ? number(found) : found;
}

// What is kept of a person's earlier calls, for the next one.
function summaries(calls) {
  const entry = (call) =>
    el("li", {}, el("a", { href: callPath(call.conversation) }, moment(call.at)), ` ${call.summary} `,
      ...(call.follow_ups ?? []).map((each) => el("span", { class: "tag" }, each)));
  return el("ul", { class: "summaries" }, ...calls.map(entry));
}

const told = (data) => facts(Object.entries(data).map(([name, found]) => [words(name), OWN.includes(name) ? null : value(name, found)]));

say("name", kind === "agents" ? id : "Person");
document.title = `${kind === "agents" ? id : "Person"} · relay`;
every(0, async () => {
  const data = await get(`/${kind}/${encodeURIComponent(id)}`);
  if (kind === "people") say("name", data.person_masked || "Person");
  const { calls, today, ...rest } = data;
  const parts = [told(rest)];
  if (today) parts.push(el("h2", {}, "Today, UTC"), told(today));
  if (calls?.length) parts.push(el("h2", {}, "Remembered of earlier calls"), summaries(calls));
  byId("about").replaceChildren(...parts);
});
list(() => (kind === "agents" ? { agent: id } : { person: id }), howToCall);
frame();
