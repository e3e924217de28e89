// The clients' timeline: a Gantt chart with a row for each client, the fastest at the top.

import { graphic } from "echarts/core";

import { axis, chart } from "./chart.js";
import { element, tip } from "./elements.js";
import { clock, integer, seconds } from "./format.js";

const ROW = 20; // pixels, where there are few clients
const MOST_ROWS = 30; // at that height
const FIELDS = ["row", "from", "to", "end", "group", "id", "steps", "deadline"];

const fields = (order) => Object.fromEntries(FIELDS.map((name, i) => [name, order[i]]));

// A rectangle between two times in a row, cut at the chart's edges; null if none of it is inside.
function bar(params, api, row, from, to, share) {
  const [left, middle] = api.coord([from, row]);
  const [right] = api.coord([to, row]);
  const height = Math.max(1, api.size([0, 1])[1] * share);
  const { x, y, width, height: whole } = params.coordSys;
  return graphic.clipRectByRect(
    { x: left, y: middle - height / 2, width: Math.max(right - left, 1), height },
    { x, y, width, height: whole },
  );
}

// Those that are not outside; nothing is kept of an earlier drawing.
function rectangles(list) {
  const children = list
    .filter(([shape]) => shape)
    .map(([shape, style]) => ({ type: "rect", shape, style }));
  return children.length > 0 ? { type: "group", $mergeChildren: false, children } : null;
}

function drawOrder(order, colours) {
  return (params, api) => {
    const { row, from, to, end, group, deadline } = order(params.dataIndex);
    const whole = bar(params, api, row, from, to, 0.72);
    if (end === "lost") {
      const style = {
        fill: "transparent",
        stroke: colours.alert,
        lineWidth: 1.2,
        lineDash: [3, 2],
      };
      return rectangles([[whole, style]]);
    }
    const parts = [[whole, { fill: colours.series(group), opacity: end === "running" ? 0.4 : 1 }]];
    if (end === "late") {
      parts.push([
        bar(params, api, row, Math.max(deadline, from), to, 0.72),
        { fill: colours.alert },
      ]);
    }
    return rectangles(parts);
  };
}

// Fainter where there are many: they must not hide the work.
function drawVersion(count, colours) {
  const opacity = Math.max(0.1, Math.min(0.35, 40 / count));
  return (params, api) => {
    const [x] = api.coord([api.value(0), 0]);
    const { x: left, y, width, height } = params.coordSys;
    if (x < left || x > left + width) return null;
    const style = { stroke: colours.text, lineWidth: 0.8, opacity };
    return { type: "line", shape: { x1: x, x2: x, y1: y, y2: y + height }, style };
  };
}

function describe(order, client) {
  const ends = {
    arrived: "the update arrived",
    late: `the update arrived ${seconds(order.to - order.deadline)} after its deadline`,
    lost: "lost",
    running: "still running at the end",
  };
  return tip(
    client.id,
    `work order ${order.id}, group ${order.group}`,
    order.steps > 0 && `${integer(order.steps)} local steps`,
    `${seconds(order.from)} to ${seconds(order.to)} (${seconds(order.to - order.from)})`,
    ends[order.end],
  );
}

function zooms(colours, manyRows) {
  const slider = {
    type: "slider",
    borderColor: colours.line,
    backgroundColor: "transparent",
    fillerColor: colours.line,
    showDetail: false,
    showDataShadow: false,
    brushSelect: false,
    moveHandleStyle: { color: colours.waiting },
    handleStyle: { color: colours.surface, borderColor: colours.muted },
  };
  const list = [{ ...slider, xAxisIndex: 0, filterMode: "none", height: 18, bottom: 6 }];
  if (manyRows) list.push({ ...slider, yAxisIndex: 0, filterMode: "none", width: 14, right: 2 });
  // With a finger the page itself must stay scrollable.
  if (!matchMedia("(pointer: coarse)").matches) {
    list.push({
      type: "inside",
      xAxisIndex: 0,
      filterMode: "none",
      zoomOnMouseWheel: "ctrl",
      moveOnMouseMove: true,
      preventDefaultMouseMove: false,
    });
  }
  return list;
}

const swatch = (kind, text) =>
  element("li", {}, element("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), text);

const key = () =>
  element(
    "ul",
    { class: "key" },
    swatch("groups", "working: one colour a group, eight colours in turn"),
    swatch("waiting", "waiting"),
    swatch("late", "late: after the order's deadline"),
    swatch("lost", "lost"),
    swatch("version", "a version is published"),
  );

// `timeline`: {clients, orders, waits}; `publications`: [[at, version, group, updates]].
export function timelineChart({ timeline, publications, end }) {
  const { clients, orders, waits } = timeline;
  const order = (index) => fields(orders[index]);
  const manyRows = clients.length > MOST_ROWS;
  const count = (name) => orders.filter((o) => o[3] === name).length;
  const custom = (rest) => ({ type: "custom", clip: true, ...rest });
  return chart({
    title: "Timeline",
    about:
      "One row a client, the fastest at the top; a bar from the dispatch of a work order to " +
      "the arrival of its update. Zoom with the slider below, or with Ctrl and the mouse wheel.",
    alt:
      `Timeline of ${integer(clients.length)} clients and ${integer(orders.length)} work ` +
      `orders: ${integer(count("late"))} late, ${integer(count("lost"))} lost, ` +
      `${integer(publications.length)} versions.`,
    empty: orders.length > 0 ? "" : "No client was given work.",
    height: 96 + ROW * Math.min(clients.length, MOST_ROWS),
    after: [key()],
    option: (colours) => ({
      grid: { top: 8, bottom: 52, right: manyRows ? 26 : 16 },
      tooltip: {
        formatter: ({ seriesIndex, dataIndex }) =>
          seriesIndex === 2 ? describe(order(dataIndex), clients[orders[dataIndex][0]]) : "",
      },
      dataZoom: zooms(colours, manyRows),
      xAxis: axis(colours, {
        name: "",
        format: clock(end),
        min: 0,
        max: end,
        splitLine: { show: false },
      }),
      yAxis: axis(colours, {
        type: "category",
        inverse: true,
        data: clients.map((client) => client.id),
        splitLine: { show: false },
        axisLabel: { width: 90, overflow: "truncate" },
      }),
      series: [
        custom({
          silent: true,
          data: waits.map(([row, from, to]) => [from, to, row]),
          encode: { x: [0, 1], y: 2 },
          renderItem: (params, api) =>
            rectangles([
              [
                bar(params, api, api.value(2), api.value(0), api.value(1), 0.14),
                { fill: colours.waiting },
              ],
            ]),
        }),
        custom({
          silent: true,
          z: 3,
          data: publications.map(([at]) => [at]),
          encode: { x: 0 },
          renderItem: drawVersion(publications.length, colours),
        }),
        custom({
          data: orders.map(([row, from, to]) => [from, to, row]),
          encode: { x: [0, 1], y: 2 },
          renderItem: drawOrder(order, colours),
        }),
      ],
    }),
  });
}
