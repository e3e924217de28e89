// Bars: histograms, and costs with their ranges.

import { axis, chart } from "./chart.js";
import { tip } from "./elements.js";
import { integer, percent, spread } from "./format.js";

// `bins`: [[from, to, count]].
export function histogram({ title, about, unit, bins }) {
  const total = bins.reduce((sum, bin) => sum + bin[2], 0);
  const names = bins.map(([from, to]) =>
    from === to ? integer(from) : `${integer(from)}\u2013${integer(to)}`,
  );
  const most = bins.reduce((best, bin, i) => (bin[2] > bins[best][2] ? i : best), 0);
  return chart({
    title,
    about,
    alt:
      total > 0
        ? `Histogram of ${integer(total)} updates; the most frequent: ${names[most]} ${unit}.`
        : "",
    empty: total > 0 ? "" : "No update.",
    height: 230,
    option: (colours) => ({
      grid: { top: 16, bottom: 26 },
      tooltip: {
        formatter: ({ dataIndex: i }) =>
          tip(`${names[i]} ${unit}`, `${integer(bins[i][2])} updates`, percent(bins[i][2] / total)),
      },
      xAxis: axis(colours, { type: "category", name: unit, data: names }),
      yAxis: axis(colours, { name: "", format: integer, minInterval: 1 }),
      series: [
        {
          type: "bar",
          data: bins.map((bin) => bin[2]),
          barCategoryGap: "12%",
          barMaxWidth: 48,
          itemStyle: { color: colours.series(0), borderRadius: [2, 2, 0, 0] },
        },
      ],
    }),
  });
}

// One bar a group: the median, a whisker from the least to the greatest.
// `current()`: {cost, axis, format}; `groups`: [{label, of, reached, <cost>: {median, min, max}}].
export function costChart({ title, current, groups }) {
  const alt = groups.map((g) => `${g.label}: ${g.reached} of ${g.of} runs reached it`).join("; ");
  return chart({
    title,
    alt: `${title}. ${alt}.`,
    empty: groups.some((group) => group.reached > 0) ? "" : "No run reached it.",
    height: 60 + 34 * groups.length,
    option(colours) {
      const { cost, axis: name, format } = current();
      return {
        grid: { top: 4, right: 64, bottom: 26 },
        tooltip: {
          formatter: ({ dataIndex: i }) =>
            tip(
              groups[i].label,
              spread(groups[i][cost], format),
              `${groups[i].reached} of ${groups[i].of} runs reached it`,
            ),
        },
        xAxis: axis(colours, { name, format, min: 0 }),
        yAxis: axis(colours, {
          type: "category",
          inverse: true,
          data: groups.map((group) => group.label),
          axisLabel: { width: 130, overflow: "breakAll", lineHeight: 14, color: colours.text },
        }),
        series: [
          {
            type: "bar",
            barMaxWidth: 18,
            data: groups.map((group, i) => ({
              value: group[cost].median ?? 0,
              itemStyle: { color: colours.series(i), borderRadius: [0, 2, 2, 0] },
            })),
          },
          ranges(
            groups.map((group) => group[cost]),
            format,
            colours,
          ),
        ],
      };
    },
  });
}

// A whisker over each bar that has a range, and the median in figures behind both.
function ranges(spreads, format, colours) {
  return {
    type: "custom",
    silent: true,
    z: 3,
    data: spreads.map(({ median, min, max }, i) => [i, min ?? 0, max ?? min ?? 0, median]),
    encode: { x: [1, 2], y: 0 },
    renderItem(params, api) {
      const { median, min, max } = spreads[params.dataIndex];
      const [left, y] = api.coord([api.value(1), api.value(0)]);
      const [right] = api.coord([api.value(2), api.value(0)]);
      const style = { stroke: colours.text, lineWidth: 1.5 };
      const line = (x1, y1, x2, y2) => ({ type: "line", shape: { x1, y1, x2, y2 }, style });
      const whisker =
        max === null || min === max
          ? []
          : [
              line(left, y, right, y),
              line(left, y - 4, left, y + 4),
              line(right, y - 4, right, y + 4),
            ];
      const text = {
        text: median === null ? "never" : format(median),
        x: right + 8,
        y,
        verticalAlign: "middle",
        fill: colours.muted,
      };
      return { type: "group", children: [...whisker, { type: "text", style: text }] };
    },
  };
}
