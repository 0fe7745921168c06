// Draws one slice of a history: lanes, boxes, arrows, the race. All places and words come from Python.
// Names of agents and resources are untrusted: they are set by textContent, and nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";
const BOX = 42, PITCH = 88, TOP = 34, BOTTOM = 38, RACE_ROOM = 14, GAP = 18, PAD = 16;
const COLUMN = { least: 40, tight: 78, roomy: 150, tiny: 16 };
const KEYS = "Tab enters the diagram. Arrows go along a lane and across lanes, Enter opens a box, Escape closes it. " +
  "+ and − zoom, f shows everything, g goes to the race, p shows only the causal past, a what rests on it.";
const memory = new WeakMap();

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".spacetime");
  if (!root || !data) return undefined;
  const view = memory.get(root) || { zoom: 0, past: false, cone: false, selected: null, text: "" };
  memory.set(root, view);
  const text = JSON.stringify(data);
  if (view.text !== text) { view.text = text; view.selected = null; view.zoom = 0; view.placed = false; }
  const began = performance.now();
  build(root, data, view);
  root.dataset.drawn = (performance.now() - began).toFixed(1);
  const watcher = new ResizeObserver(() => {
    const width = root.clientWidth;
    if (width && width !== view.width) { view.width = width; draw(root, data, view); }
  });
  view.width = root.clientWidth;
  watcher.observe(root);
  return () => watcher.disconnect();
}

// ---------------------------------------------------------------- frame around the drawing

function build(root, data, view) {
  root.replaceChildren();
  root.classList.toggle("dark", isDark(root));
  const bar = html("div", "bar", root);
  legend(bar, data);
  tools(bar, root, data, view);
  const field = html("div", "field", root);
  html("div", "lanes", field);
  html("div", "scroll", field);
  html("div", "note", root).textContent = data.note;
  const help = html("div", "keys", root);
  help.textContent = KEYS;
  help.hidden = true;
  html("div", "panel", root).hidden = true;
  html("div", "tip", root).hidden = true;
  root.onkeydown = (event) => onKey(event, root, data, view);
  draw(root, data, view);
}

function isDark(root) {
  const probe = getComputedStyle(root).backgroundColor.match(/[\d.]+/g) || [255, 255, 255];
  return probe.slice(0, 3).reduce((sum, part) => sum + Number(part), 0) < 300;
}

function legend(bar, data) {
  const legendBox = html("div", "legend", bar);
  const families = new Set(data.events.map((event) => event.family));
  const known = [["read", "read"], ["write", "write"], ["model", "model call"], ["message", "message"], ["lock", "lock"],
    ["transaction", "transaction"], ["effect", "effect"]];
  for (const [family, words] of known) {
    if (!families.has(family)) continue;
    const mark = html("i", "", html("span", "", legendBox));
    const color = { read: "--read", write: "--write", effect: "--write", model: "--model" }[family] || "--other";
    mark.style.borderColor = `var(${color})`;
    if (family === "model") mark.style.borderStyle = "dashed";
    mark.parentNode.append(words);
  }
  if (data.events.some((event) => event.stale)) {
    const mark = html("i", "", html("span", "", legendBox));
    mark.style.borderColor = "var(--race)";
    mark.style.borderStyle = "dashed";
    mark.parentNode.append("stale read");
  }
  if (data.events.some((event) => event.affected)) {
    html("i", "cone", html("span", "", legendBox)).parentNode.append("rests on it");
  }
  if (data.race) {
    const mark = html("i", "line", html("span", "", legendBox));
    mark.style.borderColor = "var(--race)";
    mark.parentNode.append("nothing orders them");
  }
}

function tools(bar, root, data, view) {
  const group = html("div", "tools", bar);
  const button = (words, title, act) => {
    const made = html("button", "", group);
    made.type = "button";
    made.textContent = words;
    made.title = title;
    made.setAttribute("aria-label", title);
    made.onclick = act;
    return made;
  };
  button("−", "Zoom out (−)", () => zoom(root, data, view, 1 / 1.3));
  button("+", "Zoom in (+)", () => zoom(root, data, view, 1.3));
  button("fit", "Show everything (f)", () => fit(root, data, view));
  if (data.race) button("go to race", "Scroll to the racing pair (g)", () => toRace(root, data, view, true));
  const past = button("causal past", "Show only what led to the race (p)", () => only(root, view, "past"));
  past.dataset.role = "past";
  if (data.events.some((event) => event.affected)) {
    button("affected", "Show only the race and what rests on it (a)", () => only(root, view, "cone")).dataset.role = "cone";
  }
  button("keys", "What the keyboard does (?)", () => keys(root)).dataset.role = "keys";
  pressed(root, view);
}

// Of causal past and affected cone at most one is shown alone.
function only(root, view, which) {
  const now = !view[which];
  view.past = view.cone = false;
  view[which] = now;
  pressed(root, view);
}

function pressed(root, view) {
  for (const which of ["past", "cone"]) {
    root.querySelector(`[data-role="${which}"]`)?.setAttribute("aria-pressed", String(view[which]));
    root.querySelector("svg")?.classList.toggle(`${which}-only`, view[which]);
  }
}

function keys(root) {
  const help = root.querySelector(".keys");
  help.hidden = !help.hidden;
}

function zoom(root, data, view, factor) {
  const scroll = root.querySelector(".scroll");
  const center = (scroll.scrollLeft + scroll.clientWidth / 2) / scroll.scrollWidth;
  view.zoom = Math.min(400, Math.max(COLUMN.least / 2, view.column * factor));
  draw(root, data, view);
  scroll.scrollLeft = center * scroll.scrollWidth - scroll.clientWidth / 2;
}

function fit(root, data, view) {
  const room = root.querySelector(".scroll").clientWidth - 2 * PAD;
  view.zoom = Math.min(COLUMN.roomy, room / Math.max(1, data.columns));
  draw(root, data, view);
}

function toRace(root, data, view, focus) {
  if (!data.race) return;
  const room = root.querySelector(".scroll").clientWidth - 2 * PAD;
  const apart = raceSpan(data, view);
  if (apart.width > room) {  // both in one screen, where boxes stay large enough to be hit
    view.zoom = Math.max(COLUMN.tiny, (view.column * room) / apart.width * 0.98);
    draw(root, data, view);
  }
  const { left, width, later } = raceSpan(data, view);
  const scroll = root.querySelector(".scroll");
  // where even that is not enough the later one, which did the damage, is the one to be seen
  scroll.scrollLeft = width > scroll.clientWidth
    ? later.x + later.w + 2 * PAD - scroll.clientWidth : left + width / 2 - scroll.clientWidth / 2;
  if (focus) later.node.focus({ preventScroll: true });
}

function raceSpan(data, view) {
  const [one, later] = [view.boxes.get(data.race.a), view.boxes.get(data.race.b)];
  const left = Math.min(one.x, later.x);
  return { left, width: Math.max(one.x + one.w, later.x + later.w) - left, later };
}

// ---------------------------------------------------------------- the drawing

function draw(root, data, view) {
  const scroll = root.querySelector(".scroll");
  const lanesBox = root.querySelector(".lanes");
  const room = scroll.clientWidth - 2 * PAD;
  const comfortable = Math.min(COLUMN.roomy, Math.max(COLUMN.tight, room / Math.max(1, data.columns)));
  view.column = view.zoom || comfortable;
  const ys = laneTops(data);
  const height = (ys.length ? ys[ys.length - 1] : TOP) + BOX + BOTTOM;
  const width = Math.max(scroll.clientWidth, data.columns * view.column + 2 * PAD);
  const svg = node("svg", { width, height, role: "group", "aria-label": "space-time diagram" });
  svg.classList.toggle("past-only", view.past);
  svg.classList.toggle("cone-only", view.cone);
  const measure = measurer(root);
  view.boxes = place(data, view, ys);
  rails(svg, data, ys, width);
  breaks(svg, data, view, height);
  const taken = [...view.boxes.values()].map((box) => ({ x: box.x, y: box.y, w: box.w, h: BOX }));
  const arrows = group(svg, "arrows");
  const boxes = group(svg, "boxes");
  const over = group(svg, "over");
  if (data.race) arc(over, data.race, view, measure, taken, root);
  for (const event of data.events) box(boxes, event, root, data, view, measure);
  for (const edge of data.edges) arrow(arrows, over, edge, data, view, ys, measure, taken, root);
  scroll.replaceChildren(svg);
  scroll.onscroll = () => hideTip(root);
  laneLabels(lanesBox, data, ys, height);
  roving(data, view);
  if (!view.placed) { view.placed = true; toRace(root, data, view, false); }
}

function laneTops(data) {
  const ys = [];
  const racing = data.race ? data.events.filter((event) => event.race).map((event) => event.lane) : [];
  const upper = racing.length === 2 ? Math.min(...racing) : -1;
  let y = TOP;
  data.lanes.forEach((_, index) => {
    ys.push(y);
    y += PITCH + (index === upper ? RACE_ROOM : 0);
  });
  return ys;
}

function place(data, view, ys) {
  const boxes = new Map();
  for (const event of data.events) {
    boxes.set(event.id, {
      x: PAD + event.x * view.column + GAP / 2, y: ys[event.lane],
      w: Math.max(14, event.w * view.column - GAP), lane: event.lane,
    });
  }
  return boxes;
}

function rails(svg, data, ys, width) {
  const layer = group(svg, "rails");
  ys.forEach((y, index) => {
    if (index % 2) layer.append(node("rect", { class: "band", x: 0, y: y - 23, width, height: BOX + 46 }));
    layer.append(node("line", { class: "rail", x1: 0, x2: width, y1: y + BOX / 2, y2: y + BOX / 2 }));
  });
}

function breaks(svg, data, view, height) {
  for (const item of data.breaks) {
    const x = PAD + item.x * view.column;
    const layer = group(svg, "break");
    layer.append(node("line", { x1: x, x2: x, y1: 16, y2: height - 8 }));
    layer.append(words("text", { x, y: 12 }, item.label));
  }
}

function laneLabels(lanesBox, data, ys, height) {
  lanesBox.replaceChildren();
  lanesBox.style.height = `${height}px`;
  data.lanes.forEach((lane, index) => {
    const label = html("div", lane.racing ? "lane racing" : "lane", lanesBox);
    label.style.top = `${ys[index]}px`;
    label.style.height = `${BOX}px`;
    label.title = lane.strand ? `${lane.agent}, strand ${lane.strand}` : lane.agent;
    html("i", "", label);
    const lines = html("div", "", label);
    html("b", "", lines).textContent = lane.agent;
    if (lane.strand) html("small", "", lines).textContent = lane.strand;
  });
}

function box(layer, event, root, data, view, measure) {
  const at = view.boxes.get(event.id);
  const classes = ["box", event.family];
  for (const [name, holds] of [["race", event.race], ["stale", event.stale], ["past", event.past],
    ["cone", event.affected || event.race], ["unapplied", !event.applied], ["selected", view.selected === event.id]]) if (holds) classes.push(name);
  const made = node("g", { class: classes.join(" "), "data-id": event.id, role: "button", tabindex: -1 });
  made.setAttribute("aria-label", event.tip.join(". "));
  if (event.race) made.append(rounded("frame", at.x - 5, at.y - 5, at.w + 10, BOX + 10, 9));
  made.append(rounded("body", at.x, at.y, at.w, BOX, 6));
  if (event.affected) made.append(rounded("reached", at.x, at.y, 4, BOX, 2));
  made.append(rounded("focus", at.x - 3, at.y - 3, at.w + 6, BOX + 6, 8));
  const middle = at.x + at.w / 2, alone = !event.sub || at.w < 44;
  made.append(words("text", { class: "label", x: middle, y: at.y + (alone ? 26 : 18.5) },
    at.w < 26 ? event.label.slice(0, 1) : shorten(event.label, at.w - 8, measure, "640 12.5px")));
  if (!alone) made.append(words("text", { class: "sub", x: middle, y: at.y + 33 },
    shorten(event.sub, at.w - 8, measure, "400 10.5px")));
  made.onmouseenter = (pointer) => { heat(root, event.id, true); showTip(root, event.tip, pointer); };
  made.onmouseleave = () => { heat(root, event.id, false); hideTip(root); };
  made.onfocus = () => heat(root, event.id, true);
  made.onblur = () => heat(root, event.id, false);
  made.onclick = () => open(root, data, view, event);
  at.node = made;
  layer.append(made);
}

function arrow(layer, over, edge, data, view, ys, measure, taken, root) {
  const from = view.boxes.get(edge.from), to = view.boxes.get(edge.to);
  const shape = edge.sameLane ? sameLane(from, to, data, edge) : crossLane(from, to);
  const past = data.events.filter((event) => event.past).map((event) => event.id);
  const cone = data.events.filter((event) => event.affected || event.race).map((event) => event.id);
  const within = (ids) => ids.includes(edge.from) && ids.includes(edge.to);
  const faint = data.byTime && !edge.strong;
  const made = node("g", {
    class: `edge ${edge.type}${edge.stale ? " stale" : ""}${faint ? " weak" : ""}${within(past) ? " past" : ""}${within(cone) ? " cone" : ""}`,
    "data-from": edge.from, "data-to": edge.to,
  });
  made.append(node("path", { class: "line", d: shape.path }));
  if (!edge.closing) made.append(head(shape.tip, shape.way));
  const hit = node("path", { class: "hit", d: shape.path });
  hit.onmouseenter = (pointer) => showTip(root, [edge.label, edge.why, edge.closing ? "closes a cycle" : ""], pointer);
  hit.onmouseleave = () => hideTip(root);
  made.append(hit);
  layer.append(made);
  if (faint) return;
  const size = measure(edge.label, "400 10.5px");
  const spot = shape.spots.map(([x, y]) => ({ x: x - size / 2 - 3, y: y - 9, w: size + 6, h: 13 }))
    .find((rect) => rect.x > 2 && !taken.some((other) => meet(rect, other)));
  if (!spot) return;
  taken.push(spot);
  over.append(words("text", { class: `edge-label ${edge.stale ? "stale" : ""}`, x: spot.x + spot.w / 2, y: spot.y + 10 }, edge.label));
}

// An arc over its own lane, on the side away from the race.
function sameLane(from, to, data, edge) {
  const racing = data.race ? data.events.filter((event) => event.race) : [];
  const here = data.events.find((event) => event.id === edge.to);
  const other = racing.find((event) => event.lane !== here.lane);
  const below = racing.some((event) => event.lane === here.lane) && other && other.lane < here.lane;
  const side = below ? 1 : -1, y = below ? from.y + BOX : from.y;
  const x1 = from.x + from.w - 12, x2 = Math.max(x1 + 4, to.x + 12), lift = y + side * 21;
  return {
    path: `M${x1},${y} C${x1},${lift} ${x1 + 8},${lift} ${x1 + 14},${lift} L${Math.max(x1 + 14, x2 - 14)},${lift} ` +
      `C${x2 - 8},${lift} ${x2},${lift} ${x2},${y + side * 6}`,
    tip: [x2, y], way: side > 0 ? "up" : "down",
    spots: [[(x1 + x2) / 2, lift + 4], [x1 + (x2 - x1) * 0.3, lift + 4], [x1 + (x2 - x1) * 0.7, lift + 4]],
  };
}

function crossLane(from, to) {
  const down = to.y > from.y;
  const y1 = down ? from.y + BOX : from.y, y2 = down ? to.y : to.y + BOX;
  const x2 = to.x + Math.min(14, to.w / 2), x1 = Math.min(from.x + from.w - Math.min(12, from.w / 2), x2);
  const end = y2 + (down ? -6 : 6), bend = (end - y1) * 0.55;
  const at = (t) => [cubic(t, x1, x1, x2, x2), cubic(t, y1, y1 + bend, end - bend, end) + 4];
  return {
    path: `M${x1},${y1} C${x1},${y1 + bend} ${x2},${end - bend} ${x2},${end}`,
    tip: [x2, y2], way: down ? "down" : "up", spots: [0.5, 0.62, 0.38, 0.75, 0.25].map(at),
  };
}

const cubic = (t, a, b, c, d) => (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t * t * c + t ** 3 * d;

// The racing pair: a dashed two-headed line through the room between their lanes, named in its middle.
function arc(layer, race, view, measure, taken, root) {
  const ends = [view.boxes.get(race.a), view.boxes.get(race.b)].sort((one, two) => one.y - two.y);
  const [upper, lower] = ends;
  const made = group(layer, "arc");
  const x1 = upper.x + upper.w / 2, x2 = lower.x + lower.w / 2;
  const y1 = upper.y + BOX + 6, y2 = lower.y - 6, middle = (y1 + y2) / 2;
  const turn = Math.min(10, Math.abs(x2 - x1) / 2), way = Math.sign(x2 - x1);
  const path = Math.abs(x2 - x1) < 2 ? `M${x1},${y1 + 6} L${x2},${y2 - 6}`
    : `M${x1},${y1 + 6} L${x1},${middle - turn} Q${x1},${middle} ${x1 + way * turn},${middle} ` +
      `L${x2 - way * turn},${middle} Q${x2},${middle} ${x2},${middle + turn} L${x2},${y2 - 6}`;
  made.append(node("path", { d: path, "data-from": race.a, "data-to": race.b }));
  made.append(head([x1, y1], "up"), head([x2, y2], "down"));
  const size = measure(race.label, "640 11.5px") + 22, center = (x1 + x2) / 2;
  made.append(rounded("", center - size / 2, middle - 11, size, 22, 11));
  made.append(words("text", { x: center, y: middle + 4 }, race.label));
  made.onmouseenter = (pointer) => showTip(root, [race.label, race.why], pointer);
  made.onmouseleave = () => hideTip(root);
  taken.push({ x: center - size / 2, y: middle - 11, w: size, h: 22 });
}

// ---------------------------------------------------------------- hands and keys

function heat(root, id, on) {
  for (const edge of root.querySelectorAll(".edge")) {
    if (edge.dataset.from === id || edge.dataset.to === id) edge.classList.toggle("hot", on);
  }
}

function showTip(root, lines, pointer) {
  const tip = root.querySelector(".tip");
  tip.replaceChildren();
  lines.filter(Boolean).forEach((line, index) => { html(index ? "div" : "b", "", tip).textContent = line; });
  tip.hidden = false;
  const outer = root.getBoundingClientRect();
  const left = Math.min(pointer.clientX - outer.left + 12, outer.width - tip.offsetWidth - 8);
  const below = pointer.clientY - outer.top + 16;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${below + tip.offsetHeight > outer.height ? Math.max(2, below - tip.offsetHeight - 30) : below}px`;
}

function hideTip(root) { root.querySelector(".tip").hidden = true; }

function open(root, data, view, event) {
  view.selected = event.id;
  hideTip(root);
  const panel = root.querySelector(".panel");
  panel.replaceChildren();
  panel.hidden = false;
  panel.dataset.id = event.id;
  const top = html("header", "", panel);
  html("span", "", top).textContent = event.tip[0];
  if (/^https?:\/\/[^\s"'<>\\]+$/i.test(event.trace)) {
    const link = html("a", "", top);
    Object.assign(link, { href: event.trace, target: "_blank", rel: "noopener noreferrer", textContent: "open the trace" });
  }
  const close = html("button", "", top);
  close.type = "button";
  close.textContent = "close";
  close.onclick = () => shut(root, view);
  const list = html("dl", "", panel);
  for (const [name, value] of event.rows) {
    const row = html("div", "", list);
    html("dt", "", row).textContent = name;
    html("dd", "", row).textContent = value;
  }
  for (const other of root.querySelectorAll(".box")) other.classList.toggle("selected", other.dataset.id === event.id);
}

function shut(root, view) {
  const panel = root.querySelector(".panel");
  panel.hidden = true;
  const box = view.boxes.get(view.selected);
  view.selected = null;
  root.querySelector(".box.selected")?.classList.remove("selected");
  box?.node.focus({ preventScroll: true });
}

function roving(data, view) {
  const first = (data.race && view.boxes.get(data.race.b)) || view.boxes.values().next().value;
  first?.node.setAttribute("tabindex", 0);
}

function onKey(event, root, data, view) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const act = {
    "+": () => zoom(root, data, view, 1.3), "=": () => zoom(root, data, view, 1.3),
    "-": () => zoom(root, data, view, 1 / 1.3), f: () => fit(root, data, view),
    g: () => toRace(root, data, view, true), p: () => only(root, view, "past"),
    a: () => root.querySelector('[data-role="cone"]') && only(root, view, "cone"), "?": () => keys(root),
    Escape: () => !root.querySelector(".panel").hidden && shut(root, view),
  }[event.key];
  const id = event.target.closest?.(".box")?.dataset.id;
  if (act) act();
  else if (id && (event.key === "Enter" || event.key === " ")) {
    open(root, data, view, data.events.find((item) => item.id === id));
  } else if (id && event.key.startsWith("Arrow")) move(id, event.key, data, view);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function move(id, key, data, view) {
  const here = data.events.find((item) => item.id === id);
  const sideways = key === "ArrowLeft" || key === "ArrowRight";
  const step = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
  const others = data.events.filter((item) => item.id !== id && (sideways
    ? item.lane === here.lane && Math.sign(item.x - here.x) === step
    : Math.sign(item.lane - here.lane) === step));
  const far = (item) => Math.abs(item.x - here.x) + 1000 * Math.abs(item.lane - here.lane);
  const next = others.sort((one, two) => far(one) - far(two))[0];
  if (next) view.boxes.get(next.id).node.focus();
}

// ---------------------------------------------------------------- small makers

function node(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function html(name, className, parent) {
  const made = document.createElement(name);
  if (className) made.className = className;
  parent.append(made);
  return made;
}

function group(parent, className) {
  const made = node("g", { class: className });
  parent.append(made);
  return made;
}

function rounded(className, x, y, width, height, rx) {
  return node("rect", { class: className, x, y, width, height, rx });
}

function words(name, attributes, text) {
  const made = node(name, attributes);
  made.textContent = text;
  return made;
}

function head([x, y], way) {
  const d = way === "down" ? `M${x},${y} l-5,-8 h10 z` : `M${x},${y} l-5,8 h10 z`;
  return node("path", { class: "head", d });
}

function meet(one, other) {
  return one.x < other.x + other.w && other.x < one.x + one.w && one.y < other.y + other.h && other.y < one.y + one.h;
}

function measurer(root) {
  const context = document.createElement("canvas").getContext("2d");
  const family = getComputedStyle(root).fontFamily;
  return (text, font) => { context.font = `${font} ${family}`; return context.measureText(text).width; };
}

function shorten(text, room, measure, font) {
  if (measure(text, font) <= room) return text;
  let kept = text;
  while (kept.length > 1 && measure(`${kept}…`, font) > room) kept = kept.slice(0, -1);
  return `${kept}…`;
}
