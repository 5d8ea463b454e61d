// Keeps the parts of a page that carry data-live up to date. Without it the page is the same, only still.
"use strict";

(() => {
  const source = document.body.dataset.stream;
  const sign = document.querySelector("[data-live-sign]");
  if (!source || !window.EventSource || !sign) return;
  let busy = false;
  let again = false;

  function show(on) {
    sign.toggleAttribute("data-on", on);
    sign.textContent = on ? "live" : "not connected, trying again";
  }

  function replace(fresh) {
    for (const old of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(old.id);
      const used = old.contains(document.activeElement) || String(window.getSelection()) !== "";
      if (next && !used && next.innerHTML !== old.innerHTML) old.replaceWith(document.importNode(next, true));
    }
  }

  async function refresh() {
    if (busy || document.hidden) {
      again = true;
      return;
    }
    busy = true;
    again = false;
    try {
      const answer = await fetch(window.location.href, { redirect: "manual", cache: "no-store" });
      if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } finally {
      busy = false;
      if (again) window.setTimeout(refresh, 1000);
    }
  }

  const events = new EventSource(source);
  events.addEventListener("open", () => show(true));
  events.addEventListener("error", () => show(false));
  events.addEventListener("changed", refresh);
  document.addEventListener("visibilitychange", () => again && refresh());
})();
