// Questions that are answered before anything else is done.

import { el, setText, show } from "./dom.js";

// `answers` are labels, the kinds of their buttons, and what they do.
export function question(title, explanation, answers, otherwise, onDone) {
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const button = ([label, kind, act]) => el("button", { type: "button", class: kind, onclick: async () => {
    try {
      await act();
      dialog.close();
      onDone();
    } catch (error) {
      setText(problem, error.message);
      show(problem, true);
    }
  } }, label);
  const dialog = opened(el("div", {}, el("h2", { id: "dialog-title" }, title), el("p", {}, explanation), problem,
    el("div", { class: "actions" }, answers.map(button), closeButton(otherwise))));
}

export function opened(content) {
  const dialog = el("dialog", { "aria-labelledby": "dialog-title" }, content);
  const before = document.activeElement;
  dialog.addEventListener("close", () => {
    dialog.remove();
    before?.focus?.();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function closeButton(label = "Close") {
  return el("button", { type: "button", class: "quiet", onclick: (event) => event.target.closest("dialog").close() }, label);
}
