"""The built-in node types. A new one is a file in a folder here, and a line in this list."""

from celeriac import NodeType
from nodes.ai.ai_agent import ai_agent
from nodes.ai.ai_call import ai_call
from nodes.ai.ai_classify import ai_classify
from nodes.ai.ai_embed import ai_embed
from nodes.ai.ai_extract import ai_extract
from nodes.ai.ai_index import ai_index
from nodes.ai.ai_search import ai_search
from nodes.flow.approval import approval
from nodes.flow.emit import emit
from nodes.flow.exit_scope import exit_scope
from nodes.flow.fail import fail
from nodes.flow.if_condition import if_condition
from nodes.flow.log import log
from nodes.flow.merge import merge
from nodes.flow.noop import noop
from nodes.flow.respond import respond
from nodes.flow.set_values import set_values
from nodes.flow.switch import switch
from nodes.flow.transform import transform
from nodes.flow.wait import wait
from nodes.flow.workflow import workflow
from nodes.integrations.http_request import http_request

NODE_TYPES: tuple[NodeType, ...] = (
    ai_agent,
    ai_call,
    ai_classify,
    ai_embed,
    ai_extract,
    ai_index,
    ai_search,
    approval,
    emit,
    exit_scope,
    fail,
    http_request,
    if_condition,
    log,
    merge,
    noop,
    respond,
    set_values,
    switch,
    transform,
    wait,
    workflow,
)
