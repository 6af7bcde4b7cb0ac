/** Where the bytes lie that Python and TypeScript must read alike. */
import path from "node:path";
import { fileURLToPath } from "node:url";

export function goldenPath(name: string): string {
  return path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../tests/golden", name);
}
