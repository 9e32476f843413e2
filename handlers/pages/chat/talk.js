// The conversation: what was written and is not answered yet, what is being answered, and what came before.
//
// Messages go out one at a time, in order, and stay in ``memory.outbox`` until they are answered: whatever is lost on the
// way is sent again, with the same name, by which the server knows it. They wait below the answer that is being given.

function talk(panel, memory, wire, t) {
  const { log, live, queue } = panel;
  const { outbox } = memory;
  const ended = new Map(); // turns that are in the log, and whether it has them from the history
  let phase = ""; // of the first message: "", "sent", "failed"
  let own = null; // its bubble, once it was sent
  let last = 0; // number of the last frame we have
  let turn, text; // being answered, as far as was told
  let painting = 0;
  let isReady = false; // connected
  let isOn = false; // and agreed with the server on where we are
  let isStale = true; // what was said meanwhile is in the history only

  function bubble(role, words) {
    const made = el("div", { class: `bubble ${role}` });
    if (role[0] === "u") made.append(el("p", { dir: "auto" }, words));
    else markdown(made, words);
    return made;
  }

  const wait = (message) => queue.append(bubble("user waiting", message.text));

  function begin(name) {
    turn = name;
    text = "";
    live.replaceChildren(...(name ? [bubble("", "")] : []));
  }

  function finish(name, words) {
    panel.follow(() => {
      begin();
      if (words) log.append(bubble("", words));
    });
    ended.set(name, false);
  }

  function clear() {
    log.replaceChildren();
    queue.replaceChildren();
    ended.clear();
    phase = "";
    own = null;
    begin();
  }

  // Sends the first of what waits, when nothing else is being answered.
  function pump() {
    const head = outbox[0];
    if (isOn && head && !phase) {
      phase = "sent";
      own ??= queue.firstChild;
      own.className = "bubble user";
      if (own.parentNode === queue) log.append(own);
      wire.send({ type: "message", client_id: head.id, text: head.text });
    }
    panel.busy(isOn && phase === "sent", !text);
  }

  function settle() {
    outbox.shift();
    phase = "";
    own = null;
    memory.keep();
    pump();
  }

  function again() {
    phase = "";
    begin();
    pump();
  }

  function resume(after) {
    last = after;
    isStale = false;
    isOn = true;
    wire.send({ type: "resume", conversation: memory.conversation, after });
    pump();
  }

  async function restore() {
    const mine = memory.conversation;
    isOn = false;
    isStale = true;
    try {
      const { seq, messages } = await wire.history();
      if (!isReady || memory.conversation !== mine) return;
      clear();
      for (const { role, text: words, turn: name } of messages) {
        log.append(bubble(role, words));
        ended.set(name, true);
      }
      while (ended.has(outbox[0]?.turn ?? 0)) outbox.shift();
      outbox.forEach(wait);
      panel.bottom();
      resume(seq);
    } catch {
      wire.drop();
    }
  }

  // What was on its way is sent again, when we are back.
  function away() {
    isReady = isOn = false;
    if (phase === "sent") phase = "";
    pump();
  }

  const on = {
    ready({ conversation, seq }) {
      isReady = true;
      panel.say();
      if (conversation !== memory.conversation) isStale = true;
      memory.conversation = conversation;
      memory.keep();
      if (isStale && seq) restore();
      else resume(isStale ? 0 : last);
    },

    ack({ client_id, turn: name }) {
      const head = outbox[0];
      if (head?.id !== client_id) return;
      if (head.turn !== name && turn === head.turn) begin(); // that turn is lost, and this one is in its place
      head.turn = name;
      memory.keep();
      if (!ended.has(name)) return;
      if (ended.get(name)) own.remove();
      settle();
    },

    delta({ turn: name, text: more }) {
      if (ended.has(name)) return;
      if (name !== turn) begin(name);
      text += more;
      painting ||= requestAnimationFrame(() => {
        painting = 0;
        if (text) panel.follow(() => markdown(live.firstChild, text, true));
      });
      pump();
    },

    done({ turn: name, text: words }) {
      if (!ended.has(name)) {
        finish(name, words);
        panel.unread();
      }
      if (outbox[0]?.turn === name) settle();
    },

    // Of a model's failure the agent tells in its own words. A server that leaves is found again, or another one.
    error({ turn: name, client_id, code, retryable, message }) {
      const head = outbox[0];
      if (!head || (client_id !== head.id && name !== head.turn) || phase === "failed" || code === "leaving") return;
      if (code === "lost") return again();
      const words = /rate|busy/.test(code) ? t.busy : (/^model/.test(code) && message) || t.failed;
      const told = el("p", { class: "failed", role: "alert", dir: "auto" }, words, " ");
      if (retryable) {
        phase = "failed";
        told.append(el("button", { click: again }, t.retry));
        panel.follow(() => live.append(told));
        pump();
      } else {
        finish(name, text);
        panel.follow(() => log.append(told));
        settle();
      }
    },

    reset: restore,
  };

  outbox.forEach(wait);
  addEventListener("offline", () => panel.say(false, t.offline));
  addEventListener("online", () => isReady && panel.say());

  return {
    frame(frame) {
      if (frame.seq && frame.type !== "ready") {
        if (!isOn) return; // it comes again, when we have said from where on
        if (frame.type === "delta" && frame.seq <= last) return;
        last = Math.max(last, frame.seq);
      }
      on[frame.type]?.(frame);
    },

    lost(tries) {
      away();
      panel.say(false, !navigator.onLine ? t.offline : tries > 4 ? t.refused : t.lost);
    },

    refused() {
      away();
      panel.say(true, t.refused);
    },

    elsewhere() {
      away();
      isStale = true; // others go on with the conversation
      panel.say(true, t.elsewhere, " ", el("button", { click: wire.start }, t.here));
    },

    write(words) {
      outbox.push({ id: crypto.getRandomValues(new Uint32Array(4)).join("-"), text: words });
      memory.keep();
      wait(outbox.at(-1));
      if (phase === "failed") again();
      else pump();
      panel.bottom();
    },

    stop: () => wire.send({ type: "stop", turn: outbox[0]?.turn }),

    fresh() {
      if (!isReady) return;
      outbox.length = 0;
      clear();
      isOn = false;
      wire.send({ type: "reset" }); // which is answered by another ``ready``
      memory.keep();
      pump();
    },
  };
}
