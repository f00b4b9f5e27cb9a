// What a temperature makes of logits: the numbers of app's reports, by the same conventions
// (ddcal_core/metrics): float64, bins (a, b], the first largest logit is the prediction.
"use strict";

const calibration = (() => {
  const ARRAYS = { F32: Float32Array, I32: Int32Array, U8: Uint8Array };

  // A safetensors file: 8 bytes of length, a JSON header, the tensors.
  function readTensors(buffer) {
    const size = Number(new DataView(buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
    const found = {};
    for (const [name, one] of Object.entries(header)) {
      if (name === "__metadata__") continue;
      const [from, to] = one.data_offsets;
      found[name] = { shape: one.shape, values: new ARRAYS[one.dtype](buffer.slice(8 + size + from, 8 + size + to)) };
    }
    return found;
  }

  // Logits less their largest, of which a temperature leaves the order as it is.
  function network(logits, labels) {
    const [n, k] = logits.shape;
    const below = new Float64Array(n * k);
    const predicted = new Int32Array(n);
    const isRight = new Uint8Array(n);
    for (let i = 0; i < n; i++) {
      const row = logits.values.subarray(i * k, (i + 1) * k);
      let best = 0;
      for (let c = 1; c < k; c++) if (row[c] > row[best]) best = c;
      for (let c = 0; c < k; c++) below[i * k + c] = row[c] - row[best];
      predicted[i] = best;
      isRight[i] = best === labels[i] ? 1 : 0;
    }
    return { n, k, below, labels, predicted, isRight };
  }

  // Confidence of each answer at a temperature, and the mean negative log-likelihood in nats.
  function answers({ n, k, below, labels }, temperature) {
    const confidence = new Float64Array(n);
    let nll = 0;
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (let c = i * k; c < (i + 1) * k; c++) sum += Math.exp(below[c] / temperature);
      confidence[i] = 1 / sum;
      nll += Math.log(sum) - below[i * k + labels[i]] / temperature;
    }
    return { confidence, nll: nll / n };
  }

  function binOf(confidence, nBins) {
    const edge = (place) => (place === nBins ? 1 : place * (1 / nBins));
    let near = Math.min(Math.max(Math.ceil(confidence * nBins) - 1, 0), nBins - 1);
    if (confidence > edge(near + 1)) near += 1;
    if (confidence <= edge(near)) near -= 1;
    return Math.min(Math.max(near, 0), nBins - 1);
  }

  // All numbers at a temperature; bins with count, mean confidence and accuracy.
  function measure(one, temperature, nBins) {
    const { confidence, nll } = answers(one, temperature);
    const bins = Array.from({ length: nBins }, () => ({ count: 0, confidence: 0, right: 0 }));
    let right = 0;
    let sum = 0;
    for (let i = 0; i < one.n; i++) {
      const bin = bins[binOf(confidence[i], nBins)];
      bin.count += 1;
      bin.confidence += confidence[i];
      bin.right += one.isRight[i];
      right += one.isRight[i];
      sum += confidence[i];
    }
    const ece = bins.reduce((total, bin) => total + Math.abs(bin.confidence - bin.right), 0) / one.n;
    return { confidence, nll, bins, ece, accuracy: right / one.n, meanConfidence: sum / one.n };
  }

  // Of the answers from a confidence on: their share of all, and how many of them are right.
  function above(one, confidence, threshold) {
    let count = 0;
    let right = 0;
    for (let i = 0; i < one.n; i++) {
      if (confidence[i] < threshold) continue;
      count += 1;
      right += one.isRight[i];
    }
    return { count, coverage: count / one.n, accuracy: count ? right / count : null };
  }

  function byConfidence(confidence) {
    return Array.from(confidence.keys()).sort((a, b) => confidence[b] - confidence[a] || a - b);
  }

  // Coverage and risk as answers are taken in, the most confident first.
  function riskCurve(one, confidence) {
    let wrong = 0;
    return byConfidence(confidence).map((i, place) => {
      wrong += 1 - one.isRight[i];
      return { coverage: (place + 1) / one.n, risk: wrong / (place + 1) };
    });
  }

  function mistakes(one, confidence, most) {
    return byConfidence(confidence).filter((i) => !one.isRight[i]).slice(0, most);
  }

  return { readTensors, network, measure, above, riskCurve, mistakes };
})();
