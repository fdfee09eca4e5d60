// A collector as the tests see it: a daemon that takes events and answers about visitors.
import { readFileSync } from "node:fs";
import { Daemon } from "./daemon.mjs";
import { request } from "./http.mjs";
import { waitUntil } from "./wait.mjs";

export class Collector extends Daemon {
  constructor(options) {
    super(options);
    Object.assign(this, {
      enrolment: options.enrolment,
      dataDir: options.dataDir,
      writeKey: options.writeKey,
    });
  }

  /* The secret that opens /v1/customers, as written in the enrolment file. */
  get customerToken() {
    const line = /^\s*customer_token\s*=\s*(\S+)/m.exec(readFileSync(this.enrolment, "utf8"));
    return line?.[1];
  }

  /* Post a body with a write key (null for none); answers {status, headers, body, text}. */
  post(path, body, { writeKey = this.writeKey, headers = {} } = {}) {
    const key =
      writeKey === null ? {} : { authorization: `Basic ${Buffer.from(`${writeKey}:`).toString("base64")}` };
    return request(this.url + path, { method: "POST", body, headers: { ...key, ...headers } });
  }

  /* Any request, a GET where nothing else is said; answers likewise. */
  get(path, options) {
    return request(this.url + path, options);
  }

  /* Send events in one batch, which must be taken whole. */
  async send(events, options) {
    const answer = await this.post("/v1/batch", { batch: events }, options);
    if (answer.status !== 200 || answer.body?.rejected?.length) {
      throw new Error(`batch of ${events.length}: ${answer.status} ${answer.text}`);
    }
    return answer;
  }

  /* Send as a careful client does: again and again until there is a 200, through crashes and restarts. */
  async sendPatiently(events, { timeout = 60_000, ...options } = {}) {
    return waitUntil(
      async () => {
        const answer = await this.post("/v1/batch", { batch: events }, options);
        if (answer.status !== 200) throw new Error(`batch: ${answer.status} ${answer.text}`);
        return answer;
      },
      { timeout, what: `${this.name} to take a batch of ${events.length}` },
    );
  }

  /* What the page of this visitor would be told: its browser sends the cookie. */
  async me(anonymousId, headers = { cookie: `trb_aid=${anonymousId}` }) {
    const answer = await request(`${this.url}/v1/me?${new URLSearchParams({ anonymousId })}`, { headers });
    if (answer.status !== 200) throw new Error(`/v1/me: ${answer.status} ${answer.text}`);
    return answer.body;
  }

  /* What the till would be told; {status, body}. */
  customer(type, value, token = this.customerToken) {
    return request(`${this.url}/v1/customers?${new URLSearchParams({ [type]: value })}`, {
      headers: token ? { authorization: `Bearer ${token}` } : {},
    });
  }
}
