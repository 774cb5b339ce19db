// The icons, drawn for Quintet on a grid of 24: lines of one weight, no image files.
import { html } from "./html.js";

const PATHS = {
  folder: "M3 7.5V18a2 2 0 0 0 2 2h14a2 2 0 0 0 2-2V9a2 2 0 0 0-2-2h-7L9.5 4.5H5a2 2 0 0 0-2 2z",
  file: "M6 3h8l5 5v12a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1zM14 3v5h5",
  link: "M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 6 6l1-1",
  people: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c.5-4 3-6 6.5-6s6 2 6.5 6M16 4.5a3.5 3.5 0 0 1 0 6.5M18 14.5c2 .7 3.2 2.600 3.500 5.500",
  search: "M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13zM15.500 15.500 21 21",
  scales: "M12 4v16M7 20h10M4 7h16M4 7l-2 6a3 3 0 0 0 5 0zM20 7l-3 6a3 3 0 0 0 5 0z",
  map: "M5 7a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM19 12a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM6 21a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM6.800 6l10.500 3.500M17.200 11.200 7.700 18M5.200 7l.6 10",
  sync: "M4 11a8 8 0 0 1 14-4l2 2M20 4v5h-5M20 13a8 8 0 0 1-14 4l-2-2M4 20v-5h5",
  check: "M4.500 12.500 10 18 20 6.500",
  cross: "M6 6l12 12M18 6 6 18",
  plus: "M12 5v14M5 12h14",
  bin: "M4 6.500h16M9 6V4h6v2M6.500 6.500 7.500 20h9l1-13.500M10 10.500v6M14 10.500v6",
  copy: "M9 9h10a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H9a1 1 0 0 1-1-1V10a1 1 0 0 1 1-1zM5 15H4a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1h10a1 1 0 0 1 1 1v1",
  invite: "M9.500 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM3 20c.5-4 3-6 6.500-6 2 0 3.700.700 4.900 2M18 14v6M15 17h6",
  warn: "M12 4 2.500 20h19zM12 10v4.500M12 17.300v.2",
  info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5.500M12 7.500v.2",
  more: "M5 11a1 1 0 1 0 0 2 1 1 0 0 0 0-2zM12 11a1 1 0 1 0 0 2 1 1 0 0 0 0-2zM19 11a1 1 0 1 0 0 2 1 1 0 0 0 0-2z",
  left: "M15 5l-7 7 7 7",
  down: "M5 9l7 7 7-7",
  up: "M12 20V5M6 11l6-6 6 6",
  leave: "M14 4H6a1 1 0 0 0-1 1v14a1 1 0 0 0 1 1h8M10 12h11M17 8l4 4-4 4",
  restart: "M5 5v5h5M5.500 10a7.500 7.500 0 1 1-.800 5",
  gear: "M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM12 3v3M12 18v3M3 12h3M18 12h3M5.600 5.600l2.200 2.200M16.200 16.200l2.200 2.200M5.600 18.400l2.200-2.200M16.200 7.800l2.200-2.200",
  shield: "M12 3 4.500 6v5.500c0 4.500 3 8 7.500 9.500 4.500-1.500 7.500-5 7.500-9.500V6zM8.500 12l2.500 2.500 4.500-5",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5l3.500 2",
  equal: "M5 9h14M5 15h14",
  merge: "M6 4v4a6 6 0 0 0 6 6M18 4v4a6 6 0 0 1-6 6v6M9 17l3 3 3-3",
  mirror: "M12 3v18M9 7 3 17h6zM15 7l6 10h-6z",
  update: "M4 12h13M12 6l6 6-6 6M21 5v14",
  gaps: "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM17 14v6M14 17h6",
  gather: "M12 21V11M8 15l4-4 4 4M5 3v4M12 3v4M19 3v4M4 7h16",
  save: "M12 4v11M7 10.500l5 5 5-5M4 20h16",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2.500v2M12 19.500v2M2.500 12h2M19.500 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M5.300 18.700l1.400-1.400M17.300 6.700l1.400-1.400",
  disk: "M4 14h16v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1zM4 14l2.500-9a1 1 0 0 1 1-1h9a1 1 0 0 1 1 1l2.500 9M16.500 17h.01",
};

export function Icon({ name, size = 20, label }) {
  return html`<svg
    class="icon" width=${size} height=${size} viewBox="0 0 24 24" fill="none" stroke="currentColor"
    stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" focusable="false"
    role=${label ? "img" : undefined} aria-label=${label} aria-hidden=${label ? undefined : "true"}
  ><path d=${PATHS[name]} /></svg>`;
}

// The mark of Quintet: five members, every one linked to the next.
export function Mark({ size = 28 }) {
  const points = [...Array(5).keys()].map((place) => {
    const angle = (place / 5) * 2 * Math.PI - Math.PI / 2;
    return [16 + 10.5 * Math.cos(angle), 16 + 10.5 * Math.sin(angle)];
  });
  const ring = points.map(([x, y], place) => `${place ? "L" : "M"}${x} ${y}`).join("") + "Z";
  return html`<svg class="mark" width=${size} height=${size} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <path d=${ring} fill="none" stroke="currentColor" stroke-width="1.5" opacity=".45" />
    ${points.map(
      ([x, y], place) => html`<circle cx=${x} cy=${y} r="4" class=${`fill-${"ABCDE"[place]}`} />`,
    )}
  </svg>`;
}
