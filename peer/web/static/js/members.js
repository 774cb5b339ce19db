// One block per member, in letter order; the own one is stronger and can be changed.
import { html, useSignal } from "./html.js";
import { post, remove } from "./api.js";
import { Icon } from "./icons.js";
import { Badge, Button, IconButton, Problem, useAct } from "./parts.js";
import { AddButtons, FolderDialog } from "./folders.js";
import { members, phase, session, state } from "./state.js";
import { number, t } from "./text.js";

export function MemberStrip() {
  return html`<ul class="strip" aria-label=${t("page.members")}>
    ${members.value.map((member) => html`<li key=${member.index} class=${`strip-member ${member.me ? "mine" : ""} ${member.state}`}>
      <${Badge} letter=${member.letter} />
      <span class="strip-name"><strong><span class="spoken">${member.letter} </span>${member.name}</strong>
      <span class="quiet">${member.me ? t("page.this_computer") : t(`member.${member.state}`)}</span></span>
      ${!member.me && html`<${LinkBadge} link=${member.link} quiet />`}
    </li>`)}
  </ul>`;
}

export function LinkBadge({ link, quiet = false }) {
  if (!link) return null;
  const up = link.state === "up";
  const text = up ? t(`link.${link.kind}`) : t(`link.${link.state}`);
  const time = up && link.round_trip_ms !== null && link.round_trip_ms !== undefined ? ` · ${number(link.round_trip_ms)} ms` : "";
  return html`<span class=${`link-badge ${up ? "up" : "down"}`}><span class="dot" aria-hidden="true"></span>${text}${quiet ? "" : time}</span>`;
}

export function MemberBlocks({ needsSource }) {
  return html`<h2 class="spoken">${t("page.members")}</h2><ul class="blocks">
    ${members.value.map((member) => html`<li key=${member.index}><${MemberBlock} member=${member} primary=${needsSource && member.me} /></li>`)}
    ${state.value.joining.map((each) => html`<li key=${`join-${each.name}`}><${Candidate} candidate=${each} /></li>`)}
  </ul>`;
}

// Whoever stands at the door; where this session asks, somebody answers.
function Candidate({ candidate }) {
  const { busy, error, run } = useAct();
  const decide = (admit) => run(() => post("joining/decide", { name: candidate.name, admit }));
  return html`<div class="block joining" role="status">
    <strong>${t("page.joining", { name: candidate.name })}</strong>
    ${candidate.sas && html`<p class="quiet">${t("page.joining_sas")}</p><p class="mono sas">${candidate.sas}</p>`}
    <div class="row">
      ${candidate.asks && html`<${Button} icon="check" busy=${busy.value} onClick=${() => decide(true)}>${t("page.admit")}<//>`}
      <${Button} icon="cross" busy=${busy.value} onClick=${() => decide(false)}>${t("page.decline")}<//>
    </div>
    <${Problem} error=${error.value} />
  </div>`;
}

function MemberBlock({ member, primary }) {
  const wanted = useSignal("");
  const { error, run } = useAct();
  const editable = member.me && phase.value === "preparation" && !session.value.local;
  const add = (path) => run(async () => {
    await post("sources", { path });
    wanted.value = "";
  });
  return html`<section class=${`block ${member.me ? "mine" : ""}`} aria-label=${t("page.member_named", { letter: member.letter, name: member.name })}>
    <header>
      <${Badge} letter=${member.letter} big />
      <div class="who">
        ${member.me && html`<span class="eyebrow">${t("page.this_computer")}</span>`}
        <h3>${member.name}</h3>
        ${member.email && html`<span class="quiet">${member.email}</span>`}
      </div>
      ${member.leader && html`<span class="tag">${t("page.leads")}</span>`}
    </header>
    <p class="facts"><span class="quiet mono">${member.address ?? ""}</span><${LinkBadge} link=${member.link} /></p>
    ${member.sources.length === 0 && html`<p class="quiet">${t(member.me ? "page.sources.none_mine" : "page.sources.none")}</p>`}
    <ul class="plain-list">${member.sources.map((source) => html`<li class="source" key=${source.code}>
      <span class="code">${source.code}</span><${Icon} name=${source.kind === "file" ? "file" : "folder"} label=${t(`kind.${source.kind}`)} />
      <span class="path">${source.path}</span>
      ${editable && html`<${IconButton} icon="bin" label=${t("page.sources.remove", { path: source.path })}
        onClick=${() => run(() => remove(`sources/${source.code}`))} />`}
    </li>`)}</ul>
    ${editable && html`<${AddButtons} primary=${primary} onWanted=${(kind) => { wanted.value = kind; }} />`}
    ${!wanted.value && html`<${Problem} error=${error.value} />`}
    ${wanted.value && html`<${FolderDialog} kind=${wanted.value} error=${error.value} onChoose=${add} onClose=${() => { wanted.value = ""; error.value = null; }} />`}
    <p class="state">${t(`member.${member.state}`)}</p>
  </section>`;
}
