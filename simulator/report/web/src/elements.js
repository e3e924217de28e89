// HTML elements. Text goes in as text, never as markup: nothing from a file can become an element.

export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export function section(title, ...children) {
  const heading = element("div", { class: "heading" }, element("h2", {}, title));
  const node = element("section", {}, heading, ...children);
  node.heading = heading;
  return node;
}

export function card(title, ...children) {
  return element(
    "div",
    { class: "card" },
    ...(title ? [element("h3", {}, title)] : []),
    ...children,
  );
}

export const columns = (...children) => element("div", { class: "columns" }, ...children);

export const explain = (text) => element("p", { class: "explain" }, text);

// `tiles`: [label, value, remark or nothing].
export function tiles(list) {
  const entries = list.map(([label, value, remark]) =>
    element(
      "div",
      {},
      element("dt", {}, label),
      element("dd", {}, value, ...(remark ? [element("small", {}, remark)] : [])),
    ),
  );
  return element("dl", { class: "tiles" }, ...entries);
}

// `columns`: [{name, text: (row) => string, number: bool, shade: (row) => share or null}]; the first
// names the row. A cell's colour is as strong as its shade, from 0 to 1.
export function table(caption, tableColumns, rows) {
  const cell = (column, row, index) => {
    const attributes = column.number ? { class: "number" } : {};
    const shade = column.shade?.(row) ?? null;
    if (shade !== null) Object.assign(attributes, { class: "shade", style: `--shade: ${shade}` });
    if (index > 0) return element("td", attributes, column.text(row));
    return element("th", { ...attributes, scope: "row" }, column.text(row));
  };
  const head = tableColumns.map((column) =>
    element("th", { scope: "col", ...(column.number ? { class: "number" } : {}) }, column.name),
  );
  const body = rows.map((row) => element("tr", {}, ...tableColumns.map((c, i) => cell(c, row, i))));
  const node = element(
    "table",
    {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...body),
  );
  // Focusable, so that it can be scrolled without a mouse.
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    node,
  );
}

// Rows of [name, value].
export function pairs(caption, rows) {
  return table(
    caption,
    [
      { name: "Figure", text: (row) => row[0] },
      { name: "Value", text: (row) => row[1], number: true },
    ],
    rows,
  );
}

// A choice of one of `options`: [{key, name}]; calls `change(key)`.
export function choice(label, options, change) {
  const name = label.replaceAll(" ", "-");
  const buttons = options.map(({ key, name: text }, index) => {
    const input = element("input", { type: "radio", name, value: key });
    input.checked = index === 0;
    input.addEventListener("change", () => change(key));
    return element("label", {}, input, text);
  });
  return element("fieldset", { class: "switch" }, element("legend", {}, label), ...buttons);
}

// Lines of a tooltip, the first one a heading.
export function tip(heading, ...lines) {
  return element(
    "div",
    { class: "tip" },
    element("b", {}, heading),
    ...lines.filter(Boolean).map((line) => element("div", {}, line)),
  );
}
