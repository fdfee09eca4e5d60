// The visitor's decision: kept with its time, and sent with every event.
//
// Keeping it is strictly necessary, so it has a store of its own that is open from the start.
import { createStore } from "./store.js";

export function createConsent(window, required) {
  const store = createStore(window);
  store.open();
  const preferences = () => (store.getJson("consent") || {}).preferences;

  return {
    decided: () => Boolean(preferences()),

    // May anything be stored or sent? Without data-require-consent always: then the collector decides.
    allowed() {
      const decision = preferences() || {};
      return !required || Object.keys(decision).some((category) => decision[category]);
    },

    // Says whether this changed anything: consent managers repeat the decision on every page.
    decide(decision) {
      const changed = JSON.stringify(decision) !== JSON.stringify(preferences());
      if (changed) {
        const at = new Date(window.Date.now()).toISOString();
        store.setJson("consent", { preferences: decision, at });
      }
      return changed;
    },

    context() {
      const gpc = window.navigator.globalPrivacyControl || undefined;
      const categoryPreferences = preferences();
      return gpc || categoryPreferences ? { categoryPreferences, gpc } : undefined;
    },
  };
}
