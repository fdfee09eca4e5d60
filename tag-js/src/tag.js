// The public calls. Everything outside is reached through `window`, so that tests can hand in a small fake.
import { createConsent } from "./consent.js";
import { describePage, VERSION } from "./context.js";
import { createIdentity } from "./identity.js";
import { createQueue } from "./queue.js";
import { createSegments } from "./segments.js";
import { createStore } from "./store.js";
import { uuid } from "./uuid.js";

export function createTag(window, { host, writeKey, requireConsent }) {
  const store = createStore(window);
  const consent = createConsent(window, requireConsent);
  const identity = createIdentity(window, store);
  const segments = createSegments(window, { url: host + "/v1/me", store, identity, consent });
  const queue = createQueue(window, {
    url: host + "/v1/b",
    writeKey,
    store,
    onDelivered: segments.watch,
  });
  let waiting = []; // events made before the visitor decided: {event, resolve}

  function begin() {
    store.open();
    queue.restore();
    segments.ask();
    release(send);
  }

  function release(settle) {
    waiting.splice(0).forEach(({ event, resolve }) => resolve(settle(event)));
  }

  // The decision and the anonymous id are added last: before a decision the cookie is not used.
  function send(event) {
    event.anonymousId = event.anonymousId || identity.anonymousId();
    event.context.consent = consent.context();
    return queue.push(event);
  }

  function refuse() {
    return Promise.reject(new Error("The visitor has not given consent."));
  }

  function build(type, fields) {
    return {
      type,
      messageId: uuid(window),
      timestamp: new Date(window.Date.now()).toISOString(),
      userId: identity.userId(),
      ...fields,
      context: describePage(window),
    };
  }

  function emit(type, fields) {
    const event = build(type, fields);
    if (consent.allowed()) return send(event);
    if (consent.decided()) return refuse();
    return new Promise((resolve) => waiting.push({ event: copy(event), resolve }));
  }

  // What waits for a decision belongs to the person who leaves, not to the next one.
  function reset() {
    waiting.forEach(({ event }) => (event.anonymousId = event.anonymousId || identity.anonymousId()));
    identity.reset();
    segments.forget();
  }

  const calls = {
    page(...args) {
      const names = args.filter((arg) => typeof arg === "string");
      const name = names.pop();
      const category = names.pop();
      const properties = args.find(isObject);
      const { page } = describePage(window);
      return emit("page", { name, category, properties: { ...page, name, category, ...properties } });
    },

    track(event, properties = {}) {
      return emit("track", { event, properties });
    },

    // Only the traits given now are sent: repeating older ones would make them look newer than they are.
    identify(userId, traits) {
      if (isObject(userId)) [userId, traits] = [undefined, userId];
      const known = identity.userId();
      if (userId && known && String(userId) !== known) reset();
      identity.learn(userId, traits);
      return emit("identify", { userId: identity.userId(), traits: traits || {} });
    },

    group(groupId, traits = {}) {
      return emit("group", { groupId, traits });
    },

    alias(userId, previousId = identity.userId() || identity.anonymousId()) {
      return emit("alias", { userId, previousId });
    },

    reset,

    // A changed decision is an event of its own, so that it counts even if the visitor leaves now.
    // After a withdrawal that event is the last one, and what was stored is removed.
    consent(preferences) {
      const before = consent.allowed();
      if (!consent.decide(preferences)) return Promise.resolve();
      const after = consent.allowed();
      if (after && !before) begin();
      if (!after) release(refuse);
      if (!after && !before) return Promise.resolve();

      const told = send(build("track", { event: "Segment Consent Preference Updated", properties: {} }));
      if (!after) {
        segments.forget();
        store.close();
      }
      return told;
    },

    segments: segments.subscribe,
    user: identity.user,
  };

  window.addEventListener("pagehide", queue.leave);
  window.document.addEventListener("visibilitychange", () => {
    if (window.document.visibilityState === "hidden") queue.leave();
  });
  if (consent.allowed()) begin();

  const tag = { version: VERSION };
  for (const name of Object.keys(calls)) tag[name] = quietly(calls[name]);
  return tag;
}

// The page never sees an exception, nor an unhandled rejection from a promise it did not look at.
function quietly(method) {
  return (...args) => {
    let result;
    try {
      result = method(...args);
    } catch (error) {
      result = Promise.reject(error);
    }
    if (result instanceof Promise) result.catch(() => {});
    return result;
  };
}

function isObject(value) {
  return value !== null && typeof value === "object";
}

function copy(value) {
  return JSON.parse(JSON.stringify(value));
}
