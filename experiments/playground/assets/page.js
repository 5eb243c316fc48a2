// The page of the site: scenes made from tables of lambda that were computed while the site was built.
(function () {
  "use strict";
  const { bytes, numbers } = window.mixkitView;
  const TITLES = { image: "Two photographs", points: "Two clouds" };

  function encode(array) {
    let text = "";
    for (const byte of new Uint8Array(array.buffer)) text += String.fromCharCode(byte);
    return btoa(text);
  }

  // what a plan does: lambda of a, and the rest of the element of b that goes with it
  function mix(pair, own) {
    const deep = pair.domain === "points", depth = 3;
    const [a, b] = [pair.a, pair.b].map(deep ? numbers : bytes);
    const index = pair.index;
    const mixed = deep ? new Float32Array(a.length) : new Uint8Array(a.length);
    for (let i = 0; i < own.length; i++) {
      const other = index ? index[i] : i, share = own[i] / 255;
      for (let d = 0; d < depth; d++) {
        const value = share * a[depth * i + d] + (1 - share) * b[depth * other + d];
        mixed[depth * i + d] = deep ? value : Math.round(value);
      }
    }
    return encode(mixed);
  }

  function scene(pair, method, prior, sigma) {
    const table = pair.methods[method];
    const own = bytes(table.own[prior][table.sigmas ? sigma : 0]);
    const whole = own.length > 1 ? own : new Uint8Array(pair.elements).fill(own[0]);
    const share = whole.reduce((sum, one) => sum + one, 0) / whole.length / 255;
    const queried = Boolean(table.sigmas), [a, b] = pair.queries;
    return {
      ...pair, mixed: mix(pair, whole), own: encode(whole), targets: [share, 1 - share],
      saliency: queried ? pair.saliency : null, queries: queried ? pair.queries : null,
      marks: queried ? [a, pair.index ? pair.index.indexOf(b) : b] : [],
    };
  }

  function slider(name, values, start) {
    const label = document.createElement("label"), output = document.createElement("output");
    const input = document.createElement("input");
    Object.assign(input, { type: "range", min: 0, max: values.length - 1, step: 1, name });
    input.value = start;
    input.setAttribute("aria-label", name);
    label.append(name, output, input);
    return { label, input, say: () => { output.textContent = input.disabled ? "–" : values[input.value]; } };
  }

  function section(pair) {
    const root = document.createElement("section"), view = document.createElement("div");
    const head = document.createElement("h2"), controls = document.createElement("div");
    root.className = "mk-page";
    root.dataset.domain = pair.domain;
    head.textContent = TITLES[pair.domain];
    controls.className = "mk-controls";
    const choice = document.createElement("label"), select = document.createElement("select");
    select.setAttribute("aria-label", "method");
    Object.entries(pair.methods).forEach(([name, one]) => select.add(new Option(one.title, name)));
    choice.append("method", document.createElement("span"), select);
    const prior = slider("π, the weight of A", pair.priors, Math.floor(pair.priors.length / 2));
    const sigma = slider(`σ, in ${pair.unit}`, pair.methods.sagemix.sigmas, pair.start);
    controls.append(choice, prior.label, sigma.label);
    root.append(head, controls, view);
    const draw = () => {
      sigma.input.disabled = !pair.methods[select.value].sigmas;
      prior.say();
      sigma.say();
      return window.mixkitView(view, scene(pair, select.value, Number(prior.input.value), Number(sigma.input.value)));
    };
    [select, prior.input, sigma.input].forEach((input) => input.addEventListener("input", draw));
    return { root, draw };
  }

  function start() {
    document.querySelectorAll(".mixkit-playground").forEach((place) => {
      window.mixkitPairs.forEach((pair) => {
        const { root, draw } = section(pair);
        place.append(root);
        draw();
      });
    });
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
