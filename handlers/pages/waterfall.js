// A turn from its beginning: what it waited for and in what order, each on a line of its own, to scale.

import { el } from "./page.js";
import * as shown from "./shown.js";

const joined = (...parts) => parts.filter(Boolean).join(" · ");

// The lines of a turn: {name, class, at, ms, text}; ``ms`` null where it had no end yet. What was asked ahead of the
// turn, or said before it, begins below zero.
export function lines(turn) {
  const found = [];
  let at = 0;
  for (const name of shown.SEGMENTS) {
    const took = turn.segments_ms?.[name];
    if (took === null || took === undefined || (name === "tools" && !took)) continue;
    found.push({ name, class: `s-${name}`, at, ms: took, text: shown.ms(took) });
    at += took;
  }
  (turn.rounds ?? []).forEach((round, index) => {
    const why = round.further?.length ? round.further.join(", ") : round.hedged ? "hedged" : "";
    const first = round.first_ms === null ? "no words" : `first ${shown.ms(round.first_ms)}`;
    const told = [round.input, round.cached, round.output].some(Boolean);
    const tokens = told ? `${shown.number(round.input)} in, ${shown.number(round.cached)} cached, ${shown.number(round.output)} out` : "";
    found.push({
      name: `model ${index + 1}`,
      class: "w-round",
      at: round.at_ms,
      ms: round.ms,
      first: round.first_ms,
      text: joined(shown.ms(round.ms), first, round.outcome, why, round.found?.intent ?? "", tokens),
      more: round.model,
    });
  });
  for (const tool of turn.tools ?? []) {
    found.push({ name: tool.name, class: "w-tool", at: tool.at_ms, ms: tool.ms, text: joined(tool.ms === null ? "" : shown.ms(tool.ms), tool.outcome) });
  }
  for (const speech of turn.speech ?? []) {
    const took = speech.ms === null ? "" : `about ${shown.ms(speech.ms)}`;
    found.push({ name: speech.origin || "speech", class: "w-speech", at: speech.at_ms, ms: speech.ms, text: joined(took, `${shown.number(speech.chars)} characters`) });
  }
  return found;
}

// What part of a turn is drawn, in ms. Speech goes on for long after all that led to it, and may run over the edge.
function range(found, frames) {
  const parts = found.filter((each) => each.class !== "w-speech");
  const cuts = frames.filter(({ type }) => type === "interrupt").map(({ at_ms }) => at_ms);
  const from = Math.min(0, ...parts.map(({ at }) => at));
  const to = Math.max(from + 1, ...parts.map(({ at, ms }) => at + (ms ?? 0)), ...cuts);
  return { from, span: (to - from) * 1.02 };
}

const track = (...pieces) => el("span", { class: "track", "aria-hidden": "true" }, ...pieces);

function bar(each, { from, span }) {
  const piece = el("span", { class: each.class });
  piece.style.left = `${(100 * (each.at - from)) / span}%`;
  piece.style.width = each.ms === null ? "100%" : `${(100 * each.ms) / span}%`;
  if (each.ms === null) piece.classList.add("open");
  return track(piece, ...(each.first ? [tick(each.at + each.first, "first", { from, span })] : []));
}

function tick(at, kind, { from, span }) {
  const mark = el("span", { class: `tick ${kind}` });
  mark.style.left = `${(100 * (at - from)) / span}%`;
  return mark;
}

// How many frames came, and how many went.
function counts(frames) {
  const sum = (way) => frames.filter((frame) => frame.way === way).reduce((all, { count }) => all + count, 0);
  return `${shown.number(sum("in"))} in, ${shown.number(sum("out"))} out`;
}

function inOrder(frames, leftOut = 0) {
  if (!frames?.length) return null;
  const row = (frame) =>
    el("tr", {},
      el("td", { class: "n" }, shown.ms(frame.at_ms)),
      el("td", {}, el("span", { class: `way ${frame.way}` }, frame.way === "in" ? "← in" : "→ out")),
      el("th", { scope: "row" }, frame.type),
      el("td", { class: "n" }, frame.count > 1 ? `× ${shown.number(frame.count)}` : ""),
    );
  return el("details", {},
    el("summary", {}, `Frames in order (${shown.number(frames.length + leftOut)})`),
    el("table", { class: "frames" }, el("tbody", {}, ...frames.map(row))),
    leftOut ? el("p", { class: "note" }, `${shown.number(leftOut)} more were not kept.`) : null,
  );
}

function turn(entry) {
  const frames = entry.frames ?? []; // there are none of text, nor speech
  const found = lines(entry);
  const drawn = range(found, frames);
  const line = (name, drawing, text, title = name) =>
    el("li", {}, el("span", { class: "name", title }, name), drawing, el("span", { class: "took" }, text));
  const ticks = frames.map((frame) => tick(frame.at_ms, `way ${frame.way}`, drawn));
  return el("article", { class: "card turn", id: `turn-${entry.turn}` },
    el("header", {},
      el("h3", {}, `Turn ${entry.turn}`),
      shown.outcome(entry.outcome),
      el("span", { class: "note" }, entry.agent, " · ", shown.time(entry.at)),
      el("b", { class: "first-words", title: "from the prompt to the first words" }, shown.ms(entry.first_text_ms)),
    ),
    el("ul", { class: "waterfall" },
      ...found.map((each) => line(each.name, bar(each, drawn), each.text, each.more)),
      frames.length ? line("frames", track(...ticks), counts(frames)) : null,
    ),
    el("p", { class: "scale", "aria-hidden": "true" }, el("span", {}, shown.ms(drawn.from)), el("span", {}, shown.ms(drawn.from + drawn.span))),
    inOrder(frames, entry.frames_left_out),
  );
}

// An entry of the trace: a turn, or that a session began or was over. ``spoken``: of a call.
export function entry(data) {
  if (data.kind === "turn") return turn(data);
  if (!data.spoken) return el("div", { class: "mark" }, `The conversation ${data.kind === "session" ? "began" : "was over"} · ${shown.time(data.at)}`);
  const what = data.kind === "session"
    ? `The caller was connected${data.resumed ? " again" : ""}`
    : `The session was over after ${shown.length(data.seconds)}: ${data.reason}${shown.unsaid(data.unsaid)}`;
  return el("div", { class: "mark" }, `${what} · ${shown.time(data.at)}`, inOrder(data.frames, data.frames_left_out));
}
