// The matrix of variables and terms, and the scenarios side by side.

function buildMatrix() {
  const matrix = sheet(find("matrix"), "Which term trains which variable", (number) => change({ chosen: number }));
  matrix.sorted = 1;
  matrix.isChosen = (number) => number === state.chosen;
  const terms = sheet(find("terms"), "Loss terms", null);
  const show = () => {
    terms.show(termColumns(), audit().terms.map((_, number) => number));
    find("terms").style.height = `${Math.min(audit().terms.length, 6) * ROW_HEIGHT + 35}px`;
    matrix.show(matrixColumns(), audit().variables.map((_, number) => number));
  };
  listeners.push((differs) => {
    if (differs("audit") || differs("view")) show();
    else if (differs("chosen")) matrix.draw();
  });
  show();
  new ResizeObserver(() => matrix.draw()).observe(find("matrix"));
}

function termColumns() {
  const of = (key) => (number) => audit().terms[number][key];
  return [
    { title: "Term", least: 10, grow: 2, cell: (number) => nameOf(of("name")(number)) },
    { title: "Kind", least: 7, grow: 1, cell: of("kind") },
    { title: "Weight", least: 6, kind: "number", cell: of("weight") },
    { title: "Trains", least: 8, kind: "number", cell: (number) => `${of("trains")(number)} of ${audit().variables.length}` },
  ];
}

function matrixColumns() {
  const of = (key) => (number) => audit().variables[number][VARIABLE[key]];
  const columns = audit().terms.map((term, place) => ({
    title: shortName(term.name),
    tip: term.name,
    least: 5.5,
    kind: "dot",
    key: (number) => (of("terms")(number).includes(place) ? 0 : 1),
    cell: (number) => (of("terms")(number).includes(place)
      ? element("span", { class: `arrives ${term.kind}`, title: `${term.name} trains it` }, "●")
      : element("span", { class: "misses", title: `no gradient from ${term.name}` }, "·")),
  }));
  return [
    { title: "Variable", least: 12, grow: 1, key: of("path"), cell: (number) => nameOf(of("path")(number)) },
    { title: "Status", least: 11, key: of("status"), cell: (number) => statusMark(of("status")(number)) },
    ...columns,
  ];
}

// The end of a term's name, which tells it from the others of its scope.
const shortName = (name) => parted(name)[1] || name;

function buildScenarios() {
  if (!content.scenarios) return;
  const counts = sheet(find("scenario-counts"), "Scenarios", (place) => change({ audit: place }));
  counts.isChosen = (place) => place === state.audit;
  const rows = sheet(find("scenario-rows"), "Variables in each scenario", (row) => showRow(row));
  const occurring = STATUSES.map((_, number) => number).filter((number) => content.audits.some((each) => countOf(each, number)));
  const countColumns = [
    { title: "Scenario", least: 10, grow: 1, cell: (place) => nameOf(content.audits[place].name) },
    { title: "Variables", least: 6, kind: "number", cell: (place) => content.audits[place].variables.length.toLocaleString("en") },
    ...occurring.map((number) => ({
      title: STATUSES[number].name,
      least: 9,
      kind: "number",
      cell: (place) => countMark(countOf(content.audits[place], number), number),
    })),
  ];
  const rowColumns = [
    { title: content.scenarios.heading, least: 12, grow: 2, cell: (row) => nameOf(row.label) },
    ...content.audits.map((each, place) => ({
      title: each.name,
      least: 10.3, grow: 1,
      cell: (row) => (row.statuses[place] < 0 ? element("span", { class: "misses" }, "absent") : statusMark(row.statuses[place])),
    })),
  ];
  find("scenarios-note").textContent = content.scenarios.headline;
  const show = () => {
    counts.show(countColumns, content.audits.map((_, place) => place));
    find("scenario-counts").style.height = `${Math.min(content.audits.length, 8) * ROW_HEIGHT + 36}px`;
    rows.show(rowColumns, content.scenarios.rows);
  };
  listeners.push((differs) => (differs("audit") || differs("view")) && show());
  show();
}

const countMark = (count, status) =>
  element("span", { class: count ? `s-${STATUSES[status].name} ink` : "misses" }, count ? count.toLocaleString("en") : "-");

const countOf = (each, status) => each.variables.reduce((sum, variable) => sum + (variable[VARIABLE.status] === status ? 1 : 0), 0);
