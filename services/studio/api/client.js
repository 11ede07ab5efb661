// The public HTTP API, one method a call. Nothing else in the studio knows a path.
/** @typedef {import("./types.js").Video} Video */
/** @typedef {import("./types.js").VideoList} VideoList */
/** @typedef {import("./types.js").ModelCard} ModelCard */
/** @typedef {import("./types.js").Character} Character */
/** @typedef {import("./types.js").ServiceStatus} ServiceStatus */
/** @typedef {import("./types.js").FootageTotals} FootageTotals */
/** @typedef {import("./types.js").FootageClipList} FootageClipList */
/** @typedef {import("./types.js").TrainingRunDetails} TrainingRunDetails */

/** What the server says when it refuses, or that it can't be reached (status 0). */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {{ message?: string, code?: string | null, param?: string | null }} detail
   * @param {number | null} retryAfterS
   */
  constructor(status, detail, retryAfterS = null) {
    super(detail.message || `HTTP ${status}`);
    this.status = status;
    this.code = detail.code ?? null;
    this.param = detail.param ?? null;
    this.retryAfterS = retryAfterS;
  }

  get unreachable() {
    return this.status === 0;
  }
}

const RETRIES = 3;

export class Client {
  /**
   * @param {string} base such as https://host/v1
   * @param {string} key
   */
  constructor(base, key) {
    this.base = base.replace(/\/+$/, "");
    this.key = key;
  }

  /** @param {string} path @returns {string} */
  url(path) {
    return new URL(path.startsWith("/v1/") ? path : this.base + path, this.base).href;
  }

  /**
   * One request; ApiError when it fails.
   * @param {string} method
   * @param {string} path
   * @param {{ query?: Record<string, any>, values?: Record<string, any>, once?: string, signal?: AbortSignal }} [options]
   * @returns {Promise<Response>}
   */
  async send(method, path, { query = {}, values, once, signal } = {}) {
    const url = new URL(this.url(path));
    for (const [name, value] of Object.entries(query)) if (value != null) url.searchParams.set(name, String(value));
    /** @type {Record<string, string>} */
    const headers = { authorization: `Bearer ${this.key}` };
    const body = values && encoded(values, headers);
    if (once) headers["idempotency-key"] = once;
    let response;
    try {
      response = await fetch(url, { method, headers, body, signal, credentials: "omit", cache: "no-store" });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError(0, { message: String(error), code: "unreachable" });
    }
    if (response.ok) return response;
    throw await refusal(response);
  }

  /** @param {string} method @param {string} path @param {object} [options] @returns {Promise<any>} */
  async json(method, path, options) {
    return (await this.send(method, path, options)).json();
  }

  /**
   * Make something exactly once: repeated under one key while the network is away, or the server for a moment.
   * @param {string} path @param {Record<string, any>} values
   * @returns {Promise<Video>}
   */
  async make(path, values) {
    const once = crypto.randomUUID?.() ?? String(Math.random()).slice(2);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.json("POST", path, { values, once });
      } catch (error) {
        const passing = error instanceof ApiError && (error.unreachable || error.status === 503);
        if (!passing || attempt > RETRIES) throw error;
        await new Promise((resume) => setTimeout(resume, 500 * 2 ** attempt));
      }
    }
  }

  /** @param {{ after?: string | null, limit?: number }} [page] @returns {Promise<VideoList>} */
  videos(page = {}) {
    return this.json("GET", "/videos", { query: page });
  }
  /** @param {string} id @returns {Promise<Video>} */
  video(id) {
    return this.json("GET", `/videos/${encodeURIComponent(id)}`);
  }
  /** @param {Record<string, any>} wish */
  create(wish) {
    return this.make("/videos", wish);
  }
  /** @param {Record<string, any>} wish */
  edit(wish) {
    return this.make("/videos/edits", wish);
  }
  /** @param {Record<string, any>} wish */
  extend(wish) {
    return this.make("/videos/extensions", wish);
  }
  /** @param {Record<string, any>} wish */
  join(wish) {
    return this.make("/videos/transitions", wish);
  }
  /** @param {Record<string, any>} wish */
  cut(wish) {
    return this.make("/videos/cuts", wish);
  }
  /** @param {string} id @param {Record<string, any>} wish */
  remix(id, wish) {
    return this.make(`/videos/${encodeURIComponent(id)}/remix`, wish);
  }
  /** @param {string} id @returns {Promise<Video>} */
  cancel(id) {
    return this.json("POST", `/videos/${encodeURIComponent(id)}/cancel`);
  }
  /** @param {string} id */
  remove(id) {
    return this.json("DELETE", `/videos/${encodeURIComponent(id)}`);
  }
  /** @param {string} id @param {string} variant @param {AbortSignal} [signal] @returns {Promise<Blob>} */
  async content(id, variant, signal) {
    return (await this.send("GET", `/videos/${encodeURIComponent(id)}/content`, { query: { variant }, signal })).blob();
  }
  /** @param {Blob} file @returns {Promise<{ results: any[] }>} what its statement and its pixels say of its origin */
  checkOrigin(file) {
    return this.json("POST", "/content_provenance_checks", { values: { file } });
  }
  /** @returns {Promise<{ data: ModelCard[] }>} */
  cards() {
    return this.json("GET", "/videos/models");
  }
  /** @returns {Promise<{ data: { id: string }[] }>} */
  models() {
    return this.json("GET", "/models");
  }
  /** @returns {Promise<ServiceStatus>} */
  status() {
    return this.json("GET", "/service");
  }
  /** @returns {Promise<{ data: Character[] }>} */
  characters() {
    return this.json("GET", "/videos/characters");
  }
  /** @param {{ name: string, video: Blob | { id: string }, start_s?: number, end_s?: number }} wish @returns {Promise<Character>} */
  createCharacter(wish) {
    return this.json("POST", "/videos/characters", { values: wish });
  }
  /** @param {string} id */
  removeCharacter(id) {
    return this.json("DELETE", `/videos/characters/${encodeURIComponent(id)}`);
  }
  /** @returns {Promise<{ secret: string }>} the key of a session, for one that signs in once */
  redeem() {
    return this.json("POST", "/sign_ins/redeem");
  }
  /** @param {string} path @param {Record<string, any>} [query] @param {AbortSignal} [signal] @returns {Promise<Blob>} */
  async file(path, query, signal) {
    return (await this.send("GET", path, { query, signal })).blob();
  }
  /** @returns {Promise<{ data: { id: string, uri: string }[] }>} curated sets */
  footage() {
    return this.json("GET", "/footage");
  }
  /** @param {string} name @returns {Promise<FootageTotals>} */
  footageTotals(name) {
    return this.json("GET", `/footage/${encodeURIComponent(name)}`);
  }
  /** @param {string} name @param {Record<string, any>} query @returns {Promise<FootageClipList>} */
  footageClips(name, query) {
    return this.json("GET", `/footage/${encodeURIComponent(name)}/clips`, { query });
  }
  /** @returns {Promise<{ data: { id: string, uri: string }[] }>} training runs */
  runs() {
    return this.json("GET", "/training");
  }
  /** @param {string} name @returns {Promise<TrainingRunDetails>} */
  run(name) {
    return this.json("GET", `/training/${encodeURIComponent(name)}`);
  }
}

/**
 * A body: a form when files are among the values, JSON otherwise. What is undefined or null is left out.
 * @param {Record<string, any>} values @param {Record<string, string>} headers
 * @returns {BodyInit}
 */
function encoded(values, headers) {
  const given = Object.entries(values).filter(([, value]) => value != null);
  if (!given.some(([, value]) => value instanceof Blob || (Array.isArray(value) && value[0] instanceof Blob))) {
    headers["content-type"] = "application/json";
    return JSON.stringify(Object.fromEntries(given));
  }
  const form = new FormData();
  for (const [name, value] of given) {
    if (value instanceof Blob) form.append(name, value, value instanceof File ? value.name : name);
    else if (Array.isArray(value) && value[0] instanceof Blob) for (const file of value) form.append(`${name}[]`, file, name);
    else form.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return form;
}

/** @param {Response} response */
async function refusal(response) {
  const after = Number(response.headers.get("retry-after"));
  let detail = {};
  try {
    detail = (await response.json()).error ?? {};
  } catch {
    // a proxy's page, not this API's envelope: the status alone speaks
  }
  return new ApiError(response.status, detail, after > 0 ? after : null);
}
