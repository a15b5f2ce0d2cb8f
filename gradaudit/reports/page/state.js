// What is shown: the audit, the view, the chosen variable and the filter; whoever draws one is told of a change.

const content = JSON.parse(find("content").textContent);
const STATUSES = content.statuses.map(([name, meaning, isQuiet, sign]) => ({ name, meaning, isQuiet, sign }));
// Where what is known of a variable, and of a box, stands in its list.
const VARIABLE = {
  path: 0, shape: 1, dtype: 2, status: 3, tape: 4, terms: 5, group: 6, way: 7, box: 8, size: 9, probe: 10,
};
const BOX = { kind: 0, title: 1, status: 2, rank: 3, variables: 4, children: 5, details: 6, open: 7, path: 8 };
const VIEWS = ["graph", "variables", "terms", ...(content.scenarios ? ["scenarios"] : [])];

const state = { audit: 0, view: "graph", chosen: null, text: "", status: null, term: "" };
const listeners = [];

const audit = () => content.audits[state.audit];

// Change some of it, and tell everybody what changed.
function change(changed) {
  const before = { ...state };
  Object.assign(state, changed);
  if (state.audit !== before.audit) {
    const path = before.chosen === null ? null : content.audits[before.audit].variables[before.chosen][VARIABLE.path];
    const place = audit().variables.findIndex((variable) => variable[VARIABLE.path] === path);
    if (!("chosen" in changed)) state.chosen = place < 0 ? null : place;
    if (Number(state.term) >= audit().terms.length) state.term = "";
    if (!audit().variables.some((variable) => variable[VARIABLE.status] === state.status)) state.status = null;
  }
  const differs = (key) => state[key] !== before[key];
  for (const listener of listeners) listener(differs, before);
}

// The numbers of the variables that the filter lets through.
function filtered() {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const passes = (variable) => {
    const path = variable[VARIABLE.path].toLowerCase();
    if (!words.every((word) => path.includes(word))) return false;
    if (state.status !== null && variable[VARIABLE.status] !== state.status) return false;
    if (state.term === "none") return variable[VARIABLE.terms].length === 0;
    return state.term === "" || variable[VARIABLE.terms].includes(Number(state.term));
  };
  return audit().variables.flatMap((variable, number) => (passes(variable) ? [number] : []));
}

// The steps of the way to a variable, from the loss on.
function wayTo(variable) {
  const { steps, words, sources } = audit().ways;
  const way = [];
  for (let number = variable[VARIABLE.way]; number >= 0; number = steps[number][0]) {
    const [, label, layer, source, kind, output, mark] = steps[number];
    way.push({
      label: words[label],
      layer: layer < 0 ? "" : words[layer],
      source: source < 0 ? null : sources[source],
      kind: ["op", "objective", "term", "variable"][kind % 4],
      isBroken: kind >= 4,
      output: output < 0 ? "" : words[output],
      mark,
    });
  }
  return way.reverse();
}
