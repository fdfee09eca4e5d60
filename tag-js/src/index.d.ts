// Types of the npm package.

/** What the tag captures by itself, and where it reads the visitor's decision. */
export type Auto =
  | "page" | "spa" | "links" | "forms" | "engagement" | "datalayer" | "gcm" | "tcf" | "live" | "anonymous";

export interface Options {
  /** The source's write key. */
  writeKey: string;
  /** The collector's base address, as https://data.shop.example. */
  host: string;
  /** By default ["page"]. */
  auto?: Auto[] | string;
  /** Nothing is stored or sent before a decision; the text names the category that must be granted. */
  requireConsent?: boolean | string;
  /** The style sheet that shows and hides elements with data-segment. */
  sheet?: CSSStyleSheet;
}

export type Properties = Record<string, unknown>;
export type Callback = (result: Event | Error) => void;
export interface EventOptions {
  timestamp?: string;
  anonymousId?: string;
  context?: Record<string, unknown>;
  integrations?: Record<string, unknown>;
}
export interface IdentifyOptions extends EventOptions {
  /** A compact JWT of the site's server that says who this visitor is. */
  proof?: string;
}
export interface Event {
  type: "page" | "track" | "identify" | "group" | "alias";
  messageId: string;
  timestamp: string;
  [field: string]: unknown;
}
export interface User {
  anonymousId: string;
  userId?: string;
  traits: Properties;
}
export type Preferences = Record<string, boolean | undefined>;

/** The promises resolve when the collector has the event on its disk, and reject where it is refused. */
export interface Tag {
  page(callback?: Callback): Promise<Event>;
  page(name: string, properties?: Properties | null, options?: EventOptions, callback?: Callback): Promise<Event>;
  page(category: string, name: string, properties?: Properties | null, options?: EventOptions, callback?: Callback): Promise<Event>;
  page(properties: Properties, options?: EventOptions, callback?: Callback): Promise<Event>;
  track(event: string, properties?: Properties | null, options?: EventOptions, callback?: Callback): Promise<Event>;
  track(event: string, callback: Callback): Promise<Event>;
  identify(userId: string | number | null, traits?: Properties | null, options?: IdentifyOptions, callback?: Callback): Promise<Event>;
  identify(traits: Properties, options?: IdentifyOptions, callback?: Callback): Promise<Event>;
  group(groupId: string | number, traits?: Properties | null, options?: EventOptions, callback?: Callback): Promise<Event>;
  alias(userId: string | number, previousId?: string | number | null, options?: EventOptions, callback?: Callback): Promise<Event>;
  /** Forget the user, as after a sign-out, and begin a new visitor. */
  reset(): void;
  ready(callback: () => void): void;
  /** Called after each call of that name with its arguments; gives a function that ends it. */
  on(name: Event["type"] | "segments", callback: (...args: any[]) => void): () => void;
  /** The visitor's decision about the categories that it names; only true grants. A withdrawal removes what is stored and tells the collector. */
  consent(preferences: Preferences): Promise<Event | undefined>;
  /** Called with the segments that are known, and how old that is in milliseconds, and at each change. */
  segments(callback: (keys: string[], ageMs: number) => void): () => void;
  onSegment(key: string, enter: () => void, leave?: () => void): () => void;
  user(): User;
}

/**
 * Start the tag, once for the page; a second call gives the first tag. Where there is no page, as on a server, the calls do
 * nothing.
 */
export function load(options: Options): Tag;
