// Which boxes of the graph are open, and which of them hides a variable.

const map = {
  svg: find("map"), open: [], parent: [], byLayer: new Map(), places: [], items: [], focused: null,
  scale: 1, x: 0, y: 0, width: 0, height: 0, room: 1000,
};

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
