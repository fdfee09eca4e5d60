// Events on their way to the collector, kept in the store until it says that it has them.
//
// Each event is an entry of its own in the store, so two tabs never overwrite each other. After a page
// ended in the middle of a delivery, the next page sends those events again with the same messageId:
// the collector may see an event twice, and the hub counts it once.

const EVENTS_MAX = 500;
const CHARS_MAX = 400 * 1024;
const BATCH_BYTES_MAX = 60000; // browsers refuse keepalive requests and beacons over 64 KiB
const FLUSH_MS = 10;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 30000;
const RETRY_AFTER_MS_MAX = 300000;
const ANSWER_MS_MAX = 30000;
const RETRIED = [408, 410, 429]; // of the 4xx; the others are final

export function createQueue(window, { url, writeKey, store, onDelivered }) {
  const entries = []; // oldest first; the first `flying` of them are on their way
  let flying = 0;
  let failures = 0;
  let timer = 0;
  let pausedUntil = 0; // the collector asked for silence until then
  let lastTime = 0;

  function push(event) {
    const json = JSON.stringify(event);
    lastTime = Math.max(window.Date.now(), lastTime + 1); // so that keys sort in the order of the calls
    const key = "q" + lastTime + event.messageId;
    return new Promise((resolve, reject) => {
      store.set(key, json);
      entries.push({ key, json, bytes: bytesOf(json), resolve: () => resolve(event), reject });
      dropOldest();
      schedule(FLUSH_MS);
    });
  }

  // Take up what earlier pages left.
  function restore() {
    for (const key of store.keys("q")) {
      const json = store.get(key);
      entries.push({ key, json, bytes: bytesOf(json), resolve() {}, reject() {} });
    }
    dropOldest();
    if (entries.length) schedule(0);
  }

  function dropOldest() {
    let chars = entries.reduce((sum, { json }) => sum + json.length, 0);
    while (entries.length > EVENTS_MAX || chars > CHARS_MAX) {
      const [entry] = entries.splice(flying, 1);
      chars -= entry.json.length;
      finish(entry, new Error("The queue is full."));
    }
  }

  function finish(entry, error) {
    store.remove(entry.key);
    if (error) entry.reject(error);
    else entry.resolve();
  }

  // One request at a time, and one timer: an event that comes meanwhile goes with the next.
  function schedule(ms) {
    if (!timer && !flying) timer = window.setTimeout(deliver, ms);
  }

  async function deliver() {
    timer = 0;
    const batch = firstBatch(entries);
    if (!batch.length) return;
    flying = batch.length;
    const answer = await exchange(batch);
    flying = 0;

    if (answer.retry) return schedule(retryDelay(answer.retryAfterMs));
    failures = 0;
    entries.splice(0, batch.length).forEach((entry, index) => finish(entry, answer.errorOf(index)));
    if (answer.taken) onDelivered();
    if (entries.length) schedule(0);
  }

  // Exponential, with jitter so that a crowd of browsers does not return all at once.
  function retryDelay(retryAfterMs) {
    pausedUntil = window.Date.now() + retryAfterMs;
    const backoff = Math.min(RETRY_MS_MIN * 2 ** failures++, RETRY_MS_MAX);
    return Math.max(retryAfterMs, 0) + backoff * (0.5 + window.Math.random() / 2);
  }

  async function exchange(batch) {
    const abort = new window.AbortController();
    const deadline = window.setTimeout(() => abort.abort(), ANSWER_MS_MAX);
    let response;
    try {
      response = await window.fetch(url, {
        method: "POST",
        headers: { "Content-Type": "text/plain" }, // so that the browser asks no preflight
        body: bodyOf(batch),
        credentials: "include",
        keepalive: sizeOf(batch) <= BATCH_BYTES_MAX,
        signal: abort.signal,
      });
      return await judge(response);
    } catch (error) {
      return { retry: true, retryAfterMs: 0 };
    } finally {
      window.clearTimeout(deadline);
    }
  }

  // The page goes away, or may: a beacon outlives it, but brings no answer, so the events stay in the
  // queue until a request or the next page confirms them.
  function leave() {
    const batch = firstBatch(entries.slice(flying).filter((entry) => !entry.left));
    if (!batch.length || window.Date.now() < pausedUntil) return;
    batch.forEach((entry) => (entry.left = true));
    const { navigator } = window;
    if (!(navigator.sendBeacon && navigator.sendBeacon(url, bodyOf(batch)))) exchange(batch);
  }

  function bodyOf(batch) {
    const events = batch.map(({ json }) => json).join(",");
    const sentAt = new Date(window.Date.now()).toISOString();
    return `{"batch":[${events}],"sentAt":"${sentAt}","writeKey":${JSON.stringify(writeKey)}}`;
  }

  return { push, restore, leave };
}

// An answer counts as taken only if it is the collector's own: a captive portal also says 200.
async function judge(response) {
  const { status } = response;
  if (response.ok) {
    const { success, rejected = [] } = await response.json();
    if (success) {
      return { taken: true, errorOf: (index) => errorFrom(rejected.find((item) => item.index === index)) };
    }
  }
  if (status >= 400 && status < 500 && !RETRIED.includes(status)) {
    const { error } = await response.json().catch(() => ({}));
    return { errorOf: () => errorFrom(error || { message: "The collector answered " + status + "." }) };
  }
  const seconds = status === 429 || status === 503 ? Number(response.headers.get("Retry-After")) : 0;
  return { retry: true, retryAfterMs: Math.min((seconds || 0) * 1000, RETRY_AFTER_MS_MAX) };
}

function errorFrom(refusal) {
  return refusal && Object.assign(new Error(refusal.message), { code: refusal.code });
}

// At least one entry, however large, or it would block the queue for ever.
function firstBatch(entries) {
  let bytes = 0;
  const end = entries.findIndex((entry, index) => (bytes += entry.bytes + 1) > BATCH_BYTES_MAX && index > 0);
  return end < 0 ? entries.slice() : entries.slice(0, end);
}

function sizeOf(batch) {
  return batch.reduce((sum, { bytes }) => sum + bytes + 1, 0);
}

function bytesOf(text) {
  return new TextEncoder().encode(text).length;
}
