// The visitor's decision: kept with its time, and sent with every event.
import { say } from "./say.js";
import { settings } from "./settings.js";
import { get, set } from "./store.js";
import { iso } from "./util.js";

// {categoryPreferences, at, version, gpc}
export const consentContext = () => ({
  ...get("consent"),
  gpc: navigator.globalPrivacyControl,
});

export const preferences = () => (get("consent") || {}).categoryPreferences || {};

// May anything be stored or sent? true, false, or nothing while that was not decided where it must be.
export const allowed = () => {
  const { requireConsent, writeKey } = settings;
  const granted = preferences()[requireConsent || "analytics"];
  return !!writeKey && (granted == null ? requireConsent == null || undefined : granted === true);
};

// Take up what a decision says about categories; what it is silent about stays as it was. Only true
// grants, and Global Privacy Control denies marketing, whatever was decided. Says whether this changed
// anything: consent managers repeat the decision on every page.
export const decide = (given, version) => {
  const before = preferences();
  const granted = { ...before };
  Object.keys((typeof given == "object" && given) || {}).forEach((name) => {
    const value = given[name];
    if (value == null) return;
    granted[name] = value === true;
    if (typeof value != "boolean") say("consent", [name, value]);
  });
  if (navigator.globalPrivacyControl) granted.marketing = false;
  if (JSON.stringify(granted) == JSON.stringify(before)) return;
  set("consent", { categoryPreferences: granted, at: iso(), version });
  return 1;
};
