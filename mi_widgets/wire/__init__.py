"""How results cross to the page: quantised blocks, message types and the TypeScript made from them."""
