// The report, set by the server; its citations lead to its sources and back.

import { api } from "./api.js";
import { el } from "./dom.js";
import { safeFragment } from "./safe_html.js";

const CITATION = /\[(\d{1,9})\]/g;

export class ReportPane {
  constructor(id) {
    this.id = id;
    this.body = el("article", { class: "prose report", "aria-label": "Report" });
    this.element = el("div", {}, this.body);
  }

  async load() {
    try {
      const html = await api.reportHtml(this.id);
      // The same again is left in place: somebody may be reading it, or be on a link of it.
      if (html === this.html) return true;
      this.html = html;
      const fragment = safeFragment(html);
      linkCitations(fragment);
      this.body.replaceChildren(fragment);
      return true;
    } catch (error) {
      this.html = null;
      const empty = error.status === 404 ? "No report yet: it begins with the first finished model call." : error.message;
      this.body.replaceChildren(el("p", { class: "hint" }, empty));
      return false;
    }
  }
}

// `[3]` in the text becomes a link to the source 3, where the list of sources has one.
export function linkCitations(fragment) {
  const sources = sourcesOf(fragment);
  for (const [number, item] of sources) {
    item.id = `source-${number}`;
    item.tabIndex = -1;
  }
  const walker = document.createTreeWalker(fragment, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  const listed = new Set(sources.values());
  for (const text of texts) {
    const inside = text.parentElement?.closest("a, code, pre, li");
    if (inside && (inside.tagName !== "LI" || listed.has(inside))) continue;
    if (text.data.includes("[")) replaceCitations(text, sources);
  }
}

function sourcesOf(fragment) {
  const heading = [...fragment.querySelectorAll("h2")].find((found) => found.textContent.trim() === "Sources");
  const found = new Map();
  for (let next = heading?.nextElementSibling; next && next.tagName !== "H2"; next = next.nextElementSibling) {
    for (const item of next.querySelectorAll("li")) {
      const number = /^\s*\[(\d{1,9})\]/.exec(item.textContent)?.[1];
      if (number && !found.has(number)) found.set(number, item);
    }
  }
  return found;
}

function replaceCitations(text, sources) {
  const parts = [];
  let at = 0;
  for (const match of text.data.matchAll(CITATION)) {
    const item = sources.get(match[1]);
    if (!item) continue;
    parts.push(text.data.slice(at, match.index), citation(match[1], item));
    at = match.index + match[0].length;
  }
  if (parts.length) text.replaceWith(...parts, text.data.slice(at));
}

function citation(number, item) {
  const link = el("a", { class: "citation", href: `#source-${number}`, title: item.textContent.trim(), "aria-label": `Source ${number}` }, number);
  link.addEventListener("click", (event) => {
    event.preventDefault();
    backFrom(item, link);
    item.scrollIntoView({ block: "center" });
    item.focus({ preventScroll: true });
  });
  return link;
}

function backFrom(item, link) {
  item.querySelector(".back")?.remove();
  const back = el("button", { type: "button", class: "back", "aria-label": "Back to the text" }, "↩");
  back.addEventListener("click", () => {
    link.scrollIntoView({ block: "center" });
    link.focus({ preventScroll: true });
  });
  item.append(" ", back);
}
