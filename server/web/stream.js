// One invocation's events over crashes, restarts and sleep. EventSource alone gives up at the first HTTP error, hears no
// keep-alive comment, and holds one of the browser's six connections also where nobody looks.

import { api, Problem, waitsForSignIn } from "./api.js";
import { ENDED } from "./dom.js";

const FIRST_DELAY = 500;
const LONGEST_DELAY = 5000;
const TICK = 5000;
const SILENCE = 30000;
const HIDDEN = 30000;

export class RunStream {
  // `onEvent(event)` for each number once; `onState("live" | "reconnecting" | "paused" | "ended" | "removed" | "unknown")`.
  constructor(id, { onEvent, onState }) {
    Object.assign(this, { id, onEvent, onState, last: 0, delay: FIRST_DELAY, failures: 0, over: false });
    this.heard = this.ticked = Date.now();
    this.hiddenAt = document.hidden ? Date.now() : 0;
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    addEventListener("online", () => this.reopen(), { signal });
    addEventListener("pageshow", (event) => event.persisted && this.reopen(), { signal });
    document.addEventListener("visibilitychange", () => this.looked(), { signal });
    this.ticker = setInterval(() => this.tick(), TICK);
    this.open();
  }

  open() {
    this.source?.close();
    if (this.over) return;
    this.openedAt = Date.now();
    const source = new EventSource(api.streamUrl(this.id, this.last));
    this.source = source;
    source.onopen = () => {
      this.heard = Date.now();
      this.state("live");
    };
    source.onmessage = (message) => this.take(message);
    source.onerror = () => source === this.source && this.lost();
    source.addEventListener("done", () => this.end("ended"));
    source.addEventListener("gone", () => this.gone());
  }

  reopen() {
    clearTimeout(this.timer);
    this.delay = FIRST_DELAY;
    if (!this.over && this.current) this.state("reconnecting");
    this.open();
  }

  close() {
    this.over = true;
    this.source?.close();
    clearTimeout(this.timer);
    clearInterval(this.ticker);
    this.listeners.abort();
  }

  take(message) {
    this.heard = Date.now();
    const event = JSON.parse(message.data);
    if (event.sequence_number <= this.last) return;
    this.last = event.sequence_number;
    this.delay = FIRST_DELAY;
    this.failures = 0;
    this.onEvent(event);
  }

  async lost() {
    this.source.close();
    this.failures += 1;
    this.state("reconnecting");
    const verdict = await this.verdict();
    if (this.over) return;
    if (verdict) return this.end(verdict);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), this.delay);
    this.delay = Math.min(this.delay * 2, LONGEST_DELAY);
  }

  // EventSource does not say why it failed; the record does.
  async verdict() {
    try {
      const record = await api.record(this.id);
      if (!ENDED.has(record.status)) return null;
      if (record.last_event_id <= this.last) return "ended";
      return this.failures > 2 ? "removed" : null;
    } catch (error) {
      return error instanceof Problem && error.status === 404 ? "unknown" : null;
    }
  }

  // Its events have gone while it was read: past their retention, or its thread was deleted.
  async gone() {
    this.close();
    this.state((await this.verdict()) === "unknown" ? "unknown" : "removed");
  }

  end(state) {
    this.close();
    this.state(state);
  }

  state(name) {
    if (this.current !== name) this.onState((this.current = name));
  }

  looked() {
    this.hiddenAt = document.hidden ? Date.now() : 0;
    if (!document.hidden && this.current === "paused") this.reopen();
  }

  async tick() {
    const slept = Date.now() - this.ticked > 4 * TICK;
    this.ticked = Date.now();
    if (waitsForSignIn()) return;
    if (this.hiddenAt && Date.now() - this.hiddenAt > HIDDEN) return this.pause();
    if (slept || this.stuck) return this.reopen();
    // Silent may be a long call, or a connection that died without a word.
    if (this.current === "live" && Date.now() - this.heard > SILENCE) {
      this.heard = Date.now();
      const behind = await api.record(this.id).then((record) => record.last_event_id > this.last, () => true);
      if (behind && !this.over) this.reopen();
    }
  }

  // Connecting for long: the packets go nowhere.
  get stuck() {
    return this.source.readyState === EventSource.CONNECTING && Date.now() - this.openedAt > SILENCE;
  }

  pause() {
    clearTimeout(this.timer);
    this.source?.close();
    this.state("paused");
  }
}
