// The graph: boxes that open and close, laid out row by row, with lines between them; pan, zoom and keys.

const GAP = { root: 38, row: 28, line: 12, side: 16, pad: 12, head: 30, item: 20 };
const WIDEST = { title: 220, rows: 760 };
const map = {
  svg: find("map"), open: [], parent: [], byLayer: new Map(), places: [], items: [], focused: null,
  scale: 1, x: 0, y: 0, width: 0, height: 0, room: 1000,
};

// ------------------------------------------------------------------------------------------------- what is open

function startMap() {
  const boxes = audit().boxes;
  map.open = boxes.map((box) => Boolean(box[BOX.open]));
  map.parent = new Array(boxes.length).fill(-1);
  map.byLayer = new Map();
  boxes.forEach((box, number) => {
    for (const child of box[BOX.children]) map.parent[child] = number;
    if (["layer", "root"].includes(box[BOX.kind])) map.byLayer.set(box[BOX.path], number);
  });
  map.focused = null;
  if (state.chosen !== null) reveal(audit().variables[state.chosen][VARIABLE.box], state.chosen);
}

const canOpen = (box) => box[BOX.children].length > 0 || box[BOX.variables].length > 0;

function* around(number) {
  for (let each = number; each >= 0; each = map.parent[each]) yield each;
}

// The outermost closed box around a box, or the box itself where it can be seen.
function shownFor(number) {
  let shown = number;
  for (const each of around(number)) if (each !== number && !map.open[each]) shown = each;
  return shown;
}

const isInside = (inner, outer) => [...around(inner)].includes(outer);

// The box of a layer, or of the innermost one around it.
function boxOfLayer(layer) {
  for (let path = layer; path; path = parted(path)[0]) if (map.byLayer.has(path)) return map.byLayer.get(path);
  return -1;
}

// Open whatever hides a variable.
function reveal(number, variable) {
  const holder = holderOf(number, variable);
  for (const each of around(holder)) map.open[each] = true;
}

// The box whose row a variable is: its layer, or a group in it.
function holderOf(number, variable) {
  const box = audit().boxes[number];
  if (box[BOX.variables].includes(variable)) return number;
  for (const child of box[BOX.children]) {
    if (audit().boxes[child][BOX.kind] !== "group") continue;
    const found = holderOf(child, variable);
    if (found >= 0) return found;
  }
  return -1;
}

function toggle(number) {
  if (!canOpen(audit().boxes[number])) return;
  const before = map.places[number];
  map.open[number] = !map.open[number];
  drawMap();
  const after = map.places[number];
  if (before && after) moveBy((before.x - after.x) * map.scale, (before.y - after.y) * map.scale);
}

function openAll(isOpen) {
  map.open = audit().boxes.map(isOpen);
  map.open[0] = true;
  drawMap();
  fit();
}

// ------------------------------------------------------------------------------------------------- how large it is

function variableCount(number) {
  const box = audit().boxes[number];
  return box[BOX.children].reduce((sum, child) => sum + variableCount(child), box[BOX.variables].length);
}

function statusCounts(number, counts = new Map()) {
  const box = audit().boxes[number];
  for (const variable of box[BOX.variables]) {
    const status = audit().variables[variable][VARIABLE.status];
    counts.set(status, (counts.get(status) ?? 0) + 1);
  }
  for (const child of box[BOX.children]) statusCounts(child, counts);
  return counts;
}

// The second line of a closed box: how many variables it has, and what ails them.
function summaryOf(number) {
  const box = audit().boxes[number];
  if (box[BOX.details].length || !["layer", "group"].includes(box[BOX.kind])) return box[BOX.details];
  const count = variableCount(number);
  if (!count) return [counted(box[BOX.children].length, kindInside(number))];
  const ill = [...statusCounts(number)].filter(([status]) => !STATUSES[status].isQuiet).sort(([a], [b]) => a - b);
  return [ill.length ? ill.map(([status, many]) => `${many} ${STATUSES[status].name}`).join(", ") : counted(count, "variable")];
}

function kindInside(number) {
  const box = audit().boxes[number];
  return box[BOX.kind] === "group" ? kindInside(box[BOX.children][0]) : box[BOX.kind];
}

const shapeOf = (variable) => variable[VARIABLE.shape].map((size) => (size < 0 ? "?" : size)).join(" × ") || "scalar";

// The size of a box, and of all that is seen in it.
function sized(number) {
  const box = audit().boxes[number];
  if (!map.open[number] || !canOpen(box)) return closedSize(number, box);
  const rows = box[BOX.variables].map((variable) => rowOf(variable));
  const [widest, gap] = number === 0 ? [rootWidth(), GAP.root] : [WIDEST.rows, GAP.row];
  const lines = linesOf(box[BOX.children].map(sized), widest, gap);
  const title = number === 0 ? 0 : widthOf(fitted(box[BOX.title], WIDEST.title, 13, 600), 13, 600) + 60;
  const rowsWidth = Math.max(0, ...rows.map((row) => row.width));
  const width = Math.max(title, rowsWidth, ...lines.map((line) => line.width)) + (number === 0 ? 0 : 2 * GAP.pad);
  const head = number === 0 ? 0 : GAP.head;
  const top = head + rows.length * GAP.item + (rows.length ? 8 : 0) + (lines.length && number ? 12 : 0);
  const height = top + lines.reduce((sum, line) => sum + line.above + line.height, 0) + (lines.length && number ? GAP.pad : 0);
  return { number, width, height, rows, lines, top, isOpen: true };
}

function closedSize(number, box) {
  const title = fitted(box[BOX.title], WIDEST.title, 13, 600);
  const summary = summaryOf(number).map((line) => fitted(line, WIDEST.title + 40, 11));
  const sign = canOpen(box) ? 22 : box[BOX.kind] === "end" || box[BOX.kind] === "break" ? 20 : 0;
  const width = Math.max(widthOf(title, 13, 600) + sign, ...summary.map((line) => widthOf(line, 11) + sign)) + 26;
  return { number, width: Math.max(width, 64), height: summary.length ? 28 + 15 * summary.length : 30, title, summary, sign };
}

function rowOf(variable) {
  const [, name] = parted(audit().variables[variable][VARIABLE.path]);
  const shape = shapeOf(audit().variables[variable]);
  const title = fitted(name, 190, 12);
  return { variable, title, shape, width: widthOf(title, 12) + widthOf(shape, 11) + 46 };
}

// How wide the whole may be to be read without a pan; while another view is shown, as wide as it was.
function rootWidth() {
  map.room = map.svg.clientWidth || map.room;
  return Math.max(760, map.room / 0.8);
}

// Boxes of one rank beside each other, in several lines where they are too wide.
function linesOf(children, widest, gap) {
  const lines = [];
  let rank = null;
  for (const child of children) {
    const childRank = audit().boxes[child.number][BOX.rank];
    const last = lines.at(-1);
    if (last && childRank === rank && last.width + GAP.side + child.width <= widest) {
      last.children.push(child);
      last.width += GAP.side + child.width;
      last.height = Math.max(last.height, child.height);
    } else {
      const above = !last ? 0 : childRank === rank ? GAP.line : gap;
      lines.push({ children: [child], width: child.width, height: child.height, above });
    }
    rank = childRank;
  }
  return lines;
}

// Give each box that is seen its place, and note the bands that lines have to go round.
function place(size, x, y) {
  const found = { ...size, x, y, bands: [] };
  map.places[size.number] = found;
  if (!size.isOpen) return;
  const edge = { left: x, right: x + size.width };
  if (size.rows.length) {
    found.bands.push({ top: y + GAP.head, bottom: y + size.top - 6, intervals: [[x + 8, x + size.width - 8]], ...edge });
  }
  let top = y + size.top;
  for (const line of size.lines) {
    top += line.above;
    let left = x + (size.width - line.width) / 2;
    const band = { top: top - 3, bottom: top + line.height + 3, intervals: [], children: new Set(), ...edge };
    for (const child of line.children) {
      place(child, left, top);
      band.intervals.push([left, left + child.width]);
      band.children.add(child.number);
      left += child.width + GAP.side;
    }
    found.bands.push(band);
    top += line.height;
  }
}

// ------------------------------------------------------------------------------------------------- drawing

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
  map.items.filter(({ number, variable }) => variable === null && map.places[number].isOpen).forEach(({ number }) => titles.append(openTitle(number)));
  const way = chosenWay();
  for (const line of withPorts(visibleLines(audit().lines, shownFor, isInside))) lines.append(lineOf(line, way));
  map.layer = drawn("g", {}, frames, lines, titles);
  map.svg.replaceChildren(arrowHeads(), map.layer);
  markWay(way);
  applyView();
  keepFocus();
}

function arrowHeads() {
  const head = (kind) =>
    drawn("marker", { id: `arrow-${kind}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" },
      drawn("path", { d: "M0,0.8L7.5,4L0,7.2z", class: `arrow ${kind}` }));
  return drawn("defs", {}, ...["task", "participation", "way"].map(head));
}

function drawChildren(number, into, level) {
  const { children, variables } = { children: audit().boxes[number][BOX.children], variables: map.places[number].rows ?? [] };
  variables.forEach((row, index) => into.append(rowShape(number, row, index, level)));
  for (const child of children) {
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
  return drawn("g", { class: `box s-${status.name} ${status.isQuiet ? "quiet" : "ill"} open`, transform: map.items.find((item) => item.number === number && item.variable === null).shape.getAttribute("transform") },
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
    class: `row s-${status.name} ${status.isQuiet ? "quiet" : "ill"}`, role: "treeitem", tabindex: -1, id: `row-${row.variable}`,
    "aria-level": level, "aria-label": `variable ${variable[VARIABLE.path]}, ${status.name}`, transform: `translate(${round(x)},${round(y)})`,
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
  const path = routed(line.x0, tail.y + tail.height, line.x1, y1, bandsBetween(line.from, line.to));
  const status = STATUSES[audit().boxes[line.to][BOX.status]];
  const arrow = isOnWay && line.kind === "task" ? "way" : line.kind;
  const kind = `line ${line.kind} s-${status.name}${isOnWay ? " way" : ""}`;
  const shape = drawn("path", { d: path, class: kind, "marker-end": ["none", "broken"].includes(line.kind) ? null : `url(#arrow-${arrow})` });
  const isTold = [line.from, line.to].some((number) => ["end", "break"].includes(audit().boxes[number][BOX.kind]));
  if (line.kind !== "broken" || isTold) return shape;
  const cross = drawn("text", { x: round(line.x1), y: round(y1 - 8), class: `cross s-${status.name}`, "text-anchor": "middle" }, "✕");
  return drawn("g", {}, shape, cross);
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
    const marks = audit().boxes.flatMap((box, number) => (["objective", "term", "output"].includes(box[BOX.kind]) ? [[box[BOX.kind], box[BOX.path] || box[BOX.title], number]] : []));
    for (const step of wayTo(audit().variables[state.chosen])) {
      for (const [kind, title, number] of marks) {
        if (step.kind === kind ? step.label === title : kind === "output" && step.output === title) boxes.push(shownFor(number));
      }
      const number = boxOfLayer(step.layer);
      if (number > 0 && !map.places[shownFor(number)]?.isOpen) boxes.push(shownFor(number));
    }
    boxes.push(shownFor(audit().variables[state.chosen][VARIABLE.box]));
  }
  const pairs = new Set(boxes.slice(1).map((number, index) => `${boxes[index]} ${number}`));
  return { boxes: new Set(boxes), pairs };
}

function markWay(way) {
  map.layer.classList.toggle("has-way", way.boxes.size > 0);
  for (const { shape, number, variable } of map.items) {
    shape.classList.toggle("on-way", variable === null && way.boxes.has(number));
    shape.classList.toggle("chosen", variable !== null && variable === state.chosen);
    if (variable !== null) shape.setAttribute("aria-selected", String(variable === state.chosen));
  }
}

// ------------------------------------------------------------------------------------------------- pan and zoom

function applyView() {
  map.layer?.setAttribute("transform", `translate(${round(map.x)},${round(map.y)}) scale(${map.scale})`);
}

function moveBy(x, y) {
  map.x += x;
  map.y += y;
  applyView();
}

function zoomBy(factor, x = map.svg.clientWidth / 2, y = map.svg.clientHeight / 2) {
  const scale = Math.min(Math.max(map.scale * factor, 0.08), 3);
  map.x = x - ((x - map.x) * scale) / map.scale;
  map.y = y - ((y - map.y) * scale) / map.scale;
  map.scale = scale;
  applyView();
}

// Show as much as can be read: all of it where it fits, else its top.
function fit() {
  const { clientWidth: width, clientHeight: height } = map.svg;
  if (!width || !height) return;
  const whole = Math.min((width - 32) / map.width, (height - 32) / map.height);
  map.scale = Math.min(Math.max(whole, Math.min((width - 32) / map.width, 0.8), 0.3), 1.15);
  map.x = (width - map.width * map.scale) / 2;
  map.y = 16;
  applyView();
}

function showItem({ shape }) {
  const [box, frame] = [shape.getBoundingClientRect(), map.svg.getBoundingClientRect()];
  const off = (low, high, from, to) => (high - low > to - from - 40 || low < from + 20 ? from + 20 - low : high > to - 20 ? to - 20 - high : 0);
  const isSeen = box.left >= frame.left && box.right <= frame.right && box.top >= frame.top && box.bottom <= frame.bottom;
  if (!isSeen) moveBy(off(box.left, box.right, frame.left, frame.right), off(box.top, Math.min(box.bottom, box.top + 80), frame.top, frame.bottom));
}

function startPanning() {
  let from = null;
  map.svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    from = { x: event.clientX, y: event.clientY };
    map.hasMoved = false;
  });
  map.svg.addEventListener("pointermove", (event) => {
    if (!from) return;
    const [x, y] = [event.clientX - from.x, event.clientY - from.y];
    if (!map.hasMoved && Math.hypot(x, y) < 4) return;
    if (!map.hasMoved) map.svg.setPointerCapture(event.pointerId);
    map.hasMoved = true;
    from = { x: event.clientX, y: event.clientY };
    moveBy(x, y);
  });
  for (const end of ["pointerup", "pointercancel"]) map.svg.addEventListener(end, () => (from = null));
  map.svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const frame = map.svg.getBoundingClientRect();
    zoomBy(Math.exp(-event.deltaY / 500), event.clientX - frame.left, event.clientY - frame.top);
  }, { passive: false });
}

// ------------------------------------------------------------------------------------------------- keys

function focusItem(item, isShown = true) {
  if (!item) return;
  for (const each of map.items) each.shape.setAttribute("tabindex", -1);
  map.focused = { number: item.number, variable: item.variable };
  item.shape.setAttribute("tabindex", 0);
  item.shape.focus({ preventScroll: true });
  if (isShown) showItem(item);
}

const focusedItem = () => map.items.find((item) => item.number === map.focused?.number && item.variable === map.focused?.variable);

// After drawing anew, the item that had the focus has it again.
function keepFocus() {
  const item = focusedItem() ?? map.items[0];
  const hadFocus = document.activeElement === document.body && map.isActive;
  item?.shape.setAttribute("tabindex", 0);
  if (hadFocus && item) item.shape.focus({ preventScroll: true });
}

function onMapKey(event) {
  const index = map.items.indexOf(focusedItem());
  const item = map.items[Math.max(index, 0)];
  if (event.ctrlKey || event.metaKey || event.altKey || !item) return;
  const isBox = item.variable === null;
  const isOpen = isBox && map.places[item.number].isOpen;
  const outside = isBox ? map.parent[item.number] : item.number;
  const pans = { ArrowUp: [0, 60], ArrowDown: [0, -60], ArrowLeft: [60, 0], ArrowRight: [-60, 0] };
  const keys = {
    ArrowDown: () => focusItem(map.items[index + 1]),
    ArrowUp: () => focusItem(map.items[index - 1]),
    Home: () => focusItem(map.items[0]),
    End: () => focusItem(map.items.at(-1)),
    ArrowRight: () => (isOpen ? focusItem(map.items[index + 1]) : isBox && act(item)),
    ArrowLeft: () => (isOpen ? act(item) : focusItem(map.items.find((each) => each.variable === null && each.number === outside))),
    Enter: () => act(item),
    " ": () => act(item),
    "+": () => zoomBy(1.25),
    "=": () => zoomBy(1.25),
    "-": () => zoomBy(0.8),
    0: () => fit(),
  };
  const run = event.shiftKey && pans[event.key] ? () => moveBy(...pans[event.key]) : keys[event.key];
  if (!run) return;
  event.preventDefault();
  run();
}

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
  const lines = [["task", "gradient"], ["participation", "gradient of a participation term or penalty"], ["none", "no gradient"], ["broken", "the path ends here"]];
  find("legend").append(...lines.map(([kind, meaning]) =>
    element("span", { class: `key ${kind}` }, drawn("svg", { width: 30, height: 10, "aria-hidden": "true" }, drawn("path", { d: "M1,5H29", class: `line ${kind}` })), meaning)));
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
  const isSeen = box.left >= frame.left && box.right <= frame.right && box.top >= frame.top && box.bottom <= frame.bottom;
  if (!isSeen) moveBy(frame.left + frame.width / 2 - box.left - box.width / 2, frame.top + frame.height / 2 - box.top);
}
