// A chart in its card: title, explanation, the drawing, and a sentence for those who cannot see it.

import { BarChart, CustomChart, LineChart, ScatterChart } from "echarts/charts";
import {
  DataZoomComponent,
  GridComponent,
  LegendComponent,
  MarkLineComponent,
  MarkPointComponent,
  TooltipComponent,
} from "echarts/components";
import { init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

import { card, element, explain } from "./elements.js";
import { onThemeChange, theme } from "./theme.js";

use([
  BarChart,
  CustomChart,
  LineChart,
  ScatterChart,
  DataZoomComponent,
  GridComponent,
  LegendComponent,
  MarkLineComponent,
  MarkPointComponent,
  TooltipComponent,
  CanvasRenderer,
]);

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

// What every chart has; `option` wins.
function complete(option, colours) {
  return {
    animation: false,
    textStyle: { fontFamily: FONT, color: colours.text },
    ...option,
    grid: { left: 8, right: 16, top: 36, bottom: 8, containLabel: true, ...option.grid },
    legend: option.legend && {
      type: "scroll",
      top: 0,
      left: 0,
      itemWidth: 16,
      itemHeight: 10,
      textStyle: { color: colours.text, width: 220, overflow: "truncate" },
      pageTextStyle: { color: colours.muted },
      pageIconColor: colours.accent,
      ...option.legend,
    },
    tooltip: {
      confine: true,
      backgroundColor: colours.surface,
      borderColor: colours.line,
      textStyle: { color: colours.text, fontSize: 13 },
      ...option.tooltip,
    },
  };
}

// An axis with its name in the middle, `format` for its labels.
export function axis(colours, { name, format, ...rest }) {
  return {
    type: "value",
    name,
    nameLocation: "middle",
    nameGap: 28,
    nameTextStyle: { color: colours.muted },
    axisLine: { lineStyle: { color: colours.line } },
    axisTick: { show: false },
    splitLine: { lineStyle: { color: colours.line, width: 1 } },
    ...rest,
    axisLabel: { color: colours.muted, hideOverlap: true, formatter: format, ...rest.axisLabel },
  };
}

// `option(colours)` gives the ECharts option; it is asked again when `draw` is called or the theme
// changes. `alt` says in a sentence what is to be seen. Without data: `empty` says why.
export function chart({ title, about, alt, height = 280, option, empty, after = [] }) {
  const node = card(title, ...(about ? [explain(about)] : []));
  if (empty) {
    node.append(element("p", { class: "empty" }, empty));
    return { node, draw() {} };
  }
  const drawing = element("div", { class: "chart", role: "img", "aria-label": alt });
  drawing.style.height = `${height}px`;
  node.append(drawing, ...after);

  let instance = null;
  const draw = () => {
    if (!instance) return;
    const colours = theme();
    instance.setOption(complete(option(colours), colours), { notMerge: true });
  };
  new ResizeObserver(() => {
    if (instance) return instance.resize();
    instance = init(drawing, null, { renderer: "canvas" });
    draw();
  }).observe(drawing);
  onThemeChange(draw);
  return { node, draw };
}
