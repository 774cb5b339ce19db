// The comparison as a grid: a million rows, of which only those in sight exist.
import { html, useEffect, useLayoutEffect, useRef, useSignal } from "./html.js";
import { Icon } from "./icons.js";
import { Badge } from "./parts.js";
import { members } from "./state.js";
import { date, day, size, t } from "./text.js";

export const ROW = 32;
// A browser draws nothing beyond some 33 million pixels; more rows share what there is.
const TALLEST = 32_000_000;
const HEAD = 33;
const SPARE = 8;
const NARROW = 700;

const MARKS = { "=": "same", "≈": "dates", "≠": "other", "–": "none", "!": "blocked" };

// Letter to mark, out of "A B = · C ≠ · D –".
export function marksOf(status) {
  const marks = {};
  for (const part of status.split(" · ")) {
    const words = part.split(" ");
    const mark = words.pop();
    for (const letter of words) marks[letter] = mark;
  }
  return marks;
}

// What will become of each member's entry: letter to {verb, origin}.
export function outcomesOf(actions, letters) {
  const outcomes = {};
  for (const action of actions) {
    const [, verb, origin, targets] = /^(\S+)(?: (\S+))? -> (.*?)(?: replacing)?$/.exec(action) ?? [];
    if (!verb) continue;
    for (const letter of targets === "all" ? letters : targets.split(", ")) outcomes[letter] = { verb, origin: origin ?? "" };
  }
  return outcomes;
}

export function Grid({ rows, sort, onSort, selected, onDetail, onAct }) {
  const body = useRef(null);
  const top = useSignal(0);
  const height = useSignal(480);
  const focus = useSignal(0);
  const anchor = useRef(0);
  const wide = useWide();
  const total = rows.matching.value;
  const whole = total * ROW;
  const drawn = Math.min(whole, TALLEST);
  const stretch = drawn > height.value && whole > TALLEST ? (whole - height.value) / (drawn - height.value) : 1;
  const virtual = top.value * stretch;
  const first = Math.max(0, Math.floor(virtual / ROW) - SPARE);
  const last = Math.min(total - 1, Math.ceil((virtual + height.value) / ROW) + SPARE);
  // Read so that rows that arrive are drawn.
  void rows.version.value;
  useEffect(() => { if (total) rows.want(first, last); });
  useLayoutEffect(() => {
    const watch = new ResizeObserver(([entry]) => { height.value = Math.max(ROW, entry.contentRect.height - HEAD); });
    watch.observe(body.current);
    return () => watch.disconnect();
  }, []);
  useEffect(() => {
    if (focus.value >= total) focus.value = Math.max(0, total - 1);
  }, [total]);

  const reveal = (place) => {
    const view = body.current;
    const start = place * ROW;
    if (start < virtual) view.scrollTop = start / stretch;
    else if (start + ROW > virtual + height.value - ROW) view.scrollTop = (start + 2 * ROW - height.value) / stretch;
  };
  const toggle = (place) => {
    const next = new Set(selected.value);
    if (!next.delete(place)) next.add(place);
    selected.value = next;
  };
  const choose = (place, { shift, ctrl }) => {
    if (shift) {
      const [from, to] = [Math.min(anchor.current, place), Math.max(anchor.current, place)];
      selected.value = new Set(Array.from({ length: to - from + 1 }, (_, step) => from + step));
    } else {
      anchor.current = place;
      if (ctrl) toggle(place);
      else selected.value = new Set([place]);
    }
    focus.value = place;
  };
  const onKey = (event) => {
    const page = Math.max(1, Math.floor(height.value / ROW) - 2);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -total, End: total };
    if (event.key in moves) {
      const place = Math.max(0, Math.min(total - 1, focus.value + moves[event.key]));
      if (event.shiftKey) choose(place, { shift: true });
      else {
        focus.value = place;
        anchor.current = place;
      }
      reveal(place);
    } else if (event.key === " ") toggle(focus.value);
    else if (event.key === "Enter") onDetail(rows.row(focus.value));
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) selected.value = "all";
    else if (event.key === "Escape") selected.value = new Set();
    else if (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) onAct();
    else return;
    event.preventDefault();
  };
  const places = [];
  for (let place = first; place <= last; place += 1) places.push(place);
  const isChosen = (place) => selected.value === "all" || selected.value.has(place);
  const shift = top.value - virtual;
  return html`<div class=${`grid ${wide ? "" : "narrow"}`} ref=${body} onScroll=${(event) => { top.value = event.target.scrollTop; }} role="grid" aria-label=${t("page.compare.title")} aria-rowcount=${total + 1}
      aria-colcount=${wide ? members.value.length + 2 : 2} aria-multiselectable="true" tabindex="0" onKeyDown=${onKey}
      aria-activedescendant=${total && focus.value >= first && focus.value <= last ? `row-${focus.value}` : undefined}>
    <div class="grid-head" role="rowgroup"><${Head} sort=${sort} onSort=${onSort} wide=${wide} /></div>
    <div class="grid-body" role="rowgroup" style=${{ height: `${drawn}px` }}>
        ${places.map((place) => html`<${Row} key=${place} place=${place} row=${rows.row(place)} y=${place * ROW + shift} wide=${wide}
          chosen=${isChosen(place)} focused=${place === focus.value} onChoose=${choose} onDetail=${onDetail} onAct=${onAct} />`)}
    </div>
  </div>`;
}

function Head({ sort, onSort, wide }) {
  const column = (name, label) => {
    const key = sort.replace("-", "");
    const order = key === name ? (sort.startsWith("-") ? "descending" : "ascending") : "none";
    return html`<div role="columnheader" class=${`cell ${name}`} aria-sort=${order}>
      <button type="button" onClick=${() => onSort(order === "ascending" ? `-${name}` : name)}>${label}
        ${order !== "none" && html`<span aria-hidden="true">${order === "ascending" ? " ↑" : " ↓"}</span>`}</button></div>`;
  };
  return html`<div role="row" aria-rowindex="1" class="grid-row head">
    ${column("path", t("page.compare.path"))}
    ${wide
      ? members.value.map((member) => html`<div role="columnheader" class="cell member" key=${member.letter}><${Badge} letter=${member.letter} />
          <span class="spoken">${member.letter} </span><span class="clip">${member.name}</span></div>`)
      : null}
    ${column("status", t("page.compare.status"))}
  </div>`;
}

function Row({ place, row, y, wide, chosen, focused, onChoose, onDetail, onAct }) {
  const attributes = {
    id: `row-${place}`, role: "row", "aria-rowindex": place + 2, "aria-selected": chosen ? "true" : "false",
    class: `grid-row ${chosen ? "chosen" : ""} ${focused ? "focused" : ""} ${row?.equal ? "equal" : ""}`,
    style: { transform: `translateY(${y}px)` },
  };
  if (!row) return html`<div ...${attributes} aria-busy="true"><div role="gridcell" class="cell path quiet">…</div></div>`;
  const marks = marksOf(row.status);
  const outcomes = outcomesOf(row.actions, members.value.map((member) => member.letter));
  const click = (event) => {
    if (!wide) onDetail(row);
    onChoose(place, { shift: event.shiftKey, ctrl: event.ctrlKey || event.metaKey || event.target.closest(".tick") });
  };
  const menu = (event) => {
    event.preventDefault();
    if (!chosen) onChoose(place, {});
    onAct();
  };
  return html`<div ...${attributes} onClick=${click} onDblClick=${() => onDetail(row)} onContextMenu=${menu}>
    <div role="gridcell" class="cell path"><span class="tick" aria-hidden="true">${chosen && html`<${Icon} name="check" size="14" />`}</span>
      <${Icon} name=${row.kind === "directory" ? "folder" : "file"} size="16" /><span class="clip" title=${row.path}>${row.path}</span></div>
    ${wide && members.value.map((member) => html`<${MemberCell} key=${member.letter} letter=${member.letter} cells=${row.cells[member.letter] ?? []}
      mark=${marks[member.letter]} outcome=${outcomes[member.letter]} />`)}
    <div role="gridcell" class="cell status"><span aria-hidden="true">${row.status}</span><span class="spoken">${spoken(marks)}</span>
      ${!wide && Object.keys(outcomes).length > 0 && html`<span class="outcome">${row.actions.length}</span>`}</div>
  </div>`;
}

function MemberCell({ letter, cells, mark, outcome }) {
  const cell = cells[0];
  const word = MARKS[mark];
  return html`<div role="gridcell" class=${`cell member ${word ?? ""}`}>
    <span class="spoken">${letter}: ${word ? t(`page.mark.${word}`) : t("page.mark.none")} </span>
    ${mark && html`<span class="mark-sign" aria-hidden="true">${mark}</span>`}
    ${cell?.error && html`<span class="danger-text">${t(`page.skip.${cell.error}`)}</span>`}
    ${cell && !cell.error && html`<span class="clip" title=${date(cell.date)}>${cell.size !== null ? size(cell.size) : ""}<span class="quiet"> ${cell.size !== null ? day(cell.date) : ""}</span></span>`}
    ${outcome && html`<${Outcome} outcome=${outcome} fresh=${!cell} />`}
  </div>`;
}

export function Outcome({ outcome, fresh }) {
  const { verb, origin } = outcome;
  const from = origin && origin !== "newest" ? origin : "";
  const sign = verb === "delete" ? null : verb === "nothing" ? "•" : `← ${from}`;
  const key = verb === "delete" ? "delete" : verb === "nothing" ? "nothing" : fresh ? "new" : "replace";
  return html`<span class=${`outcome ${key}`} title=${t(`page.outcome.${key}`, { origin: from })}>
    ${verb === "delete" ? html`<${Icon} name="bin" size="14" />` : html`<span aria-hidden="true">${sign}</span>`}
    <span class="spoken">${t(`page.outcome.${key}`, { origin: from })}</span></span>`;
}

export function spoken(marks) {
  return Object.entries(marks).map(([letter, mark]) => `${letter} ${t(`page.mark.${MARKS[mark] ?? "none"}`)}`).join(", ");
}

export function Count({ rows, selected }) {
  const all = rows.matching.value;
  const chosen = selected.value === "all" ? all : selected.value.size;
  return html`<p class="quiet" role="status">${t("page.compare.rows", { count: all })}${chosen > 0 && ` · ${t("page.compare.chosen", { count: chosen })}`}</p>`;
}

function useWide() {
  const query = useRef(null);
  query.current ??= matchMedia(`(min-width: ${NARROW}px)`);
  const wide = useSignal(query.current.matches);
  useEffect(() => {
    const listen = () => { wide.value = query.current.matches; };
    query.current.addEventListener("change", listen);
    return () => query.current.removeEventListener("change", listen);
  }, []);
  return wide.value;
}
