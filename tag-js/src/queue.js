// Events on their way to the collector, kept in the store until it says that it has them.
//
// Each event is an entry of its own in the store; the tab that holds the lock delivers the events of
// all tabs, oldest first. After a page ended in the middle of a delivery the next one sends those
// events again with the same messageId: the collector may see an event twice, the hub counts it once.
// When to try again is in the store too, so other tabs and the next page keep to it.
import { ask } from "./ask.js";
import { isAnonymous, settings } from "./settings.js";
import { say, trace } from "./say.js";
import { get, names, read, set } from "./store.js";
import { attempt, iso } from "./util.js";

const EVENTS_MAX = 2000;
const BATCH_EVENTS_MAX = 50;
const BATCH_CHARS_MAX = 2e4; // of up to 3 bytes: browsers refuse keepalive requests and beacons over 64 KiB
const KEEPALIVE_CHARS_MAX = 21e3;
const RETRY_MS_MIN = 500;
const RETRY_AFTER_MS_MAX = 3e5;
const RETRY_MS_MAX = 3e4;
const LOCK_MS_MAX = 35e3; // no honest delivery takes longer: a request ends after 30 s
const PATH = "/v1/b?me=1";

const pending = {}; // by key: how to settle the promise of an event that this page made
const flying = new Set(); // keys of events that are on their way
let timer;
let delay = RETRY_MS_MIN;
let count = 1e6;
let onAnswer;
let isGone; // the page is left; it may come back from the browser's cache
let turn; // with the lock, or the waiting for it; aborting it ends both
let isLockless;
let clock;

// Nothing leaves before this.
export const startQueue = (learn) => {
  onAnswer = learn;
  wake(0);
};

// `settle` is called with an error, or without one when the collector has the event. A page that nobody
// sees may end at any time: what it makes leaves when the handler that made it returns.
export const push = (event, settle) => {
  const key = "q" + Date.now() + count++ + event.messageId; // sorts in the order of the calls
  set(key, event);
  pending[key] = settle;
  wake(10);
  (isGone || document.hidden) && Promise.resolve().then(() => attempt(hurry));
};

const pause = () => get("wait") - Date.now() || 0;

const wake = (ms) =>
  (timer = timer || (onAnswer && !isGone && setTimeout(deliver, Math.min(Math.max(ms, pause()), RETRY_AFTER_MS_MAX))));

// Try again now; a timer that is set finds nothing to do.
export const online = () => {
  timer = set("wait");
  wake(0);
};

const waiting = () => names("q").filter((key) => !flying.has(key));

const settle = (key, error) => {
  set(key);
  pending[key] && pending[key](error);
  delete pending[key];
};

// What this page made is not to be sent.
export const refuseAll = (error) => Object.keys(pending).forEach((key) => settle(key, error));

// At least one event, however large, or it would block the queue for ever.
const firstBatch = (keys, chars = 0) =>
  keys.slice(0, BATCH_EVENTS_MAX).filter((key, at) => (chars += read(key).length) < BATCH_CHARS_MAX || !at);

const deliverSome = () => {
  Object.keys(pending).forEach((key) => read(key) || settle(key)); // another tab has delivered it
  const keys = waiting();
  keys.splice(0, keys.length - EVENTS_MAX).forEach((key) => settle(key, Error("full")));
  return keys[0] && !isGone && post(firstBatch(keys));
};

// One tab at a time, where the browser has locks. A page that is kept in the browser's cache keeps its lock
// too, so one that is left gives way; and who has waited for long does without, from then on.
const deliver = async () => {
  try {
    const { signal } = (turn = new AbortController());
    const given = new Promise((resolve) => (signal.onabort = resolve));
    clock = setTimeout(giveWay, LOCK_MS_MAX, 1);
    await (isLockless ? deliverSome() : navigator.locks.request("trb", { signal }, () => Promise.race([deliverSome(), given])));
  } catch (error) {
    await deliverSome();
  }
  clearTimeout(clock);
  timer = 0;
  waiting()[0] && wake(0);
};

const giveWay = (isLate) => {
  isLockless = isLate;
  turn.abort();
};

const bodyOf = (keys) => `{"batch":[${keys.map(read)}],"sentAt":"${iso()}","writeKey":${JSON.stringify(settings.writeKey)}}`;

const takeOff = (keys) => keys.forEach((key) => flying.add(key));

// Send these events.
const post = async (keys) => {
  const body = bodyOf(keys); // as text/plain, for which the browser asks no preflight
  takeOff(keys);
  const answer = await ask(PATH, {
    method: "POST",
    body,
    keepalive: body.length < KEEPALIVE_CHARS_MAX,
  });
  const { status, seconds, success, rejected = [], error, me } = answer;
  keys.forEach((key) => flying.delete(key));
  trace("answer", keys.map(get), answer);
  // An answer counts as taken only if it is the collector's own: a captive portal also says 200.
  if (success || /^4(?!08|29)/.test(status)) {
    delay = RETRY_MS_MIN;
    const refusal = error || { code: status };
    const isKeyUnknown = refusal.code == "unknown-write-key";
    keys.forEach((key, at) => {
      const problem = success ? rejected.find((item) => item.index == at) : refusal;
      // Of the withdrawal it is known: nobody waits for it.
      problem && pending[key] && say(problem.code, { key: settings.writeKey, ...problem });
      isKeyUnknown || settle(key, problem);
    });
    // Then nothing can be sent, and what other pages have left may be for another key.
    if (isKeyUnknown) settings.writeKey = onAnswer = refuseAll(refusal);
    me && onAnswer(me);
  } else {
    status < 300 && say(status, {});
    // Exponential, with jitter so that a crowd of browsers does not return all at once.
    set("wait", Date.now() + (seconds * 1e3 || 0) + (delay = Math.min(delay * 2, RETRY_MS_MAX)) * Math.random());
  }
};

// Without waiting for a turn. While the page is only hidden the answer is heard. What outlives it brings
// no answer, so those events stay in the store for the next page to confirm.
export const hurry = () => {
  const keys = firstBatch(waiting());
  if (!onAnswer || !keys[0] || pause() > 0) return;
  // A beacon would bring the cookie.
  if (!isGone || isAnonymous() || !navigator.sendBeacon) post(keys);
  else if (navigator.sendBeacon(settings.host + PATH, bodyOf(keys))) takeOff(keys);
};

export const leave = () => {
  isGone = 1;
  hurry(turn && giveWay());
};

// Back from the browser's cache.
export const comeBack = () => {
  isGone = timer = 0;
  flying.clear();
  wake(0);
};
