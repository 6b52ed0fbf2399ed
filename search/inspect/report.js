"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byTrial = new Map(data.points.map(point => [point.trial, point]));
const objectives = data.objectives, last = objectives[objectives.length - 1];
const onFront = data.points.filter(point => point.front);
const budgets = {}, rows = new Map();
const bare = {displayModeBar: false, responsive: true};
let chosen = data.knee;

const find = id => document.getElementById(id);
const make = (tag, text, kind) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  return node;
};
const card = (place, id, kind) => {
  const outer = make("div", undefined, "card"), box = make("div", undefined, kind);
  box.id = id;
  outer.append(box);
  find(place).append(outer);
  return box;
};
const color = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const label = one => one.unit ? `${one.name} [${one.unit}]` : one.name;
const within = point => objectives.every(one => {
  const bound = budgets[one.name], value = point.values[one.name];
  return bound === undefined || (one.less ? value <= bound : value >= bound);
});

// ---- pictures -------------------------------------------------------------------------------------------------------

const ticks = [1e-3, 1e-2, .1, 1, 10, 100, 1e3, 1e4].flatMap(decade => [1, 2, 5].map(step => Number((step * decade).toPrecision(1))));

function layout(x, y, log) {
  const axis = title => ({title: {text: title}, gridcolor: color("line"), zeroline: false, color: color("soft"), automargin: true});
  const across = log ? {type: "log", tickvals: ticks, ticktext: ticks.map(String)} : {};
  return {paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {color: color("ink"), size: 13},
    margin: {l: 10, r: 10, t: 60, b: 10}, xaxis: {...axis(x), ...across}, yaxis: axis(y),
    legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: {size: 12}, entrywidthmode: "fraction",
      entrywidth: innerWidth < 600 ? .48 : .32}, hovermode: "closest", dragmode: false};
}

function trace(title, points, x, y, marker, errors) {
  const value = (point, one) => point.values[one.name] * one.scale;
  const ends = (one, side) => points.map(point => {
    const pair = point.intervals[one.name];
    return pair ? Math.abs(pair[side] - point.values[one.name]) * one.scale : 0;
  });
  const error = one => ({type: "data", symmetric: false, array: ends(one, 1), arrayminus: ends(one, 0), thickness: 1,
    width: 0, color: marker.color});
  return {type: "scatter", mode: "markers", name: title, x: points.map(p => value(p, x)), y: points.map(p => value(p, y)),
    customdata: points.map(p => p.trial), text: points.map(p => `trial ${p.trial}: ${p.summary}`),
    hovertemplate: "%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>", marker,
    ...(errors ? {error_x: error(x), error_y: error(y)} : {})};
}

function drawFront() {
  const front = onFront.filter(within), kept = new Set(front.map(point => point.trial));
  const rest = data.points.filter(p => !kept.has(p.trial) && p.trial !== data.dense);
  objectives.slice(0, -1).forEach((x, number) => {
    const y = last;
    const traces = [
      trace("other trials", rest.filter(p => p.kind !== "uniform"), x, y, {color: color("faint"), size: 6, opacity: .45}),
      trace("uniform settings", rest.filter(p => p.kind === "uniform"), x, y,
        {color: color("uniform"), size: 8, symbol: "square", opacity: .7}),
      trace("front", front.filter(p => p.rival === null), x, y, {color: color("front"), size: 10}, true),
      trace("front, may be beaten", front.filter(p => p.rival !== null), x, y,
        {color: color("front"), size: 10, symbol: "circle-open", line: {width: 2}}, true),
      trace("dense", [byTrial.get(data.dense)], x, y, {color: color("ink"), size: 14, symbol: "star"}),
      // What is chosen is drawn apart, for Plotly takes long to move a point; this one stands in the legend.
      {type: "scatter", mode: "markers", name: "chosen", x: [null], y: [null],
        marker: {color: color("mark"), size: 14, symbol: "circle-open", line: {width: 2}}},
    ].filter(one => one.x.length);
    const box = find(`plot-${number}`);
    Plotly.react(box, traces, layout(label(x), label(y), x.less), bare);
    clickable(box);
    reachable(box);
  });
}

function drawRing(box) {
  const dot = [...box.querySelectorAll(".scatterlayer .point")].find(dot => dot.__data__.data === chosen);
  box.querySelector(".ring")?.remove();
  if (!dot) return;
  const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  Object.entries({class: "ring", r: 9, transform: dot.getAttribute("transform")}).forEach(pair => ring.setAttribute(...pair));
  box.querySelector(".scatterlayer").append(ring);
}

// A click chooses a point; Tab reaches one of the front's points, arrows go along them, Enter chooses.
function clickable(box) {
  if (box.dataset.ready) return;
  box.dataset.ready = "yes";
  box.on("plotly_click", event => choose(event.points[0].customdata));
  box.on("plotly_afterplot", () => reachable(box));
  box.addEventListener("keydown", event => {
    const dots = dotsOf(box), place = dots.indexOf(event.target), step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (place < 0 || !(step || event.key === "Enter" || event.key === " ")) return;
    event.preventDefault();
    if (!step) { choose(event.target.__data__.data); return; }
    const next = dots[Math.min(Math.max(place + step, 0), dots.length - 1)];
    dots.forEach(dot => dot.setAttribute("tabindex", dot === next ? 0 : -1));
    next.focus();
  });
}

function dotsOf(box) {
  const dots = [...box.querySelectorAll(".scatterlayer .point")].filter(dot => {
    const point = byTrial.get(dot.__data__.data);
    return point.front && within(point);
  });
  const unique = new Map(dots.map(dot => [dot.__data__.data, dot]).reverse());
  return [...unique.values()].sort((a, b) => a.__data__.x - b.__data__.x);
}

function reachable(box) {
  drawRing(box);
  const dots = dotsOf(box), first = dots.find(dot => dot.__data__.data === chosen) ?? dots[0];
  box.querySelectorAll(".scatterlayer .point[tabindex]").forEach(dot => dot.removeAttribute("tabindex"));
  dots.forEach(dot => {
    const point = byTrial.get(dot.__data__.data);
    dot.setAttribute("tabindex", dot === first ? 0 : -1);
    dot.setAttribute("role", "button");
    dot.setAttribute("aria-label", `choose trial ${point.trial}: ${objectives.map(one => `${one.name} ${point.shown[one.name]}`).join(", ")}`);
  });
}

function drawSearch() {
  const line = {type: "scatter", mode: "lines", line: {shape: "hv", color: color("front")}, name: "hypervolume",
    x: data.history.map(pair => pair[0]), y: data.history.map(pair => pair[1])};
  const flat = layout("trial", "hypervolume");
  Plotly.react("history", [line], {...flat, margin: {...flat.margin, t: 10}, yaxis: {...flat.yaxis, range: [0, 1]}}, bare);
  data.predictions.forEach((one, number) => {
    const [x, y] = [1, 2].map(place => one.pairs.map(pair => pair[place])), ends = [Math.min(...x, ...y), Math.max(...x, ...y)];
    const unit = one.unit ? ` [${one.unit}]` : "", text = one.pairs.map(pair => `trial ${pair[0]}`);
    Plotly.react(`prediction-${number}`, [
      {type: "scatter", mode: "lines", x: ends, y: ends, line: {color: color("faint"), dash: "dot"}, hoverinfo: "skip"},
      {type: "scatter", mode: "markers", x, y, text, customdata: one.pairs.map(pair => pair[0]),
        hovertemplate: "%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>", marker: {size: 7, color: color("front"), opacity: .7}},
    ], {...layout(`predicted${unit}`, `measured${unit}`), margin: {l: 10, r: 10, t: 10, b: 10}, showlegend: false}, bare);
    chooses(`prediction-${number}`);
  });
}

function drawDistilled() {
  const told = data.distilled;
  if (!told || !told.lines.length) return;
  const traces = told.lines.map(line => ({type: "scatter", mode: "lines+markers", x: line.steps.map(String), y: line.values,
    customdata: line.trials, text: line.trials.map(trial => `trial ${trial}: ${byTrial.get(trial).summary}`),
    hovertemplate: "%{text}<br>%{y:.4f}<extra></extra>", line: {color: color("front"), width: 1.5}, marker: {size: 6}, opacity: .6}));
  const order = [...new Set(told.lines.flatMap(line => line.steps))].sort((a, b) => a - b).map(String);
  const shape = layout("steps of distillation", told.qualities[0]);
  Plotly.react("distilled", traces, {...shape, showlegend: false, margin: {...shape.margin, t: 10},
    xaxis: {...shape.xaxis, type: "category", categoryorder: "array", categoryarray: order}}, bare);
  chooses("distilled");
}

function chooses(id) {
  const box = find(id);
  if (box.dataset.ready) return;
  box.dataset.ready = "yes";
  box.on("plotly_click", event => choose(event.points[0].customdata));
}

// ---- tables ---------------------------------------------------------------------------------------------------------

function fillTable() {
  find("table").tBodies[0].append(...onFront.map(point => {
    const row = make("tr"), cell = make("td"), button = make("button", String(point.trial));
    button.type = "button";
    button.setAttribute("aria-label", `choose trial ${point.trial}`);
    button.addEventListener("click", () => choose(point.trial));
    cell.append(button);
    row.append(cell, ...objectives.map(one => make("td", point.shown[one.name] + (point.noisy.includes(one.name) ? " (noisy)" : ""))));
    row.append(make("td", Object.entries(point.again).map(([name, value]) => `${name} ${value}`).join(", "), "text"));
    row.append(make("td", point.summary + (point.rival === null ? "" : `; may be beaten by trial ${point.rival}`), "text long"));
    rows.set(point.trial, row);
    return row;
  }));
}

function markTable() {
  onFront.forEach(point => {
    rows.get(point.trial).classList.toggle("out", !within(point));
    rows.get(point.trial).classList.toggle("chosen", point.trial === chosen);
  });
}

function drawDetail() {
  const point = byTrial.get(chosen), dense = byTrial.get(data.dense);
  const lines = objectives.map(one => {
    const row = make("tr"), pair = point.intervals[one.name];
    const digits = value => Number((value * one.scale).toPrecision(4));
    row.append(make("th", one.name, "text"), make("td", point.shown[one.name]),
      make("td", pair ? `${digits(pair[0])} – ${digits(pair[1])}` : "exact"), make("td", point.again[one.name] ?? "–"),
      make("td", dense.shown[one.name]));
    return row;
  });
  const head = make("tr");
  head.append(...["", "measured", "95 % interval", "measured again", "dense"].map(text => make("th", text)));
  const table = make("table"), wide = make("div", undefined, "wide");
  table.append(head, ...lines);
  wide.append(table);
  wide.tabIndex = 0;
  const layered = new Set(data.axes.flatMap(axis => axis.cells.flat()));
  const settings = data.parameters.map((name, place) => layered.has(place) ? "" : `${name} ${point.configuration[place]}`).filter(Boolean).join(", ");
  const counts = Object.entries(point.information).map(([name, value]) => `${value.toLocaleString("en")} ${name.replaceAll("_", " ")}`);
  const command = make("pre", `slimfront export ${data.run} --trial ${point.trial} --out deploy-${point.trial}/`);
  command.id = "command";
  find("detail").replaceChildren(make("h3", `Trial ${point.trial}${point.trial === data.knee ? ", the knee" : ""}`),
    make("p", point.summary), wide, make("p", [settings, ...counts].filter(Boolean).join("; "), "soft"), command);
}

function drawLayers() {
  const point = byTrial.get(chosen);
  const amount = (axis, value) => axis === "bits" ? 1 - Math.log2(parseInt(value)) / 5 : value === "removed" ? 1 : Number(value) || 0;
  const text = (axis, value) => axis === "sparsity" && typeof value === "number" ? `${Math.round(100 * value)} %` : String(value);
  find("layers").replaceChildren(make("h3", "Layer by layer"), ...data.axes.map(axis => {
    const part = make("div"), table = make("table", undefined, "heat"), head = make("tr");
    head.append(make("th", "block", "text"), ...axis.roles.map(role => make("th", role.replaceAll("_", " "))));
    table.append(head, ...axis.blocks.map((block, number) => {
      const row = make("tr");
      row.append(make("th", block, "text"), ...axis.cells[number].map(place => {
        const value = place === null ? null : point.configuration[place], cell = make("td", value === null ? "" : text(axis.axis, value));
        if (value !== null) cell.style.setProperty("--share", `${Math.round(70 * amount(axis.axis, value))}%`);
        return cell;
      }));
      return row;
    }));
    part.append(make("p", axis.title), table);
    return part;
  }));
}

function drawLeft() {
  const left = onFront.filter(within).length;
  find("left").textContent = left === onFront.length ? `${left} points are on the front. Choose one in a picture or in the table.`
    : `${left} of ${onFront.length} points of the front are within these budgets.`;
}

// ---- what a reader does ---------------------------------------------------------------------------------------------

function filter() { drawLeft(); drawFront(); markTable(); }

function choose(trial) {
  if (!byTrial.has(trial)) return;
  chosen = trial;
  history.replaceState(null, "", `#trial-${trial}`);
  objectives.slice(0, -1).forEach((_, number) => drawRing(find(`plot-${number}`)));
  markTable(); drawDetail(); drawLayers();
}

function addSlider(one) {
  const values = [...new Set(onFront.map(p => p.values[one.name]))].sort((a, b) => one.less ? a - b : b - a);
  const line = make("label", `${one.name} ${one.less ? "at most" : "at least"} `), told = make("output"), slider = make("input");
  Object.assign(slider, {type: "range", min: 0, max: values.length - 1, step: 1, id: `budget-${one.name}`});
  slider.value = values.length - 1;
  const tell = () => {
    const value = values[slider.valueAsNumber];
    told.textContent = `${Number((value * one.scale).toPrecision(4))} ${one.unit}`;
    slider.setAttribute("aria-valuetext", told.textContent);
    budgets[one.name] = slider.valueAsNumber === values.length - 1 ? undefined : value;
  };
  slider.addEventListener("input", () => { tell(); filter(); });
  tell();
  line.append(told, slider);
  find("budgets").append(line);
}

function begin() {
  const asked = Number(location.hash.replace("#trial-", ""));
  if (location.hash && byTrial.has(asked)) chosen = asked;
  const head = make("tr");
  head.append(make("th", "trial"), ...objectives.map(one => make("th", one.name)), make("th", "measured again", "text"), make("th", "what was done", "text"));
  find("table").tHead.append(head);
  objectives.slice(0, -1).forEach((_, number) => card("plots", `plot-${number}`, "plot"));
  if (onFront.length) objectives.forEach(addSlider);
  fillTable();
  filter(); drawDetail(); drawLayers(); drawSearch(); drawDistilled();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { filter(); drawSearch(); drawDistilled(); });
}
begin();
