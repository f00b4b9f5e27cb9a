// Sends a file, or the files of a folder, to the API with its progress; files may be dropped.
"use strict";

(() => {
  const form = document.getElementById("upload");
  const drop = document.getElementById("drop");
  const problem = document.getElementById("problem");
  const bar = document.getElementById("sent-bar");
  const words = document.getElementById("sent-words");
  const stop = document.getElementById("stop");
  const MOST_FILES = 1000; // the API's limit for a multipart body: larger folders come as a zip
  let files = []; // of {file, path}

  const size = (n) => (n < 1e6 ? `${(n / 1e3).toFixed(0)} kB` : `${(n / 1e6).toFixed(1)} MB`);

  function choose(found) {
    files = found;
    const total = files.reduce((sum, one) => sum + one.file.size, 0);
    const what = files.length === 1 ? files[0].path : `${files.length.toLocaleString()} files`;
    document.getElementById("chosen").textContent = files.length ? `${what}, ${size(total)}` : "There is no file in it.";
    tell(files.length > MOST_FILES ? [`More than ${MOST_FILES.toLocaleString()} files: put the folder into a zip and choose that.`] : []);
    const name = form.elements.namedItem("name");
    if (files.length && !name.value) name.value = files[0].path.split("/")[0].replace(/\.[A-Za-z.]+$/, "").replace(/[^A-Za-z0-9_.-]+/g, "-").slice(0, 64);
  }

  function tell(lines) {
    problem.hidden = !lines.length;
    problem.replaceChildren(...lines.map((line) => Object.assign(document.createElement("p"), { textContent: line })));
  }

  // A problem stands at its field; false where it is of none.
  function marked({ pointer, detail }) {
    const name = pointer.split("/")[2];
    const field = pointer.startsWith("/query/") && form.elements.namedItem(name);
    if (!field) return false;
    const place = document.getElementById(`${name}-problem`);
    place.textContent = detail;
    field.setAttribute("aria-invalid", "true");
    const folded = field.closest("details");
    if (folded) folded.open = true;
    return true;
  }

  function unmark() {
    for (const one of form.querySelectorAll(".field-problem")) one.textContent = "";
    for (const one of form.querySelectorAll("[aria-invalid]")) one.removeAttribute("aria-invalid");
  }

  async function entries(entry, path) {
    if (entry.isFile) return [{ file: await new Promise((done, fail) => entry.file(done, fail)), path }];
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      // A browser gives a hundred at a time.
      const some = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!some.length) return found;
      for (const one of some) found.push(...await entries(one, `${path}/${one.name}`));
      if (found.length > MOST_FILES) return found;
    }
  }

  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const dropped = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const found = [];
    for (const one of dropped) found.push(...await entries(one, one.name));
    choose(found);
  });
  document.getElementById("file").addEventListener("change", (event) => choose([...event.target.files].map((file) => ({ file, path: file.name }))));
  const folder = document.getElementById("folder");
  if (folder) folder.addEventListener("change", (event) => choose([...event.target.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }))));

  function body() {
    if (files.length === 1) return files[0].file;
    const data = new FormData();
    for (const { file, path } of files) data.append("file", file, path);
    return data;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!files.length) return tell(["Choose a file first."]);
    if (files.length > MOST_FILES) return undefined;
    const query = new URLSearchParams();
    for (const [key, value] of new FormData(form)) {
      if (typeof value !== "string" || !value.trim()) continue;
      // Several numbers, one a channel.
      const parts = key === "mean" || key === "std" ? value.trim().split(/[\s,]+/) : [value.trim()];
      for (const part of parts) query.append(key, part);
    }
    const request = new XMLHttpRequest();
    request.open("POST", `${form.dataset.to}?${query}`);
    if (files.length === 1) request.setRequestHeader("Content-Type", "application/octet-stream");
    const token = document.body.dataset.csrf;
    if (token) request.setRequestHeader("X-CSRF-Token", token);
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      bar.value = total ? loaded / total : 0;
      words.textContent = loaded < total ? `${size(loaded)} of ${size(total)}` : "Sent. The structure is being checked …";
    });
    request.addEventListener("load", () => {
      const answer = JSON.parse(request.responseText || "{}");
      if (request.status === 202) {
        const lead = form.dataset.lead;
        location.assign(lead ? `${lead}/${encodeURIComponent(answer.name)}` : `/jobs/${answer.id}`);
        return;
      }
      end();
      const others = (answer.errors || []).filter((one) => !marked(one)).map((one) => one.detail);
      const told = (answer.errors || []).length ? others : [answer.detail || `The service answered ${request.status}.`];
      tell(told.length ? told : ["Nothing was kept: see the marked fields."]);
    });
    request.addEventListener("error", () => { end(); tell(["The connection broke; nothing was kept. Try again."]); });
    request.addEventListener("abort", () => { end(); tell(["Stopped; nothing was kept."]); });
    stop.onclick = () => request.abort();
    tell([]);
    unmark();
    document.getElementById("sent").hidden = stop.hidden = false;
    form.querySelector("button.primary").disabled = true;
    request.send(body());
  });

  function end() {
    document.getElementById("sent").hidden = stop.hidden = true;
    form.querySelector("button.primary").disabled = false;
  }

  form.hidden = false;
})();
