// Keeps the changing part of a run's page fresh; without it the page reloads itself every ten seconds.
"use strict";
(() => {
  const part = document.getElementById("live");
  if (!part) return;
  const EVERY_MS = 2000;
  let tag = "";

  async function refresh() {
    if (document.hidden || part.contains(document.activeElement) && document.activeElement.matches("input, select")) return true;
    let answer;
    try {
      answer = await fetch(part.dataset.source + location.search, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
    } catch {
      part.dataset.state = "away";
      return true;
    }
    delete part.dataset.state;
    if (answer.redirected || answer.status === 403) {
      location.reload();
      return false;
    }
    const over = answer.headers.get("X-Run-Is") === "over";
    if (over) {
      location.reload();
      return false;
    }
    if (answer.status === 200) {
      const focused = document.activeElement && part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      tag = answer.headers.get("ETag") || "";
      part.innerHTML = await answer.text();
      document.getElementById("state").replaceChildren(part.querySelector("template").content);
      if (focused) part.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    }
    return true;
  }

  async function loop() {
    if (await refresh()) setTimeout(loop, EVERY_MS);
  }
  setTimeout(loop, EVERY_MS);
})();
