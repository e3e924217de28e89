// Bundles the pages into one C++ source.
//
//   node build.mjs NODE_MODULES OUTPUT.cc
//
// template.html with the style and the script (src/main.js and all that it imports, minified) in
// it becomes the function PageTemplate() of simulator/report/page.h.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

// Pieces of the text: compilers need not take a longer literal than 65,536 bytes.
const PIECE = 60000;

const web = dirname(fileURLToPath(import.meta.url));
const [nodeModules, output] = process.argv.slice(2).map((path) => resolve(path));
const esbuild = createRequire(join(nodeModules, "x.js"))("esbuild");

function bundle(entry) {
  const result = esbuild.buildSync({
    entryPoints: [join(web, entry)],
    nodePaths: [nodeModules],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: "es2020",
    charset: "ascii",
    legalComments: "none",
    logLevel: "warning",
  });
  return result.outputFiles[0].text.trim();
}

function replaceOnce(text, mark, value) {
  const parts = text.split(mark);
  if (parts.length !== 2) throw new Error(`${mark} is in the page ${parts.length - 1} times`);
  return parts.join(value);
}

function pieces(text) {
  const list = [];
  for (let at = 0; at < text.length; at += PIECE) list.push(text.slice(at, at + PIECE));
  return list;
}

let page = readFileSync(join(web, "template.html"), "utf8");
page = replaceOnce(page, "@@STYLE@@", bundle("style.css"));
page = replaceOnce(page, "@@SCRIPT@@", bundle("src/main.js"));
for (const mark of ["@@TITLE@@", "@@DATA@@"]) replaceOnce(page, mark, "");
if (/[^\x00-\x7f]/.test(page)) throw new Error("the page has bytes that are not ASCII");
if (page.includes(')page"')) throw new Error("the page has the end of a raw string in it");

writeFileSync(
  output,
  `// Made from simulator/report/web by build.mjs.
#include "simulator/report/page.h"

namespace tributary::report {

absl::StatusOr<std::string> PageTemplate() {
  std::string page;
${pieces(page)
  .map((piece) => `  page += R"page(${piece})page";\n`)
  .join("")}  return page;
}

}  // namespace tributary::report
`,
);
