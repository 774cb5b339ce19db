// The synchronisation while it runs, and its end: proof, errors, report.
import { html, useEffect, useId, useSignal } from "./html.js";
import { post } from "./api.js";
import { Icon } from "./icons.js";
import { Badge, Bar, Button, Confirm, Note, Problem, Scroll, download, useAct } from "./parts.js";
import { Tile } from "./inventory.js";
import { Actions, Waiting } from "./next.js";
import { leads, members, phase, plan, proof, session, sync } from "./state.js";
import { clock, errorText, number, size, t } from "./text.js";

const SECOND = 1000;
const SHOWN_SECONDS = 120;
const RATE_OVER = 5;
const MOST_SHOWN = 200;

export function SyncStep() {
  const told = sync.value;
  const running = phase.value === "synchronisation";
  const samples = useSamples(running);
  if (!told) return html`<p class="lead" role="status">${t("page.sync.preparing")}</p><${Actions}><${Waiting} what="page.waiting.sync" /><//>`;
  return html`
    ${running ? html`<${Running} told=${told} samples=${samples.value} />` : html`<${Ended} told=${told} />`}
    <ul class="progress-list">${members.value.map((member) => html`<${MemberProgress} key=${member.index} member=${member} />`)}</ul>
    <${Failures} failures=${told.failures} title=${t("page.sync.failures", { count: told.failed ?? told.failures.length })} />
    ${running ? html`<${Stop} />` : html`<${After} />`}`;
}

function Running({ told, samples }) {
  const share = told.bytes ? told.bytes_done / told.bytes : told.steps ? told.done / told.steps : 0;
  const rate = rateOf(samples);
  const left = rate > 0 ? (told.bytes - told.bytes_done) / rate : null;
  return html`<div class="big-progress"><strong>${Math.floor(share * 100)} %</strong><${Bar} value=${share} label=${t("page.sync.overall")} /></div>
    <div class="tiles">
      <${Tile} name=${t("page.sync.volume")} value=${t("page.of", { done: size(told.bytes_done), total: size(told.bytes) })} />
      <${Tile} name=${t("page.sync.steps")} value=${t("page.of", { done: number(told.done), total: number(told.steps) })} />
      <${Tile} name=${t("page.sync.rate")} value=${`${size(Math.round(rate))}/s`} />
      <${Tile} name=${t("page.elapsed")} value=${clock(told.elapsed)} />
      <${Tile} name=${t("page.sync.left")} value=${left === null || samples.length < 3 ? "…" : clock(left)} />
    </div>
    <${Graph} samples=${samples} />`;
}

// Bytes done at every second, for the rate and the graph.
function useSamples(running) {
  const samples = useSignal([]);
  useEffect(() => {
    if (!running) return undefined;
    const take = () => { samples.value = [...samples.value.slice(-SHOWN_SECONDS), { at: performance.now() / SECOND, done: sync.value?.bytes_done ?? 0 }]; };
    take();
    const timer = setInterval(take, SECOND);
    return () => clearInterval(timer);
  }, [running]);
  return samples;
}

function rateOf(samples) {
  const recent = samples.slice(-RATE_OVER - 1);
  if (recent.length < 2) return 0;
  const [first, last] = [recent[0], recent.at(-1)];
  return Math.max(0, (last.done - first.done) / Math.max(0.1, last.at - first.at));
}

function Graph({ samples }) {
  const rates = samples.slice(1).map((sample, place) => Math.max(0, sample.done - samples[place].done) / Math.max(0.1, sample.at - samples[place].at));
  if (rates.length < 2) return null;
  const top = Math.max(1, ...rates);
  const points = rates.map((rate, place) => `${(place / (rates.length - 1)) * 600} ${96 - (rate / top) * 88}`);
  return html`<figure class="graph"><svg viewBox="0 0 600 100" preserveAspectRatio="none" role="img" aria-label=${t("page.sync.graph", { rate: `${size(Math.round(top))}/s` })}>
    <path class="graph-area" d=${`M0 100L${points.join("L")}L600 100Z`} /><path class="graph-line" d=${`M${points.join("L")}`} fill="none" vector-effect="non-scaling-stroke" /></svg>
    <figcaption class="quiet">${t("page.sync.graph", { rate: `${size(Math.round(top))}/s` })}</figcaption></figure>`;
}

function MemberProgress({ member }) {
  const told = member.sync;
  const share = told.steps ? told.done / told.steps : ["sync_done"].includes(member.state) ? 1 : 0;
  return html`<li class="progress"><${Badge} letter=${member.letter} /><div class="progress-body">
    <div class="row between"><strong>${member.name}</strong><span class="quiet">${t(`member.${member.state}`)}</span></div>
    <${Bar} value=${share} label=${t("page.sync.bar", { name: member.name })} tone=${told.failed ? "warning" : ""} />
    <p class="quiet">${t("page.sync.counts", { done: told.done, steps: told.steps, bytes_done: told.bytes_done, bytes: told.bytes })}
      ${told.failed > 0 && html` · <span class="danger-text">${t("page.errors", { count: told.failed })}</span>`}</p></div></li>`;
}

function Failures({ failures, title }) {
  const id = useId();
  if (!failures.length) return null;
  return html`<section class="card" aria-labelledby=${id}><h2 id=${id}>${title}</h2>
    <${Scroll} label=${title}><table><thead><tr><th scope="col">${t("page.compare.path")}</th><th scope="col">${t("page.detail.member")}</th><th scope="col">${t("page.plan.reason")}</th></tr></thead>
    <tbody>${failures.slice(0, MOST_SHOWN).map((each, place) => html`<tr key=${place}><td class="path">${each.path}</td><td>${each.letter ?? ""}</td><td>${errorText(each)}</td></tr>`)}</tbody></table><//></section>`;
}

function Stop() {
  const asking = useSignal(false);
  return html`<${Actions}><${Button} kind="danger-plain" icon="cross" onClick=${() => { asking.value = true; }}>${t("page.sync.stop")}<//><//>
    ${asking.value && html`<${Confirm} title=${t("page.sync.stop")} text=${t("page.sync.stop_text")} act=${t("page.sync.stop")} danger onYes=${() => post("sync/abort")} onClose=${() => { asking.value = false; }} />`}`;
}

// --- the end ------------------------------------------------------------------------------------

function Ended({ told }) {
  const state = proof.value?.state;
  const tone = told.state === "aborted" || told.state === "failed" || state === "deviates" ? "danger" : told.state === "done_with_errors" ? "warning" : "good";
  const undecided = plan.value?.undecided ?? 0;
  return html`<div class=${`end ${tone}`} role="status">
      <${Icon} name=${tone === "good" ? (state === "equal" ? "shield" : "check") : "warn"} size="40" />
      <div><p class="end-title">${t(`sync.${told.state}`, told)}</p>
      <p>${proofText(state)}</p></div></div>
    ${proof.value?.deviations?.length > 0 && html`<${Failures} failures=${proof.value.deviations} title=${t("page.sync.deviations", { count: proof.value.deviations.length })} />`}
    ${undecided > 0 && html`<${Note} tone="warning" icon="scales"><p>${t("plan.undecided", { count: undecided })}</p><p class="quiet">${t("page.sync.undecided_text")}</p><//>`}`;
}

function proofText(state) {
  if (!state) return t("page.sync.not_proved");
  return t(`proof.${state}`, proof.value);
}

function After() {
  const { busy, error, run } = useAct();
  const checking = useAct();
  return html`<${Problem} error=${error.value ?? checking.error.value} />
    <${Actions}>
      <${Button} icon="save" onClick=${report}>${t("page.sync.report")}<//>
      <${Button} icon="shield" busy=${checking.busy.value} onClick=${() => checking.run(() => post("verify"))}>${t("page.sync.verify")}<//>
      ${leads.value
        ? html`<${Button} kind="primary" icon="restart" busy=${busy.value} onClick=${() => run(() => post("session/restart"))}>${t("page.sync.again")}<//>`
        : html`<${Waiting} what="page.waiting.again" />`}
    <//>`;
}

// Everything about this synchronisation that others may read: no secret is in the state.
function report() {
  const told = {
    session: session.value.id,
    written: new Date().toISOString(),
    members: members.value.map(({ letter, name, sources, sync: figures, state }) => ({ letter, name, state, sources, sync: figures })),
    plan: plan.value, synchronisation: sync.value, proof: proof.value,
  };
  download(`quintet-${session.value.id ?? "local"}.json`, "application/json", `${JSON.stringify(told, null, 1)}\n`);
}

