// The public calls.
import { allowed, consentContext, decide } from "./consent.js";
import { describeContext, describePage } from "./context.js";
import { fire, on } from "./emitter.js";
import { anonymousId, forgetUser, user } from "./identity.js";
import { push, refuseAll, startQueue } from "./queue.js";
import { forgetSegments, learnSegments, onSegment, segments, startSegments } from "./segments.js";
import { auto } from "./settings.js";
import { trace } from "./say.js";
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

// The proof of the site's server that this is the user travels with identify() alone.
const build = (type, fields, { proof, ...options } = {}) => ({
  type,
  messageId: uuid(),
  timestamp: iso(),
  userId: get("user"),
  ...fields,
  ...options,
  context: { ...describeContext(), ...(type == "identify" && { proof }), ...options.context },
});

// Before a decision events wait in the queue, in memory, as they are. The promise need not be looked at:
// its rejection is no error of the page.
const emit = (event, callback = Object) => {
  const promise = new Promise((resolve, reject) => {
    const isAllowed = allowed();
    trace("event", event, isAllowed);
    if (isAllowed === false || (!isAllowed && names("q")[WAITING_MAX])) throw refusal;
    push(isAllowed ? stamp(event) : event, (error) => (error ? reject(error) : resolve(event)));
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
  if (decide(categoryPreferences, version) && allowed() != null) {
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
  }
  return Promise.resolve();
};

// The fields of an event from the texts and objects that were given, in Segment's order.
const shapes = {
  page: ([first, second], given) => {
    const names = { category: second && first, name: second || first };
    return { ...names, properties: { ...describePage(), ...names, ...given } };
  },
  track: ([event], properties) => ({ event, properties }),
  // Only the traits given now are sent: repeating older ones would make them look newer than they are.
  // Another user is another visitor, unless the proof, which is about this anonymous id, gives it to them.
  identify: ([userId], traits, proof) => {
    const known = get("user");
    userId && known && userId != known && (proof ? set("traits") : reset());
    userId && set("user", userId);
    set("traits", { ...get("traits"), ...traits });
    return { userId: get("user"), traits };
  },
  group: ([groupId], traits) => ({ groupId, traits }),
  alias: ([userId, previousId = get("user") || anonymousId()]) => ({ userId, previousId }),
};

// (…texts, object?, options?, callback?) as analytics.js takes them: numbers are ids, null before the texts
// is none, and after them it stands in the place of the object.
const call = (type, args) => {
  const texts = [];
  const others = [];
  args.forEach((arg, at) => {
    if (/st|nu/.test(typeof arg)) others[0] || texts.push(arg + "");
    else if (arg ? typeof arg == "object" : others[0] || at > (type == "page") || (arg === null && texts[0])) others.push(arg || {});
  });
  const [given = {}, options = {}] = type == "alias" ? [{}, others.pop()] : others;
  fire(type, ...args);
  return emit(build(type, shapes[type](texts, given, options.proof), options), args.find((arg) => typeof arg == "function"));
};

// What the tag tells by itself, if that is switched on.
export const track = (word, ...args) => auto(word) && call("track", args);
let page;
export const seen = () => page; // in the last view
export const view = (properties, options) => {
  page = properties || describePage();
  auto("page") && call("page", [page, options]);
};

// The page never sees an exception.
export const calls = { reset, consent, segments, onSegment, user, on, ready: attempt };
Object.keys({ ...calls, ...shapes }).forEach((name) => {
  const method = calls[name];
  calls[name] = (...args) => attempt(() => (method ? method(...args) : call(name, args)));
});

export const startTag = () => {
  startStore();
  startSegments();
  allowed() && begin();
};
