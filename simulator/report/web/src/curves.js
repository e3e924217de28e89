// Lines over time, versions or bytes.

import { axis, chart } from "./chart.js";
import { bytes, clock, decimal, integer, percent, seconds, share, timeStep } from "./format.js";

// What a run's progress is measured against. `cost`: the same in a comparison's targets.
export const MEASURES = [
  { key: "virtual_seconds", cost: "seconds", name: "Time", axis: "Virtual time", format: seconds },
  { key: "version", cost: "version", name: "Versions", axis: "Version", format: integer },
  {
    key: "uplink_bytes",
    cost: "uplink_bytes",
    name: "Uplink",
    axis: "Uplink bytes",
    format: bytes,
  },
];

export const measure = (key) => MEASURES.find((m) => m.key === key);

// The rows that have both columns, as [x, y].
export function points(metrics, x, y) {
  const [i, j] = [metrics.columns.indexOf(x), metrics.columns.indexOf(y)];
  if (i < 0 || j < 0) return [];
  return metrics.rows
    .filter((row) => row[i] !== null && row[j] !== null)
    .map((row) => [row[i], row[j]]);
}

// What a figure's text is in tooltips, and along an axis.
const FORMATS = { accuracy: [percent, share], loss: [decimal, decimal], rate: [decimal, decimal], bytes: [bytes, bytes] };

// An axis of times has round marks.
function timeMarks(key, span) {
  if (key !== "virtual_seconds" || !(span >= 1)) return {};
  return { format: clock(span), interval: timeStep(span) };
}

// `current()`: the measure's key; `lines(key, colours)`: ECharts line series against it;
// `highest`: what the vertical axis reaches at least.
export function curveChart({
  title,
  about,
  alt,
  empty,
  figure,
  current,
  lines,
  legend = true,
  highest,
}) {
  return chart({
    title,
    about,
    alt,
    empty,
    height: 300,
    option(colours) {
      const x = measure(current());
      const [format, axisFormat] = FORMATS[figure];
      const series = lines(x.key, colours);
      const span = Math.max(...series.map(({ data }) => data[data.length - 1]?.[0] ?? 0));
      return {
        legend: legend ? {} : undefined,
        grid: { top: legend ? 36 : 16, bottom: 26 },
        tooltip: {
          trigger: "axis",
          valueFormatter: format,
          axisPointer: { label: { formatter: ({ value }) => x.format(value) } },
        },
        xAxis: axis(colours, {
          name: x.axis,
          format: x.format,
          ...timeMarks(x.key, span),
          splitLine: { show: false },
          axisPointer: { show: true, lineStyle: { color: colours.muted } },
          min: "dataMin",
          max: "dataMax",
        }),
        yAxis: axis(colours, {
          format: axisFormat,
          scale: true,
          max: ({ max }) => (highest > max ? highest : null),
        }),
        series: series.map((line) => ({ type: "line", showSymbol: false, ...line })),
      };
    },
  });
}
