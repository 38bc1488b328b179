// The tabs of a run, the sources that were found, and what happened beside the plan.

import { count, el, when } from "./dom.js";

export function tabs(panels, onShow) {
  const list = el("div", { class: "tabs", role: "tablist", "aria-label": "Views of the run" });
  const buttons = panels.map(({ id, label, element }, index) => {
    const button = el("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": `panel-${id}`, onclick: () => choose(index) }, label);
    element.id = `panel-${id}`;
    element.setAttribute("role", "tabpanel");
    element.setAttribute("aria-labelledby", button.id);
    return button;
  });
  const steps = { ArrowRight: 1, ArrowLeft: -1 };
  list.addEventListener("keydown", (event) => {
    const now = buttons.indexOf(document.activeElement);
    const next = event.key === "Home" ? 0 : event.key === "End" ? buttons.length - 1 : now + (steps[event.key] ?? 0);
    if (next === now && !["Home", "End"].includes(event.key)) return;
    event.preventDefault();
    choose((next + buttons.length) % buttons.length);
    document.activeElement !== document.body && buttons[(next + buttons.length) % buttons.length].focus();
  });
  list.append(...buttons);
  function choose(index) {
    buttons.forEach((button, at) => {
      button.setAttribute("aria-selected", String(at === index));
      button.tabIndex = at === index ? 0 : -1;
      panels[at].element.hidden = at !== index;
    });
    onShow(panels[index].id);
  }
  return { element: list, choose: (id) => choose(panels.findIndex((panel) => panel.id === id)) };
}

export class SourcesPane {
  constructor() {
    this.element = el("div", { class: "sources" });
    this.drawn = new Map();
    this.empty = el("p", { class: "hint" }, "No sources yet: each phase begins with a search.");
    this.element.append(this.empty);
  }

  update(run) {
    for (const phase of run.phases.values()) {
      if (this.drawn.get(phase.number) === phase.sources || !phase.sources.length) continue;
      this.element.querySelector(`[data-phase="${phase.number}"]`)?.remove();
      const section = el("section", { "data-phase": String(phase.number) },
        el("h3", {}, phase.title || `Phase ${phase.number}`, " ", el("small", {}, count(phase.sources.length, "source"))),
        el("ol", { class: "source-list" }, phase.sources.map(sourceItem)));
      const after = [...this.element.querySelectorAll("section")].find((other) => Number(other.dataset.phase) > phase.number);
      this.element.insertBefore(section, after ?? null);
      this.drawn.set(phase.number, phase.sources);
      this.empty.hidden = true;
    }
  }
}

function sourceItem(source) {
  const url = String(source.url ?? "");
  // Only addresses of the web are links: a source's address comes from outside.
  const address = /^https?:\/\//i.test(url) ? el("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, url) : url;
  return el("li", {}, el("details", {},
    el("summary", {}, el("span", { class: "source-number" }, String(source.id)), " ", String(source.title ?? url)),
    el("blockquote", {}, String(source.snippet ?? "")), el("p", { class: "address" }, address)));
}

export class NotesPane {
  constructor() {
    this.list = el("ol", { class: "notes" });
    this.element = el("div", {}, this.list);
  }

  update(run) {
    for (const note of run.notes.slice(this.list.childElementCount)) {
      this.list.append(el("li", { class: note.kind }, el("time", {}, when(note.at)), " ", note.text));
    }
  }
}
