// Reads decisions from consent managers: IAB TCF, and Google Consent Mode in the dataLayer.
import { core } from "./core.js";

// The purposes of the framework that a category stands for.
export const readTcf = () =>
  __tcfapi("addEventListener", 2, (data, success) => {
    const granted = (id) => data.gdprApplies == 0 || !!(data.purpose.consents[1] && data.purpose.consents[id]);
    if (success && data.eventStatus != "cmpuishown") {
      core.consent({ analytics: granted(8), marketing: granted(4) }, data.tcfPolicyVersion);
    }
  });

const CATEGORIES = { analytics: "analytics_storage", marketing: "ad_storage" };
const byDefault = {}; // by category: granted where no region says otherwise?
const isDeniedSomewhere = {}; // by category
let timer;

// {analytics_storage: "granted"}, of "default" or "update", decides about what it names and nothing else.
//
// A default that denies is not the visitor's decision: until the update there is none. One that grants is,
// unless there is another for some regions that denies: where the visitor is, is not known here.
export const readConsentMode = (command, choice) => {
  const decision = {};
  Object.keys(CATEGORIES).forEach((category) => {
    const value = choice[CATEGORIES[category]];
    if (!value) return;
    const isGranted = value == "granted";
    if (command == "update") decision[category] = isGranted;
    else if (!choice.region) byDefault[category] = isGranted;
    else if (!isGranted) isDeniedSomewhere[category] = true;
  });
  if (command == "update") decide(decision);
  else {
    // The defaults come one after the other, and may ask to wait for an update.
    clearTimeout(timer);
    timer = setTimeout(decideByDefault, choice.wait_for_update || 0);
  }
};

const decideByDefault = () => {
  const isGranted = (category) => byDefault[category] && !isDeniedSomewhere[category];
  if (isGranted("analytics") && core.preferences().analytics == null) {
    decide({ analytics: true, ...(isGranted("marketing") && { marketing: true }) });
  }
};

// Who grants analytics and has said nothing about marketing has not granted that.
const decide = (decision) => {
  if (decision.analytics && core.preferences().marketing == null) decision = { marketing: false, ...decision };
  core.consent(decision);
};
