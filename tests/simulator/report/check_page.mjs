// Opens a page in headless Chromium as a phone and as a desktop, light and dark, and prints as
// JSON what it found there; keeps a screenshot of each view if it is told where.
//
//   node check_page.mjs NODE_MODULES CHROMIUM PAGE.html [SCREENSHOTS/prefix]

import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [nodeModules, executablePath, page, prefix] = process.argv.slice(2);
const { chromium } = createRequire(resolve(nodeModules, "x.js"))("playwright-core");
const url = pathToFileURL(page).href;

const VIEWS = [
  { name: "phone-light", width: 390, height: 844, colorScheme: "light", hasTouch: true },
  { name: "phone-dark", width: 390, height: 844, colorScheme: "dark", hasTouch: true },
  { name: "desktop-light", width: 1280, height: 800, colorScheme: "light", hasTouch: false },
  { name: "desktop-dark", width: 1280, height: 800, colorScheme: "dark", hasTouch: false },
];

// In the page: each chart's title and how many of its pixels have a colour. Axes and text are
// grey, and legends stand in the first 30 pixels: the others are data.
function chartsOnPage() {
  return [...document.querySelectorAll(".chart")].map((chart) => {
    let coloured = 0;
    for (const canvas of chart.querySelectorAll("canvas")) {
      const { width, height } = canvas;
      const { data } = canvas.getContext("2d").getImageData(0, 30, width, height - 30);
      for (let i = 0; i < data.length; i += 4) {
        const [r, g, b, a] = data.subarray(i, i + 4);
        if (a > 128 && Math.max(r, g, b) - Math.min(r, g, b) > 40) ++coloured;
      }
    }
    const title = chart.closest(".card").querySelector("h3").textContent;
    return { title, coloured, label: chart.getAttribute("aria-label") };
  });
}

// In the page: each shaded cell's text, background and how much its text stands out of that (WCAG).
function shadedCells() {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const channels = (colour) => {
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data.subarray(0, 3)];
  };
  const luminance = (colour) => {
    const [r, g, b] = channels(colour)
      .map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return [...document.querySelectorAll("td.shade")].map((cell) => {
    const { color, backgroundColor } = getComputedStyle(cell);
    const [dark, light] = [luminance(color), luminance(backgroundColor)].sort((a, b) => a - b);
    return {
      text: cell.textContent,
      background: channels(backgroundColor).join(","),
      contrast: (light + 0.05) / (dark + 0.05),
    };
  });
}

function chartsAreDrawn() {
  const charts = [...document.querySelectorAll(".chart")];
  return charts.length > 0 && charts.every((chart) => chart.querySelector("canvas"));
}

const drawing = (tab) =>
  tab
    .locator(".chart canvas")
    .first()
    .evaluate((c) => c.toDataURL());

async function look(browser, view) {
  const { width, height, colorScheme, hasTouch } = view;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, hasTouch });
  const tab = await context.newPage();
  const errors = [];
  const requests = [];
  tab.on("pageerror", (error) => errors.push(String(error)));
  tab.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) errors.push(message.text());
  });
  tab.on("request", (request) => {
    if (request.url() !== url && !request.url().startsWith("data:")) requests.push(request.url());
  });
  await tab.goto(url);
  await tab.waitForFunction(chartsAreDrawn, null, { timeout: 5000 }).catch(() => {
    throw new Error(`no charts; ${errors.join("; ") || "no error either"}`);
  });
  if (prefix) await tab.screenshot({ path: `${prefix}-${view.name}.png`, fullPage: true });

  const found = {
    view: view.name,
    charts: await tab.evaluate(chartsOnPage),
    scroll_width: await tab.evaluate(() => document.documentElement.scrollWidth),
    width,
    background: await tab.evaluate(() => getComputedStyle(document.body).backgroundColor),
    heading: await tab.locator("h1").textContent(),
    sections: await tab.locator("h2").allTextContents(),
    tables: await tab.locator("table").count(),
    shaded: await tab.evaluate(shadedCells),
    marked: await tab.evaluate(() => window.marked === true),
  };
  const before = await drawing(tab);
  await tab.locator('input[value="version"]').check({ force: true });
  found.switch_redraws = before !== (await drawing(tab));
  await tab.locator('input[value="virtual_seconds"]').check({ force: true });
  found.switch_restores = before === (await drawing(tab));
  await context.close();
  return { ...found, errors, requests };
}

// A profile of its own; Chromium's start script does not write to the home folder either.
const home = mkdtempSync(join(tmpdir(), "tributary-chromium-"));
const browser = await chromium.launch({
  executablePath,
  headless: true,
  env: { ...process.env, HOME: home },
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
try {
  const views = await Promise.all(VIEWS.map((view) => look(browser, view)));
  console.log(JSON.stringify(views));
} finally {
  await browser.close();
  rmSync(home, { recursive: true, force: true });
}
