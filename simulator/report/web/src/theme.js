// The page's colours, which style.css sets for light and dark.

const SERIES = 8;

export function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: colour("text"),
    muted: colour("muted"),
    line: colour("line"),
    surface: colour("surface"),
    accent: colour("accent"),
    alert: colour("alert"),
    waiting: colour("waiting"),
    series: (index) => colour(`series-${index % SERIES}`),
  };
}

export function onThemeChange(listener) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", listener);
}
