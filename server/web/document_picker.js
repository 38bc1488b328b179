// The documents that a run is to search: those that were uploaded before, and new files, dropped or chosen.

import { api } from "./api.js";
import { announce, count, el, number, setText, show } from "./dom.js";

const KINDS = ".md,.markdown,.txt,.rst,.html,.htm,.pdf";
const MOST_BYTES = 10 * 1024 * 1024;

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
    this.uploads = new Set();
    this.dropTarget();
    this.load();
  }

  // The ids of what is chosen.
  get chosen() {
    return [...this.rows.querySelectorAll("input:checked")].map((box) => box.value);
  }

  // Resolves when no file is on its way any more.
  async settled() {
    await Promise.all(this.uploads);
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
      const upload = this.upload(file).finally(() => this.uploads.delete(upload));
      this.uploads.add(upload);
    }
    this.input.value = "";
  }

  async upload(file) {
    const bar = el("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
    const state = el("p", { class: "facts" }, "Waiting …");
    const row = el("li", { class: "document" }, el("span", { class: "name" }, file.name), bar, state);
    this.rows.append(row);
    show(this.rows, true);
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
    remove.addEventListener("click", () => this.erase(document, row));
    this.rows.append(row);
    show(this.rows, true);
    if (checked) this.onChange();
  }

  async erase(document, row) {
    show(this.problem, false);
    try {
      await api.eraseDocument(document.document_id);
    } catch (error) {
      if (error.status !== 404) {
        this.tell(`${document.name} is still there: ${error.message}`);
        return;
      }
    }
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

function size(bytes) {
  if (bytes < 1000) return `${number(bytes)} B`;
  return bytes < 1e6 ? `${number(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
