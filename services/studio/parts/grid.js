// A grid that draws only what is in sight, however many videos there are.
import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact-htm.js";
import { Card } from "./card.js";

const GAP = 16;
const WORDS = 52; // px under a picture
const BEYOND = 2; // rows drawn above and below what is seen

/**
 * Rows of equal height: pictures of any shape lie whole in frames of one.
 * @param {number} width px of the grid
 */
export function layoutOf(width) {
  const least = width < 560 ? 150 : 240;
  const columns = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
  const cell = (width - GAP * (columns - 1)) / columns;
  return { columns, row: Math.round((cell * 9) / 16) + WORDS + GAP };
}

/**
 * @param {{ videos: { id: string }[], onEnd?: () => void, label: string, Item?: any }} props ``Item`` draws one, a Card
 *   unless told; ``onEnd`` is called again and again while the end is near, and looks itself whether there is more
 */
export function Grid({ videos, onEnd, label, Item = Card }) {
  const ref = useRef(null);
  const [size, setSize] = useState({ width: 0, top: 0, height: 800 });
  useLayoutEffect(() => {
    const box = /** @type {any} */ (ref.current);
    let asked = 0;
    const measure = () => {
      asked = 0;
      const { width, top } = box.getBoundingClientRect();
      setSize({ width, top: Math.max(0, -top), height: innerHeight });
    };
    const soon = () => {
      asked ||= requestAnimationFrame(measure);
    };
    const watcher = new ResizeObserver(soon);
    watcher.observe(box);
    addEventListener("scroll", soon, { passive: true });
    addEventListener("resize", soon);
    measure();
    return () => {
      cancelAnimationFrame(asked);
      watcher.disconnect();
      removeEventListener("scroll", soon);
      removeEventListener("resize", soon);
    };
  }, []);
  const { columns, row } = layoutOf(size.width || 1);
  const rows = Math.ceil(videos.length / columns);
  const first = Math.max(0, Math.floor(size.top / row) - BEYOND);
  const end = Math.min(rows, Math.ceil((size.top + size.height) / row) + BEYOND);
  useEffect(() => {
    if (size.width && end >= rows - BEYOND) onEnd?.(); // again after every drawing: a page may have failed to come
  });
  const seen = size.width ? videos.slice(first * columns, end * columns) : [];
  return html`<ul ref=${ref} class="grid" aria-label=${label} style=${{ blockSize: `${rows * row}px` }}>
    ${seen.map((video, index) => {
      const place = first * columns + index;
      const style = {
        insetBlockStart: `${Math.floor(place / columns) * row}px`,
        insetInlineStart: `calc((100% + ${GAP}px) / ${columns} * ${place % columns})`,
        inlineSize: `calc((100% + ${GAP}px) / ${columns} - ${GAP}px)`,
      };
      return html`<li key=${video.id} style=${style} aria-setsize=${videos.length} aria-posinset=${place + 1}><${Item} video=${video} /></li>`;
    })}
  </ul>`;
}
