// The documents that a run is to search: those that were uploaded before, and new files, dropped or chosen.

import { api } from "./api.js";
import { question } from "./dialogs.js";
import { announce, count, el, number, setText, show } from "./dom.js";

const KINDS = ".md,.markdown,.txt,.rst,.html,.htm,.pdf";
const MOST_BYTES = 10 * 1024 * 1024;
const MOST_CHOSEN = 50;

export class DocumentPicker {
  // `onChange`: the choice is another one.
  constructor(onChange) {
    this.onChange = onChange;
    this.rows = el("ul", { class: "documents", hidden: true });
    this.input = el("input", { id: "files", class: "unseen", type: "file", multiple: true, accept: KINDS, "aria-describedby": "files-hint" });
    this.input.addEventListener("change", () => this.take(this.input.files));
    this.place = el("div", { class: "drop" }, this.input, el("label", { class: "button", for: "files" }, "Add files"),
      el("p", { class: "hint", id: "files-hint" }, "or drop them here: Markdown, text, HTML, PDF, up to 10 MiB each."));
    this.problem = el("p", { class: "problem", role: "alert", hidden: true });
    this.element = el("fieldset", { class: "picker" }, el("legend", {}, "Your documents"), this.rows, this.place, this.problem);
    this.queue = Promise.resolve(); // one file after the other
    this.dropTarget();
    this.load();
  }

  // The ids of what is chosen.
  get chosen() {
    return [...this.rows.querySelectorAll("input:checked")].map((box) => box.value);
  }

  // Resolves when no file is on its way any more.
  async settled() {
    await this.queue;
  }

  // Throws where a run would lack what was chosen for it.
  check() {
    const failed = [...this.rows.querySelectorAll(".failed .name")].map((name) => name.textContent);
    if (failed.length) throw new Error(`${failed.join(", ")} was not uploaded: remove it, or add it again.`);
    const chosen = this.chosen.length;
    if (chosen > MOST_CHOSEN) throw new Error(`A run takes ${MOST_CHOSEN} documents at most: ${chosen} are chosen.`);
  }

  async load() {
    try {
      for (const document of await api.documents()) this.add(document, false);
    } catch (error) {
      this.tell(`Your documents cannot be shown: ${error.message}`);
    }
  }

  dropTarget() {
    const over = (wanted) => (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      this.place.classList.toggle("over", wanted);
    };
    this.element.addEventListener("dragover", over(true));
    this.element.addEventListener("dragleave", over(false));
    this.element.addEventListener("drop", (event) => {
      over(false)(event);
      this.take(event.dataTransfer.files);
    });
  }

  take(files) {
    show(this.problem, false);
    for (const file of files) {
      const row = el("li", { class: "document" }, el("span", { class: "name", title: file.name }, file.name));
      this.rows.append(row);
      this.queue = this.queue.then(() => this.upload(file, row));
    }
    show(this.rows, this.rows.childElementCount > 0);
    this.input.value = "";
  }

  async upload(file, row) {
    const bar = el("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
    const state = el("p", { class: "facts" }, "Waiting …");
    row.append(bar, state);
    try {
      if (file.size > MOST_BYTES) throw new Error("The document is larger than 10 MiB.");
      const document = await api.upload(file, (part) => {
        bar.value = part;
        setText(state, part < 1 ? `${Math.round(part * 100)} %` : "Reading it …");
      });
      row.remove();
      this.add(document, true);
      announce(`${file.name} is uploaded.`);
    } catch (error) {
      const leave = el("button", { type: "button", class: "quiet", "aria-label": `Take ${file.name} off the list`, onclick: () => this.drop(row) }, "Remove");
      row.classList.add("failed");
      bar.remove();
      state.replaceWith(leave, el("p", { class: "problem", role: "alert" }, error.message.replace(/^(body|name): /, "")));
    }
  }

  // A document that the server keeps. It may be there already: the same file is the same document.
  add(document, checked) {
    const known = this.rows.querySelector(`input[value="${CSS.escape(document.document_id)}"]`);
    if (known) {
      known.checked ||= checked;
      if (checked) this.onChange();
      return;
    }
    const box = el("input", { type: "checkbox", value: document.document_id, checked });
    box.addEventListener("change", this.onChange);
    const facts = `${size(document.size_bytes)} · ${count(document.passages, "passage")}`;
    const remove = el("button", { type: "button", class: "quiet", "aria-label": `Delete ${document.name}` }, "Delete");
    const row = el("li", { class: "document" },
      el("label", {}, box, el("span", { class: "name", title: document.name }, document.name), el("small", {}, facts)), remove);
    remove.addEventListener("click", () => question(`Delete ${document.name}?`, "It is deleted for good. Runs that search it go on without it.",
      [["Delete", "danger", () => api.eraseDocument(document.document_id).catch(passOver404)]], "Keep it", () => this.erased(document, row)));
    this.rows.append(row);
    show(this.rows, true);
    if (checked) this.onChange();
  }

  erased(document, row) {
    this.drop(row);
    announce(`${document.name} is deleted.`);
    this.onChange();
  }

  drop(row) {
    row.remove();
    show(this.rows, this.rows.childElementCount > 0);
    this.input.focus();
  }

  tell(sentence) {
    setText(this.problem, sentence);
    show(this.problem, true);
  }
}

// It is gone, which was the wish.
function passOver404(error) {
  if (error.status !== 404) throw error;
}

function size(bytes) {
  if (bytes < 1000) return `${number(bytes)} B`;
  return bytes < 1e6 ? `${number(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
