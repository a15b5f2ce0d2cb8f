// The graph as it is drawn: boxes, the variables in them, lines, and the way to the chosen variable.

function drawMap() {
  const size = sized(0);
  map.places = [];
  map.items = [];
  place(size, 0, 0);
  [map.width, map.height] = [size.width, size.height];
  const frames = drawn("g", { class: "boxes" });
  const lines = drawn("g", { class: "lines", "aria-hidden": "true" });
  const titles = drawn("g", { class: "titles", "aria-hidden": "true" });
  drawChildren(0, frames, 1);
  for (const { number, variable } of map.items) {
    if (variable === null && map.places[number].isOpen) titles.append(openTitle(number));
  }
  const way = chosenWay();
  const visible = withWay(visibleLines(audit().lines, shownFor, isInside), way);
  for (const line of withPorts(visible)) lines.append(lineOf(line, way));
  map.layer = drawn("g", {}, frames, lines, titles);
  map.svg.replaceChildren(arrowHeads(), map.layer);
  markWay(way);
  applyView();
  keepFocus();
}

function arrowHeads() {
  const size = { viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9 };
  const head = (kind) =>
    drawn("marker", { id: `arrow-${kind}`, ...size, markerUnits: "userSpaceOnUse", orient: "auto" },
      drawn("path", { d: "M0,0.8L7.5,4L0,7.2z", class: `arrow ${kind}` }));
  return drawn("defs", {}, ...["task", "participation", "way"].map(head));
}

function drawChildren(number, into, level) {
  map.places[number].rows.forEach((row, index) => into.append(rowShape(number, row, index, level)));
  for (const child of audit().boxes[number][BOX.children]) {
    into.append(boxShape(child, level));
    if (map.places[child].isOpen) drawChildren(child, into, level + 1);
  }
}

function boxShape(number, level) {
  const box = audit().boxes[number];
  const found = map.places[number];
  const { x, y, width, height } = found;
  const status = STATUSES[box[BOX.status]];
  const shape = drawn("g", {
    class: `box ${box[BOX.kind]} s-${status.name} ${status.isQuiet ? "quiet" : "ill"} ${found.isOpen ? "open" : "closed"}`,
    role: "treeitem", tabindex: -1, id: `box-${number}`, "aria-level": level,
    "aria-expanded": canOpen(box) ? String(Boolean(found.isOpen)) : null,
    "aria-label": `${box[BOX.kind]} ${box[BOX.title]}, ${summaryOf(number).join(", ")}`,
    transform: `translate(${round(x)},${round(y)})`,
  });
  shape.append(drawn("title", {}, [box[BOX.path] || box[BOX.title], ...summaryOf(number)].join("\n")));
  shape.append(drawn("rect", { width: round(width), height: round(height), rx: box[BOX.kind] === "break" ? 2 : radius(box) }));
  if (found.isOpen) shape.append(drawn("path", { class: "bar", d: barPath(width) }));
  if (!found.isOpen) shape.append(...closedTexts(box, found));
  register(shape, { number, variable: null, level });
  return shape;
}

function closedTexts(box, { width, sign, title, summary }) {
  const at = sign ? { x: 12 + sign } : { x: round(width / 2), "text-anchor": "middle" };
  return [
    sign && drawn("text", { x: 12, y: 20, class: "sign" }, canOpen(box) ? "▸" : "✕"),
    drawn("text", { ...at, y: 20, class: "title" }, title),
    ...summary.map((line, index) => drawn("text", { ...at, y: 36 + 15 * index, class: "detail" }, line)),
  ].filter(Boolean);
}

// The title of an open box, which stands above the lines that cross its bar.
function openTitle(number) {
  const box = audit().boxes[number];
  const status = STATUSES[box[BOX.status]];
  const { x, y } = map.places[number];
  const kind = `box s-${status.name} ${status.isQuiet ? "quiet" : "ill"} open`;
  return drawn("g", { class: kind, transform: `translate(${round(x)},${round(y)})` },
    drawn("text", { x: 12, y: 20, class: "sign" }, "▾"),
    drawn("text", { x: 34, y: 20, class: "title" }, fitted(box[BOX.title], WIDEST.title, 13, 600)));
}

const radius = (box) => ({ objective: 15, term: 12, output: 15 })[box[BOX.kind]] ?? 6;

const barPath = (width) => `M0,6a6,6 0 0 1 6,-6h${round(width - 12)}a6,6 0 0 1 6,6v${GAP.head - 10}h${-round(width)}z`;

function rowShape(number, row, index, level) {
  const found = map.places[number];
  const variable = audit().variables[row.variable];
  const status = STATUSES[variable[VARIABLE.status]];
  const [x, y] = [found.x + 6, found.y + (number ? GAP.head : 0) + index * GAP.item];
  const shape = drawn("g", {
    class: `row s-${status.name} ${status.isQuiet ? "quiet" : "ill"}`,
    role: "treeitem", tabindex: -1, id: `row-${row.variable}`,
    "aria-level": level, "aria-label": `variable ${variable[VARIABLE.path]}, ${status.name}`,
    transform: `translate(${round(x)},${round(y)})`,
  },
    drawn("title", {}, `${variable[VARIABLE.path]}\n${status.name}: ${status.meaning}`),
    drawn("rect", { width: round(found.width - 12), height: GAP.item, rx: 4 }),
    drawn("text", { x: 8, y: 14, class: "sign" }, status.sign),
    drawn("text", { x: 24, y: 14, class: "name" }, row.title),
    drawn("text", { x: round(found.width - 20), y: 14, class: "shape", "text-anchor": "end" }, row.shape));
  register(shape, { number, variable: row.variable, level });
  return shape;
}

function register(shape, item) {
  map.items.push({ ...item, shape });
  shape.addEventListener("click", () => {
    if (map.hasMoved) return;
    focusItem(map.items.find((each) => each.shape.id === shape.id), false);
    act(item);
  });
}

// What a click or Enter does: a variable is chosen, a box opens or closes, and a mark tells of what it is about.
function act({ number, variable }) {
  if (variable !== null) change({ chosen: variable });
  else if (canOpen(audit().boxes[number])) toggle(number);
  else if (!STATUSES[audit().boxes[number][BOX.status]].isQuiet) change({ chosen: firstBelow(number) });
}

// The first variable below a mark that has the mark's status, if there is one.
function firstBelow(mark) {
  const status = audit().boxes[mark][BOX.status];
  const waiting = [mark];
  const seen = new Set(waiting);
  for (const number of waiting) {
    const found = audit().boxes[number][BOX.variables].find((variable) => audit().variables[variable][VARIABLE.status] === status);
    if (found !== undefined) return found;
    const below = audit().lines.flatMap(([tail, head]) => (tail === number && !seen.has(head) ? [head] : []));
    for (const next of [...below, ...audit().boxes[number][BOX.children]]) seen.add(next), waiting.push(next);
  }
  return null;
}

// Spread the ends of lines along the edges of the boxes that they meet.
function withPorts(lines) {
  const middle = (number) => map.places[number].x + map.places[number].width / 2;
  const spread = (key, other, end) => {
    const byBox = new Map();
    for (const line of lines) byBox.set(line[key], [...(byBox.get(line[key]) ?? []), line]);
    for (const [number, met] of byBox) {
      met.sort((one, two) => middle(one[other]) - middle(two[other]));
      const width = Math.min(map.places[number].width * 0.7, 26 * (met.length - 1));
      met.forEach((line, index) => {
        line[end] = middle(number) + (met.length === 1 ? 0 : (index / (met.length - 1) - 0.5) * width);
      });
    }
  };
  spread("from", "to", "x0");
  spread("to", "from", "x1");
  return lines;
}

function lineOf(line, way) {
  const [tail, head] = [map.places[line.from], map.places[line.to]];
  const y1 = head.y - 1;
  const isOnWay = way.pairs.has(`${line.from} ${line.to}`);
  const y0 = tail.y + tail.height;
  const path = y1 > y0 ? routed(line.x0, y0, line.x1, y1, bandsBetween(line.from, line.to)) : upwards(tail, head);
  const status = STATUSES[audit().boxes[line.to][BOX.status]];
  const arrow = isOnWay && line.kind === "task" ? "way" : line.kind;
  const kind = `line ${line.kind} s-${status.name}${isOnWay ? " way" : ""}`;
  const end = ["none", "broken"].includes(line.kind) ? null : `url(#arrow-${arrow})`;
  const shape = drawn("path", { d: path, class: kind, "marker-end": end });
  const isTold = [line.from, line.to].some((number) => ["end", "break"].includes(audit().boxes[number][BOX.kind]));
  if (line.kind !== "broken" || isTold) return shape;
  const at = { x: round(line.x1), y: round(y1 - 8), "text-anchor": "middle" };
  return drawn("g", {}, shape, drawn("text", { ...at, class: `cross s-${status.name}` }, "✕"));
}

// The rows of boxes that lie between two boxes, from top to bottom.
function bandsBetween(from, to) {
  const [tails, heads] = [[...around(from)].reverse(), [...around(to)].reverse()];
  let depth = 0;
  while (tails[depth + 1] !== undefined && tails[depth + 1] === heads[depth + 1]) depth += 1;
  const holds = (band, number) => band.children?.has(number) ?? false;
  const bands = [];
  for (let level = tails.length - 2; level > depth; level -= 1) {
    const all = map.places[tails[level]].bands;
    bands.push(...bandsAfter(all, tails[level + 1]), doorway(tails[level], 1));
  }
  const common = map.places[tails[depth]].bands;
  const last = common.findIndex((band) => holds(band, heads[depth + 1]));
  bands.push(...bandsAfter(common.slice(0, Math.max(last, 0)), tails[depth + 1]));
  for (let level = depth + 1; level < heads.length - 1; level += 1) {
    const all = map.places[heads[level]].bands;
    bands.push(doorway(heads[level], 0), ...all.slice(0, all.findIndex((band) => holds(band, heads[level + 1]))));
  }
  return bands;
}

// A line enters an open box through its top, and leaves it through its bottom.
function doorway(number, isBottom) {
  const { x, y, width, height } = map.places[number];
  const edge = y + isBottom * height;
  return { top: edge - 1, bottom: edge + 1, left: x, right: x + width, intervals: [[-Infinity, x], [x + width, Infinity]] };
}

// What lies below a box in what it stands in: first its neighbours, which may be taller.
function bandsAfter(bands, number) {
  const own = bands.findIndex((band) => band.children?.has(number));
  if (own < 0) return [];
  const { x, y, height } = map.places[number];
  const beside = bands[own].intervals.filter(([left]) => left !== x);
  return [{ ...bands[own], top: y + height + 3, intervals: beside }, ...bands.slice(own + 1)];
}

// The visible boxes on the way to the chosen variable, and the pairs that follow each other on it.
function chosenWay() {
  const boxes = [];
  if (state.chosen !== null) {
    for (const step of wayTo(audit().variables[state.chosen])) {
      if (step.mark >= 0) boxes.push(shownFor(step.mark));
      const number = boxOfLayer(step.layer);
      if (number > 0 && !map.places[shownFor(number)]?.isOpen) boxes.push(shownFor(number));
    }
    boxes.push(shownFor(audit().variables[state.chosen][VARIABLE.box]));
  }
  const pairs = new Map();
  boxes.slice(1).forEach((to, index) => pairs.set(`${boxes[index]} ${to}`, { from: boxes[index], to }));
  return { boxes: new Set(boxes), pairs };
}

const WITHOUT_GRADIENT = ["disconnected", "zero-gradient", "opaque"];

// The lines, and those of the way that were left out because a longer way tells them, too.
function withWay(lines, way) {
  const known = new Set(lines.map(({ from, to }) => `${from} ${to}`));
  const status = state.chosen === null ? "" : STATUSES[audit().variables[state.chosen][VARIABLE.status]].name;
  const kind = WITHOUT_GRADIENT.includes(status) ? "none" : status === "participation-only" ? "participation" : "task";
  const isLeftOut = ({ from, to }) => !known.has(`${from} ${to}`) && from !== to && !isInside(from, to) && !isInside(to, from);
  return [...lines, ...[...way.pairs.values()].filter(isLeftOut).map((pair) => ({ ...pair, kind }))];
}

function markWay(way) {
  map.layer.classList.toggle("has-way", way.boxes.size > 0);
  for (const { shape, number, variable } of map.items) {
    shape.classList.toggle("on-way", variable === null && way.boxes.has(number));
    shape.classList.toggle("chosen", variable !== null && variable === state.chosen);
    if (variable !== null) shape.setAttribute("aria-selected", String(variable === state.chosen));
  }
}

const LEGEND = {
  task: "gradient",
  participation: "gradient of a participation term or penalty",
  none: "no gradient",
  broken: "the path ends here",
};

function buildMap() {
  startPanning();
  map.svg.addEventListener("keydown", onMapKey);
  map.svg.addEventListener("focusin", () => (map.isActive = true));
  document.addEventListener("focusin", (event) => (map.isActive = map.svg.contains(event.target)));
  find("zoom-in").addEventListener("click", () => zoomBy(1.25));
  find("zoom-out").addEventListener("click", () => zoomBy(0.8));
  find("zoom-fit").addEventListener("click", fit);
  find("open-broken").addEventListener("click", () => openAll((box) => Boolean(box[BOX.open])));
  find("close-all").addEventListener("click", () => openAll(() => false));
  find("legend").append(...Object.entries(LEGEND).map(([kind, meaning]) => element("span", { class: "key" },
    drawn("svg", { width: 30, height: 10, "aria-hidden": "true" }, drawn("path", { d: "M1,5H29", class: `line ${kind}` })),
    meaning)));
  listeners.push((differs) => {
    if (differs("audit")) startMap();
    else if (differs("chosen") && state.chosen !== null) reveal(audit().variables[state.chosen][VARIABLE.box], state.chosen);
    if (differs("audit") || differs("chosen")) drawMap();
    if (differs("audit") || (differs("view") && state.view === "graph" && !map.isFitted)) fitWhenSeen();
    if ((differs("chosen") || differs("view")) && state.chosen !== null && state.view === "graph") showChosen();
  });
  startMap();
  drawMap();
  fitWhenSeen();
}

function fitWhenSeen() {
  map.isFitted = state.view === "graph";
  if (map.isFitted) drawMap(), fit();
}

function showChosen() {
  const item = map.items.find((each) => each.variable === state.chosen);
  if (!item) return;
  const [box, frame] = [item.shape.getBoundingClientRect(), map.svg.getBoundingClientRect()];
  if (isWithin(box, frame)) return;
  moveBy(frame.left + frame.width / 2 - box.left - box.width / 2, frame.top + frame.height / 2 - box.top);
}
