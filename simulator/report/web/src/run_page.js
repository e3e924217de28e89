// The page of one run.

import { histogram } from "./bars.js";
import { axis, chart } from "./chart.js";
import { curveChart, points } from "./curves.js";
import { card, columns, element, section, tiles, tip } from "./elements.js";
import { clientTable, figures, yaml } from "./figures.js";
import { bytes, clock, decimal, integer, NOTHING, percent, seconds, words } from "./format.js";
import { progress } from "./progress.js";
import { taskSection } from "./tasks.js";
import { timelineChart } from "./timeline.js";

const only = (object) => Object.keys(object ?? {})[0];

function header({ summary, job, clients }) {
  const facts = [
    job && words(only(job.scheduler) ?? ""),
    job && only(job.model?.builtin) && `model ${job.model.builtin.name ?? only(job.model.builtin)}`,
    `${integer(clients ?? summary.clients?.count)} clients`,
    summary.seed !== undefined && `seed ${summary.seed}`,
  ];
  return element(
    "header",
    {},
    element("p", { class: "eyebrow" }, "Run report"),
    element("h1", {}, String(summary.name ?? "A run")),
    element("p", { class: "facts" }, facts.filter(Boolean).join(" \u00b7 ")),
  );
}

function keyTiles(summary) {
  const { final, best, clients } = summary;
  const list = [
    [
      "Accuracy",
      percent(final?.accuracy),
      best && best.version !== null && `best ${percent(best.accuracy)}`,
    ],
    ["Loss", decimal(final?.loss)],
    summary.virtual_seconds === undefined
      ? ["Time", seconds(summary.wall_seconds)]
      : [
          "Virtual time",
          seconds(summary.virtual_seconds),
          `computed in ${seconds(summary.wall_seconds)}`,
        ],
    ["Versions", integer(summary.versions), `${integer(summary.updates)} updates`],
    ["Uplink", bytes(summary.uplink_bytes), `downlink ${bytes(summary.downlink_bytes)}`],
    ["Lost orders", integer(clients?.lost), `${integer(clients?.late_updates)} late updates`],
  ];
  return tiles(list.filter(([, value]) => value !== NOTHING));
}

function estimateChart({ estimates, truth, seconds: end }) {
  const truths = truth === "drawn" ? "the simulator drew for it" : "its work orders took (median)";
  return chart({
    title: "Speed estimates",
    about:
      `The scheduler's estimate of a client's time per step, divided by what ${truths}; ` +
      "a point a work order. 1 is exact, 2 is twice as slow as in truth.",
    alt: `Speed estimates of ${integer(estimates.length)} work orders against the true speeds.`,
    empty: estimates.length > 0 ? "" : "This scheduler does not predict when updates arrive.",
    height: 260,
    option: (colours) => ({
      grid: { top: 16, bottom: 26 },
      tooltip: {
        formatter: ({ value: [at, ratio] }) =>
          tip(`estimate / truth: ${decimal(ratio)}`, `dispatched at ${seconds(at)}`),
      },
      xAxis: axis(colours, {
        name: "Dispatched",
        format: clock(end),
        min: 0,
        max: end,
        splitLine: { show: false },
      }),
      yAxis: axis(colours, {
        type: "log",
        logBase: 2,
        format: decimal,
        min: ({ min }) => 2 ** Math.floor(Math.log2(Math.min(min, 1 / 1.01))),
        max: ({ max }) => 2 ** Math.ceil(Math.log2(Math.max(max, 1.01))),
      }),
      series: [
        {
          type: "scatter",
          symbolSize: 4,
          itemStyle: { color: colours.series(0), opacity: 0.55 },
          data: estimates.filter(([, ratio]) => ratio > 0),
          markLine: {
            silent: true,
            symbol: "none",
            label: { show: false },
            lineStyle: { color: colours.alert, type: "solid", width: 1 },
            data: [{ yAxis: 1 }],
          },
        },
      ],
    }),
  });
}

function trafficChart({ metrics, summary }) {
  const up = points(metrics, "virtual_seconds", "uplink_bytes");
  const dense = summary.uplink_bytes_dense;
  const saved =
    dense > summary.uplink_bytes ? ` Raw float32 updates would have taken ${bytes(dense)} up.` : "";
  return curveChart({
    title: "Traffic",
    about: `Bytes since the start: updates up, models down.${saved}`,
    alt: `Traffic: ${bytes(summary.uplink_bytes)} up, ${bytes(summary.downlink_bytes)} down.`,
    empty: up.length > 0 ? "" : "No version was published.",
    figure: "bytes",
    current: () => "virtual_seconds",
    lines: (x, colours) => [
      { name: "uplink", data: up, color: colours.series(0), lineStyle: { width: 4 } },
      { name: "downlink", data: points(metrics, x, "downlink_bytes"), color: colours.series(1) },
    ],
  });
}

export function runPage(data) {
  const nodes = [header(data), keyTiles(data.summary)];
  if (data.notes.length > 0) {
    nodes.push(
      element("ul", { class: "notes" }, ...data.notes.map((note) => element("li", {}, note))),
    );
  }
  nodes.push(progress(data));
  if (data.summary.tasks) nodes.push(taskSection(data.summary.tasks));
  if (data.timeline) {
    const { timeline, publications, seconds: end } = data;
    nodes.push(section("Clients at work", timelineChart({ timeline, publications, end }).node));
    nodes.push(
      section(
        "Staleness, steps and speed",
        columns(
          histogram({
            title: "Staleness",
            unit: "versions",
            bins: data.staleness,
            about: "Versions published between an update's base and its application.",
          }).node,
          histogram({
            title: "Local steps",
            unit: "steps",
            bins: data.local_steps,
            about: "Optimizer steps that clients took for an update.",
          }).node,
        ),
        columns(estimateChart(data).node, trafficChart(data).node),
      ),
    );
    if (timeline.clients.length > 0) {
      nodes.push(section("Clients", card("", clientTable(timeline))));
    }
  } else {
    nodes.push(section("Traffic", trafficChart(data).node));
  }
  nodes.push(figures(data));
  if (data.job)
    nodes.push(
      section("Job", card("", element("pre", { tabindex: "0" }, yaml({ job: data.job })))),
    );
  return nodes;
}
