"""A FastAPI application that reads a body and answers 202: `python -m bench.bare PORT`. What HTTP alone costs here."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse

app = FastAPI()


@app.post("/webhooks/bare")
async def bare(request: Request) -> JSONResponse:
    """Read, and forget."""
    return JSONResponse({"size": len(await request.body())}, 202)


@app.get("/bare")
async def read() -> dict[str, bool]:
    """Answer."""
    return {"ok": True}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), http="httptools", log_level="warning", access_log=False)
