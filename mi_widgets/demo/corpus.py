"""The training corpus of the demo model: the grammar's documents, packed into rows and batches of tensors.

Knows the mixture and the length of a row; nothing of models or of how they are trained.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from .grammar import MIXTURE
from .records import Document
from .tokenizer import CONTEXT_LENGTH
from .vocabulary import BOS, TOKEN_IDS, VOCABULARY

BOS_ID = TOKEN_IDS[BOS]


@dataclass
class Row:
    """One row of training text: ids, the weight of each in the loss, and position → expected distribution of ids."""

    ids: list[int]
    weights: list[float]
    expected: dict[int, dict[int, float]]

    def append(self, other: "Row") -> None:
        """Put another piece of text behind this one."""
        self.expected |= {len(self.ids) + place: tokens for place, tokens in other.expected.items()}
        self.ids += other.ids
        self.weights += other.weights


def document_row(document: Document) -> Row:
    """A document after its beginning-of-text token, as ids."""
    expected = {
        place + 1: {TOKEN_IDS[token]: probability for token, probability in tokens.items()}
        for place, tokens in document.expected.items()
    }
    return Row([BOS_ID, *(TOKEN_IDS[token] for token in document.tokens)], [1.0, *document.weights], expected)


def rows_of_documents(seed: int) -> Iterator[Row]:
    """Endless training rows of `CONTEXT_LENGTH` tokens.

    Documents are drawn so that each source has its share of the *tokens*. A row begins with the document that has
    waited longest and is filled with waiting documents that still fit, so that none is cut: a repeated sequence
    without its repetition, or boxes without the question, would teach nothing. What is left is padding of weight 0.
    """
    rng = random.Random(f"corpus/{seed}")
    sources = [source for source, _ in MIXTURE.values()]
    lengths_rng = random.Random(f"lengths/{seed}")
    mean_lengths = [sum(len(source.document(lengths_rng).tokens) + 1 for _ in range(1000)) / 1000 for source in sources]
    shares = [share / length for (_, share), length in zip(MIXTURE.values(), mean_lengths, strict=True)]
    waiting: list[Row] = []
    while True:
        while len(waiting) < 64:
            (source,) = rng.choices(sources, shares)
            waiting.append(document_row(source.document(rng)))
        row = waiting.pop(0)
        while True:
            room = CONTEXT_LENGTH - len(row.ids)
            fitting = (index for index, document in enumerate(waiting) if len(document.ids) <= room)
            if (index := next(fitting, None)) is None:
                break
            row.append(waiting.pop(index))
        row.append(Row([BOS_ID] * room, [0.0] * room, {}))
        yield row


@dataclass
class Batch:
    """ids [row, position], weights [row, position]; at `places` (rows, positions) the distributions [place, id]."""

    ids: torch.Tensor
    weights: torch.Tensor
    places: tuple[torch.Tensor, torch.Tensor]
    distributions: torch.Tensor


def batch_of(rows: list[Row]) -> Batch:
    """The rows as tensors."""
    expected = [
        (row_index, position, tokens) for row_index, row in enumerate(rows) for position, tokens in row.expected.items()
    ]
    distributions = torch.zeros(len(expected), len(VOCABULARY))
    for place, (_, _, tokens) in enumerate(expected):
        distributions[place, list(tokens)] = torch.tensor(list(tokens.values()))
    places = tuple(torch.tensor([entry[axis] for entry in expected], dtype=torch.long) for axis in (0, 1))
    ids, weights = torch.tensor([row.ids for row in rows]), torch.tensor([row.weights for row in rows])
    return Batch(ids, weights, places, distributions)
