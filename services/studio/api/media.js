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

/** @param {string} id @param {string} variant @returns {Fetched} */
function take(id, variant) {
  const name = `${client().base} ${id} ${variant}`;
  let entry = fetched.get(name);
  if (entry) fetched.delete(name); // comes back as the newest
  else {
    const abort = new AbortController();
    const url = client().content(id, variant, abort.signal).then((blob) => URL.createObjectURL(blob));
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

/**
 * The address of a file, once there is one; it stays valid while the view is shown.
 * @param {Video | null | undefined} video @param {"video" | "thumbnail" | "spritesheet"} variant @param {boolean} [wanted]
 * @returns {{ url: string | null, failed: boolean }}
 */
export function useMedia(video, variant, wanted = true) {
  const [got, setGot] = useState({ name: "", url: /** @type {string | null} */ (null), failed: false });
  const ready = Boolean(wanted && video?.status === "completed");
  const name = `${video?.id} ${variant}`;
  useEffect(() => {
    if (!ready || !video) return;
    const direct = link(video, variant);
    if (direct) return setGot({ name, url: direct, failed: false });
    const entry = take(video.id, variant);
    let here = true;
    entry.url.then(
      (url) => here && setGot({ name, url, failed: false }),
      () => here && setGot({ name, url: null, failed: true }),
    );
    return () => {
      here = false;
      give(entry);
    };
  }, [name, ready]);
  return ready && got.name === name ? got : { url: null, failed: false };
}
