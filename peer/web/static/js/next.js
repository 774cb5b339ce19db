// The bar with what to do next, or whom one waits for.
import { html } from "./html.js";
import { Badge } from "./parts.js";
import { leader } from "./state.js";
import { t } from "./text.js";

export function Actions({ children }) {
  return html`<div class="action-bar">${children}</div>`;
}

export function Waiting({ what }) {
  const { letter, name } = leader.value ?? { letter: "A", name: "" };
  return html`<p class="waiting" role="status"><${Badge} letter=${letter} /><span>${t(what, { letter, name })}</span></p>`;
}
