// Members as nodes on a circle, an arrow for everything that travels: the thicker, the more.
import { html } from "./html.js";
import { Badge, Scroll } from "./parts.js";
import { members } from "./state.js";
import { number, size, t } from "./text.js";

const WIDTH = 640;
const HEIGHT = 420;
const NODE = 26;
// Arrows that can carry a label without hiding one another.
const FEW = 6;

function places(count) {
  if (count === 2) return [[170, 165], [470, 165]];
  return [...Array(count).keys()].map((place) => {
    const angle = (place / count) * 2 * Math.PI - Math.PI / 2;
    return [WIDTH / 2 + 215 * Math.cos(angle), HEIGHT / 2 + 12 + 128 * Math.sin(angle)];
  });
}

export function PlanPicture({ plan }) {
  const shown = members.value.filter((member) => plan.members[member.letter]);
  const points = Object.fromEntries(places(shown.length).map((point, place) => [shown[place].letter, point]));
  const links = Object.entries(plan.links).map(([name, bytes]) => ({ from: name[0], to: name.at(-1), bytes }))
    .filter(({ from, to }) => points[from] && points[to]);
  const most = Math.max(1, ...links.map((link) => link.bytes));
  const told = links.map(({ from, to, bytes }) => t("page.plan.link", { from, to, bytes })).join(", ");
  const few = links.length <= FEW;
  return html`<figure class="picture"><svg viewBox=${shown.length === 2 ? `0 100 ${WIDTH} 140` : `0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${`${t("page.plan.picture")}: ${told || t("page.plan.no_travel")}`}>
    <defs><marker id="arrow" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="14" markerHeight="14" markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" class="arrow-head" /></marker></defs>
    ${links.map((link) => html`<${Arrow} key=${link.from + link.to} link=${link} from=${points[link.from]} to=${points[link.to]} share=${link.bytes / most} labelled=${few} />`)}
    ${shown.map((member) => html`<${Node} key=${member.letter} member=${member} at=${points[member.letter]} figures=${plan.members[member.letter]} />`)}
  </svg>${!few && html`<${Matrix} shown=${shown} links=${links} />`}</figure>`;
}

// Too many arrows for labels: who sends what to whom, as a table.
function Matrix({ shown, links }) {
  const bytes = (from, to) => links.find((link) => link.from === from && link.to === to)?.bytes;
  return html`<${Scroll} label=${t("page.plan.matrix")}><table class="matrix"><caption class="quiet">${t("page.plan.matrix")}</caption>
    <thead><tr><td></td>${shown.map((member) => html`<th scope="col" class="num" key=${member.letter}>→ <${Badge} letter=${member.letter} /><span class="spoken">${member.letter}</span></th>`)}</tr></thead>
    <tbody>${shown.map((member) => html`<tr key=${member.letter}><th scope="row"><${Badge} letter=${member.letter} /><span class="spoken">${member.letter}</span> →</th>
      ${shown.map((other) => html`<td class="num" key=${other.letter}>${bytes(member.letter, other.letter) ? size(bytes(member.letter, other.letter)) : "–"}</td>`)}</tr>`)}</tbody></table><//>`;
}

// Both directions of a pair bend to their own side, so that no label hides another.
function Arrow({ link, from, to, share, labelled }) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const length = Math.hypot(dx, dy);
  const [ux, uy] = [dx / length, dy / length];
  const gap = NODE + 8;
  const start = [from[0] + ux * gap, from[1] + uy * gap];
  const end = [to[0] - ux * gap, to[1] - uy * gap];
  const bend = 26;
  const middle = [(from[0] + to[0]) / 2 - uy * bend * 2, (from[1] + to[1]) / 2 + ux * bend * 2];
  const label = [(from[0] + to[0]) / 2 - uy * bend * 1.1, (from[1] + to[1]) / 2 + ux * bend * 1.1];
  return html`<g class="arrow"><path d=${`M${start} Q${middle} ${end}`} fill="none" stroke-width=${1.5 + 4 * share} marker-end="url(#arrow)" />
    ${labelled && html`<g transform=${`translate(${label})`}><rect x="-42" y="-11" width="84" height="22" rx="11" /><text text-anchor="middle" dy="4.5">${size(link.bytes)}</text></g>`}</g>`;
}

function Node({ member, at, figures }) {
  const created = figures.create + figures.folders;
  const deleted = figures.delete + figures.delete_folders;
  const name = member.name.length > 18 ? `${member.name.slice(0, 17)}…` : member.name;
  return html`<g transform=${`translate(${at})`} class=${`node ${member.me ? "mine" : ""}`}>
    <circle r=${NODE} class=${`fill-${member.letter}`} />
    <text class="node-letter" text-anchor="middle" dy="7">${member.letter}</text>
    <text class="node-name" text-anchor="middle" y=${at[1] < HEIGHT / 3 ? -NODE - 26 : NODE + 20}>${name}</text>
    <text class="node-figures" text-anchor="middle" y=${at[1] < HEIGHT / 3 ? -NODE - 9 : NODE + 38}>+${number(created)}  ~${number(figures.replace)}  ${deleted ? html`<tspan class="deleted">−${number(deleted)}</tspan>` : ""}</text>
  </g>`;
}
