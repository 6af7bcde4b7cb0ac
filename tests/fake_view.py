"""A view that only writes down what its session tells it, and a count of the model's passes."""

from __future__ import annotations

import threading

from mi_widgets.session import Need


class FakeView:
    """A view that writes down what the session tells it."""

    def __init__(self, session, sites=("attn.hook_pattern",), second=None, layers=None):
        self.session, self.sites, self.second, self.layers = session, sites, second, layers
        self.log, self.drawn, self.notes = [], None, []
        session.join(self)

    def session_needs(self):
        prompts = {"A": self.session.prompt} | ({} if self.second is None else {"B": self.second})
        return [
            Need(name, self.session.filled(prompt), self.sites, layers=self.layers) for name, prompt in prompts.items()
        ]

    def session_waits(self, progress):
        self.log.append(("waits", progress.done, progress.total))

    def session_draws(self, progress, answers):
        self.drawn, self.notes = answers, list(progress.notes)
        self.log.append(("draws", answers["A"].tokens.strings))
        yield from ()

    def session_fails(self, run, error):
        self.log.append(("fails", type(error).__name__))

    session_hidden = session_besides = False

    def session_stops(self, run, error):
        self.log.append(("stops",))

    def session_changed(self, name):
        self.log.append(("changed", name))


def count_passes(model):
    """The threads of the model's passes, as seen from inside."""
    threads = []
    model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: threads.append(threading.get_ident()))
    return threads
