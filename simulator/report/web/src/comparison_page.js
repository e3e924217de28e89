// The page that overlays several runs.

import { costChart } from "./bars.js";
import { curveChart, measure, MEASURES, points } from "./curves.js";
import { card, choice, columns, element, section, table } from "./elements.js";
import { bytes, decimal, integer, NOTHING, percent, seconds, spread } from "./format.js";

function header({ runs, groups }) {
  const facts =
    groups.length < runs.length
      ? `${integer(groups.length)} groups of ${integer(runs.length)} runs, alike but for their seeds`
      : `${integer(runs.length)} runs`;
  const labels = groups.map((group) => group.label).join(", ");
  return element(
    "header",
    {},
    element("p", { class: "eyebrow" }, "Comparison"),
    element("h1", {}, labels.length <= 60 ? labels : `${integer(groups.length)} experiments`),
    element("p", { class: "facts" }, facts),
  );
}

// Every run thin, in its group's colour; over them the medians of groups of several runs.
function overlay({ runs, groups }, figure, x, colours) {
  const several = (g) => groups[g].dirs.length > 1;
  const thin = runs.map((run) => ({
    name: groups[run.group].label,
    data: points(run.metrics, x, figure),
    color: colours.series(run.group),
    tooltip: { show: !several(run.group) },
    silent: several(run.group),
    lineStyle: several(run.group) ? { width: 1, opacity: 0.4 } : { width: 2 },
  }));
  const medians = groups.map((group, g) => ({
    name: group.label,
    data: group.medians[figure][x],
    color: colours.series(g),
    lineStyle: { width: 3 },
    z: 3,
  }));
  return [...thin, ...medians.filter((_, g) => several(g))];
}

function progress(data) {
  let key = MEASURES[0].key;
  const several = data.groups.length < data.runs.length;
  const about = several ? "Thick: the group's median; thin: its runs." : "";
  const curves = ["accuracy", "loss"].map((figure) => {
    const title = figure === "accuracy" ? "Accuracy" : "Loss";
    return curveChart({
      title,
      about,
      alt: `${title} of ${integer(data.runs.length)} runs of ${integer(data.groups.length)} experiments.`,
      empty: data.runs.some((run) => points(run.metrics, "version", figure).length > 0)
        ? ""
        : "No version was evaluated.",
      figure,
      current: () => key,
      lines: (x, colours) => overlay(data, figure, x, colours),
    });
  });
  const costs = data.targets.map((target) =>
    costChart({
      title: `To ${percent(target.accuracy)}`,
      current: () => measure(key),
      groups: target.groups,
    }),
  );
  const node = section(
    "Progress",
    columns(...curves.map((c) => c.node)),
    columns(...costs.map((c) => c.node)),
  );
  node.heading.append(
    choice("Horizontal axis", MEASURES, (chosen) => {
      key = chosen;
      for (const each of [...curves, ...costs]) each.draw();
    }),
  );
  return node;
}

const COLUMNS = [
  ["Accuracy", "accuracy", percent],
  ["Best", "best_accuracy", percent],
  ["Average of tasks", "average_accuracy", percent],
  ["Forgetting", "forgetting", percent],
  ["Loss", "loss", decimal],
  ["Versions", "versions", integer],
  ["Updates", "updates", integer],
  ["Time", "seconds", seconds],
  ["Uplink", "uplink_bytes", bytes],
  ["Downlink", "downlink_bytes", bytes],
];

// Those of which no run says anything are left out.
const shown = ({ runs }) => COLUMNS.filter(([, figure]) => runs.some((run) => run[figure] !== null));

const number = (name, text) => ({ name, number: true, text });
const ratio = (value) => (value === null || value === 1 ? "" : ` (\u00d7${value.toFixed(2)})`);

function groupTable({ runs, groups }) {
  return table(
    "Groups: median (least\u2013greatest)",
    [
      { name: "Group", text: (group) => group.label },
      number("Runs", (group) => integer(group.dirs.length)),
      ...shown({ runs }).map(([name, figure, format]) =>
        number(name, (group) => spread(group[figure], format)),
      ),
    ],
    groups,
  );
}

function runTable({ runs }) {
  return table(
    "Runs",
    [
      { name: "Folder", text: (run) => run.dir },
      { name: "Job", text: (run) => run.name },
      number("Seed", (run) => (run.seed === null ? NOTHING : String(run.seed))),
      ...shown({ runs }).map(([name, figure, format]) => number(name, (run) => format(run[figure]))),
    ],
    runs,
  );
}

function targetTable(target) {
  const cost = (name, figure, format) =>
    number(name, (group) => spread(group[figure], format) + ratio(group[`${figure}_ratio`]));
  return table(
    `First time at ${percent(target.accuracy)}; ratios are to the first group`,
    [
      { name: "Group", text: (group) => group.label },
      number("Reached", (group) => `${integer(group.reached)} of ${integer(group.of)}`),
      cost("Version", "version", integer),
      cost("Time", "seconds", seconds),
      cost("Uplink", "uplink_bytes", bytes),
    ],
    target.groups,
  );
}

export function comparisonPage(data) {
  const tables = [card("", runTable(data)), ...data.targets.map((t) => card("", targetTable(t)))];
  if (data.groups.length < data.runs.length) tables.unshift(card("", groupTable(data)));
  return [header(data), progress(data), section("Figures", ...tables)];
}
