/** What the status line says of a view: its run, its self-checks, its kernel. Knows nothing of how the line is drawn. */
import type { AnyView, Notice, Unanswered } from "../core/linked";
import { RUN_AGAIN, type Overdue } from "../core/source";
import type { StatusLine } from "./status";

const LATE: Record<Overdue, { edit: string; text: string; tip: string }> = {
  waiting: { edit: "not answered yet", text: "waiting for the kernel …", tip: "The kernel has not answered yet; it may be busy." },
  silent: {
    edit: "not computed",
    text: "the kernel does not answer (busy?)",
    tip: "Nothing came back for 8 s. What you ask for now is answered when the kernel has time.",
  },
  unsent: { edit: "not sent", text: "no connection to the kernel", tip: "It is sent when the connection is back." },
};
const EDIT: Record<Unanswered["what"], string> = { edit: "edit", "linked edit": "edit in a linked view", data: "" };

export function statusLine(view: AnyView): StatusLine {
  const status = view.status.value;
  const liveness = view.source.liveness.value;
  const manifest = view.picture.value?.manifest;
  const stale = view.stale.value;
  const parts: StatusLine["parts"] = [];
  const computing = liveness === "live" && status.state === "computing";
  const unanswered = view.unanswered.value;
  // First, where no long line pushes it out of sight.
  if (unanswered) {
    const { edit, text, tip } = LATE[unanswered.how];
    const whose = EDIT[unanswered.what];
    const quiet = !whose && unanswered.how === "waiting";
    parts.push({ text: whose ? `${whose} ${edit}: ${text}` : text, tip, kind: quiet ? "quiet" : "late" });
  } else if (view.waiting.value && liveness === "live") parts.push({ text: LATE.waiting.text, kind: "quiet" });
  if (!computing && manifest) {
    if (manifest.model && view.prompt.value) parts.push({ text: manifest.model, kind: "quiet" });
    if (status.elapsed_ms > 0)
      parts.push({
        text: `${Math.round(status.elapsed_ms)} ms`,
        kind: "quiet",
        tip: "From the edit to this picture in the kernel; other views of the session may have been drawn meanwhile",
      });
    for (const check of manifest.checks) {
      if (check.ok && stale) continue; // it held for another run than the one that is asked for
      parts.push({
        text: `${check.label} (${check.detail})`,
        kind: check.ok ? "check" : "failed",
        tip: check.ok ? "Self-check: holds" : "Self-check: does not hold; do not trust this picture",
      });
    }
    for (const note of manifest.notes) parts.push({ text: note, tip: note });
  }
  if (!computing && status.state === "idle" && status.message) parts.push({ text: status.message, tip: status.hint });
  const unfinished = view.picture.value?.unfinished;
  // A reading that was stopped says so itself.
  if (!computing && unfinished && !(liveness === "live" && status.state === "idle")) {
    parts.unshift({ text: `${liveness === "live" ? "Not whole" : "Saved before it was done"}: ${unfinished}.` });
  }
  const frozen =
    liveness === "gone"
      ? `The kernel is gone or was restarted. ${RUN_AGAIN}`
      : liveness === "frozen"
        ? manifest
          ? "Saved picture: no kernel."
          : "No kernel."
        : "";
  return {
    parts,
    computing: computing
      ? { done: status.done, total: status.total, text: [status.message || "computing …", status.estimate].filter(Boolean).join("  ") }
      : null,
    errors: errorsOf(view, liveness === "live"),
    frozen,
  };
}

/** What the kernel or the page itself found wrong with what was asked, and what failed in the page. */
function errorsOf(view: AnyView, live: boolean): Notice[] {
  const { state, message, hint } = view.status.value;
  const said = live && state === "error" ? { message: message || "The computation failed.", hint } : view.notice.value;
  const fault = view.scope.fault.value;
  return [said, fault === null ? null : faultNotice(fault)].filter((notice) => notice !== null);
}

/** What a reader can do about a mistake in the page's own code. */
export function faultNotice(fault: unknown): Notice {
  const reason = fault instanceof Error ? fault.message : String(fault);
  return { message: `A part of this view failed in the page: ${reason}.`, hint: "Run the cell again, or report this." };
}
