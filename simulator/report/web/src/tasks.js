// What was learnt of one task after another, and what was forgotten: a heat map as a table, so that
// every figure can be read.

import { card, explain, section, table } from "./elements.js";
import { percent } from "./format.js";

// `accuracy[t][j]`: on task j after task t was learnt.
export function taskSection({ accuracy, average_accuracy: average, forgetting }) {
  const all = accuracy.flat();
  const [least, greatest] = [Math.min(...all), Math.max(...all)];
  const shade = (value) => (greatest > least ? (value - least) / (greatest - least) : 0);
  const rows = accuracy.map((values, t) => ({ name: `Task\u00a0${t + 1}`, values }));
  const columns = rows.map(({ name }, j) => ({
    name: `On ${name.toLowerCase()}`,
    number: true,
    text: ({ values }) => (j < values.length ? percent(values[j]) : ""),
    shade: ({ values }) => (j < values.length ? shade(values[j]) : null),
  }));
  const forgotten =
    forgetting === undefined
      ? ""
      : ` Since each task was learnt ${percent(forgetting)} were forgotten on average, the last one aside.`;
  return section(
    "Tasks",
    card(
      "",
      explain(`At the end the accuracy is ${percent(average)}, averaged over the tasks.${forgotten}`),
      table(
        `Accuracy on each task's test set after each task was learnt; palest: ${percent(least)}, ` +
          `strongest: ${percent(greatest)}`,
        [{ name: "After", text: (row) => row.name }, ...columns],
        rows,
      ),
    ),
  );
}
