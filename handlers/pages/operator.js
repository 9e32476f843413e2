// What an operator may do to a live call, and what came of it.

import { byId, el, get, post, Problem } from "./page.js";
import { time } from "./shown.js";

const DONE = {
  say: ({ text }) => `To be spoken: ${text}`,
  agent: ({ agent }) => `The call is with ${agent} now`,
  transfer: () => "Being handed over to a person",
  hangup: () => "Hanging up, after a goodbye",
};
const SURE = {
  transfer: ["Hand this caller over to a person? The agent leaves the call.", "Hand over"],
  hangup: ["Hang up on this caller?", "Hang up"],
};

function isSure(what) {
  if (!SURE[what]) return Promise.resolve(true);
  const dialog = byId("sure");
  [byId("sure-what").textContent, byId("sure-yes").textContent] = SURE[what];
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((told) => dialog.addEventListener("close", () => told(dialog.returnValue === "yes"), { once: true }));
}

async function order(path, form) {
  const what = form.dataset.what;
  const body = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value));
  if (!(await isSure(what))) return;
  const button = form.querySelector("button");
  const note = el("li", {}, el("time", {}, time(Date.now())), " ", "…");
  byId("orders").prepend(note);
  button.disabled = true;
  try {
    await post(`${path}/${what}`, body);
    note.lastChild.textContent = DONE[what](body);
    note.className = "done";
    form.reset();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    note.lastChild.textContent = `Not done. ${error.message}`;
    note.className = "failed";
  } finally {
    button.disabled = false;
  }
}

// ``path``: of the call, below the API. Returns what shows the panel while the call is live.
export function operator(path) {
  const panel = byId("operator");
  const forms = panel.querySelectorAll("form");
  for (const form of forms) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      order(path, form);
    });
  }
  let asked = false;
  return {
    show(live) {
      if (live) panel.hidden = false;
      // What was done stays to be read when the call is over.
      else if (!byId("orders").children.length) panel.hidden = true;
      for (const form of forms) form.hidden = !live;
      if (live && !asked) {
        asked = true;
        get("/conversations", { limit: 50 }).then(({ conversations }) => {
          const names = new Set(conversations.map(({ agent }) => agent).filter(Boolean));
          byId("agents").replaceChildren(...[...names].map((value) => el("option", { value })));
        }, () => {});
      }
    },
  };
}
