// Asks the peer; the token lives in this tab alone.
import { signal } from "@preact/signals";

const TOKEN = "quintet.token";
const FORBIDDEN = 403;

// "open" with a token, "closed" without one, "gone" when the peer does not answer.
export const door = signal("opening");

export class ApiError extends Error {
  constructor({ code, params = {} }) {
    super(code);
    this.code = code;
    this.params = params;
  }
}

export function token() {
  return sessionStorage.getItem(TOKEN) ?? "";
}

// The launch code leaves the address bar at once, and works a single time in any case.
export async function enter() {
  const code = location.hash.slice(1);
  if (code) {
    history.replaceState(null, "", "/");
    try {
      const answer = await fetch("/api/v1/launch", { method: "POST", body: JSON.stringify({ code }) });
      if (answer.ok) sessionStorage.setItem(TOKEN, (await answer.json()).token);
    } catch {
      door.value = "gone";
      return;
    }
  }
  door.value = token() ? "open" : "closed";
}

export async function ask(method, path, body) {
  let answer;
  try {
    answer = await fetch(`/api/v1/${path}`, {
      method,
      headers: { Authorization: `Bearer ${token()}` },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError({ code: "peer.not_running" });
  }
  if (answer.status === FORBIDDEN) {
    door.value = "closed";
    throw new ApiError({ code: "peer.not_running" });
  }
  const value = await answer.json();
  if (!answer.ok) throw new ApiError(value.error);
  return value;
}

export const get = (path, query = {}) => {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  const text = new URLSearchParams(given).toString();
  return ask("GET", text ? `${path}?${text}` : path);
};
export const post = (path, body = {}) => ask("POST", path, body);
export const put = (path, body) => ask("PUT", path, body);
export const patch = (path, body) => ask("PATCH", path, body);
export const remove = (path) => ask("DELETE", path);
