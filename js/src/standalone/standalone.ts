/**
 * Runs views from frozen state in one offline page: a stand-in for the widget model, the view's module from a Blob URL.
 * No network, no kernel. Python writes the page; see `export/`. Knows nothing of any particular view.
 */
interface PageView {
  module: string;
  state: Record<string, unknown>;
}

type Listener = (...values: unknown[]) => void;

function bytesOf(base64: string): Uint8Array {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

async function unzipped(base64: string): Promise<Uint8Array> {
  const stream = new Blob([bytesOf(base64) as BlobPart]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Bytes stand in the page's JSON as {"$bytes": base64}, or {"$gzip": base64} where they were made smaller. */
async function restored(value: unknown): Promise<unknown> {
  const { $bytes, $gzip } = (value ?? {}) as { $bytes?: unknown; $gzip?: unknown };
  if (typeof $bytes === "string") return new DataView(bytesOf($bytes).buffer);
  if (typeof $gzip === "string") return new DataView((await unzipped($gzip)).buffer);
  return value;
}

/** What a view needs of a widget model, without a kernel: there is no `send`, by which the view knows. */
async function frozenModel(state: Record<string, unknown>): Promise<object> {
  const values: Record<string, unknown> = {};
  for (const name of Object.keys(state)) values[name] = await restored(state[name]);
  const listeners = new Map<string, Set<Listener>>();
  return {
    get: (name: string) => values[name],
    set(name: string, value: unknown) {
      values[name] = value;
      for (const listener of [...(listeners.get(`change:${name}`) ?? [])]) listener(this, value);
    },
    save_changes: () => undefined,
    on(name: string, listener: Listener) {
      if (!listeners.has(name)) listeners.set(name, new Set());
      listeners.get(name)!.add(listener);
    },
    off: (name: string, listener: Listener) => listeners.get(name)?.delete(listener),
  };
}

type Module = { default: { render(given: object): unknown } };

const modules = new Map<string, Promise<Module>>();

async function load(name: string): Promise<Module> {
  const script = document.getElementById(`miw-module-${name}`)!;
  const text = script.textContent!.trim();
  const { encoding } = script.dataset;
  const source = encoding === "gzip" ? await unzipped(text) : encoding === "base64" ? bytesOf(text) : text;
  return import(URL.createObjectURL(new Blob([source as BlobPart], { type: "text/javascript" })));
}

function moduleOf(name: string): Promise<Module> {
  if (!modules.has(name)) modules.set(name, load(name));
  return modules.get(name)!;
}

const page = JSON.parse(document.getElementById("miw-page")!.textContent!) as { views: PageView[] };
page.views.forEach(async ({ module, state }, at) => {
  const slot = document.querySelector<HTMLElement>(`.miw-slot[data-slot="${at}"]`);
  if (!slot) return;
  try {
    const { default: view } = await moduleOf(module);
    await view.render({ model: await frozenModel(state), el: slot });
  } catch (reason) {
    slot.textContent = `This view cannot be shown: ${reason}`;
  }
});
