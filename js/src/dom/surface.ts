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

/** Adds a disc to the path. */
export function disc(context: CanvasRenderingContext2D, x: number, y: number, radius: number): void {
  context.moveTo(x + radius, y);
  context.arc(x, y, radius, 0, 7);
}

/** The look of cells that the mask forbids: their colour with thin diagonal lines. */
export function hatch(context: CanvasRenderingContext2D, color: string, line: string): CanvasPattern | string {
  return tiled(context, color, (tile, size, ratio) => {
    tile.strokeStyle = line;
    tile.lineWidth = Math.max(1, ratio * 0.75);
    tile.beginPath();
    for (const shift of [-size, 0, size]) {
      tile.moveTo(shift, size);
      tile.lineTo(shift + size, 0);
    }
    tile.stroke();
  });
}

/** The look of cells that are not known yet: the ground with small dots. */
export function dots(context: CanvasRenderingContext2D, ground: string, dot: string): CanvasPattern | string {
  return tiled(context, ground, (tile, size, ratio) => {
    const wide = Math.max(1, Math.round(ratio));
    tile.fillStyle = dot;
    tile.fillRect(Math.floor((size - wide) / 2), Math.floor((size - wide) / 2), wide, wide);
  });
}

/** A ground of tiles of six pixels, all alike; the ground alone where the host has no canvas. */
function tiled(
  context: CanvasRenderingContext2D,
  ground: string,
  paint: (tile: CanvasRenderingContext2D, size: number, ratio: number) => void,
): CanvasPattern | string {
  const ratio = window.devicePixelRatio || 1;
  const size = Math.round(6 * ratio);
  const tile = offscreen(size, size);
  if (!tile) return ground;
  tile.context.fillStyle = ground;
  tile.context.fillRect(0, 0, size, size);
  paint(tile.context, size, ratio);
  const pattern = context.createPattern(tile.canvas, "repeat");
  if (!pattern) return ground;
  pattern.setTransform(new DOMMatrix().scale(1 / ratio));
  return pattern;
}

export interface Size {
  width: number;
  height: number;
}

/** The size of an element's place; the one that is held where it is the same, so that nothing is drawn again. */
export function sizeOf({ offsetWidth: width, offsetHeight: height }: HTMLElement, held: Size): Size {
  return held.width === width && held.height === height ? held : { width, height };
}
