// The inventory while it runs: counters per member and in total, and how to stop it.
import { html, useEffect, useSignal } from "./html.js";
import { post } from "./api.js";
import { Badge, Bar, Button, Problem, useAct } from "./parts.js";
import { Actions, Waiting } from "./next.js";
import { leads, members } from "./state.js";
import { clock, number, size, t } from "./text.js";

const SUMS = ["files", "directories", "bytes", "errors", "hashed_bytes", "to_hash_bytes"];

export function InventoryStep() {
  const { busy, error, run } = useAct();
  const elapsed = useElapsed();
  const total = totals();
  const failed = members.value.filter((member) => member.state === "inventory_failed");
  return html`
    <p class="lead">${t("page.inventory.lead")}</p>
    <div class="tiles" role="group" aria-label=${t("page.total")}>
      <${Tile} name=${t("page.inventory.files")} value=${number(total.files)} />
      <${Tile} name=${t("page.inventory.folders")} value=${number(total.directories)} />
      <${Tile} name=${t("page.inventory.volume")} value=${size(total.bytes)} />
      <${Tile} name=${t("page.inventory.read")} value=${t("page.of", { done: size(total.hashed_bytes), total: size(total.to_hash_bytes) })} />
      <${Tile} name=${t("page.elapsed")} value=${clock(elapsed.value)} />
    </div>
    <ul class="progress-list">${members.value.map((member) => html`<${MemberProgress} key=${member.index} member=${member} />`)}</ul>
    ${failed.map((member) => html`<p class="note danger" key=${member.index}><span>${t("page.inventory.failed", { letter: member.letter, name: member.name })}</span></p>`)}
    <${Problem} error=${error.value} />
    <${Actions}>
      ${!leads.value && html`<${Waiting} what="page.waiting.comparison" />`}
      <${Button} icon="cross" busy=${busy.value} onClick=${() => run(() => post("inventory/cancel"))}>${t("page.inventory.cancel")}<//>
    <//>`;
}

export function Tile({ name, value, tone = "" }) {
  return html`<div class=${`tile ${tone}`}><span class="quiet">${name}</span><strong>${value}</strong></div>`;
}

function MemberProgress({ member }) {
  const told = member.inventory;
  const share = told.to_hash_bytes ? told.hashed_bytes / told.to_hash_bytes : member.state === "inventory_done" ? 1 : 0;
  return html`<li class="progress">
    <${Badge} letter=${member.letter} />
    <div class="progress-body">
      <div class="row between"><strong>${member.name}</strong><span class="quiet">${t(`member.${member.state}`)}</span></div>
      <${Bar} value=${share} label=${t("page.inventory.bar", { name: member.name })} />
      <p class="quiet">${t("page.inventory.counts", { files: told.files, folders: told.directories, bytes: told.bytes })}
        ${told.errors > 0 && html` · <span class="danger-text">${t("page.errors", { count: told.errors })}</span>`}</p>
      <${Skipped} skipped=${told.skipped} />
    </div></li>`;
}

// What was left out is never silent.
export function Skipped({ skipped }) {
  const reasons = Object.entries(skipped ?? {}).filter(([, count]) => count > 0);
  if (!reasons.length) return null;
  const sum = reasons.reduce((all, [, count]) => all + count, 0);
  return html`<details class="skipped"><summary>${t("page.skipped", { count: sum })}</summary>
    <ul>${reasons.map(([reason, count]) => html`<li key=${reason}>${number(count)} ${t(`page.skip.${reason}`)}</li>`)}</ul></details>`;
}

function totals() {
  const sums = Object.fromEntries(SUMS.map((key) => [key, 0]));
  for (const member of members.value) for (const key of SUMS) sums[key] += member.inventory[key] ?? 0;
  return sums;
}

export function useElapsed() {
  const elapsed = useSignal(0);
  useEffect(() => {
    const began = performance.now();
    const timer = setInterval(() => { elapsed.value = (performance.now() - began) / 1000; }, 1000);
    return () => clearInterval(timer);
  }, []);
  return elapsed;
}
