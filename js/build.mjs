// Builds the committed bundles: one self-contained ES module and one style sheet per widget, and the host of offline
// pages. The output depends on the sources and the locked versions alone, so that a rebuild gives the same bytes.
import { build } from "esbuild";
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import path from "node:path";

const root = path.dirname(fileURLToPath(import.meta.url));
const outdir = path.resolve(root, "../mi_widgets/widgets/static");
const banner = "/* mi_widgets: built from js/ by `npm run build`; do not edit. */";

const shared = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  charset: "utf8",
  legalComments: "none",
  target: "es2022",
  outdir,
  logLevel: "info",
};

// A folder with an `index.ts` is a widget; where it has a style sheet of its name, that is one too.
const folders = readdirSync(path.join(root, "src/widgets")).sort();
const has = (name, file) => existsSync(path.join(root, "src/widgets", name, file));
const widgets = folders.filter((name) => has(name, "index.ts"));
const sheets = widgets.filter((name) => has(name, `${name}.css`));

await build({
  ...shared,
  format: "esm",
  banner: { js: banner },
  entryPoints: widgets.map((name) => ({ in: `src/widgets/${name}/index.ts`, out: name })),
});
await build({
  ...shared,
  banner: { css: banner },
  entryPoints: sheets.map((name) => ({ in: `src/widgets/${name}/${name}.css`, out: name })),
});
await build({
  ...shared,
  format: "iife",
  banner: { js: banner },
  entryPoints: [{ in: "src/standalone/standalone.ts", out: "standalone" }],
});
