// How numbers, times and what belongs to a call are written.

import { base, el } from "./page.js";

export const SEGMENTS = ["queue", "history", "request", "tools", "model", "holdback", "send"];

const NOTHING = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const hundredth = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

const or = (write) => (value) => (value === null || value === undefined ? NOTHING : write(value));

export const number = or((value) => (Number.isInteger(value) || value >= 100 ? whole : tenth).format(value));
export const short = or((value) => (value < 10000 ? whole : compact).format(value));
export const money = or((value) => (value !== 0 && value < 0.1 ? value.toPrecision(2) : hundredth.format(value)));
export const time = or((at) => seconds.format(at));
export const minute = or((at) => clock.format(at));

export const ms = or(function ms(value) {
  if (value < 0) return `−${ms(-value)}`;
  if (value >= 9995) return `${tenth.format(value / 1000)} s`;
  if (value >= 999.5) return `${hundredth.format(value / 1000)} s`;
  return `${(value < 9.95 ? tenth : whole).format(value)} ms`;
});

export const moment = or((at) => {
  const today = new Date().toDateString() === new Date(at).toDateString();
  return today ? seconds.format(at) : `${day.format(at)}, ${clock.format(at)}`;
});

export const length = or((value) => {
  const all = Math.round(value);
  const two = (part) => String(part).padStart(2, "0");
  const minutes = Math.floor(all / 60);
  if (minutes < 60) return `${minutes}:${two(all % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(all % 60)}`;
});

export const callPath = (id, turn) => `${base}/calls/${encodeURIComponent(id)}${turn ? `#turn-${turn}` : ""}`;
export const agentPath = (name) => `${base}/agents/${encodeURIComponent(name)}`;
export const personPath = (id) => `${base}/people/${encodeURIComponent(id)}`;

export const shortId = (id) => (id.length > 14 ? `${id.slice(0, 4)}…${id.slice(-6)}` : id);
export const agentLink = (name) => (name ? el("a", { href: agentPath(name) }, name) : NOTHING);

// All that a call has been with, in order.
export function agentLinks(names) {
  return el("span", {}, ...names.flatMap((name, index) => (index ? [" → ", agentLink(name)] : [agentLink(name)])));
}

// What is known of something, as a list of names and values; null and "" are left out.
export function facts(pairs) {
  const list = el("dl", { class: "facts" });
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "") continue;
    list.append(el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  }
  return list;
}

// The segments of one turn as one bar; ``most``: the ms that its whole width stands for. Where it is not known what the
// time consists of it is one piece, as long as ``whole``.
export function segmentBar(parts, whole, most) {
  const bar = el("span", { class: "segments", "aria-hidden": "true" });
  const pieces = parts ? SEGMENTS.map((name) => [name, parts[name] ?? 0]) : [["whole", whole]];
  for (const [name, value] of pieces) {
    if (!(value > 0)) continue;
    const piece = el("span", { class: `s-${name}`, title: `${name} ${ms(value)}` });
    piece.style.width = `${(100 * value) / most}%`;
    bar.append(piece);
  }
  return bar;
}

// Of an operator's lines that nobody has heard.
export const unsaid = (lines) => (lines ? `; not said: ${lines} ${lines === 1 ? "line" : "lines"} of the operator` : "");

export const outcome = (name) => el("span", { class: `outcome o-${name}` }, name);
