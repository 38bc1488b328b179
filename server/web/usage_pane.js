// What a run has used, as its record tells: by role, model and phase, and in money where the server knows prices.

import { el, number } from "./dom.js";

const ROLES = ["research", "critique", "refine", "synthesize", "search", "closing"];

export class UsagePane {
  constructor() {
    this.element = el("div", { class: "usage" });
  }

  update(run, record) {
    if (!record || this.record === record) return;
    this.record = record;
    const { usage } = record;
    if (!usage.input_tokens && !usage.output_tokens) {
      this.element.replaceChildren(el("p", { class: "hint" }, "Nothing yet: tokens are counted when a model call has ended."));
      return;
    }
    const phases = Object.entries(usage.by_phase ?? {}).map(([phase, used]) => [titleOf(run, phase), used]);
    const roles = Object.entries(usage.by_role ?? {}).sort(([a], [b]) => ROLES.indexOf(a) - ROLES.indexOf(b));
    const tables = [table("Role", roles, usage), table("Model", Object.entries(usage.by_model ?? {}), usage), table("Phase", phases, usage)];
    this.element.replaceChildren(...figures(usage), ...tables.filter(Boolean));
  }
}

// Phase 0 is what comes behind the last one.
const titleOf = (run, phase) => (phase === "0" ? "Behind the last phase" : run.phases.get(Number(phase))?.title || `Phase ${phase}`);

function figures({ input_tokens, output_tokens, cost }) {
  const figure = (name, value) => el("div", { class: "figure" }, el("dt", {}, name), el("dd", {}, value));
  return [
    el("dl", { class: "figures" }, figure("Tokens in", number(input_tokens)), figure("Tokens out", number(output_tokens)), cost && figure("Cost", money(cost))),
    el("p", { class: "hint" }, costHint(cost)),
  ];
}

function costHint(cost) {
  const calls = "Calls that failed are not counted.";
  if (!cost) return `No prices are known: the server reads them from PRICES_FILE. ${calls}`;
  return cost.unpriced.length ? `The cost is without ${cost.unpriced.join(", ")}, of which no price is known. ${calls}` : calls;
}

// A currency is any word; small sums keep two digits that say something.
export function money({ amount, currency }) {
  const digits = amount > 0 && amount < 0.1 ? { maximumSignificantDigits: 2 } : { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  try {
    return new Intl.NumberFormat("en", { style: "currency", currency, ...digits }).format(amount);
  } catch {
    return `${new Intl.NumberFormat("en", digits).format(amount)} ${currency}`;
  }
}

function table(title, rows, total) {
  if (!rows.length) return null;
  const whole = total.input_tokens + total.output_tokens;
  return el("table", { class: "tokens" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, title), ["In", "Out", "Share"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, rows.map(([name, used]) => el("tr", {}, el("th", { scope: "row" }, name),
      el("td", {}, number(used.input_tokens)), el("td", {}, number(used.output_tokens)),
      el("td", {}, share((used.input_tokens + used.output_tokens) / whole))))));
}

function share(part) {
  const percent = `${Math.round(part * 100)} %`;
  const bar = el("span", { class: "share", "aria-hidden": "true" });
  bar.style.setProperty("--part", `${part * 100}%`);
  return [bar, percent];
}
