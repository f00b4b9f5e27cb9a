// A page that follows something looks again when it is told of news: by one stream of events, or
// after so many seconds. Neither runs while the page is hidden. Times are put in the reader's zone.
"use strict";

(() => {
  const LEAST_MS = 1000; // between two looks
  const AGAIN_MS = 10000; // after a stream that a server has refused
  const TWICE_MS = 3000; // a form that is sent again so soon was clicked twice
  let stream = null;
  let timer = null;
  let waiting = null;
  let lookedAt = 0;

  const main = () => document.getElementById("main");

  function look() {
    if (waiting || document.hidden) return;
    waiting = setTimeout(() => {
      waiting = null;
      lookedAt = Date.now();
      htmx.trigger(main(), "refresh");
    }, Math.max(0, lookedAt + LEAST_MS - Date.now()));
  }

  function stop() {
    if (stream) stream.close();
    clearTimeout(timer);
    clearTimeout(waiting);
    stream = timer = waiting = null;
  }

  function follow() {
    stop();
    if (document.hidden) return;
    const { stream: path, every } = main().dataset;
    if (every) timer = setTimeout(() => { look(); timer = null; }, 1000 * every);
    if (!path) return;
    stream = new EventSource(path);
    for (const type of ["state", "progress", "child", "note"]) stream.addEventListener(type, look);
    stream.onerror = () => {
      // A browser comes back by itself, unless it was refused.
      if (stream && stream.readyState === EventSource.CLOSED) timer = setTimeout(() => { look(); follow(); }, AGAIN_MS);
    };
  }

  function localTimes() {
    const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
    for (const one of document.querySelectorAll("time[datetime]")) {
      const shown = format.format(new Date(one.dateTime));
      if (one.hasAttribute("data-ago")) one.title = shown;
      else one.textContent = shown;
    }
  }

  // What a reader has opened stays open, and what is being typed is left alone.
  const touched = new WeakSet();
  document.addEventListener("input", (event) => { if (event.target.form) touched.add(event.target.form); });
  // So is what a script of the page keeps by itself.
  Idiomorph.defaults.callbacks.beforeNodeMorphed = (old) => !touched.has(old) && !(old.dataset && "kept" in old.dataset);
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) => !(name === "open" && node.localName === "details");

  const sentAt = new WeakMap();
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (Date.now() - (sentAt.get(form) ?? -TWICE_MS) < TWICE_MS) event.preventDefault();
    else sentAt.set(form, Date.now());
  });

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return stop();
    const { stream: path, every } = main().dataset;
    if (path || every) look();
    follow();
  });
  document.addEventListener("htmx:afterSettle", () => {
    localTimes();
    const path = main().dataset.stream;
    // An open stream goes on; what has ended has none.
    if (main().dataset.every || !path || !stream || stream.readyState === EventSource.CLOSED) follow();
  });
  for (const failed of ["htmx:sendError", "htmx:responseError"]) {
    document.addEventListener(failed, () => {
      document.getElementById("told").textContent = "The service did not answer; this page tries again.";
      timer = setTimeout(look, AGAIN_MS);
    });
  }
  document.addEventListener("htmx:afterOnLoad", () => { document.getElementById("told").textContent = ""; });
  localTimes();
  follow();
})();
