// How one gets about in the graph: pan, zoom and keys.

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
  if (isWithin(box, frame)) return;
  const [right, bottom] = [Math.min(box.right, box.left + frame.width - 40), Math.min(box.bottom, box.top + 80)];
  moveBy(outBy(box.left, right, frame.left, frame.right), outBy(box.top, bottom, frame.top, frame.bottom));
}

const isWithin = (box, frame) =>
  box.left >= frame.left && box.right <= frame.right && box.top >= frame.top && box.bottom <= frame.bottom;

// How far a span is to be moved to lie between two edges, a little inside.
function outBy(low, high, from, to) {
  if (low < from + 20) return from + 20 - low;
  return high > to - 20 ? to - 20 - high : 0;
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
