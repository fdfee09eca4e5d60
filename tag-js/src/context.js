// Where an event happened: the page, the browser, and the campaign that brought the visitor.
export const VERSION = "0.2.0"; // the same as in package.json; a test compares them

let campaign;
let referrer;

export const describePage = () => ({
  url: location.href,
  path: location.pathname,
  title: document.title,
  referrer: referrer || document.referrer,
  search: location.search,
});

// A single-page application went on: the page before is the referrer now.
export const setReferrer = (url) => (referrer = url);

// utm_source=x&utm_campaign=y&gclid=z becomes {source: "x", name: "y", gclid: "z"}; it stays for as
// long as the page does.
export const describeContext = () => {
  new URLSearchParams(location.search).forEach((value, key) => {
    if (/^utm_|clk?id$/.test(key)) {
      campaign = { ...campaign, [key == "utm_campaign" ? "name" : key.replace("utm_", "")]: value };
    }
  });
  return {
    page: describePage(),
    userAgent: navigator.userAgent,
    locale: navigator.language,
    library: { name: "tributary.js", version: VERSION },
    campaign,
  };
};
