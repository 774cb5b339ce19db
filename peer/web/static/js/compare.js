// The comparison: facets, filter, grid, details, acting on chosen rows, export.
import { html, useEffect, useMemo, useSignal } from "./html.js";
import { get } from "./api.js";
import { say } from "./choices.js";
import { ActDialog } from "./act.js";
import { Detail } from "./detail.js";
import { FilterBox } from "./filterbox.js";
import { Count, Grid } from "./grid.js";
import { Button, Menu, Note, download } from "./parts.js";
import { Rows } from "./rows.js";
import { comparison, decisionMark, leads, letters, phase } from "./state.js";
import { errorText, number, t } from "./text.js";

const DIFFERENCES = "not is:equal";
const EXPORT_WINDOW = 5000;
// Above this many items the counts per member are asked for on demand only.
const COUNT_AT_ONCE = 50_000;

export function Compare({ allEqual }) {
  const rows = useMemo(() => new Rows(), []);
  const filter = useSignal(allEqual ? "" : DIFFERENCES);
  const sort = useSignal("path");
  const selected = useSignal(new Set());
  const detail = useSignal(null);
  const acting = useSignal(false);
  const mark = decisionMark.value;
  useEffect(() => {
    selected.value = new Set();
    rows.show(filter.value, sort.value);
  }, [filter.value, sort.value]);
  // A decision changes what the rows show, not which are chosen.
  useEffect(() => { rows.show(filter.value, sort.value); }, [mark]);
  const chosen = selected.value === "all" ? rows.matching.value : selected.value.size;
  const act = () => {
    if (chosen && leads.value && phase.value === "comparison") acting.value = true;
  };
  return html`<div class="compare">
    <${Facets} filter=${filter} />
    <${FilterBox} filter=${filter} error=${rows.error.value?.code === "expression.malformed" ? rows.error.value : null} />
    ${rows.error.value && rows.error.value.code !== "expression.malformed" && html`<p class="note danger" role="alert">${errorText(rows.error.value)}</p>`}
    <div class="row between grid-tools">
      <${Count} rows=${rows} selected=${selected} />
      <div class="row">
        <${Button} icon="scales" disabled=${!chosen || !leads.value || phase.value !== "comparison"} onClick=${act}>${t("page.act.open")}<//>
        <${ExportMenu} filter=${filter.value} sort=${sort.value} />
      </div>
    </div>
    ${rows.matching.value === 0 && !rows.loading.value && !rows.error.value
      ? html`<${NoHits} filter=${filter} />`
      : html`<div class="grid-and-detail">
          <${Grid} rows=${rows} sort=${sort.value} onSort=${(value) => { sort.value = value; }} selected=${selected}
            onDetail=${(row) => { detail.value = row ?? null; }} onAct=${act} />
          ${detail.value && html`<${Detail} row=${detail.value} onClose=${() => { detail.value = null; }} />`}
        </div>`}
    <p class="quiet keys">${t("page.compare.keys")}</p>
    ${acting.value && html`<${ActDialog} rows=${rows} selected=${selected.value} filter=${filter.value} count=${chosen} onClose=${() => { acting.value = false; }} />`}
  </div>`;
}

function NoHits({ filter }) {
  return html`<${Note}><p><strong>${t("page.compare.no_hits")}</strong></p><p>${t("page.compare.no_hits_text")}</p>
    <div class="row"><${Button} onClick=${() => { filter.value = ""; }}>${t("page.compare.show_all")}<//></div><//>`;
}

function Facets({ filter }) {
  const totals = comparison.value;
  const only = useOnlyCounts();
  const facets = [
    [t("page.facet.differences"), DIFFERENCES, totals.items - totals.equal],
    [t("page.facet.different"), "is:different", totals.different],
    [t("page.facet.missing"), "is:missing", totals.missing],
    ...letters.value.map((letter) => [t("page.facet.only", { letter }), `only:${letter}`, only.value[letter]]),
    [t("page.facet.dates"), "is:dates-differ", totals.dates],
    [t("page.facet.clashes"), "is:clash or has:name-clash", totals.clashes],
    [t("page.facet.blocked"), "is:blocked", totals.blocked],
    [t("page.facet.equal"), "is:equal", totals.equal],
    [t("page.facet.all"), "", totals.items],
  ];
  return html`<div class="facets" role="group" aria-label=${t("page.facet.title")}>
    ${facets.filter(([, source, count]) => count !== 0 || source === filter.value || source === "").map(([name, source, count]) => html`<button
      type="button" class="chip facet" key=${source} aria-pressed=${filter.value === source ? "true" : "false"} onClick=${() => { filter.value = source; }}>
      ${name}${count !== undefined && html` <strong>${number(count)}</strong>`}</button>`)}
  </div>`;
}

// How many items only one member has; asked for where that costs nothing to speak of.
function useOnlyCounts() {
  const counts = useSignal({});
  const many = comparison.value.items > COUNT_AT_ONCE;
  useEffect(() => {
    if (many) return;
    for (const letter of letters.value) {
      get("comparison", { filter: `only:${letter}`, limit: 0 }).then((told) => { counts.value = { ...counts.value, [letter]: told.matching }; }, () => {});
    }
  }, [comparison.value.items, letters.value.join("")]);
  return counts;
}

function ExportMenu({ filter, sort }) {
  const write = async (form) => {
    const lines = form === "csv" ? [["path", "kind", "status", "actions", "notes"].join(",")] : [];
    for (let offset = 0; ; offset += EXPORT_WINDOW) {
      const told = await get("comparison", { filter, sort, offset, limit: EXPORT_WINDOW });
      for (const row of told.rows) lines.push(form === "csv" ? csv(row) : JSON.stringify(row));
      if (offset + told.rows.length >= told.matching || !told.rows.length) break;
    }
    download(`comparison.${form}`, form === "csv" ? "text/csv" : "application/jsonl", `${lines.join("\n")}\n`);
    say(t("page.compare.exported", { count: lines.length }));
  };
  return html`<${Menu} icon="save" label=${t("page.compare.export")}>
    <button type="button" class="menu-item" data-closes onClick=${() => write("csv")}>CSV</button>
    <button type="button" class="menu-item" data-closes onClick=${() => write("jsonl")}>JSON lines</button>
  <//>`;
}

function csv(row) {
  const fields = [row.path, row.kind, row.status, row.actions.join("; "), row.notes.join("; ")];
  // A sheet must not take a name for a formula.
  return fields.map((field) => `"${String(field).replace(/^[=+\-@\t]/, "'$&").replaceAll('"', '""')}"`).join(",");
}
