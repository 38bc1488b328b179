// Which view is shown: `#/` is the list with the form, `#/runs/<id>` one run.

import { home } from "./home.js";
import { runView } from "./run_view.js";

const main = document.getElementById("main");
let leave = null;

function route(first) {
  leave?.();
  const found = /^#\/runs\/([^/?]+)$/.exec(location.hash);
  const view = found ? runView(decoded(found[1])) : home();
  leave = view.leave;
  main.replaceChildren(view.element);
  scrollTo(0, 0);
  // A screen reader goes on with the new view; at the first load the browser does that itself.
  if (!first) main.focus({ preventScroll: true });
}

function decoded(id) {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}

addEventListener("hashchange", () => /^(#\/.*)?$/.test(location.hash) && route(false));
route(true);
