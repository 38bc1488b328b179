// The form that starts a run.

import { api, newKey } from "./api.js";
import { DocumentPicker } from "./document_picker.js";
import { el, setText, show } from "./dom.js";
import { RunSettings } from "./run_settings.js";

export function startForm() {
  const topic = el("textarea", { id: "topic", name: "topic", rows: 4, required: true, maxLength: 32000, placeholder: "For example: How do long-running agents survive crashes without losing work?", "aria-describedby": "searches" });
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const button = el("button", { class: "primary", type: "submit" }, "Start research");
  const searches = el("p", { id: "searches", class: "hint" });
  const settings = new RunSettings();
  // Another wish is another key.
  const documents = new DocumentPicker(() => (key = newKey()));
  const form = el("form", { class: "start card", "aria-labelledby": "start-title" },
    el("h1", { id: "start-title" }, "What should be researched?"),
    el("label", { class: "unseen", for: "topic" }, "Topic"), topic, searches, documents.element, settings.element, problem,
    el("div", { class: "actions" }, button, el("p", { class: "hint" }, "It runs to its end, also when you close this page.")));
  let key = newKey();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    show(problem, false);
    try {
      await documents.settled();
      documents.check();
      const config = settings.config();
      if (documents.chosen.length) config.documents = documents.chosen;
      const started = await api.start({ message: topic.value, config }, key);
      location.hash = `#/runs/${encodeURIComponent(started.invocation_id)}`;
    } catch (error) {
      setText(problem, error.message);
      show(problem, true);
      settings.mark(error.refusals ?? []);
      // A refusal was not taken; behind a lost answer, or one of 5xx, it may have been, so it keeps its key.
      if (error.status >= 400 && error.status < 500) key = newKey();
    } finally {
      button.disabled = false;
    }
  });
  topic.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener("input", () => (key = newKey()));
  api.settings().then((found) => {
    setText(searches, searchSentence(found));
    settings.fill(found.defaults, found.limits);
  }, () => setText(searches, ""));
  return form;
}

function searchSentence({ searches, documents }) {
  const others = searches.filter((name) => name !== "documents");
  const places = others.length ? [`the web (${others.join(", ")})`] : [];
  if (searches.includes("documents")) {
    places.unshift(documents.kind === "folder" ? `the server's documents (${documents.name})` : "the small corpus that ships with the agent");
  }
  const hint = documents.kind === "shipped" ? " Your own documents take its place." : "";
  return `Searches ${places.join(" and ")}.${hint}`;
}
