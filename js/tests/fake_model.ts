/** A widget model without a host: traits, events, and what was sent, for tests. */
export class FakeModel {
  sent: Record<string, unknown>[] = [];
  saves = 0;
  values: Record<string, unknown>;
  listeners = new Map<string, Set<(...values: unknown[]) => void>>();
  send?: (message: unknown) => void;
  widget_manager: unknown;

  constructor(values: Record<string, unknown>, live = true) {
    this.values = values;
    if (live) this.send = (message) => void this.sent.push(message as Record<string, unknown>);
  }

  get = (name: string): never => this.values[name] as never;
  set = (name: string, value: unknown): void => {
    if (this.values[name] === value) return;
    this.values[name] = value;
    this.emit(`change:${name}`, this, value);
  };
  save_changes = (): void => void (this.saves += 1);
  on = (name: string, callback: never): void => {
    if (!this.listeners.has(name)) this.listeners.set(name, new Set());
    this.listeners.get(name)!.add(callback);
  };
  off = (name: string, callback: never): void => void this.listeners.get(name)?.delete(callback);

  emit(name: string, ...values: unknown[]): void {
    for (const listener of [...(this.listeners.get(name) ?? [])]) listener.call({ model: this }, ...values);
  }

  answer(message: Record<string, unknown>, buffers: DataView[] = []): void {
    this.emit("msg:custom", { kind: "answer", ok: true, nbytes: 0, base64: null, error: null, ...message }, buffers);
  }

  requests(want: string): Record<string, unknown>[] {
    return this.sent.filter((message) => message["kind"] === "request" && message["want"] === want);
  }

  get listening(): number {
    return [...this.listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }
}
