/** A canvas that fills its place at the screen's own resolution. Knows nothing of what is drawn. */

/** Sizes the canvas to `width` × `height` CSS pixels; null where the host has no canvas to draw on. */
export function prepare(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D | null {
  const ratio = window.devicePixelRatio || 1;
  const pixelsWide = Math.max(1, Math.round(width * ratio));
  const pixelsHigh = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== pixelsWide || canvas.height !== pixelsHigh) {
    canvas.width = pixelsWide;
    canvas.height = pixelsHigh;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = context2d(canvas);
  if (!context) return null;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

export function context2d(canvas: HTMLCanvasElement): CanvasRenderingContext2D | null {
  try {
    return canvas.getContext("2d");
  } catch {
    return null;
  }
}

/** A canvas that is never shown, holding one image. */
export interface Offscreen {
  canvas: HTMLCanvasElement;
  context: CanvasRenderingContext2D;
}

/** The canvas that is held already where it has this size, for a new image; else another one. */
export function resized(held: Offscreen | null, width: number, height: number): Offscreen | null {
  const fits = held && held.canvas.width === width && held.canvas.height === height;
  return fits ? { canvas: held.canvas, context: held.context } : offscreen(width, height);
}

export function offscreen(width: number, height: number): Offscreen | null {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, width);
  canvas.height = Math.max(1, height);
  const context = context2d(canvas);
  return context ? { canvas, context } : null;
}

/** The look of cells that the mask forbids: their colour with thin diagonal lines. */
export function hatch(context: CanvasRenderingContext2D, color: string, line: string): CanvasPattern | string {
  const ratio = window.devicePixelRatio || 1;
  const size = Math.round(6 * ratio);
  const tile = offscreen(size, size);
  if (!tile) return color;
  tile.context.fillStyle = color;
  tile.context.fillRect(0, 0, size, size);
  tile.context.strokeStyle = line;
  tile.context.lineWidth = Math.max(1, ratio * 0.75);
  tile.context.beginPath();
  for (const shift of [-size, 0, size]) {
    tile.context.moveTo(shift, size);
    tile.context.lineTo(shift + size, 0);
  }
  tile.context.stroke();
  const pattern = context.createPattern(tile.canvas, "repeat");
  if (!pattern) return color;
  pattern.setTransform(new DOMMatrix().scale(1 / ratio));
  return pattern;
}
