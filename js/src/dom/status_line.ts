/** What the status line says of a view: its run, its self-checks, its kernel. Knows nothing of how the line is drawn. */
import type { AnyView } from "../core/linked";
import type { StatusLine } from "./status";

export function statusLine(view: AnyView): StatusLine {
  const status = view.status.value;
  const liveness = view.source.liveness.value;
  const manifest = view.picture.value?.manifest;
  const notice = view.notice.value;
  const parts: StatusLine["parts"] = [];
  const computing = liveness === "live" && status.state === "computing";
  if (!computing && manifest) {
    if (manifest.model && view.prompt.value) parts.push({ text: manifest.model, kind: "quiet" });
    if (status.elapsed_ms > 0) parts.push({ text: `${Math.round(status.elapsed_ms)} ms`, kind: "quiet", tip: "Time of the last run in the kernel" });
    for (const check of manifest.checks) {
      parts.push({ text: `${check.label} (${check.detail})`, kind: check.ok ? "check" : "failed", tip: check.ok ? "Self-check: holds" : "Self-check: does not hold; do not trust this picture" });
    }
    for (const note of manifest.notes) parts.push({ text: note, tip: note });
    if (status.state === "idle" && status.message) parts.push({ text: status.message, tip: status.hint });
  }
  if (liveness === "live" && view.source.silent.value) parts.push({ text: "the kernel does not answer (busy?)", tip: "Nothing came back for 8 s. What you ask for now is answered when the kernel has time." });
  else if (view.waiting.value && liveness === "live") parts.push({ text: "waiting for the kernel …", kind: "quiet" });
  const frozen =
    liveness === "gone"
      ? "The kernel is gone; this is the last picture. Run the cell again to go on."
      : liveness === "frozen"
        ? "Saved picture: no kernel."
        : "";
  const error =
    liveness === "live" && status.state === "error"
      ? { message: status.message || "The computation failed.", hint: status.hint }
      : notice;
  return {
    parts,
    computing: computing
      ? { done: status.done, total: status.total, text: [status.message || "computing …", status.estimate].filter(Boolean).join("  ") }
      : null,
    error,
    frozen,
  };
}
