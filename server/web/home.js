// The form that starts a run, and the list of all runs.

import { el } from "./dom.js";
import { runsList } from "./runs_list.js";
import { startForm } from "./start_form.js";

export function home() {
  document.title = "Research";
  const list = runsList();
  const element = el("div", { class: "home" }, startForm(), list.element);
  return { element, leave: list.leave };
}
