"""A hundred tokens written by the model, against `generate` of Hugging Face with its key-value cache.

Both are greedy, on the same weights, one after the other; the peer is a plain Hugging Face model with its own default
attention, not the one that the Bridge wraps. What both write is compared too. Knows nothing of how either works inside.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from measure import alternate, gpt2_shape, median, spread, verdict, words

FACTOR = 1.5


def plain(model: Any) -> Any:
    """A Hugging Face model of the same weights that no Bridge wraps."""
    import transformers

    inner = model.original_model
    peer = transformers.AutoModelForCausalLM.from_config(inner.config, attn_implementation="sdpa").eval()
    own = {name.replace("._original_component", ""): value for name, value in inner.state_dict().items()}
    peer.load_state_dict({name: own[name] for name in peer.state_dict()})
    return peer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--prompt", type=int, default=20, help="tokens of the prompt")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--vocab", type=int, default=50257)
    parser.add_argument("--ablate", action="store_true", help="ours with a head ablated, which costs hooks")
    arguments = parser.parse_args()

    import torch

    import mi_widgets as mw
    from mi_widgets import compute

    torch.set_num_threads(arguments.threads)
    model = gpt2_shape(layers=arguments.layers, vocab=arguments.vocab)
    peer = plain(model)
    ids = model.to_tokens(words(arguments.prompt, seed=0))
    changes = [mw.Ablate(layer=1, head=3)] if arguments.ablate else []
    wrote: dict[str, list[int]] = {}

    def ours() -> None:
        found = compute.sample(model, ids, arguments.tokens, temperature=0, stop_at_eos=False, interventions=changes)
        wrote["ours"] = found.ids.tolist()

    def theirs() -> None:
        found = peer.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            min_new_tokens=arguments.tokens,
            max_new_tokens=arguments.tokens,
            pad_token_id=0,
        )
        wrote["theirs"] = found[0, ids.shape[1] :].tolist()

    processor: dict[str, list[float]] = {"ours": [], "theirs": []}

    def timed(name: str, job: Callable[[], None]) -> Callable[[], None]:
        def work() -> None:
            since = time.process_time()
            job()
            processor[name].append(time.process_time() - since)

        return work

    # `generate` keeps the end-of-text token (id 0) from being written before the last.
    seconds = alternate(arguments.rounds, {"theirs": timed("theirs", theirs), "ours": timed("ours", ours)})
    print(
        f"{arguments.tokens} tokens after {ids.shape[1]}: generate {spread(seconds['theirs'])}, ours {spread(seconds['ours'])}"
    )
    ratios = [own / other for own, other in zip(seconds["ours"], seconds["theirs"], strict=True)]
    verdict("tokens written", median(ratios), FACTOR, "× generate")
    # What others do on the machine touches this little; with one thread of torch's it is the better measure.
    print(f"          processor time: {min(processor['ours'][1:]) / min(processor['theirs'][1:]):.2f} × generate")
    if not changes:
        alike = next(
            (
                place
                for place, pair in enumerate(zip(wrote["ours"], wrote["theirs"], strict=True))
                if len(set(pair)) > 1
            ),
            None,
        )
        print(f"          {'the same tokens' if alike is None else f'the same tokens up to number {alike}'}")


if __name__ == "__main__":
    main()
