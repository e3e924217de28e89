// Fills the page with what its data say.

import { comparisonPage } from "./comparison_page.js";
import { element } from "./elements.js";
import { runPage } from "./run_page.js";

const data = JSON.parse(document.getElementById("data").textContent);
const pages = { run: runPage, comparison: comparisonPage };
document
  .getElementById("page")
  .replaceChildren(
    ...pages[data.kind](data),
    element("footer", {}, "Made by Tributary. This file is complete: it loads nothing."),
  );
