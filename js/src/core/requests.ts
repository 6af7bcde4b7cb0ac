/**
 * Request, answer, cancel between page and kernel. Every request settles: with a parcel, with the kernel's error, or
 * with an AbortError when the page no longer wants it. Knows nothing of what is asked for.
 */
import { asBytes, fromBase64, openParcel, type Parcel } from "./blocks";
import type { Answer, AnswerError, Cancel, Request } from "./wire.gen";

/** A request without the parts that are ours to fill in. */
export type Asked = Omit<Request, "kind" | "req" | "encoding">;

export class RequestFailed extends Error {
  constructor(readonly reason: AnswerError) {
    super(reason.message);
    this.name = "RequestFailed";
  }
}

interface Pending {
  asked: Asked;
  signal: AbortSignal | undefined;
  resolve(parcel: Parcel | null): void;
  reject(reason: unknown): void;
  forget(): void;
}

// Several renders of one model hear each other's answers: numbers must not repeat between them.
let last = Math.floor(Math.random() * 2 ** 20) * 2 ** 20;

export class Requests {
  #pending = new Map<number, Pending>();
  #encoding: Request["encoding"] = "buffers";

  constructor(readonly send: (message: Request | Cancel) => void) {}

  get waiting(): number {
    return this.#pending.size;
  }

  ask(asked: Asked, signal?: AbortSignal): Promise<Parcel | null> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(aborted());
        return;
      }
      const req = ++last;
      const abort = (): void => {
        this.#pending.delete(req);
        this.send({ kind: "cancel", req });
        reject(aborted());
      };
      signal?.addEventListener("abort", abort, { once: true });
      const forget = (): void => signal?.removeEventListener("abort", abort);
      this.#pending.set(req, { asked, signal, resolve, reject, forget });
      this.send({ kind: "request", req, encoding: this.#encoding, ...asked });
    });
  }

  /** Takes a message from the kernel; true where it answers one of ours. Late and foreign answers are dropped. */
  answer(message: Answer, buffers: unknown[]): boolean {
    if (message?.kind !== "answer") return false;
    const pending = this.#pending.get(message.req);
    if (!pending) return false;
    this.#pending.delete(message.req);
    pending.forget();
    if (!message.ok) {
      const unnamed: AnswerError = { code: "failed", message: "The kernel gave no reason.", hint: "" };
      pending.reject(new RequestFailed(message.error ?? unnamed));
      return true;
    }
    const bytes = message.base64 ? fromBase64(message.base64) : asBytes(buffers[0]);
    if (!bytes && message.nbytes > 0) {
      if (this.#encoding === "buffers") {
        // This host drops buffers (Colab does): ask again, and from now on, for text.
        this.#encoding = "base64";
        this.ask(pending.asked, pending.signal).then(pending.resolve, pending.reject);
      } else {
        pending.reject(new RequestFailed({ code: "failed", message: "The kernel's answer arrived without its data.", hint: "" }));
      }
      return true;
    }
    try {
      pending.resolve(openParcel(bytes));
    } catch (reason) {
      pending.reject(reason);
    }
    return true;
  }

  /** Nobody is left to answer: whoever waits hears `reason`. */
  fail(reason: AnswerError): void {
    for (const pending of this.#emptied()) pending.reject(new RequestFailed(reason));
  }

  close(): void {
    for (const req of this.#pending.keys()) this.send({ kind: "cancel", req });
    for (const pending of this.#emptied()) pending.reject(aborted());
  }

  #emptied(): Pending[] {
    const all = [...this.#pending.values()];
    this.#pending.clear();
    for (const pending of all) pending.forget();
    return all;
  }
}

function aborted(): DOMException {
  return new DOMException("no longer wanted", "AbortError");
}
