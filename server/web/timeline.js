// The plan as a list: phases, and in each its model calls, which can be chosen to be read.

import { duration, el, setText, show } from "./dom.js";

const STATES = { waiting: "waiting", running: "under way", done: "done", stopped: "stopped" };

export class Timeline {
  constructor(onChoose) {
    this.element = el("ol", { class: "timeline" });
    this.rows = new Map();
    this.onChoose = onChoose;
  }

  // Draws the phases that changed, and which call is shown.
  update(run, chosen) {
    for (const number of run.changed) this.row(number).update(run.phases.get(number));
    run.changed.clear();
    if (this.chosen !== chosen) {
      this.rows.get(this.chosen?.phase)?.mark(null);
      this.rows.get(chosen?.phase)?.mark(chosen);
      this.chosen = chosen;
    }
  }

  row(number) {
    if (!this.rows.has(number)) {
      const row = new PhaseRow(number, this.onChoose);
      this.rows.set(number, row);
      const after = [...this.rows.keys()].filter((other) => other > number).sort((a, b) => a - b)[0];
      this.element.insertBefore(row.element, after ? this.rows.get(after).element : null);
    }
    return this.rows.get(number);
  }
}

class PhaseRow {
  constructor(number, onChoose) {
    this.onChoose = onChoose;
    this.title = el("span", { class: "phase-title" }, `Phase ${number}`);
    this.fact = el("span", { class: "phase-fact" });
    this.calls = el("ul", { class: "calls", hidden: true, "aria-label": `Model calls of phase ${number}` });
    this.buttons = new Map();
    this.state = el("span", { class: "unseen" });
    this.element = el("li", { class: "phase waiting" }, el("span", { class: "dot", "aria-hidden": "true" }),
      el("div", { class: "phase-body" }, el("p", { class: "phase-head" }, this.title, this.state, this.fact), this.calls));
  }

  update(phase) {
    this.element.className = `phase ${phase.state}`;
    if (phase.state === "running") this.element.setAttribute("aria-current", "step");
    else this.element.removeAttribute("aria-current");
    setText(this.title, phase.title || `Phase ${phase.number}`);
    setText(this.state, `, ${STATES[phase.state]}`);
    setText(this.fact, phase.kept ? "kept" : phase.state === "done" ? duration(phase.seconds) : "");
    show(this.calls, phase.calls.size > 0);
    for (const call of phase.calls.values()) this.button(call);
  }

  button(call) {
    if (!this.buttons.has(call)) {
      const button = el("button", { type: "button", class: "call", "aria-pressed": "false", onclick: () => this.onChoose(call) });
      this.buttons.set(call, button);
      this.calls.append(el("li", {}, button));
    }
    const button = this.buttons.get(call);
    button.dataset.state = call.state;
    const again = call.attempt > 1 ? ` (attempt ${call.attempt})` : "";
    setText(button, `${call.role}${again}`);
    const facts = call.state === "done" ? `${duration(call.seconds)}, ${call.tokens} tokens` : STATES[call.state];
    button.title = `Call ${call.index} of ${call.of}: ${facts}`;
  }

  mark(chosen) {
    for (const [call, button] of this.buttons) button.setAttribute("aria-pressed", String(call === chosen));
  }
}
