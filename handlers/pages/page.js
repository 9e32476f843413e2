// What all pages share: asking the server, saying how that goes, colours, and making elements.
// Whatever comes from the server becomes text, never markup.

export const base = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

const PATIENCE = 8000; // ms for an answer
const AGAIN = 5000; // ms after which what failed is tried again
const THEMES = ["system", "dark", "light"];
const SVG = new Set(["svg", "path", "line", "g"]);

// An element with attributes (functions are listeners, true and false are boolean ones) and children.
export function el(name, attributes = {}, ...children) {
  const made = SVG.has(name)
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

export const byId = (id) => document.getElementById(id);

// Sets the text of an element where it changes, so that nothing is announced or selected anew for nothing.
export function say(where, text) {
  const node = typeof where === "string" ? byId(where) : where;
  if (node.textContent !== text) node.textContent = text;
}

const FOCUSED = "a, button, summary";

// Brings the children of an element in line with a list, keeping those whose data did not change. Focus, and what is
// folded out, stay also in what is drawn anew.
export function fill(parent, list, keyOf, render) {
  const before = parent.shown ?? new Map();
  const after = new Map();
  for (const data of list) {
    const key = String(keyOf(data));
    const text = JSON.stringify(data);
    const old = before.get(key);
    after.set(key, { text, node: old?.text === text ? old.node : render(data), was: old?.text === text ? null : old?.node });
  }
  let at = 0;
  for (const { node, was } of after.values()) {
    const focus = was ? [...was.querySelectorAll(FOCUSED)].indexOf(document.activeElement) : -1;
    if (was?.querySelector("details")?.open) node.querySelector("details")?.setAttribute("open", "");
    if (parent.childNodes[at] !== node) parent.insertBefore(node, parent.childNodes[at] ?? null);
    was?.remove();
    if (focus >= 0) node.querySelectorAll(FOCUSED)[focus]?.focus();
    at += 1;
  }
  while (parent.childNodes.length > at) parent.lastChild.remove();
  parent.shown = new Map([...after].map(([key, { text, node }]) => [key, { text, node }]));
}

// A name as it stands in the address, as text; what is no name there can be is left as it is.
export function named(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// Asking.

export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function toLogin() {
  const here = "/dashboard" + location.pathname.slice(base.length) + location.search;
  location.assign(`${base}/login?next=${encodeURIComponent(here)}`);
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(`${base}/api${path}`, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE), ...options });
  } catch {
    connection("asking", false);
    throw new Problem(0, "The server does not answer. This page goes on trying.");
  }
  if (answer.status === 401) {
    toLogin();
    throw new Problem(401, "The session is over.");
  }
  const data = await answer.json().catch(() => ({}));
  const away = data.code === "store_away"; // the server answers, but not Redis
  connection("asking", answer.status < 500 || away);
  connection("store", !away);
  if (answer.ok) return data;
  const usual = answer.status === 404 ? "There is nothing here by that name." : `The server answered ${answer.status}.`;
  throw new Problem(answer.status, data.message ?? usual);
}

export async function get(path, query = {}) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== null));
  return ask(asked.size ? `${path}?${asked}` : path);
}

let known = null;

// What the server tells of this session, asked once.
export function session() {
  known ??= get("/session").catch((error) => {
    known = null;
    throw error;
  });
  return known;
}

export async function post(path, body) {
  const { csrf } = await session();
  return ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Relay-CSRF": csrf },
    body: JSON.stringify(body),
  });
}

// How it goes.

const STATES = { wait: "connecting", on: "live", alone: "live, this process only", lost: "reconnecting" };
const signs = { asking: null, events: null, others: true, store: true }; // whether each goes well; null: not known yet

export function connection(sign, well) {
  signs[sign] = well;
  const lost = signs.asking === false || signs.events === false;
  const state = lost ? "lost" : signs.asking === null ? "wait" : signs.others && signs.store ? "on" : "alone";
  const shown = byId("connection");
  if (shown.dataset.state === state) return;
  shown.dataset.state = state;
  say(shown, STATES[state]);
}

// Shows what went wrong with a task, or "" for nothing; what is on the page stays, marked as old.
const problems = new Map();

export function problem(text, task) {
  problems.set(task, text);
  const told = [...problems.values()].find(Boolean) ?? "";
  const shown = byId("problem");
  shown.hidden = !told;
  say(shown, told);
  byId("main").classList.toggle("old", Boolean(told));
}

// Runs a task now and again so many ms after its end (0: until it has gone well once, and when told to), while the page
// can be seen. Returns what runs it at once, or once more where it runs already.
export function every(ms, task) {
  let timer = 0;
  let running = false;
  let wanted = false;
  async function run() {
    clearTimeout(timer);
    wanted = true;
    if (running || document.hidden) return;
    running = true;
    let wait = ms;
    try {
      while (wanted) {
        wanted = false;
        await task();
      }
      problem("", task);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      problem(error.message, task);
      wait = ms || AGAIN;
    } finally {
      running = false;
      if (wait) timer = setTimeout(run, wait);
    }
  }
  document.addEventListener("visibilitychange", run);
  run();
  return run;
}

// The events of all calls, or of one, while the page can be seen. ``each`` is told {event, ...}; ``open`` is called
// whenever the stream begins: what was missed before is to be fetched.
export function watch(each, { conversation = "", open = () => {} } = {}) {
  const path = `${base}/events${conversation ? `?conversation=${encodeURIComponent(conversation)}` : ""}`;
  let source = null;
  let wait = 1000;
  let timer = 0;
  function start() {
    clearTimeout(timer);
    if (source || document.hidden) return;
    source = new EventSource(path);
    source.onopen = () => {
      wait = 1000;
      connection("events", true);
      open();
    };
    source.onerror = () => {
      connection("events", false);
      if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      stop();
      get("/session").catch(() => {}); // where the session is over this leads to the login
      timer = setTimeout(start, wait);
      wait = Math.min(2 * wait, 30000);
    };
    // Whether the other processes are heard: Redis is how they tell.
    source.addEventListener("status", (told) => connection("others", JSON.parse(told.data).others));
    for (const name of ["call_started", "turn", "call_ended"]) {
      source.addEventListener(name, (told) => each({ event: name, ...JSON.parse(told.data) }));
    }
  }
  function stop() {
    source?.close();
    source = null;
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  addEventListener("pagehide", stop);
  start();
}

// The frame around every page.

function colours() {
  const button = byId("theme");
  let now = document.documentElement.dataset.theme ?? "system";
  const show = () => button.setAttribute("aria-label", `Colours: ${now === "system" ? "as the system" : now}`);
  button.addEventListener("click", () => {
    now = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
    if (now === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    try {
      localStorage.setItem("relay-theme", now);
    } catch {
      // It holds for this page.
    }
    show();
  });
  show();
}

export function frame() {
  colours();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.for.split(" ").includes(document.body.dataset.page)) link.setAttribute("aria-current", "page");
  }
  every(0, async () => {
    const { logged_in, shows_words } = await session();
    byId("logout").hidden = !logged_in;
    for (const note of document.querySelectorAll(".masked")) note.hidden = shows_words;
  });
}
