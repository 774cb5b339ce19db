// The launch code leaves the address bar at once, and works a single time in any case.
const code = location.hash.slice(1);
history.replaceState(null, "", "/");

const TOKEN = "quintet.token";
const texts = {
  en: { none: "This peer is running and in no session.", some: "This peer is in a session: " },
  fr: {
    none: "Ce pair fonctionne ; il n’est dans aucune session.",
    some: "Ce pair est dans une session : ",
  },
};

async function main() {
  if (code) {
    const answer = await fetch("/api/v1/launch", { method: "POST", body: JSON.stringify({ code }) });
    if (answer.ok) sessionStorage.setItem(TOKEN, (await answer.json()).token);
  }
  const token = sessionStorage.getItem(TOKEN);
  if (!token) return;
  const headers = { Authorization: `Bearer ${token}` };
  const answer = await fetch("/api/v1/state", { headers });
  if (!answer.ok) return;
  const { session } = await answer.json();
  for (const [language, text] of Object.entries(texts)) {
    document.getElementById(`state-${language}`).textContent =
      session ? text.some + session.phase : text.none;
  }
}

main();
