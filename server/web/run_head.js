// The head of a run: its state, what can be done with it, how far it is.

import { api } from "./api.js";
import { badge, count, duration, el, ENDED, number, setText, show, when } from "./dom.js";

const CONNECTION = {
  live: ["Live", "good"],
  reconnecting: ["The server is away. Reconnecting …", "bad"],
  paused: ["Paused while hidden", ""],
  ended: ["", ""],
  removed: ["Its events are past their retention; the report is kept.", ""],
  unknown: ["The server does not know this run; it may have been deleted.", "bad"],
};

export class RunHead {
  // `does`: what the buttons do, as `{ steer, cancel, resume, erase }`.
  constructor(id, does) {
    const button = (label, onclick, kind = "") => el("button", { type: "button", class: kind, hidden: true, onclick }, label);
    this.steer = button("Steer", does.steer, "primary");
    this.cancel = button("Stop", does.cancel);
    this.resume = button("Resume", does.resume, "primary");
    this.erase = button("Delete", does.erase);
    this.download = el("a", { class: "button", hidden: true, href: api.reportUrl(id), download: "report.md" }, "Download");
    this.topic = el("h1", { class: "topic" }, "…");
    this.mark = el("span");
    this.link = el("span", { class: "connection", role: "status" });
    this.facts = el("p", { class: "facts" });
    this.banner = el("p", { class: "banner", hidden: true });
    this.bar = el("progress", { max: 1, "aria-label": "Progress of the plan" });
    this.where = el("strong", {});
    this.time = el("span", { class: "hint" });
    this.numbers = el("p", { class: "numbers" });
    const actions = el("div", { class: "actions" }, this.steer, this.resume, this.cancel, this.download, this.erase);
    this.element = el("header", { class: "run-head" }, el("div", { class: "status-row" }, this.mark, this.link, actions), this.topic, this.facts, this.banner,
      el("div", { class: "progress-row" }, this.bar, el("p", {}, this.where, " ", this.time), this.numbers));
  }

  connection(state) {
    const [sentence, mood] = CONNECTION[state];
    this.live = state === "live";
    setText(this.link, sentence);
    this.link.className = `connection ${mood}`;
    if (state === "unknown") {
      for (const button of [this.steer, this.cancel, this.resume, this.erase, this.download]) show(button, false);
      if (this.topic.textContent === "…") setText(this.topic, "Unknown run");
    }
  }

  status(status) {
    this.mark.replaceChildren(badge(status));
    const ended = ENDED.has(status);
    show(this.cancel, !ended);
    show(this.steer, status !== "superseded");
    setText(this.steer, ended ? "Ask a follow-up" : "Steer");
    show(this.resume, ["failed", "cancelled", "timed_out"].includes(status));
    show(this.erase, ended);
    this.steer.className = this.resume.hidden ? "primary" : "";
  }

  say(sentence, ...more) {
    this.banner.replaceChildren(sentence, ...more);
    show(this.banner, true);
  }

  // `record` is null until the first one has come; `over`: no more events come.
  draw({ run, record, status, over }) {
    const ended = ENDED.has(status);
    setText(this.topic, run.topic || record?.topic || this.topic.textContent);
    this.topic.title = this.topic.textContent;
    const facts = [record && when(record.started_at ?? record.created_at), run.model && `model ${run.model}`,
      run.perPhase && `${count(run.total, "phase")} of ${count(run.perPhase, "call")}`];
    setText(this.facts, facts.filter(Boolean).join(" · "));
    this.bar.value = status === "completed" ? 1 : run.progress;
    setText(this.where, where(run, record, status));
    const left = run.secondsLeft;
    setText(this.time, left === null || over ? took(record) : `about ${duration(left)} left`);
    setText(this.numbers, numbers(run, record, this.live && !ended));
    show(this.download, run.callsDone > 0 || Boolean(ended && record?.output?.report_url));
    this.drawTitle(run, status);
  }

  drawTitle(run, status) {
    const share = `${Math.round(run.progress * 100)} %`;
    const mark = status === "running" ? share : ENDED.has(status) ? this.mark.textContent : "";
    const title = [mark, this.topic.textContent.slice(0, 60)].filter(Boolean).join(" · ");
    if (document.title !== title) document.title = title;
  }
}

function where(run, record, status) {
  if (ENDED.has(status)) return `${number(record?.phases_completed ?? 0)} of ${count(run.total, "phase")} done`;
  if (status === "queued") return "Waiting for its turn";
  const running = [...run.phases.values()].filter((each) => each.state === "running").map((each) => each.number);
  const phase = Math.max(run.current?.phase ?? 0, ...running);
  return phase ? `Phase ${phase} of ${run.total}` : "Starting …";
}

function took(record) {
  if (!record?.started_at || !record.ended_at) return "";
  return `in ${duration((Date.parse(record.ended_at) - Date.parse(record.started_at)) / 1000)}`;
}

// The events' own numbers are ahead of the record's, and gone behind their retention.
function numbers(run, record, live) {
  const usage = run.usage.input || run.tokens ? run.usage : { input: record?.usage.input_tokens ?? 0 };
  const parts = [`${number(run.tokens || record?.usage.output_tokens)} tokens out`, `${number(usage.input)} in`];
  const speed = run.tokensPerSecond;
  if (speed >= 1 && live) parts.unshift(`${number(speed)} tokens/s`);
  return parts.join(" · ");
}
