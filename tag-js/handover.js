// Loads the tag on a site whose visitors come from, or go to, other sites of the same hub, and keeps
// their anonymous id: links to the sites of data-link carry a token, for which the collector there
// gives the id before the tag starts. Attributes are the tag's; data-host is needed.
(function () {
  const own = document.currentScript;
  const { host, link = "", auto = "page", requireConsent } = own.dataset;
  const MARK = /\?trb_link=[\w-]*$|trb_link=[\w-]*&?/;
  const ADOPT_MS_MAX = 3000; // then the tag starts with the id that is there

  const read = (name) => {
    try {
      return JSON.parse(localStorage["trb_" + name]);
    } catch (error) {
      return undefined;
    }
  };

  // May anything be kept of the visitor? As the tag decides it, by the decision that is stored.
  const mayKeep = () => {
    const granted = (read("consent") || {}).categoryPreferences;
    const isGranted = granted ? granted[requireConsent || "analytics"] : requireConsent == null;
    return isGranted && !auto.includes("anonymous");
  };

  const ask = async (query) => (await fetch(host + "/v1/link?" + query, { credentials: "include" })).json();

  // Whoever is signed in here stays who they are.
  const adopt = (token) =>
    ask("token=" + token).then(({ anonymousId }) => {
      if (anonymousId && mayKeep() && !isStarted) localStorage.trb_aid = JSON.stringify(anonymousId);
    });

  // A page with Trusted Types lets this file name the script by its policy "tributary", and no other.
  const address = () => {
    const createScriptURL = () => host + "/t.js";
    try {
      return trustedTypes.createPolicy("tributary", { createScriptURL }).createScriptURL("");
    } catch (error) {
      return createScriptURL();
    }
  };

  let isStarted = false;
  const start = () => {
    if (isStarted) return;
    isStarted = true;
    const tag = document.createElement("script");
    tag.async = true;
    tag.nonce = own.nonce;
    Object.assign(tag.dataset, own.dataset);
    tag.src = address();
    document.head.appendChild(tag);
  };

  // A token is fetched when the visitor is about to follow the link, and lives for two minutes.
  const decorate = ({ target }) => {
    const to = target.closest && target.closest("a[href]");
    const tag = window.tributary;
    if (!to || !link.split(",").includes(to.hostname) || !mayKeep() || !tag || !tag.user) return;
    ask("").then(
      ({ token }) => {
        const rest = to.search.replace(MARK, "").replace("?", "&");
        if (token && mayKeep()) to.search = "trb_link=" + token + rest;
      },
      () => {},
    );
  };
  for (const name of ["pointerover", "focusin", "pointerdown"]) addEventListener(name, decorate, true);

  const token = new URLSearchParams(location.search).get("trb_link");
  if (token !== null) history.replaceState(history.state, "", location.href.replace(MARK, ""));
  if (token && mayKeep() && !read("user")) {
    adopt(token).then(start, start);
    setTimeout(start, ADOPT_MS_MAX);
  } else {
    start();
  }
})();
