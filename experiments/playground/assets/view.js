// One scene of the playground: both samples, what is mixed of them, lambda and targets. The app and the site's page draw by it.
(function () {
  "use strict";

  const A = "#e8743b", B = "#3b82c4", MIDDLE = "#d9d4e0";
  const SHARES = [[0, B], [0.5, MIDDLE], [1, A]];
  const HEAT = [[0, "#101018"], [0.35, "#6a2374"], [0.7, "#e4572e"], [1, "#ffe08a"]];
  const salience = (colour) => [[0, "#8d96a6"], [0.5, colour], [1, colour]];
  const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false };

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const numbers = (text) => new Float32Array(bytes(text).buffer);
  const shares = (text) => Float32Array.from(bytes(text), (byte) => byte / 255);

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    Object.entries(attributes || {}).forEach(([key, value]) => made.setAttribute(key, value));
    made.append(...children);
    return made;
  }

  // rows of a flat array, each of `width` items of `depth` numbers
  function rows(flat, width, depth) {
    const made = [];
    for (let y = 0; y * width * depth < flat.length; y++) {
      const row = [];
      for (let x = 0; x < width; x++) {
        const at = (y * width + x) * depth;
        row.push(depth === 1 ? flat[at] : Array.from(flat.slice(at, at + depth)));
      }
      made.push(row);
    }
    return made;
  }

  function axes(places, of) {
    return Object.fromEntries(["x", "y", "z"].map((name, d) => [name, places.map((place) => of[3 * place + d])]));
  }

  // ---- panels of images

  function flat(side) {
    const axis = { visible: false, fixedrange: true, range: [-0.5, side - 0.5] };
    return {
      margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      showlegend: false, dragmode: false, hovermode: "closest", xaxis: axis,
      yaxis: { ...axis, range: [side - 0.5, -0.5], scaleanchor: "x" },
    };
  }

  function crosses(places, side, colours) {
    return {
      type: "scatter", mode: "markers", hoverinfo: "skip",
      x: places.map((place) => place % side), y: places.map((place) => Math.floor(place / side)),
      marker: { symbol: "x", size: 13, color: colours, line: { color: "#fff", width: 2 } },
    };
  }

  function picture(flatValues, side) {
    return { type: "image", z: rows(flatValues, side, 3), hoverinfo: "none" };
  }

  function heat(values, side, scale, limits) {
    return {
      type: "heatmap", z: rows(values, side, 1), colorscale: scale, showscale: false, hoverinfo: "none",
      zmin: limits[0], zmax: limits[1],
    };
  }

  function imagePanels(scene) {
    const side = scene.side, own = shares(scene.own), marks = scene.marks;
    const queries = scene.queries ? [[scene.queries[0]], [scene.queries[1]]] : [[], []];
    const panel = (key, title, trace, places, colours) =>
      ({ key, title, data: [trace, crosses(places, side, colours)], layout: flat(side) });
    const panels = [
      panel("a", `A: ${scene.names[0]}`, picture(bytes(scene.a), side), queries[0], [A]),
      panel("b", `B: ${scene.names[1]}`, picture(bytes(scene.b), side), queries[1], [B]),
      panel("mixed", "mixed", picture(bytes(scene.mixed), side), marks, [A, B]),
    ];
    if (scene.saliency) {
      const maps = scene.saliency.map(shares);
      panels.push(panel("saliency-a", "saliency of A", heat(maps[0], side, HEAT, [0, 1]), queries[0], [A]));
      panels.push(panel("saliency-b", "saliency of B", heat(maps[1], side, HEAT, [0, 1]), queries[1], [B]));
    }
    panels.push(panel("own", "λ: how much is of A", heat(own, side, SHARES, [0, 1]), marks, [A, B]));
    return panels;
  }

  // ---- panels of clouds

  const FRONT = { eye: { x: 0.3, y: 0.25, z: 1.2 }, up: { x: 0, y: 1, z: 0 }, center: { x: 0, y: 0, z: 0 } };

  function room() {
    const axis = { visible: false, showspikes: false, range: [-1.05, 1.05] };
    return {
      margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)", showlegend: false, uirevision: "keep",
      hovermode: "closest",
      scene: { xaxis: axis, yaxis: axis, zaxis: axis, aspectmode: "cube", camera: FRONT, uirevision: "keep" },
    };
  }

  function cloud(points, colours, scale) {
    const every = Array.from({ length: points.length / 3 }, (_, place) => place);
    return {
      type: "scatter3d", mode: "markers", hoverinfo: "none", ...axes(every, points),
      marker: { size: window.innerWidth < 640 ? 2.6 : 3.6, color: Array.from(colours), colorscale: scale, cmin: 0, cmax: 1, opacity: 1 },
    };
  }

  function pins(places, points, colours) {
    return {
      type: "scatter3d", mode: "markers", hoverinfo: "skip", ...axes(places, points),
      marker: { size: 9, symbol: "diamond", color: colours.slice(0, places.length), line: { color: "#fff", width: 2 } },
    };
  }

  function cloudPanels(scene) {
    const [a, b, mixed] = [scene.a, scene.b, scene.mixed].map(numbers), own = shares(scene.own);
    const even = new Float32Array(own.length).fill(1);
    const maps = scene.saliency ? scene.saliency.map(shares) : [even, even];
    const queries = scene.queries ? [[scene.queries[0]], [scene.queries[1]]] : [[], []];
    const said = scene.saliency ? ", coloured by saliency" : "";
    const panel = (key, title, points, colours, scale, places, marks) =>
      ({ key, title, data: [cloud(points, colours, scale), pins(places, points, marks)], layout: room(), deep: true });
    return [
      panel("a", `A: ${scene.names[0]}${said}`, a, maps[0], salience(A), queries[0], [A]),
      panel("b", `B: ${scene.names[1]}${said}`, b, maps[1], salience(B), queries[1], [B]),
      panel("mixed", "mixed, coloured by λ", mixed, own, SHARES, scene.marks, [A, B]),
    ];
  }

  // ---- the whole

  function bars(scene) {
    const row = (name, share, colour) => {
      const fill = element("span", { style: `width:${(100 * Math.min(share, 1)).toFixed(1)}%;background:${colour}` });
      return element("div", { class: "mk-bar" }, element("b", {}, name), element("i", {}, fill),
        element("output", {}, share.toFixed(3)));
    };
    const key = element("div", { class: "mk-key" }, "λ: B", element("i", {}), "A");
    return [row(scene.names[0], scene.targets[0], A), row(scene.names[1], scene.targets[1], B), key];
  }

  let leader = null; // the cloud that is being turned: those that turn with it turn no others

  function follow(plots, moved) {
    moved.on("plotly_relayout", (change) => {
      if (!change["scene.camera"] || leader) return;
      leader = moved;
      const others = plots.filter((plot) => plot !== moved && plot.isConnected);
      Promise.allSettled(others.map((plot) => Plotly.relayout(plot, { "scene.camera": change["scene.camera"] })))
        .then(() => { leader = null; });
    });
  }

  // Draw a scene into a root; `clicked(key, place)` hears of clicks on elements of the panels "a" and "b".
  window.mixkitView = function (root, scene, clicked) {
    const panels = scene.domain === "image" ? imagePanels(scene) : cloudPanels(scene);
    const keys = panels.map((panel) => panel.key).join();
    if (root.dataset.keys !== keys) {
      (root.plots || []).forEach((plot) => Plotly.purge(plot));
      root.classList.add("mk-view");
      root.dataset.view = scene.domain;
      root.dataset.keys = keys;
      root.heads = panels.map(() => element("figcaption"));
      root.plots = panels.map((panel) => element("div", { class: "mk-plot", "data-key": panel.key, role: "img" }));
      const figures = panels.map((panel, at) =>
        element("figure", { class: "mk-panel" }, root.heads[at], root.plots[at]));
      root.bars = element("div", { class: "mk-bars", "aria-label": "targets" });
      root.replaceChildren(element("div", { class: "mk-grid" }, ...figures), root.bars);
    }
    root.bars.replaceChildren(...bars(scene));
    root.scene = scene;
    const drawn = panels.map((panel, at) => {
      const plot = root.plots[at], fresh = !plot.on;
      root.heads[at].textContent = panel.title;
      plot.setAttribute("aria-label", panel.title);
      return Plotly.react(plot, panel.data, panel.layout, CONFIG).then(() => {
        if (!fresh) return;
        if (panel.deep) follow(root.plots, plot);
        if (!clicked || !["a", "b"].includes(panel.key)) return;
        plot.classList.add("mk-clickable");
        plot.on("plotly_click", (event) => {
          const point = event.points.find((one) => one.curveNumber === 0);
          if (!point) return;
          const side = root.scene.side;
          clicked(panel.key, panel.deep ? point.pointNumber : Math.round(point.y) * side + Math.round(point.x));
        });
      });
    });
    return Promise.all(drawn).then(() => { root.dataset.drawn = String(Number(root.dataset.drawn || 0) + 1); });
  };
  window.mixkitView.bytes = bytes;
  window.mixkitView.numbers = numbers;
})();
