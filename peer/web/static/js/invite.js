// The invitation: ID, password, link, a text to send and a QR code.
import { html, useEffect, useId, useSignal } from "./html.js";
import { get } from "./api.js";
import { Button, CopyField, Dialog, Note, Problem, copy } from "./parts.js";
import { t } from "./text.js";

export function useSecrets() {
  const secrets = useSignal(null);
  const error = useSignal(null);
  useEffect(() => {
    get("session/secrets").then((value) => { secrets.value = value; }, (caught) => { error.value = caught; });
  }, []);
  return { secrets, error };
}

export function InviteDialog({ onClose }) {
  const { secrets, error } = useSecrets();
  const known = secrets.value;
  const message = known && t("page.invite.message", { invitation: known.invitation, id: known.session_id, password: known.password });
  return html`<${Dialog} wide title=${t("page.invite.title")} onClose=${onClose}
    actions=${known && html`<${Button} kind="primary" icon="copy" onClick=${() => copy(message)}>${t("page.invite.copy_all")}<//>`}>
    <${Problem} error=${error.value} />
    ${known && html`<div class="invite">
      <div class="stack">
        <${Note} tone="warning" icon="shield"><p>${t("page.invite.anyone")}</p><//>
        <${CopyField} label=${t("page.invite.link")} value=${known.invitation} />
        <div class="two"><${CopyField} label=${t("page.session_id")} value=${known.session_id} />
        <${CopyField} label=${t("page.password")} value=${known.password} /></div>
        <${Message} text=${message} />
      </div>
      <figure><${QrCode} /><figcaption class="quiet">${t("page.invite.qr")}</figcaption></figure>
    </div>`}
  <//>`;
}

function Message({ text }) {
  const id = useId();
  return html`<div class="field"><label for=${id}>${t("page.invite.message_label")}</label>
    <textarea id=${id} readonly rows="6" value=${text}></textarea></div>`;
}

function QrCode() {
  const code = useSignal(null);
  useEffect(() => { get("session/qr").then((value) => { code.value = value; }, () => {}); }, []);
  if (!code.value) return html`<div class="qr"></div>`;
  const edge = code.value.size + 8;
  return html`<svg class="qr" viewBox=${`-4 -4 ${edge} ${edge}`} role="img" aria-label=${t("page.invite.qr")} shape-rendering="crispEdges">
    <rect x="-4" y="-4" width=${edge} height=${edge} fill="#fff" /><path d=${code.value.path} fill="#000" /></svg>`;
}
