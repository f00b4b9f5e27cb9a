"""Mutants of docs/guarantees.md: a broker that is away, empty or silent."""

from tests.mutants.mutant import Mutant

_RECONCILER = "app/shared/upkeep/reconciler.py"
_QUEUE = "app/shared/engine/queue.py"

MUTANTS = (
    Mutant(
        "orders-forgotten-before-they-are-rung",
        _QUEUE,
        "            doorbell.ring(queue)\n",
        "            try:\n                doorbell.ring(queue)\n"
        "            except OSError:\n                pass\n",
        ("tests/shared/upkeep/test_reconciler.py::test_a_broken_bell_loses_no_ring",),
    ),
    Mutant(
        "bell-rung-once-alone",
        _RECONCILER,
        "            order_ring(connection, ring.owner_id, ring.queue)\n",
        "            pass\n",
        (
            "tests/shared/upkeep/test_reconciler.py::"
            "test_a_job_that_nobody_takes_is_rung_for_again_but_not_always",
        ),
    ),
    Mutant(
        "messages-may-be-pickles",
        _QUEUE,
        '        accept_content=["json"],\n',
        '        accept_content=["json", "pickle"],\n',
        ("tests/shared/engine/test_queue.py::test_no_message_is_unpickled",),
    ),
    Mutant(
        "silent-connections-are-believed",
        _QUEUE,
        '            "socket_timeout": 5,\n'
        '            "socket_connect_timeout": 2,\n'
        '            "socket_keepalive": True,\n'
        '            "health_check_interval": 10,\n',
        "",
        ("tests/chaos/test_chaos.py::test_a_deaf_worker_hears_again",),
        is_slow=True,
    ),
)
