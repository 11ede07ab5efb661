// Every view by its name in the address. Those with an icon stand in the navigation, where the server can do them.
import { Characters } from "./characters.js";
import { Compare } from "./compare.js";
import { Editor } from "./edit/editor.js";
import { Footage } from "./footage.js";
import { Gallery } from "./gallery.js";
import { Make } from "./make.js";
import { Player } from "./player.js";
import { Queue } from "./queue.js";
import { Story } from "./story.js";
import { Training } from "./training.js";
import { Tree } from "./tree.js";

/** @typedef {import("../state/session.js").Session} Session */

/** @param {string} edit */
const can = (edit) => (/** @type {Session} */ { cards }) => cards.some((card) => card.edits.includes(edit));
const seesData = (/** @type {Session} */ { status }) => Boolean(status?.scopes?.includes("data"));

/** @type {Record<string, { View: any, title: string, icon?: string, needs?: (session: Session) => boolean }>} */
export const VIEWS = {
  make: { View: Make, title: "nav.make", icon: "make" },
  queue: { View: Queue, title: "nav.queue", icon: "queue" },
  gallery: { View: Gallery, title: "nav.gallery", icon: "gallery" },
  story: { View: Story, title: "nav.story", icon: "story", needs: can("keyframes") },
  characters: { View: Characters, title: "nav.characters", icon: "cast", needs: ({ cards }) => cards.some((card) => card.characters) },
  footage: { View: Footage, title: "nav.footage", icon: "data", needs: seesData },
  training: { View: Training, title: "nav.training", icon: "curve", needs: seesData },
  video: { View: Player, title: "nav.video" },
  edit: { View: Editor, title: "video.edit" },
  tree: { View: Tree, title: "video.tree" },
  compare: { View: Compare, title: "compare.title" },
};
