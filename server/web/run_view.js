// One run, followed live.

import { api, newKey, serverNow } from "./api.js";
import { announce, badge, clock, count, duration, el, ENDED, number, setText, show, when } from "./dom.js";
import { NotesPane, SourcesPane, tabs } from "./panels.js";
import { ReportPane } from "./report_pane.js";
import { Run } from "./run.js";
import { cancelDialog, steerDialog } from "./steer.js";
import { RunStream } from "./stream.js";
import { TextPane } from "./text_pane.js";
import { Timeline } from "./timeline.js";

const CONNECTION = {
  connecting: ["Connecting …", ""],
  live: ["Live", "good"],
  reconnecting: ["The server is away. Reconnecting …", "bad"],
  paused: ["Paused while hidden", ""],
  ended: ["", ""],
  removed: ["Its events are past their retention; the report is kept.", ""],
  unknown: ["The server does not know this run.", "bad"],
};
const STATUS_EVERY = 15000;

export function runView(id) {
  const view = new RunView(id);
  return { element: view.element, leave: () => view.leave() };
}

class RunView {
  constructor(id) {
    this.id = id;
    this.run = new Run();
    this.status = "";
    this.chosen = null; // null: whatever is being written
    this.parts();
    this.loadRecord();
    this.stream = new RunStream(id, { onEvent: (event) => this.take(event), onState: (state) => this.connection(state) });
    this.second = setInterval(() => this.dirty(), 1000);
    this.poll = setInterval(() => this.stream.over || this.loadRecord(), STATUS_EVERY);
  }

  leave() {
    this.left = true;
    this.stream.close();
    clearInterval(this.second);
    clearInterval(this.poll);
    cancelAnimationFrame(this.frame);
  }

  parts() {
    this.topic = el("h1", { class: "topic" }, "…");
    this.mark = el("span");
    this.link = el("span", { class: "connection", role: "status" });
    this.facts = el("p", { class: "facts" });
    this.banner = el("p", { class: "banner", hidden: true });
    this.bar = el("progress", { max: 1, "aria-label": "Progress of the plan" });
    this.where = el("strong", {});
    this.left_ = el("span", { class: "hint" });
    this.numbers = el("p", { class: "numbers" });
    this.buttons();
    this.timeline = new Timeline((call) => this.choose(call));
    this.textPane = new TextPane();
    this.doing = el("p", { class: "doing" });
    this.follow = el("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.choose(null) }, "Follow live");
    this.sources = new SourcesPane();
    this.notes = new NotesPane();
    this.report = new ReportPane(this.id);
    const panels = [
      { id: "text", label: "Text", element: el("div", {}, el("div", { class: "doing-row" }, this.doing, this.follow), this.textPane.element) },
      { id: "report", label: "Report", element: this.report.element },
      { id: "sources", label: "Sources", element: this.sources.element },
      { id: "notes", label: "Activity", element: this.notes.element },
    ];
    this.tabs = tabs(panels, (shown) => this.shown(shown));
    const plan = el("details", { class: "plan card", open: matchMedia("(min-width: 760px)").matches }, el("summary", {}, el("h2", {}, "Plan")), this.timeline.element);
    this.element = el("div", { class: "run" },
      el("header", { class: "run-head" }, el("div", { class: "status-row" }, this.mark, this.link, this.actions), this.topic, this.facts, this.banner,
        el("div", { class: "progress-row" }, this.bar, el("p", {}, this.where, " ", this.left_), this.numbers)),
      el("div", { class: "run-body" }, plan, el("section", { class: "card panel", "aria-label": "Results" }, this.tabs.element, panels.map((panel) => panel.element))));
    this.tabs.choose("text");
  }

  buttons() {
    const button = (label, onclick, kind = "") => el("button", { type: "button", class: kind, hidden: true, onclick }, label);
    this.steer = button("Steer", () => steerDialog(this.thread, !ENDED.has(this.status), (started) => this.go(started)), "primary");
    this.cancel = button("Stop", () => cancelDialog(this.id, () => announce("The run is being stopped.")));
    this.resume = button("Resume", () => this.resumed(), "primary");
    this.download = el("a", { class: "button", hidden: true, href: api.reportUrl(this.id), download: "report.md" }, "Download");
    this.actions = el("div", { class: "actions" }, this.steer, this.cancel, this.resume, this.download);
  }

  async loadRecord() {
    const record = await api.record(this.id).catch(() => null);
    if (!record || this.left) return;
    this.thread = record.thread_id;
    this.record = record;
    this.setStatus(record.status);
    setText(this.topic, record.topic);
    this.run.total ||= record.total_phases;
    if (record.superseded_by) this.successor(record.superseded_by);
    if (record.status === "failed" && record.error) this.say(`The run failed: ${record.error.message ?? record.error.type}`);
    this.dirty();
    // A hidden page draws no frames, but its title is seen.
    if (document.hidden) this.drawTitle();
  }

  take(event) {
    this.run.take(event);
    if (event.type === "run_start") this.setStatus("running");
    if (event.type === "recovered") announce("The server came back after a crash, and the run goes on.");
    if (event.type === "phase_start") announce(`Phase ${event.phase} of ${event.total}: ${event.title}`);
    this.dirty();
  }

  connection(state) {
    const [sentence, mood] = CONNECTION[state];
    setText(this.link, sentence);
    this.link.className = `connection ${mood}`;
    if (state === "ended" || state === "removed") this.ended(state);
    if (state === "unknown") {
      setText(this.topic, "Unknown run");
      document.title = "Unknown run";
    }
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
    this.mark.replaceChildren(badge(status));
    const ended = ENDED.has(status);
    show(this.cancel, !ended);
    show(this.steer, status !== "superseded");
    setText(this.steer, ended ? "Ask a follow-up" : "Steer");
    show(this.resume, ["failed", "cancelled", "timed_out"].includes(status));
    this.steer.className = this.resume.hidden ? "primary" : "";
  }

  async resumed() {
    this.resumeKey ??= newKey();
    try {
      this.go(await api.resume(this.id, this.resumeKey));
    } catch (error) {
      this.say(error.message);
    }
  }

  go(started) {
    location.hash = `#/runs/${encodeURIComponent(started.invocation_id)}`;
  }

  say(sentence, ...more) {
    this.banner.replaceChildren(sentence, ...more);
    show(this.banner, true);
  }

  successor(id) {
    const link = el("a", { href: `#/runs/${encodeURIComponent(id)}` }, "Go to the run that replaced it");
    this.say("This run was steered to something else. ", link);
  }

  choose(call) {
    this.chosen = call;
    if (this.openTab !== "text") this.tabs.choose("text");
    this.dirty();
  }

  shown(tab) {
    this.openTab = tab;
    if (tab === "report") this.report.load();
    this.dirty();
  }

  // At most one drawing a frame, however many events came.
  dirty() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    const { run } = this;
    const call = this.chosen ?? run.current;
    this.timeline.update(run, call);
    if (this.openTab === "text") this.textPane.show(call);
    if (this.openTab === "sources") this.sources.update(run);
    if (this.openTab === "notes") this.notes.update(run);
    show(this.follow, this.chosen !== null && this.chosen !== run.current);
    this.drawFacts(call);
    this.drawTitle();
  }

  drawFacts(call) {
    const { run, record } = this;
    if (run.topic) setText(this.topic, run.topic);
    this.topic.title = this.topic.textContent;
    const facts = [record && when(record.started_at ?? record.created_at), run.model && `model ${run.model}`,
      run.perPhase && `${count(run.total, "phase")} of ${count(run.perPhase, "call")}`];
    setText(this.facts, facts.filter(Boolean).join(" · "));
    this.bar.value = this.status === "completed" ? 1 : run.progress;
    const phase = Math.max(run.current?.phase ?? 0, ...[...run.phases.values()].filter((each) => each.state === "running").map((each) => each.number));
    setText(this.where, this.whereSentence(phase));
    const left = run.secondsLeft;
    setText(this.left_, left === null || this.stream?.over ? this.took() : `about ${duration(left)} left`);
    const usage = run.usage.input || run.tokens ? run.usage : { input: record?.usage.input_tokens ?? 0 };
    const speed = run.tokensPerSecond;
    const parts = [`${number(run.tokens || record?.usage.output_tokens)} tokens out`, `${number(usage.input)} in`];
    if (speed >= 1 && !ENDED.has(this.status)) parts.unshift(`${number(speed)} tokens/s`);
    setText(this.numbers, parts.join(" · "));
    show(this.download, run.callsDone > 0 || Boolean(ENDED.has(this.status) && record?.output?.report_url));
    setText(this.doing, this.doingSentence(call));
    this.doing.classList.toggle("resting", Boolean(run.rest));
  }

  whereSentence(phase) {
    if (ENDED.has(this.status)) return `${number(this.record?.phases_completed ?? 0)} of ${count(this.run.total, "phase")} done`;
    if (this.status === "queued") return "Waiting for its turn";
    return phase ? `Phase ${phase} of ${this.run.total}` : "Starting …";
  }

  took() {
    const { record } = this;
    if (!record?.started_at || !record.ended_at) return "";
    return `in ${duration((Date.parse(record.ended_at) - Date.parse(record.started_at)) / 1000)}`;
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

  drawTitle() {
    const share = `${Math.round(this.run.progress * 100)} %`;
    const mark = this.status === "running" ? share : ENDED.has(this.status) ? this.mark.textContent : "";
    const title = [mark, this.topic.textContent.slice(0, 60)].filter(Boolean).join(" · ");
    if (document.title !== title) document.title = title;
  }
}
