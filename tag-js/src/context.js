// Where an event happened: the page, the browser, and the campaign that brought the visitor.
export const VERSION = "0.2.0"; // the same as in package.json; a test compares them

// Longer addresses and titles are cut, or events would grow past what a collector takes.
const cut = (text) => (text + "").slice(0, 2e3);

let campaign;
let referrer;

export const describePage = () => ({
  url: cut(location.href),
  path: cut(location.pathname),
  title: cut(document.title),
  referrer: cut(referrer || document.referrer),
  search: cut(location.search),
});

// A single-page application went on: the page before is the referrer now.
export const setReferrer = (url) => (referrer = url);

// utm_source=x&utm_campaign=y&gclid=z becomes {source: "x", name: "y", gclid: "z"}; it stays for as
// long as the page does.
export const describeContext = () => {
  new URLSearchParams(location.search).forEach((value, key) => {
    if (/^utm_|clk?id$/.test(key)) {
      campaign = { ...campaign, [key == "utm_campaign" ? "name" : key.replace("utm_", "")]: cut(value) };
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
