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

const live = document.querySelector("[data-live]");
if (live && window.EventSource) {
  const events = new EventSource("/api/v1/events");
  events.addEventListener("registry", (e) => {
    const p = JSON.parse(e.data);
    for (const row of live.querySelectorAll("[data-registry]")) {
      if (row.dataset.registry !== p.registry) continue;
      const said = [p.crawl, `${p.scanned} scanned`];
      if (p.due + p.scanning) said.push(`${p.due + p.scanning} to do`);
      if (p.parked) said.push(`${p.parked} given up`);
      row.querySelector("[data-progress]").textContent = said.filter(Boolean).join(", ");
    }
  });
}
