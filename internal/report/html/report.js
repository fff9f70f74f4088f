"use strict";
// What the page does without this script: filter by severity, open and close. With
// it: search, sorting, and counts of what is shown.
for (const image of document.querySelectorAll(".image")) {
  const findings = image.querySelector(".findings");
  if (findings) searchable(findings, ".f");
  for (const details of image.querySelectorAll(".apart details")) {
    if (details.querySelector(".search")) searchable(details, "tbody tr");
  }
  for (const table of image.querySelectorAll("table.sortable")) sortable(table);
}

// searchable hides the rows that lack a word of what is searched for.
function searchable(section, selector) {
  const input = section.querySelector(".search");
  const output = section.querySelector(".shown");
  const rows = Array.from(section.querySelectorAll(selector), (row) => ({ row, text: "" }));
  input.hidden = false;
  const update = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const r of rows) {
      if (words.length > 0 && r.text === "") r.text = r.row.textContent.toLowerCase();
      r.row.classList.toggle("out", !words.every((w) => r.text.includes(w)));
    }
    count();
  };
  const count = () => {
    if (!output) return;
    const off = new Set(Array.from(section.querySelectorAll(".filter label input:not(:checked)"), (i) => i.className.slice(2)));
    const on = new Set(Array.from(section.querySelectorAll(".filter label input:checked"), (i) => i.className.slice(2)));
    let shown = 0;
    const groups = new Map();
    for (const { row } of rows) {
      const c = row.classList;
      const seen = !c.contains("out") && !Array.from(off).some((s) => c.contains(s) && s !== "fixable" && s !== "kev") &&
        (!on.has("fixable") || c.contains("fixable")) && (!on.has("kev") || c.contains("exploited"));
      shown += seen ? 1 : 0;
      const group = row.closest(".group");
      groups.set(group, groups.get(group) || seen);
    }
    for (const [group, seen] of groups) group.classList.toggle("out", !seen);
    output.textContent = shown === rows.length ? "" : shown + " of " + rows.length + " shown";
  };
  let waiting = 0;
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(update, rows.length > 2000 ? 150 : 0);
  });
  section.addEventListener("change", count);
}

// sortable makes the heads of a table buttons that sort it.
function sortable(table) {
  const heads = Array.from(table.querySelectorAll("thead th"));
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, heads, column));
  });
}

function sort(table, heads, column) {
  const head = heads[column];
  const numeric = head.classList.contains("num") || head.classList.contains("s");
  const first = numeric ? "descending" : "ascending";
  const second = numeric ? "ascending" : "descending";
  const direction = head.getAttribute("aria-sort") === first ? second : first;
  for (const h of heads) h.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const order = new Intl.Collator("en", { numeric: true });
  const rows = Array.from(body.rows, (row) => ({ row, key: row.cells[column].dataset.key || row.cells[column].textContent.trim() }));
  rows.sort((a, b) => sign * order.compare(a.key, b.key));
  body.append(...rows.map((r) => r.row));
}

// What is closed would be missing on paper; a link into it opens it.
addEventListener("beforeprint", () => {
  for (const d of document.querySelectorAll("details")) d.open = true;
});
addEventListener("hashchange", reveal);
reveal();
function reveal() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  const details = target && target.querySelector("details");
  if (details) details.open = true;
}
