"""Celery's settings: read by `celery -A worker worker`, by Flower and by `celeriac worker`. One line of why each.

The broker is a hint and the database the truth, so most of Celery's own safety nets are off: each has a row that does
its work better, and two nets tangle.
"""

import os

_monitor = os.environ.get("CELERIAC_MONITOR", "") == "1"
_amqp = os.environ.get("BROKER_URL", "").startswith(("amqp", "pyamqp"))

# Messages
task_serializer = "json"  # readable by any language, and no code in it
accept_content = ["json"]  # whoever can write to the broker must not be able to run code
task_default_queue = "default"  # where segments go that name no queue
task_default_delivery_mode = "transient"  # a message may vanish: its row is durable
task_create_missing_queues = True  # a definition may name a queue that workers are started for later
task_publish_retry = False  # the row is the retry; a publisher must not hang

# Results
result_backend = None  # results are rows; no result travels in a message
task_ignore_result = True  # nothing to keep
task_store_errors_even_if_ignored = False  # nor for errors

# Consuming
task_acks_late = (
    _amqp  # RabbitMQ: a late ack with prefetch 1 is its only back-pressure; elsewhere the lease replaces it
)
worker_prefetch_multiplier = 1  # a worker takes what it can start
worker_disable_prefetch = not _amqp  # Redis: exact back-pressure although messages are acknowledged early
task_reject_on_worker_lost = False  # a lost worker's segments are found by their lease
broker_transport_options = (
    {}
    if _amqp
    else {
        "priority_steps": [0],  # one list a queue instead of four to ask for: order is a matter of rows
        "ack_emulation": False,  # no visibility timeout, so no message that comes back after an hour
        "socket_timeout": 30,  # a dead connection is noticed
        "socket_connect_timeout": 5,
        "health_check_interval": 10,
        "polling_interval": 0.2,  # how long one BRPOP waits, and so how soon an idle worker hears that it is to stop
    }
)
worker_pool = "worker.pool:AsyncPool"  # thousands of waiting nodes in one process; -P cannot override it
worker_consumer = "worker.consumer:SturdyConsumer"  # soon back at its broker, and no message brings it down
worker_concurrency = int(os.environ.get("CELERIAC_SLOTS", "64"))  # messages at once in one process
worker_cancel_long_running_tasks_on_connection_loss = False  # a broker's hiccup must not cancel running nodes
worker_soft_shutdown_timeout = 0.0  # the pool drains by itself, and hands back what it cannot finish

# Connections
broker_connection_retry_on_startup = True  # a worker may start before its broker
broker_connection_max_retries = None  # and waits for it as long as it takes
broker_pool_limit = None  # a small limit makes Flower hang
broker_heartbeat = 10  # RabbitMQ: a dead connection is noticed

# Operators
worker_send_task_events = _monitor  # Flower: three more messages a message, so only when asked for
task_send_sent_event = False  # the same
worker_enable_remote_control = _monitor  # `celery inspect`: only when asked for, a broker is not trusted
worker_hijack_root_logger = False  # logging is configured by the command line
imports = ("worker.tasks",)  # the one task
