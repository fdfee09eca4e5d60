// The hub as the tests see it: a daemon with an API.
import { Daemon } from "./daemon.mjs";
import { request } from "./http.mjs";

export class Hub extends Daemon {
  constructor(options) {
    super(options);
    this.token = options.token;
  }

  /* Any request of the API; answers {status, headers, body, text}. */
  api(method, path, body) {
    return request(this.url + path, { method, body, headers: { authorization: `Bearer ${this.token}` } });
  }

  /* What a request gives that must succeed. */
  async get(path) {
    const answer = await this.api("GET", path);
    if (answer.status !== 200) throw new Error(`GET ${path}: ${answer.status} ${answer.text}`);
    return answer.body;
  }

  async put(path, body) {
    const answer = await this.api("PUT", path, body);
    if (answer.status < 200 || answer.status > 299) {
      throw new Error(`PUT ${path}: ${answer.status} ${answer.text}`);
    }
    return answer.body;
  }

  /* Everything a paged listing has, page by page, under `key`. */
  async all(path, key, limit = 500) {
    const found = [];
    let cursor;
    do {
      const query = new URLSearchParams({ limit, ...(cursor && { cursor }) });
      const page = await this.get(`${path}?${query}`);
      found.push(...page[key]);
      cursor = page.next;
    } while (cursor);
    return found;
  }

  /* The profile that owns an identifier, or undefined. */
  async profile(type, value) {
    const answer = await this.api("GET", `/v1/profiles?${new URLSearchParams({ [type]: value })}`);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw new Error(`profile of ${type}: ${answer.status} ${answer.text}`);
    return answer.body;
  }

  /* A profile's timeline, newest first, all pages. */
  async timeline(id) {
    const found = [];
    let before;
    do {
      const query = new URLSearchParams({ limit: 100, ...(before && { before }) });
      const page = await this.get(`/v1/profiles/${id}/events?${query}`);
      found.push(...page.events);
      before = page.next;
    } while (before);
    return found;
  }

  profiles() {
    return this.all("/v1/stats/profiles", "profiles");
  }

  async members(key) {
    const members = await this.all(`/v1/segments/${key}/members`, "members");
    return members.map(({ profileId }) => profileId);
  }

  overview() {
    return this.get("/v1/stats/overview");
  }
}
