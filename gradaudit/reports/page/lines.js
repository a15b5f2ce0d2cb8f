// Which lines to draw between the boxes that are visible, and on which way they go round the others.

const BEST_FIRST = ["task", "participation", "none", "broken"];

// The lines between visible boxes, one for all that lead from one to the other, without those that a longer way tells.
function visibleLines(lines, shownFor, isInside) {
  const found = new Map();
  for (const [tail, head, kind] of lines) {
    const [from, to] = [shownFor(tail), shownFor(head)];
    if (from === to || isInside(from, to) || isInside(to, from)) continue;
    const key = `${from} ${to}`;
    const known = found.get(key);
    if (!known || BEST_FIRST.indexOf(kind) < BEST_FIRST.indexOf(known.kind)) found.set(key, { from, to, kind });
  }
  return withoutDetours([...found.values()]);
}

function withoutDetours(lines) {
  let kept = lines.filter((line) => line.kind === "broken");
  for (const kind of ["task", "participation", "none"]) {
    const others = kind === "none" ? kept.filter((line) => line.kind !== "broken") : [];
    kept = [...kept, ...needed(lines.filter((line) => line.kind === kind), others)];
  }
  return kept;
}

// Those of the lines whose end is not reached without them, be it by way of the others.
function needed(lines, others) {
  const below = new Map();
  const add = (from, to) => below.set(from, (below.get(from) ?? new Set()).add(to));
  for (const { from, to } of [...lines, ...others]) add(from, to);
  return lines.filter(({ from, to }) => {
    below.get(from).delete(to);
    const isNeeded = !reaches(below, from, to);
    if (isNeeded) add(from, to);
    return isNeeded;
  });
}

function reaches(below, from, to) {
  const seen = new Set([from]);
  const waiting = [from];
  while (waiting.length) {
    for (const next of below.get(waiting.pop()) ?? []) {
      if (next === to) return true;
      if (!seen.has(next)) waiting.push(next), seen.add(next);
    }
  }
  return false;
}

// The path of a line from (x0, y0) down to (x1, y1), through the gaps between the boxes of each row on its way.
function routed(x0, y0, x1, y1, bands) {
  const parts = [`M${round(x0)},${round(y0)}`];
  const between = bands.filter((band) => band.top >= y0 && band.bottom <= y1);
  const aims = aimsOf(between, x0, x1);
  let [x, y] = [x0, y0];
  for (const [index, band] of between.entries()) {
    if (between.slice(index).every((other) => isClear(other, x, y, x1, y1))) break;
    if (band.top < y) continue;
    const gap = nearestGap(band, x, aims[index + 1]);
    parts.push(curve(x, y, gap, band.top), `L${round(gap)},${round(band.bottom)}`);
    [x, y] = [gap, band.bottom];
  }
  parts.push(curve(x, y, x1, y1));
  return parts.join("");
}

// Where a line should pass each row, so that it comes well to the next one; the last is its end.
function aimsOf(bands, x0, x1) {
  const aims = [x1];
  for (const band of [...bands].reverse()) aims.unshift(nearestGap(band, aims[0], x0));
  return aims;
}

// Whether a curve from one point down to another meets none of the boxes of a row.
function isClear(band, x0, y0, x1, y1) {
  const at = (y) => {
    const part = (y - y0) / (y1 - y0);
    return x0 + (x1 - x0) * part * part * (3 - 2 * part);
  };
  const [left, right] = [at(band.top), at(band.bottom)].sort((one, two) => one - two);
  return band.intervals.every(([start, end]) => right < start - 6 || left > end + 6);
}

function nearestGap(band, from, to) {
  const inside = (x) => band.intervals.some(([left, right]) => x > left - 6 && x < right + 6);
  const edges = band.intervals.flatMap(([left, right]) => [left - 9, right + 9]);
  const free = [from, to, ...edges].filter((x) => x > band.left && x < band.right && !inside(x));
  const cost = (x) => Math.abs(x - from) + Math.abs(x - to);
  return free.reduce((best, x) => (best === null || cost(x) < cost(best) ? x : best), null) ?? band.left + 5;
}

// The path of a line that closes a loop: out at the right of the lower box, and up to the right of the upper one.
function upwards(tail, head) {
  const [x0, y0, x1, y1] = [tail.x + tail.width, tail.y + 15, head.x + head.width + 1, head.y + 15];
  const out = Math.max(x0, x1) + 28;
  return `M${round(x0)},${round(y0)}C${round(out)},${round(y0)} ${round(out)},${round(y1)} ${round(x1)},${round(y1)}`;
}

function curve(x0, y0, x1, y1) {
  const bend = y1 > y0 ? Math.max((y1 - y0) / 2, 8) : 40;
  return `C${round(x0)},${round(y0 + bend)} ${round(x1)},${round(y1 - bend)} ${round(x1)},${round(y1)}`;
}

const round = (number) => Math.round(number * 10) / 10;
