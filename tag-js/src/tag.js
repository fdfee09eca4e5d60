// The public calls.
import { allowed, consentContext, decide, preferences } from "./consent.js";
import { describeContext, describePage } from "./context.js";
import { fire, on } from "./emitter.js";
import { anonymousId, forgetUser, user } from "./identity.js";
import { push, refuseAll, startQueue } from "./queue.js";
import { forgetSegments, learnSegments, onSegment, segments, startSegments } from "./segments.js";
import { auto } from "./settings.js";
import { close, get, names, open, set, startStore } from "./store.js";
import { attempt, iso, uuid } from "./util.js";

const WAITING_MAX = 200;
const refusal = Error("no consent");

// The decision and the anonymous id are added last: before a decision the cookie is not used.
const stamp = (event) => ({
  ...event,
  anonymousId: event.anonymousId || anonymousId(),
  context: { ...event.context, consent: consentContext() },
});

const stampAll = () => names("q").forEach((key) => get(key).anonymousId || set(key, stamp(get(key))));

const begin = () => {
  open();
  stampAll();
  startQueue(learnSegments);
};

const build = (type, fields, options = {}) => ({
  type,
  messageId: uuid(),
  timestamp: iso(),
  userId: get("user"),
  ...fields,
  ...options,
  context: { ...describeContext(), ...options.context },
});

// Before a decision events wait in the queue, in memory, as they are. The promise need not be looked at:
// its rejection is no error of the page.
const emit = (event, callback = Object) => {
  const promise = new Promise((resolve, reject) => {
    if (!allowed() && (preferences() || names("q")[WAITING_MAX])) throw refusal;
    push(allowed() ? stamp(event) : event, (error) => (error ? reject(error) : resolve(event)));
  });
  promise.then(callback, callback);
  return promise;
};

// What waits for a decision belongs to the person who leaves, not to the next one.
const reset = () => {
  stampAll();
  forgetUser();
  forgetSegments();
};

// A changed decision is an event of its own, so that it counts even if the visitor leaves now. After a
// withdrawal that event is the last one, and what was stored is removed.
export const consent = (categoryPreferences, version) => {
  const before = allowed();
  if (!decide(categoryPreferences, version)) return;
  const event = build("track", { event: "Segment Consent Preference Updated", properties: {} });
  if (allowed()) {
    before || begin();
    return emit(event);
  }
  const told = stamp(event);
  refuseAll(refusal);
  forgetSegments();
  close();
  before && push(told);
};

// The fields of an event from the texts and objects that were given, in Segment's order.
const shapes = {
  page: ([first, second], given) => {
    const names = { category: second && first, name: second || first };
    return { ...names, properties: { ...describePage(), ...names, ...given } };
  },
  track: ([event], properties) => ({ event, properties }),
  // Only the traits given now are sent: repeating older ones would make them look newer than they are.
  identify: ([userId], traits) => {
    const known = get("user");
    userId && known && userId != known && reset();
    userId && set("user", userId);
    set("traits", { ...get("traits"), ...traits });
    return { userId: get("user"), traits };
  },
  group: ([groupId], traits) => ({ groupId, traits }),
  alias: ([userId, previousId = get("user") || anonymousId()]) => ({ userId, previousId }),
};

// (…texts, object?, options?, callback?). Numbers are ids; null in the first place is no id.
const call = (type, args) => {
  const texts = args.filter((arg) => /st|nu/.test(typeof arg)).map(String);
  const objects = args.filter((arg) => arg && typeof arg == "object");
  fire(type, ...args);
  return emit(build(type, shapes[type](texts, objects[0] || {}), objects[1]), args.find((arg) => typeof arg == "function"));
};

// What the tag tells by itself, if that is switched on.
export const track = (word, ...args) => auto(word) && call("track", args);
export const view = () => auto("page") && call("page", []);

// The page never sees an exception.
export const calls = { reset, consent, segments, onSegment, user, on, ready: attempt };
for (const name in { ...calls, ...shapes }) {
  const method = calls[name];
  calls[name] = (...args) => attempt(() => (method ? method(...args) : call(name, args)));
}

export const startTag = () => {
  startStore();
  startSegments();
  allowed() && begin();
};
