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
