// The visitor's segments, as the collector answers them; asked only while somebody listens.

// When to ask after a delivery. An event may move more than one segment, one after the other, so a
// first change does not end the schedule.
const CHECKS_MS = [30, 60, 120, 250, 500, 1000];

export function createSegments(window, { url, store, identity, consent }) {
  const listeners = new Set();
  let known = null; // {anonymousId, segments}
  let asked = 0;
  let answered = 0;
  let watching = 0;

  function recall() {
    const kept = known || store.getJson("segments");
    if (kept && kept.anonymousId === identity.anonymousId()) known = kept;
    return known;
  }

  function tell(listener) {
    try {
      listener(known.segments.slice());
    } catch (error) {
      window.console.error(error); // the page's mistake must not stop the other listeners
    }
  }

  function learn(next) {
    const before = known;
    known = next;
    if (String(before && before.segments) !== String(known.segments)) listeners.forEach(tell);
  }

  // An answer that a later one has overtaken, or that is about somebody else, says nothing.
  async function ask() {
    if (!listeners.size || !consent.allowed()) return;
    const anonymousId = identity.anonymousId();
    const turn = ++asked;
    try {
      const address = url + "?anonymousId=" + encodeURIComponent(anonymousId);
      const response = await window.fetch(address, { credentials: "include", cache: "no-store" });
      const answer = await response.json();
      const current = answer.anonymousId === anonymousId && anonymousId === identity.anonymousId();
      if (!response.ok || !current || turn < answered) return;
      answered = turn;
      learn({ anonymousId, segments: answer.segments });
      store.setJson("segments", known);
    } catch (error) {
      // Whatever was known stays; the next delivery asks again.
    }
  }

  // After a delivery: look often at first, so that the page changes while the visitor still looks.
  // A slow answer skips the checks it took the time of; a newer delivery starts the schedule anew.
  function watch() {
    const start = window.Date.now();
    const turn = ++watching;
    (function next(done) {
      const due = CHECKS_MS.find((ms) => ms > done);
      if (!due || !listeners.size) return;
      window.setTimeout(async () => {
        if (turn !== watching) return;
        await ask();
        next(Math.max(due, window.Date.now() - start));
      }, start + due - window.Date.now());
    })(0);
  }

  function subscribe(listener) {
    const own = (segments) => listener(segments); // so that the same function may subscribe twice
    listeners.add(own);
    if (recall()) tell(own);
    if (listeners.size === 1) ask();
    return () => listeners.delete(own);
  }

  function forget() {
    answered = ++asked; // answers on their way are about the person before
    if (known) learn({ segments: [] });
    known = null;
    store.remove("segments");
  }

  return { subscribe, ask, watch, forget };
}
