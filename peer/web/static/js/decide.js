// "What should happen?": presets as cards with what each would do, then the comparison, then rules.
import { html, useEffect, useSignal } from "./html.js";
import { get, put } from "./api.js";
import { Icon } from "./icons.js";
import { Button, Note, Problem, useAct } from "./parts.js";
import { Actions, Waiting } from "./next.js";
import { Compare } from "./compare.js";
import { RulesEditor } from "./rules.js";
import { comparison, leads, letters, members, nameOf, phase, plan, session } from "./state.js";
import { number, size, t } from "./text.js";
import { chosenStep } from "./steps.js";
import { Skipped } from "./inventory.js";

// The presets in the order of usefulness; some are about one member.
export const PRESETS = [
  { name: "combine", icon: "merge", about: false },
  { name: "update", icon: "update", about: true },
  { name: "mirror", icon: "mirror", about: true },
  { name: "fill-gaps", icon: "gaps", about: false },
  { name: "consolidate", icon: "gather", about: true },
];

export function DecideStep({ onReview }) {
  const totals = comparison.value;
  if (!totals) return html`<p class="lead" role="status">${t("page.decide.comparing")}</p>`;
  const equal = totals.items === totals.equal;
  return html`
    <${Summary} totals=${totals} />
    ${equal
      ? html`<${Note} tone="good" icon="check"><p><strong>${t("page.decide.all_equal")}</strong></p><p>${t("page.decide.all_equal_text")}</p><//>`
      : html`<${Presets} onReview=${onReview} />`}
    <section class="compare-section" aria-labelledby="compare-title">
      <h2 id="compare-title">${t("page.compare.title")}</h2>
      <${Compare} allEqual=${equal} />
    </section>
    ${!equal && html`<details class="card fold"><summary><h2>${t("page.rules.advanced")}</h2><span class="quiet">${t("page.rules.summary")}</span></summary><${RulesEditor} /></details>`}
    <${Actions}>
      ${plan.value?.steps
        ? html`<${Button} kind="primary" icon="map" onClick=${onReview}>${t("page.decide.review")}<//>`
        : leads.value ? html`<p class="waiting"><span>${t(equal ? "page.decide.nothing" : "page.decide.choose")}</span></p>` : html`<${Waiting} what="page.waiting.decision" />`}
    <//>`;
}

function Summary({ totals }) {
  const skipped = {};
  for (const member of members.value) {
    for (const [reason, count] of Object.entries(member.inventory.skipped)) skipped[reason] = (skipped[reason] ?? 0) + count;
  }
  const left = session.value.settings.exclude_hidden || session.value.settings.exclude_system;
  return html`<div class="summary"><p class="lead">${t("page.decide.summary", { items: totals.items, equal: totals.equal, different: totals.different, missing: totals.missing })}</p>
    ${totals.unhashed > 0 && html`<p class="quiet">${t("page.decide.unhashed", { count: totals.unhashed })}</p>`}
    ${left && html`<${Skipped} skipped=${skipped} />`}</div>`;
}

function Presets({ onReview }) {
  const { busy, error, run } = useAct();
  const choosing = useSignal("");
  const choose = (preset) => run(async () => {
    choosing.value = preset;
    const told = await put("rules", { preset, rules: [] });
    if (told) {
      chosenStep.value = "";
      onReview();
    }
  });
  return html`<section aria-labelledby="presets-title">
    <h2 id="presets-title">${t("page.decide.question")}</h2>
    <ul class="presets">${PRESETS.map((preset) => html`<li key=${preset.name}><${Card} preset=${preset} busy=${busy.value && choosing.value.startsWith(preset.name)} onChoose=${choose} /></li>`)}</ul>
    <${Problem} error=${error.value} />
    ${!leads.value && html`<p class="quiet">${t("page.decide.not_leader")}</p>`}
  </section>`;
}

function Card({ preset, busy, onChoose }) {
  const letter = useSignal("A");
  const key = preset.name.replace("-", "_");
  const about = preset.about ? (letters.value.includes(letter.value) ? letter.value : "A") : "";
  const name = preset.about ? `${preset.name} ${about}` : preset.name;
  const counts = usePreview(name);
  return html`<article class="preset">
    <header><${Icon} name=${preset.icon} size="24" /><h3>${t(`page.preset.${key}`, { letter: about, name: nameOf(about) })}</h3></header>
    <p class="quiet">${t(`page.preset.${key}_text`, { letter: about, name: nameOf(about) })}</p>
    ${preset.about && html`<fieldset class="pick"><legend>${t("page.preset.which")}</legend>
      ${members.value.map((member) => html`<button type="button" class=${`badge fill-${member.letter} choosable`} key=${member.letter}
        aria-pressed=${member.letter === about ? "true" : "false"} aria-label=${t("page.member_named", { letter: member.letter, name: member.name })}
        onClick=${() => { letter.value = member.letter; }}>${member.letter}</button>`)}</fieldset>`}
    <${Counts} counts=${counts.value} />
    <${Button} class="preset-choose" busy=${busy} disabled=${!leads.value || phase.value !== "comparison"} onClick=${() => onChoose(name)}
      aria-label=${t("page.preset.choose_named", { preset: t(`page.preset.${key}`, { letter: about, name: nameOf(about) }) })}>${t("page.preset.choose")}<//>
  </article>`;
}

export function Counts({ counts }) {
  if (!counts) return html`<p class="counts quiet">${t("page.preset.counting")}</p>`;
  const sum = (key) => Object.values(counts.members).reduce((all, figures) => all + figures[key], 0);
  const created = sum("create") + sum("folders");
  const deleted = sum("delete") + sum("delete_folders");
  return html`<ul class="counts">
    <li><strong>${number(created)}</strong> ${t("page.created")}</li>
    <li><strong>${number(sum("replace"))}</strong> ${t("page.replaced")}</li>
    <li class=${deleted ? "danger-text" : ""}><strong>${number(deleted)}</strong> ${t("page.deleted")}</li>
    <li><strong>${size(sum("bytes_in"))}</strong> ${t("page.travel")}</li>
    ${counts.undecided > 0 && html`<li><strong>${number(counts.undecided)}</strong> ${t("page.undecided")}</li>`}
  </ul>`;
}

// What a preset would do, asked once it can be seen.
function usePreview(preset) {
  const counts = useSignal(null);
  useEffect(() => {
    let wanted = true;
    counts.value = null;
    get("preview", { preset }).then((value) => { if (wanted) counts.value = value; }, () => {});
    return () => { wanted = false; };
  }, [preset, comparison.value]);
  return counts;
}
