// Somebody who follows a link from another site arrives without the cookie, which is strict, and may have a session all
// the same. Asked from here, with the cookie, the server then sends them on.

const answer = await fetch(location.href, { redirect: "manual" }).catch(() => null);
if (answer?.type === "opaqueredirect") location.replace(location.href);
