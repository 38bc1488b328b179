// The text of one model call: as plain text while it comes, set as Markdown by the server once it has ended.

import { api } from "./api.js";
import { el } from "./dom.js";
import { safeFragment } from "./safe_html.js";

const BLOCK = 1500; // characters: layout costs only the last block, whatever stands above it
const MOST_SET = 200000;
const SETTLED = 250; // milliseconds

export class TextPane {
  constructor() {
    this.text = el("div", { class: "prose streaming" });
    this.element = el("div", { class: "text-scroll", tabIndex: 0, role: "region", "aria-label": "Text of the model call" }, this.text);
    this.follow = true;
    this.element.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = this.element;
      this.follow = scrollHeight - scrollTop - clientHeight < 60;
    }, { passive: true });
    this.clear();
  }

  clear() {
    this.text.replaceChildren();
    this.text.className = "prose streaming";
    this.block = null;
    this.shown = 0;
    this.set = false;
  }

  // Shows what is new of the call since the last time.
  show(call) {
    if (this.call !== call || this.version !== call?.version) {
      this.call = call;
      this.version = call?.version;
      this.clear();
      this.follow = true;
    }
    if (!call) return;
    const text = call.characters > this.shown ? call.text : "";
    if (text) {
      this.append(text.slice(this.shown));
      this.shown = text.length;
    }
    this.text.classList.toggle("writing", call.state === "running");
    if (call.state !== "running" && this.shown && !this.set) this.typeset(call);
    if (text && this.follow) this.element.scrollTop = this.element.scrollHeight;
  }

  append(text) {
    let rest = text;
    while (rest) {
      if (!this.block || this.block.length >= BLOCK) {
        this.block = document.createTextNode("");
        this.text.append(el("p", {}, this.block));
      }
      // A block ends at a line's end, or where a line is too long for one.
      const space = BLOCK - this.block.length;
      const line = rest.indexOf("\n\n");
      const end = line >= 0 && line < space ? line + 2 : Math.min(space, rest.length);
      this.block.appendData(rest.slice(0, end));
      rest = rest.slice(end);
      if (line >= 0 && line + 2 === end) this.block = null;
    }
  }

  typeset(call) {
    this.set = true;
    if (call.characters > MOST_SET) return;
    const { version } = call;
    setTimeout(async () => {
      if (this.call !== call || call.version !== version) return;
      const html = await api.render(call.text).catch(() => null);
      if (html === null || this.call !== call || call.version !== version) return;
      const { scrollTop } = this.element;
      this.text.className = "prose";
      this.text.replaceChildren(safeFragment(html));
      this.element.scrollTop = scrollTop;
    }, SETTLED);
  }
}
