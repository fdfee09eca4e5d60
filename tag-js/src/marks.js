// Clicks on marked elements: <button data-track-event="Signed Up" data-track-plan="gold"> tracks "Signed
// Up" with plan: "gold".
import { auto } from "./settings.js";
import { track } from "./tag.js";
import { listen } from "./util.js";

// What more/clicks.js is to hear of, also while it is still under way.
export const happened = [];

// Clicks within shadow roots are seen by their path; an input called "dataset" hides that of its form.
export const watchMarks = () =>
  listen("click auxclick submit", (event) => {
    const path = event.composedPath();
    if (auto("links") || auto("forms")) happened.push([event, path]);
    if (event.type != "click" || event.button) return;
    const { dataset } = path.find(({ dataset }) => dataset && dataset.trackEvent);
    const properties = {};
    Object.keys(dataset).forEach((key) => key.indexOf("track") || (properties[key.slice(5).toLowerCase()] = dataset[key]));
    track("", properties.event, properties);
  });
