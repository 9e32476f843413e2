// Reads how the page wants the chat, and puts the parts together.

const script = document.currentScript;
const given = script.dataset;
const { agent = "", color } = given;
const base = new URL(".", script.src).href;
const isInline = "inline" in given;

// What is remembered, as long as the browser lets us: who the visitor is, and what they wrote that has no answer yet.
const KEY = `relay-chat:${agent}`;
const memory = {
  visitor: null,
  outbox: [],
  keep() {
    try {
      localStorage.setItem(KEY, JSON.stringify(memory));
    } catch {
      // It holds for this page.
    }
  },
};
try {
  Object.assign(memory, JSON.parse(localStorage.getItem(KEY)));
} catch {
  // A browser that keeps nothing begins anew.
}

const page = document.documentElement;
const spoken = (given.lang || page.lang || navigator.language).slice(0, 2).toLowerCase();
const lang = spoken in TEXTS ? spoken : "en";
const t = { ...texts(lang), ...given };
const dir = given.dir || (lang === "ar" ? "rtl" : getComputedStyle(page).direction);
const host = el("relay-chat", { lang, dir, "data-inline": given.inline });
const root = host.attachShadow({ mode: "open" });
const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);
root.adoptedStyleSheets = [sheet];
if (color) host.style.setProperty("--accent", color);
if (isInline) script.after(host);
else page.append(host); // beside the body, which is the page's own: there may be none yet, or another one later

const on = {
  open(isOpen) {
    memory.open = isOpen;
    memory.keep();
    if (isOpen) line.start();
  },
};
const panel = makePanel(root, t, isInline, on);
const line = wire(base, agent, memory, on);
Object.assign(on, talk(panel, memory, line, t));
if (isInline || memory.outbox[0]) line.start();
if (memory.open && !isInline) panel.open();
