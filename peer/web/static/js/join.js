// Join by Session ID and password, or by the whole link; what is wrong stands beside its field.
import { html, useEffect, useId, useSignal } from "./html.js";
import { form, node } from "./choices.js";
import { post } from "./api.js";
import { Button, Field, Problem, useAct } from "./parts.js";
import { SourcePicker } from "./folders.js";
import { clock, errorHint, errorText, t } from "./text.js";

const LINK = /^\s*quintet:\/\//;

// Which field an outcome of a join is about (the rest stands above the buttons).
const ABOUT_ID = new Set(["E01", "E02"]);
const ABOUT_PASSWORD = new Set(["E03", "E04"]);
const ABOUT_LINK = new Set(["invitation.malformed"]);
const ABOUT_NODE = new Set(["session.rendezvous_needed", "E11"]);

export function JoinForm() {
  const link = useSignal("");
  const id = useSignal("");
  const password = useSignal("");
  const address = useSignal(node.value);
  const sources = useSignal([]);
  const { busy, error, run } = useAct();
  const left = useCountdown(error.value);
  const key = useId();
  const byLink = LINK.test(link.value);

  const join = (acceptNewKey = false) => run(async () => {
    const body = byLink
      ? { invitation: link.value.trim(), sources: sources.value, accept_new_key: acceptNewKey }
      : {
          session_id: id.value.trim(), password: password.value.trim(),
          rendezvous: address.value.trim() || null, sources: sources.value, accept_new_key: acceptNewKey,
        };
    await post("session/join", body);
    if (!byLink) node.value = address.value.trim();
    form.value = "";
  });
  // A link pasted into any field is meant as a link.
  const take = (target) => (event) => {
    const { value } = event.target;
    if (target !== link && LINK.test(value)) {
      link.value = value;
      event.target.value = target.value;
    } else target.value = value;
  };
  const code = error.value?.code;
  const params = left.value > 0 ? { ...error.value?.params, retry_after: left.value } : error.value?.params;
  const told = error.value ? `${errorText({ code, params })} ${errorHint({ code })}`.trim() : "";
  const about = (set) => (set.has(code) ? told : "");
  const placed = [ABOUT_ID, ABOUT_PASSWORD, ABOUT_NODE].some((set) => set.has(code)) && !byLink;
  const onLink = ABOUT_LINK.has(code) || (byLink && placed);
  const waits = left.value > 0;
  const input = (name, target, rest) => html`<input
    id=${`${key}-${name}`} autocomplete="off" spellcheck="false" class="mono" value=${target.value}
    onInput=${take(target)} disabled=${name !== "link" && byLink} ...${rest} />`;
  const described = (name, wrong) => ({
    "aria-describedby": wrong ? `${key}-${name}-error` : undefined,
    "aria-invalid": wrong ? "true" : undefined,
  });

  return html`<main class="form-page" id="main">
    <h1>${t("page.start.join")}</h1>
    <p class="lead">${t("page.join.lead")}</p>
    <form onSubmit=${(event) => { event.preventDefault(); if (!waits) join(); }}>
      <${Field} id=${`${key}-link`} label=${t("page.join.link")} help=${t("page.join.link_help")}
        error=${onLink || (byLink && error.value && !waits) ? told : ""}>
        ${input("link", link, { placeholder: "quintet://join#…", ...described("link", onLink) })}
      <//>
      <p class="or" aria-hidden="true"><span>${t("page.or")}</span></p>
      <div class="two">
        <${Field} id=${`${key}-id`} label=${t("page.session_id")} error=${byLink ? "" : about(ABOUT_ID)}>
          ${input("id", id, { placeholder: "7GQ-2M9-KXT", autocapitalize: "characters", ...described("id", about(ABOUT_ID)) })}
        <//>
        <${Field} id=${`${key}-password`} label=${t("page.password")} error=${byLink ? "" : about(ABOUT_PASSWORD)}>
          ${input("password", password, { placeholder: "K7QF-2MNX-9TBR", autocapitalize: "characters", ...described("password", about(ABOUT_PASSWORD)) })}
        <//>
      </div>
      <${Field} id=${`${key}-node`} label=${t("page.node")} help=${t("page.node_join_help")} error=${byLink ? "" : about(ABOUT_NODE)}>
        ${input("node", address, described("node", about(ABOUT_NODE)))}
      <//>
      <${SourcePicker} chosen=${sources} />
      ${waits && html`<p class="note warning" role="timer"><span>${told}</span></p>`}
      ${error.value && !waits && !placed && !onLink && !byLink && html`<${Problem} error=${error.value} />`}
      ${code === "E17" && html`<div class="row"><${Button} icon="shield" onClick=${() => join(true)}>${t("page.join.accept_key")}<//></div>`}
      <div class="actions">
        <${Button} onClick=${() => { form.value = ""; }}>${t("page.cancel")}<//>
        <button type="submit" class="button primary" disabled=${waits || (!byLink && !(id.value.trim() && password.value.trim()))}
          aria-busy=${busy.value ? "true" : undefined}>
          <span>${waits ? t("page.join.wait", { time: clock(left.value) }) : busy.value ? t("page.join.joining") : t("page.join.join")}</span>
        </button>
      </div>
      ${busy.value && html`<p class="quiet" role="status">${t("page.join.patience")}</p>`}
    </form>
  </main>`;
}

// Seconds until another try is allowed, counted down; 0 where one may try at once.
function useCountdown(error) {
  const left = useSignal(0);
  useEffect(() => {
    left.value = error?.params?.retry_after ?? 0;
    if (left.value <= 0) return undefined;
    const end = performance.now() + left.value * 1000;
    const timer = setInterval(() => {
      left.value = Math.max(0, Math.ceil((end - performance.now()) / 1000));
      if (left.value === 0) clearInterval(timer);
    }, 250);
    return () => clearInterval(timer);
  }, [error]);
  return left;
}
