// The connection: it is opened anew whenever it is lost, until the server says that it would be no use.

const SHORTEST = 500, // ms before the first new attempt; twice as long before each one after it
  LONGEST = 30000,
  PATIENCE = 10000, // ms for an answer
  BEAT = 25000; // ms between two pings

// ``memory``: holds the visitor's name. ``told`` is given every frame, and what becomes of the connection: ``lost``
// (with how often it was tried in vain), ``refused``, or ``elsewhere``: another window has it now.
function wire(base, agent, memory, told) {
  let socket, timer, deadline;
  let tries = 0;
  let state = ""; // "lost": connecting or about to; "on"; or why it was given up
  let isDoubted = false; // the server did not know our ticket
  const query = agent && `?agent=${encodeURIComponent(agent)}`;

  async function ask(path, options) {
    const answer = await fetch(base + path, { signal: AbortSignal.timeout(PATIENCE), ...options });
    if (!answer.ok) throw answer.status;
    return answer.json();
  }

  async function ticket() {
    const { visitor, ticket } = await ask("ticket", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ visitor: memory.visitor }) });
    memory.visitor = visitor;
    memory.keep();
    return ticket;
  }

  // Lets go of the connection, without waiting for the other side to agree, and gives it up, or tries again.
  function drop(why = "lost") {
    clearTimeout(deadline);
    if (socket) socket.onclose = socket.onmessage = null;
    socket?.close();
    socket = null;
    state = why;
    told[why](tries);
    if (why !== "lost") return;
    timer = setTimeout(open, Math.min(SHORTEST * 2 ** tries, LONGEST) * (0.5 + Math.random() / 2));
    tries += 1;
  }

  function closed({ code }) {
    drop(code === 4409 ? "elsewhere" : code === 1008 || code === 4403 || (code === 4401 && isDoubted) ? "refused" : "lost");
    isDoubted = code === 4401;
  }

  async function open() {
    clearTimeout(timer);
    state = "lost";
    const mine = (socket = { close() {} }); // until there is one
    deadline = setTimeout(drop, 2 * PATIENCE);
    try {
      const pass = await ticket();
      if (socket !== mine) return;
      socket = new WebSocket(base.replace("http", "ws") + "ws" + query, "chat.v1");
      socket.onopen = () => send({ type: "auth", ticket: pass });
      socket.onclose = closed;
      socket.onmessage = ({ data }) => {
        clearTimeout(deadline);
        const frame = JSON.parse(data);
        if (frame.type === "ready") state = "on";
        if (frame.type === "pong") tries = 0; // it holds
        told.frame(frame);
      };
    } catch (status) {
      if (socket === mine) drop(status === 403 || status === 404 ? "refused" : "lost");
    }
  }

  const send = (frame) => socket?.readyState === 1 && socket.send(JSON.stringify(frame));

  // A connection that says nothing any more is noticed by the answer that does not come.
  function ping() {
    if (state !== "on") return;
    send({ type: "ping" });
    clearTimeout(deadline);
    deadline = setTimeout(drop, PATIENCE);
  }

  // Now is a good moment to try.
  function nudge() {
    ping();
    if (state !== "lost" || socket) return;
    tries = 0;
    open();
  }

  setInterval(ping, BEAT);
  addEventListener("online", nudge);
  document.addEventListener("visibilitychange", () => document.hidden || nudge());

  return {
    send,
    drop,
    start: () => socket || state === "lost" || open(),
    history: async () => ask("history" + query, { headers: { Authorization: `Bearer ${await ticket()}` } }),
  };
}
