// A sheet of rows of which only those in sight are drawn, and the table of variables made of it.

const ROW_HEIGHT = 32;

// Fill `host` with a grid. Columns have a title, the least width in rem and how much of the rest
// they take, a cell (text or element of a row), and a key to sort by.
function sheet(host, label, onChoose) {
  const sheet = { rows: [], columns: [], sorted: null, isDown: false, current: 0, isChosen: () => false };
  const id = host.id;
  const head = element("div", { class: "head", role: "row", "aria-rowindex": 1 });
  const body = element("div", { class: "body", role: "presentation" });
  const roles = { class: "grid", role: "grid", tabindex: 0, "aria-label": label };
  const grid = element("div", { ...roles, onscroll: draw, onkeydown: onKey }, head, body);
  const empty = element("p", { class: "empty", hidden: true }, "Nothing here.");
  host.replaceChildren(grid, empty);

  // Show these rows in these columns.
  sheet.show = (columns, rows) => {
    Object.assign(sheet, { columns, rows, current: Math.min(sheet.current, Math.max(rows.length - 1, 0)) });
    sort();
    const widths = columns.map(({ least, grow }) => (grow ? `minmax(${least}rem, ${grow}fr)` : `${least}rem`));
    host.style.setProperty("--columns", widths.join(" "));
    host.style.setProperty("--least", `${columns.reduce((sum, { least }) => sum + least + 1, 1)}rem`);
    grid.setAttribute("aria-rowcount", rows.length + 1);
    grid.setAttribute("aria-colcount", columns.length);
    head.replaceChildren(...columns.map(heading));
    body.style.height = `${rows.length * ROW_HEIGHT}px`;
    empty.hidden = rows.length > 0;
    draw();
  };
  sheet.draw = draw;
  // Bring a row into sight and make it the current one.
  sheet.go = (index) => {
    sheet.current = Math.min(Math.max(index, 0), sheet.rows.length - 1);
    const top = sheet.current * ROW_HEIGHT;
    const room = grid.clientHeight - head.offsetHeight;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top + ROW_HEIGHT > grid.scrollTop + room) grid.scrollTop = top + ROW_HEIGHT - room;
    draw();
  };

  function heading(column, index) {
    const roles = { role: "columnheader", class: column.kind ?? "" };
    if (!column.key) return element("span", { ...roles, title: column.tip ?? column.title }, column.title);
    const isSorted = sheet.sorted === index;
    const onclick = () => {
      Object.assign(sheet, { isDown: isSorted ? !sheet.isDown : Boolean(column.isDownFirst), sorted: index });
      sheet.show(sheet.columns, sheet.rows);
      head.children[index].querySelector("button").focus();
    };
    const arrow = isSorted && element("i", { "aria-hidden": "true" }, sheet.isDown ? "▼" : "▲");
    const sorting = isSorted ? (sheet.isDown ? "descending" : "ascending") : "none";
    const sorter = button([column.title, arrow], onclick, { title: `Sort by ${column.tip ?? column.title}` });
    return element("span", { ...roles, "aria-sort": sorting }, sorter);
  }

  function sort() {
    const column = sheet.columns[sheet.sorted];
    if (!column?.key) return;
    const keys = new Map(sheet.rows.map((row) => [row, column.key(row)]));
    const order = (one, two) => (one < two ? -1 : one > two ? 1 : 0);
    sheet.rows = [...sheet.rows].sort((one, two) => (sheet.isDown ? -1 : 1) * order(keys.get(one), keys.get(two)));
  }

  function draw() {
    const first = Math.max(Math.floor(grid.scrollTop / ROW_HEIGHT) - 6, 0);
    const last = Math.min(first + Math.ceil((grid.clientHeight || 600) / ROW_HEIGHT) + 12, sheet.rows.length);
    const rows = [];
    for (let index = first; index < last; index += 1) rows.push(rowElement(index));
    body.replaceChildren(...rows);
    const isDrawn = sheet.current >= first && sheet.current < last;
    if (isDrawn) grid.setAttribute("aria-activedescendant", `${id}-${sheet.current}`);
    else grid.removeAttribute("aria-activedescendant");
  }

  function rowElement(index) {
    const row = sheet.rows[index];
    const isChosen = sheet.isChosen(row);
    const made = element("div", {
      class: `line-of-sheet${index === sheet.current ? " current" : ""}${isChosen ? " chosen" : ""}`,
      role: "row", id: `${id}-${index}`, "aria-rowindex": index + 2,
      "aria-selected": onChoose ? String(isChosen) : null, onclick: () => choose(index),
    }, sheet.columns.map((column) => element("span", { role: "gridcell", class: column.kind ?? "" }, column.cell(row))));
    made.style.top = `${index * ROW_HEIGHT}px`;
    return made;
  }

  function choose(index) {
    sheet.current = index;
    if (onChoose) onChoose(sheet.rows[index]);
    draw();
  }

  function onKey(event) {
    if (event.target !== grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(Math.floor(grid.clientHeight / ROW_HEIGHT) - 2, 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -sheet.rows.length, End: sheet.rows.length };
    if (event.key in steps) sheet.go(sheet.current + steps[event.key]);
    else if ((event.key === "Enter" || event.key === " ") && sheet.rows.length) choose(sheet.current);
    else return;
    event.preventDefault();
  }

  return sheet;
}

// A status as a coloured mark with its name.
function statusMark(number) {
  const { name, meaning, sign } = STATUSES[number];
  return element("span", { class: `mark s-${name}`, title: meaning }, element("b", { "aria-hidden": "true" }, sign), name);
}

const nameOf = (text, kind = "name") => element("bdi", { class: kind, title: text }, text);

function buildTable() {
  const variables = sheet(find("variables"), "Variables", (number) => change({ chosen: number }));
  variables.isChosen = (number) => number === state.chosen;
  variables.sorted = 0;
  const count = element("output", { class: "count", "aria-live": "polite" });
  const [text, status, term] = filters();
  find("filters-variables").append(text, status, term, button("Clear", () => change({ text: "", status: null, term: "" })), count);

  const fill = () => {
    const present = STATUSES.map((each, number) => number).filter((number) => countOf(audit(), number));
    const statuses = present.map((number) => option(number, STATUSES[number].name));
    status.replaceChildren(option("", "Any status"), ...statuses);
    const terms = audit().terms.map((each, number) => option(number, each.name));
    term.replaceChildren(option("", "Any term"), option("none", "No term"), ...terms);
  };
  const show = () => {
    text.value = state.text;
    status.value = state.status ?? "";
    term.value = state.term;
    const rows = filtered();
    variables.show(variableColumns(), rows);
    count.textContent = `${rows.length.toLocaleString("en")} of ${counted(audit().variables.length, "variable")}`;
  };
  listeners.push((differs) => {
    if (differs("audit")) fill();
    if (["audit", "text", "status", "term", "view"].some(differs)) show();
    if (differs("chosen")) {
      const index = variables.rows.indexOf(state.chosen);
      if (index >= 0) variables.go(index);
      else variables.draw();
    }
  });
  fill();
  show();
  new ResizeObserver(() => variables.draw()).observe(find("variables"));
}

// The elements that set the filter: by text, by status, by term.
function filters() {
  const label = "Filter by name or layer";
  const onText = (event) => change({ text: event.target.value });
  const onStatus = ({ target }) => change({ status: target.value === "" ? null : Number(target.value) });
  const onTerm = (event) => change({ term: event.target.value });
  return [
    element("input", { type: "search", id: "filter-text", placeholder: label, "aria-label": label, oninput: onText }),
    element("select", { id: "filter-status", "aria-label": "Status", onchange: onStatus }),
    element("select", { id: "filter-term", "aria-label": "Term", onchange: onTerm }),
  ];
}

function variableColumns() {
  const of = (key) => (number) => audit().variables[number][VARIABLE[key]];
  const layer = (number) => parted(of("path")(number))[0];
  const termNames = (number) => of("terms")(number).map((term) => audit().terms[term].name).join(", ");
  const terms = (number) => nameOf(termNames(number) || "none", "name faint");
  const shape = (number) => shapeOf(audit().variables[number]);
  const size = (number) => of("size")(number).toLocaleString("en");
  return [
    { title: "Status", least: 11, key: of("status"), cell: (number) => statusMark(of("status")(number)) },
    { title: "Layer", least: 9, grow: 3, kind: "wide", key: layer, cell: (number) => nameOf(layer(number), "name faint") },
    { title: "Variable", least: 7, grow: 1.5, key: (number) => parted(of("path")(number))[1], cell: variableName },
    { title: "Terms", least: 6, grow: 1.5, kind: "wide", key: termNames, cell: terms },
    { title: "Shape", least: 7, kind: "number wide", cell: shape },
    { title: "Size", tip: "number of parameters", least: 5.5, kind: "number", key: of("size"), isDownFirst: true, cell: size },
  ];
}

// A variable's own name, and its layer after it where there is no column for that.
function variableName(number) {
  const path = audit().variables[number][VARIABLE.path];
  const [layer, name] = parted(path);
  const within = element("span", { class: "narrow faint" }, layer ? ` in ${layer}` : "");
  return element("bdi", { class: "name", title: path }, name, within);
}
