// Markdown as models write it, built of nodes: whatever the text is, none of it is ever parsed as markup. The patterns
// look no further than so many characters, so that no text takes long.

// A fence, an item of a list with what is indented beneath it, a heading, or a paragraph.
const BLOCK = /^[ \t]*(`{3,}|~{3,})[^`\n]*((?:\n[^]*?)??)(?:\n[ \t]*\1.*|(?![^]))|^([ \t]*)(?:[-*+]|(\d{1,9})[.)])[ \t]+(.*(?:\n(?:\3[ \t]+.*|[ \t]*$))*)|^(?:#{1,6}[ \t].*|.*\S.*(?:\n(?![ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]|[ \t]*(?:```|~~~)|#).*\S.*)*)/gm;
const INLINE =
  /\\([!-/:-@[-`{-~])|(?<!`)(`{1,3})([^]{1,1000}?)\2(?!`)|(\*\*|__)(?=\S)([^]{0,999}?\S)\4(?![*_])|(?<![\p{L}\p{N}*_])([*_])(?=[^\s*_])([^*_]{0,999}[^\s*_])\6(?![\p{L}\p{N}])|\[([^[\]]{1,500})\]\(([^\s()]{1,999}(?:\([^\s()]{0,200}\)[^\s()]{0,200})?)\)|(https?:\/\/[^\s<>"]{0,999}[^\s<>".,:;!?)\]*_'])/gu;
const DEEPEST = 5, // lists, or emphasis, within each other
  MOST = 2e4; // characters of a paragraph; what is longer is shown as it is

function link(address, ...children) {
  try {
    const { href, protocol } = new URL(address);
    if (/^(https?|mailto|tel):$/.test(protocol)) return [el("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children)];
  } catch {
    // It is no address: text, as any other.
  }
  return children;
}

function inline(text, depth = 0) {
  const nodes = [];
  let end = 0;
  for (const found of depth > DEEPEST || text.length > MOST ? [] : text.matchAll(INLINE)) {
    const [all, escaped, , code, , strong, , emphasis, label, address, bare] = found;
    nodes.push(text.slice(end, found.index));
    end = found.index + all.length;
    if (escaped) nodes.push(escaped);
    else if (code) nodes.push(el("code", {}, code));
    else if (strong) nodes.push(el("strong", {}, ...inline(strong, depth + 1)));
    else if (emphasis) nodes.push(el("em", {}, ...inline(emphasis, depth + 1)));
    else if (label) nodes.push(...link(address, ...inline(label, DEEPEST + 1)));
    else nodes.push(...link(bare, bare));
  }
  return [...nodes, text.slice(end)];
}

// What was opened and is not closed yet, while the rest is still to come: closed for now, so that no mark is seen.
function closed(text) {
  const rest = text.replace(INLINE, (all) => "x".repeat(all.length));
  const half = /\[([^\]]{0,500})(?:\](?:\([^)]{0,999})?)?$/.exec(rest);
  if (half) return text.slice(0, half.index) + text.slice(half.index + 1, half.index + 1 + half[1].length);
  const [, open = ""] = /(?<!\S)(\*{1,3}|__?|`)(?=[^\s*_`])/.exec(rest) ?? [];
  return text.slice(0, rest.replace(/[*_`\s]{1,9}$/, "").length) + open;
}

// The parts of a text one below the other, as [what it is, its text, the number it begins with]. The items of a list are
// one text with form feeds between.
function blocks(text) {
  const found = [];
  for (const [all, fence, code, , number, item] of text.replaceAll("\r", "").matchAll(BLOCK)) {
    const kind = fence ? "pre" : item == null ? "p" : number ? "ol" : "ul";
    const [inner] = /\n[ \t]+(?=\S)/.exec(item) ?? ["\n"];
    const words = fence ? code.slice(1) : (item?.replaceAll(inner, "\n") ?? all);
    const last = found.at(-1);
    if (item != null && last?.[0] === kind) last[1] += "\f" + words;
    else found.push([kind, words, number]);
  }
  return found;
}

function block([kind, text, start], depth) {
  if (kind === "pre") return el("pre", { tabindex: 0 }, el("code", {}, text));
  const dir = depth ? null : "auto"; // a list as a whole
  const words = text.replace(/^#{1,6}\s+/, "");
  if (kind === "p") return el(words === text ? "p" : "h3", { dir }, ...inline(words));
  const items = text.split("\f").map((each) => (depth < DEEPEST ? blocks(each).map((part) => block(part, depth + 1)) : [each]));
  return el(kind, { dir, start }, ...items.map((parts) => el("li", {}, ...parts)));
}

// Shows a text in ``parent``, and leaves what did not change as it is. ``more``: the rest of the text is still to come.
function markdown(parent, text, more) {
  const before = parent.blocks ?? [];
  const after = (parent.blocks = blocks(text));
  const last = after.at(-1);
  if (more && last && last[0] !== "pre" && last[1].length < MOST) last[1] = closed(last[1]);
  after.forEach((each, at) => {
    const node = parent.children[at];
    const isSame = before[at]?.[0] === each[0];
    if (isSame && before[at][1] === each[1]) return;
    if (isSame && each[0] === "pre") node.firstChild.textContent = each[1];
    else if (node) node.replaceWith(block(each, 0));
    else parent.append(block(each, 0));
  });
  while (parent.children[after.length]) parent.lastChild.remove();
}
