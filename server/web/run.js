// What is known of a run, by its events. No element of the page is touched here.

const CHARACTERS_PER_TOKEN = 4;
const SPEED_WINDOW = 3000;

class Mean {
  total = 0;
  count = 0;
  add(value) {
    this.total += Number(value) || 0;
    this.count += 1;
  }
  get value() {
    return this.count ? this.total / this.count : 0;
  }
}

export class Call {
  constructor(phase, index) {
    Object.assign(this, { phase, index, role: "", of: 0, attempt: 0, state: "waiting", tokens: 0, seconds: 0 });
    this.pieces = [];
    this.version = 0; // one higher each time its text begins anew
    this.characters = 0;
  }
  get text() {
    if (this.pieces.length > 1) this.pieces = [this.pieces.join("")];
    return this.pieces[0] ?? "";
  }
}

class Phase {
  constructor(number) {
    Object.assign(this, { number, title: "", state: "waiting", seconds: 0, sources: [], kept: false });
    this.calls = new Map();
  }
  call(index) {
    if (!this.calls.has(index)) this.calls.set(index, new Call(this.number, index));
    return this.calls.get(index);
  }
}

export class Run {
  constructor() {
    Object.assign(this, { topic: "", model: "", total: 0, perPhase: 0, current: null, rest: null, end: null });
    this.phases = new Map();
    this.notes = []; // what happened beside the plan, newest last
    this.usage = { input: 0, output: 0 };
    this.changed = new Set(); // numbers of the phases that changed since they were drawn
    this.callSeconds = new Mean();
    this.rests = { intra_phase: new Mean(), inter_phase: new Mean() };
    this.speedometer = [];
  }

  take(event) {
    HANDLERS[event.type]?.(this, event);
  }

  phase(number) {
    if (!this.phases.has(number)) this.phases.set(number, new Phase(number));
    this.changed.add(number);
    return this.phases.get(number);
  }

  note(kind, text, event) {
    this.notes.push({ kind, text, at: event.server_time_utc });
  }

  get tokens() {
    const running = this.current?.state === "running" ? this.current.characters / CHARACTERS_PER_TOKEN : 0;
    return this.usage.output + running;
  }

  // Estimated, over the last three seconds.
  get tokensPerSecond() {
    const now = performance.now();
    while (this.speedometer.length && this.speedometer[0][0] < now - SPEED_WINDOW) this.speedometer.shift();
    const characters = this.speedometer.reduce((sum, [, size]) => sum + size, 0);
    return characters / CHARACTERS_PER_TOKEN / (SPEED_WINDOW / 1000);
  }

  get callsDone() {
    let done = 0;
    for (const phase of this.phases.values()) {
      if (phase.state === "done") done += this.perPhase;
      else for (const call of phase.calls.values()) done += call.state === "done";
    }
    return done;
  }

  get progress() {
    const calls = this.total * this.perPhase;
    return calls ? Math.min(1, this.callsDone / calls) : 0;
  }

  // Seconds, by the calls and rests so far; null before the first call has ended.
  get secondsLeft() {
    if (!this.callSeconds.count || this.end) return null;
    const calls = Math.max(0, this.total * this.perPhase - this.callsDone);
    const phases = Math.max(0, this.total - this.doneOrRunning);
    const intra = Math.max(0, calls - phases - 1);
    return this.callSeconds.value * calls + this.rests.inter_phase.value * phases + this.rests.intra_phase.value * intra;
  }

  get doneOrRunning() {
    return [...this.phases.values()].filter((phase) => phase.state !== "waiting").length;
  }
}

const HANDLERS = {
  run_start(run, event) {
    Object.assign(run, { topic: event.topic, model: event.model, total: event.total_phases, perPhase: event.calls_per_phase });
    run.rest = null;
    for (let number = 1; number <= run.total; number += 1) run.phase(number);
    if (event.entry_mode === "fresh") run.note("begin", "The run began.", event);
    else if (event.entry_mode === "resumed") run.note("begin", "The run began, on a thread that had turns before.", event);
  },
  recovered(run, event) {
    const calls = `${event.completed_phases} of ${event.total_phases} phases and ${event.completed_subcalls} calls are kept`;
    run.note("recovered", `The server came back after a crash: ${calls}.`, event);
    keep(run, event.completed_phases);
  },
  phase_start(run, event) {
    run.total = event.total;
    run.rest = null;
    keep(run, event.phase - 1);
    Object.assign(run.phase(event.phase), { title: event.title, state: "running" });
  },
  phase_end(run, event) {
    Object.assign(run.phase(event.phase), { title: event.title, state: "done", seconds: event.duration_sec });
  },
  indexing(run, event) {
    run.indexing = { done: event.done, of: event.of };
  },
  sources(run, event) {
    run.indexing = null;
    run.phase(event.phase).sources = Array.isArray(event.items) ? event.items : [];
  },
  subcall_start(run, event) {
    const phase = run.phase(event.phase);
    if (phase.state === "waiting") phase.state = "running";
    keep(run, event.phase - 1);
    const call = phase.call(event.index);
    Object.assign(call, { role: event.role, of: event.of, attempt: event.attempt, state: "running", characters: 0 });
    call.pieces = [];
    call.version += 1;
    run.current = call;
    run.rest = null;
  },
  token(run, event) {
    const call = run.phases.get(event.phase)?.call(event.index);
    if (!call) return;
    call.pieces.push(event.content);
    call.characters += event.content.length;
    const now = performance.now();
    const latest = run.speedometer.at(-1);
    if (latest && now - latest[0] < 100) latest[1] += event.content.length;
    else run.speedometer.push([now, event.content.length]);
  },
  subcall_end(run, event) {
    const call = run.phase(event.phase).call(event.index);
    const used = event.usage ?? {};
    Object.assign(call, { state: "done", seconds: event.duration_sec, tokens: used.output_tokens ?? 0 });
    run.usage.input += used.input_tokens ?? 0;
    run.usage.output += used.output_tokens ?? 0;
    run.callSeconds.add(event.duration_sec);
  },
  retrying(run, event) {
    run.rest = { kind: "retry", until: Date.parse(event.server_time_utc) + event.delay_sec * 1000, total: event.delay_sec };
    run.note("retrying", `A model call failed and is made again: ${event.error?.message ?? ""}`, event);
  },
  cooldown(run, event) {
    run.rest = { kind: "cooldown", until: Date.parse(event.resume_at), total: event.duration_sec };
    run.rests[event.stage]?.add(event.duration_sec);
  },
  steering(run, event) {
    run.note("steering", `Steered: ${event.message}`, event);
    run.successor = event.invocation_id;
  },
  winding_down(run, event) {
    finish(run, event, `The run stopped ${CAUSES[event.cause] ?? event.cause}.`);
  },
  run_failed(run, event) {
    finish(run, event, `The run failed: ${event.error?.message ?? event.error?.type ?? ""}`);
  },
  run_complete(run, event) {
    finish(run, event, "The run is complete.");
  },
};

const CAUSES = {
  steering: "because it was steered to something else",
  operator_cancel: "because it was cancelled",
  timeout: "at its time limit",
  budget: "at its token budget",
};

// Phases before the one that a turn begins with were done by an earlier turn of the thread.
function keep(run, upTo) {
  for (let number = 1; number <= upTo; number += 1) {
    const phase = run.phases.get(number);
    if (!phase || phase.state !== "waiting") continue;
    Object.assign(phase, { state: "done", kept: true });
    run.changed.add(number);
  }
}

function finish(run, event, sentence) {
  run.end = event;
  run.rest = null;
  run.note(event.type, sentence, event);
  if (run.current?.state === "running") run.current.state = "stopped";
  for (const phase of run.phases.values()) {
    if (phase.state === "running") {
      phase.state = "stopped";
      run.changed.add(phase.number);
    }
  }
}
