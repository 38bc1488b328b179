// The form that starts a run, and the list of all runs.

import { api, newKey } from "./api.js";
import { badge, count, el, number, setText, show, when } from "./dom.js";

const REFRESH = 4000;

export function home() {
  document.title = "Research";
  const list = runsList();
  const element = el("div", { class: "home" }, startForm(), list.element);
  return { element, leave: list.leave };
}

function startForm() {
  const topic = el("textarea", { id: "topic", name: "topic", rows: 4, required: true, maxLength: 32000, placeholder: "For example: How do long-running agents survive crashes without losing work?", "aria-describedby": "searches" });
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const button = el("button", { class: "primary", type: "submit" }, "Start research");
  const searches = el("p", { id: "searches", class: "hint" });
  const settings = settingsFields();
  const form = el("form", { class: "start card", "aria-labelledby": "start-title" },
    el("h1", { id: "start-title" }, "What should be researched?"),
    el("label", { class: "unseen", for: "topic" }, "Topic"), topic, searches, settings.element, problem,
    el("div", { class: "actions" }, button, el("p", { class: "hint" }, "It runs to its end, also when you close this page.")));
  let key = newKey();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    show(problem, false);
    try {
      const started = await api.start({ message: topic.value, config: settings.config() }, key);
      location.hash = `#/runs/${encodeURIComponent(started.invocation_id)}`;
    } catch (error) {
      setText(problem, error.message);
      show(problem, true);
      // A refusal was not taken; a lost answer may have been, so it keeps its key.
      if (error.status) key = newKey();
    } finally {
      button.disabled = false;
    }
  });
  topic.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  topic.addEventListener("input", () => (key = newKey()));
  api.settings().then((found) => {
    setText(searches, searchSentence(found));
    settings.fill(found.defaults);
  }, () => setText(searches, ""));
  return form;
}

function searchSentence({ searches, documents }) {
  const others = searches.filter((name) => name !== "documents");
  const places = others.length ? [`the web (${others.join(", ")})`] : [];
  if (searches.includes("documents")) {
    places.unshift(documents.kind === "folder" ? `the server's documents (${documents.name})` : "the small corpus that ships with the agent");
  }
  const hint = documents.kind === "shipped" && !others.length ? " To search your own documents, start the server with DOCUMENTS_DIR." : "";
  return `Searches ${places.join(" and ")}.${hint}`;
}

const FIELDS = [
  ["phases", "Phases", { min: 1, max: 1000, step: 1 }],
  ["calls_per_phase", "Model calls a phase", { min: 1, max: 100, step: 1 }],
  ["target_output_tokens", "Tokens a call", { min: 16, max: 100000, step: 1 }],
  ["intra_phase_cooldown_sec", "Rest between calls, s", { min: 0, max: 86400, step: "any" }],
  ["inter_phase_cooldown_sec", "Rest between phases, s", { min: 0, max: 86400, step: "any" }],
  ["run_timeout_sec", "Time limit, s", { min: 1, max: 31536000, step: "any" }],
  ["token_budget", "Token budget", { min: 100, max: 1000000000, step: 1 }],
];

function settingsFields() {
  const inputs = new Map();
  const field = (name, label, attributes) => {
    const input = el("input", { id: `set-${name}`, name, ...attributes });
    inputs.set(name, input);
    return el("div", { class: "field" }, el("label", { for: input.id }, label), input);
  };
  const element = el("details", { class: "settings" }, el("summary", {}, "Settings"),
    el("div", { class: "fields" }, FIELDS.map(([name, label, limits]) => field(name, label, { type: "number", inputMode: "decimal", ...stringed(limits) })),
      field("model", "Model", { type: "text", maxLength: 200, spellcheck: false })));
  return {
    element,
    fill: (defaults) => {
      for (const [name, input] of inputs) input.placeholder = defaults[name] === null ? "none" : String(defaults[name] ?? "");
    },
    config: () => {
      const given = [...inputs].filter(([, input]) => input.value.trim() !== "");
      return Object.fromEntries(given.map(([name, input]) => [name, input.type === "number" ? Number(input.value) : input.value.trim()]));
    },
  };
}

const stringed = (limits) => Object.fromEntries(Object.entries(limits).map(([key, value]) => [key, String(value)]));

function runsList() {
  const rows = el("ul", { class: "runs" });
  const state = el("p", { class: "hint", hidden: true });
  const more = el("button", { type: "button", class: "quiet", hidden: true }, "Show older runs");
  const element = el("section", { class: "all-runs", "aria-labelledby": "runs-title" }, el("h2", { id: "runs-title" }, "Runs"), state, rows, more);
  const known = new Map();
  let cursor = null;
  let timer = null;
  let left = false;

  async function refresh() {
    clearTimeout(timer);
    try {
      const page = await api.list();
      if (left) return;
      if (cursor === null) cursor = page.next_cursor;
      place(page.invocations, true);
      setText(state, "No runs yet. The first one will stand here.");
      show(state, known.size === 0);
    } catch (error) {
      setText(state, `${error.message} Trying again …`);
      show(state, true);
    }
    show(more, Boolean(cursor));
    if (!left) timer = setTimeout(refresh, REFRESH);
  }

  function place(records, newest) {
    const anchor = newest ? rows.firstChild : null;
    for (const record of records) {
      const row = known.get(record.invocation_id);
      if (row) row.fill(record);
      else {
        const made = runRow(record);
        known.set(record.invocation_id, made);
        rows.insertBefore(made.element, anchor);
      }
    }
  }

  more.addEventListener("click", async () => {
    const page = await api.list(cursor).catch(() => null);
    if (!page) return;
    place(page.invocations, false);
    cursor = page.next_cursor ?? "";
    show(more, Boolean(cursor));
  });
  const seen = () => !document.hidden && refresh();
  document.addEventListener("visibilitychange", seen);
  refresh();
  return {
    element,
    leave: () => {
      left = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    },
  };
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
  return { element: el("li", {}, link), fill };
}
