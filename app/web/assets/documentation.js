// How /docs looks, and the token without which a session changes nothing.
"use strict";

const viewer = document.querySelector("rapi-doc");
const isDark = matchMedia("(prefers-color-scheme: dark)");
const isWide = matchMedia("(min-width: 768px)");

function dress() {
  viewer.setAttribute("theme", isDark.matches ? "dark" : "light");
  viewer.setAttribute("primary-color", isDark.matches ? "#7fb0f0" : "#2a6ac0");
  // Its list of operations, by which the focused style is read, needs a wide screen.
  viewer.setAttribute("render-style", isWide.matches ? "focused" : "view");
}

dress();
isDark.addEventListener("change", dress);
isWide.addEventListener("change", dress);
viewer.addEventListener("before-try", (event) => {
  const { request } = event.detail;
  const token = viewer.getAttribute("csrf-token");
  if (request.headers.has("Authorization")) {
    // A key typed in counts alone; and where it is wrong, the browser does not ask for another.
    request.credentials = "omit";
  } else if (token) {
    request.headers.set("X-CSRF-Token", token);
  }
});
