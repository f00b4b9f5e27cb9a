// The page of a job: code is copied by a button.
"use strict";

(() => {
  function showButtons() {
    if (!navigator.clipboard) return; // a page that did not come over HTTPS, or from this machine
    for (const one of document.querySelectorAll("button.copy")) one.hidden = false;
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const text = button.parentElement.querySelector("code").textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied: the browser does not let it";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  document.addEventListener("htmx:afterSettle", showButtons);
  showButtons();
})();
