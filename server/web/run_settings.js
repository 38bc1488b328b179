// The settings of a run. What is left empty is the server's own, which stands in the field in grey.

import { el } from "./dom.js";

const PLAN = [
  ["phases", "Phases", { min: 1, max: 1000, step: 1 }],
  ["calls_per_phase", "Model calls a phase", { min: 1, max: 100, step: 1 }],
  ["target_output_tokens", "Tokens a call", { min: 16, max: 100000, step: 1 }],
];
const PACE = [
  ["intra_phase_cooldown_sec", "Rest after a call, s", { min: 0, max: 86400, step: "any" }],
  ["inter_phase_cooldown_sec", "Rest after a phase, s", { min: 0, max: 86400, step: "any" }],
  ["run_timeout_sec", "Time limit, s", { min: 1, max: 31536000, step: "any" }],
  ["token_budget", "Token budget", { min: 100, max: 1000000000, step: 1 }],
];
const ROLES = ["research", "critique", "refine", "synthesize"];

export class RunSettings {
  constructor() {
    this.inputs = new Map();
    this.titles = el("textarea", { id: "set-titles", name: "titles", rows: 3, placeholder: "The built-in plan", "aria-describedby": "titles-hint" });
    this.titles.addEventListener("input", () => (this.inputs.get("phases").disabled = this.ownTitles.length > 0));
    const roles = el("details", { class: "more" }, el("summary", {}, "Models by role"),
      el("div", { class: "fields" }, ROLES.map((role) => this.model(`models.${role}`, role))));
    this.element = el("details", { class: "settings" }, el("summary", {}, "Settings"),
      el("p", { class: "hint" }, "An empty field takes the server's value, which it shows in grey."),
      group("Plan", this.numbers(PLAN), el("details", { class: "more" }, el("summary", {}, "Phases of your own"),
        el("div", { class: "field" }, el("label", { for: "set-titles" }, "Titles of the phases"), this.titles,
          el("p", { class: "hint", id: "titles-hint" }, "One a line; they replace the built-in plan.")))),
      group("Pace and limits", this.numbers(PACE)),
      group("Model", el("div", { class: "fields" }, this.model("model", "Model of every call")), roles));
    // A field that is not seen cannot say what is wrong with it.
    this.element.addEventListener("invalid", (event) => reveal(event.target), true);
  }

  numbers(fields) {
    return el("div", { class: "fields" }, fields.map(([name, label, limits]) => {
      const attributes = Object.fromEntries(Object.entries(limits).map(([key, value]) => [key, String(value)]));
      return this.field(name, label, { type: "number", inputMode: "decimal", ...attributes });
    }));
  }

  model(name, label) {
    return this.field(name, label, { type: "text", maxLength: 200, spellcheck: false, autocapitalize: "off" });
  }

  field(name, label, attributes) {
    const input = el("input", { id: `set-${name.replace(".", "-")}`, name, ...attributes });
    input.addEventListener("input", () => input.removeAttribute("aria-invalid"));
    this.inputs.set(name, input);
    return el("div", { class: "field" }, el("label", { for: input.id }, label), input);
  }

  get ownTitles() {
    return this.titles.value.split("\n").map((line) => line.trim()).filter(Boolean);
  }

  // `defaults` as `GET /web/settings` tells them.
  fill(defaults) {
    for (const [name, input] of this.inputs) input.placeholder = String(defaults[name] ?? "none");
    for (const role of ROLES) this.inputs.get(`models.${role}`).placeholder = defaults.role_models[role] ?? "as above";
  }

  // What was set of a run's `config`.
  config() {
    const config = {};
    for (const [name, input] of this.inputs) {
      const value = input.value.trim();
      if (value === "" || input.disabled) continue;
      const [outer, inner] = name.split(".");
      if (inner) (config[outer] ??= {})[inner] = value;
      else config[name] = input.type === "number" ? Number(value) : value;
    }
    return this.ownTitles.length ? { ...config, phases: this.ownTitles } : config;
  }

  // Shows which fields the server has refused, by its names of them.
  mark(fields) {
    const names = fields.map((field) => field.replace(/^config\./, ""));
    for (const [name, input] of this.inputs) {
      if (names.some((each) => each === name || each.startsWith(`${name}.`))) refused(input);
    }
  }
}

function group(legend, ...content) {
  return el("fieldset", { class: "group" }, el("legend", {}, legend), content);
}

function refused(input) {
  input.setAttribute("aria-invalid", "true");
  reveal(input);
  input.focus();
}

function reveal(input) {
  for (let outer = input.closest("details"); outer; outer = outer.parentElement.closest("details")) outer.open = true;
}
