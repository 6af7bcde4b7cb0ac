/** The palettes that a reader can choose in place of the usual one: a view that offers them imports this. */
import { CHOSEN_PALETTES, PALETTES } from "./color.gen";

Object.assign(PALETTES, CHOSEN_PALETTES);
