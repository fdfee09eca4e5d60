// Debian's Chromium, driven by playwright-core, kept to the loopback interface.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const PROGRAM = "/usr/bin/chromium";
/* That of a person: without a window Chromium names itself HeadlessChrome, which the gate refuses. */
const USER_AGENT =
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";

export const CHROMIUM_LAUNCH = {
  executablePath: PROGRAM,
  args: [
    "--no-sandbox",
    `--user-agent=${USER_AGENT}`,
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE *.localhost",
  ],
};

/* Open a page in a fresh browser, which is closed at the end of the test. Undefined, and the test
 * skipped, where there is no Chromium. `options`: those of Playwright for a page; `launch`: for a browser. */
export async function openBrowser(t, options = {}, launch = {}) {
  if (!existsSync(PROGRAM)) {
    t.skip(`${PROGRAM} is not there`);
    return undefined;
  }
  const browser = await chromium.launch({ ...CHROMIUM_LAUNCH, ...launch });
  t.after(() => browser.close());
  const page = await browser.newPage(options);
  page.setDefaultTimeout(10_000);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") page.complaints.push(`${message.text()} ${message.location().url}`);
  });
  return page;
}
