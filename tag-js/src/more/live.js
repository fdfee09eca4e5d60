// The live channel: the page is told at once when the visitor's segments change.
//
// A browser has few connections to a host, and a question that waits takes one. So of all tabs one asks, and
// only while it is seen; the others read its answer in the store.
import { attempt, listen } from "../util.js";
import { core } from "./core.js";

const WAIT_MS_MAX = 3e4;
const PAUSE_MS = 200;
const PAUSE_AFTER_FAILURE_MS = 3e3;

let version = 0; // of what this page was told last
let stop; // ends the question, and the waiting for the turn to ask

const ask = async (signal) => {
  const path = `/v1/me?wait=25s&version=${version}&anonymousId=${core.anonymousId()}`;
  const me = (core.allowed() && (await core.ask(path, { signal }))) || {};
  version = me.version || version;
  core.learnSegments(me);
  return me.segments ? PAUSE_MS : PAUSE_AFTER_FAILURE_MS;
};

const askOn = async (controller) => {
  while (!controller.signal.aborted) {
    const one = new AbortController();
    const end = () => one.abort();
    const clock = setTimeout(end, WAIT_MS_MAX);
    controller.signal.addEventListener("abort", end);
    const pause = await ask(one.signal);
    controller.signal.removeEventListener("abort", end);
    clearTimeout(clock);
    await new Promise((done) => {
      controller.signal.addEventListener("abort", done, { once: true });
      setTimeout(done, pause);
    });
  }
};

const begin = () => {
  if (document.hidden || stop) return;
  const controller = new AbortController();
  const { signal } = controller;
  stop = () => controller.abort((stop = undefined));
  const run = () => askOn(controller);
  // In anonymous mode each page is a visitor of its own.
  const turn = !core.auto("anonymous") && attempt(() => navigator.locks.request("trb_live", { signal }, run));
  turn ? turn.catch(() => {}) : run();
};
const end = () => stop && stop();

export const watchLive = () => {
  begin();
  listen("visibilitychange", () => (document.hidden ? end() : begin()));
  listen("pagehide", end);
  listen("pageshow", begin);
  listen("storage", ({ key, newValue }) => {
    if (key != "trb_segments" || !newValue) return;
    const me = JSON.parse(newValue);
    if (!me.anonymousId || me.anonymousId == core.anonymousId()) core.hear(me);
  });
};
