// An action set by hand on the chosen rows.
import { html, useId, useSignal } from "./html.js";
import { post } from "./api.js";
import { say } from "./choices.js";
import { Button, Dialog, Problem, Scroll, useAct } from "./parts.js";
import { chosenFilters } from "./rows.js";
import { letters, members } from "./state.js";
import { t } from "./text.js";

const ACTIONS = ["copy", "copy-content", "copy-dates", "create", "delete", "nothing"];
const FROM_ONE = new Set(["copy", "copy-content", "copy-dates"]);
const MOST_SHOWN = 200;

export function ActDialog({ rows, selected, filter, count, onClose }) {
  const action = useSignal("copy");
  const origin = useSignal(letters.value[0]);
  const targets = useSignal(new Set(letters.value.slice(1)));
  const told = useSignal(null);
  const { busy, error, run } = useAct();
  const id = useId();
  const needsOrigin = FROM_ONE.has(action.value);
  const to = [...targets.value].filter((letter) => !needsOrigin || letter !== origin.value).sort();
  const apply = () => run(async () => {
    const filters = selected === "all" ? [filter] : chosenFilters(await rows.numbers([...selected].sort((one, other) => one - other)));
    let applied = 0;
    let refused = [];
    for (const each of filters) {
      const answer = await post("actions", { filter: each, action: action.value, origin: needsOrigin ? origin.value : null, targets: to });
      applied += answer.applied;
      refused = answer.refused;
    }
    if (refused.length) told.value = { applied, refused };
    else {
      say(t("act.applied", { count: applied }));
      onClose();
    }
  });
  const toggle = (letter) => {
    const next = new Set(targets.value);
    if (!next.delete(letter)) next.add(letter);
    targets.value = next;
  };
  if (told.value) {
    return html`<${Dialog} wide title=${t("page.act.title", { count })} onClose=${onClose} actions=${html`<${Button} kind="primary" onClick=${onClose}>${t("page.close")}<//>`}>
      <p>${t("act.applied", { count: told.value.applied })}</p><p>${t("page.act.refused", { count: told.value.refused.length })}</p>
      <${Refusals} refusals=${told.value.refused} /><//>`;
  }
  return html`<${Dialog} title=${t("page.act.title", { count })} onClose=${onClose} actions=${html`
    <${Button} onClick=${onClose}>${t("page.cancel")}<//>
    <${Button} kind="primary" busy=${busy.value} disabled=${!to.length} onClick=${apply}>${t("page.act.apply")}<//>`}>
    <div class="field"><label for=${id}>${t("page.act.what")}</label>
      <select id=${id} onChange=${(event) => { action.value = event.target.value; }}>
        ${ACTIONS.map((each) => html`<option value=${each} selected=${each === action.value}>${t(`page.action.${each.replace("-", "_")}`)}</option>`)}</select></div>
    ${needsOrigin && html`<fieldset class="pick"><legend>${t("page.act.from")}</legend>${members.value.map((member) => html`<button type="button"
      class=${`badge fill-${member.letter} choosable`} key=${member.letter} aria-pressed=${origin.value === member.letter ? "true" : "false"}
      aria-label=${t("page.member_named", { letter: member.letter, name: member.name })} onClick=${() => { origin.value = member.letter; }}>${member.letter}</button>`)}</fieldset>`}
    <fieldset class="pick"><legend>${t("page.act.to")}</legend>${members.value.filter((member) => !needsOrigin || member.letter !== origin.value).map((member) => html`<button type="button"
      class=${`badge fill-${member.letter} choosable`} key=${member.letter} aria-pressed=${targets.value.has(member.letter) ? "true" : "false"}
      aria-label=${t("page.member_named", { letter: member.letter, name: member.name })} onClick=${() => toggle(member.letter)}>${member.letter}</button>`)}</fieldset>
    <p class="quiet">${t("page.act.note")}</p>
    <${Problem} error=${error.value} />
  <//>`;
}

export function Refusals({ refusals }) {
  return html`<${Scroll} label=${t("page.plan.left")}><table><thead><tr><th scope="col">${t("page.compare.path")}</th><th scope="col">${t("page.detail.member")}</th><th scope="col">${t("page.plan.reason")}</th></tr></thead>
    <tbody>${refusals.slice(0, MOST_SHOWN).map((each) => html`<tr key=${each.path + each.letter}><td class="path">${each.path}</td><td>${each.letter ?? ""}</td><td>${t(`reason.${each.reason}`)}</td></tr>`)}</tbody></table><//>
    ${refusals.length > MOST_SHOWN && html`<p class="quiet">${t("page.more", { count: refusals.length - MOST_SHOWN })}</p>`}`;
}
