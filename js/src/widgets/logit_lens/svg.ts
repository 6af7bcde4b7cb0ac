/** SVG elements from names and attributes, and the marks by which curves differ beside their colour. */
import { CATEGORICAL } from "../../core/color.gen";
import { setAttributes } from "../../dom/element";

export function svg<Name extends keyof SVGElementTagNameMap>(
  name: Name,
  attributes: Record<string, string | number | null> = {},
  ...children: (Node | string)[]
): SVGElementTagNameMap[Name] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

export function curveColor(index: number): string {
  return CATEGORICAL[index % CATEGORICAL.length]!;
}

/** The mark of curve `index` at a point: four shapes, filled for the first four curves and hollow for the others. */
export function marker(index: number, x: number, y: number, size = 3): SVGElement {
  const color = curveColor(index);
  const fill = index < CATEGORICAL.length ? color : "var(--miw-paper)";
  const look = { fill, stroke: color, "stroke-width": 1.5 };
  const points = (...corners: [number, number][]): SVGElement =>
    svg("polygon", { ...look, points: corners.map(([across, down]) => `${x + across * size},${y + down * size}`).join(" ") });
  switch (index % CATEGORICAL.length) {
    case 0:
      return svg("circle", { ...look, cx: x, cy: y, r: size });
    case 1:
      return points([-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]);
    case 2:
      return points([0, -1.2], [1.15, 0.9], [-1.15, 0.9]);
    default:
      return points([0, -1.35], [1.35, 0], [0, 1.35], [-1.35, 0]);
  }
}

/** A short piece of curve `index` with its mark, for legends. */
export function swatch(index: number): SVGElement {
  return svg(
    "svg",
    { class: "miw-lens-swatch", width: 20, height: 12, viewBox: "0 0 20 12", "aria-hidden": "true" },
    svg("path", { d: "M0 6H20", stroke: curveColor(index), "stroke-width": 1.5, fill: "none" }),
    marker(index, 10, 6),
  );
}
