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

/** Bytes stand in the page's JSON as {"$bytes": base64}. */
function restored(value: unknown): unknown {
  const base64 = (value as { $bytes?: unknown } | null)?.$bytes;
  return typeof base64 === "string" ? new DataView(bytesOf(base64).buffer) : value;
}

/** What a view needs of a widget model, without a kernel: there is no `send`, by which the view knows. */
function frozenModel(state: Record<string, unknown>): object {
  const values: Record<string, unknown> = {};
  for (const name of Object.keys(state)) values[name] = restored(state[name]);
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

const modules = new Map<string, Promise<{ default: { render(given: object): unknown } }>>();

function moduleOf(name: string): Promise<{ default: { render(given: object): unknown } }> {
  let loading = modules.get(name);
  if (!loading) {
    const script = document.getElementById(`miw-module-${name}`)!;
    const text = script.textContent!.trim();
    const source = script.dataset["encoding"] === "base64" ? bytesOf(text) : text;
    const url = URL.createObjectURL(new Blob([source as BlobPart], { type: "text/javascript" }));
    modules.set(name, (loading = import(url)));
  }
  return loading;
}

const page = JSON.parse(document.getElementById("miw-page")!.textContent!) as { views: PageView[] };
page.views.forEach(async ({ module, state }, at) => {
  const slot = document.querySelector<HTMLElement>(`.miw-slot[data-slot="${at}"]`);
  if (!slot) return;
  try {
    const { default: view } = await moduleOf(module);
    await view.render({ model: frozenModel(state), el: slot });
  } catch (reason) {
    slot.textContent = `This view cannot be shown: ${reason}`;
  }
});
