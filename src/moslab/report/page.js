
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const GUTTER = 150, GROUP_H = 24, RUN_H = 18, STRIP_H = 15, GAP = 5, ROW_H = 19, SPAN_MIN_S = 1e-4, LABEL_MIN = 26;
const KINDS = ["off", "pause", "stop", "cut", "shot", "crash"];
const whole = { from: data.begin, to: data.end };
let view = { from: data.focus[0], to: data.focus[1] }, at = null, held = false, width = 1000, queued = false;

// ---- small things -------------------------------------------------------------------------------------------------

function make(parent, name, attributes, text) {
  const svg = parent.namespaceURI === "http://www.w3.org/2000/svg" || name === "svg";
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}
const titled = (element, text) => { make(element, "title", {}, text); return element; };
const seconds = (value, digits = 3) => value.toFixed(digits) + " s";
const short = (value) => value >= 10 ? value.toFixed(1) + " s" : value >= 0.1 ? value.toFixed(2) + " s" : (1000 * value).toFixed(1) + " ms";
const x = (time) => GUTTER + (time - view.from) / (view.to - view.from) * (width - GUTTER);
const timeAt = (px) => view.from + (px - GUTTER) / (width - GUTTER) * (view.to - view.from);
const holds = (begin, end, time) => begin <= time && time < end;
const kindClass = (kind) => "k-" + (KINDS.includes(kind) ? kind : "other");
const colour = new Map(data.groups.map((group, place) => [group, "g" + place % 8]));
const pen = document.createElement("canvas").getContext("2d");
pen.font = "12px system-ui, DejaVu Sans, sans-serif";
const wide = (text) => pen.measureText(text).width;

/** What fits into so many pixels; empty if that is nothing to read. */
function fitted(text, room) {
  if (wide(text) <= room) return text;
  const letters = Math.floor(room / 7) - 1;
  return letters < 3 ? "" : text.slice(0, letters) + "…";
}

/** Each item, with the first row in which it overlaps none before it: [[item, row], …], and how many rows there are. */
function stacked(items, begin, end) {
  const ends = [], placed = [];
  for (const item of items) {
    let row = ends.findIndex((last) => last <= begin(item));
    if (row < 0) row = ends.length;
    ends[row] = end(item);
    placed.push([item, row]);
  }
  return [placed, ends.length];
}

// ---- what is where ------------------------------------------------------------------------------------------------

const POWER = 0;
const numbers = (nodes) => nodes.map((node) => node === POWER ? "power" : node).join(" ");

/** A band in the words of one node that it touches. */
function bandOf(band, node) {
  const [kind, nodes, links, detail, begin, end, title] = band;
  if (!links.length) return { kind, text: [kind, detail].join(" ").trim(), title, begin, end };
  const deaf = links.filter(([, to]) => to === node).map(([from]) => from);
  const mute = links.filter(([from]) => from === node).map(([, to]) => to);
  const both = deaf.filter((other) => mute.includes(other));
  const rest = (some) => some.filter((other) => !both.includes(other));
  const said = [];
  if (both.length) said.push("cut from " + numbers(both));
  if (rest(deaf).length) said.push("does not hear " + numbers(rest(deaf)));
  if (rest(mute).length) said.push("not heard by " + numbers(rest(mute)));
  return { kind, text: said.join(", "), title, begin, end };
}

/** What a node runs, in as few rows as it needs: in each, processes and tenures, of which those of other groups overlap none. */
function packed(node) {
  const spans = [];
  for (const group of data.groups) {
    let last = null;
    for (const one of data.processes.filter((one) => one[0] === group && one[1] === node)) {
      if (!last || one[4] > last.end) spans.push(last = { group, begin: one[4], end: one[5], processes: [] });
      last.end = Math.max(last.end, one[5]);
      last.processes.push(one);
    }
  }
  spans.sort((one, other) => one.begin - other.begin);
  const [placed, count] = stacked(spans, (span) => span.begin, (span) => span.end);
  return Array.from({ length: Math.max(count, 1) }, (_, row) => {
    const mine = placed.filter(([, place]) => place === row).map(([span]) => span);
    const holder = (group, time) => mine.some((span) => span.group === group && span.begin <= time && time <= span.end);
    return { processes: mine.flatMap((span) => span.processes), holder,
      tenures: data.tenures.filter((one) => one[1] === node && holder(one[0], one[3])) };
  });
}

const GLYPHS = { shot: "↯ shot", crash: "✕ crash", thaw: "thaw" };
const lanes = data.nodes.map((node) => {
  const bands = data.bands.filter((band) => band[1].includes(node)).map((band) => bandOf(band, node));
  for (const [time, whose, kind, text] of data.lines)
    if (whose === node && kind in GLYPHS) bands.push({ kind, text: GLYPHS[kind], title: text, begin: time, end: time });
  bands.sort((one, other) => one.begin - other.begin);
  const blind = data.blind.filter((span) => span[0] === node), twice = data.twice.filter((one) => one[1].includes(node));
  return { node, bands, blind, twice, rows: packed(node) };
});
const global = data.bands.filter((band) => !band[1].length).map((band) => bandOf(band, -1));

// ---- drawing ------------------------------------------------------------------------------------------------------

function bar(into, begin, end, y, height, attributes) {
  const left = Math.max(x(begin), GUTTER), right = Math.min(Math.max(x(end), left + 2), width);
  return make(into, "rect", { x: left.toFixed(1), y, width: Math.max(right - left, 1).toFixed(1), height, ...attributes });
}
const seen = (begin, end) => end >= view.from && begin <= view.to;

function drawAxis() {
  const axis = by("axis");
  axis.replaceChildren();
  const span = view.to - view.from, target = span / Math.max(2, (width - GUTTER) / 90);
  const power = 10 ** Math.floor(Math.log10(target));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= target);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let n = Math.ceil(view.from / step); n * step <= view.to && ticks.length < 200; n++) ticks.push(n * step);
  for (const tick of ticks) make(axis, "text", { x: x(tick) + 3, y: 15 }, tick.toFixed(digits) + " s");
  make(axis, "rect", { x: 0, y: 0, width: GUTTER, height: 22, class: "gutter" });
  return ticks;
}

function drawOverview() {
  const over = by("overview");
  over.replaceChildren();
  const scale = (time) => GUTTER + (time - whole.from) / (whole.to - whole.from) * (width - GUTTER);
  const piece = (begin, end, y, height, name) => make(over, "rect", {
    x: scale(begin), y, width: Math.max(1.5, scale(end) - scale(begin)), height, class: name });
  make(over, "rect", { x: 0, y: 0, width: GUTTER, height: 18, class: "gutter" });
  make(over, "text", { x: 10, y: 13, class: "head" }, "whole run");
  piece(whole.from, whole.to, 0, 18, "track");
  for (const [group, , , begin, end] of data.tenures) piece(begin, end, 9, 5, colour.get(group));
  for (const [kind, , , , begin, end] of data.bands) {
    const inside = make(over, "g", { class: kindClass(kind) });
    make(inside, "rect", { x: scale(begin), y: 3, width: Math.max(1.5, scale(end) - scale(begin)), height: 5, class: "band" });
  }
  for (const [, , begin, end] of data.twice) piece(begin, end, 1, 16, "twice");
  piece(view.from, view.to, 0.5, 17, "view");
}

/** A bar for each process, with what its tenure is called, and red where two nodes run the group. */
function drawRuns(into, processes, tenures, twice, y, height, label) {
  for (const [group, node, pid, epoch, begin, end, tests] of processes) {
    if (!seen(begin, end)) continue;
    const said = `${group} on node ${node}${tests ? " (a test)" : ""}\ntoken ${epoch || "none"}, process ${pid}\n` +
      `${seconds(begin, 4)} to ${seconds(end, 4)}: ${short(end - begin)}`;
    titled(bar(into, begin, end, tests ? y + height / 2 : y, tests ? height / 2 : height,
      { class: `run ${colour.get(group)}${tests ? " test" : ""}` }), said);
  }
  for (const tenure of tenures) {
    if (!seen(tenure[3], tenure[4])) continue;
    const clear = Math.max(tenure[3], ...twice.filter((one) => holds(one[2], one[3], tenure[3])).map((one) => one[3]));
    const left = Math.max(x(clear), GUTTER), text = fitted(label(tenure), Math.min(x(tenure[4]), width) - left - 8);
    if (text) make(into, "text", { x: left + 4, y: y + height / 2 + 4, class: "on" }, text);
  }
  for (const [group, [one, other], begin, end] of twice) {
    if (!seen(begin, end)) continue;
    titled(bar(into, begin, end, y, height, { class: "twice" }),
      `${group} runs on nodes ${one} and ${other} at once\n${seconds(begin, 4)} to ${seconds(end, 4)}: ${short(end - begin)}`);
    const left = Math.max(x(begin), GUTTER), text = fitted(`TWICE ${short(end - begin)}`, Math.min(x(end), width) - left - 6);
    if (text) make(into, "text", { x: left + 3, y: y + height / 2 + 4, class: "twice" }, text);
  }
}

function drawGap(into, begin, end, y, height) {
  if (!seen(begin, end) || end - begin < SPAN_MIN_S) return;
  const left = Math.max(x(begin), GUTTER), right = Math.min(x(end), width);
  make(into, "line", { x1: left, x2: right, y1: y + height / 2, y2: y + height / 2, class: "none" });
  const text = short(end - begin), room = right - left;
  if (wide(text) + 8 <= room) {
    make(into, "rect", { x: (left + right) / 2 - wide(text) / 2 - 2, y: y + 3, width: wide(text) + 4, height: height - 6, class: "lane" });
    make(into, "text", { x: (left + right) / 2, y: y + height / 2 + 4, class: "gap", "text-anchor": "middle" }, text);
  }
}

/** The bands of one lane, stacked; what is too narrow for its name has it behind it, if there is room. */
function drawBands(into, bands, y) {
  const shown = bands.filter((band) => seen(band.begin, band.end));
  const reach = (band) => Math.max(band.end, timeAt(x(band.begin) + LABEL_MIN));
  const [placed, rows] = stacked(shown, (band) => band.begin, reach);
  placed.forEach(([band, row], place) => {
    const inside = make(into, "g", { class: kindClass(band.kind) });
    const top = y + row * STRIP_H + 1;
    const rect = bar(inside, band.begin, band.end, top, STRIP_H - 2, { class: "band" });
    titled(rect, `${band.title}\n${seconds(band.begin)} to ${seconds(band.end)}: ${short(band.end - band.begin)}`);
    const left = Math.max(x(band.begin), GUTTER);
    const next = placed.slice(place + 1).find(([, other]) => other === row);
    const room = (next ? x(next[0].begin) : width) - left - 8;
    const text = fitted(band.text, room);
    if (text) make(inside, "text", { x: left + 5, y: top + 10.5, class: "fault" }, text);
  });
  return Math.max(rows, 0);
}

/** As many rows as the bands of a lane need in this view. */
function rowsOf(bands) {
  const shown = bands.filter((band) => seen(band.begin, band.end));
  return stacked(shown, (band) => band.begin, (band) => Math.max(band.end, timeAt(x(band.begin) + LABEL_MIN)))[1];
}

function draw() {
  queued = false;
  width = Math.max(by("chart").clientWidth, GUTTER + 200);
  const ticks = drawAxis(), svg = by("lanes");
  drawOverview();
  svg.replaceChildren();
  const back = make(svg, "g", {}), front = make(svg, "g", {}), names = make(svg, "g", {});
  let y = 4;
  const head = (text) => { make(names, "text", { x: 10, y: y + 12, class: "head" }, text); y += 18; };
  const ground = (height) => make(back, "rect", { x: GUTTER, y, width: width - GUTTER, height, class: "lane" });

  head("groups");
  for (const group of data.groups) {
    const mine = (one) => one[0] === group;
    const row = make(front, "g", { class: "group", "data-group": group });
    ground(GROUP_H);
    for (const [, begin, end] of data.gaps.filter(mine)) drawGap(row, begin, end, y + 2, GROUP_H - 4);
    drawRuns(row, data.processes.filter((one) => mine(one) && !one[6]), data.tenures.filter(mine), data.twice.filter(mine),
      y + 2, GROUP_H - 4, (tenure) => `node ${tenure[1]}`);
    if (!data.tenures.some(mine)) make(row, "text", { x: GUTTER + 8, y: y + 16, class: "gap" }, "never ran");
    make(names, "text", { x: 10, y: y + 16, class: "name" }, fitted(group, GUTTER - 20));
    y += GROUP_H + 3;
  }
  if (global.length) {
    head("faults");
    const rows = Math.max(1, rowsOf(global));
    ground(rows * STRIP_H);
    drawBands(make(front, "g", {}), global, y);
    y += rows * STRIP_H + GAP;
  }
  y += 4;
  head("nodes");
  for (const lane of lanes) {
    const strips = rowsOf(lane.bands), height = 4 + strips * STRIP_H + lane.rows.length * (RUN_H + 2) + 4;
    const row = make(front, "g", { class: "node", "data-node": lane.node });
    ground(height);
    for (const band of lane.bands)
      if ((band.kind === "off" || band.kind === "pause") && seen(band.begin, band.end))
        bar(make(row, "g", { class: kindClass(band.kind) }), band.begin, band.end, y, height, { class: "shade" });
    drawBands(row, lane.bands, y + 2);
    let top = y + 3 + strips * STRIP_H;
    for (const { processes, tenures, holder } of lane.rows) {
      drawRuns(row, processes, tenures, lane.twice.filter((one) => holder(one[0], one[2])), top, RUN_H,
        (tenure) => tenure[2] ? `${tenure[0]} · epoch ${tenure[2].split(".").pop()}` : tenure[0]);
      top += RUN_H + 2;
    }
    for (const [, begin, end] of lane.blind) {
      if (!seen(begin, end)) continue;
      const inside = make(row, "g", { class: "k-blind" }), left = Math.max(x(begin), GUTTER);
      titled(make(inside, "line", { x1: left, x2: Math.min(Math.max(x(end), left + 2), width), y1: y + height - 2, y2: y + height - 2, class: "blind" }),
        `node ${lane.node} reads no majority of voters\n${seconds(begin)} to ${seconds(end)}`);
    }
    make(names, "text", { x: 10, y: y + 16, class: "name" }, `node ${lane.node}`);
    lane.says = make(names, "text", { x: GUTTER - 8, y: y + 16, class: "dim", "text-anchor": "end" }, "");
    y += height + GAP;
  }
  for (const tick of ticks) make(back, "line", { x1: x(tick), x2: x(tick), y1: 0, y2: y, class: "grid" });
  if (data.healed !== null && seen(data.healed, data.healed))
    titled(make(back, "line", { x1: x(data.healed), x2: x(data.healed), y1: 0, y2: y, class: "heal" }), "all faults are healed");
  svg.prepend(make(svg, "rect", { x: 0, y: 0, width: GUTTER, height: y, class: "gutter" }));
  svg.setAttribute("height", y);
  drawCursor();
}

function redraw() {
  if (!queued) { queued = true; requestAnimationFrame(draw); }
}

// ---- the cursor ---------------------------------------------------------------------------------------------------

/** The voters that a node reads at a time; null if the history does not tell. */
function reads(node, time) {
  if (!data.contacts.length) return null;
  return data.contacts.filter(([who, , begin, end]) => who === node && holds(begin, end, time)).map((one) => one[1]);
}

function drawCursor() {
  const line = by("line");
  const px = at === null ? -1 : x(at);
  line.hidden = px < GUTTER || px > width;
  if (!line.hidden) {
    line.style.height = by("lanes").getAttribute("height") - -22 + "px";
    line.style.left = px + "px";
    line.dataset.at = seconds(at);
    line.className = (held ? "held " : "") + (px > width - 90 ? "left" : "");
  }
  for (const lane of lanes) {
    const found = at === null ? null : reads(lane.node, at);
    lane.says.textContent = found === null ? "" : found.length ? "reads " + fitted(found.join(" "), 46) : "reads none";
  }
  drawState();
}

function drawState() {
  const state = by("state");
  state.replaceChildren();
  if (at === null) { make(state, "span", { class: "dim" }, "point at a time: what runs then, what is broken, and what was said"); return; }
  make(state, "span", { class: "at" }, (held ? "held at " : "at ") + seconds(at));
  for (const group of data.groups) {
    const runs = data.processes.filter((one) => one[0] === group && !one[6] && holds(one[4], one[5], at));
    const nodes = [...new Set(runs.map((one) => one[1]))];
    const twice = data.twice.some((one) => one[0] === group && holds(one[2], one[3], at));
    make(state, "span", { class: twice ? "twice" : nodes.length ? "" : "dim" }, nodes.length
      ? `${group}: node${nodes.length > 1 ? "s" : ""} ${nodes.join(" and ")}${twice ? " AT ONCE" : ""} (${runs[0][3] || "no token"})` : `${group}: nowhere`);
  }
  for (const [kind, , , , begin, end, title] of data.bands)
    if (holds(begin, Math.max(end, begin + SPAN_MIN_S), at) || (end === whole.to && at >= end && begin <= at))
      make(state, "span", { class: kindClass(kind) }, title);
  const blind = data.blind.filter(([, begin, end]) => holds(begin, end, at)).map((one) => one[0]);
  if (blind.length) make(state, "span", { class: "k-blind" }, `no majority: node${blind.length > 1 ? "s" : ""} ${blind.join(" ")}`);
}

function point(time, hold) {
  at = time === null ? null : Math.min(Math.max(time, whole.from), whole.to);
  held = at !== null && hold;
  drawCursor();
  scrollLog();
}

// ---- the log ------------------------------------------------------------------------------------------------------

const off = new Set();
let rows = data.lines, words = "";

/** The first of the rows that is later than a time. */
function rowAt(time) {
  let low = 0, high = rows.length;
  while (low < high) { const middle = (low + high) >> 1; if (rows[middle][0] <= time) low = middle + 1; else high = middle; }
  return low;
}

function filter() {
  rows = data.lines.filter(([, node, , text]) => !off.has(node) && (!words || text.toLowerCase().includes(words)));
  by("all").style.height = rows.length * ROW_H + "px";
  by("filters").querySelector(".count").textContent = `${rows.length} of ${data.lines.length} lines`;
  scrollLog();
}

function scrollLog() {
  const log = by("log");
  if (at !== null) log.scrollTop = (rowAt(at) - 1) * ROW_H - log.clientHeight / 2 + ROW_H;
  drawLog();
}

function drawLog() {
  const log = by("log"), all = by("all");
  const first = Math.max(0, Math.floor(log.scrollTop / ROW_H) - 5), count = Math.ceil(log.clientHeight / ROW_H) + 10;
  all.replaceChildren();
  if (!rows.length) make(all, "div", { class: "none" }, data.lines.length ? "nothing of that" : "nothing was said");
  const now = at === null ? -1 : rowAt(at) - 1;
  rows.slice(first, first + count).forEach(([time, node, kind, text], place) => {
    const row = make(all, "div", { class: `row ${kind}${first + place === now ? " now" : ""}` });
    row.style.top = (first + place) * ROW_H + "px";
    row.dataset.time = time;
    make(row, "span", { class: "time" }, time.toFixed(4).padStart(11) + "  ");
    make(row, "span", { class: "from" }, node ? `node ${node}` : "");
    make(row, "span", {}, text);
  });
}

// ---- what the user does -------------------------------------------------------------------------------------------

function show(from, to) {
  const least = Math.max(SPAN_MIN_S, (whole.to - whole.from) / 1e6), most = whole.to - whole.from;
  const span = Math.min(Math.max(to - from, least), most);
  const begin = Math.min(Math.max(from + (to - from - span) / 2, whole.from), whole.to - span);
  view = { from: begin, to: begin + span };
  redraw();
}
const zoom = (factor, around) => show(around - (around - view.from) * factor, around + (view.to - around) * factor);
const pan = (part) => { const by_s = part * (view.to - view.from); show(view.from + by_s, view.to + by_s); };
const middle = () => at !== null && at >= view.from && at <= view.to ? at : (view.from + view.to) / 2;

/** Hold a time, and have it in view. */
function go(time) {
  if (time < view.from || time > view.to) { const half = (view.to - view.from) / 2; show(time - half, time + half); }
  point(time, true);
}

function step(forward) {
  const events = data.lines.filter((line) => line[2] !== "log");
  const now = at === null ? (forward ? view.from : view.to) : at;
  const found = forward ? events.find((line) => line[0] > now + 1e-6) : events.findLast((line) => line[0] < now - 1e-6);
  if (found) go(found[0]);
}

function listen() {
  const chart = by("chart");
  let drag = null;
  const inside = (event) => event.clientX - chart.getBoundingClientRect().left;
  chart.addEventListener("wheel", (event) => {
    if (event.shiftKey || (!event.deltaX && !event.deltaY)) return;
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(event.deltaX / (width - GUTTER));
    else if (inside(event) < GUTTER) return;                 // over the names it scrolls
    else zoom(1.0015 ** event.deltaY, timeAt(Math.max(inside(event), GUTTER)));
    event.preventDefault();
  }, { passive: false });
  chart.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    drag = { x: event.clientX, view, moved: false, over: by("overview").contains(event.target) };
    if (drag.over) jump(inside(event));
  });
  addEventListener("pointermove", (event) => {
    if (!drag) return;
    const moved = event.clientX - drag.x;
    if (Math.abs(moved) > 3 && !drag.moved) { drag.moved = true; chart.classList.add("moves"); }
    if (drag.over) { if (drag.moved) jump(inside(event)); return; }
    const by_s = moved / (width - GUTTER) * (drag.view.to - drag.view.from);
    if (drag.moved) show(drag.view.from - by_s, drag.view.to - by_s);
  });
  addEventListener("pointerup", (event) => {
    if (drag && !drag.moved && !drag.over && inside(event) > GUTTER) point(timeAt(inside(event)), true);
    drag = null;
    chart.classList.remove("moves");
  });
  chart.addEventListener("pointermove", (event) => {
    if (!drag && !held && inside(event) > GUTTER) point(timeAt(inside(event)), false);
  });
  const jump = (px) => {
    const time = whole.from + (px - GUTTER) / (width - GUTTER) * (whole.to - whole.from), half = (view.to - view.from) / 2;
    show(time - half, time + half);
  };
  addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
    const done = { "+": () => zoom(0.6, middle()), "=": () => zoom(0.6, middle()), "-": () => zoom(1 / 0.6, middle()),
      "0": () => show(whole.from, whole.to), ArrowLeft: () => pan(-0.15), ArrowRight: () => pan(0.15),
      n: () => step(true), p: () => step(false), Escape: () => point(null, false) }[event.key];
    if (done) { done(); event.preventDefault(); }
  });
  const press = { in: () => zoom(0.6, middle()), out: () => zoom(1 / 0.6, middle()), whole: () => show(whole.from, whole.to),
    before: () => step(false), after: () => step(true) };
  for (const id in press) by(id).addEventListener("click", press[id]);
  by("log").addEventListener("scroll", drawLog);
  by("log").addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row && !String(getSelection())) go(Number(row.dataset.time));
  });
  addEventListener("resize", () => { redraw(); drawLog(); });
  addEventListener("hashchange", follow);
}

/** What is worth looking at first. */
function begin() {
  const times = [...data.twice.map((one) => one[2]), ...data.problems.map((one) => one[1]).filter((time) => time !== null)];
  if (times.length) go(times[0]); else by("log").scrollTop = rowAt(view.from) * ROW_H;
  held = false;
  drawCursor();
}

/** An address like #t=12.5, or #t=12.5&from=10&to=20. */
function follow() {
  const asked = new URLSearchParams(location.hash.slice(1)), number = (name) => asked.has(name) ? Number(asked.get(name)) : NaN;
  if (Number.isFinite(number("from")) && Number.isFinite(number("to"))) show(number("from"), number("to"));
  if (Number.isFinite(number("t"))) go(number("t"));
}

// ---- once ---------------------------------------------------------------------------------------------------------

function introduce() {
  document.body.classList.add(data.colour);
  by("verdict").textContent = data.outcome;
  by("title").textContent = data.title;
  const facts = [data.world && `world ${data.world}`, data.seed !== null && `seed ${data.seed}`, `${data.nodes.length} nodes`,
    `${data.groups.length} group${data.groups.length === 1 ? "" : "s"}`, `${data.bands.length} faults`,
    data.lease > 0 && `lease ${data.lease} s`, data.voters.length && `voters ${data.voters.map((some) => some.join(" ")).join(", then ")}`,
    `${seconds(whole.to - whole.from, 1)}`];
  const gaps = data.gaps.map((gap) => gap[2] - gap[1]).filter((gap) => gap > SPAN_MIN_S);
  if (gaps.length) facts.push(`longest gap ${short(Math.max(...gaps))}`);
  if (data.unseen) facts.push(data.unseen);
  by("facts").textContent = facts.filter(Boolean).join(" · ");
  for (const [problem, time] of data.problems) {
    const item = make(by("problems"), "li", {});
    if (time === null) item.textContent = problem;
    else make(item, "a", { href: `#t=${time}` }, problem);
  }
  by("again").textContent = data.again;
  by("failure").textContent = data.failure;
  const legend = (name, text, kind) => {
    const item = make(by("legend"), "span", kind ? { class: kind } : {});
    const picture = make(item, "svg", {});
    if (name === "blind") make(picture, "line", { x1: 0, x2: 20, y1: 6, y2: 6, class: name });
    else make(picture, "rect", { x: 0.5, y: 0.5, width: 19, height: 10, class: name });
    item.append(text);
  };
  data.groups.slice(0, 8).forEach((group) => legend(colour.get(group), group));
  if (data.twice.length) legend("twice", "twice");
  for (const kind of new Set(data.bands.map((band) => KINDS.includes(band[0]) ? band[0] : "other")))
    legend("band", kind === "other" ? "other faults" : kind, "k-" + kind);
  if (data.blind.length) legend("blind", "reads no majority", "k-blind");
  const filters = by("filters");
  const input = make(filters, "input", { type: "search", placeholder: "only lines with…", "aria-label": "only lines with" });
  input.addEventListener("input", () => { words = input.value.toLowerCase(); filter(); });
  for (const node of [0, ...data.nodes]) {
    const button = make(filters, "button", { "aria-pressed": "true", title: "show or hide its lines" }, node ? `node ${node}` : "cluster");
    button.addEventListener("click", () => {
      if (off.has(node)) off.delete(node); else off.add(node);
      button.setAttribute("aria-pressed", String(!off.has(node)));
      filter();
    });
  }
  make(filters, "span", { class: "count" });
  for (const part of document.querySelectorAll("[hidden]")) part.hidden = false;
}

introduce();
listen();
draw();
filter();
begin();
follow();
