// Puts the page together: the verdict on top, the tabs, the theme, and whatever stands in each view.

const TABS = { graph: "Graph", variables: "Variables", terms: "Terms", scenarios: "Scenarios" };

function showVerdict() {
  const { title, headline, facts, variables } = audit();
  const worst = Math.min(...variables.map((variable) => variable[VARIABLE.status]));
  const status = STATUSES[Number.isFinite(worst) ? worst : STATUSES.length - 1];
  find("subject").textContent = title;
  find("subject").title = title;
  find("headline").textContent = headline;
  find("headline").className = status.isQuiet ? "good" : `ink s-${status.name}`;
  find("facts").textContent = facts.join(" · ");
  find("facts").title = facts.join(" · ");
  const made = `${audit().how} gradaudit ${content.version}, ${content.environment.join(", ")}.`;
  const lines = [`${audit().sum}.`, ...audit().keras, ...audit().notes.map((note) => `Note: ${note}`), made];
  find("closing").replaceChildren(...lines.map((line) => element("span", {}, element("bdi", {}, line), " ")));
}

// A button for each status that occurs: what it means, and a way to its variables.
function showStatuses() {
  const chips = STATUSES.map(({ name, meaning, sign }, number) => {
    const count = countOf(audit(), number);
    const isPressed = state.status === number;
    const label = [element("b", {}, `${sign} ${count.toLocaleString("en")} ${name}`), element("span", {}, meaning)];
    const show = () => change(isPressed ? { status: null } : { status: number, view: "variables" });
    return count && button(label, show, { class: `chip s-${name}`, "aria-pressed": String(isPressed) });
  });
  find("statuses").replaceChildren(...chips.filter(Boolean));
}

function buildTabs() {
  const roles = (view) => ({ role: "tab", id: `tab-${view}`, "aria-controls": `panel-${view}` });
  const tabs = VIEWS.map((view) => button(TABS[view], () => change({ view }), roles(view)));
  find("tabs").append(...tabs);
  find("tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (VIEWS.indexOf(state.view) + step + VIEWS.length) % VIEWS.length;
    change({ view: VIEWS[next] });
    tabs[next].focus();
  });
  const show = () => VIEWS.forEach((view, place) => {
    tabs[place].setAttribute("aria-selected", String(view === state.view));
    tabs[place].tabIndex = view === state.view ? 0 : -1;
    find(`panel-${view}`).hidden = view !== state.view;
  });
  listeners.push((differs) => differs("view") && show());
  show();
}

function buildTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => (find("theme").textContent = isDark() ? "☀ Light" : "☾ Dark");
  find("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    show();
  });
  system.addEventListener("change", show);
  show();
}

function buildScenarioChoice() {
  find("scenario-choice").hidden = content.audits.length < 2;
  find("scenario").append(...content.audits.map((each, place) => option(place, each.name)));
  find("scenario").addEventListener("change", () => change({ audit: Number(find("scenario").value) }));
  listeners.push((differs) => differs("audit") && (find("scenario").value = state.audit));
}

buildTabs();
buildTheme();
buildScenarioChoice();
listeners.push((differs) => {
  if (differs("audit")) showVerdict();
  if (differs("audit") || differs("status")) showStatuses();
});
showVerdict();
showStatuses();
buildMap();
buildTable();
buildMatrix();
buildScenarios();
buildDetails();
document.documentElement.dataset.ready = "true";
