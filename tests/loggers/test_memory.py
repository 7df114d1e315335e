"""The sink that keeps records."""

from mlograph.loggers.memory import Memory
from mlograph.loggers.protocol import Record


def test_memory_keeps_records_in_order_and_knows_how_far_the_run_is():
    memory = Memory()
    assert memory.total is None
    records = [Record("train", step, 0.0, {"loss": 1.0}) for step in (1, 2)]
    memory.start(5)
    for record in records:
        memory.progress(record.step)
        memory.log(record)
    assert memory.records == tuple(records)
    assert (memory.total, memory.step, memory.closed) == (5, 2, False)
    memory.close()
    assert memory.closed
