// Where there is no session: start one, join one, or learn what will come.
import { html, useId, useSignal } from "./html.js";
import { form, node } from "./choices.js";
import { post } from "./api.js";
import { Icon, Mark } from "./icons.js";
import { Button, Field, Note, Problem, useAct } from "./parts.js";
import { SourcePicker } from "./folders.js";
import { JoinForm } from "./join.js";
import { parting, state } from "./state.js";
import { t } from "./text.js";

export function StartPage() {
  if (form.value === "join") return html`<${JoinForm} />`;
  if (form.value === "start") return html`<${StartForm} />`;
  if (form.value === "local") return html`<${LocalForm} />`;
  return html`<main class="welcome" id="main">
    <div class="hero">
      <${Mark} size="72" />
      <h1>${t("page.start.title")}</h1>
      <p class="lead">${t("page.start.lead")}</p>
    </div>
    <${Parting} />
    <div class="choices">
      <button type="button" class="choice primary" onClick=${() => { form.value = "start"; }}>
        <${Icon} name="plus" size="28" /><strong>${t("page.start.start")}</strong><span>${t("page.start.start_text")}</span>
      </button>
      <button type="button" class="choice" onClick=${() => { form.value = "join"; }}>
        <${Icon} name="people" size="28" /><strong>${t("page.start.join")}</strong><span>${t("page.start.join_text")}</span>
      </button>
      <button type="button" class="choice" onClick=${() => { form.value = "local"; }}>
        <${Icon} name="disk" size="28" /><strong>${t("page.start.local")}</strong><span>${t("page.start.local_text")}</span>
      </button>
    </div>
    <section class="steps-preview" aria-labelledby="how">
      <h2 id="how">${t("page.start.how")}</h2>
      <ol>${["people", "inventory", "decide", "review", "sync"].map(
        (step) => html`<li><strong>${t(`page.step.${step}`)}</strong> ${t(`page.start.how_${step}`)}</li>`,
      )}</ol>
    </section>
    <section class="later" aria-labelledby="later">
      <h2 id="later">${t("page.start.also")}</h2>
      <p class="quiet">${t("page.start.also_text")}</p>
    </section>
    <p class="fine">${t("page.start.me", { name: state.value.me.name, fingerprint: state.value.me.fingerprint })}</p>
  </main>`;
}

// What ended the last session, said once.
function Parting() {
  if (!parting.value) return null;
  const left = parting.value === "left";
  return html`<${Note} tone=${left ? "good" : "warning"} icon=${left ? "check" : "warn"} role="status">
    <p><strong>${t(left ? "page.left.title" : "page.ended.title")}</strong></p>
    <p>${t(left ? "page.left.text" : "page.ended.text")}</p>
  <//>`;
}

// Two to five folders of this computer, without a node: nobody is invited.
function LocalForm() {
  const sources = useSignal([]);
  const { busy, error, run } = useAct();
  const start = () => run(async () => {
    await post("session/local", { sources: sources.value });
    form.value = "";
  });
  return html`<main class="form-page" id="main">
    <h1>${t("page.start.local")}</h1>
    <p class="lead">${t("page.start.local_lead")}</p>
    <form onSubmit=${(event) => { event.preventDefault(); start(); }}>
      <${SourcePicker} chosen=${sources} />
      <${Problem} error=${error.value} />
      <div class="actions">
        <${Button} onClick=${() => { form.value = ""; }}>${t("page.cancel")}<//>
        <button type="submit" class="button primary" disabled=${sources.value.length < 2} aria-busy=${busy.value ? "true" : undefined}>
          <span>${busy.value ? t("page.start.starting") : t("page.start.local")}</span></button>
      </div>
    </form>
  </main>`;
}

function StartForm() {
  const sources = useSignal([]);
  const address = useSignal(node.value);
  const { busy, error, run } = useAct();
  const id = useId();
  const needsNode = error.value?.code === "session.rendezvous_needed";
  const start = () => run(async () => {
    await post("session/start", { sources: sources.value, rendezvous: address.value.trim() || null });
    node.value = address.value.trim();
    form.value = "";
  });
  const cancel = () => { form.value = ""; };
  return html`<main class="form-page" id="main">
    <h1>${t("page.start.start")}</h1>
    <p class="lead">${t("page.start.form_lead")}</p>
    <form onSubmit=${(event) => { event.preventDefault(); start(); }}>
      <${SourcePicker} chosen=${sources} />
      <${Field} id=${id} label=${t("page.node")} help=${t("page.node_help")} error=${needsNode ? t("page.node_needed") : ""}>
        <input id=${id} class="mono" autocomplete="off" spellcheck="false" value=${address.value}
          aria-describedby=${`${id}-help`} aria-invalid=${needsNode ? "true" : undefined}
          onInput=${(event) => { address.value = event.target.value; }} />
      <//>
      ${!needsNode && html`<${Problem} error=${error.value} />`}
      <div class="actions">
        <${Button} onClick=${cancel}>${t("page.cancel")}<//>
        <button type="submit" class="button primary" aria-busy=${busy.value ? "true" : undefined}>
          <span>${busy.value ? t("page.start.starting") : t("page.start.start")}</span>
        </button>
      </div>
    </form>
  </main>`;
}

