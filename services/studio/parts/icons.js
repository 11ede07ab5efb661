// The studio's own line icons, on a grid of 24.
import { html } from "../vendor/preact-htm.js";

const PATHS = {
  make: "M12 3v4M12 17v4M3 12h4M17 12h4M6 6l2.5 2.5M15.5 15.5 18 18M18 6l-2.5 2.5M8.5 15.5 6 18",
  queue: "M4 6h16M4 12h10M4 18h7M18 14v4l2.5 1.5",
  gallery: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  story: "M3 6h5v12H3zM9.5 6h5v12h-5zM16 6h5v12h-5z",
  cast: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20c1-4 4-5.5 7.5-5.5s6.500 1.500 7.500 5.500",
  data: "M4 6c0-1.700 3.600-3 8-3s8 1.300 8 3-3.600 3-8 3-8-1.300-8-3zM4 6v12c0 1.700 3.600 3 8 3s8-1.300 8-3V6M4 12c0 1.700 3.600 3 8 3s8-1.300 8-3",
  curve: "M4 4v16h16M7 8c2 7 6 9 12 9M15 8h.010M11 11h.010",
  play: "M7 4.500v15l12-7.500z",
  pause: "M8 5v14M16 5v14",
  next: "M6 5v14l8-7zM18 5v14",
  back: "M18 5v14l-8-7zM6 5v14",
  loop: "M17 3l3 3-3 3M4 11V9a3 3 0 0 1 3-3h13M7 21l-3-3 3-3M20 13v2a3 3 0 0 1-3 3H4",
  star: "M12 3.500l2.600 5.400 5.900.8-4.300 4.100 1 5.900L12 16.900l-5.200 2.800 1-5.900-4.300-4.100 5.900-.8z",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  down: "M12 4v11M7 11l5 5 5-5M5 20h14",
  copy: "M8 8h11v12H8zM5 16V4h11",
  tree: "M12 3v5M6 16v-4h12v4M12 8v4M6 16a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5zM18 16a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5z",
  cut: "M6 4l12 12M18 4L6 16M6 21a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5zM18 21a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5z",
  remix: "M4 7h5l7 10h4M4 17h5l2-3M14 8l2-1h4M18 4l3 3-3 3M18 14l3 3-3 3",
  compare: "M4 5h7v14H4zM13 5h7v14h-7z",
  more: "M6 12h.010M12 12h.010M18 12h.010",
  close: "M6 6l12 12M18 6L6 18",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM16 16l5 5",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.500 9.500h.010",
  sliders: "M4 7h9M17 7h3M15 5v4M4 17h3M11 17h9M9 15v4",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2v2.500M12 19.500V22M2 12h2.500M19.500 12H22M5 5l1.700 1.700M17.300 17.300 19 19M19 5l-1.700 1.700M6.700 17.300 5 19",
  out: "M14 4h5v16h-5M4 12h10M10 8l4 4-4 4",
  brush: "M5 20c3 0 4-1 4-3a2.500 2.500 0 0 0-5 0c0 1-.5 2-1 2.500.5.3 1.200.5 2 .5zM9 14 19 4l1.500 1.500L11 16",
  box: "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4",
  eraser: "M4 16 13 6l6 6-8 8H8zM9 11l6 6M12 20h8",
  expand: "M9 9h6v6H9zM4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4",
  style: "M12 3c3 4 6 6.500 6 10.500a6 6 0 0 1-12 0C6 9.500 9 7 12 3zM9 14a3 3 0 0 0 3 3",
  rate: "M4 18a8.500 8.500 0 1 1 16 0M12 15l4-5M12 16h.010",
  check: "M5 13l4 4L19 7",
  full: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  sound: "M4 10v4h3l5 4V6l-5 4zM16 9a4 4 0 0 1 0 6M18.500 6.500a8 8 0 0 1 0 11",
  mute: "M4 10v4h3l5 4V6l-5 4zM16 10l5 5M21 10l-5 5",
  shield: "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6z",
};

/** @param {{ name: keyof typeof PATHS, filled?: boolean }} props */
export function Icon({ name, filled = false }) {
  return html`<svg class=${filled ? "icon filled" : "icon"} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
    <path d=${PATHS[name]} />
  </svg>`;
}
