// The panel at the side: what was found, or one variable with its path, its break, the code there and the cure.

function buildDetails() {
  listeners.push((differs) => (differs("audit") || differs("chosen")) && showDetails());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.chosen !== null) change({ chosen: null });
  });
  showDetails();
}

function showDetails() {
  const panel = find("details");
  panel.replaceChildren(...(state.chosen === null ? findings() : variableDetails(state.chosen)));
  panel.scrollTop = 0;
}

// ------------------------------------------------------------------------------------------------- what was found

function findings() {
  const { groups, findings: others } = audit();
  if (!groups.length && !others.length) {
    const told = `${audit().headline}. Choose a variable to see its path from the loss.`;
    return [element("h2", {}, "Nothing found"), element("p", {}, told)];
  }
  return [
    element("h2", {}, counted(groups.length + others.length, "finding")),
    ...groups.map((group, number) => groupCard(group, number)),
    ...others.map(otherCard),
  ];
}

function groupCard(group, number) {
  const members = membersOf(number);
  const name = STATUSES[group.status].name;
  return element("section", { class: `card s-${name}` },
    element("h3", {},
      linkTo(members[0], group.heading),
      element("span", { class: "rule" }, group.rule)),
    element("p", { class: "ink" }, `${counted(members.length, "variable")}, ${name}`),
    facts([
      ["in", group.layer],
      ["variables", group.members.join(", ")],
      ["where", group.where.map(([lines]) => lines).join("\n")],
      ["why", group.why],
      ["fix", group.fix, "fix"],
      ["covered by", group.covered],
      ["accepted", group.accepted.join("\n")],
      ["Keras", group.silence && `says nothing: ${group.silence}`],
    ]));
}

const membersOf = (group) => audit().variables.flatMap((each, number) => (each[VARIABLE.group] === group ? [number] : []));

const linkTo = (variable, text) => button(element("bdi", {}, text), () => change({ chosen: variable }), { class: "link" });

function otherCard(finding) {
  return element("section", { class: `card severity-${finding.severity}` },
    element("h3", {}, element("bdi", {}, finding.heading), element("span", { class: "rule" }, finding.rule)),
    element("p", { class: "ink" }, finding.severity),
    facts([...finding.facts, ["accepted", finding.accepted.join("\n")]]));
}

// Words by what they are about, those that are empty left out.
function facts(pairs) {
  return element("dl", {}, pairs.filter(([, words]) => words).map(([label, words, kind]) =>
    [element("dt", {}, label), element("dd", { class: kind ?? "" }, element("bdi", {}, words))]));
}

// ------------------------------------------------------------------------------------------------- one variable

const TAPES = {
  tensor: "a gradient, as for any other",
  zeros: "zeros, and nobody is warned",
  none: "None, and Keras warns at the first real step",
  "not-asked": "nothing: no gradient call asks for it",
};
const SHOWN_STEPS = 8;
const PROBES = { "non-zero": "not zero", zero: "zero", none: "None", "not-asked": "not asked for" };

function variableDetails(number) {
  const variable = audit().variables[number];
  const [layer, name] = parted(variable[VARIABLE.path]);
  const status = STATUSES[variable[VARIABLE.status]];
  const group = audit().groups[variable[VARIABLE.group]];
  return [
    element("nav", { class: "back" },
      button("← All findings", () => change({ chosen: null })),
      button("In the graph", () => change({ view: "graph" })),
      button("In the table", () => change({ view: "variables" }))),
    element("p", { class: "path faint" }, element("bdi", {}, layer)),
    element("h2", { class: "path" }, element("bdi", {}, name)),
    element("p", { class: `verdict-line s-${status.name}` }, statusMark(variable[VARIABLE.status]), faint(status.meaning)),
    facts(variableFacts(variable, group)),
    group && facts([
      ["why", group.why],
      ["also", group.also.join("\n")],
      ["covered by", group.covered],
      ["accepted", group.accepted.join("\n")],
    ]),
    group?.fix && element("p", { class: "cure" }, element("b", {}, "Fix "), element("bdi", {}, group.fix)),
    ...pathSection(variable, group, status),
    ...codeSection(variable, group),
    ...companions(number, group),
  ].filter(Boolean);
}

function variableFacts(variable, group) {
  const size = variable[VARIABLE.size];
  return [
    ["shape", [shapeOf(variable), variable[VARIABLE.dtype], ...(size ? [counted(size, "parameter")] : [])].join(" · ")],
    ["terms", variable[VARIABLE.terms].map((term) => audit().terms[term].name).join(", ") || "none"],
    ["tape", TAPES[variable[VARIABLE.tape]]],
    ["in real steps", PROBES[variable[VARIABLE.probe]]],
    ["finding", group ? group.rule : ""],
  ];
}

// The way from the loss, the ops of one layer together, and the place where it ends.
function pathSection(variable, group, status) {
  const way = wayTo(variable);
  const isDeadEnd = way.length > 0 && way[0].kind !== "objective" && !way.some((step) => step.isBroken);
  const runs = runsOf(way);
  const items = abridged(runs.map((run) => runItem(run, status)));
  if (isDeadEnd || (!way.length && group && !status.isQuiet)) items.unshift(deadEnd(group, status));
  if (!items.length) items.push(element("li", { class: "faint" }, "No path of ops leads from a loss to it."));
  const isHealthy = status.isQuiet || status.name === "participation-only";
  return [element("h3", {}, isHealthy ? "Path from the loss" : "Where the path ends"), element("ol", { class: "way" }, items)];
}

// A long way shows its two ends, and the rest when it is asked for.
function abridged(items) {
  if (items.length <= 2 * SHOWN_STEPS + 1) return items;
  const left = items.slice(SHOWN_STEPS, -SHOWN_STEPS);
  const more = element("li", { class: "more" }, button(`Show ${left.length} steps between`, () => more.replaceWith(...left)));
  return [...items.slice(0, SHOWN_STEPS), more, ...items.slice(-SHOWN_STEPS)];
}

function runsOf(way) {
  const runs = [];
  for (const step of way) {
    const last = runs.at(-1);
    const isNew = !last || step.kind !== "op" || last.kind !== "op" || step.isBroken || step.output || last.layer !== step.layer;
    if (isNew) runs.push({ kind: step.kind, layer: step.layer, isBroken: step.isBroken, output: step.output, steps: [step] });
    else last.steps.push(step);
  }
  return runs;
}

function runItem(run, status) {
  const [first] = run.steps;
  const isOp = run.kind === "op";
  const title = run.output ? `output ${run.output}` : isOp ? run.layer || "the step" : first.label;
  const source = first.source ? `${first.source[0]}:${first.source[1]}` : "";
  const names = run.steps.map((step) => step.label);
  const shown = names.length > 4 ? [...names.slice(0, 2), "…", ...names.slice(-1)] : names;
  return element("li", { class: `${run.kind}${run.isBroken ? ` broken s-${status.name}` : ""}${run.output ? " output" : ""}` },
    run.isBroken && element("p", { class: "break" }, "✕ no gradient gets further"),
    element("bdi", { class: "step" }, title),
    !isOp && faint(` ${run.kind === "objective" ? "loss" : run.kind}`),
    isOp && element("p", { class: "faint", title: names.join(" → ") },
      element("bdi", {}, shown.join(" → ")), names.length > 4 && ` (${names.length} ops)`),
    source && element("p", { class: "faint source" }, element("bdi", {}, source)));
}

// What stands in place of the loss where the path does not begin there.
function deadEnd(group, status) {
  const words = {
    "dead-end": `no loss term reads ${["it", "this output"][group.outputs.length] ?? "these outputs"}`,
    "never-read": "never read in this step",
    "outside-tape": "computed outside the tape",
  }[group.kind] ?? "no gradient gets here";
  return element("li", { class: `end broken s-${status.name}` },
    element("p", { class: "break" }, `✕ ${words}`),
    group.blocks.slice(0, 3).map(([op, why, layer, source]) => element("p", { class: "faint" },
      element("bdi", {}, `${layer || "other code"} takes its values through ${op}, which ${why}`),
      source && element("bdi", { class: "source" }, ` ${source[0]}:${source[1]}`))));
}

// The user's code around the lines of the finding.
function codeSection(variable, group) {
  const sources = group ? group.sources : variable[VARIABLE.terms].map((term) => audit().terms[term].source).filter(Boolean);
  const distinct = [...new Map(sources.map((source) => [`${source[0]}:${source[1]}`, source])).values()];
  const excerpts = merged(distinct).slice(0, 6).map(excerpt).filter(Boolean);
  return excerpts.length ? [element("h3", {}, group ? "In your code" : "Where its terms are made"), ...excerpts] : [];
}

// Lines that are near each other share one excerpt.
function merged(sources) {
  const parts = [];
  for (const [file, line, name] of [...sources].sort((one, two) => one[0].localeCompare(two[0]) || one[1] - two[1])) {
    const last = parts.at(-1);
    if (last && last.file === file && line - last.marked.at(-1) <= 6) last.marked.push(line);
    else parts.push({ file, name, marked: [line] });
  }
  return parts;
}

function excerpt({ file, name, marked }) {
  const place = `${file}:${marked.join(", ")}`;
  const heading = element("p", { class: "file" }, element("bdi", {}, place), faint(name ? ` in ${name}` : ""));
  const lines = new Map(content.code.find(([known]) => known === file)?.[1] ?? []);
  const shown = [...lines].filter(([number]) => number >= marked[0] - 4 && number <= marked.at(-1) + 4);
  if (!shown.length) {
    const absent = element("p", { class: "faint absent" }, "The file could not be read when the report was made.");
    return element("figure", { class: "code" }, heading, absent);
  }
  const indent = Math.min(...shown.filter(([, text]) => text.trim()).map(([, text]) => text.search(/\S/)), 40);
  return element("figure", { class: "code" }, heading, element("pre", { tabindex: 0, "aria-label": place },
    shown.map(([number, text]) => element("span", { class: marked.includes(number) ? "code-line marked" : "code-line" },
      element("i", { "aria-hidden": "true" }, String(number).padStart(4)),
      element("bdi", {}, text.slice(indent) || " ")))));
}

// The other variables of the finding.
function companions(number, group) {
  if (!group) return [];
  const others = membersOf(audit().groups.indexOf(group)).filter((other) => other !== number);
  if (!others.length) return [];
  const heading = element("h3", {}, `${counted(others.length, "more variable")} with this cause`);
  return [heading, pathList(others.map((other) => [audit().variables[other][VARIABLE.path], other]))];
}

function pathList(entries) {
  const shown = entries.slice(0, 100);
  return element("ul", { class: "paths" },
    shown.map(([path, number]) => element("li", {}, number === undefined ? element("bdi", {}, path) : linkTo(number, path))),
    entries.length > shown.length && element("li", { class: "faint" }, `… ${entries.length - shown.length} more`));
}

// The variables of a row of the scenarios.
function showRow(row) {
  const places = new Map(audit().variables.map((variable, number) => [variable[VARIABLE.path], number]));
  if (state.chosen !== null) change({ chosen: null });
  find("details").replaceChildren(
    element("nav", { class: "back" }, button("← All findings", showDetails)),
    element("h2", { class: "path" }, element("bdi", {}, row.label)),
    facts(content.audits.map((each, place) => [each.name, STATUSES[row.statuses[place]]?.name ?? "absent"])),
    element("h3", {}, counted(row.variables.length, "variable")),
    pathList(row.variables.map((path) => [path, places.get(path)])));
}
