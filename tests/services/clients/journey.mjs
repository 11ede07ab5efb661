// What a Node program does with the Videos API; prints what it saw. Arguments: URL, key, picture.
import fs from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.cwd(), "index.js"));
const { default: OpenAI, toFile } = await import(pathToFileURL(require.resolve("openai")));
const { version } = JSON.parse(fs.readFileSync(join(process.cwd(), "node_modules/openai/package.json")));
const [baseURL, apiKey, picture] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey });

async function refusal(call) {
  try {
    await call();
  } catch (error) {
    return { class: error.constructor.name, code: error.code, param: error.param, named: Boolean(error.requestID) };
  }
  return { class: null };
}

async function poll(id) {
  for (;;) {
    const video = await client.videos.retrieve(id);
    if (video.status === "completed" || video.status === "failed") return video;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function head(id, variant) {
  const answer = await client.videos.downloadContent(id, { variant });
  return Buffer.from(await answer.arrayBuffer()).subarray(0, 12).toString("hex");
}

const small = { size: "48x32", num_frames: 5, num_inference_steps: 2, seed: 3 };
const made = await client.videos.create({ prompt: "a red ball", ...small });
const polled = await poll(made.id);
const file = await toFile(fs.createReadStream(picture), "a.png", { type: "image/png" });
const again = await poll((await client.videos.create({ prompt: "x", input_reference: file, ...small })).id);
const url = "data:image/png;base64," + fs.readFileSync(picture).toString("base64");
const third = await poll((await client.videos.create({ prompt: "x", input_reference: { image_url: url }, ...small })).id);
const variants = {};
for (const variant of ["video", "thumbnail", "spritesheet"]) variants[variant] = await head(made.id, variant);
const film = Buffer.from(await (await client.videos.downloadContent(made.id)).arrayBuffer());
const few = { num_inference_steps: 2, guidance_scale: 1 };
const edited = [];
for (const call of [
  () => client.videos.remix(made.id, { prompt: "a blue ball" }),
  () => client.videos.edit({ prompt: "a blue ball", video: { id: made.id }, ...few }),
  async () => client.videos.extend({ prompt: "on", seconds: "1", video: await toFile(film, "a.mp4"), ...few }),
]) {
  const video = await poll((await call()).id);
  const { id, status, edit, num_frames, remixed_from_video_id } = video;
  edited.push({ id, status, edit, num_frames, remixed_from_video_id });
}
const listed = [];
for await (const video of client.videos.list({ limit: 1 })) listed.push(video.id);
const deleted = await client.videos.delete(again.id);
const images = [
  await client.images.generate({ prompt: "x", size: "48x32" }),
  await client.images.edit({ prompt: "x", image: file, ...few }),
];
const models = [];
for await (const model of client.models.list()) models.push(model.id);
const kept = await client.videos.createCharacter({ name: "Bo", video: await toFile(film, "a.mp4", { type: "video/mp4" }) });
const same = await client.videos.getCharacter(kept.id);
const wish = { prompt: "Bo moves left", characters: [{ id: kept.id }], ...small };
const shown = await poll((await client.videos.create(wish)).id);
const character = {
  name: same.name,
  alike: same.id === kept.id && same.created_at === kept.created_at,
  status: shown.status,
  shown: shown.characters[0] === kept.id,
};

console.log(
  JSON.stringify({
    version,
    states: [made.status, polled.status, polled.progress, again.status, third.status],
    seed: polled.seed,
    variants,
    edited,
    character,
    listed: JSON.stringify(listed) === JSON.stringify([...edited.map((video) => video.id).reverse(), third.id, again.id, made.id]),
    deleted: [deleted.id === again.id, deleted.deleted],
    models,
    images: images.map((answer) => Buffer.from(answer.data[0].b64_json, "base64").subarray(1, 4).toString()),
    refusals: {
      unknown: await refusal(() => client.videos.create({ prompt: "x", guidence: 1 })),
      gone: await refusal(() => client.videos.retrieve(again.id)),
      key: await refusal(() => new OpenAI({ baseURL, apiKey: "sk-eve" }).videos.retrieve(made.id)),
    },
  }),
);
