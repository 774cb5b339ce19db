// Rules as text, one line each: for those who know what they want exactly.
import { html, useEffect, useId, useSignal } from "./html.js";
import { get, put } from "./api.js";
import { say } from "./choices.js";
import { Button, useAct } from "./parts.js";
import { leads, plan } from "./state.js";
import { errorText, t } from "./text.js";

export function RulesEditor() {
  const text = useSignal("");
  const told = useSignal(null);
  const { busy, error, run } = useAct();
  const id = useId();
  useEffect(() => {
    get("rules").then((value) => {
      told.value = value;
      text.value = value.rules.join("\n");
    }, () => {});
  }, [plan.value?.digest]);
  const save = () => run(async () => {
    const rules = text.value.split("\n").map((line) => line.trim()).filter(Boolean);
    told.value = await put("rules", { preset: null, rules });
    say(t("page.rules.saved"));
  });
  const wrong = error.value;
  return html`<div class="stack">
    <p class="quiet">${t("page.rules.text")}</p>
    <pre class="example" tabindex="0">files if all(A.content != B.content, A.date > B.date) then copy A -> B
files if missing:B then copy newest -> B
files if path:"cache/*" then nothing -> all</pre>
    <div class=${`field ${wrong ? "wrong" : ""}`}>
      <label for=${id}>${t("page.rules.label")}</label>
      <textarea id=${id} class="mono" rows="8" spellcheck="false" readonly=${!leads.value} value=${text.value}
        aria-invalid=${wrong ? "true" : undefined} aria-describedby=${wrong ? `${id}-error` : undefined}
        onInput=${(event) => { text.value = event.target.value; }}></textarea>
      ${wrong && html`<p class="field-error" id=${`${id}-error`} role="alert">${errorText(wrong)}</p>`}
    </div>
    ${told.value?.targeted > 0 && html`<p class="quiet">${t("page.rules.targeted", { count: told.value.targeted })}</p>`}
    ${leads.value && html`<div class="row"><${Button} icon="check" busy=${busy.value} onClick=${save}>${t("page.rules.save")}<//></div>`}
  </div>`;
}
