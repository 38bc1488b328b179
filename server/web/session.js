// Who is signed in, where the server has API keys.

import { api, guard, Problem } from "./api.js";
import { el, setText, show } from "./dom.js";
import { SignIn } from "./sign_in.js";

export class Session {
  // `onChange(name)`: who is signed in has changed, to nobody where it is null. What is shown must go.
  constructor(element, onChange) {
    Object.assign(this, { element, onChange, name: null, passes: 0, asked: null, form: null });
    this.who = el("span", { class: "who" });
    this.problem = el("p", { class: "problem", role: "alert", hidden: true });
    const button = el("button", { type: "button", class: "quiet", onclick: () => this.signOut() }, "Sign out");
    element.append(el("span", { class: "unseen" }, "Signed in as"), this.who, button, this.problem);
    guard({ pass: () => this.passes, renewed: (pass) => this.renewed(pass), waits: () => this.asked !== null });
    // The cookie is that of other tabs too.
    this.tabs = new BroadcastChannel("session");
    this.tabs.addEventListener("message", () => this.look());
  }

  // Resolves when the page may be shown.
  async open() {
    const found = await api.session().catch(() => null);
    if (found?.keys && found.key === null) await this.renewed(this.passes);
    else this.take(found?.key ?? null);
  }

  // For a request that met a 401 with `pass`. Rejects where it is another's by then.
  async renewed(pass) {
    const before = this.name;
    if (pass === this.passes) this.asked ??= this.ask();
    await this.asked;
    if (before !== null && before !== this.name) throw new Problem(401, "Somebody else has signed in.");
  }

  async ask() {
    show(this.element, false);
    this.form = new SignIn(this.name);
    const name = await this.form.done;
    this.form = this.asked = null;
    this.take(name);
    this.tabs.postMessage("");
  }

  take(name) {
    const changed = name !== this.name;
    this.name = name;
    this.passes += 1;
    setText(this.who, name ?? "");
    this.who.title = name ?? "";
    show(this.element, name !== null);
    if (changed) this.onChange(name);
  }

  // Another tab has signed in or out.
  async look() {
    const found = await api.session().catch(() => null);
    if (!found?.keys) return;
    if (found.key === null) this.signedOut();
    else if (this.form) this.form.finish(found.key);
    else this.take(found.key);
  }

  async signOut() {
    show(this.problem, false);
    try {
      await api.signOut();
      this.tabs.postMessage("");
      this.signedOut();
    } catch (error) {
      setText(this.problem, `${error.message} You are still signed in.`);
      show(this.problem, true);
    }
  }

  signedOut() {
    if (this.form) return;
    this.take(null);
    this.renewed(this.passes);
  }
}
