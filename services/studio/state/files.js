// Files that people drop, paste or choose: looked at here first, so that what the server would refuse is said at once.
import { say } from "../text/i18n.js";
import { number } from "../text/i18n.js";
import { session } from "./session.js";

const PICTURES = ["image/jpeg", "image/png", "image/webp"];
const MIB = 2 ** 20;
const USUAL = { max_upload_bytes: 20 * MIB, max_video_bytes: 200 * MIB };

/** What is wrong with a file, in words for whoever chose it. */
export class FileError extends Error {}

const limits = () => session.get().status?.limits ?? USUAL;

/** @param {File} file @param {number} most */
function checkSize(file, most) {
  if (file.size <= most) return;
  const mib = (/** @type {number} */ bytes) => number(bytes / MIB, { maximumFractionDigits: 1 });
  throw new FileError(say("file.large", { name: file.name, size: mib(file.size), limit: mib(most) }));
}

/** @param {File} file @returns {Promise<string>} a picture as a data URL; FileError for what isn't one or is too large */
export async function pictureOf(file) {
  if (!PICTURES.includes(file.type)) throw new FileError(say("file.no_picture", { name: file.name }));
  checkSize(file, limits().max_upload_bytes);
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new FileError(say("file.unreadable", { name: file.name })));
    reader.readAsDataURL(file);
  });
}

/** @param {File} file FileError for what is no film or too large */
export function checkFilm(file) {
  if (!file.type.startsWith("video/")) throw new FileError(say("file.no_film", { name: file.name }));
  checkSize(file, limits().max_video_bytes);
  return file;
}

const NAMED = /video_[0-9a-f]{32}/;

/** @param {File} file @returns {Promise<string | null>} the id of the video of ours that a file is a copy of */
export async function idOf(file) {
  const named = file.name.match(NAMED);
  if (named) return named[0];
  const ends = [file.slice(0, 64 * 1024), file.slice(-64 * 1024)]; // where an mp4 keeps its table of contents
  for (const part of ends) {
    const text = new TextDecoder("latin1").decode(await part.arrayBuffer());
    const found = text.match(NAMED);
    if (found) return found[0];
  }
  return null;
}
