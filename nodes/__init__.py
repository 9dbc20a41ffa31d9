"""The built-in node and connection types. A new one is a file in a folder here, and a line in these lists."""

from pathlib import Path

from celeriac import ConnectionType, NodeType
from nodes.ai.ai_agent import ai_agent
from nodes.ai.ai_call import ai_call
from nodes.ai.ai_classify import ai_classify
from nodes.ai.ai_embed import ai_embed
from nodes.ai.ai_extract import ai_extract
from nodes.ai.ai_index import ai_index
from nodes.ai.ai_playbook import ai_playbook
from nodes.ai.ai_search import ai_search
from nodes.ai.mcp_call import mcp_call
from nodes.ai.playbook_run import playbook_run
from nodes.connections.anthropic import anthropic
from nodes.connections.api_key import api_key
from nodes.connections.basic import basic
from nodes.connections.bearer import bearer
from nodes.connections.google import google
from nodes.connections.imap import imap
from nodes.connections.mariadb import mariadb
from nodes.connections.mcp import mcp
from nodes.connections.mcp_program import mcp_program
from nodes.connections.microsoft import defender, entra
from nodes.connections.oauth2 import oauth2
from nodes.connections.openai import openai
from nodes.connections.pihole import pihole
from nodes.connections.postgresql import postgresql
from nodes.connections.redis import redis
from nodes.connections.s3 import s3
from nodes.connections.signing_key import signing_key
from nodes.connections.smtp import smtp
from nodes.connections.sqlite import sqlite
from nodes.conversions.csv_parse import csv_parse
from nodes.conversions.csv_write import csv_write
from nodes.conversions.date_time import date_time
from nodes.conversions.digest import digest
from nodes.conversions.json_parse import json_parse
from nodes.conversions.markdown_html import markdown_html
from nodes.conversions.pdf_text import pdf_text
from nodes.conversions.signature import signature
from nodes.conversions.xml_parse import xml_parse
from nodes.conversions.xml_write import xml_write
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
from nodes.integrations.api_document_analyze import api_document_analyze
from nodes.integrations.email_read import email_read
from nodes.integrations.http_request import http_request
from nodes.integrations.redis_command import redis_command
from nodes.integrations.s3_get import s3_get
from nodes.integrations.s3_list import s3_list
from nodes.integrations.s3_put import s3_put
from nodes.integrations.send_email import send_email
from nodes.integrations.sql_execute import sql_execute
from nodes.integrations.sql_query import sql_query

DECLARATIONS = Path(__file__).parent / "declared"
"""Node types and connection kinds that need no Python."""

NODE_TYPES: tuple[NodeType, ...] = (
    ai_agent,
    ai_call,
    ai_classify,
    ai_embed,
    ai_extract,
    ai_index,
    ai_playbook,
    ai_search,
    api_document_analyze,
    approval,
    csv_parse,
    csv_write,
    date_time,
    digest,
    email_read,
    emit,
    exit_scope,
    fail,
    http_request,
    if_condition,
    json_parse,
    log,
    markdown_html,
    mcp_call,
    merge,
    noop,
    pdf_text,
    playbook_run,
    redis_command,
    respond,
    s3_get,
    s3_list,
    s3_put,
    send_email,
    set_values,
    signature,
    sql_execute,
    sql_query,
    switch,
    transform,
    wait,
    workflow,
    xml_parse,
    xml_write,
)

CONNECTION_TYPES: tuple[ConnectionType, ...] = (
    anthropic,
    api_key,
    basic,
    bearer,
    defender,
    entra,
    google,
    imap,
    mariadb,
    mcp,
    mcp_program,
    oauth2,
    openai,
    pihole,
    postgresql,
    redis,
    s3,
    signing_key,
    smtp,
    sqlite,
)
