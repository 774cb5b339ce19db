// The page begins here: entry, language, state, then what fits the state.
import { html, render } from "./html.js";
import { begin, form } from "./choices.js";
import { door, enter } from "./api.js";
import { Mark } from "./icons.js";
import { Menu, Note, Toasts } from "./parts.js";
import { SessionPage, Tastes } from "./session.js";
import { StartPage } from "./start.js";
import { feed, listen, session, state, watchTitle } from "./state.js";
import { titleOf } from "./steps.js";
import { t } from "./text.js";

function App() {
  if (door.value === "closed") return html`<${Outside} title="page.closed.title" text="page.closed.text" />`;
  if (door.value === "gone") return html`<${Outside} title="page.gone.title" text="page.gone.text" />`;
  if (!state.value) {
    return feed.value === "lost" ? html`<${Outside} title="page.gone.title" text="page.gone.text" />` : html`<main class="welcome" id="main" aria-busy="true"><${Mark} size="72" /></main>`;
  }
  return html`<a class="skip-link" href="#main">${t("page.skip_to_content")}</a>
    ${feed.value === "lost" && html`<div class="lost" role="alert"><strong>${t("page.gone.title")}</strong> ${t("page.gone.text")}</div>`}
    ${session.value ? html`<${SessionPage} />` : html`<${Plain}><${StartPage} /><//>`}
    <${Toasts} />`;
}

function Plain({ children }) {
  return html`<header class="top"><button type="button" class="brand" onClick=${() => { form.value = ""; }}><${Mark} size="26" /><strong>Quintet</strong></button>
    <span class="grow"></span><${Menu} icon="gear" label=${t("page.menu")}><${Tastes} /><//></header>${children}`;
}

// Where nothing can be shown: no token, or no peer.
function Outside({ title, text }) {
  return html`<main class="welcome" id="main"><div class="hero"><${Mark} size="72" /><h1>${t(title)}</h1></div>
    <${Note} tone="warning" icon="info" role="alert"><p>${t(text)}</p><pre class="mono">quintet open</pre><//></main>`;
}

await begin();
await enter();
watchTitle(titleOf);
if (door.value === "open") listen();
render(html`<${App} />`, document.getElementById("page"));
