// The session on one page: header, members, stepper, and the one thing to do next.
import { html, useEffect, useRef, useSignal } from "./html.js";
import { signal } from "@preact/signals";
import { chooseLanguage, say, theme } from "./choices.js";
import { post } from "./api.js";
import { Icon, Mark } from "./icons.js";
import { Button, Confirm, CopyField, Menu, Note, Problem, useAct } from "./parts.js";
import { InviteDialog, useSecrets } from "./invite.js";
import { MemberBlocks, MemberStrip } from "./members.js";
import { SettingsBlock } from "./settings.js";
import { InventoryStep } from "./inventory.js";
import { DecideStep } from "./decide.js";
import { ReviewStep } from "./review.js";
import { SyncStep } from "./sync.js";
import { Actions, Waiting } from "./next.js";
import { STEPS, chosenStep, currentStep } from "./steps.js";
import { leader, leads, leaving, me, members, phase, plan, session, state } from "./state.js";
import { has, language, t } from "./text.js";

const ICONS = { people: "people", inventory: "search", decide: "scales", review: "map", sync: "sync" };
const inviting = signal(false);

export function SessionPage() {
  const step = currentStep();
  const heading = useRef(null);
  const before = useRef(step);
  useEffect(() => {
    if (before.current !== step && (document.activeElement === document.body || !document.activeElement)) heading.current?.focus();
    before.current = step;
  }, [step]);
  useEffect(() => {
    if (phase.value !== "comparison") chosenStep.value = "";
  }, [phase.value]);
  useLeaderChange();
  useNotices();
  return html`<div class="session">
    <${Header} />
    <main id="main" class="session-main">
      <${MemberStrip} />
      <${Stepper} step=${step} />
      <${AwayBanner} />
      <section class="step" aria-labelledby="step-title">
        <h1 id="step-title" tabindex="-1" ref=${heading}>${t(`page.step_title.${step}`)}</h1>
        ${step === "people" && html`<${PeopleStep} />`}
        ${step === "inventory" && html`<${InventoryStep} />`}
        ${step === "decide" && html`<${DecideStep} onReview=${() => { chosenStep.value = "review"; }} />`}
        ${step === "review" && html`<${ReviewStep} onDecide=${() => { chosenStep.value = "decide"; }} />`}
        ${step === "sync" && html`<${SyncStep} />`}
      </section>
    </main>
    ${inviting.value && html`<${InviteDialog} onClose=${() => { inviting.value = false; }} />`}
  </div>`;
}

function Header() {
  const asking = useSignal("");
  const close = () => { asking.value = ""; };
  const node = session.value.rendezvous;
  const up = node?.state === "registered" || node?.state === "off";
  return html`<header class="top">
    <span class="brand"><${Mark} size="26" /><strong>Quintet</strong></span>
    <span class="where">${session.value.local ? t("page.start.local") : html`<span class="mono">${grouped(session.value.id)}</span>
      <span class=${`link-badge ${up ? "up" : "down"}`} title=${node.address}><span class="dot" aria-hidden="true"></span>${t("page.node_short")}: ${t(`node_state.${node.state}`)}</span>`}</span>
    <span class="grow"></span>
    ${phase.value === "preparation" && !session.value.local && members.value.length < 5
      && html`<${Button} icon="invite" class="invite-button" onClick=${() => { inviting.value = true; }}>${t("page.invite.invite")}<//>`}
    <${Menu} icon="more" label=${t("page.menu")}>
      ${phase.value !== "preparation" && leads.value && html`<button type="button" data-closes class="menu-item" onClick=${() => { asking.value = "restart"; }}><${Icon} name="restart" />${t("page.restart.act")}</button>`}
      <button type="button" data-closes class="menu-item" onClick=${() => { asking.value = "leave"; }}><${Icon} name="leave" />${t("page.leave.act")}</button>
      <hr /><${Tastes} />
    <//>
    ${asking.value === "leave" && html`<${LeaveDialog} onClose=${close} />`}
    ${asking.value === "restart" && html`<${Confirm} title=${t("page.restart.act")} text=${t("page.restart.text")} act=${t("page.restart.act")}
      onClose=${close} onYes=${() => post("session/restart")} />`}
  </header>`;
}

// As it is read aloud: three groups of three.
function grouped(id) {
  return id.replaceAll("-", "").replace(/(.{3})(?=.)/g, "$1-");
}

// Language and theme: two small rows of choices.
export function Tastes() {
  const row = (label, chosen, options, choose) => html`<fieldset class="taste"><legend>${label}</legend>
    ${options.map(([value, text]) => html`<button type="button" class="chip" lang=${value.length === 2 ? value : undefined}
      aria-pressed=${value === chosen ? "true" : "false"} onClick=${() => choose(value)}>${text}</button>`)}</fieldset>`;
  return html`${row(t("page.language"), language.value, [["en", "English"], ["fr", "Français"]], chooseLanguage)}
    ${row(t("page.theme"), theme.value, ["auto", "light", "dark"].map((each) => [each, t(`page.theme_${each}`)]), (value) => { theme.value = value; })}`;
}

function LeaveDialog({ onClose }) {
  const done = phase.value === "finished";
  const activated = session.value.activated && !done;
  const text = done ? "page.leave.done" : activated ? "page.leave.activated" : "page.leave.text";
  const leave = async () => {
    leaving.now = true;
    try {
      await post("session/leave", { confirmed: true });
    } catch (error) {
      leaving.now = false;
      throw error;
    }
  };
  return html`<${Confirm} title=${t("page.leave.act")} text=${t(text)} act=${t("page.leave.act")} danger=${activated} onYes=${leave} onClose=${onClose} />`;
}

function Stepper({ step }) {
  const now = STEPS.indexOf(step);
  const free = phase.value === "comparison";
  return html`<nav class="stepper" aria-label=${t("page.steps")}><ol>
    ${STEPS.map((each, place) => {
      const reachable = free && (each === "decide" || (each === "review" && plan.value));
      const done = place < now;
      const inner = html`<span class="step-mark" aria-hidden="true">${done ? html`<${Icon} name="check" size="16" />` : html`<${Icon} name=${ICONS[each]} size="16" />`}</span>
        <span class="step-text"><span>${t(`page.step.${each}`)}</span>${done && html`<span class="spoken"> (${t("page.done")})</span>`}</span>`;
      return html`<li key=${each} class=${place === now ? "now" : done ? "done" : ""} aria-current=${place === now ? "step" : undefined}>
        ${reachable && place !== now
          ? html`<button type="button" class="step-link" onClick=${() => { chosenStep.value = each; }}>${inner}</button>`
          : html`<span class="step-link">${inner}</span>`}
      </li>`;
    })}
  </ol></nav>`;
}

// Members that cannot be reached just now: the session goes on without falling apart.
function AwayBanner() {
  const away = members.value.filter((member) => member.state === "unreachable");
  if (!away.length) return null;
  return html`<${Note} tone="warning" icon="warn" role="status">
    <p>${away.map((member) => t("page.away", { letter: member.letter, name: member.name })).join(" ")}</p><p class="quiet">${t("page.away_text")}</p><//>`;
}

// --- people -----------------------------------------------------------------------------

function PeopleStep() {
  const { busy, error, run } = useAct();
  const mine = me.value?.sources.length > 0;
  const alone = members.value.length < 2;
  const offering = members.value.filter((member) => member.sources.length > 0).length;
  const unlinked = members.value.filter((member) => !session.value.local && !member.me && member.link?.state !== "up" && member.state !== "left");
  const ready = !alone && offering >= 2 && unlinked.length === 0;
  const hint = !mine ? "page.people.need_source" : alone ? "page.people.alone" : offering < 2 ? "page.people.need_others" : unlinked.length ? "page.people.connecting" : "page.people.ready";
  return html`
    <p class="lead">${t(leads.value || !ready ? hint : "page.people.others_ready")}</p>
    <${Paused} />
    <${MemberBlocks} needsSource=${!mine} />
    ${alone && html`<${SecretsBlock} />`}
    <${SettingsBlock} />
    <${Problem} error=${error.value} />
    <${Actions}>
      ${leads.value
        ? mine && alone
          ? html`<${Button} kind="primary" icon="invite" onClick=${() => { inviting.value = true; }}>${t("page.invite.invite")}<//>`
          : html`<${Button} kind=${mine ? "primary" : "plain"} icon="search" disabled=${!ready || !mine} busy=${busy.value}
              onClick=${() => run(() => post("inventory/start"))}>${t("page.people.compare")}<//>`
        : html`<${Waiting} what="page.waiting.inventory" />`}
    <//>`;
}

// After many wrong passwords nobody is let in until a member says so.
function Paused() {
  const { busy, error, run } = useAct();
  if (!session.value.joining_paused?.length) return null;
  return html`<${Note} tone="warning" icon="shield" role="status"><p>${t("page.paused")}</p>
    <div class="row"><${Button} busy=${busy.value} onClick=${() => run(() => post("joining/allow"))}>${t("page.allow_joining")}<//></div>
    <${Problem} error=${error.value} /><//>`;
}

function SecretsBlock() {
  const { secrets } = useSecrets();
  if (!secrets.value) return null;
  return html`<section class="card" aria-labelledby="secrets-title">
    <h2 id="secrets-title">${t("page.people.invite_title")}</h2>
    <p class="quiet">${t("page.people.invite_text")}</p>
    <div class="two"><${CopyField} label=${t("page.session_id")} value=${secrets.value.session_id} />
    <${CopyField} label=${t("page.password")} value=${secrets.value.password} /></div>
    <${CopyField} label=${t("page.invite.link")} value=${secrets.value.invitation} />
  </section>`;
}

// --- what is told once ------------------------------------------------------------------

function useLeaderChange() {
  const known = useRef(null);
  useEffect(() => {
    const now = leader.value?.index;
    if (now === undefined) return;
    if (known.current !== null && known.current !== now) {
      say(leads.value ? t("page.leader.you") : t("page.leader.other", { letter: leader.value.letter, name: leader.value.name }), "warning");
    }
    known.current = now;
  }, [leader.value?.index]);
}

// Notices of the peer, each said once.
function useNotices() {
  const last = useRef(null);
  useEffect(() => {
    const all = state.value.notices;
    const newest = all.length ? all[all.length - 1].number : 0;
    if (last.current !== null) {
      for (const notice of all.filter((each) => each.number > last.current)) {
        const key = [`page.notice.${notice.code}`, `notice.${notice.code}`].find(has);
        const reason = has(`error.${notice.params.reason}`) ? t(`error.${notice.params.reason}`) : notice.params.reason;
        if (key) say(t(key, { ...notice.params, reason }), "warning");
      }
    }
    last.current = newest;
  }, [state.value.notices]);
}
