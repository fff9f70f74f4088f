// What pages do besides being read: times in the reader's zone, the key of the search, and
// progress while it happens. All else works without it.
"use strict";

const localTimes = (within) => {
  for (const t of within.querySelectorAll("time[datetime]")) {
    t.title = new Date(t.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
  }
};
localTimes(document);

document.addEventListener("keydown", (e) => {
  const typing = e.target.closest("input, textarea, select, [contenteditable]");
  if (e.key === "/" && !typing && !e.ctrlKey && !e.metaKey && !e.altKey) {
    const find = document.getElementById("find");
    if (find) {
      e.preventDefault();
      find.focus();
      find.select();
    }
  }
});

// Parts of a page name the events that change them ("schedule/sync": those of one schedule),
// and are read anew when one comes: at most every two seconds, and not while somebody is in
// the middle of one. data-from is their address, where the page has none to be read from.
const live = [...document.querySelectorAll("[data-live]")];
if (live.length && window.EventSource) {
  const pause = 2000, stale = new Set(), seen = new Map();
  let events, timer, last = 0;
  const inUse = (part) => part.contains(document.activeElement) || part.querySelector("details[open]");
  const soon = (wait) => { timer ??= setTimeout(readAnew, Math.max(0, last + wait - Date.now())); };
  const readAnew = async () => {
    timer = undefined;
    if (document.hidden) return;
    last = Date.now();
    try {
      const answer = await fetch(live[0].dataset.from ?? location.href);
      if (answer.redirected || answer.status < 500 && !answer.ok) { stale.clear(); return; } // logged out, or gone
      const page = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const id of page ? [...stale] : []) {
        const part = document.getElementById(id), anew = page.getElementById(id);
        if (inUse(part)) continue;
        stale.delete(id);
        if (!anew || part.textContent === anew.textContent) continue;
        part.replaceChildren(...anew.childNodes);
        localTimes(part);
      }
    } catch { /* the server is away: once more */ }
    if (stale.size) soon(4 * pause);
  };
  const changed = (event) => {
    const data = JSON.parse(event.data), names = [event.type, `${event.type}/${data.name}`];
    if (event.type !== "scanned") { // a stream begins with how things are
      const key = `${event.type}/${data.name ?? data.registry}`, before = seen.get(key);
      seen.set(key, event.data);
      if (before === event.data) return;
    }
    for (const part of live) if (part.dataset.live.split(" ").some((n) => names.includes(n))) stale.add(part.id);
    if (stale.size) soon(pause);
  };
  // Browsers keep few connections to a host: pages that are not seen give theirs up.
  const listen = () => {
    if (document.hidden) { events?.close(); events = undefined; return; }
    if (events) return;
    if (seen.size) { // it was hidden: what was scanned meanwhile is not told
      for (const part of live) stale.add(part.id);
      soon(0);
    }
    events = new EventSource("/api/v1/events");
    for (const name of ["registry", "scanned", "schedule"]) events.addEventListener(name, changed);
  };
  document.addEventListener("visibilitychange", listen);
  listen();
}

// Mistakes in a policy, while it is written: what the button "Check" says, without it.
for (const form of document.querySelectorAll("form[data-check]")) {
  const text = form.elements.text, out = form.querySelector("[data-mistakes]");
  let timer, asked = 0;
  const goTo = (m) => {
    const lines = text.value.split("\n");
    const at = lines.slice(0, m.line - 1).reduce((n, l) => n + l.length + 1, 0) + Math.max(m.column - 1, 0);
    text.focus();
    text.setSelectionRange(at, at + (m.column ? 1 : (lines[m.line - 1] || "").length));
    text.scrollTop = (m.line - 5) * parseFloat(getComputedStyle(text).lineHeight);
  };
  const show = (mistakes) => {
    const note = document.createElement("p");
    note.className = mistakes.length ? "note bad" : "note good";
    note.textContent = mistakes.length ? `${mistakes.length} mistake${mistakes.length > 1 ? "s" : ""}` : "No mistakes.";
    const list = document.createElement("ul");
    list.className = "mistakes";
    for (const m of mistakes) {
      const item = list.appendChild(document.createElement("li"));
      if (m.line) {
        const place = item.appendChild(document.createElement("button"));
        place.type = "button";
        place.className = "plain";
        place.textContent = `Line ${m.line}${m.column ? `, column ${m.column}` : ""}`;
        place.addEventListener("click", () => goTo(m));
        item.append(": ");
      }
      item.append(m.message);
    }
    out.setAttribute("role", "status");
    out.replaceChildren(note, ...(mistakes.length ? [list] : []));
  };
  const check = async () => {
    const n = ++asked;
    try {
      const answer = await fetch(form.dataset.check, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ text: text.value, check: true }),
      });
      if (answer.ok && n === asked) show((await answer.json()).mistakes);
    } catch { /* the button is still there */ }
  };
  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(check, 400);
  });
}
