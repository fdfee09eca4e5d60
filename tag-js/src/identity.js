// Who the visitor is: the anonymous id, and what identify() has told.
import { uuid } from "./uuid.js";

export function createIdentity(window, store) {
  // The collector sets this cookie; unlike script's own storage, browsers let it live for a year.
  function cookie() {
    try {
      return (/(?:^|; )trb_aid=([^;]+)/.exec(window.document.cookie) || [])[1];
    } catch (error) {
      return undefined; // a sandboxed frame
    }
  }

  const identity = {
    // The cookie wins, unless it is still the one that reset() left behind.
    anonymousId() {
      const given = store.isOpen() && cookie();
      const kept = store.get("aid");
      const id = given && given !== store.get("left") ? given : kept || uuid(window);
      if (id !== kept) store.set("aid", id);
      return id;
    },

    userId: () => store.get("user"),

    traits: () => store.getJson("traits") || {},

    learn(userId, traits) {
      if (userId) store.set("user", String(userId));
      if (traits) store.setJson("traits", { ...identity.traits(), ...traits });
    },

    user: () => ({
      anonymousId: identity.anonymousId(),
      userId: identity.userId(),
      traits: identity.traits(),
    }),

    reset() {
      store.set("left", cookie() || "");
      store.remove("user");
      store.remove("traits");
      store.set("aid", uuid(window));
    },
  };
  return identity;
}
