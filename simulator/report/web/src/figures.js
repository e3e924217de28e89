// A run in tables: its clients, its figures, its job.

import { card, columns, element, pairs, section, table } from "./elements.js";
import { bytes, decimal, integer, NOTHING, percent, seconds, words } from "./format.js";

export function clientTable({ clients }) {
  const number = (name, text) => ({ name, number: true, text });
  const all = [
    { name: "Client", text: (c) => c.id },
    number("Time per step", (c) => seconds(c.seconds_per_step)),
    number("Estimate", (c) => seconds(c.estimate)),
    number("Examples", (c) => integer(c.examples)),
    number("Up, Mbit/s", (c) => decimal(c.uplink_mbps)),
    number("Down, Mbit/s", (c) => decimal(c.downlink_mbps)),
    number("Latency, ms", (c) => decimal(c.latency_ms)),
    number("Joined", (c) => seconds(c.joined)),
    number("Left", (c) => seconds(c.vanished)),
    number("Updates", (c) => integer(c.arrived)),
    number("Late", (c) => integer(c.late)),
    number("Lost", (c) => integer(c.lost)),
    number("Utilisation", (c) => percent(c.utilisation)),
    number("Mean staleness", (c) => decimal(c.mean_staleness)),
  ];
  const known = (column) => clients.some((client) => column.text(client) !== column.text({}));
  return table(
    "The fastest first; utilisation is the share of its presence with work in hand",
    all.filter(known),
    clients,
  );
}

// Nested objects as rows of "a b" and a value.
function flat(value, path = []) {
  if (value !== null && typeof value === "object") {
    return Object.entries(value).flatMap(([name, inner]) => flat(inner, [...path, words(name)]));
  }
  return [[path.join(" "), typeof value === "number" ? decimal(value) : String(value ?? NOTHING)]];
}

export function figures({ summary, lost }) {
  const rows = [
    ["updates", integer(summary.updates)],
    ["client steps", integer(summary.client_steps)],
    ["virtual time", seconds(summary.virtual_seconds)],
    ["wall time", seconds(summary.wall_seconds)],
    ["peak memory", bytes(summary.peak_rss_bytes)],
    ["uplink", bytes(summary.uplink_bytes)],
    ["uplink as raw float32", bytes(summary.uplink_bytes_dense)],
    ["downlink", bytes(summary.downlink_bytes)],
    [
      "training, GFLOP",
      decimal(summary.train_flops === undefined ? null : summary.train_flops / 1e9),
    ],
    ["staleness, mean", decimal(summary.staleness?.mean)],
    ["staleness, greatest", integer(summary.staleness?.max)],
    ["late updates", integer(summary.clients?.late_updates)],
    ...Object.entries(lost ?? summary.lost ?? {}).map(([cause, count]) => [
      `work orders ${words(cause)}`,
      integer(count),
    ]),
  ];
  const counters = flat(summary.scheduler ?? {});
  const digests = ["config_digest", "model_digest"]
    .filter((name) => summary[name])
    .map((name) => element("p", { class: "explain" }, `${words(name)}: ${summary[name]}`));
  return section(
    "Figures",
    columns(
      card(
        "",
        pairs(
          "The run",
          rows.filter(([, value]) => value !== NOTHING),
        ),
      ),
      card(
        "",
        counters.length > 0
          ? pairs("The scheduler's counters", counters)
          : element("p", { class: "empty" }, "The scheduler counts nothing."),
        ...digests,
      ),
    ),
  );
}

// A job as its file might say it.
export function yaml(value, indent = "") {
  const scalar = (v) => v === null || typeof v !== "object" || Object.keys(v).length === 0;
  const text = (v) => (typeof v === "string" && /^[\w./-]+$/.test(v) ? v : JSON.stringify(v));
  if (scalar(value)) return `${indent}${text(value)}\n`;
  if (Array.isArray(value)) {
    return value
      .map((item) =>
        scalar(item)
          ? `${indent}- ${text(item)}\n`
          : `${indent}- ${yaml(item, `${indent}  `).trimStart()}`,
      )
      .join("");
  }
  return Object.entries(value)
    .map(([name, item]) =>
      scalar(item)
        ? `${indent}${name}: ${text(item)}\n`
        : `${indent}${name}:\n${yaml(item, `${indent}  `)}`,
    )
    .join("");
}
