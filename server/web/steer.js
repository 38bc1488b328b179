// The dialogs of a run: steering it, stopping it, deleting it.

import { api, newKey } from "./api.js";
import { closeButton, opened, question } from "./dialogs.js";
import { el, setText, show } from "./dom.js";

const MEANINGS = [
  ["guidance", "Guidance", "The same topic: finished phases stay, the rest is done in its light."],
  ["new_topic", "New topic", "Starts over with this topic; what was found so far is context."],
];
const MOMENTS = [
  ["interrupt", "At the next checkpoint", "The present model call is finished first."],
  ["enqueue", "After this run", "This run goes on to its end."],
  ["rollback", "At once", "This run is broken off, and its thread put back to where it began."],
];

export function steerDialog(threadId, running, onDone) {
  const message = el("textarea", { id: "steer-message", rows: 3, required: true, maxLength: 32000 });
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const submit = el("button", { class: "primary", type: "submit" }, running ? "Steer" : "Ask");
  const form = el("form", {},
    el("h2", { id: "dialog-title" }, running ? "Steer this run" : "Ask a follow-up"),
    el("label", { for: "steer-message" }, running ? "What should it do from now on?" : "What should be researched next?"), message,
    choices("meaning", "What it means", MEANINGS), running && choices("moment", "When", MOMENTS), problem,
    el("div", { class: "actions" }, submit, closeButton()));
  const dialog = opened(form);
  const key = newKey();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    const given = new FormData(form);
    const body = { message: message.value, thread_id: threadId, steering: given.get("meaning"), multitask_strategy: given.get("moment") ?? "interrupt" };
    try {
      const started = await api.start(body, `${key}-${given.get("meaning")}-${given.get("moment")}-${hash(message.value)}`);
      dialog.close();
      onDone(started);
    } catch (error) {
      setText(problem, error.message);
      show(problem, true);
    } finally {
      submit.disabled = false;
    }
  });
  message.focus();
}

export function cancelDialog(id, onDone) {
  question("Stop this run?", "What it has found stays, as a partial report. It can be resumed later.", [
    ["Stop after this call", "primary", () => api.cancel(id, "checkpoint")],
    ["Stop now", "danger", () => api.cancel(id, "now")],
  ], "Keep running", onDone);
}

export function eraseDialog(threadId, onDone) {
  question("Delete this run?", "Its thread is deleted with all of its turns, their events and reports. It cannot be undone.",
    [["Delete", "danger", () => api.eraseThread(threadId)]], "Keep it", onDone);
}

function choices(name, legend, options) {
  return el("fieldset", {}, el("legend", {}, legend), options.map(([value, label, hint], index) =>
    el("label", { class: "choice" }, el("input", { type: "radio", name, value, checked: index === 0 }),
      el("span", {}, el("strong", {}, label), " ", el("small", {}, hint)))));
}

// So that another message is another wish, and the same one sent again is not.
function hash(text) {
  let value = 0;
  for (const character of text) value = (value * 31 + character.codePointAt(0)) | 0;
  return value >>> 0;
}
