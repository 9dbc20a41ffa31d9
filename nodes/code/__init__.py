"""The node that runs code of a definition. It is off: `CELERIAC_NODES=nodes,nodes.code` turns it on."""

from celeriac import NodeType
from nodes.code.code import code

NODE_TYPES: tuple[NodeType, ...] = (code,)
