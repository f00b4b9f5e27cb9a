// The page of a job: code is copied by a button, and pictures are slid through.
"use strict";

(() => {
  const PLAY_MS = 250;
  let chosen = null; // which picture; null for the newest, whatever comes
  let playing = null;

  const pictures = () => [...document.querySelectorAll(".strip li")];

  // Shows what is chosen; pictures may have come since the last time.
  function show() {
    const stage = document.getElementById("stage");
    const all = pictures();
    if (!stage || all.length < 2) return;
    const range = stage.querySelector("input");
    const place = chosen === null ? all.length - 1 : Math.min(chosen, all.length - 1);
    stage.querySelector(".slide").hidden = false;
    range.max = all.length - 1;
    range.value = place;
    const words = all[place].querySelector("span").textContent;
    range.setAttribute("aria-valuetext", words);
    stage.querySelector(".at").textContent = words;
    const url = all[place].querySelector("a").getAttribute("href");
    const image = stage.querySelector("img");
    if (image.getAttribute("src") !== url) image.src = url;
    for (const [n, one] of all.entries()) {
      if (n === place) one.setAttribute("aria-current", "true");
      else one.removeAttribute("aria-current");
    }
  }

  function choose(place) {
    chosen = place >= pictures().length - 1 ? null : place;
    show();
  }

  function stop(button) {
    clearInterval(playing);
    playing = null;
    button.textContent = "Play";
  }

  function play(button) {
    if (playing) return stop(button);
    button.textContent = "Pause";
    choose(0);
    playing = setInterval(() => {
      if (chosen === null) return stop(button);
      choose(chosen + 1);
    }, PLAY_MS);
  }

  async function copy(button) {
    const text = button.parentElement.querySelector("code").textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied: the browser does not let it";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }

  function refresh() {
    show();
    if (!navigator.clipboard) return; // a page that did not come over HTTPS, or from this machine
    for (const one of document.querySelectorAll("button.copy")) one.hidden = false;
  }

  document.addEventListener("click", (event) => {
    const { target } = event;
    if (target.closest("button.copy")) return copy(target.closest("button.copy"));
    if (target.closest(".slide button")) return play(target.closest(".slide button"));
    const one = target.closest(".strip li");
    if (!one || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    choose(pictures().indexOf(one));
  });
  document.addEventListener("input", (event) => {
    if (event.target.closest(".slide")) choose(Number(event.target.value));
  });
  document.addEventListener("htmx:afterSettle", refresh);
  refresh();
})();
