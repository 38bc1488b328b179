// All runs, newest first, as they are now.

import { api } from "./api.js";
import { badge, count, el, number, setText, show, when } from "./dom.js";

const REFRESH = 4000;

export function runsList() {
  const list = new RunsList();
  list.refresh();
  return { element: list.element, leave: () => list.leave() };
}

class RunsList {
  constructor() {
    this.rows = el("ul", { class: "runs" });
    this.state = el("p", { class: "hint", hidden: true });
    this.more = el("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.older() }, "Show older runs");
    this.element = el("section", { class: "all-runs", "aria-labelledby": "runs-title" }, el("h2", { id: "runs-title" }, "Runs"), this.state, this.rows, this.more);
    this.known = new Map(); // rows by invocation
    this.cursor = null; // behind the oldest run that is shown; "" where there is none
    this.turn = null; // the page of older runs that is looked at next
    this.listeners = new AbortController();
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh(), { signal: this.listeners.signal });
  }

  leave() {
    this.listeners.abort();
    clearTimeout(this.timer);
  }

  get left() {
    return this.listeners.signal.aborted;
  }

  async refresh() {
    clearTimeout(this.timer);
    try {
      await this.look();
      setText(this.state, "No runs yet. The first one will stand here.");
      show(this.state, this.known.size === 0);
    } catch (error) {
      setText(this.state, `${error.message} Trying again …`);
      show(this.state, true);
    }
    show(this.more, Boolean(this.cursor));
    clearTimeout(this.timer);
    if (!this.left) this.timer = setTimeout(() => this.refresh(), REFRESH);
  }

  // The newest page, and one of the older ones that are shown, each in its turn.
  async look() {
    const newest = await api.list();
    if (this.left) return;
    this.cursor ??= newest.next_cursor ?? "";
    const first = this.place(newest, this.rows.firstChild, true);
    const turn = this.turn?.from.isConnected ? this.turn : first;
    if (!turn) return;
    const page = await api.list(turn.cursor);
    if (turn.from.isConnected) this.turn = this.place(page, turn.from, false);
  }

  async older() {
    const page = await api.list(this.cursor).catch(() => null);
    if (!page) return;
    this.place(page, null, true);
    this.cursor = page.next_cursor ?? "";
    show(this.more, Boolean(this.cursor));
  }

  // Puts a page's runs where they belong, from a row on: those between them that are not in it are deleted.
  // Returns where the next page begins, and its cursor; null behind the last row.
  place(page, from, adding) {
    let at = from;
    for (const record of page.invocations) {
      const row = this.known.get(record.invocation_id);
      if (row) {
        at = this.remove(at, row.element);
        row.fill(record);
      } else if (adding || at) {
        const made = runRow(record);
        this.known.set(record.invocation_id, made);
        this.rows.insertBefore(made.element, at);
      }
    }
    if (page.next_cursor === null) at = this.remove(at, null);
    return at && { from: at, cursor: page.next_cursor };
  }

  // Removes the rows from one up to another, and returns the one behind that.
  remove(from, to) {
    let at = from;
    while (at && at !== to) {
      const next = at.nextSibling;
      this.known.delete(at.dataset.invocation);
      at.remove();
      at = next;
    }
    return at?.nextSibling ?? null;
  }
}

function runRow(record) {
  const facts = el("p", { class: "facts" });
  const bar = el("progress", { max: 1, "aria-label": "Progress" });
  const mark = el("span", { class: "mark" });
  const link = el("a", { class: "run-link", href: `#/runs/${encodeURIComponent(record.invocation_id)}` },
    el("span", { class: "topic" }, record.topic), mark, facts, bar);
  const fill = (now) => {
    if (mark.dataset.status !== now.status) {
      mark.dataset.status = now.status;
      mark.replaceChildren(badge(now.status));
    }
    const phases = `${number(now.phases_completed)} of ${count(now.total_phases, "phase")}`;
    setText(facts, `${when(now.created_at)} · ${phases}`);
    show(bar, now.status === "running");
    bar.value = now.total_phases ? now.phases_completed / now.total_phases : 0;
  };
  fill(record);
  return { element: el("li", { "data-invocation": record.invocation_id }, link), fill };
}
