// Makes elements. Text from the report gets into the page here alone, and always as text.

const SVG = "http://www.w3.org/2000/svg";

function put(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const element = (tag, attributes = {}, ...children) => put(document.createElement(tag), attributes, children);

const drawn = (tag, attributes = {}, ...children) => put(document.createElementNS(SVG, tag), attributes, children);

const find = (id) => document.getElementById(id);

// A button that does something, and nothing else.
const button = (label, onclick, attributes = {}) => element("button", { type: "button", onclick, ...attributes }, label);

const option = (value, label) => element("option", { value }, label);

const faint = (...children) => element("span", { class: "faint" }, ...children);

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const brush = document.createElement("canvas").getContext("2d");

// How many pixels wide a text is.
function widthOf(text, size, weight = 400) {
  brush.font = `${weight} ${size}px ${FONT}`;
  return brush.measureText(text).width;
}

// The text, cut in the middle to be at most so wide: names tell apart at both ends.
function fitted(text, width, size, weight = 400) {
  if (widthOf(text, size, weight) <= width) return text;
  let [low, high] = [1, Math.min(text.length, 200)];
  const cut = (kept) => `${text.slice(0, Math.ceil(kept / 2))}…${text.slice(text.length - Math.floor(kept / 2))}`;
  while (low < high) {
    const kept = Math.ceil((low + high) / 2);
    if (widthOf(cut(kept), size, weight) <= width) low = kept;
    else high = kept - 1;
  }
  return cut(low);
}

const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

// The name of a variable apart from its layer.
function parted(path) {
  const cut = path.lastIndexOf("/");
  return [path.slice(0, Math.max(cut, 0)), path.slice(cut + 1)];
}
