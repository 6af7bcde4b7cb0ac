// Builds the committed bundles: one self-contained ES module and one style sheet per widget, and the host of offline
// pages. The output depends on the sources and the locked versions alone, so that a rebuild gives the same bytes. What
// is larger than its budget fails the build. `node build.mjs [FOLDER]` builds to another folder; with WHAT=1 in the
// environment it says what each bundle is made of.
import { analyzeMetafile, build } from "esbuild";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import path from "node:path";

// In kB of 1,000 bytes. Raw is what an offline page and each view in a saved notebook hold, so it is not to grow unseen;
// the module alone has a budget of its own, for that is what a browser must read before it draws.
const GZIPPED = 60;
const RAW = {
  "attention.js": 122,
  "logit_attribution.js": 118,
  "logit_lens.js": 125,
  "patching.js": 117,
  "prompt.js": 91,
  "standalone.js": 2,
};
const RAW_MODULE = 124; // of a view that is not named above
const RAW_SHEET = 22;

const root = path.dirname(fileURLToPath(import.meta.url));
const outdir = path.resolve(process.argv[2] ?? path.resolve(root, "../mi_widgets/widgets/static"));
const banner = "/* mi_widgets: built from js/ by `npm run build`; do not edit. */";

const shared = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  charset: "utf8",
  legalComments: "none",
  target: "es2022",
  outdir,
  logLevel: "warning",
  metafile: true,
  write: false,
};

// A folder with an `index.ts` is a widget; where it has a style sheet of its name, that is one too.
const folders = readdirSync(path.join(root, "src/widgets")).sort();
const has = (name, file) => existsSync(path.join(root, "src/widgets", name, file));
const widgets = folders.filter((name) => has(name, "index.ts"));
const sheets = widgets.filter((name) => has(name, `${name}.css`));

/** The output of one kind of entry. */
const made = (options) => build({ ...shared, ...options });
const results = await Promise.all([
  made({ format: "esm", banner: { js: banner }, entryPoints: widgets.map((name) => ({ in: `src/widgets/${name}/index.ts`, out: name })) }),
  made({ banner: { css: banner }, entryPoints: sheets.map((name) => ({ in: `src/widgets/${name}/${name}.css`, out: name })) }),
  made({ format: "iife", banner: { js: banner }, entryPoints: [{ in: "src/standalone/standalone.ts", out: "standalone" }] }),
]);

const kilo = (bytes) => (bytes / 1000).toFixed(1).padStart(7);
let failed = false;
mkdirSync(outdir, { recursive: true });
console.log(`${"bundle".padEnd(24)}    raw  of   gzip  of  (kB)`);
for (const { path: file, contents } of results.flatMap((result) => result.outputFiles)) {
  const name = path.basename(file);
  const raw = RAW[name] ?? (name.endsWith(".css") ? RAW_SHEET : RAW_MODULE);
  const zipped = gzipSync(contents, { level: 9 }).length;
  const over = contents.length > raw * 1000 || zipped > GZIPPED * 1000;
  failed ||= over;
  console.log(
    `${name.padEnd(24)}${kilo(contents.length)}${String(raw).padStart(4)}${kilo(zipped)}${String(GZIPPED).padStart(4)}${over ? "  TOO LARGE" : ""}`,
  );
  writeFileSync(file, contents);
}
if (process.env.WHAT) for (const { metafile } of results) console.log(await analyzeMetafile(metafile));
if (failed) process.exit(1);
