// One way to drive a tab of Chromium, Firefox and WebKit, for scenarios that run in all three. Each is Debian's
// own: Firefox by WebDriver BiDi (puppeteer-core), WebKitGTK by its WebDriver.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import puppeteer from "puppeteer-core";
import { CHROMIUM_LAUNCH } from "./browser.mjs";
import { freePorts } from "./ports.mjs";
import { waitUntil } from "./wait.mjs";

const PROGRAMS = {
  chromium: ["/usr/bin/chromium"],
  firefox: ["/usr/bin/firefox-esr"],
  webkit: ["/usr/bin/WebKitWebDriver", "/usr/bin/Xvfb"],
};
const MINI_BROWSER = `/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu/webkit2gtk-4.1/MiniBrowser`;

export const ENGINES = Object.keys(PROGRAMS);

/* A tab: what the scenarios do with it is the same for all. `own` is the driver's: goto, evaluate(function,
 * argument), goBack, close. */
class Tab {
  constructor(browser, own) {
    Object.assign(this, { browser, own });
  }

  goto(url) {
    return this.own.goto(url);
  }

  evaluate(run, argument) {
    return this.own.evaluate(run, argument);
  }

  /* Wait until `run` says so in the page; while that is being changed it does not. */
  waitForFunction(run, argument) {
    // Not everything that is true can be carried out of a page.
    const isSo = new Function("argument", `return (async () => Boolean(await (${run})(argument)))()`);
    return waitUntil(() => this.evaluate(isSo, argument).catch(() => false), { what: `the page: ${run}`, timeout: 20_000 });
  }

  /* A click as a script makes it: the drivers' own differ too much. */
  click(selector) {
    return this.evaluate((wanted) => document.querySelector(wanted).click(), selector);
  }

  goBack() {
    return this.own.goBack();
  }

  newTab() {
    return this.browser.newTab();
  }

  close() {
    return this.own.close();
  }
}

/* Open a tab in a fresh browser, which is closed at the end of the test. Undefined, and the test skipped, where the
 * browser is not there. */
export async function openEngine(t, name) {
  const missing = PROGRAMS[name].find((program) => !existsSync(program));
  if (missing) {
    t.skip(`${missing} is not there`);
    return undefined;
  }
  return (await { chromium: openChromium, firefox: openFirefox, webkit: openWebKit }[name](t)).newTab();
}

async function openChromium(t) {
  // Playwright switches the back-forward cache off.
  const browser = await chromium.launch({ ...CHROMIUM_LAUNCH, ignoreDefaultArgs: ["--disable-back-forward-cache"] });
  t.after(() => browser.close());
  const context = await browser.newContext();
  return {
    async newTab() {
      const page = await context.newPage();
      return new Tab(this, {
        goto: (url) => page.goto(url),
        evaluate: (run, argument) => page.evaluate(run, argument),
        // A page out of the cache has no end of its loading that Playwright would see.
        goBack: () => page.evaluate(() => history.back()),
        close: () => page.close(),
      });
    },
  };
}

async function openFirefox(t) {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: PROGRAMS.firefox[0],
    headless: true,
    // Nothing but the loopback interface is reached.
    extraPrefsFirefox: {
      "network.proxy.type": 1,
      "network.proxy.http": "127.0.0.1",
      "network.proxy.http_port": 9,
      "network.proxy.ssl": "127.0.0.1",
      "network.proxy.ssl_port": 9,
    },
  });
  t.after(() => browser.close());
  return {
    async newTab() {
      const page = await browser.newPage();
      return new Tab(this, {
        goto: (url) => page.goto(url),
        evaluate: (run, argument) => page.evaluate(run, argument),
        goBack: () => page.evaluate(() => history.back()),
        close: () => page.close(),
      });
    },
  };
}

/* A process that is ended with the test; `ready` is given each piece of its output until it says so. */
async function start(t, program, args, options, ready) {
  const child = spawn(program, args, options);
  t.after(() => child.kill("SIGKILL"));
  let output = "";
  for (const stream of child.stdio.filter((one) => one?.readable)) stream.on("data", (text) => (output += text));
  await waitUntil(() => ready(output), { what: `${program} to be ready: ${output}` });
  return output;
}

// The W3C's WebDriver over HTTP, as far as tabs need it.
async function openWebKit(t) {
  const [port] = await freePorts(1);
  const display = await start(t, "/usr/bin/Xvfb", ["-displayfd", "3", "-nolisten", "tcp"], { stdio: ["ignore", "ignore", "ignore", "pipe"] }, (text) => text.includes("\n"));
  const env = { ...process.env, DISPLAY: `:${display.trim()}`, GDK_BACKEND: "x11", WEBKIT_DISABLE_COMPOSITING_MODE: "1", NO_AT_BRIDGE: "1" };
  const url = `http://127.0.0.1:${port}`;
  const isUp = () => fetch(`${url}/status`).then(({ ok }) => ok, () => false);
  await start(t, PROGRAMS.webkit[0], [`--port=${port}`, "--host=127.0.0.1"], { env, stdio: ["ignore", "pipe", "pipe"] }, isUp);
  const ask = async (method, path, body) => {
    const answer = await fetch(url + path, { method, body: body && JSON.stringify(body) });
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`WebDriver ${path}: ${value.error}: ${value.message}`);
    return value;
  };
  const options = { binary: MINI_BROWSER, args: ["--automation"] };
  const { sessionId } = await ask("POST", "/session", { capabilities: { alwaysMatch: { "webkitgtk:browserOptions": options } } });
  const session = (method, path, body) => ask(method, `/session/${sessionId}${path}`, body);
  t.after(() => ask("DELETE", `/session/${sessionId}`).catch(() => {}));
  await session("POST", "/timeouts", { script: 30_000, pageLoad: 30_000 });

  // One command at a time, each in its tab.
  let last = Promise.resolve();
  const inTab = (handle, run) => (last = last.catch(() => {}).then(async () => {
    await session("POST", "/window", { handle });
    return run();
  }));
  let first = true;
  return {
    async newTab() {
      const handle = first ? await session("GET", "/window") : (await session("POST", "/window/new", { type: "tab" })).handle;
      first = false;
      const evaluate = (run, argument = null) => {
        const script = `const done = arguments[arguments.length - 1];
          (async () => (${run})(arguments[0]))().then((value) => done({ value }), (error) => done({ error: String(error) }));`;
        return inTab(handle, async () => {
          const { value, error } = await session("POST", "/execute/async", { script, args: [argument] });
          if (error) throw new Error(error);
          return value ?? undefined;
        });
      };
      return new Tab(this, {
        goto: (to) => inTab(handle, () => session("POST", "/url", { url: to })),
        evaluate,
        goBack: () => inTab(handle, () => session("POST", "/back", {})),
        close: () => inTab(handle, () => session("DELETE", "/window")),
      });
    },
  };
}
