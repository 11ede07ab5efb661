// Every view by its name in the address. Those with an icon stand in the navigation, where the server can do them.
import { Gallery } from "./gallery.js";
import { Make } from "./make.js";
import { Player } from "./player.js";
import { Queue } from "./queue.js";

/** @typedef {import("../api/types.js").ModelCard} ModelCard */
/** @type {Record<string, { View: any, title: string, icon?: string, needs?: (cards: ModelCard[]) => boolean }>} */
export const VIEWS = {
  make: { View: Make, title: "nav.make", icon: "make" },
  queue: { View: Queue, title: "nav.queue", icon: "queue" },
  gallery: { View: Gallery, title: "nav.gallery", icon: "gallery" },
  video: { View: Player, title: "nav.video" },
};
