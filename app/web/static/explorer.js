// The calibration explorer: the networks of a report under a temperature, computed here.
"use strict";

(async () => {
  const root = document.getElementById("explorer");
  const at = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const SIZE = 340;
  const [LEFT, BOTTOM, SIDE] = [44, 300, 284]; // of a diagram's square
  const MOST_MISTAKES = 24;
  const CURVE_POINTS = 41;
  const SHOWN_PIXELS = 64;
  const state = { network: null, temperature: 1, threshold: 0.8 };
  let eceCurve = [];
  let report, tensors, shown, marks, curves;

  const percent = (value) => (value === null ? "–" : `${(100 * value).toFixed(1)}\u202f%`);
  const short = (value) => Number(value.toPrecision(4)).toString();

  function element(parent, name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.appendChild(made);
    return made;
  }

  // An empty square with both axes from 0 to `top`, or from `left` on; its title says it in words.
  function diagram(id, title, [xWords, yWords], { ticks = [0, 0.25, 0.5, 0.75, 1], top = 1 } = {}) {
    const svg = at(id);
    svg.replaceChildren();
    element(svg, "title", {}, title);
    for (const tick of ticks) {
      const x = LEFT + SIDE * tick;
      const y = BOTTOM - SIDE * tick;
      element(svg, "line", { class: "grid", x1: LEFT, y1: y, x2: LEFT + SIDE, y2: y });
      element(svg, "text", { x, y: BOTTOM + 15, "text-anchor": "middle" }, `${Math.round(100 * tick)}`);
      element(svg, "text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, `${Number((100 * tick * top).toPrecision(2))}`);
    }
    element(svg, "text", { x: LEFT + SIDE / 2, y: SIZE - 8, "text-anchor": "middle" }, xWords);
    element(svg, "text", { x: 12, y: BOTTOM - SIDE / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${BOTTOM - SIDE / 2})` }, yWords);
    return svg;
  }

  function drawReliability(bins) {
    const svg = diagram("reliability", `Accuracy over confidence at T = ${short(state.temperature)}: a bar a bin; on the diagonal both are equal`, ["confidence, %", "accuracy, %"]);
    const most = Math.max(...bins.map((bin) => bin.count), 1);
    const width = SIDE / bins.length;
    bins.forEach((bin, place) => {
      if (!bin.count) return;
      const [right, confidence] = [bin.right / bin.count, bin.confidence / bin.count];
      const x = LEFT + width * place;
      const words = `${Math.round((100 * place) / bins.length)} to ${Math.round((100 * (place + 1)) / bins.length)}\u202f%: ${bin.count} answers, confidence ${percent(confidence)}, accuracy ${percent(right)}`;
      const bar = element(svg, "rect", { class: "bar", x: x + 1, width: width - 2, y: BOTTOM - SIDE * right, height: SIDE * right });
      element(bar, "title", {}, words);
      const [low, high] = [Math.min(right, confidence), Math.max(right, confidence)];
      element(svg, "rect", { class: confidence > right ? "gap over" : "gap under", x: x + 1, width: width - 2, y: BOTTOM - SIDE * high, height: SIDE * (high - low) });
      element(svg, "rect", { class: "share", x: x + 1, width: width - 2, y: BOTTOM - (30 * bin.count) / most, height: (30 * bin.count) / most });
    });
    element(svg, "line", { class: "diagonal", x1: LEFT, y1: BOTTOM, x2: LEFT + SIDE, y2: BOTTOM - SIDE });
  }

  function drawRisk(curve, chosen) {
    const top = Math.max(0.02, ...curve.map((point) => point.risk));
    const svg = diagram("risk", "Risk over coverage: the share of wrong answers among the most confident ones", ["coverage: answers given, %", "risk: wrong among these, %"], { top });
    const step = Math.max(1, Math.floor(curve.length / 300));
    const points = curve.filter((_, place) => place % step === 0 || place === curve.length - 1);
    const place = ({ coverage, risk }) => `${(LEFT + SIDE * coverage).toFixed(1)},${(BOTTOM - (SIDE * risk) / top).toFixed(1)}`;
    element(svg, "polyline", { class: "line series-0", points: points.map(place).join(" ") });
    if (chosen.count) {
      const [cx, cy] = place({ coverage: chosen.coverage, risk: 1 - chosen.accuracy }).split(",");
      element(svg, "circle", { class: "series-1", cx, cy, r: 5 });
    }
  }

  function drawEce() {
    const [low, high] = [Number(at("temperature").min), Number(at("temperature").max)];
    const top = Math.max(0.02, ...[...eceCurve, ...marks].map((point) => point.ece));
    const svg = diagram("ece-curve", "ECE over temperature; dots: what the calibrations found", ["", "ECE, %"], { ticks: [], top });
    const x = (temperature) => LEFT + (SIDE * (Math.log10(temperature) - low)) / (high - low);
    const y = (ece) => BOTTOM - (SIDE * ece) / top;
    for (const tick of [0, 0.5, 1]) {
      element(svg, "line", { class: "grid", x1: LEFT, y1: y(tick * top), x2: LEFT + SIDE, y2: y(tick * top) });
      element(svg, "text", { x: LEFT - 6, y: y(tick * top) + 4, "text-anchor": "end" }, `${Number((100 * tick * top).toPrecision(2))}`);
    }
    for (const tick of [0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 100]) {
      if (Math.log10(tick) < low || Math.log10(tick) > high) continue;
      element(svg, "text", { x: x(tick), y: BOTTOM + 15, "text-anchor": "middle" }, `${tick}`);
    }
    element(svg, "text", { x: LEFT + SIDE / 2, y: SIZE - 8, "text-anchor": "middle" }, "temperature T");
    element(svg, "polyline", { class: "line series-0", points: eceCurve.map((point) => `${x(point.temperature).toFixed(1)},${y(point.ece).toFixed(1)}`).join(" ") });
    for (const mark of marks) {
      const dot = element(svg, "circle", { class: "series-1", cx: x(mark.temperature), cy: y(mark.ece), r: 4 });
      element(dot, "title", {}, `${mark.words}: T = ${short(mark.temperature)}, ECE ${percent(mark.ece)}`);
    }
    element(svg, "line", { class: "axis now", x1: x(state.temperature), y1: BOTTOM, x2: x(state.temperature), y2: BOTTOM - SIDE });
  }

  function picture(image) {
    const place = tensors.pictured ? tensors.pictured.values.indexOf(image) : -1;
    if (place < 0) return null;
    const [, channels, height, width] = tensors.pictures.shape;
    const factor = Math.max(1, Math.round(SHOWN_PIXELS / Math.max(height, width)));
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width * factor, height * factor];
    const pen = canvas.getContext("2d");
    const pixels = pen.createImageData(canvas.width, canvas.height);
    const from = place * channels * height * width;
    for (let y = 0; y < canvas.height; y++) {
      for (let x = 0; x < canvas.width; x++) {
        const source = from + Math.floor(y / factor) * width + Math.floor(x / factor);
        const to = 4 * (y * canvas.width + x);
        for (let c = 0; c < 3; c++) {
          pixels.data[to + c] = tensors.pictures.values[source + (channels === 1 ? 0 : c * height * width)];
        }
        pixels.data[to + 3] = 255;
      }
    }
    pen.putImageData(pixels, 0, 0);
    return canvas;
  }

  // Names of classes may be written from right to left.
  function isolated(name) {
    const made = document.createElement("bdi");
    made.textContent = name;
    return made;
  }

  function drawMistakes(confidence) {
    const found = calibration.mistakes(state.network, confidence, MOST_MISTAKES);
    at("no-mistakes").hidden = found.length > 0;
    at("mistakes").replaceChildren(...found.map((i) => {
      const item = document.createElement("li");
      const image = tensors.images.values[i];
      const [truth, said] = [state.network.labels[i], state.network.predicted[i]].map((one) => report.class_names[one]);
      const words = document.createElement("span");
      words.append(isolated(said), `, ${percent(confidence[i])} sure; it is `, isolated(truth), ` (${rowWord()} ${image})`);
      const drawn = picture(image);
      if (drawn) {
        drawn.setAttribute("role", "img");
        drawn.setAttribute("aria-label", `Test image ${image}, ${truth}`);
        item.append(drawn);
      }
      item.append(words);
      return item;
    }));
  }

  function tell(id, value, words) {
    at(id).textContent = words;
    at(id).dataset.exact = value;
  }

  function draw() {
    const numbers = calibration.measure(state.network, state.temperature, report.n_bins);
    tell("ece", numbers.ece, percent(numbers.ece));
    tell("accuracy", numbers.accuracy, percent(numbers.accuracy));
    tell("confidence", numbers.meanConfidence, percent(numbers.meanConfidence));
    tell("nll", numbers.nll, numbers.nll.toFixed(4));
    const chosen = calibration.above(state.network, numbers.confidence, state.threshold);
    tell("coverage", chosen.coverage, `${percent(chosen.coverage)} (${chosen.count} of ${state.network.n})`);
    tell("accuracy-above", chosen.accuracy, percent(chosen.accuracy));
    tell("risk-above", chosen.accuracy === null ? null : 1 - chosen.accuracy, percent(chosen.accuracy === null ? null : 1 - chosen.accuracy));
    const gap = numbers.meanConfidence - numbers.accuracy;
    at("verdict").textContent = Math.abs(gap) < 0.005 ? "On average as sure as it is right." : `On average ${percent(Math.abs(gap))} too ${gap > 0 ? "sure" : "unsure"}.`;
    drawReliability(numbers.bins);
    drawRisk(calibration.riskCurve(state.network, numbers.confidence), chosen);
    drawEce();
    drawMistakes(numbers.confidence);
  }

  let isWaiting = false;
  function drawSoon() {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => { isWaiting = false; draw(); });
  }

  function setTemperature(temperature) {
    state.temperature = temperature;
    at("temperature").value = Math.log10(temperature);
    at("temperature").setAttribute("aria-valuetext", `T = ${short(temperature)}`);
    at("exact-temperature").value = short(temperature);
    for (const button of at("marks").children) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.temperature) === temperature));
    }
    drawSoon();
  }

  function showMarks() {
    at("marks").replaceChildren(...marks.map((mark) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.temperature = mark.temperature;
      button.dataset.ece = mark.ece;
      button.textContent = `${mark.words} · T = ${short(mark.temperature)}`;
      button.addEventListener("click", () => setTemperature(mark.temperature));
      return button;
    }));
    at("found").replaceChildren(...marks.map((mark) => {
      const option = document.createElement("option");
      option.value = Math.log10(mark.temperature).toFixed(3);
      option.label = mark.words;
      return option;
    }));
    const logs = marks.map((mark) => Math.log10(mark.temperature));
    at("temperature").min = Math.floor(10 * Math.min(-1.3, ...logs)) / 10;
    at("temperature").max = Math.ceil(10 * Math.max(1, ...logs)) / 10;
  }

  function showCurve() {
    const curve = curves[Number(at("curve").value)];
    at("mask").hidden = !curve;
    if (!curve) return;
    at("ratio").max = curve.points.length - 1;
    at("ratio").value = 0;
    at("ratio-words").textContent = "move the slider";
  }

  function setRatio() {
    const point = curves[Number(at("curve").value)].points[Number(at("ratio").value)];
    const found = point.networks.find((one) => one.model_id === shown.modelId);
    const ratio = percent(point.ratio);
    at("ratio").setAttribute("aria-valuetext", ratio);
    const isFound = found && found.temperature !== null && found.temperature !== undefined;
    at("ratio-words").textContent = isFound ? `${ratio} of pixels masked: MTS finds T = ${short(found.temperature)}` : `${ratio} of pixels masked: MTS finds no temperature (${found ? found.status.replaceAll("_", " ") : "not measured"})`;
    at("ratio-words").dataset.ece = found ? found.ece : "";
    if (isFound) setTemperature(found.temperature);
  }

  function choose(place) {
    const group = report.training_sets[place];
    shown = { place, modelId: group.model_ids[0], label: group.label };
    state.network = calibration.network(tensors[`logits.${place}`], tensors.labels.values);
    marks = report.rows.filter((row) => row.training_set_index === place).flatMap((row) => row.networks
      .filter((one) => one.model_id === shown.modelId && one.status === "ok" && one.temperature)
      // Those of several numbers have a temperature of their own beside others.
      .filter(() => ["none", "ts", "mts"].includes(row.method))
      .map((one) => ({ words: row.calibration === "none" ? "as trained" : row.calibration, temperature: one.temperature, ece: one.ece })));
    curves = report.mts_curves.filter((one) => one.training_set_label === shown.label);
    showMarks();
    at("curve").replaceChildren(...curves.map((one, k) => {
      const option = document.createElement("option");
      option.value = k;
      option.textContent = `on ${one.fit_on === "training_set" ? "its training set" : "validation"}, ${masked(one.mask)}`;
      return option;
    }));
    showCurve();
    at("about").textContent = about();
    setTemperature(1);
    growCurve(state.network);
  }

  // The ECE over all temperatures, bit by bit: of a large report it takes seconds.
  async function growCurve(network) {
    const [low, high] = [Number(at("temperature").min), Number(at("temperature").max)];
    eceCurve = [];
    for (let k = 0; k < CURVE_POINTS; k++) {
      const temperature = 10 ** (low + ((high - low) * k) / (CURVE_POINTS - 1));
      eceCurve.push({ temperature, ece: calibration.measure(network, temperature, report.n_bins).ece });
      if (k % 8 !== 7) continue;
      drawSoon();
      await new Promise((done) => setTimeout(done));
      if (network !== state.network) return;
    }
    drawSoon();
  }

  function masked(mask) {
    return mask.unit === "patch" ? `patches of ${mask.patch_size}` : "single pixels";
  }

  const rowWord = () => (report.image_shape ? "image" : "row");

  function about() {
    const n = state.network.n;
    const seeds = report.training_sets[shown.place].model_ids.length;
    const trained = seeds > 1 ? `The first of ${seeds} networks trained on ${shown.label}` : `The network trained on ${shown.label}`;
    const what = report.image_shape ? trained : shown.label;
    const rows = n < report.n_test ? `${n} of the ${report.n_test} test ${rowWord()}s, evenly chosen, so that numbers differ a little from the report's` : `all ${n} test ${rowWord()}s`;
    return `${what}; ${rows}.`;
  }

  async function load() {
    const [numbers, logits] = await Promise.all([fetch(root.dataset.report), fetch(root.dataset.logits)]);
    if (!numbers.ok || !logits.ok) throw new Error(`the service answered ${numbers.status} and ${logits.status}`);
    report = await numbers.json();
    tensors = calibration.readTensors(await logits.arrayBuffer());
  }

  try {
    await load();
    const places = report.training_sets.map((_, place) => place).filter((place) => tensors[`logits.${place}`]);
    at("network").replaceChildren(...places.map((place) => {
      const option = document.createElement("option");
      option.value = place;
      option.textContent = report.training_sets[place].label;
      return option;
    }));
    const left = report.training_sets.length - places.length;
    at("left-out").textContent = left ? `${left} more training sets are in the report alone.` : "";
    at("network").addEventListener("change", () => choose(Number(at("network").value)));
    at("temperature").addEventListener("input", () => {
      const value = Number(at("temperature").value);
      const mark = marks.find((one) => Math.abs(Math.log10(one.temperature) - value) < 0.0015);
      setTemperature(mark ? mark.temperature : 10 ** value);
    });
    at("exact-temperature").addEventListener("change", () => {
      const value = Number(at("exact-temperature").value);
      if (value > 0 && Number.isFinite(value)) setTemperature(value);
    });
    at("curve").addEventListener("change", showCurve);
    at("ratio").addEventListener("input", setRatio);
    at("threshold").addEventListener("input", () => {
      state.threshold = Number(at("threshold").value) / 100;
      at("threshold-words").textContent = `${at("threshold").value}\u202f%`;
      drawSoon();
    });
    root.hidden = false;
    choose(places[0]);
    root.dataset.ready = "yes";
  } catch (error) {
    at("trouble").hidden = false;
    at("trouble").textContent = `The logits could not be loaded: ${error.message}. Load the page again.`;
  }
})();
