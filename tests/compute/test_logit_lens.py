"""Every number of the lens equals brute force through the Hugging Face modules, on every architecture; what cannot be
read truthfully is refused. The oracle (`lens_oracle.py`) never sees TransformerLens."""

from __future__ import annotations

import lens_oracle
import numpy as np
import pytest
import tiny_models
import tiny_oracle
import torch
from compute.test_forward import state_of

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.compute import lens_order, lens_reading
from mi_widgets.compute.forward import forward, unwritten
from mi_widgets.compute.lens_order import ReadingOrder, Sight
from mi_widgets.compute.lens_reading import Side
from mi_widgets.compute.lens_rows import available_streams, lens_readers, lens_sites
from mi_widgets.compute.logit_lens import comparison_steps, lens_steps, target_steps
from mi_widgets.errors import AnswerError, DataError, ModelError
from mi_widgets.models import load_model, tokenize

ARCHITECTURES = list(tiny_models.CONFIGS)
STREAMS = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
IDS = np.random.default_rng(0).integers(3, tiny_models.D_VOCAB, 12)
TARGETS = (5, 90, 0)
SHARED = {
    "stories260K-llama": [1, 403, 407, 261, 378, 383, 286, 261, 298, 315, 421],
    "stories3M-llama": [1, *range(5, 25)],
    "gpt-nano-sort": [2, 0, 1, 1, 2, 0, 0, 0, 1, 1, 2],
}


def check(lens, rows, ids, targets=(), tolerance=1e-4):
    """Every array of `lens` against loops over the oracle's logits `rows`."""
    want = lens_oracle.numbers(rows, ids, targets)
    assert lens.shape == rows.shape[:2]
    for name in ("entropy", "kl", "change", "next_prob", "target_probs"):
        assert np.allclose(getattr(lens, name), want[name], rtol=tolerance, atol=tolerance, equal_nan=True), name
    assert lens.top_probs.dtype == np.float32
    for row, position in np.ndindex(*lens.shape):
        probs = want["p"][row, position]
        shown = lens.top_ids[row, position]
        assert len(set(shown.tolist())) == len(shown)
        assert np.allclose(lens.top_probs[row, position], probs[shown], rtol=tolerance, atol=tolerance)
        assert np.allclose(lens.top_probs[row, position], np.sort(probs)[::-1][: len(shown)], atol=tolerance)
        # A rank is right if no logit that changes it stands clearly on the wrong side.
        here = rows[row, position]
        near = tolerance * max(1.0, np.abs(here).max())
        watched = [(lens.final_rank, rows[-1, position].argmax())]
        watched += [(lens.target_ranks[..., place], token) for place, token in enumerate(targets)]
        watched += [(lens.next_rank, ids[position + 1])] if position + 1 < len(ids) else []
        for ranks, token in watched:
            least, most = (here > here[token] + near).sum(), (here > here[token] - near).sum()
            assert least <= ranks[row, position] <= most
    assert (lens.next_rank[:, -1] == -1).all()
    return want


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_entry_equals_brute_force_through_hugging_face(architecture, stream, tiny_folder, tiny_model):
    model, hugging = tiny_model(architecture), tiny_oracle.load(tiny_folder(architecture))
    if stream == "resid_mid" and architecture == "neox":
        with pytest.raises(ModelError, match="side by side"):
            compute.logit_lens(model, IDS, stream)
        return
    lens = compute.logit_lens(model, IDS, stream, top_k=5, targets=TARGETS)
    check(lens, lens_oracle.logits(hugging, IDS, stream), IDS, TARGETS)
    assert lens.streams[-1] == "resid_post"
    assert lens.layers == ((0, 1) if stream == "resid_post" else (0, 1, 1))
    assert lens.max_error <= 1e-5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_last_row_is_the_models_output(architecture, tiny_folder, tiny_model):
    hugging = tiny_oracle.load(tiny_folder(architecture))
    with torch.no_grad():
        want = hugging(torch.as_tensor(IDS)[None]).logits[0]
    lens = compute.logit_lens(tiny_model(architecture), IDS, top_k=tiny_models.D_VOCAB)
    log_p = want.double().log_softmax(-1).numpy()
    for position in range(len(IDS)):
        own = np.log(lens.top_probs[-1, position].astype(float))
        assert np.allclose(own, log_p[position, lens.top_ids[-1, position]], atol=1e-4)
        assert lens.top_ids[-1, position, 0] == want[position].argmax()
    assert (lens.kl[-1] == 0).all()
    assert (lens.final_rank[-1] == 0).all()


@pytest.mark.shared
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("name", SHARED)
def test_pretrained_models_equal_brute_force(name, stream, shared):
    ids = np.array(SHARED[name])
    model, hugging = load_model(shared / "models" / name), tiny_oracle.load(shared / "models" / name)
    targets = (2,)
    kept = min(10, int(model.cfg.d_vocab))
    lens = compute.logit_lens(model, ids, stream, targets=targets, top_k=10)
    assert lens.top_k == kept
    check(lens, lens_oracle.logits(hugging, ids, stream), ids, targets)
    assert lens.max_error <= 1e-4


def test_the_demo_model_equals_brute_force(demo_model):
    from mi_widgets.models import DEMO_FOLDER

    ids = tokenize(demo_model, "When Mary and John went to the store , John gave a drink to").ids
    lens = compute.logit_lens(demo_model, ids)
    check(lens, lens_oracle.logits(tiny_oracle.load(DEMO_FOLDER), ids, "resid_post"), ids)
    assert lens.max_error <= 1e-4


@pytest.mark.shared
def test_the_other_name_wins_in_the_last_layers_of_a_story_model(shared):
    model = load_model(shared / "models" / "stories3M-llama")
    lens = compute.logit_lens(model, "Tom and Sue were playing. Tom said to", targets=[" Sue"])
    assert [lens.name(token) for token in lens.top_ids[-2:, -1, 0]] == [" Sue", " Sue"]
    assert (lens.target_ranks[-2:, -1, 0] == 0).all()
    assert lens.target_ranks[0, -1, 0] > 0
    assert lens.target_probs[-1, -1, 0] > lens.target_probs[0, -1, 0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_half_precision_is_read_as_the_half_precision_model_reads(architecture, tiny_folder, tiny_model):
    model = tiny_model(architecture, dtype=torch.bfloat16)
    hugging = tiny_oracle.load(tiny_folder(architecture), torch.bfloat16)
    lens = compute.logit_lens(model, IDS, targets=TARGETS, top_k=5)
    activations = forward(model, IDS, ("hook_resid_post",)).arrays["hook_resid_post"]
    # The same vectors through Hugging Face's bfloat16 norm and head, so that only the reading is compared.
    rows = lens_oracle.read(hugging, torch.tensor(activations))
    check(lens, rows, IDS, TARGETS, tolerance=1e-2)
    # And against the whole model: hidden states of two half precision runs differ by a few roundings.
    whole = lens_oracle.numbers(lens_oracle.logits(hugging, IDS, "resid_post"), IDS, TARGETS)
    assert np.abs(lens.target_probs - whole["target_probs"]).max() <= 2e-2
    assert np.abs(lens.entropy - whole["entropy"]).max() <= 0.1
    assert lens.max_error <= 2e-2
    assert lens.top_probs.dtype == lens.kl.dtype == np.float32


@pytest.mark.parametrize("stream", STREAMS)
def test_the_model_is_left_as_it_was(stream, model):
    model.train()
    model.blocks[0].eval()
    next(model.parameters()).requires_grad_(False)
    model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: value)
    model(torch.tensor([[3, 4, 5]]))  # transformers installs hooks of its own in a first pass, and leaves them
    before = state_of(model)
    compute.logit_lens(model, IDS, stream)
    assert state_of(model) == before


def test_stopping_between_steps_leaves_everything_as_it_was(model):
    activations = forward(model, IDS, lens_sites())
    before = state_of(model)
    steps = lens_steps(model, tokenize(model, IDS), activations)
    next(steps)
    next(steps)
    assert torch.is_grad_enabled()
    steps.close()
    assert state_of(model) == before


def chunks_of(monkeypatch, positions, together=64):
    """Readings go on by so many positions, and unembed so many vectors at once."""
    monkeypatch.setattr(lens_reading, "FEW", positions * tiny_models.D_VOCAB)
    monkeypatch.setattr(lens_reading, "FEWEST", 1)
    monkeypatch.setattr(lens_reading, "TOGETHER", together)


def test_steps_count_chunks_and_rows(model, monkeypatch):
    chunks_of(monkeypatch, 5)
    seen = []
    steps = lens_steps(model, tokenize(model, IDS), forward(model, IDS, lens_sites()))
    while True:
        try:
            seen.append(next(steps))
        except StopIteration:
            break
    assert [step.done for step in seen] == list(range(7))  # three chunks of at most five positions, two rows
    assert {step.total for step in seen} == {6}


@pytest.mark.parametrize(("size", "together"), [(1, 64), (5, 64), (5, 1), (12, 12), (12, 64)])
def test_the_size_of_a_chunk_changes_nothing(size, together, model, tiny_folder, monkeypatch):
    chunks_of(monkeypatch, size, together)
    lens = compute.logit_lens(model, IDS, targets=TARGETS, top_k=3)
    check(lens, lens_oracle.logits(tiny_oracle.load(tiny_folder("llama")), IDS, "resid_post"), IDS, TARGETS)


def test_layers_and_positions_are_those_asked_for_and_the_output_stays_last(tiny_model):
    model = tiny_model("gpt2")
    whole = compute.logit_lens(model, IDS, "resid_pre", targets=TARGETS)
    part = compute.logit_lens(model, IDS, "resid_pre", targets=TARGETS, layers=[1], positions=[-1, 3])
    assert (part.streams, part.layers) == (("resid_pre", "resid_post"), (1, 1))
    assert part.positions == (11, 3)
    for name in ("top_ids", "top_probs", "entropy", "kl", "final_rank", "next_prob", "target_ranks"):
        want = getattr(whole, name)[1:][:, [11, 3]]
        assert np.allclose(getattr(part, name), want, atol=1e-6, equal_nan=True), name
    assert np.isnan(part.next_prob[:, 0]).all()


def test_pinned_words_are_resolved_in_place(stories):
    lens = compute.logit_lens(stories, "Once upon a time", targets=[" there", 3])
    assert [lens.name(token) for token in lens.target_ids] == [" there", lens.name(3)]
    with pytest.raises(AnswerError, match="pinned token"):
        compute.logit_lens(stories, "Once upon a time", targets=" xylophone")


def test_names_cover_every_token_that_is_shown(stories):
    lens = compute.logit_lens(stories, "Once upon a time", targets=[" there"])
    assert set(lens.names) >= {*lens.top_ids.ravel().tolist(), *lens.tokens.ids.tolist(), *lens.target_ids.tolist()}
    assert (lens.model, lens.d_vocab) == ("stories260K-llama", 512)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"stream": "resid"}, DataError, "unknown stream"),
        ({"layers": [9]}, DataError, "layers"),
        ({"positions": [99]}, DataError, "positions"),
        ({"positions": 3}, DataError, "list"),
        ({"positions": []}, DataError, "positions"),
        ({"top_k": 0}, DataError, "top_k"),
        ({"targets": list(range(9))}, DataError, "at most 8"),
        ({"targets": [128]}, AnswerError, "vocabulary"),
        ({"lens": "logits"}, DataError, "no lens"),
        ({"lens": 3}, DataError, "no lens"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_reason(options, error, word, model):
    with pytest.raises(error, match=word):
        compute.logit_lens(model, IDS, **options)


def test_streams_that_an_architecture_lacks_are_not_offered(tiny_model):
    assert available_streams(tiny_model("neox")) == ("resid_pre", "attn_out", "mlp_out", "resid_post")
    assert available_streams(tiny_model("gemma2")) == STREAMS


@pytest.mark.parametrize("stream", ["attn_out", "mlp_out"])
@pytest.mark.parametrize("architecture", ["gpt2", "neox", "gemma2"])
def test_a_part_that_is_not_what_the_block_adds_is_refused(architecture, stream, tiny_model):
    model = tiny_model(architecture)
    caught = {}
    for name in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"):
        if name in available_streams(model):
            caught |= forward(model, IDS, (f"hook_{name}",), [0]).arrays
    readers = lens_readers(model, stream)
    order = [f"hook_{name}" for name in ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")]

    def feed(scale):
        for hook in order:
            for site in {hook, unwritten(hook)} & set(readers):
                value = torch.tensor(caught[hook][0]) * (scale if hook == f"hook_{stream}" else 1)
                readers[site](0, value)

    feed(1.0)
    with pytest.raises(ModelError, match=stream):
        feed(1.1)


# --- what is looked at first ----------------------------------------------------------------------------

HELD = ("top_ids", "top_probs", "entropy", "kl", "change", "final_rank", "next_prob", "next_rank", "target_probs")


def partials(steps):
    """The partial results on the way, and the whole."""
    seen, whole = finish(steps)
    return [step.partial for step in seen if step.partial is not None], whole


@pytest.fixture
def long_reading(monkeypatch):
    """Readings go on by two positions, and count as long."""
    chunks_of(monkeypatch, 2)
    monkeypatch.setattr(lens_order, "LITTLE", 0)


@pytest.mark.usefixtures("long_reading")
def test_the_last_positions_are_read_first_and_handed_out_whenever_they_double(model):
    tokens, activations = tokenize(model, IDS), forward(model, IDS, lens_sites())
    parts, whole = partials(lens_steps(model, tokens, activations, targets=TARGETS, sight=Sight()))
    assert [part.read for part in parts] == [(10, 11), (8, 9, 10, 11), (4, 5, 6, 7, 8, 9, 10, 11)]
    assert whole.read is None
    alone = compute.logit_lens(model, IDS, targets=TARGETS)
    for part in parts:
        for name in HELD:
            values, unread = getattr(part, name), np.flatnonzero(~part.is_read)
            assert np.allclose(
                values[:, part.is_read], getattr(alone, name)[:, part.is_read], atol=1e-6, equal_nan=True
            )
            assert (values[:, unread] == -1).all() if values.dtype.kind == "i" else np.isnan(values[:, unread]).all()
        assert part.not_finite == ""
    for name in HELD:
        assert np.allclose(getattr(whole, name), getattr(alone, name), atol=1e-6, equal_nan=True), name


def test_of_large_chunks_the_first_is_a_small_one_for_it_is_awaited():
    order, taken = ReadingOrder(np.zeros(21), [8], Sight()), []
    assert order.chunks == 4
    while (chunk := order.take()) is not None:
        taken.append(chunk[1].tolist())
    assert taken == [[19, 20], [*range(11, 19)], [*range(3, 11)], [0, 1, 2]]


@pytest.mark.usefixtures("long_reading")
def test_what_is_looked_at_meanwhile_is_read_next_and_handed_out(model):
    tokens, activations, sight = tokenize(model, IDS), forward(model, IDS, lens_sites()), Sight()
    steps, seen = lens_steps(model, tokens, activations, sight=sight), []
    for step in steps:
        if step.partial is not None:
            seen.append(step.partial.read)
            sight.first, sight.last = 1, 2
    assert seen[:2] == [(10, 11), (1, 2, 10, 11)]


@pytest.mark.usefixtures("long_reading")
def test_few_columns_in_sight_are_handed_out_without_waiting_for_twice_as_many(model):
    tokens, activations, sight = tokenize(model, IDS), forward(model, IDS, lens_sites()), Sight()
    seen = []
    for step in lens_steps(model, tokens, activations, sight=sight):
        if step.partial is not None:
            seen.append(step.partial.read)
        if len(seen) == 2:
            sight.first, sight.last = 0, 1
    assert seen[1:3] == [(8, 9, 10, 11), (0, 1, 8, 9, 10, 11)]


def test_a_short_reading_is_handed_out_whole(model):
    tokens, activations = tokenize(model, IDS), forward(model, IDS, lens_sites())
    assert partials(lens_steps(model, tokens, activations, sight=Sight()))[0] == []


@pytest.mark.usefixtures("long_reading")
def test_a_comparison_is_read_where_somebody_looks_first(tiny_model):
    model = tiny_model("gemma2")
    longer = np.concatenate([IDS[:4], [77, 78, 79], IDS[4:]])
    a, b = (Side(tokenize(model, ids), forward(model, ids, lens_sites())) for ids in (IDS, longer))
    parts, whole = partials(comparison_steps(model, a, b, sight=Sight()))
    alone = compute.logit_lens_comparison(model, IDS, longer)
    assert np.flatnonzero(parts[0].is_read).tolist() == [14]
    assert [int(part.is_read.sum()) for part in parts] == [1, 2, 4, 8]
    for part in parts:
        assert np.allclose(part.kl[:, part.is_read], alone.kl[:, part.is_read], atol=1e-5, equal_nan=True)
        assert np.isnan(part.kl[:, ~part.is_read]).all()
    assert np.allclose(whole.kl, alone.kl, atol=1e-5, equal_nan=True)
    assert (whole.a.read, whole.b.read) == (None, None)


@pytest.mark.usefixtures("long_reading")
def test_a_partial_result_says_so_also_in_its_file(model, tmp_path):
    tokens, activations = tokenize(model, IDS), forward(model, IDS, lens_sites())
    [part, *_], whole = partials(lens_steps(model, tokens, activations, sight=Sight()))
    assert mw.data.load(mw.data.save(part, tmp_path / "part.npz")).read == (10, 11)
    assert "read" not in whole.header()


# --- several lenses -----------------------------------------------------------------------------------


def test_the_difference_of_two_prompts_is_the_kl_of_aligned_cells(tiny_model, tiny_folder):
    model, hugging = tiny_model("gemma2"), tiny_oracle.load(tiny_folder("gemma2"))
    longer = np.concatenate([IDS[:4], [77, 78, 79], IDS[4:]])
    comparison = compute.logit_lens_comparison(model, IDS, longer, targets=[5], top_k=3)
    check(comparison.a, lens_oracle.logits(hugging, IDS, "resid_post"), IDS, (5,))
    check(comparison.b, lens_oracle.logits(hugging, longer, "resid_post"), longer, (5,))
    left = lens_oracle.numbers(lens_oracle.logits(hugging, IDS, "resid_post"), IDS)["log_p"]
    right = lens_oracle.numbers(lens_oracle.logits(hugging, longer, "resid_post"), longer)["log_p"]
    assert comparison.pairs[:4] == ((0, 0), (1, 1), (2, 2), (3, 3))
    assert comparison.pairs[4:8] == ((None, 4), (None, 5), (None, 6), (4, 7))
    for row in range(2):
        for column, (in_a, in_b) in enumerate(comparison.pairs):
            if in_a is None:
                assert np.isnan(comparison.kl[row, column])
            else:
                own = left[row, in_a]
                want = (np.exp(own) * (own - right[row, in_b])).sum()
                assert comparison.kl[row, column] == pytest.approx(want, rel=1e-4, abs=1e-4)


def test_two_prompts_of_one_length_are_compared_position_by_position(model, tiny_folder):
    other = IDS.copy()
    other[3] = 60
    comparison = compute.logit_lens_comparison(model, IDS, other, "resid_pre", positions=[2, 3, -1])
    assert comparison.a.positions == comparison.b.positions == (2, 3, 11)
    assert comparison.kl.shape == (3, 3)
    assert np.abs(comparison.kl[:, 0]).max() <= 1e-5  # nothing before the change differs
    assert (comparison.kl[:, 1] > 1e-4).all()


def test_a_comparison_can_be_stopped_and_leaves_gradients_on(model):
    side = Side(tokenize(model, IDS), forward(model, IDS, lens_sites()))
    steps = comparison_steps(model, side, side)
    assert [next(steps).done for _ in range(2)] == [0, 1]
    assert torch.is_grad_enabled()
    steps.close()


def test_a_lens_compared_with_itself_differs_nowhere(model):
    comparison = compute.logit_lens_comparison(model, IDS)
    assert comparison.same_prompt
    assert (comparison.kl == 0).all()


# --- pinning more tokens --------------------------------------------------------------------------------


def finish(steps):
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as done:
            return seen, done.value


@pytest.mark.parametrize("stream", ["resid_post", "attn_out"])
def test_pinning_later_gives_what_pinning_at_once_gives(stream, tiny_model):
    model = tiny_model("gemma2")
    activations = forward(model, IDS, lens_sites(stream))
    once = compute.logit_lens(model, IDS, stream, targets=[5, 90, 7])
    lens = compute.logit_lens(model, IDS, stream, targets=[5])
    _, later = finish(target_steps(model, activations, lens, [5, 90, 7]))
    assert later.target_ids.tolist() == [5, 90, 7]
    assert np.allclose(later.target_probs, once.target_probs, rtol=1e-5, atol=1e-7)
    assert (later.target_ranks == once.target_ranks).all()
    assert later.names[90] == once.names[90]
    assert (later.top_ids == lens.top_ids).all()


def test_pinning_reads_the_chosen_position_first(model, monkeypatch):
    chunks_of(monkeypatch, 4)
    activations = forward(model, IDS, lens_sites())
    lens = compute.logit_lens(model, IDS)
    seen, later = finish(target_steps(model, activations, lens, [5], first=-1))
    partial = next(step for step in seen if step.partial is not None)
    assert partial.done == 2  # one position, two rows
    assert np.array_equal(partial.partial.target_probs[:, -1], later.target_probs[:, -1])
    assert np.isnan(partial.partial.target_probs[:, :-1]).all()
    assert (partial.partial.target_ranks[:, :-1] == -1).all()
    assert np.isfinite(later.target_probs).all()


def test_taking_a_pin_away_reads_nothing(model):
    lens = compute.logit_lens(model, IDS, targets=[5, 90])
    empty = forward(model, IDS, ("hook_resid_pre",))
    _, fewer = finish(target_steps(model, empty, lens, [90]))
    assert np.array_equal(fewer.target_probs[..., 0], lens.target_probs[..., 1])
    with pytest.raises(DataError, match="at most 8"):
        finish(target_steps(model, empty, lens, range(9)))
    with pytest.raises(DataError, match="vocabulary"):
        finish(target_steps(model, empty, lens, [4000]))


# --- the Jacobian lens ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def jacobian(tiny_folder):
    from transformer_lens.tools.analysis import JacobianLens

    model = load_model(tiny_folder("gpt2"))
    words = [" ".join(f"w{3 + (7 * start + 3 * place) % 120}" for place in range(24)) for start in range(3)]
    return JacobianLens.fit(model, words, corpus="test", show_progress=False, skip_first_positions=2), model


def test_a_jacobian_lens_reads_what_transformerlens_reads_with_it(jacobian):
    lens, model = jacobian
    got = compute.logit_lens(model, IDS, lens=lens, top_k=10)
    want = lens.readout(model, torch.as_tensor(IDS)[None], return_full_logits=True)
    assert got.lens == "jacobian"
    rows = np.stack([want.lens_logits[layer].double().numpy() for layer in (0, 1)])
    check(got, rows, IDS)
    plain = compute.logit_lens(model, IDS)
    assert np.abs(got.kl[0] - plain.kl[0]).max() > 1e-3  # it is another lens than the plain one


def test_lenses_are_compared_on_one_prompt(jacobian):
    lens, model = jacobian
    comparison = compute.logit_lens_comparison(model, IDS, other_lens=lens)
    assert (comparison.a.lens, comparison.b.lens) == ("logit", "jacobian")
    assert (comparison.kl[0] > 0).all()
    assert (comparison.kl[-1] == 0).all()


def test_a_fitted_lens_reads_only_what_it_was_fitted_for(jacobian, tiny_model):
    lens, model = jacobian
    with pytest.raises(DataError, match="resid_post"):
        compute.logit_lens(model, IDS, "resid_pre", lens=lens)
    with pytest.raises(ModelError, match="does not fit"):
        compute.logit_lens(tiny_model("llama"), IDS, lens=lens)
