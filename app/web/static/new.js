// The form for a job: what will be done, and what is wrong, follow as one types.
"use strict";

(() => {
  const WAIT_MS = 500;
  let timer = null;
  let asked = null;

  // Fields that do not count with what is chosen are put away, unless something stands in them.
  function putAway(form) {
    for (const one of form.querySelectorAll("[data-only]")) {
      const chosen = form.elements.namedItem(one.dataset.only);
      const word = chosen.value || chosen.dataset.usual || "";
      one.hidden = !one.dataset.words.split(" ").includes(word) && !holds(one);
    }
  }

  const holds = (one) => [...one.querySelectorAll("input, select")].some((field) => field.type !== "checkbox" && field.value);

  // What is wrong must be seen: its field may be put away, or in a group that is folded.
  function bringOut(problem) {
    const field = problem.closest(".field");
    if (field) field.hidden = false;
    const group = problem.closest("details");
    if (group) group.open = true;
  }

  async function check(form) {
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
        if (one.textContent) bringOut(one);
        const field = document.getElementById(one.id.replace(/-problem$/, ""));
        if (field && one.textContent) field.setAttribute("aria-invalid", "true");
        else if (field) field.removeAttribute("aria-invalid");
      }
      const own = document.getElementById("own");
      if (own && !own.open) document.getElementById("json").value = found.getElementById("json").value;
    } catch (error) {
      if (error.name !== "AbortError") document.getElementById("told").textContent = "The service did not answer; Check asks it again.";
    }
  }

  for (const form of document.querySelectorAll("form.asking")) {
    form.addEventListener("input", () => {
      putAway(form);
      clearTimeout(timer);
      timer = setTimeout(check, WAIT_MS, form);
    });
    putAway(form);
  }
})();
