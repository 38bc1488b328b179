// Which view is shown: `#/` is the list with the form, `#/runs/<id>` one run.

import { home } from "./home.js";
import { runView } from "./run_view.js";
import { Session } from "./session.js";

const main = document.getElementById("main");
const session = new Session(document.getElementById("session"), (name) => {
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  if (name === null) clear();
  else route();
});
let leave = null;

function route() {
  const first = leave === null;
  leave?.();
  const found = /^#\/runs\/([^/?]+)$/.exec(location.hash);
  const view = found ? runView(decoded(found[1])) : home();
  leave = view.leave;
  main.replaceChildren(view.element);
  scrollTo(0, 0);
  // A screen reader goes on with the new view; at the first load the browser does that itself.
  if (!first) main.focus({ preventScroll: true });
}

function clear() {
  leave?.();
  leave = null;
  main.replaceChildren();
  document.title = "Research";
}

function decoded(id) {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}

// A file that is dropped beside its place must not take the page's.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.dataTransfer?.types.includes("Files") && event.preventDefault());
addEventListener("hashchange", () => leave && /^(#\/.*)?$/.test(location.hash) && route());
await session.open();
if (!leave) route();
