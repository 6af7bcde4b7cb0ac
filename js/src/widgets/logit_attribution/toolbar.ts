/** The row of controls over the picture: what is particular to the attribution's. Knows nothing of how it is drawn. */
import { ATTRIBUTION } from "../../core/options.gen";
import type { AttributionOptions } from "../../core/wire.gen";
import { makeAblateButton } from "../../dom/ablated";
import { OptionControls, type Now } from "../../dom/options";
import type { Attribution } from "./attribution";

const { options: OPTIONS } = ATTRIBUTION;
const FIXED = { disabled: true, tip: "Another split needs the model; this picture stands without a kernel" };

export class Toolbar {
  readonly elements: HTMLElement[];
  readonly controls: OptionControls<AttributionOptions>;

  constructor(attribution: Attribution) {
    /** The split on screen: without a kernel that of the picture. */
    const split = (): AttributionOptions["by"] =>
      (attribution.canCompute.value ? null : attribution.picture.value?.manifest.by) ?? attribution.options.value.by;
    const splits = (): Now<AttributionOptions["by"]> => {
      const { why_no_heads: heads, has_coder: coder } = attribution.picture.value?.manifest ?? {};
      const lacking = { head: !!heads, feature: !coder };
      const choices = OPTIONS.by.choices!.map((choice) => ({ ...choice, disabled: !!lacking[choice.value as keyof typeof lacking] }));
      return { choices, value: split(), ...(attribution.canCompute.value ? (heads ? { tip: heads } : {}) : FIXED) };
    };
    this.controls = new OptionControls<AttributionOptions>(attribution, OPTIONS, {
      by: { now: splits },
      show: { now: () => ({ value: attribution.show.value, hidden: !attribution.picture.value?.manifest.compare }) },
      top: { now: () => ({ hidden: !["neuron", "feature"].includes(split()), ...(attribution.canCompute.value ? {} : FIXED) }) },
    });
    this.elements = [...this.controls.rest(), makeAblateButton(attribution, attribution.held)];
  }
}
