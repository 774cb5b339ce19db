// The peer's state as it stands, kept by the WebSocket; everything on the page is derived of it.
import { computed, effect, signal } from "@preact/signals";
import { door, token } from "./api.js";

const FIRST_RETRY = 400;
const LAST_RETRY = 5000;
const REFUSED = 4403;

export const state = signal(null);
// "connecting" | "live" | "lost"
export const feed = signal("connecting");
// Why there is no session any more: "left", "ended", or nothing.
export const parting = signal("");
export const leaving = { now: false };

export const session = computed(() => state.value?.session ?? null);
export const members = computed(() => state.value?.members ?? []);
export const me = computed(() => members.value.find((member) => member.me) ?? null);
export const leader = computed(
  () => members.value.find((member) => member.letter === session.value?.leader) ?? null,
);
export const leads = computed(() => Boolean(me.value) && me.value.letter === session.value?.leader);
export const phase = computed(() => session.value?.phase ?? "");
export const letters = computed(() => members.value.map((member) => member.letter));
export const comparison = computed(() => state.value?.comparison ?? null);
export const plan = computed(() => state.value?.plan ?? null);
export const sync = computed(() => state.value?.sync ?? null);
export const proof = computed(() => state.value?.proof ?? null);
// The comparison and everything cut out of it belong to one run of the inventory.
export const decisionMark = computed(() => `${plan.value?.digest ?? ""}/${phase.value}`);

export function nameOf(letter) {
  return members.value.find((member) => member.letter === letter)?.name ?? "";
}

let socket = null;
let retry = FIRST_RETRY;
let number = 0;

export function listen() {
  const { host } = location;
  socket = new WebSocket(`ws://${host}/api/v1/events`);
  const mine = socket;
  mine.onopen = () => mine.send(JSON.stringify({ token: token() }));
  mine.onmessage = ({ data }) => {
    if (mine !== socket) return;
    receive(JSON.parse(data));
  };
  mine.onclose = ({ code }) => {
    if (mine !== socket) return;
    if (code === REFUSED) {
      door.value = "closed";
      return;
    }
    feed.value = "lost";
    setTimeout(listen, retry);
    retry = Math.min(retry * 2, LAST_RETRY);
  };
}

function receive(message) {
  if (message.type === "snapshot") {
    number = 0;
    retry = FIRST_RETRY;
    feed.value = "live";
    take(message.state);
    return;
  }
  if (message.number !== number + 1) {
    // A delta is missing: only a new snapshot is the truth.
    socket.close();
    return;
  }
  number = message.number;
  take({ ...state.value, ...message.set });
}

function take(next) {
  const had = session.value;
  if (had && !next.session) parting.value = leaving.now ? "left" : "ended";
  if (next.session) {
    parting.value = "";
    leaving.now = false;
  }
  state.value = next;
}

// For pages that begin with a known state, and for the title of the window.
export function watchTitle(describe) {
  effect(() => {
    document.title = describe();
  });
}
