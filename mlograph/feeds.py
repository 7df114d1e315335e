"""Where batches come from: the Env and the data of problems, built and checked."""

from __future__ import annotations

from mlograph.batches import (
    EnvFeed,
    Feed,
    IterableFeed,
    NamedFeeds,
    NoFeed,
    SharedEnv,
    checked_batches,
)
from mlograph.components import Imports, build, kind_of
from mlograph.envs.protocol import Env
from mlograph.errors import Fault, GraphError, UsageError, did_you_mean, dotted
from mlograph.errors import Path as SpecPath
from mlograph.gathering import Gathering
from mlograph.language.spec import Component, DataSpec, EnvBatch, EnvSpec, Live


def bind_env(spec: EnvSpec, imports: Imports, seed: int) -> SharedEnv:
    """The Env; it is given the seed of the run unless it has its own.

    Raises:
        GraphError: it cannot be built.
        UsageError: it is no Env.
    """
    env = build(spec.source, imports, ("env",), {"seed": seed})
    if not isinstance(env, Env):
        raise UsageError(f"expected an Env (mlograph.envs.Env), got a {kind_of(env)}")
    return SharedEnv(env)


def bind_feed(
    data: DataSpec | None,
    env: SharedEnv | None,
    imports: Imports,
    path: SpecPath,
    found: Gathering,
) -> Feed:
    """The data of a problem: nothing, one source, or several by name.

    Args:
        data: what the graph says.
        env: the Env; None where there is none, or none could be built.
        imports: where sources may come from.
        path: of the data.
        found: takes the faults of each source, so that they do not hide those of another.

    Raises:
        GraphError: the Env has no such batch.
    """
    if data is None:
        return NoFeed()
    if isinstance(data, dict):
        feeds = {key: _feed(one, env, imports, (*path, key), found) for key, one in data.items()}
        return NamedFeeds(feeds)
    return _feed(data, env, imports, path, found)


def _feed(
    source: Component | Live | EnvBatch,
    env: SharedEnv | None,
    imports: Imports,
    path: SpecPath,
    found: Gathering,
) -> Feed:
    if not isinstance(source, EnvBatch):
        with found.piece(path):
            return IterableFeed(checked_batches(build(source, imports, path)), dotted(path))
        return NoFeed()
    if env is None:
        return NoFeed()  # The Env itself is at fault; that has been noted.
    if source.name not in env.env.batches:
        hint = did_you_mean(source.name, env.env.batches)
        raise GraphError([Fault(path, f"the Env has no batch '{source.name}'", hint)])
    return EnvFeed(env, source.name)
