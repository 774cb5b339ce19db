// Everything known about one item, on every member side by side.
import { html, useEffect, useRef } from "./html.js";
import { Badge, IconButton, Scroll } from "./parts.js";
import { Outcome, marksOf, outcomesOf, spoken } from "./grid.js";
import { members } from "./state.js";
import { date, number, size, t } from "./text.js";

export function Detail({ row, onClose }) {
  const panel = useRef(null);
  useEffect(() => { panel.current.focus(); }, [row.number]);
  const marks = marksOf(row.status);
  const outcomes = outcomesOf(row.actions, members.value.map((member) => member.letter));
  const onKey = (event) => {
    if (event.key === "Escape") onClose();
  };
  return html`<aside class="detail" ref=${panel} tabindex="-1" aria-label=${t("page.detail.title")} onKeyDown=${onKey}>
    <header class="row between"><h3 class="path">${row.path}</h3><${IconButton} icon="cross" label=${t("page.close")} onClick=${onClose} /></header>
    <p class="quiet">${row.kind === "directory" ? t("kind.directory") : row.kind === "clash" ? t("page.detail.clash") : t("kind.file")} · <span aria-hidden="true">${row.status}</span><span class="spoken">${spoken(marks)}</span></p>
    ${row.equal && html`<p class="quiet">${t(row.hashed ? "page.detail.hashed" : "page.detail.unhashed")}</p>`}
    <${Scroll} label=${t("page.detail.title")}><table>
      <thead><tr><th scope="col">${t("page.detail.member")}</th><th scope="col">${t("page.detail.size")}</th><th scope="col">${t("page.detail.date")}</th><th scope="col">${t("page.detail.then")}</th></tr></thead>
      <tbody>${members.value.map((member) => {
        const cell = (row.cells[member.letter] ?? [])[0];
        return html`<tr key=${member.letter}><th scope="row"><${Badge} letter=${member.letter} /><span class="spoken">${member.letter} </span> ${member.name}</th>
          <td>${cell?.error ? t(`page.skip.${cell.error}`) : !cell ? t("page.mark.none") : cell.size === null ? "–" : html`${size(cell.size)}<br /><span class="quiet">${number(cell.size)} ${t("units.bytes").split(" ")[0]}</span>`}</td>
          <td>${cell && !cell.error ? date(cell.date) : ""}</td>
          <td>${outcomes[member.letter] ? html`<${Outcome} outcome=${outcomes[member.letter]} fresh=${!cell} />` : t("page.detail.kept")}</td></tr>`;
      })}</tbody>
    </table><//>
    ${row.notes.length > 0 && html`<ul class="notes">${row.notes.map((note) => html`<li key=${note}>${t(`page.skip.${note}`)}</li>`)}</ul>`}
    ${row.actions.length > 0 && html`<p class="quiet mono">${row.actions.join(" · ")}</p>`}
  </aside>`;
}
