// What pages do besides being read: times in the reader's zone, the key of the search, and
// progress while it happens. All else works without it.
"use strict";

for (const t of document.querySelectorAll("time[datetime]")) {
  t.title = new Date(t.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
}

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

// How far registries are read and scanned, in rows that say whose they are.
const live = document.querySelector("[data-live]");
if (live && window.EventSource) {
  const events = new EventSource("/api/v1/events");
  const say = (row, what, text) => {
    const e = row.querySelector(what);
    if (e && e.textContent !== text) e.textContent = text;
  };
  events.addEventListener("registry", (e) => {
    const p = JSON.parse(e.data);
    const counts = { due: p.due, scanning: p.scanning, scanned: p.scanned, parked: p.parked, todo: p.due + p.scanning };
    const all = p.due + p.scanning + p.scanned + p.parked;
    for (const row of live.querySelectorAll("[data-registry]")) {
      if (row.dataset.registry !== p.registry) continue;
      say(row, "[data-progress]", p.crawl || "");
      for (const [name, n] of Object.entries(counts)) say(row, `[data-count=${name}]`, String(n).replace(/\B(?=(\d{3})+$)/g, " "));
      const bar = row.querySelector("[data-bar]");
      if (!bar) continue;
      bar.max = all || 1;
      bar.value = p.scanned + p.parked;
      bar.hidden = bar.value === all;
    }
  });
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
