// A chart over time: lines, or columns whose parts are stacked. Drawn in a unit square that the browser stretches, so
// nothing is drawn anew when the window changes. The legend tells the values of the moment that is pointed at, with the
// mouse or with the arrow keys, and else the latest.

import { el, say } from "./page.js";
import { minute } from "./shown.js";

const W = 1000;
const H = 100;

// The least round number that is not below.
export function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value * 0.9999) * power;
}

// The values of [{at, name: value}] as path data, by name. ``span``: ms of the whole width; ``step``: of a point.
export function lines(points, names, { from, span, step, top }) {
  const x = (at) => ((W * (at + step / 2 - from)) / span).toFixed(1);
  return names.map((name) => {
    let path = "";
    let drawing = false;
    points.forEach((point, index) => {
      const value = point[name];
      if (value === null || value === undefined) {
        drawing = false;
        return;
      }
      // One among nothings is a dot: a line of no length with round ends.
      const alone = !drawing && (points[index + 1]?.[name] ?? null) === null;
      path += `${drawing ? "L" : "M"}${x(point.at)} ${(H - (H * value) / top).toFixed(2)}${alone ? "h0" : ""}`;
      drawing = true;
    });
    return path;
  });
}

export function columns(points, names, { from, span, step, top }) {
  const width = (W * step * 0.78) / span;
  const under = points.map(() => 0);
  return names.map((name) =>
    points
      .map((point, index) => {
        const value = point[name] ?? 0;
        if (!(value > 0)) return "";
        const y = H - (H * under[index]) / top;
        under[index] += value;
        const x = (W * (point.at + step * 0.11 - from)) / span;
        const height = (H * value) / top;
        return `M${x.toFixed(1)} ${y.toFixed(2)}h${width.toFixed(1)}v${(-height).toFixed(2)}h${(-width).toFixed(1)}z`;
      })
      .join(""),
  );
}

export class Chart {
  // ``figure`` gets the drawing. ``series``: [{name, label, shade}]. ``show``: writes a value. ``stacked``: columns.
  constructor(figure, { series, show, stacked = false, least = 0 }) {
    this.series = series;
    this.show = show;
    this.stacked = stacked;
    this.least = least;
    this.points = [];
    this.at = null;
    this.title = figure.querySelector("h2").textContent;
    this.paths = series.map(({ shade }) => el("path", { class: `${stacked ? "column" : "stroke"} s-${shade}` }));
    this.cursor = el("line", { class: "cursor", y1: 0, y2: H, visibility: "hidden" });
    const grid = [0, 0.5, 1].map((part) => el("line", { class: "grid", x1: 0, x2: W, y1: H * part, y2: H * part }));
    this.svg = el(
      "svg",
      { viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", role: "img", tabindex: 0, "aria-label": this.title },
      ...grid,
      ...this.paths,
      this.cursor,
    );
    this.heights = [1, 0.5, 0].map(() => el("span"));
    this.times = [0, 0.25, 0.5, 0.75, 1].map(() => el("span"));
    this.when = el("span", { class: "when" });
    this.values = series.map(() => el("b"));
    this.notes = series.map(() => el("small"));
    this.empty = el("p", { class: "nothing", hidden: true }, "No turns in this time. Place a call: make call");
    const legend = series.map(({ label, shade }, index) =>
      el("li", {}, el("i", { class: `s-${shade}`, "aria-hidden": "true" }), label, " ", this.values[index], this.notes[index]),
    );
    figure.append(
      el(
        "div",
        { class: "plot" },
        el("div", { class: "heights", "aria-hidden": "true" }, ...this.heights),
        this.svg,
        this.empty,
        el("div", { class: "times", "aria-hidden": "true" }, ...this.times),
      ),
      el("ul", { class: "legend" }, ...legend, el("li", { class: "at" }, this.when)),
    );
    this.svg.addEventListener("pointermove", (event) => {
      const box = this.svg.getBoundingClientRect();
      this.point((event.clientX - box.left) / box.width);
    });
    this.svg.addEventListener("pointerleave", () => this.leave());
    this.svg.addEventListener("blur", () => this.leave());
    this.svg.addEventListener("keydown", (event) => this.key(event));
  }

  // ``points``: [{at, name: value or null}] in order; ``minutes``: how much time is shown, up to the last of them.
  draw(points, minutes) {
    const span = minutes * 60000;
    const step = points.length > 1 ? points.at(-1).at - points.at(-2).at : 60000;
    const to = (points.at(-1)?.at ?? Date.now()) + step;
    const from = to - span;
    const seen = points.filter(({ at }) => at >= from);
    const names = this.series.map(({ name }) => name);
    const sums = seen.map((point) =>
      this.stacked ? names.reduce((sum, name) => sum + (point[name] ?? 0), 0) : Math.max(...names.map((name) => point[name] ?? 0)),
    );
    const top = roundUp(Math.max(this.least, ...sums));
    Object.assign(this, { points: seen, scale: { from, span, step, top } });
    const drawn = (this.stacked ? columns : lines)(seen, names, this.scale);
    drawn.forEach((path, index) => this.paths[index].setAttribute("d", path));
    [top, top / 2, 0].forEach((value, index) => say(this.heights[index], this.show(value)));
    [0, 0.25, 0.5, 0.75, 1].forEach((part, index) => say(this.times[index], minute(from + part * span)));
    this.empty.hidden = seen.some((point) => names.some((name) => (point[name] ?? null) !== null));
    this.tell();
  }

  // What is told of a series beside its values, in the order of the series.
  note(texts) {
    texts.forEach((text, index) => say(this.notes[index], text));
  }

  point(part) {
    if (!this.points.length) return;
    const { from, span, step } = this.scale;
    const at = from + part * span - step / 2;
    const near = (best, point) => (Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best);
    this.at = this.points.reduce(near).at;
    this.tell();
  }

  key(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") this.leave();
    if (!move || !this.points.length) return;
    event.preventDefault();
    const last = this.points.length - 1;
    const now = this.points.findIndex(({ at }) => at === this.at);
    const next = now < 0 ? (move < 0 ? last : 0) : Math.min(last, Math.max(0, now + move));
    this.at = this.points[next].at;
    this.tell();
  }

  leave() {
    this.at = null;
    this.tell();
  }

  tell() {
    const chosen = this.points.find(({ at }) => at === this.at);
    const point = chosen ?? this.points.at(-1);
    this.series.forEach(({ name }, index) => say(this.values[index], this.show(point?.[name] ?? null)));
    say(this.when, point ? (chosen ? minute(point.at) : `latest, ${minute(point.at)}`) : "");
    this.cursor.setAttribute("visibility", chosen ? "visible" : "hidden");
    if (chosen) {
      const x = (W * (chosen.at + this.scale.step / 2 - this.scale.from)) / this.scale.span;
      this.cursor.setAttribute("x1", x);
      this.cursor.setAttribute("x2", x);
    }
    const told = this.series.map(({ name, label }) => `${label} ${this.show(point?.[name] ?? null)}`).join(", ");
    this.svg.setAttribute("aria-label", `${this.title}; ${point ? minute(point.at) : "nothing yet"}: ${told}`);
  }
}
