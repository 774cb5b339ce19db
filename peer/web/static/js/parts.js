// The small parts that every block uses: buttons, dialogs, fields, badges, bars.
import { html, useEffect, useId, useRef, useSignal } from "./html.js";
import { Icon } from "./icons.js";
import { say, toasts, unsay } from "./choices.js";
import { errorHint, errorText, t } from "./text.js";

export function Button({ kind = "plain", icon, busy, children, class: extra = "", ...rest }) {
  return html`<button type="button" class=${`button ${kind} ${extra}`} aria-busy=${busy ? "true" : undefined} ...${rest}>
    ${icon && html`<${Icon} name=${icon} />`}${children && html`<span>${children}</span>`}
  </button>`;
}

export function IconButton({ icon, label, class: extra = "", ...rest }) {
  return html`<button type="button" class=${`icon-button ${extra}`} aria-label=${label} title=${label} ...${rest}>
    <${Icon} name=${icon} />
  </button>`;
}

// Runs an act of the person; what the peer refuses is said where it was asked.
export function useAct() {
  const busy = useSignal(false);
  const error = useSignal(null);
  const run = async (act) => {
    if (busy.value) return undefined;
    busy.value = true;
    error.value = null;
    try {
      return await act();
    } catch (caught) {
      if (!caught.code) throw caught;
      error.value = caught;
      return undefined;
    } finally {
      busy.value = false;
    }
  };
  return { busy, error, run };
}

export function Problem({ error }) {
  if (!error) return null;
  const hint = errorHint(error);
  return html`<div class="note danger" role="alert">
    <${Icon} name="warn" />
    <div><p>${errorText(error)}</p>${hint && html`<p class="quiet">${hint}</p>`}</div>
  </div>`;
}

export function Note({ tone = "info", icon = "info", children, ...rest }) {
  return html`<div class=${`note ${tone}`} ...${rest}><${Icon} name=${icon} /><div>${children}</div></div>`;
}

export function Badge({ letter, big = false }) {
  return html`<span class=${`badge fill-${letter} ${big ? "big" : ""}`} aria-hidden="true">${letter}</span>`;
}

export function Bar({ value, label, tone = "" }) {
  const share = Math.max(0, Math.min(1, value || 0));
  const percent = Math.floor(share * 100);
  return html`<div
    class=${`bar ${tone}`} role="progressbar" aria-label=${label}
    aria-valuemin="0" aria-valuemax="100" aria-valuenow=${percent}
  ><div class="bar-fill" style=${{ width: `${share * 100}%` }}></div></div>`;
}

export function Dialog({ title, onClose, wide = false, children, actions }) {
  const ref = useRef(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    dialog.showModal();
    return () => {
      if (dialog.open) dialog.close();
      before?.focus?.();
    };
  }, []);
  const onClick = (event) => {
    if (event.target === ref.current) onClose();
  };
  return html`<dialog
    ref=${ref} class=${wide ? "wide" : ""} aria-labelledby=${id} onClick=${onClick}
    onCancel=${(event) => { event.preventDefault(); onClose(); }}
  ><div class="dialog">
    <div class="dialog-head"><h2 id=${id}>${title}</h2><${IconButton} icon="cross" label=${t("page.close")} onClick=${onClose} /></div>
    <div class="dialog-body">${children}</div>
    ${actions && html`<div class="dialog-foot">${actions}</div>`}
  </div></dialog>`;
}

export function Confirm({ title, text, act, danger = false, onYes, onClose, children }) {
  const { busy, error, run } = useAct();
  const yes = () => run(async () => { await onYes(); onClose(); });
  return html`<${Dialog} title=${title} onClose=${onClose} actions=${html`
    <${Button} onClick=${onClose}>${t("page.cancel")}<//>
    <${Button} kind=${danger ? "danger" : "primary"} busy=${busy.value} onClick=${yes}>${act}<//>`}>
    <p>${text}</p>${children}<${Problem} error=${error.value} />
  <//>`;
}

export function Field({ label, help, error, children, id }) {
  return html`<div class=${`field ${error ? "wrong" : ""}`}>
    <label for=${id}>${label}</label>${children}
    ${help && html`<p class="quiet" id=${`${id}-help`}>${help}</p>`}
    ${error && html`<p class="field-error" id=${`${id}-error`} role="alert"><${Icon} name="warn" size="16" /><span>${error}</span></p>`}
  </div>`;
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say(t("page.copied"));
  } catch {
    say(t("page.copy_failed"), "danger");
  }
}

export function CopyField({ label, value, mono = true }) {
  const id = useId();
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <div class="with-button">
      <input id=${id} class=${mono ? "mono" : ""} readonly value=${value} onFocus=${(event) => event.target.select()} />
      <${Button} icon="copy" onClick=${() => copy(value)} aria-label=${t("page.copy_what", { what: label })}>${t("page.copy")}<//>
    </div>
  </div>`;
}

export function Toasts() {
  return html`<div class="toasts" role="status" aria-live="polite">
    ${toasts.value.map(
      (toast) => html`<div key=${toast.id} class=${`toast ${toast.tone}`}>
        <span>${toast.text}</span>
        <${IconButton} icon="cross" label=${t("page.close")} onClick=${() => unsay(toast.id)} />
      </div>`,
    )}
  </div>`;
}

// What is wider than its place scrolls by itself, also by keyboard.
export function Scroll({ label, children }) {
  return html`<div class="table-scroll" tabindex="0" role="group" aria-label=${label}>${children}</div>`;
}

// A list that opens below its button; closes on Escape, on a choice and on a click elsewhere.
export function Menu({ label, icon, children }) {
  const ref = useRef(null);
  useEffect(() => {
    const close = (event) => {
      const menu = ref.current;
      if (!menu?.open) return;
      if (event.type === "keydown" && event.key === "Escape") {
        menu.open = false;
        menu.querySelector("summary").focus();
      } else if (event.type === "click" && (!menu.contains(event.target) || event.target.closest("[data-closes]"))) {
        menu.open = false;
      }
    };
    document.addEventListener("click", close);
    document.addEventListener("keydown", close);
    return () => {
      document.removeEventListener("click", close);
      document.removeEventListener("keydown", close);
    };
  }, []);
  return html`<details class="menu" ref=${ref}>
    <summary class="icon-button" aria-label=${label} title=${label}><${Icon} name=${icon} /></summary>
    <div class="menu-body">${children}</div>
  </details>`;
}

export function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
