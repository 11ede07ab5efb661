// Addresses of a video's files: signed links where the server gives them, else files fetched with the key.
import { useEffect, useState } from "../vendor/preact-htm.js";
import { client } from "../state/session.js";
/** @typedef {import("./types.js").Video} Video */

const KEPT = 400; // fetched pictures and films that nobody looks at any more
const RENEW_S = 30;

/** @typedef {{ url: Promise<string>, users: number, abort: AbortController }} Fetched */
/** @type {Map<string, Fetched>} oldest first */
const fetched = new Map();

/** @param {Video} video @param {"video" | "thumbnail" | "spritesheet"} variant @returns {string | null} a link that needs no key, while it is valid */
export function link(video, variant) {
  const links = video.links;
  if (!links || links.expires_at - RENEW_S < Date.now() / 1000) return null;
  const [address, base] = [new URL(links[variant]), new URL(client().base)];
  if (address.host === base.host) address.protocol = base.protocol; // a proxy in front may hide that it speaks TLS
  return address.href;
}

/** @param {string} path @param {Record<string, any>} query @returns {Fetched} a file that needs the key */
function take(path, query) {
  const name = `${client().base} ${path} ${JSON.stringify(query)}`;
  let entry = fetched.get(name);
  if (entry) fetched.delete(name); // comes back as the newest
  else {
    const abort = new AbortController();
    const url = client().file(path, query, abort.signal).then((blob) => URL.createObjectURL(blob));
    entry = { url, users: 0, abort };
    url.catch(() => fetched.delete(name));
  }
  fetched.set(name, entry);
  entry.users++;
  return entry;
}

/** @param {Fetched} entry */
function give(entry) {
  entry.users--;
  for (const [name, old] of fetched) {
    if (fetched.size <= KEPT) return;
    if (old.users > 0) continue;
    fetched.delete(name);
    old.url.then((url) => URL.revokeObjectURL(url)).catch(() => {});
  }
}

/** @typedef {{ url: string | null, failed: boolean }} Loaded */

/**
 * The address of a file, once there is one; it stays valid while the view is shown.
 * @param {string | null} path null while none is wanted
 * @param {Record<string, any>} query
 * @param {string | null} [direct] a link that needs no key
 * @returns {Loaded}
 */
function useLoaded(path, query, direct = null) {
  const name = `${path} ${JSON.stringify(query)}`;
  const [got, setGot] = useState({ name: "", url: /** @type {string | null} */ (null), failed: false });
  useEffect(() => {
    if (!path) return;
    if (direct) return setGot({ name, url: direct, failed: false });
    const entry = take(path, query);
    let here = true;
    entry.url.then(
      (url) => here && setGot({ name, url, failed: false }),
      () => here && setGot({ name, url: null, failed: true }),
    );
    return () => {
      here = false;
      give(entry);
    };
  }, [name]);
  return path && got.name === name ? got : { url: null, failed: false };
}

/**
 * A file of a video.
 * @param {Video | null | undefined} video @param {"video" | "thumbnail" | "spritesheet"} variant @param {boolean} [wanted]
 * @returns {Loaded}
 */
export function useMedia(video, variant, wanted = true) {
  const ready = wanted && video?.status === "completed" ? video : null;
  const path = ready && `/videos/${encodeURIComponent(ready.id)}/content`;
  return useLoaded(path, { variant }, ready && link(ready, variant));
}

/** Any other file of the API. @param {string | null} path @param {Record<string, any>} [query] @returns {Loaded} */
export const useFile = (path, query = {}) => useLoaded(path, query);

/** @param {string} path @param {string} name keep a file that needs the key, under a name */
export async function download(path, name) {
  const url = URL.createObjectURL(await client().file(path));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
