// The button, the panel it opens, and what they do with a keyboard, a telephone and a window.

const ICONS = {
  chat: "M4 5h16v12H9l-5 4z",
  close: "M6 6l12 12M18 6L6 18",
  fresh: "M12 5v14M5 12h14",
  send: "M12 20V5M5 12l7-7 7 7",
  stop: "M7 7h10v10H7z",
};

// Keys by their codes: one that only chooses among what an input method suggests has another code in every browser.
const ENTER = 13,
  ESCAPE = 27;

// An element with attributes (functions are listeners, undefined ones are left out) and children. Text stays text.
function el(name, attributes = {}, ...children) {
  const made = /svg|path/.test(name) ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value != null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const icon = (name) => el("svg", { viewBox: "0 0 24 24" }, el("path", { d: ICONS[name] }));
const button = (name, label, click) => el("button", { class: name, title: label, click }, icon(name));

// ``on``: what is done when something is written, when the answer is to stop, when a new conversation is wanted, and when
// the panel was opened or closed.
function makePanel(root, t, isInline, on) {
  const log = el("div", { role: "log", "aria-live": "polite" });
  const live = el("div");
  const queue = el("div");
  const dots = el("p", { class: "bubble dots", "aria-hidden": true }, "•••");
  const doing = el("p", { class: "unseen", role: "status" });
  const words = el("div", { class: "words", tabindex: 0 }, el("p", { class: "bubble", dir: "auto" }, t.greeting), log, live, dots, queue);
  const notice = el("p", { class: "notice", role: "status" });
  const box = el("textarea", { rows: 1, dir: "auto", maxlength: 4000, placeholder: t.placeholder, input: fit, keydown: key });
  const stop = button("stop", t.stop, () => on.stop());
  const send = button("send", t.send, write);
  const head = el("header", {}, el(isInline ? "h1" : "h2", { dir: "auto" }, t.title), button("fresh", t.fresh, () => (on.fresh(), box.focus())));
  const panel = el(
    isInline ? "section" : "dialog",
    { "aria-label": t.title, tabindex: -1, close: closed, keydown: (event) => event.keyCode === ESCAPE && panel.close?.() },
    head,
    doing,
    words,
    notice,
    el("footer", {}, box, stop, send),
  );
  const launcher = button("chat", t.open, () => (panel.open ? panel.close() : open(true)));
  const count = el("b");
  let missed = 0;

  panel.style.colorScheme = t.theme ?? "";
  root.append(panel);
  if (!isInline) {
    head.append(button("close", t.close, () => panel.close()));
    launcher.append(icon("close"), count);
    root.append(launcher);
    visualViewport.addEventListener("resize", place);
    visualViewport.addEventListener("scroll", place);
    tell();
  }

  // A telephone's keyboard takes its place from what can be seen, not from the window.
  function place() {
    const { offsetTop, height } = visualViewport;
    panel.style.setProperty("--top", `${offsetTop}px`);
    panel.style.setProperty("--height", `${height}px`);
  }

  function tell() {
    const label = panel.open ? t.close : t.open + (missed ? ` (${missed})` : "");
    count.textContent = missed || "";
    launcher.title = launcher.ariaLabel = label;
    launcher.ariaExpanded = panel.open;
  }

  // Where it covers everything the page beneath is out of reach, also for the keyboard. ``isAsked``: by the visitor; as
  // a page is loaded neither the page nor the focus is taken away.
  function open(isAsked) {
    const isSmall = matchMedia("(max-width: 30rem), (max-height: 26rem)").matches;
    if (isSmall && !isAsked) return;
    missed = 0;
    place();
    if (isSmall) panel.showModal();
    else panel.open = true;
    if (isAsked) (matchMedia("(pointer: coarse)").matches ? panel : box).focus();
    bottom();
    tell();
    on.open(true);
  }

  function closed() {
    launcher.focus();
    tell();
    on.open(false);
  }

  function bottom() {
    words.scrollTop = words.scrollHeight;
  }

  // Makes a change, and shows the end again to who was there, or within a few px.
  function follow(change) {
    const isNear = words.scrollHeight - words.scrollTop - words.clientHeight < 40;
    change();
    if (isNear) bottom();
  }

  function fit() {
    box.style.height = "auto";
    box.style.height = box.scrollHeight + 2 + "px";
    send.disabled = box.disabled || !box.value.trim();
  }

  function key(event) {
    if (event.keyCode !== ENTER || event.shiftKey) return;
    event.preventDefault();
    write();
  }

  function write() {
    const text = box.value.trim();
    if (!text || box.disabled) return;
    box.value = "";
    fit();
    box.focus();
    on.write(text);
  }

  function busy(isBusy, isSilent) {
    follow(() => (dots.hidden = !isBusy || !isSilent));
    if (stop.hidden !== isBusy) return; // nothing is announced twice
    if (stop === root.activeElement) box.focus();
    stop.hidden = !isBusy;
    doing.textContent = isBusy ? t.typing : "";
  }

  // Says what stands in the way, and what helps; ``isShut``: nothing can be written.
  function say(isShut, ...words) {
    box.disabled = isShut;
    fit();
    notice.replaceChildren(...words);
  }

  function unread() {
    if (isInline || panel.open) return;
    missed += 1;
    tell();
  }

  busy(false);
  fit();
  return { log, live, queue, open, bottom, follow, busy, say, unread };
}
