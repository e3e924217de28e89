// How far a run got: accuracy and loss, its targets, and rates that moved on the way.

import { curveChart, MEASURES, points } from "./curves.js";
import { card, choice, columns, section, table } from "./elements.js";
import { bytes, decimal, integer, percent, seconds, share } from "./format.js";

// Dashed lines at the targets, and a mark where each was first reached.
function targetMarks(targets, x, colours) {
  // The highest is named above its line, so that two that are close can be read.
  const highest = Math.max(...targets.map((target) => target.accuracy));
  const side = (target) => (target.accuracy === highest ? "insideStartTop" : "insideStartBottom");
  return {
    markLine: {
      silent: true,
      symbol: "none",
      lineStyle: { color: colours.muted, type: "dashed", width: 1 },
      label: { color: colours.muted, formatter: ({ value }) => share(value) },
      data: targets.map((t) => ({ yAxis: t.accuracy, label: { position: side(t) } })),
    },
    markPoint: {
      silent: true,
      symbol: "circle",
      symbolSize: 9,
      itemStyle: { color: colours.surface, borderColor: colours.accent, borderWidth: 2 },
      label: { show: false },
      data: targets
        .filter((target) => target.version !== null)
        .map((target) => ({ coord: [target[x], target.accuracy] })),
    },
  };
}

// Column -> what it is called.
const RATES = { server_rate: "server", client_rate: "clients" };

// Null if none of them moved.
function rateChart(metrics, current) {
  const moved = Object.keys(RATES).filter(
    (column) => new Set(points(metrics, "version", column).map(([, rate]) => rate)).size > 1,
  );
  if (moved.length === 0) return null;
  return curveChart({
    title: "Rates",
    about: "Factors on the combined delta (server) and on the learning rate (clients).",
    alt: `Rates of ${moved.map((column) => RATES[column]).join(" and ")}.`,
    figure: "rate",
    legend: moved.length > 1,
    current,
    lines: (x, colours) =>
      moved.map((column, i) => ({
        name: RATES[column],
        data: points(metrics, x, column),
        color: i === 0 ? colours.accent : colours.series(i),
        lineStyle: { width: 2 },
      })),
  });
}

export function progress({ metrics, summary }) {
  let key = MEASURES[0].key;
  const current = () => key;
  const targets = summary.targets ?? [];
  const tasks = metrics.columns.filter((column) => /^accuracy_task_\d+$/.test(column));
  const [accuracies, losses] = ["accuracy", "loss"].map((y) => points(metrics, "version", y));
  const last = (list) => list[list.length - 1]?.[1];

  const accuracy = curveChart({
    title: "Accuracy",
    about:
      targets.length > 0
        ? "On the test set. Dashed: targets, with a mark where each was first reached."
        : "On the test set.",
    alt: `Accuracy of ${integer(accuracies.length)} versions; the last: ${percent(last(accuracies))}.`,
    empty: accuracies.length > 0 ? "" : "No version was evaluated.",
    figure: "accuracy",
    legend: tasks.length > 0,
    highest: Math.max(...targets.map((target) => target.accuracy)),
    current,
    lines: (x, colours) => [
      {
        name: "accuracy",
        data: points(metrics, x, "accuracy"),
        color: colours.accent,
        lineStyle: { width: 2 },
        ...targetMarks(targets, x, colours),
      },
      ...tasks.map((task, i) => ({
        name: `task ${Number(task.replace("accuracy_task_", "")) + 1}`,
        data: points(metrics, x, task),
        color: colours.series(i + 1),
        lineStyle: { width: 1.2 },
      })),
    ],
  });
  const loss = curveChart({
    title: "Loss",
    about: "On the test set.",
    alt: `Loss of ${integer(losses.length)} versions; the last: ${decimal(last(losses))}.`,
    empty: losses.length > 0 ? "" : "No version was evaluated.",
    figure: "loss",
    legend: false,
    current,
    lines: (x, colours) => [
      {
        name: "loss",
        data: points(metrics, x, "loss"),
        color: colours.accent,
        lineStyle: { width: 2 },
      },
    ],
  });
  const charts = [accuracy, loss, rateChart(metrics, current)].filter((made) => made !== null);
  const node = section("Progress", columns(...charts.map((made) => made.node)));
  node.heading.append(
    choice("Horizontal axis", MEASURES, (chosen) => {
      key = chosen;
      for (const made of charts) made.draw();
    }),
  );
  if (targets.length > 0) node.append(card("", targetTable(targets)));
  return node;
}

function targetTable(targets) {
  return table(
    "First time at each target accuracy",
    [
      { name: "Target", text: (t) => percent(t.accuracy) },
      {
        name: "Version",
        number: true,
        text: (t) => (t.version === null ? "never" : integer(t.version)),
      },
      { name: "Updates", number: true, text: (t) => integer(t.updates) },
      { name: "Virtual time", number: true, text: (t) => seconds(t.virtual_seconds) },
      { name: "Uplink", number: true, text: (t) => bytes(t.uplink_bytes) },
    ],
    targets,
  );
}
