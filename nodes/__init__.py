"""The built-in node and connection types. A new one is a file in a folder here, and a line in these lists."""

from pathlib import Path

from celeriac import ConnectionType, NodeType
from nodes.connections.api_key import api_key
from nodes.connections.basic import basic
from nodes.connections.bearer import bearer
from nodes.connections.google import google
from nodes.connections.mariadb import mariadb
from nodes.connections.oauth2 import oauth2
from nodes.connections.postgresql import postgresql
from nodes.connections.smtp import smtp
from nodes.connections.sqlite import sqlite
from nodes.flow.approval import approval
from nodes.flow.emit import emit
from nodes.flow.exit_scope import exit_scope
from nodes.flow.fail import fail
from nodes.flow.if_condition import if_condition
from nodes.flow.log import log
from nodes.flow.merge import merge
from nodes.flow.noop import noop
from nodes.flow.set_values import set_values
from nodes.flow.switch import switch
from nodes.flow.transform import transform
from nodes.flow.wait import wait
from nodes.flow.workflow import workflow
from nodes.integrations.api_document_analyze import api_document_analyze
from nodes.integrations.http_request import http_request
from nodes.integrations.send_email import send_email
from nodes.integrations.sql_execute import sql_execute
from nodes.integrations.sql_query import sql_query

DECLARATIONS = Path(__file__).parent / "declared"
"""Node types and connection kinds that need no Python."""

NODE_TYPES: tuple[NodeType, ...] = (
    api_document_analyze,
    approval,
    emit,
    exit_scope,
    fail,
    http_request,
    if_condition,
    log,
    merge,
    noop,
    send_email,
    set_values,
    sql_execute,
    sql_query,
    switch,
    transform,
    wait,
    workflow,
)

CONNECTION_TYPES: tuple[ConnectionType, ...] = (
    api_key,
    basic,
    bearer,
    google,
    mariadb,
    oauth2,
    postgresql,
    smtp,
    sqlite,
)
