// What is wrong with a page for who uses a keyboard, a screen reader, or has weak eyes: a
// list of texts, empty when nothing is. The rules are those of WCAG 2.2, level AA, as far as
// a program can tell.
(() => {
  const wrong = [];
  const shown = (e) => {
    if (!e.checkVisibility({ visibilityProperty: true })) return false;
    const r = e.getBoundingClientRect();
    return r.width > 0 && r.height > 0;
  };
  const name = (e) => {
    const of = e.getAttribute("aria-labelledby");
    if (of) return of.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
    return (e.getAttribute("aria-label") || e.labels?.[0]?.textContent || e.textContent || e.alt || e.title || "").trim();
  };
  const where = (e) => e.outerHTML.replace(/\s+/g, " ").slice(0, 140);

  // 3.1.1, 2.4.2, 1.3.1: language, title, one main, one h1.
  if (!document.documentElement.lang) wrong.push("no language");
  if (!document.title) wrong.push("no title");
  if (document.querySelectorAll("main").length !== 1) wrong.push("not one main");
  if (document.querySelectorAll("h1").length !== 1) wrong.push(`${document.querySelectorAll("h1").length} h1`);
  // 4.1.1: ids are there once.
  const ids = new Set();
  for (const e of document.querySelectorAll("[id]")) {
    if (ids.has(e.id)) wrong.push(`id twice: ${e.id}`);
    ids.add(e.id);
  }
  // 2.4.1: a link within the page leads somewhere.
  for (const a of document.querySelectorAll('a[href^="#"]')) {
    if (!document.getElementById(a.getAttribute("href").slice(1))) wrong.push(`leads nowhere: ${where(a)}`);
  }
  // 1.1.1, 4.1.2, 3.3.2: what can be used has a name.
  for (const e of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")) {
    if (e.matches("input, select, textarea") && !e.labels?.length && !e.getAttribute("aria-label")) wrong.push(`no label: ${where(e)}`);
    else if (!name(e)) wrong.push(`no name: ${where(e)}`);
    if (e.tabIndex > 0) wrong.push(`in an order of its own: ${where(e)}`);
  }
  for (const e of document.querySelectorAll("img")) if (!e.hasAttribute("alt")) wrong.push(`no alt: ${where(e)}`);
  for (const e of document.querySelectorAll('svg[role="img"]')) if (!e.getAttribute("aria-label")) wrong.push(`no label: ${where(e)}`);
  // 1.3.1: tables have heads; headings don't leave a level out.
  for (const t of document.querySelectorAll("table")) if (!t.querySelector("th[scope]")) wrong.push(`no heads: ${where(t)}`);
  let level = 1;
  for (const h of document.querySelectorAll("main :is(h1, h2, h3, h4, h5, h6)")) {
    const n = Number(h.tagName[1]);
    if (n > level + 1) wrong.push(`h${n} after h${level}: ${where(h)}`);
    level = n;
  }
  // 1.4.10: nothing is wider than the window, but what scrolls by itself.
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth + 1) {
    const wide = [...document.querySelectorAll("main *")].find((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !e.closest(".scroll"));
    wrong.push(`wider than the window: ${wide ? where(wide) : ""}`);
  }

  // 1.4.3: text and what is behind it differ by 4.5 to 1, large text by 3 to 1.
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const colour = (css) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = css;
    paint.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const behind = (e) => {
    const layers = [];
    for (let x = e; x; x = x.parentElement) {
      const c = colour(getComputedStyle(x).backgroundColor);
      if (c[3] > 0) layers.push(c);
      if (c[3] === 1) break;
    }
    return layers.reduceRight((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const light = ([r, g, b]) => {
    const part = (c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const said = new Set();
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || e.closest("svg, .unseen, option, [disabled]") || !shown(e)) continue;
    const style = getComputedStyle(e);
    const back = behind(e);
    const [a, b] = [light(over(colour(style.color), back)), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const enough = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const key = `${style.color} on ${back.map(Math.round)}`;
    if (ratio < enough && !said.has(key)) {
      said.add(key);
      wrong.push(`contrast ${ratio.toFixed(1)}: ${key}: ${where(e)}`);
    }
  }
  return wrong;
})();
