// The form for a job: what will be done, and what is wrong, follow as one types.
"use strict";

(() => {
  const WAIT_MS = 500;
  const form = document.getElementById("asking");
  let timer = null;
  let asked = null;

  // Fields that do not count with what is chosen are put away.
  function putAway() {
    for (const one of form.querySelectorAll("[data-only]")) {
      const chosen = form.elements[one.dataset.only];
      const usual = chosen.dataset.usual || "";
      one.hidden = !one.dataset.words.split(" ").includes(chosen.value || usual) && !holds(one);
    }
  }

  const holds = (one) => [...one.querySelectorAll("input:not([type=checkbox]), select")].some((field) => field.value);

  async function check() {
    if (asked) asked.abort();
    asked = new AbortController();
    const body = new URLSearchParams(new FormData(form));
    body.set("do", "check");
    try {
      const answer = await fetch(form.action, { method: "POST", body, signal: asked.signal });
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      const outcome = found.getElementById("outcome");
      if (!outcome) return;
      document.getElementById("outcome").replaceWith(outcome);
      for (const one of form.querySelectorAll(".field-problem")) {
        one.textContent = found.getElementById(one.id).textContent;
        const field = document.getElementById(one.id.replace(/-problem$/, ""));
        if (field && one.textContent) field.setAttribute("aria-invalid", "true");
        else if (field) field.removeAttribute("aria-invalid");
      }
      const own = document.getElementById("json");
      if (own && !document.getElementById("own").open) own.value = found.getElementById("json").value;
    } catch (error) {
      if (error.name !== "AbortError") document.getElementById("told").textContent = "The service did not answer; Check asks it again.";
    }
  }

  form.addEventListener("input", () => {
    putAway();
    clearTimeout(timer);
    timer = setTimeout(check, WAIT_MS);
  });
  putAway();
})();
