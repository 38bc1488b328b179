// Asks for an API key. It is sent once and kept nowhere: the server answers with a cookie that scripts cannot read.

import { api } from "./api.js";
import { el, setText, show } from "./dom.js";

export class SignIn {
  // `done` becomes the name of who has signed in. `name`: who was, and goes on below; null where nobody was.
  constructor(name) {
    this.done = new Promise((resolve) => (this.resolve = resolve));
    this.key = el("input", { id: "key", type: "password", name: "key", required: true, maxLength: 512, autocomplete: "current-password", "aria-describedby": "key-hint" });
    this.problem = el("p", { class: "problem", role: "alert", hidden: true });
    this.button = el("button", { class: "primary", type: "submit" }, "Sign in");
    const hint = name === null
      ? "This server asks for one. Whoever runs it can make yours."
      : `The session of ${name} is over. With its key this page goes on where it was.`;
    const form = el("form", { onsubmit: (event) => this.send(event) },
      el("h2", { id: "sign-in-title" }, name === null ? "Sign in" : "Sign in again"),
      el("label", { for: "key" }, "API key"), this.key, el("p", { class: "hint", id: "key-hint" }, hint), this.problem,
      el("div", { class: "actions" }, this.button));
    this.dialog = el("dialog", { class: name === null ? "sign-in alone" : "sign-in", "aria-labelledby": "sign-in-title" }, form);
    // Nothing is to be had without: it cannot be closed.
    this.dialog.addEventListener("cancel", (event) => event.preventDefault());
    this.dialog.addEventListener("close", () => this.dialog.isConnected && this.dialog.showModal());
    document.body.append(this.dialog);
    this.dialog.showModal();
  }

  async send(event) {
    event.preventDefault();
    this.button.disabled = true;
    show(this.problem, false);
    try {
      await api.signIn(this.key.value.trim());
      const { key } = await api.session();
      if (key === null) throw new Error("This browser keeps no cookie of this server, and without it nobody is signed in.");
      this.finish(key);
    } catch (error) {
      setText(this.problem, error.status === 401 ? "This key is not known here, or was revoked." : error.message);
      show(this.problem, true);
      this.key.select();
      this.key.focus();
    } finally {
      this.button.disabled = false;
    }
  }

  finish(name) {
    this.key.value = "";
    this.dialog.remove();
    this.resolve(name);
  }
}
