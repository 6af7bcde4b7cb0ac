"""The passes of a session: what its views need of a run, found in the cache or made at once for all of them.

One pass reads every site that is missing, each of the layers that some need wants; it pauses between blocks where it
takes long and a loop has its turn meanwhile. Knows nothing of views and jobs.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mi_widgets.data import Tokens
from mi_widgets.data.interventions import Run
from mi_widgets.errors import InterventionError
from mi_widgets.session.aside import loop_runs
from mi_widgets.session.cache import ActivationCache
from mi_widgets.session.estimate import LARGE_SECONDS, Clock, Estimate
from mi_widgets.session.explain import out_of_memory
from mi_widgets.session.protocol import Answered, Need, union
from mi_widgets.session.runs import keys_of

if TYPE_CHECKING:
    from mi_widgets.compute.forward import Activations, Layers
    from mi_widgets.compute.step import Step

#: Of so many runs it is remembered what their interventions write.
REMEMBERED = 20
#: What interventions take from other runs is kept of every layer up to so many bytes: the next from another layer, as
#: by a click on another cell of a grid, then needs no pass for it.
SOURCE_BYTES = 64_000_000


@dataclass(frozen=True)
class Ran:
    """What a pass runs: a run whose prompt is tokens, its weights as they are now.

    Attributes:
        run: all its parts filled in.
        tokens: its prompt.
        fingerprint: of its model.
    """

    run: Run
    tokens: Tokens
    fingerprint: Hashable

    @property
    def key(self) -> Hashable:
        """Equal where the same is computed."""
        interventions = keys_of(self.run.interventions or ())
        # Not the model's id, which another gets when it is gone; nor the model, which would never be.
        return weakref.ref(self.run.model), self.fingerprint, self.tokens.ids.tobytes(), interventions


class ModelChangedError(BaseException):
    """The model was changed while a pass paused, so that what was made is of neither; no error, and nobody else's to
    catch."""


class _Unmade(BaseException):
    """The interventions of a run rest on a pass that is to be made first; no error, and nobody's to catch."""

    def __init__(self, tokens: Tokens, sites: tuple[str, ...], layers: Any) -> None:
        super().__init__()
        self.tokens, self.sites, self.layers = tokens, sites, layers


class Passes:
    """The passes of one session.

    Args:
        cache: what past ones left.
        resolved: given a run, its tokens and a `read` for other passes, its `compute.interventions.Edits`.
    """

    def __init__(self, cache: ActivationCache, resolved: Callable[..., Any]) -> None:
        self._cache, self._resolved = cache, resolved
        self._clocks: weakref.WeakKeyDictionary[Any, Clock] = weakref.WeakKeyDictionary()
        self._known: OrderedDict[Hashable, Any] = OrderedDict()
        #: Whether those that take long pause for the loop.
        self.pausing = True
        #: How many were made.
        self.made = 0

    def forget(self) -> None:
        """Whatever is known: the model has changed."""
        self._cache.clear()
        self._known.clear()

    def clock(self, model: Any) -> Clock:
        """Knows how fast this model runs here."""
        if model not in self._clocks:
            self._clocks[model] = Clock(model)
        return self._clocks[model]

    def estimate(self, ran: Ran, needs: Sequence[Need]) -> Estimate:
        """What one pass for these needs costs."""
        from mi_widgets.models import describe

        sites = _union(needs)
        return self.clock(ran.run.model).estimate(describe(ran.run.model), len(ran.tokens), sites, sites)

    def notes(self, ran: Ran) -> tuple[str, ...]:
        """What is to be said of its interventions."""
        return self._known[ran.key].notes if ran.key in self._known else ()

    def answers(self, ran: Ran, needs: Sequence[Need]) -> Generator[Any, None, dict[int, Answered | Exception]]:
        """Answers by id of the need: one pass for all. If that fails for what the architecture lacks, one for each kind
        of need, so that a view which asks for it fails alone. A generator of steps; a `partial` is answers to what
        needs begin with, and takes earlier ones back that it lacks."""
        kinds: dict[Any, list[Need]] = {}
        for need in needs:
            kinds.setdefault(tuple(sorted(need.wanted)), []).append(need)
        try:
            return _answered(ran, (yield from self._read(ran, _union(needs), needs)), needs)
        except InterventionError:
            raise  # and is not tried again
        except Exception as error:
            if len(kinds) == 1 or out_of_memory(error):
                raise
        answers: dict[int, Answered | Exception] = {}
        for alike in kinds.values():
            try:
                answers |= _answered(ran, (yield from self._read(ran, _union(alike), alike)), alike)
            except Exception as error:
                answers |= {id(need): error for need in alike}
        return answers

    def _read(
        self, ran: Ran, wanted: Mapping[str, Layers], needs: Sequence[Need] = ()
    ) -> Generator[Any, None, Activations]:
        """From the cache where every site is there, else by one pass of those that are missing."""
        from mi_widgets.compute.step import saying
        from mi_widgets.models import fingerprint, in_training

        key, model = ran.key, ran.run.model
        every = tuple(range(int(model.cfg.n_layers)))
        found = {site: self._cached(key, site, _rows(site, layers, every)) for site, layers in wanted.items()}
        missing = tuple(site for site in wanted if found[site] is None)
        held = {site: one for site, one in found.items() if one is not None}
        was_training = not missing and in_training(model)  # said of a cached picture too
        edits = yield from self.edits(ran)
        writes = edits.writes if edits else ()

        def so_far(step: Step) -> Step:
            if step.partial is None:
                return step
            left = step.partial
            known = held | {site: (array, _rows(site, wanted[site], every)) for site, array in left.arrays.items()}
            stands = left.arrays and fingerprint(model) == ran.fingerprint
            begun = [need for need in needs if stands and need.begins and known.keys() >= set(need.begins)]
            firsts = [need.first for need in begun]
            answers = _answered(ran, _together(ran, known, left.was_training, writes), firsts)
            return replace(step, partial={id(need): answers[id(one)] for need, one in zip(begun, firsts, strict=True)})

        if missing:
            readers: dict[str, Any] = {}
            layers = {site: wanted[site] for site in missing}
            for need in needs:
                if set(need.wanted) & set(missing):
                    for site, reader in need.readers().items():
                        readers[site] = _both(readers[site], reader) if site in readers else reader
                    layers |= {site: wanted[site] for site in need.wanted}
            fresh = yield from saying(self._made(ran, missing, layers, readers, writes), so_far)
            was_training = fresh.was_training
            for site, array in fresh.arrays.items():
                rows = _rows(site, wanted[site], every)
                held[site] = array, rows
                self._cache.put((key, site), array, rows)
        return _together(ran, {site: held[site] for site in wanted}, was_training, writes)

    def _made(
        self,
        ran: Ran,
        sites: tuple[str, ...],
        layers: dict[str, Layers],
        readers: dict[str, Any],
        writes: tuple[Any, ...],
    ) -> Generator[Any, None, Activations]:
        """One pass."""
        from mi_widgets.compute.forward import forward_steps
        from mi_widgets.models import describe, fingerprint

        run, tokens, clock = ran.run, ran.tokens, self.clock(ran.run.model)
        seconds = clock.estimate(describe(run.model), len(tokens), {}).seconds
        pausing = self.pausing and seconds > LARGE_SECONDS and loop_runs()
        fresh = yield from forward_steps(
            run.model,
            tokens.ids,
            sites,
            layers,
            readers,
            writes,
            run.interventions or (),
            pausing=pausing,
        )
        clock.learn(len(tokens), fresh.seconds)
        self.made += 1
        if pausing and fingerprint(run.model) != ran.fingerprint:
            raise ModelChangedError
        return fresh

    def edits(self, ran: Ran) -> Generator[Any, None, Any]:
        """What the interventions write; None for none. The untouched passes that they rest on are made first, with
        steps between."""
        if not ran.run.interventions:
            return None
        if ran.key not in self._known:
            edits = yield from self._resolving(ran)
            self._known[ran.key] = edits
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(ran.key)
        return self._known[ran.key]

    def _resolving(self, ran: Ran) -> Generator[Any, None, Any]:
        made: dict[Hashable, Activations] = {}

        def read(tokens: Tokens, sites: Sequence[str], layers: Any = None) -> Activations:
            source = _source(tokens, sites, layers)
            if source not in made:
                raise _Unmade(tokens, tuple(sites), layers)
            return made[source]

        while True:
            try:
                return self._resolved(ran.run, ran.tokens, read)
            except _Unmade as unmade:
                wanted = unmade
            untouched = Ran(Run(ran.run.model, ran.run.prompt, ()), wanted.tokens, ran.fingerprint)
            layers = wanted.layers
            by_site = dict(layers) if isinstance(layers, Mapping) else {}
            common = None if layers is None or isinstance(layers, Mapping) else tuple(layers)
            sites = {site: by_site.get(site, common) for site in wanted.sites}
            sites = {site: self._widened(untouched, site, chosen) for site, chosen in sites.items()}
            made[_source(wanted.tokens, wanted.sites, layers)] = yield from self._read(untouched, sites)
            yield None  # here it can be stopped

    def _widened(self, ran: Ran, site: str, layers: Layers) -> Layers:
        """Every layer in place of some, where all have the site and that takes little."""
        from mi_widgets.compute.forward import hook_of, in_block
        from mi_widgets.models import describe

        model, info = ran.run.model, describe(ran.run.model)
        everywhere = all(f"blocks.{layer}.{hook_of(site)}" in model.hook_dict for layer in range(info.n_layers))
        kept = self.clock(model).estimate(info, len(ran.tokens), (site,)).nbytes
        return None if in_block(site) and everywhere and kept <= SOURCE_BYTES else layers

    def _cached(self, key: Hashable, site: str, rows: tuple[int, ...] | None) -> Any:
        """The site's array and its layers from the cache; one position of a site also where the whole site is there."""
        from mi_widgets.compute.forward import take_position

        found = self._cache.find((key, site), rows)
        if found is None and "@" in site:
            whole = self._cache.find((key, site.partition("@")[0]), rows)
            found = None if whole is None else (take_position(site, whole[0]), whole[1])
        return found


def _rows(site: str, layers: Layers, every: tuple[int, ...]) -> tuple[int, ...] | None:
    """The layers that the array of `site` holds; None for what stands once in a model."""
    from mi_widgets.compute.forward import in_block

    if not in_block(site):
        return None
    return every if layers is None else layers


def _together(ran: Ran, held: Mapping[str, Any], was_training: bool, writes: tuple[Any, ...]) -> Activations:
    """What of a run is held by site: arrays and the layers of each, some from the cache and some of a pass."""
    from mi_widgets.compute.forward import Activations

    every = tuple(range(int(ran.run.model.cfg.n_layers)))
    some = tuple(sorted({layer for _, rows in held.values() for layer in rows or ()}))
    return Activations(
        every if any(rows == every for _, rows in held.values()) else some,
        {site: array for site, (array, _) in held.items()},
        was_training,
        ran.run.interventions or (),
        rows={site: rows for site, (_, rows) in held.items() if rows is not None},
        writes=writes,
    )


def _both(first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
    """Two readers of one site, which two needs bring."""

    def read(layer: int, activation: Any) -> None:
        first(layer, activation)
        second(layer, activation)

    return read


def _source(tokens: Tokens, sites: Sequence[str], layers: Any) -> Hashable:
    chosen = tuple(sorted(layers.items())) if isinstance(layers, Mapping) else layers
    return tokens.ids.tobytes(), tuple(sites), chosen if chosen is None else tuple(chosen)


def _union(needs: Sequence[Need]) -> dict[str, Layers]:
    """Every site that these want, of all layers that some of them wants of it."""
    sites: dict[str, list[Layers]] = {}
    for need in needs:
        for site, layers in need.wanted.items():
            sites.setdefault(site, []).append(layers)
    return {site: union(layers) for site, layers in sites.items()}


def _answered(ran: Ran, activations: Activations, needs: Sequence[Need]) -> dict[int, Answered | Exception]:
    """One answer for each choice of layers, shared by the needs that want it."""
    alike: dict[Hashable, list[Need]] = {}
    for need in needs:
        own = set(need.wanted.values())
        alike.setdefault(own.pop() if len(own) == 1 else tuple(sorted(need.wanted.items())), []).append(need)
    every = tuple(range(int(ran.run.model.cfg.n_layers)))
    answers: dict[int, Answered | Exception] = {}
    for group in alike.values():
        wanted = _union(group)
        rows = {site: _rows(site, layers, every) for site, layers in wanted.items()}
        chosen = {layers for layers in rows.values() if layers is not None}
        if len(chosen) > 1:
            found = _each(activations, rows)
        else:
            common = group[0].layers
            found = activations.only(next(iter(chosen), every if common is None else common), wanted)
        answers |= dict.fromkeys(map(id, group), Answered(ran.tokens, found, ran.run))
    return answers


def _each(activations: Activations, rows: Mapping[str, tuple[int, ...] | None]) -> Activations:
    """The sites, each of its own layers."""
    from mi_widgets.compute.forward import Activations

    arrays = {site: activations.only(layers, [site]).arrays[site] for site, layers in rows.items()}
    own = {site: layers for site, layers in rows.items() if layers is not None}
    together = tuple(sorted({layer for layers in own.values() for layer in layers}))
    return Activations(together, arrays, activations.was_training, activations.interventions, rows=own)
