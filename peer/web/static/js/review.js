// The plan: on this computer first, then a picture of all members and what travels, then the same as a table.
import { html, useEffect, useId, useSignal } from "./html.js";
import { get, post } from "./api.js";
import { Icon } from "./icons.js";
import { Badge, Button, Note, Problem, Scroll, useAct } from "./parts.js";
import { Refusals } from "./act.js";
import { Actions, Waiting } from "./next.js";
import { PlanPicture } from "./picture.js";
import { leads, me, members, nameOf, plan } from "./state.js";
import { number, rich, size, t } from "./text.js";

const COLUMNS = ["create", "replace", "delete", "dates", "folders", "delete_folders"];

export function ReviewStep({ onDecide }) {
  const told = plan.value;
  if (!told || !told.steps) {
    return html`<${Note} icon="info"><p><strong>${t("page.plan.stale")}</strong></p><p>${t("page.plan.stale_text")}</p><//>
      <${Actions}><${Button} kind=${leads.value ? "primary" : "plain"} icon="scales" onClick=${onDecide}>${t("page.plan.back")}<//><//>`;
  }
  const mine = told.members[me.value?.letter];
  return html`
    ${mine && html`<section class="card here" aria-labelledby="here-title"><h2 id="here-title">${t("page.plan.here")}</h2><${Here} figures=${mine} /></section>`}
    <section class="card" aria-labelledby="picture-title"><h2 id="picture-title">${t("page.plan.picture")}</h2>
      <${PlanPicture} plan=${told} />
      <${PlanTable} plan=${told} />
      <p class="quiet"><${Icon} name="shield" size="16" /> ${t("page.plan.trash")}</p>
    </section>
    <${Left} plan=${told} />
    <${Start} plan=${told} onDecide=${onDecide} />`;
}

function Here({ figures }) {
  const parts = [
    ["create", figures.create + figures.folders], ["replace", figures.replace], ["delete", figures.delete + figures.delete_folders], ["dates", figures.dates + figures.modes],
  ].filter(([, count]) => count > 0);
  return html`${parts.length === 0 && html`<p>${t("page.plan.here_nothing")}</p>`}
    <ul class="here-list">${parts.map(([key, count]) => html`<li key=${key} class=${key}><strong>${number(count)}</strong> ${t(`page.plan.here_${key}`)}</li>`)}</ul>
    <p class="quiet">${t("page.plan.here_bytes", { received: figures.bytes_in, reused: figures.bytes_reused, trash: figures.bytes_to_trash })}</p>`;
}

function PlanTable({ plan: told }) {
  return html`<${Scroll} label=${t("page.plan.table")}><table class="plan-table">
    <caption class="spoken">${t("page.plan.table")}</caption>
    <thead><tr><th scope="col">${t("page.detail.member")}</th>${COLUMNS.map((key) => html`<th scope="col" class="num" key=${key}>${t(`page.plan.col_${key}`)}</th>`)}
      <th scope="col" class="num">${t("page.plan.col_bytes_in")}</th><th scope="col" class="num">${t("page.plan.col_bytes_reused")}</th><th scope="col" class="num">${t("page.plan.col_bytes_to_trash")}</th></tr></thead>
    <tbody>${members.value.filter((member) => told.members[member.letter]).map((member) => {
      const figures = told.members[member.letter];
      return html`<tr key=${member.letter} class=${member.me ? "mine" : ""}><th scope="row"><${Badge} letter=${member.letter} /><span class="spoken">${member.letter} </span> ${member.name}</th>
        ${COLUMNS.map((key) => html`<td class=${`num ${key.startsWith("delete") && figures[key] ? "danger-text" : ""}`} key=${key}>${number(figures[key])}</td>`)}
        <td class="num">${size(figures.bytes_in)}</td><td class="num">${size(figures.bytes_reused)}</td><td class="num">${size(figures.bytes_to_trash)}</td></tr>`;
    })}</tbody></table><//>`;
}

// What the plan leaves as it is, and why.
function Left({ plan: told }) {
  const refusals = useSignal([]);
  const count = told.refused + told.undecided;
  useEffect(() => {
    if (count) get("plan").then((value) => { refusals.value = value.refusals; }, () => {});
  }, [told.digest]);
  if (!count) return null;
  return html`<details class="card fold"><summary><h2>${t("page.plan.left")}</h2><span class="quiet">${t("page.plan.left_count", { count })}</span></summary>
    <${Refusals} refusals=${refusals.value} /></details>`;
}

function Start({ plan: told, onDecide }) {
  const { busy, error, run } = useAct();
  const typed = useSignal("");
  const lifted = useSignal(false);
  const id = useId();
  const own = told.brakes.filter((brake) => brake.letter === me.value?.letter);
  const most = Math.max(0, ...own.map((brake) => brake.count));
  const allowed = most === 0 || Number(typed.value) === most;
  const deleting = Object.entries(told.members).filter(([, figures]) => figures.delete + figures.delete_folders > 0);
  const deleted = deleting.reduce((sum, [, figures]) => sum + figures.delete + figures.delete_folders, 0);
  const act = deleted === 0
    ? t("page.plan.start")
    : deleting.length === 1
      ? t("page.plan.start_deleting_on", { count: deleted, name: nameOf(deleting[0][0]) })
      : t("page.plan.start_deleting", { count: deleted });
  const start = () => run(async () => {
    await post("sync/start", most ? { allow_deletes: most } : {});
    lifted.value = true;
  });
  const others = told.brakes.filter((brake) => brake.letter !== me.value?.letter);
  return html`
    ${own.map((brake) => html`<${Note} tone="danger" icon="warn" key=${brake.kind}><p><strong>${t("page.brake.title")}</strong></p><p>${t("error.plan.brake", { count: brake.count, files: brake.files })}</p><//>`)}
    ${most > 0 && !lifted.value && html`<div class="field brake"><label for=${id}>${rich("page.brake.type", { count: html`<strong class="mono">${most}</strong>` })}</label>
      <input id=${id} class="mono" inputmode="numeric" autocomplete="off" value=${typed.value} onInput=${(event) => { typed.value = event.target.value.trim(); }} /></div>`}
    ${others.map((brake) => html`<${Note} tone="warning" icon="warn" key=${brake.letter + brake.kind}><p>${t("page.brake.other", { letter: brake.letter, name: nameOf(brake.letter), count: brake.count })}</p><//>`)}
    <${Problem} error=${error.value} />
    <${Actions}>
      <${Button} icon="left" onClick=${onDecide}>${t("page.plan.change")}<//>
      ${leads.value
        ? html`<${Button} kind=${deleted ? "danger" : "primary"} icon="sync" busy=${busy.value} disabled=${!allowed} onClick=${start}>${act}<//>`
        : most && !lifted.value
          ? html`<${Button} kind="danger" busy=${busy.value} disabled=${!allowed} onClick=${start}>${t("page.brake.allow", { count: most })}<//>`
          : html`<${Waiting} what="page.waiting.sync" />`}
    <//>`;
}
