// A sheet of rows of which only those in sight are drawn, and the table of variables made of it.

const ROW_HEIGHT = 32;

// Fill `host` with a grid. Columns have a title, the least width in rem and how much of the rest
// they take, a cell (text or element of a row), and a key to sort by.
function sheet(host, label, onChoose) {
  const sheet = { rows: [], columns: [], sorted: null, isDown: false, current: 0, isChosen: () => false };
  const id = host.id;
  const head = element("div", { class: "head", role: "row", "aria-rowindex": 1 });
  const body = element("div", { class: "body", role: "presentation" });
  const grid = element("div", { class: "grid", role: "grid", tabindex: 0, "aria-label": label, onscroll: draw, onkeydown: onKey }, head, body);
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
    if (!column.key) return element("span", { role: "columnheader", class: column.kind ?? "", title: column.tip ?? column.title }, column.title);
    const isSorted = sheet.sorted === index;
    const onclick = () => {
      Object.assign(sheet, { isDown: isSorted ? !sheet.isDown : Boolean(column.isDownFirst), sorted: index });
      sheet.show(sheet.columns, sheet.rows);
      head.children[index].querySelector("button").focus();
    };
    const arrow = isSorted && element("i", { "aria-hidden": "true" }, sheet.isDown ? "▼" : "▲");
    const sorting = isSorted ? (sheet.isDown ? "descending" : "ascending") : "none";
    return element("span", { role: "columnheader", class: column.kind ?? "", "aria-sort": sorting },
      element("button", { type: "button", onclick, title: `Sort by ${column.tip ?? column.title}` }, column.title, arrow));
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
      class: `line-of-sheet${index === sheet.current ? " current" : ""}${isChosen ? " chosen" : ""}`, role: "row", id: `${id}-${index}`,
      "aria-rowindex": index + 2, "aria-selected": onChoose ? String(isChosen) : null, onclick: () => choose(index),
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
const statusMark = (number) =>
  element("span", { class: `mark s-${STATUSES[number].name}`, title: STATUSES[number].meaning }, element("b", { "aria-hidden": "true" }, STATUSES[number].sign), STATUSES[number].name);

const nameOf = (text, kind = "name") => element("bdi", { class: kind, title: text }, text);

function buildTable() {
  const variables = sheet(find("variables"), "Variables", (number) => change({ chosen: number }));
  variables.isChosen = (number) => number === state.chosen;
  const of = (key) => (number) => audit().variables[number][VARIABLE[key]];
  const termNames = (number) => of("terms")(number).map((term) => audit().terms[term].name).join(", ");
  const columns = [
    { title: "Status", least: 11, key: of("status"), cell: (number) => statusMark(of("status")(number)) },
    { title: "Layer", least: 9, grow: 3, kind: "wide", key: (number) => parted(of("path")(number))[0], cell: (number) => nameOf(parted(of("path")(number))[0], "name faint") },
    { title: "Variable", least: 7, grow: 1.5, key: (number) => parted(of("path")(number))[1], cell: (number) => variableName(of("path")(number)) },
    { title: "Terms", least: 6, grow: 1.5, kind: "wide", key: termNames, cell: (number) => nameOf(termNames(number) || "none", "name faint") },
    { title: "Shape", least: 7, kind: "number wide", cell: (number) => shapeOf(audit().variables[number]) },
    { title: "Size", least: 5.5, kind: "number", key: of("size"), isDownFirst: true, tip: "number of parameters", cell: (number) => of("size")(number).toLocaleString("en") },
  ];
  variables.sorted = 0;
  const count = element("output", { class: "count", "aria-live": "polite" });
  const text = element("input", { type: "search", id: "filter-text", placeholder: "Filter by name or layer", "aria-label": "Filter by name or layer", oninput: () => change({ text: text.value }) });
  const status = element("select", { id: "filter-status", "aria-label": "Status", onchange: () => change({ status: status.value === "" ? null : Number(status.value) }) });
  const term = element("select", { id: "filter-term", "aria-label": "Term", onchange: () => change({ term: term.value }) });
  const clear = element("button", { type: "button", onclick: () => change({ text: "", status: null, term: "" }) }, "Clear");
  find("filters-variables").append(text, status, term, clear, count);

  const fill = () => {
    const present = STATUSES.map((each, number) => [each.name, number]).filter(([, number]) => audit().variables.some((variable) => variable[VARIABLE.status] === number));
    status.replaceChildren(element("option", { value: "" }, "Any status"), ...present.map(([name, number]) => element("option", { value: number }, name)));
    term.replaceChildren(element("option", { value: "" }, "Any term"), element("option", { value: "none" }, "No term"), ...audit().terms.map((each, number) => element("option", { value: number }, each.name)));
  };
  const show = () => {
    text.value = state.text;
    status.value = state.status ?? "";
    term.value = state.term;
    const rows = filtered();
    variables.show(columns, rows);
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

// A variable's own name, and its layer before it where there is no column for that.
function variableName(path) {
  const [layer, name] = parted(path);
  return element("bdi", { class: "name", title: path }, name, element("span", { class: "narrow faint" }, layer ? ` in ${layer}` : ""));
}
