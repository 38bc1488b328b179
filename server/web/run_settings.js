// The settings of a run. What is left empty is the server's own, which stands in the field in grey.

import { el, number, setText } from "./dom.js";

const PLAN = [["phases", "Phases"], ["calls_per_phase", "Model calls a phase"], ["target_output_tokens", "Tokens a call"]];
const PACE = [
  ["intra_phase_cooldown_sec", "Rest after a call, s"],
  ["inter_phase_cooldown_sec", "Rest after a phase, s"],
  ["run_timeout_sec", "Time limit, s"],
  ["token_budget", "Token budget"],
];
const ROLES = ["research", "critique", "refine", "synthesize"];

export class RunSettings {
  constructor() {
    this.inputs = new Map();
    this.ranges = new Map(); // what stands below a number's field
    this.titles = el("textarea", { id: "set-titles", name: "titles", rows: 3, placeholder: "The built-in plan", "aria-describedby": "titles-hint" });
    this.titles.addEventListener("input", () => {
      accept(this.titles);
      this.inputs.get("phases").disabled = this.ownTitles.length > 0;
    });
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
    return el("div", { class: "fields" }, fields.map(([name, label]) => {
      const range = el("small", { id: `range-${name}` });
      this.ranges.set(name, range);
      return this.field(name, label, { type: "number", inputMode: "decimal", "aria-describedby": range.id }, range);
    }));
  }

  model(name, label) {
    return this.field(name, label, { type: "text", maxLength: 200, spellcheck: false, autocapitalize: "off" });
  }

  field(name, label, attributes, ...more) {
    const input = el("input", { id: `set-${name.replace(".", "-")}`, name, ...attributes });
    input.addEventListener("input", () => accept(input));
    this.inputs.set(name, input);
    return el("div", { class: "field" }, el("label", { for: input.id }, label), input, more);
  }

  get ownTitles() {
    return this.titles.value.split("\n").map((line) => line.trim()).filter(Boolean);
  }

  // `defaults` and `limits` as `GET /web/settings` tells them.
  fill(defaults, limits) {
    for (const [name, range] of this.ranges) {
      const input = this.inputs.get(name);
      const { minimum, above, maximum, whole } = limits[name];
      Object.assign(input, { min: minimum ?? above, max: maximum, step: whole ? "1" : "any" });
      setText(range, `${minimum === undefined ? `more than ${number(above)}, up` : number(minimum)} to ${number(maximum)}`);
    }
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

  // Shows at their fields what the server has refused.
  mark(refusals) {
    for (const { field, message } of refusals) {
      const name = field.replace(/^config\./, "");
      const input = name.startsWith("phases") && this.ownTitles.length ? this.titles : this.inputs.get(name) ?? this.inputs.get(name.split(".")[0]);
      if (input) refuse(input, message);
    }
  }
}

function group(legend, ...content) {
  return el("fieldset", { class: "group" }, el("legend", {}, legend), content);
}

function refuse(input, message) {
  accept(input);
  const told = el("p", { class: "refusal", id: `refusal-${input.id}` }, message);
  input.after(told);
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", [told.id, input.getAttribute("aria-describedby")].filter(Boolean).join(" "));
  reveal(input);
  input.focus();
}

function accept(input) {
  const told = document.getElementById(`refusal-${input.id}`);
  if (!told) return;
  input.removeAttribute("aria-invalid");
  input.setAttribute("aria-describedby", input.getAttribute("aria-describedby").replace(told.id, "").trim());
  told.remove();
}

function reveal(input) {
  for (let outer = input.closest("details"); outer; outer = outer.parentElement.closest("details")) outer.open = true;
}
