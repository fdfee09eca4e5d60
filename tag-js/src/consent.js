// The visitor's decision: kept with its time, and sent with every event.
import { settings } from "./settings.js";
import { get, set } from "./store.js";
import { iso } from "./util.js";

// {categoryPreferences, at, version, gpc}
export const consentContext = () => ({
  ...get("consent"),
  gpc: navigator.globalPrivacyControl,
});

// Global Privacy Control denies marketing, whatever was decided.
export const preferences = () => (get("consent") || {}).categoryPreferences;

// May anything be stored or sent? Not before a decision where one is required, and not against it.
export const allowed = () => {
  const granted = preferences();
  const category = settings.requireConsent;
  return granted ? granted[category || "analytics"] : category == null;
};

// Says whether this changed anything: consent managers repeat the decision on every page.
export const decide = (categoryPreferences, version) => {
  const granted = { ...categoryPreferences, ...(navigator.globalPrivacyControl && { marketing: false }) };
  if (JSON.stringify(granted) == JSON.stringify(preferences())) return;
  set("consent", { categoryPreferences: granted, at: iso(), version });
  return 1;
};
