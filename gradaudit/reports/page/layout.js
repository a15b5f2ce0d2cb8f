// How large each box of the graph is, and where it stands: row by row, each as wide as its texts need.

const GAP = { root: 38, row: 28, line: 12, side: 16, pad: 12, head: 30, item: 20 };
const WIDEST = { title: 220, rows: 760 };

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
  if (number && (!map.open[number] || !canOpen(box))) return closedSize(number, box);
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
