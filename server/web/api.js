// The invocations API. Addresses are relative, so that the page also works below a path of a proxy.

import { uploaded } from "./upload.js";

export class Problem extends Error {
  // `refusals`: what was refused, by its `field` (as `config.model`), and why.
  constructor(status, detail, refusals = []) {
    super(detail);
    this.status = status;
    this.refusals = refusals;
  }
}

const PATIENCE = 15000;
let skew = 0; // milliseconds that the server's clock is ahead of ours, to the second

export const serverNow = () => Date.now() + skew;

// Set by the session: `pass()` names the present sign-in, `renewed(pass)` resolves when there is another one.
let gate = null;

export function guard(session) {
  gate = session;
}

export const waitsForSignIn = () => gate.waits();

// A request that met a 401 is made again once somebody has signed in.
async function ask(path, options = {}) {
  for (;;) {
    const pass = gate.pass();
    const response = await answered(path, options);
    if (response.ok) return response;
    if (response.status !== 401 || options.open) throw await problemOf(response);
    await gate.renewed(pass);
  }
}

async function answered(path, options) {
  let response;
  try {
    response = await (options.onProgress ? uploaded : fetched)(path, options);
  } catch (error) {
    throw error instanceof Problem ? error : new Problem(0, "The server does not answer.");
  }
  const date = Date.parse(response.headers.get("date") ?? "");
  // The header has whole seconds: a smaller difference says nothing.
  if (Math.abs(date - Date.now()) > 2000) skew = date - Date.now();
  else if (!Number.isNaN(date)) skew = 0;
  return response;
}

function fetched(path, { method = "GET", body, accept = "application/json", headers = {} }) {
  // On a connection that died without a word, an answer never comes.
  const options = { method, headers: { Accept: accept, ...headers }, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  return fetch(path, options);
}

async function problemOf(response) {
  try {
    const problem = await response.json();
    const refusals = (problem.errors ?? []).map(({ field, message }) => ({ field: String(field), message: String(message) }));
    return new Problem(response.status, String(problem.detail ?? problem.title), refusals);
  } catch {
    return new Problem(response.status, `The server answered ${response.status}.`);
  }
}

const json = async (path, options) => (await ask(path, options)).json();
const text = async (path, options) => (await ask(path, options)).text();
const at = (id) => `invocations/${encodeURIComponent(id)}`;

export const api = {
  session: () => json("session", { open: true }),
  signIn: (key) => json("session", { method: "POST", body: { key }, open: true }),
  signOut: () => ask("session", { method: "DELETE", open: true }),
  settings: () => json("web/settings"),
  list: (cursor) => json(`invocations?limit=20${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`),
  record: (id) => json(at(id)),
  // The same key for the same wish, so that sending it again after a lost answer does nothing more.
  start: (body, key) => json("invocations", { method: "POST", body, headers: { "Idempotency-Key": key } }),
  documents: async () => (await json("documents")).documents,
  upload: (file, onProgress) => json(`documents?name=${encodeURIComponent(file.name)}`, { file, onProgress }),
  eraseDocument: (id) => ask(`documents/${encodeURIComponent(id)}`, { method: "DELETE" }),
  cancel: (id, mode) => json(`${at(id)}/cancel`, { method: "POST", body: { mode } }),
  resume: (id, key) => json(`${at(id)}/resume`, { method: "POST", headers: { "Idempotency-Key": key } }),
  eraseThread: (id) => ask(`threads/${encodeURIComponent(id)}`, { method: "DELETE" }),
  reportHtml: (id) => text(`web/${at(id)}/report`, { accept: "text/html" }),
  render: (markdown) => text("web/render", { method: "POST", body: { markdown }, accept: "text/html" }),
  reportUrl: (id) => `${at(id)}/report`,
  streamUrl: (id, position) => `${at(id)}?last_event_id=${position}`,
};

export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
