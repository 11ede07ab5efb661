// A video as the request that makes it again, for a shell or for Python. The key is never in it.
/** @typedef {import("./types.js").Video} Video */

const SETTINGS = ["seed", "num_frames", "fps", "guidance_scale", "num_inference_steps", "negative_prompt"];

/** @param {Video} video @returns {Record<string, any>} */
export function requestOf(video) {
  const known = /** @type {Record<string, any>} */ (video);
  const settings = SETTINGS.filter((name) => known[name] !== undefined && known[name] !== null && known[name] !== "");
  return {
    prompt: video.prompt ?? "", model: video.model, size: video.size,
    ...Object.fromEntries(settings.map((name) => [name, known[name]])),
  };
}

/** @param {string} text quoted for a POSIX shell */
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** @param {Video} video @param {string} base */
export function asCurl(video, base) {
  return [
    `curl ${quoted(`${base}/videos`)} \\`,
    `  -H "Authorization: Bearer $KEY" -H 'content-type: application/json' \\`,
    `  -d ${quoted(JSON.stringify(requestOf(video)))}`,
  ].join("\n");
}

/** @param {Video} video @param {string} base */
export function asPython(video, base) {
  const { prompt, model, size, ...extra } = requestOf(video);
  const text = JSON.stringify; // a JSON string, number or object of these is Python too
  return [
    "import os",
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${text(base)}, api_key=os.environ["KEY"])`,
    "video = client.videos.create_and_poll(",
    `    prompt=${text(prompt)}, model=${text(model)}, size=${text(size)},`,
    `    extra_body=${text(extra)},`,
    ")",
    'client.videos.download_content(video.id).write_to_file("video.mp4")',
  ].join("\n");
}
