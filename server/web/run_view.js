// One run, followed live.

import { api, newKey, serverNow, waitsForSignIn } from "./api.js";
import { announce, clock, count, el, ENDED, number, setText, show } from "./dom.js";
import { NotesPane, SourcesPane, tabs } from "./panels.js";
import { ReportPane } from "./report_pane.js";
import { Run } from "./run.js";
import { RunHead } from "./run_head.js";
import { cancelDialog, eraseDialog, steerDialog } from "./steer.js";
import { RunStream } from "./stream.js";
import { TextPane } from "./text_pane.js";
import { Timeline } from "./timeline.js";
import { UsagePane } from "./usage_pane.js";

const STATUS_EVERY = 15000;
const COUNTED = new Set(["subcall_end", "sources"]);

export function runView(id) {
  const view = new RunView(id);
  return { element: view.element, leave: () => view.leave() };
}

class RunView {
  constructor(id) {
    this.id = id;
    this.run = new Run();
    this.status = "";
    this.record = null;
    this.chosen = null; // null: whatever is being written
    this.parts();
    this.loadRecord();
    this.stream = new RunStream(id, { onEvent: (event) => this.take(event), onState: (state) => this.connection(state) });
    this.second = setInterval(() => this.dirty(), 1000);
    this.poll = setInterval(() => this.stream.over || waitsForSignIn() || this.loadRecord(), STATUS_EVERY);
  }

  leave() {
    this.left = true;
    this.stream.close();
    clearInterval(this.second);
    clearInterval(this.poll);
    clearTimeout(this.counting);
    cancelAnimationFrame(this.frame);
  }

  parts() {
    this.head = new RunHead(this.id, {
      steer: () => steerDialog(this.record.thread_id, !ENDED.has(this.status), (started) => this.go(started)),
      cancel: () => cancelDialog(this.id, () => announce("The run is being stopped.")),
      resume: () => this.resumed(),
      erase: () => eraseDialog(this.record.thread_id, () => (location.hash = "#/")),
    });
    this.timeline = new Timeline((call) => this.choose(call));
    this.text = new TextPane();
    this.doing = el("p", { class: "doing" });
    this.follow = el("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.choose(null) }, "Follow live");
    this.report = new ReportPane(this.id);
    this.sources = new SourcesPane();
    this.usage = new UsagePane();
    this.notes = new NotesPane();
    const panels = [
      { id: "text", label: "Text", element: el("div", {}, el("div", { class: "doing-row" }, this.doing, this.follow), this.text.element) },
      { id: "report", label: "Report", element: this.report.element },
      { id: "sources", label: "Sources", element: this.sources.element },
      { id: "usage", label: "Usage", element: this.usage.element },
      { id: "notes", label: "Activity", element: this.notes.element },
    ];
    this.tabs = tabs(panels, (shown) => this.shown(shown));
    const plan = el("details", { class: "plan card", open: matchMedia("(min-width: 760px)").matches }, el("summary", {}, el("h2", {}, "Plan")), this.timeline.element);
    this.element = el("div", { class: "run" }, this.head.element,
      el("div", { class: "run-body" }, plan, el("section", { class: "card panel", "aria-label": "Results" }, this.tabs.element, panels.map((panel) => panel.element))));
    this.tabs.choose("text");
  }

  async loadRecord() {
    const record = await api.record(this.id).catch(() => null);
    if (!record || this.left) return;
    this.record = record;
    this.setStatus(record.status);
    this.run.total ||= record.total_phases;
    if (record.superseded_by) this.successor(record.superseded_by);
    if (record.status === "failed" && record.error) this.head.say(`The run failed: ${record.error.message ?? record.error.type}`);
    this.dirty();
    // A hidden page draws no frames, but its title is seen.
    if (document.hidden) this.head.draw(this.drawn);
  }

  take(event) {
    this.run.take(event);
    if (event.type === "run_start") this.setStatus("running");
    if (event.type === "recovered") announce("The server came back after a crash, and the run goes on.");
    if (event.type === "phase_start") announce(`Phase ${event.phase} of ${event.total}: ${event.title}`);
    if (COUNTED.has(event.type)) this.count();
    this.dirty();
  }

  // What was used is in the record: asked for again behind a call, while somebody looks at it.
  count() {
    if (this.openTab !== "usage" || this.counting) return;
    this.counting = setTimeout(() => {
      this.counting = null;
      this.loadRecord();
    }, 500);
  }

  connection(state) {
    this.head.connection(state);
    if (state === "ended" || state === "removed") this.ended(state);
    this.dirty();
  }

  async ended(state) {
    await this.loadRecord();
    if (this.left) return;
    announce(`The run has ended: ${this.status}.`);
    // Somebody who reads a call's text is not taken away from it.
    const there = await this.report.load();
    if (there && !this.left && this.chosen === null && (this.openTab === "text" || state === "removed")) this.tabs.choose("report");
  }

  setStatus(status) {
    // A record that was asked for earlier may come later: a run does not go back.
    const rank = (name) => ["", "queued", "running"].indexOf(name) + 1 || 4;
    if (rank(status) <= rank(this.status)) return;
    this.status = status;
    this.head.status(status);
  }

  async resumed() {
    this.resumeKey ??= newKey();
    try {
      this.go(await api.resume(this.id, this.resumeKey));
    } catch (error) {
      this.head.say(error.message);
    }
  }

  go(started) {
    location.hash = `#/runs/${encodeURIComponent(started.invocation_id)}`;
  }

  successor(id) {
    const link = el("a", { href: `#/runs/${encodeURIComponent(id)}` }, "Go to the run that replaced it");
    this.head.say("This run was steered to something else. ", link);
  }

  choose(call) {
    this.chosen = call;
    if (this.openTab !== "text") this.tabs.choose("text");
    this.dirty();
  }

  shown(tab) {
    this.openTab = tab;
    if (tab === "report") this.report.load();
    if (tab === "usage" && this.stream?.over === false) this.loadRecord();
    this.dirty();
  }

  // At most one drawing a frame, however many events came.
  dirty() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  get drawn() {
    return { run: this.run, record: this.record, status: this.status, over: this.stream?.over };
  }

  draw() {
    const { run } = this;
    const call = this.chosen ?? run.current;
    this.timeline.update(run, call);
    if (this.openTab === "text") this.text.show(call);
    if (this.openTab === "sources") this.sources.update(run);
    if (this.openTab === "usage") this.usage.update(run, this.record);
    if (this.openTab === "notes") this.notes.update(run);
    show(this.follow, this.chosen !== null && this.chosen !== run.current);
    setText(this.doing, this.doingSentence(call));
    this.doing.classList.toggle("resting", Boolean(run.rest));
    this.head.draw(this.drawn);
  }

  doingSentence(call) {
    const { rest, indexing } = this.run;
    if (indexing && !ENDED.has(this.status)) return `Reading documents: ${number(indexing.done)} of ${count(indexing.of, "file")}`;
    if (rest && this.chosen === null) {
      const left = (rest.until - serverNow()) / 1000;
      if (left > 0) return `${rest.kind === "retry" ? "Trying again" : "Cooldown: next call"} in ${clock(left)}`;
      return "About to go on …";
    }
    if (!call) return ENDED.has(this.status) ? "No text was written." : "Waiting for the first model call …";
    const title = this.run.phases.get(call.phase)?.title ?? "";
    return `${title}: ${call.role}, call ${call.index} of ${call.of}`;
  }
}
