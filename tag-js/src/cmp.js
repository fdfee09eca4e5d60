// Reads decisions from consent managers: IAB TCF, and Google Consent Mode in the dataLayer.
import { consent } from "./tag.js";

// The purposes of the framework that a category stands for.
export const readTcf = () =>
  __tcfapi("addEventListener", 2, (data, success) => {
    const granted = (id) => data.gdprApplies == 0 || (data.purpose.consents[1] && data.purpose.consents[id]);
    success && data.eventStatus != "cmpuishown" && consent({ analytics: granted(8), marketing: granted(4) }, data.tcfPolicyVersion);
  });

let state = {};

// {analytics_storage: "granted"}, of "default" or "update". A default that denies is not the visitor's
// decision: until the update there is none. What holds for a region only says nothing here.
export const readConsentMode = (command, choice) => {
  state = { ...state, ...choice };
  const analytics = state.analytics_storage == "granted";
  if (analytics || command == "update") consent({ analytics, marketing: state.ad_storage == "granted" });
};
