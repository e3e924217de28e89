// Figures as text. Null and undefined are an en dash.

export const NOTHING = "\u2013";
const NARROW = "\u00a0"; // keeps a figure and its unit on one line

const orNothing = (format) => (value) =>
  value === null || value === undefined ? NOTHING : format(value);

function trimmed(value, digits) {
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

export const integer = orNothing((value) => trimmed(value, 0));
export const percent = orNothing((value) => `${(100 * value).toFixed(1)}${NARROW}%`);
export const decimal = orNothing((value) => Number(value.toPrecision(4)).toLocaleString("en"));

// As percent, but no more digits than an axis needs.
export const share = (value) => `${trimmed(100 * value, 1)}${NARROW}%`;

export const bytes = orNothing((value) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (Math.abs(value) >= 1000 && unit < units.length - 1) {
    value /= 1000;
    ++unit;
  }
  return `${trimmed(value, unit === 0 || value >= 100 ? 0 : 1)}${NARROW}${units[unit]}`;
});

export const seconds = orNothing((value) => {
  const size = Math.abs(value);
  if (size >= 7200) return `${trimmed(value / 3600, 1)}${NARROW}h`;
  if (size >= 300) return `${trimmed(value / 60, 1)}${NARROW}min`;
  if (size >= 1 || size === 0) return `${trimmed(value, 1)}${NARROW}s`;
  return `${trimmed(value * 1000, size < 0.01 ? 2 : 0)}${NARROW}ms`;
});

// Times along an axis that is `span` seconds long: "40 s", "6:40", "1:06:40".
export function clock(span) {
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  return (value) => {
    if (span < 120) return seconds(value);
    const minutes = Math.floor(value / 60);
    const rest = two(value % 60);
    return minutes < 60
      ? `${minutes}:${rest}`
      : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${rest}`;
  };
}

// A distance between an axis's marks that is round as a time: at most eight in `span` seconds.
export function timeStep(span) {
  const steps = [
    1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400,
  ];
  return steps.find((step) => span / step <= 8);
}

// "median (min-max)" of {median, min, max}.
export function spread(value, format) {
  if (value.min === value.max) return format(value.median);
  return `${format(value.median)} (${format(value.min)}${NOTHING}${format(value.max)})`;
}

export const words = (name) => name.replaceAll("_", " ");
